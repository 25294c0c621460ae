"""Each program of ``examples/`` runs, and its losses are PyTorch's where PyTorch is installed."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

# Steps, results beside the losses, and how far the losses may be from PyTorch's, relative to the first one. Rounding
# grows from step to step: most where the network's own moves decide what it sees next, which computes in float64.
PROGRAMS = {
    "digits": (23, ("curves.png", "confusion.png", "misclassified.png", "graph.png"), 2e-5),
    "vae": (20, ("vae.png",), 2e-6),
    "gpt": (8, ("gpt.txt",), 2e-6),
    "lstm": (15, ("lstm.png",), 2e-6),
    "reinforce": (8, ("reinforce.png",), 1e-10),
    "neural_ode": (10, ("neural_ode.png",), 2e-6),
    "maml": (20, ("maml.png",), 2e-6),
    "laplace": (20, ("laplace.png",), 1e-10),
    "finetune": (20, ("finetune.png", "finetune.pt"), 2e-6),
}
NEEDS_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def run(name: str, folder: Path, *options: str) -> str:
    command = (sys.executable, str(ROOT / f"examples/{name}.py"), "--out", str(folder), *options)
    one = dict.fromkeys(("FLAMBEAU_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **one, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(name: str, folder: Path) -> list[float]:
    with (folder / f"{name}.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_runs_and_agrees_with_pytorch(name: str, tmp_path: Path) -> None:
    steps, results, tolerance = PROGRAMS[name]
    run(name, tmp_path / "ours", "--steps", str(steps))
    ours = losses(name, tmp_path / "ours")
    assert len(ours) >= steps
    for result in results:
        written = (tmp_path / "ours" / result).read_bytes()
        assert len(written) > 100 and (not result.endswith("png") or written.startswith(b"\x89PNG"))
    if importlib.util.find_spec("torch") is None:
        return
    run(name, tmp_path / "reference", "--steps", str(steps), "--library", "torch")
    assert ours == pytest.approx(losses(name, tmp_path / "reference"), rel=0, abs=tolerance * abs(ours[0]))


def test_digits_learns(tmp_path: Path) -> None:
    output = run("digits", tmp_path, "--steps", "92")
    assert float(output.split("held-out accuracy ")[1].split("%")[0]) > 90


@NEEDS_TORCH
def test_fine_tuning_goes_on_from_the_other_librarys_checkpoint(tmp_path: Path) -> None:
    run("finetune", tmp_path, "--steps", "5", "--library", "torch")
    before = losses("finetune", tmp_path)
    run("finetune", tmp_path, "--steps", "5")
    # The checkpoint is there, so that this run had no first part.
    assert losses("finetune", tmp_path) == pytest.approx(before[5:], rel=1e-5)


def test_wrong_options_are_named(tmp_path: Path) -> None:
    for options, words in (
        (("--steps", "0"), "not a positive number"),
        (("--library", "jax"), "invalid choice"),
    ):
        command = (sys.executable, str(ROOT / "examples/vae.py"), "--out", str(tmp_path), *options)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 2 and words in done.stderr


def test_make_examples_names_all_of_them() -> None:
    line = next(s for s in (ROOT / "Makefile").read_text().splitlines() if s.startswith("EXAMPLES"))
    assert sorted(line.partition("?=")[2].split()) == sorted(PROGRAMS)
