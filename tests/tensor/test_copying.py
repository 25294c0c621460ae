"""Pickling, copy and deepcopy of tensors, against PyTorch where it is installed."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau as torch


class Sub(torch.Tensor):
    pass


def leaf_with_grad(lib: Any) -> Any:
    x = lib.arange(12.0).reshape(3, 4).clone().requires_grad_()
    (x * x).sum().backward()
    return x


def parameter(lib: Any) -> Any:
    p = lib.nn.Parameter(lib.arange(12.0))
    (p * p).sum().backward()
    p.note = [3]
    return p


def with_attribute(lib: Any) -> Any:
    t = lib.arange(3)
    t.note = [1]
    return t


KINDS: dict[str, Any] = {
    "plain": lambda lib: lib.arange(12.0).reshape(3, 4),
    "view": lambda lib: lib.arange(12.0).reshape(3, 4)[1:, ::2],
    "transposed": lambda lib: lib.arange(12).reshape(3, 4).t(),
    "expanded": lambda lib: lib.arange(12.0).reshape(3, 4)[:1, :1].expand(2, 3),
    "channels last": lambda lib: lib.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=lib.channels_last),
    "leaf": lambda lib: lib.ones(3, requires_grad=True),
    "leaf with grad": leaf_with_grad,
    "not a leaf": lambda lib: lib.ones(3, requires_grad=True) * 2,
    "parameter": parameter,
    "frozen parameter": lambda lib: lib.nn.Parameter(lib.ones(2), requires_grad=False),
    "attribute": with_attribute,
    "bfloat16": lambda lib: lib.arange(6).to(lib.bfloat16)[1:],
    "bool": lambda lib: lib.arange(6) > 3,
    "complex": lambda lib: lib.arange(3) + 1j,
    "empty": lambda lib: lib.zeros(3, 0, 2),
    "scalar": lambda lib: lib.arange(3)[1],
}
WAYS: dict[str, Any] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {p}": (lambda x, p=p: pickle.loads(pickle.dumps(x, p))) for p in range(6)},
}


def described(t: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        grad = t.grad
    values = t.detach()
    values = values.double() if not t.is_complex() else values
    return (
        *(type(t).__name__, str(t.dtype), tuple(t.shape), t.stride(), t.requires_grad, t.is_leaf),
        *(values.tolist(), None if grad is None else grad.tolist(), dict(t.__dict__)),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_as_pytorch(kind: str, way: str) -> None:
    other = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = KINDS[kind](torch), KINDS[kind](other)
    try:
        expected = described(WAYS[way](theirs))
    except RuntimeError:
        with pytest.raises(RuntimeError, match="graph leaves"):
            WAYS[way](ours)
        return
    assert described(WAYS[way](ours)) == expected


@pytest.mark.parametrize("way", WAYS)
def test_views_share_memory_afterwards(way: str) -> None:
    t = torch.arange(12.0).reshape(3, 4)
    parts = [t, t[1:, ::2], t.t(), t[0].expand(2, 4), t[:, :0], t.detach()]
    if way == "copy":
        copies = [copy.copy(x) for x in parts]
        assert copies[0].data_ptr() == t.data_ptr()
    else:
        copies = WAYS[way](parts)
        assert copies[0].data_ptr() != t.data_ptr()
    whole, part, turned, wide, empty, detached = copies
    before = part._version
    whole.fill_(7)
    for x in (part, turned, wide, detached):
        assert (x == 7).all()
    assert part._version == turned._version == before + 1
    assert empty.shape == (3, 0)
    assert part.stride() == (4, 2)
    part.zero_()
    assert whole.sum().item() == 7 * 8


def test_whatever_order_the_views_come_in() -> None:
    t = torch.arange(10)
    view, whole = pickle.loads(pickle.dumps([t[3:5], t]))
    view.fill_(-1)
    assert whole.tolist() == [0, 1, 2, -1, -1, 5, 6, 7, 8, 9]


def test_stale_values_are_noticed_through_a_copy() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    copy.copy(y.detach()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_identity_in_a_deep_copy() -> None:
    t = torch.ones(2)
    a, b, (c,) = copy.deepcopy([t, t, (t,)])
    assert a is b is c
    shared = torch.nn.Linear(2, 2)
    other = torch.nn.Linear(2, 2)
    other.weight = shared.weight
    pair = copy.deepcopy(torch.nn.Sequential(shared, other))
    assert pair[0].weight is pair[1].weight is not shared.weight


def test_subclasses_keep_their_class_and_attributes() -> None:
    s = torch.arange(4.0).as_subclass(Sub)
    s.note = [1]  # type: ignore[attr-defined]
    for way, fn in WAYS.items():
        found = fn(s)
        assert type(found) is Sub, way
        assert found.note == [1]
        assert (found.note is s.note) == (way == "copy")  # type: ignore[attr-defined]
    x = torch.array_api.asarray([1, 2])
    assert type(copy.deepcopy(x)) is type(pickle.loads(pickle.dumps(x))) is torch.array_api.Array
    assert pickle.loads(pickle.dumps(x)).size == 2


def test_buffers_travel_out_of_band() -> None:
    t = torch.arange(100_000.0)
    buffers: list[Any] = []
    data = pickle.dumps([t, t[1:]], protocol=5, buffer_callback=buffers.append)
    assert len(data) < 2000
    assert len(buffers) == 1
    whole, part = pickle.loads(data, buffers=[bytearray(b.raw()) for b in buffers])
    part.zero_()
    assert whole.sum().item() == 0


def test_no_cycles_are_left() -> None:
    gc.collect()
    gc.disable()
    try:
        for fn in WAYS.values():
            fn(torch.ones(3)[1:])
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_damaged_pickles_do_not_reach_outside() -> None:
    from flambeau.tensor.copying import put_together

    memory = np.zeros(4, np.float32)
    for place in (
        (memory.dtype, (5,), (4,), 0),
        (memory.dtype, (2,), (4,), 12),
        (memory.dtype, (2,), (-4,), 4),
        (memory.dtype, (1,), (4,), -4),
    ):
        with pytest.raises(ValueError, match="not inside"):
            put_together(memory, place)


def test_inside_a_transform() -> None:
    for way in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="transform"):
            torch.vmap(way)(torch.ones(2, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.float32,
        lambda: torch.device("cuda:1"),
        lambda: torch.Size([2, 3]),
        lambda: torch.strided,
        lambda: torch.channels_last,
        lambda: torch.sin,
        lambda: torch.add,
        lambda: torch.matmul,
        lambda: torch.nn.functional.relu,
        lambda: torch.special.erf,
        lambda: torch.return_types.max,
    ],
)
def test_other_values(make: Any) -> None:
    value = make()
    for p in range(6):
        assert pickle.loads(pickle.dumps(value, p)) == value
    assert copy.deepcopy(value) == copy.copy(value) == value


def test_named_results() -> None:
    found = torch.max(torch.tensor([[1.0, 3.0], [2.0, 0.0]]), 1)
    back = pickle.loads(pickle.dumps(found))
    assert type(back) is type(found) is torch.return_types.max
    assert back.values.tolist() == [3, 2]
    assert copy.deepcopy(found).indices.tolist() == [1, 0]


def test_numpy_asks_for_arrays() -> None:
    t = torch.arange(3.0)
    assert np.asarray(t).base is not None or np.shares_memory(np.asarray(t), t.numpy())
    assert np.array(t, dtype=np.int32).tolist() == [0, 1, 2]
    assert not np.shares_memory(np.array(t, copy=True), t.numpy())
    with pytest.raises(ValueError, match="avoid copy"):
        np.array(t, dtype=np.float64, copy=False)
    found = np.sin(t)
    assert type(found) is torch.Tensor
    np.testing.assert_array_equal(found.numpy(), np.sin(t.numpy()))
    assert np.isnan(t).dtype is torch.uint8  # PyTorch's too
    np.testing.assert_array_equal(np.add(np.ones(3, np.float32), t), t.numpy() + 1)
    with pytest.raises(RuntimeError, match="requires grad"):
        np.sin(torch.ones(2, requires_grad=True))
