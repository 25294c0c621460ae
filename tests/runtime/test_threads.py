import ctypes
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from flambeau.runtime import threads

pytest.importorskip("llvmlite")
from flambeau.compiler import engine, launch

COUNT = """define void @count(i64 %i, ptr %c) {
  %p = getelementptr i64, ptr %c, i64 %i
  %v = load i64, ptr %p
  %w = add i64 %v, 1
  store i64 %w, ptr %p
  ret void
}
"""


@pytest.fixture(scope="module")
def count():
    return engine.build(COUNT, ["count"])["count"]


@pytest.fixture(autouse=True)
def _restore():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 8])
def test_every_chunk_runs_exactly_once(count, number):
    pool = launch.pool()
    threads.set_num_threads(number)
    slots = np.zeros(500, np.int64)
    expected = np.zeros(500, np.int64)
    for i in range(1500):
        n = i % 501
        pool.run(count, slots.ctypes.data, n)
        expected[:n] += 1
    np.testing.assert_array_equal(slots, expected)


def test_concurrent_regions(count):
    threads.set_num_threads(4)
    pool, wrong = launch.pool(), []

    def work():
        slots = np.zeros(100, np.int64)
        for _ in range(500):
            pool.run(count, slots.ctypes.data, 100)
        if not (slots == 500).all():
            wrong.append(slots)

    workers = [threading.Thread(target=work) for _ in range(5)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


@pytest.mark.skipif(sys.platform != "linux", reason="the pool's workers need Linux")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_starts_its_own_workers(count):
    threads.set_num_threads(3)
    pool = launch.pool()
    slots = np.zeros(100, np.int64)
    pool.run(count, slots.ctypes.data, 100)
    assert pool.started >= 3
    child = os.fork()
    if child == 0:
        fresh = pool.started == 1
        for _ in range(50):
            pool.run(count, slots.ctypes.data, 100)
        os._exit(0 if fresh and pool.started == 3 and (slots == 51).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_portable_pool_runs_serially(count):
    addresses = engine.build(threads._SERIAL, ["pool.run"])
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(addresses["pool.run"])
    slots = np.zeros(9, np.int64)
    for n in (0, 1, 7):
        run(count, slots.ctypes.data, n)
    np.testing.assert_array_equal(slots, [2, 1, 1, 1, 1, 1, 1, 0, 0])


def test_number_of_threads():
    threads.set_num_threads(2)
    assert threads.get_num_threads() == 2
    threads.set_num_threads(10**6)
    assert threads.get_num_threads() == threads.MAX_THREADS
    for wrong, error in ((0, RuntimeError), (-1, RuntimeError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error):
            threads.set_num_threads(wrong)
    assert threads.get_num_threads() == threads.MAX_THREADS


def test_environment_sets_the_number_of_threads():
    code = "from flambeau.runtime.threads import get_num_threads; print(get_num_threads())"
    path = os.pathsep.join(sys.path)
    for variables, expected in (
        ({"OMP_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "3", "FLAMBEAU_NUM_THREADS": "5"}, "5"),
        ({"OMP_NUM_THREADS": "2,1"}, "2"),
    ):
        clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
        env = {**clean, "PYTHONPATH": path, **variables}
        found = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == expected


LIMITS = """
import ctypes, os, sys
import numpy as np
import flambeau as torch
from flambeau.runtime import blas

paths = blas._libraries("numpy")
if not paths:
    sys.exit(77)
library = ctypes.CDLL(paths[0])
names = ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads", "openblas_get_num_threads")
count = next((getattr(library, name) for name in names if hasattr(library, name)), None)
if count is None:
    sys.exit(77)
for n in (1, min(2, os.cpu_count())):
    torch.set_num_threads(n)
    assert count() == n, (n, count())
seen = []
watched = blas.guarded(lambda a: seen.append(count()) or np.linalg.inv(a), "numpy")
watched(np.eye(64))
watched(np.eye(400))
assert seen == [1, n] and count() == n, (seen, count())
blas._of_package("numpy").crowded = float("inf")  # as after a call in which threads waited
watched(np.eye(400))
assert seen[2:] == [1] and count() == n
torch.set_num_threads(10**6)
assert count() <= os.cpu_count()
"""


def test_the_linear_algebra_of_numpy_uses_as_many_threads():
    done = subprocess.run(
        [sys.executable, "-c", LIMITS], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode == 77:
        pytest.skip("NumPy does not come with an OpenBLAS of its own here")
    assert done.returncode == 0, done.stderr


WAITS = """
import numpy as np
import flambeau as torch
from flambeau.prims import products

clock = iter(range(10**6))
products.perf_counter = lambda: 0.05 * next(clock)  # each product seems to take 50 ms
a, b = torch.ones(64, 256), torch.ones(256, 256)
for _ in range(5):
    assert (a @ b)[0, 0].item() == 256
assert products._State.module is not None
"""


def test_products_that_wait_for_threads_are_no_longer_left_to_numpy():
    done = subprocess.run(
        [sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
