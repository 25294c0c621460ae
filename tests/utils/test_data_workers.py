"""The loader with worker processes."""

import gc
import glob
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import flambeau
from flambeau.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    get_worker_info,
    transport,
)
from flambeau.utils.data.worker import Failure, numpy_seed

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    gc.collect()  # exceptions keep the frames that they passed, and these the loader's iterator
    assert not multiprocessing.active_children()
    assert not glob.glob(os.path.join(transport.FOLDER, f"flambeau-{os.getpid()}-*"))


class Base(Dataset):
    def __init__(self, n=8):
        self.n = n

    def __len__(self):
        return self.n


class Large(Base):
    """Samples that travel in shared memory."""

    def __getitem__(self, i):
        return np.full(30_000, i, np.float32), i


def values(batches):
    return [[np.asarray(v).tolist() for v in b] for b in batches]


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}, {"prefetch_factor": 1}])
@pytest.mark.parametrize("batching", [{"batch_size": 4, "shuffle": True}, {"batch_size": None}])
def test_the_same_batches_as_without_workers(options, batching):
    dataset = TensorDataset(flambeau.arange(23), flambeau.arange(69.0).reshape(23, 3))

    count = 1 if "persistent_workers" in options else 2  # which draw the workers' seed only once

    def passes(**more):
        flambeau.manual_seed(1)
        loader = DataLoader(dataset, **batching, **more)
        return [values(loader) for _ in range(count)], flambeau.rand(1).item()

    assert passes(num_workers=2, **options) == passes()


def test_large_batches_are_writable_and_outlive_the_loader():
    batches = list(DataLoader(Large(), batch_size=2, num_workers=2))
    for n, (x, i) in enumerate(batches):
        assert x.shape == (2, 30_000) and i.tolist() == [2 * n, 2 * n + 1]
        x.add_(1)
        assert x[1, -1].item() == 2 * n + 2


class Randomness(Base):
    def __init__(self, lib):
        super().__init__(6)
        self.lib = lib

    def __getitem__(self, i):
        info = self.lib.utils.data.get_worker_info()
        draws = float(self.lib.rand(1)), random.random(), float(np.random.rand())
        return *draws, info.seed, info.id, info.num_workers


def test_random_numbers_of_workers_are_pytorchs():
    torch = pytest.importorskip("torch")
    found = []
    for lib in (torch, flambeau):
        lib.manual_seed(9)
        loader = lib.utils.data.DataLoader(Randomness(lib), batch_size=2, num_workers=2, collate_fn=list)
        found.append(list(loader))
    assert found[0] == found[1]


def test_numpy_seeds_are_pytorchs():
    worker = pytest.importorskip("torch.utils.data._utils.worker")
    for base in (0, 1, 2**40 + 5, 2**63 - 1):
        for i in (0, 7):
            assert list(numpy_seed(base, i)) == worker._generate_state(base, i)


class Fails(Base):
    def __init__(self, error):
        super().__init__(6)
        self.error = error

    def __getitem__(self, i):
        if i == 3:
            raise self.error
        return i


class Awkward(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError("bad"), ValueError), (KeyError("k"), KeyError), (Awkward(1, 2), RuntimeError)]
)  # fmt: skip
def test_exceptions_come_with_the_workers_traceback(error, kind):
    it = iter(DataLoader(Fails(error), batch_size=1, num_workers=2))
    for _ in range(3):
        next(it)
    with pytest.raises(kind, match="(?s)in DataLoader worker process 1.*Original Traceback.*in __getitem__"):
        next(it)
    assert [b.item() for b in it] == [4, 5]  # the others are still there


def test_exceptions_of_types_that_cannot_be_sent():
    class Local(Exception):
        pass

    with pytest.raises(RuntimeError, match="Caught"):
        list(DataLoader(Fails(Local("x")), num_workers=1))
    assert Failure(ValueError("x"), "here").kind is ValueError


class Unpicklable(Base):
    def __getitem__(self, i):
        return lambda: i


def test_samples_that_cannot_be_sent_are_reported():
    with pytest.raises((AttributeError, pickle.PicklingError), match="DataLoader worker process 0"):
        list(DataLoader(Unpicklable(), num_workers=1, collate_fn=list))


class Dies(Base):
    def __getitem__(self, i):
        if i == 2:
            os._exit(3)
        return np.zeros(30_000)


def test_a_worker_that_dies_is_noticed_at_once():
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"pid\(s\) \d+\) exited unexpectedly"):
        list(DataLoader(Dies(), num_workers=2))
    assert time.monotonic() - start < 4


