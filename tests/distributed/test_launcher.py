"""`flambeau.distributed.run` and `multiprocessing.spawn`: processes that find each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, sys
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

@record
def main():
    dist.init_process_group("gloo")
    x = torch.tensor([float(os.environ["LOCAL_RANK"])]) + 1
    dist.all_reduce(x)
    print(f"{torch.__version__} rank {dist.get_rank()} of {dist.get_world_size()} {sys.argv[1:]} {x.item()}\\n", end="")
    if "--fail" in sys.argv and dist.get_rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        raise ValueError("as asked")
    if "--fail" in sys.argv and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        dist.barrier()
    dist.destroy_process_group()

main()
"""


def _run(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    src = str(Path(__file__).parents[2] / "src")
    return subprocess.run(
        [sys.executable, "-m", "flambeau", "run", "-m", *arguments],
        env={**os.environ, "PYTHONPATH": src, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return str(path)


def test_processes_are_started_with_the_stand_in(script: str) -> None:
    done = _run(["torch.distributed.run", "--standalone", "--nproc_per_node", "2", script, "--a", "1"])
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert lines == [f"2.13.0+flambeau rank {r} of 2 ['--a', '1'] 3.0" for r in range(2)]


def test_a_failure_stops_all_and_is_reported_or_tried_again(script: str) -> None:
    done = _run(["torch.distributed.run", "--nproc-per-node=2", script, "--fail"])
    assert done.returncode == 1
    assert "rank 1: exit code 1: ValueError: as asked" in done.stderr
    done = _run(["torch.distributed.launch", "--nproc-per-node=2", "--max-restarts=1", script, "--fail"])
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4 and "'--local-rank=1', '--fail'" in done.stdout


def test_two_machines(script: str) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    src = str(Path(__file__).parents[2] / "src")
    base = [sys.executable, "-m", "flambeau", "run", "-m", "torch.distributed.run", "--nnodes=2"]
    meet = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", script]
    launchers = [
        subprocess.Popen(
            [*base, *meet], env={**os.environ, "PYTHONPATH": src}, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        outputs = [launcher.communicate(timeout=100)[0] for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.kill()
    assert sorted("".join(outputs).splitlines()) == [
        f"2.13.0+flambeau rank {r} of 2 [] 2.0" for r in range(2)
    ]


def test_options_that_do_not_fit() -> None:
    from flambeau.distributed import run

    for arguments, message in (
        (["--nnodes=1:3", "x.py"], "cannot vary"),
        (["--nproc-per-node=gpu", "x.py"], "Cuda is not available"),
        (["--nproc-per-node=0", "x.py"], "at least one"),
        (["--nnodes=2", "--node-rank=2", "x.py"], "--node-rank 2"),
        (["--tee=3", "x.py"], "--tee"),
    ):
        with pytest.raises(ValueError, match=message):
            run.main(arguments)
