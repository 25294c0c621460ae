"""Tensors between processes: shared, checked, and nothing left behind."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
from multiprocessing import reduction
from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.multiprocessing as mp
import multiprocessing_workers as workers
from flambeau.runtime import shared

fork = pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="this system does not fork")


def through_a_pipe(item: Any) -> Any:
    receiver, sender = mp.Pipe(duplex=False)
    with receiver, sender:
        sender.send(item)
        return receiver.recv()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# ------------------------------------------------------------------------------------------------- share_memory_


def test_the_tensor_and_its_views_move_together() -> None:
    t = torch.arange(12.0).reshape(3, 4)
    row, turned, wide = t[1], t.t(), t[:1].expand(3, 4)
    assert not t.is_shared()
    before = t.data_ptr()
    assert row.share_memory_() is row
    assert t.is_shared() and row.is_shared() and turned.is_shared() and wide.is_shared()
    assert t.data_ptr() != before
    row.fill_(-1)
    assert t.tolist() == [[0, 1, 2, 3], [-1, -1, -1, -1], [8, 9, 10, 11]]
    assert turned[0].tolist() == [0, -1, 8]
    assert turned.stride() == (1, 4)
    address = t.data_ptr()
    assert t.share_memory_().data_ptr() == address
    assert t.untyped_storage().is_shared()
    assert not torch.ones(2).untyped_storage().is_shared()


def test_aliases_move_too() -> None:
    for make in (lambda x: x.detach(), lambda x: x.data, lambda x: copy.copy(x), lambda x: x[1:].detach()):
        t = torch.ones(3)
        other = make(t)
        held = torch.ones(3, requires_grad=True) * t  # its node holds the storage as well
        t.share_memory_()
        assert other.is_shared()
        other.fill_(4)
        assert t[-1] == 4
        t.fill_(5)
        assert other[-1] == 5
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            held.sum().backward()
    p = torch.nn.Parameter(torch.ones(2))
    p.data.share_memory_()
    assert p.is_shared()


@pytest.mark.parametrize("dtype", ["bool", "int64", "bfloat16", "float8_e5m2", "complex64"])
def test_every_kind_of_dtype_and_layout(dtype: str) -> None:
    for t in (
        torch.arange(24).to(getattr(torch, dtype)).reshape(1, 2, 3, 4),
        torch.arange(24).reshape(1, 2, 3, 4).to(getattr(torch, dtype)).to(memory_format=torch.channels_last),
        torch.tensor(3).to(getattr(torch, dtype)),
        torch.zeros(0, 2, dtype=getattr(torch, dtype)),
    ):
        values, stride = t.tolist(), t.stride()
        assert t.share_memory_().tolist() == values
        assert t.stride() == stride
        found = through_a_pipe(t)
        assert found.tolist() == values
        assert found.dtype is t.dtype
        assert found.stride() == stride
        assert found.data_ptr() == t.data_ptr()


def test_autograd_goes_on() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    x.share_memory_()
    y.sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    z = torch.ones(3)
    v = z[1:]
    z.share_memory_()
    v.mul_(x[0])
    z.sum().backward()
    assert x.grad.tolist() == [4, 2, 2]


def test_modules_and_large_tensors() -> None:
    m = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).share_memory()
    assert all(t.is_shared() for t in m.state_dict().values())
    m(torch.randn(3, 4)).sum().backward()
    big = torch.ones(1 << 20)  # from the pool
    assert (big + 1).share_memory_().sum().item() == 2 << 20


def test_inside_a_transform() -> None:
    with pytest.raises(RuntimeError, match="transform|vmap"):
        torch.vmap(lambda t: t.share_memory_())(torch.ones(2, 2))


# ------------------------------------------------------------------------------------------------ in one process


def test_what_is_received_is_the_same_memory() -> None:
    t = torch.arange(10.0)
    whole, part = through_a_pipe([t, t[2:4]])
    assert t.is_shared() and part.is_shared()
    part.zero_()
    assert t.tolist() == whole.tolist() == [0, 1, 0, 0, 4, 5, 6, 7, 8, 9]
    assert whole._version == part._version
    p = torch.nn.Parameter(torch.ones(2))
    p.note = "kept"
    q = through_a_pipe(p)
    assert type(q) is torch.nn.Parameter
    assert q.requires_grad and q.is_leaf
    assert q.note == "kept"
    with pytest.raises(RuntimeError, match="not a leaf"):
        through_a_pipe(p * 2)


def test_plain_pickle_copies() -> None:
    t = torch.ones(3).share_memory_()
    back = pickle.loads(pickle.dumps(t))
    assert not back.is_shared()
    assert back.tolist() == [1, 1, 1]


def test_sizes_are_checked() -> None:
    handle = shared._anonymous_file(64)
    received = os.dup(handle)
    with pytest.raises(RuntimeError, match="of 128 bytes was announced.* has 64"):
        shared.attach(received, 128)
    with pytest.raises(OSError):
        os.fstat(received)  # closed
    os.close(handle)
    with pytest.raises(ValueError, match="at least one byte"):
        shared.allocate(0)
    fn, args = torch.multiprocessing.reductions.reduce_tensor(torch.ones(4))

    class Held:
        def detach(self) -> int:
            return os.dup(args[1].fd if hasattr(args[1], "fd") else shared._anonymous_file(16))

    dtype = np.dtype(np.float32)
    for place in ((dtype, (5,), (4,), 0), (dtype, (1,), (4,), -4), (dtype, (2,), (-4,), 8)):
        with pytest.raises(ValueError, match="not inside"):
            fn(torch.Tensor, Held(), 16, place, False, {})


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors cannot be counted here")
def test_memory_and_descriptors_are_given_back() -> None:
    through_a_pipe(torch.ones(10))
    gc.collect()
    before, known = descriptors(), len(shared._known)
    for _ in range(20):
        t = torch.ones(1000)
        assert through_a_pipe(t[10:]).sum().item() == 990
    del t
    gc.collect()
    assert descriptors() == before
    assert len(shared._known) == known


# -------------------------------------------------------------------------------------------- several processes


@fork
def test_forked_processes_write_to_the_same_memory() -> None:
    context = mp.get_context("fork")
    t = torch.zeros(4).share_memory_()
    others = [context.Process(target=workers.add_index, args=(i, t)) for i in range(4)]
    for p in others:
        p.start()
    for p in others:
        p.join()
    assert t.tolist() == [1, 2, 3, 4]


@fork
def test_queues() -> None:
    context = mp.get_context("fork")
    queue, done = context.Queue(), context.Event()
    process = context.Process(target=workers.produce, args=(queue, done))
    process.start()
    whole, part = queue.get(timeout=60)
    parameter = queue.get(timeout=60)
    done.set()
    process.join()
    assert process.exitcode == 0
    part.zero_()  # the sender is gone, the memory is not
    assert whole.tolist() == [0, 1, 0, 0, 4, 5]
    assert parameter.requires_grad


@fork
def test_there_and_back_again() -> None:
    context = mp.get_context("fork")
    (theirs_in, ours_out), (ours_in, theirs_out) = context.Pipe(False), context.Pipe(False)
    process = context.Process(target=workers.echo, args=(theirs_in, theirs_out))
    process.start()
    t = torch.arange(3.0)
    ours_out.send([t, t[1:]])
    back, part = ours_in.recv()
    assert back.data_ptr() == t.data_ptr()
    assert part.data_ptr() == t[1:].data_ptr()
    ours_out.send(None)
    process.join()
    assert process.exitcode == 0


@fork
def test_pools() -> None:
    with mp.get_context("fork").Pool(2) as pool:
        found = pool.map(workers.square, [torch.full((3,), float(i)) for i in range(4)])
        assert [f.tolist() for f in found] == [[i * i] * 3 for i in range(4)]
        assert pool.apply(torch.sin, (torch.zeros(2),)).tolist() == [0, 0]


def test_spawn() -> None:
    """Arguments of spawned processes are shared too, and hogwild training works on one model."""
    t = torch.zeros(2)
    mp.spawn(workers.add_index, (t,), nprocs=2)
    assert t.tolist() == [1, 2]
    model = torch.nn.Linear(2, 1).share_memory()
    context = mp.spawn(workers.train, (model, 100), nprocs=2, join=False)
    assert context is not None
    assert len(context.pids()) == 2
    while not context.join():
        pass
    assert context.join()
    assert model(torch.ones(1, 2)).item() == pytest.approx(3, abs=0.05)


@fork
@pytest.mark.parametrize("how", ["raise", "exit", "kill"])
def test_failures(how: str) -> None:
    kind = mp.ProcessRaisedException if how == "raise" else mp.ProcessExitedException
    with pytest.raises(kind) as caught:
        mp.start_processes(workers.fail, (1, how), nprocs=3, start_method="fork")
    error: Any = caught.value
    assert error.error_index == 1
    assert type(pickle.loads(pickle.dumps(error))) is kind
    if how == "raise":
        assert "KeyError: 'the reason'" in str(error)
        assert "def fail" not in str(error) and "in fail" in str(error)
    elif how == "exit":
        assert error.exit_code == 7
    else:
        assert error.signal_name == "SIGKILL"
    assert not multiprocessing.active_children()


def test_settings() -> None:
    assert mp.get_sharing_strategy() == "file_descriptor"
    mp.set_sharing_strategy("file_system")
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    mp.set_sharing_strategy("file_descriptor")
    with pytest.raises(ValueError, match="carrier pigeon"):
        mp.set_sharing_strategy("carrier pigeon")
    with pytest.raises(ValueError, match="start_processes"):
        mp.spawn(workers.add_index, start_method="fork")
    assert mp.Process is multiprocessing.Process
    assert set(multiprocessing.__all__) <= set(mp.__all__)
    assert reduction.ForkingPickler._extra_reducers[torch.Tensor] is mp.reductions.reduce_tensor  # type: ignore[attr-defined]
