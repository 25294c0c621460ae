"""Starting the processes of a job on this machine: ``python -m flambeau.distributed.run --nproc-per-node 2 train.py``.

The options are those of PyTorch's torchrun.  Each process gets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT, from which `init_process_group` finds the others; the store is held by the launcher (of the first
machine), so that no port can be taken in between.  When a process fails the others are stopped, and on a single machine
all are started again up to ``--max-restarts`` times.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from .elastic.multiprocessing.errors import ChildFailedError
from .errors import DistNetworkError
from .tcp_store import TCPStore

__all__ = ["get_args_parser", "main", "parse_args", "run"]

_GRACE = 30.0  # seconds between asking a process to end and ending it


def get_args_parser() -> ArgumentParser:
    """The options."""
    parser = ArgumentParser(prog="torchrun", description="Starts the processes of a job")

    def add(name: str, **kwargs: Any) -> None:
        names = [f"--{name}"] + ([f"--{name.replace('-', '_')}"] if "-" in name else [])
        parser.add_argument(*names, **kwargs)

    add("nnodes", default="1:1", help="number of machines")
    add("nproc-per-node", default="1", help="processes on each machine: a number, 'auto' or 'cpu'")
    add("rdzv-backend", default="static", help="'static' (--node-rank says which machine) or 'c10d'")
    add("rdzv-endpoint", default="", help="host:port at which the machines meet, with 'c10d'")
    add("rdzv-id", default="none", help="name of the job")
    add("rdzv-conf", default="", help="timeout=SECONDS for the machines to meet")
    add("standalone", action="store_true", help="one machine, any free port")
    add("max-restarts", type=int, default=0, help="how often to start again after a failure, on one machine")
    add("monitor-interval", type=float, default=0.1, help="seconds between looks at the processes")
    add("start-method", default="spawn", choices=["spawn", "fork", "forkserver"], help="ignored")
    add("role", default="default", help="ROLE_NAME of the processes")
    parser.add_argument(
        "-m", "--module", action="store_true", help="the script is a module, as for python -m"
    )
    add("no-python", action="store_true", help="the script is a program")
    add("run-path", action="store_true", help="run the script by runpy.run_path")
    add("log-dir", default=None, help="where to put what is printed, with --redirects")
    parser.add_argument(
        "-r", "--redirects", default="0", help="1: stdout, 2: stderr, 3: both to files of --log-dir"
    )
    parser.add_argument("-t", "--tee", default="0", help="0 only: what is printed is not copied")
    add("node-rank", type=int, default=0, help="which machine this is, with 'static'")
    add("master-addr", default="127.0.0.1", help="address of the first machine, with 'static'")
    add("master-port", type=int, default=29500, help="its port; with one machine any free one unless given")
    add("local-addr", default=None, help="ignored: machines are reached as they reach the first one")
    parser.add_argument("training_script", help="what to run")
    parser.add_argument("training_script_args", nargs=REMAINDER)
    return parser


def parse_args(args: Sequence[str] | None = None) -> Namespace:
    """The options, from `args` or the command line; ``PET_NPROC_PER_NODE`` and the like are defaults."""
    parser = get_args_parser()
    for action in parser._actions:
        found = os.environ.get(f"PET_{action.dest.upper()}")
        if found is not None and action.nargs is None:
            action.default = found
    return parser.parse_args(args)


def _processes(text: str) -> int:
    if text in ("auto", "cpu"):
        return os.cpu_count() or 1
    if text in ("gpu", "xpu"):
        raise ValueError("Cuda is not available: --nproc-per-node takes a number, 'auto' or 'cpu'")
    try:
        count = int(text)
    except ValueError:
        raise ValueError(f"Unsupported nproc_per_node value: {text}") from None
    if count < 1:
        raise ValueError(f"--nproc-per-node is {count}: at least one process is needed")
    return count


def _machines(text: str) -> int:
    low, _, high = text.partition(":")
    if high and low != high:
        raise ValueError(f"--nnodes {text}: the number of machines cannot vary, give one number")
    return int(low)


class _Job:
    """What the options come to."""

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.nodes = 1 if args.standalone else _machines(str(args.nnodes))
        self.local = _processes(str(args.nproc_per_node))
        self.node = int(args.node_rank) if self.nodes > 1 else 0
        self.run_id = str(uuid.uuid4()) if args.standalone else args.rdzv_id
        if not 0 <= self.node < self.nodes:
            raise ValueError(
                f"--node-rank {self.node} of {self.nodes} machines: they are 0 to {self.nodes - 1}"
            )
        if self.nodes > 1 and args.max_restarts:
            warnings.warn("--max-restarts is for one machine; there will be no restarts", stacklevel=2)
        if str(args.tee) != "0":
            raise ValueError("--tee is not implemented: use --redirects with --log-dir")
        self.restarts = int(args.max_restarts) if self.nodes == 1 else 0
        conf = dict(part.split("=", 1) for part in args.rdzv_conf.split(",") if "=" in part)
        self.timeout = timedelta(seconds=float(conf.get("timeout", 900)))
        self.files = tempfile.TemporaryDirectory(prefix="flambeau-run-")

    def store(self) -> TCPStore:
        """The store of an attempt, made here or (for other machines than the first) connected to."""
        args = self.args
        if self.nodes == 1:
            given = args.master_port != 29500 and not args.standalone
            return TCPStore("127.0.0.1", args.master_port if given else 0, None, True, self.timeout, False)
        if args.rdzv_backend == "static":
            return TCPStore(args.master_addr, args.master_port, None, self.node == 0, self.timeout, False)
        if args.rdzv_backend != "c10d":
            raise ValueError(f"--rdzv-backend {args.rdzv_backend}: there are 'static' and 'c10d'")
        host, _, port = args.rdzv_endpoint.rpartition(":")
        if not host:
            raise ValueError("--rdzv-backend c10d with several machines needs --rdzv-endpoint host:port")
        try:
            store = TCPStore(host, int(port), None, True, self.timeout, False)
        except DistNetworkError:  # another machine's address, or another launcher was first
            store = TCPStore(host, int(port), None, False, self.timeout, False)
        self.node = store.add("node", 1) - 1
        if self.node >= self.nodes:
            raise ValueError(f"more than {self.nodes} machines have come to {args.rdzv_endpoint}")
        return store

    def command(self, local_rank: int) -> list[str]:
        """What a process runs."""
        args = self.args
        script, rest = args.training_script, list(args.training_script_args)
        if not getattr(args, "use_env", True):
            rest.insert(0, f"--local-rank={local_rank}")
        if args.no_python:
            return [script, *rest]
        if args.run_path:
            code = (
                "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
            )
            return [sys.executable, "-u", "-c", code, script, *rest]
        return [sys.executable, "-u", *(["-m"] if args.module else []), script, *rest]

    def environment(self, local_rank: int, attempt: int, store: TCPStore) -> dict[str, str]:
        """What it finds in its environment."""
        rank, world = self.node * self.local + local_rank, self.nodes * self.local
        found = {
            **os.environ,
            "LOCAL_RANK": str(local_rank),
            "RANK": str(rank),
            "GROUP_RANK": str(self.node),
            "ROLE_RANK": str(rank),
            "ROLE_NAME": self.args.role,
            "LOCAL_WORLD_SIZE": str(self.local),
            "WORLD_SIZE": str(world),
            "GROUP_WORLD_SIZE": str(self.nodes),
            "ROLE_WORLD_SIZE": str(world),
            "MASTER_ADDR": store.host,
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_RESTART_COUNT": str(attempt),
            "TORCHELASTIC_MAX_RESTARTS": str(self.restarts),
            "TORCHELASTIC_RUN_ID": self.run_id,
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_ERROR_FILE": self.error_file(attempt, local_rank),
        }
        if self.local > 1:  # else each would take all cores
            found.setdefault("OMP_NUM_THREADS", "1")
        return found

    def error_file(self, attempt: int, local_rank: int) -> str:
        """Where a process writes what it failed with."""
        return os.path.join(self.files.name, f"error-{attempt}-{local_rank}.json")

    def outputs(self, attempt: int, local_rank: int) -> tuple[Any, Any]:
        """Where its stdout and stderr go."""
        which = int(self.args.redirects)
        if not which:
            return None, None
        if self.args.log_dir is None:
            raise ValueError("--redirects needs --log-dir")
        folder = os.path.join(self.args.log_dir, self.run_id, f"attempt_{attempt}", str(local_rank))
        os.makedirs(folder, exist_ok=True)
        names = (("stdout.log", 1), ("stderr.log", 2))
        out, err = (open(os.path.join(folder, n), "wb") if which & bit else None for n, bit in names)
        return out, err

    def attempt(self, number: int) -> list[tuple[int, int, str]]:
        """Run all processes once; (rank, exit code, message) of those that failed."""
        store = self.store()
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for i in range(self.local):
                out, err = self.outputs(number, i)
                processes.append(
                    subprocess.Popen(
                        self.command(i), env=self.environment(i, number, store), stdout=out, stderr=err
                    )
                )
                for stream in (out, err):
                    if stream is not None:
                        stream.close()
            failed = self._watch(processes)
        finally:
            _stop(processes)
        if self.nodes > 1:
            self._wait_for_machines(store)
        first = self.node * self.local
        return [(first + i, code, self._message(number, i)) for i, code in failed]

    def _watch(self, processes: list[subprocess.Popen[bytes]]) -> list[tuple[int, int]]:
        while True:
            codes = [p.poll() for p in processes]
            failed = [(i, code) for i, code in enumerate(codes) if code]
            if failed or all(code == 0 for code in codes):
                return failed
            time.sleep(self.args.monitor_interval)

    def _wait_for_machines(self, store: TCPStore) -> None:
        """The machine that holds the store stays until the others are done with it."""
        try:
            store.barrier("launchers", self.nodes, timedelta(seconds=300))
        except RuntimeError:
            pass  # another launcher has ended in another way

    def _message(self, attempt: int, local_rank: int) -> str:
        try:
            with open(self.error_file(attempt, local_rank), encoding="utf-8") as stream:
                return str(json.load(stream)["message"]["message"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    end = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _interrupted(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def run(args: Namespace) -> None:
    """Start the processes and wait for them.

    Raises: ChildFailedError when some fail more often than they may; ValueError for options that do not fit.
    """
    job = _Job(args)
    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        try:
            before[number] = signal.signal(number, _interrupted)
        except ValueError:  # not in the main thread
            break
    try:
        for attempt in range(job.restarts + 1):
            failed = job.attempt(attempt)
            if not failed:
                return
            if attempt < job.restarts:
                print(f"torchrun: {failed}; starting again", file=sys.stderr)
        raise ChildFailedError(args.training_script, failed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        job.files.cleanup()


def main(args: Sequence[str] | None = None) -> None:
    """`run` with the options of `args`, or of the command line."""
    run(parse_args(args))


if __name__ == "__main__":
    try:
        main()
    except (ChildFailedError, ValueError) as error:
        print(f"torchrun: {error}", file=sys.stderr)
        sys.exit(1)
