"""The buffer pool: memory is reused exactly when nobody can see it any more."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.runtime import pool

F32 = np.dtype(np.float32)
MIB = 1 << 20


@pytest.fixture(autouse=True)
def fresh_pool() -> Iterator[None]:
    """Each test sees an empty pool with a generous limit."""
    limit = pool.get_limit()
    gc.collect()
    pool.set_limit(512 * MIB)
    pool.empty_cache()
    pool._pool.reset()
    yield
    pool._pool.reset()
    pool.set_limit(limit)


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.float32, np.complex128, ml_dtypes.bfloat16])
def test_result_is_a_plain_writable_contiguous_aligned_array(dtype: Any) -> None:
    d = np.dtype(dtype)
    a = pool.empty((3, 1024, 1024), d)
    assert type(a) is np.ndarray and a.dtype == d and a.shape == (3, 1024, 1024)
    assert a.flags.c_contiguous and a.flags.writeable and a.flags.aligned
    assert address(a) % 64 == 0
    a.fill(1)
    assert (a == a.dtype.type(1)).all()


def test_small_results_bypass_the_pool() -> None:
    a = pool.empty((MIB // 4 - 1,), F32)
    assert a.base is None and a.size == MIB // 4 - 1
    assert pool.empty((), F32).shape == () and pool.empty((0, 5), F32).shape == (0, 5)
    assert pool.memory_stats()["misses"] == 0


def test_memory_is_recycled_at_once() -> None:
    a = pool.empty((MIB,), F32)
    where = address(a)
    del a
    assert address(pool.empty((1024, 1024), F32)) == where
    stats = pool.memory_stats()
    assert (stats["hits"], stats["misses"]) == (1, 1)


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "view": lambda a: a[1:],
    "reshape of a transpose of a view": lambda a: a.reshape(4, -1)[1:, ::2].T,
    "dtype view": lambda a: a.view(np.uint8)[7:],
    "subclass view": lambda a: a.view(np.matrix),
    "memoryview": lambda a: memoryview(a)[3:],
    "array over a memoryview": lambda a: np.asarray(memoryview(a))[5:],
    "array over the buffer": lambda a: np.frombuffer(a, np.int32)[2:],
    "dlpack": lambda a: np.from_dlpack(a)[2:],
    "capsule": lambda a: a.__dlpack__(),
    "as_strided": lambda a: np.lib.stride_tricks.as_strided(a, (3,), (4,)),
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "flat iterator": lambda a: a.flat,
    "scalar indexing by newaxis": lambda a: a[0, ...],
    "ctypes": lambda a: a.ctypes,
    "base": lambda a: a.base,
    "array over the base": lambda a: np.frombuffer(a.base, np.uint8),
    "memoryview of the base": lambda a: memoryview(a.base),
}


@pytest.mark.parametrize("how", HOLDERS, ids=str)
def test_memory_is_not_reused_while_anyone_refers_to_it(how: str) -> None:
    a = pool.empty((MIB,), F32)
    where = address(a)
    holder = HOLDERS[how](a)
    del a
    others = [pool.empty((MIB,), F32) for _ in range(3)]
    assert where not in [address(o) for o in others]
    for o in others:
        o.fill(0)  # would be seen through the holder, or crash, if the memory were shared
    del holder


def test_map_cannot_be_closed_under_an_array() -> None:
    a = pool.empty((MIB,), F32)
    with pytest.raises(BufferError):
        a.base.close()  # type: ignore[union-attr]
    a.fill(3)
    assert a[-1] == 3


def test_a_result_in_a_reference_cycle_returns_when_collected() -> None:
    class Holder:
        pass

    h: Any = Holder()
    h.me, h.array = h, pool.empty((MIB,), F32)
    where = address(h.array)
    del h
    gc.collect()
    assert address(pool.empty((MIB,), F32)) == where


def test_statistics() -> None:
    a = pool.empty((MIB + 1,), F32)
    b = pool.empty((2 * MIB,), F32)
    stats = pool.memory_stats()
    assert stats["allocated_bytes.all.current"] == a.nbytes + b.nbytes
    assert stats["active_bytes.all.current"] == stats["reserved_bytes.all.current"] >= a.nbytes + b.nbytes
    assert stats["active_bytes.all.current"] <= 1.125 * (a.nbytes + b.nbytes)  # bounded rounding
    before = stats
    del a
    stats = pool.memory_stats()
    assert stats["allocated_bytes.all.current"] == b.nbytes
    assert stats["allocated_bytes.all.peak"] == before["allocated_bytes.all.current"]
    assert stats["reserved_bytes.all.current"] == before["reserved_bytes.all.current"]
    assert stats["idle_bytes"] == stats["reserved_bytes.all.current"] - stats["active_bytes.all.current"] > 0
    pool.reset_peak_memory_stats()
    assert pool.memory_stats()["allocated_bytes.all.peak"] == b.nbytes
    pool.empty_cache()
    stats = pool.memory_stats()
    assert stats["idle_bytes"] == 0 and stats["trims"] == 1
    assert stats["reserved_bytes.all.current"] == stats["active_bytes.all.current"] > 0
    b.fill(1)  # still valid


def test_limit_is_held_and_oldest_goes_first() -> None:
    pool.set_limit(8 * MIB)
    arrays = [pool.empty((n * MIB // 4,), F32) for n in (2, 4, 8)]
    first, second, third = (address(a) for a in arrays)
    while arrays:
        del arrays[0]
        assert pool.memory_stats()["idle_bytes"] <= 8 * MIB
    assert pool.memory_stats()["idle_bytes"] == 8 * MIB
    assert address(pool.empty((2 * MIB,), F32)) == third
    pool.set_limit(0)
    assert pool.memory_stats()["idle_bytes"] == 0
    a = pool.empty((MIB,), F32)
    del a
    assert pool.memory_stats()["idle_bytes"] == 0
    assert first and second


def test_trim_keeps_what_it_was_asked_to_keep() -> None:
    arrays = [pool.empty((MIB // 4,), F32) for _ in range(10)]
    del arrays
    pool.trim(3 * MIB)
    assert pool.memory_stats()["idle_bytes"] == 3 * MIB


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1000000", 1000000), ("512M", 512 * MIB), ("2GiB", 2 << 30), ("1.5kb", 1536), ("0", 0)],
)
def test_limit_as_text(text: str, expected: int) -> None:
    pool.set_limit(text)
    assert pool.get_limit() == expected


def test_limit_as_percentage_and_bad_limits() -> None:
    pool.set_limit("50%")
    half = pool.get_limit()
    pool.set_limit("25%")
    assert 0 < pool.get_limit() == half // 2
    for bad in ("", "lots", "-1", "5X", "%"):
        with pytest.raises(ValueError, match="size"):
            pool.set_limit(bad)
    with pytest.raises(ValueError, match="-1"):
        pool.set_limit(-1)
    assert pool.get_limit() == half // 2


@pytest.mark.parametrize(("value", "expected"), [("123M", 123 * MIB), ("nonsense", None)])
def test_limit_from_the_environment(value: str, expected: int | None) -> None:
    code = "from flambeau.runtime import pool; print(pool.get_limit())"
    env = {**os.environ, "FLAMBEAU_POOL_LIMIT": value}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    if expected is None:
        assert int(done.stdout) > 0 and "FLAMBEAU_POOL_LIMIT is ignored" in done.stderr
    else:
        assert int(done.stdout) == expected


@pytest.mark.parametrize("shape", [(1 << 62, 4), (1 << 40, 1 << 40), (1 << 63,), (1 << 200,)])
def test_overflowing_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match="Storage size calculation overflowed"):
        pool.empty(shape, F32)


def test_absurd_sizes_name_the_number_and_change_nothing() -> None:
    held = pool.empty((MIB,), F32)
    before = pool.memory_stats()
    with pytest.raises(
        RuntimeError, match=r"you tried to allocate 4503599627370496 bytes .*shape \[1125899906842624\]"
    ):
        pool.empty((1 << 50,), F32)
    after = pool.memory_stats()
    assert after.pop("num_ooms") == before.pop("num_ooms") + 1
    assert after.pop("num_alloc_retries") == before.pop("num_alloc_retries") + 1
    assert after == before
    held.fill(1)


def test_a_failed_allocation_frees_idle_memory_and_tries_again() -> None:
    a = pool.empty((4 * MIB,), F32)
    del a
    with pytest.raises(RuntimeError, match="not enough memory"):
        pool.empty((1 << 50,), F32)
    assert pool.memory_stats()["idle_bytes"] == 0


def test_bad_shapes_leak_nothing() -> None:
    before = pool.memory_stats()
    with pytest.raises(ValueError, match="negative"):
        pool.empty((-1024, -1024), F32)
    with pytest.raises(ValueError, match="negative"):
        pool.empty((-1,), F32)
    with pytest.raises(TypeError, match="object"):
        pool.empty((MIB,), np.dtype(object))
    after = pool.memory_stats()
    assert after["active_bytes.all.current"] == before["active_bytes.all.current"] == 0
    assert after["allocated_bytes.all.current"] == 0


def test_copies_and_pickles_are_independent() -> None:
    a = pool.empty((MIB,), F32)
    a.fill(2)
    copies = [a.copy(), pickle.loads(pickle.dumps(a))]
    del a
    pool.empty((MIB,), F32).fill(9)
    assert all((c == 2).all() for c in copies)


def test_threads_never_share_memory() -> None:
    errors: list[str] = []

    def work(k: int) -> None:
        held: list[tuple[int, Any]] = []
        for i in range(300):
            a = pool.empty(((1 + i % 3) * MIB // 4,), F32)
            value = k * 1000 + i
            a[:16] = value
            a[-16:] = value
            held.append((value, a[:16]))
            held.append((value, a[-16:]))
            if len(held) > 12:
                v, view = held.pop((i * 7) % len(held))
                if not (view == v).all():
                    errors.append(f"thread {k}: {view[0]} instead of {v}")
        if not all((view == v).all() for v, view in held):
            errors.append(f"thread {k}: a held view changed")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    stats = pool.memory_stats()
    assert stats["allocated_bytes.all.current"] == stats["active_bytes.all.current"] == 0
    assert stats["hits"] + stats["misses"] == 4 * 300


def test_deaths_while_the_lock_is_held_are_not_lost() -> None:
    a = pool.empty((MIB,), F32)
    with pool._pool.lock:  # as if the result died inside the pool's own code
        del a
        assert len(pool._pool.dead) == 1
    assert pool.memory_stats()["allocated_bytes.all.current"] == 0
    assert not pool._pool.dead


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork_gives_the_child_its_own_pool_and_copies() -> None:
    a = pool.empty((MIB,), F32)
    a.fill(5)
    idle = pool.empty((2 * MIB,), F32)
    del idle
    with pool._pool.lock:  # the worst moment: another thread holds the lock
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert (a == 5).all()
                b = pool.empty((MIB,), F32)
                b.fill(7)
                a.fill(6)
                del b
                stats = pool.memory_stats()
                code = 0 if stats["misses"] == 1 and address(pool.empty((MIB,), F32)) != address(a) else 2
            finally:
                os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (a == 5).all()
    assert pool.memory_stats()["allocated_bytes.all.current"] == a.nbytes


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 7), st.booleans()), max_size=40))
def test_random_programs_never_see_foreign_writes(program: list[tuple[int, int, bool]]) -> None:
    """Arrays and views of them come and go; each keeps the value written to it."""
    slots: dict[int, tuple[Any, int]] = {}
    for step, (size, slot, as_view) in enumerate(program):
        a = pool.empty((size * MIB // 8,), F32)
        a[:: a.size - 1 or 1] = step
        slots[slot] = (
            (a.reshape(2, -1)[:, :: a.size // 2 - 1 or 1], step) if as_view and a.size % 2 == 0 else (a, step)
        )
        for array, value in slots.values():
            assert array.flat[0] == value and array.flat[-1] == value
    slots.clear()
    a = array = np.empty(0)
    assert pool.memory_stats()["allocated_bytes.all.current"] == 0