class Slow(Base):
    def __getitem__(self, i):
        time.sleep(0.6)
        return i


def test_timeout():
    with pytest.raises(RuntimeError, match="timed out after 0.1 seconds"):
        list(DataLoader(Slow(1), num_workers=1, timeout=0.1))


def mark(worker_id):
    random.marked = worker_id


class Marked(Base):
    def __getitem__(self, i):
        return random.marked


def test_worker_init_fn():
    assert [b.item() for b in DataLoader(Marked(4), num_workers=2, worker_init_fn=mark)] == [0, 1, 0, 1]


def broken(worker_id):
    raise ValueError("no")


def test_a_worker_init_fn_that_fails():
    with pytest.raises(ValueError, match="in DataLoader worker process 0"):
        list(DataLoader(Marked(4), num_workers=1, worker_init_fn=broken))


class Shards(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        yield from range(info.id, self.n, info.num_workers)


@pytest.mark.parametrize("persistent", [False, True])
def test_streams(persistent):
    loader = DataLoader(Shards(11), batch_size=2, num_workers=3, persistent_workers=persistent)
    for _ in range(2):
        batches = [b.tolist() for b in loader]
        assert batches == [[0, 3], [1, 4], [2, 5], [6, 9], [7, 10], [8]]


def test_persistent_workers_stay():
    class Pid(Base):
        def __getitem__(self, i):
            return os.getpid()

    loader = DataLoader(Pid(4), num_workers=2, persistent_workers=True)
    first, second = ([b.item() for b in loader] for _ in range(2))
    assert first == second and os.getpid() not in first
    it = iter(loader)
    next(it)
    assert [b.item() for b in iter(loader)] == first  # a pass that was left in the middle


def test_leaving_in_the_middle_ends_the_workers():
    it = iter(DataLoader(Large(), num_workers=2))
    next(it)
    processes = it._workers
    assert all(p.is_alive() for p in processes)
    del it
    assert not any(p.is_alive() for p in processes)


def test_out_of_order():
    class Uneven(Base):
        def __getitem__(self, i):
            time.sleep(0.3 if i == 0 else 0)
            return i

    loader = DataLoader(Uneven(8), num_workers=2, in_order=False)
    seen = [b.item() for b in loader]
    assert sorted(seen) == list(range(8)) and seen[0] != 0


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_workers(method):
    loader = DataLoader(Large(2), num_workers=1, multiprocessing_context=method)
    assert [i.item() for _, i in loader] == [0, 1]


def test_without_shared_memory(monkeypatch):
    monkeypatch.setattr(transport, "FOLDER", "/nowhere")
    assert [i.tolist() for _, i in DataLoader(Large(4), batch_size=2, num_workers=1)] == [[0, 1], [2, 3]]


def test_too_many_workers_warn():
    with pytest.warns(UserWarning, match="worker processes in total"):
        DataLoader([1], num_workers=5000)


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_transport(size, tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "FOLDER", str(tmp_path))
    sent = {"a": flambeau.arange(size), "b": np.arange(size, dtype=np.int8), "c": "text"}
    got = transport.unpack(transport.Sender("p").pack(sent))
    assert got["c"] == "text" and got["a"].tolist() == list(range(size))
    np.testing.assert_array_equal(got["b"], sent["b"])
    got["a"].add_(1)
    assert not list(tmp_path.iterdir())


def test_what_was_never_read_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "FOLDER", str(tmp_path))
    transport.Sender("p").pack(np.zeros(100_000))
    transport.Sender("q").pack(np.zeros(100_000))
    transport.remove_all("p")
    assert [f.name[0] for f in tmp_path.iterdir()] == ["q"]


PROGRAM = """
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have background jobs ignore it
import flambeau
from flambeau.utils.data import DataLoader, TensorDataset

data = TensorDataset(flambeau.zeros(1000, 300, 100))
for batch in DataLoader(data, batch_size=2, num_workers=2, prefetch_factor=3):
    print("batch", flush=True)
    time.sleep(0.05)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_main_process_that_is_ended_leaves_nothing(number):
    source = os.path.dirname(os.path.dirname(flambeau.__file__))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(3):
        process.stdout.readline()
    workers = multiprocessing_children(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert len(workers) == 2
    assert process.returncode == -number and ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
    deadline = time.monotonic() + 30  # workers look every few seconds whether the main process is there
    while any(map(is_running, workers)) or glob.glob(f"{transport.FOLDER}/flambeau-{process.pid}-*"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def multiprocessing_children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
