"""In-place writes: versions, staleness, views of views, writes to the base, detach, data: the same trace as PyTorch's."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import flambeau
from parity import attempt, scenario


@scenario
def test_versions(t: Any) -> Any:
    x = t.zeros(4)
    v = x[1:3]
    w = v.view(2, 1)
    d = x.detach()
    yield x._version, v._version, w._version, d._version
    x.add_(1)
    yield x._version, v._version, w._version, d._version
    w.mul_(2)
    yield x._version, v._version, w._version, d._version
    d.zero_()
    yield x._version, v._version, w._version, d._version
    v[0] = 3
    yield x._version, x
    x.data.add_(1)
    yield x._version, x
    c = x.clone()
    yield c._version
    y = t.zeros(2)
    y.copy_(t.ones(2))
    y += 1
    y[:] = 4
    t.add(y, 1, out=y)
    y.requires_grad_()
    yield y._version
    x.resize_(2)
    yield x.shape


@scenario
def test_stale_saved_tensors(t: Any) -> Any:
    def run(make: Any, write: Any) -> Any:
        x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
        h = x * 1
        y = make(h, x)
        write(h, x, y)
        y.sum().backward()
        return x.grad

    writes = {
        "input": lambda h, x, y: h.add_(1),
        "view": lambda h, x, y: h[:1].add_(1),
        "detached": lambda h, x, y: h.detach().add_(1),
        "data": lambda h, x, y: h.data.add_(0),
        "output": lambda h, x, y: y.add_(1),
        "nothing": lambda h, x, y: None,
        "setitem": lambda h, x, y: h.__setitem__(0, 5.0),
    }
    makes = {
        "mul": lambda h, x: h * h, "add": lambda h, x: h + 1, "exp": lambda h, x: h.exp(), "sum": lambda h, x: h.sum(),
        "matmul": lambda h, x: h @ h, "relu": lambda h, x: h.relu(), "sin": lambda h, x: h.sin(), "clone": lambda h, x: h.clone(),
        "cat": lambda h, x: t.cat([h, h]), "max": lambda h, x: h.max(), "softmax": lambda h, x: h.softmax(0), "pow": lambda h, x: h**3,
        "sqrt": lambda h, x: h.sqrt(), "sigmoid": lambda h, x: h.sigmoid(), "div": lambda h, x: h / (h + 1), "view": lambda h, x: h.view(3, 1) * 2,
    }  # fmt: skip
    for m in makes:
        for w in writes:
            yield m, w, attempt(lambda m=m, w=w: run(makes[m], writes[w]))


@scenario
def test_leaves_are_protected(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    for f in (
        lambda: x.add_(1), lambda: x[0].add_(1), lambda: x.view(3, 1).mul_(2), lambda: x.__setitem__(0, 1.0), lambda: x.zero_(),
        lambda: x.copy_(t.zeros(3)), lambda: x.t_(), lambda: x.detach().add_(1), lambda: x.data.add_(1), lambda: x.expand(2, 3)[0].add_(1),
        lambda: t.add(t.ones(3), 1, out=x), lambda: x.fill_(2.0), lambda: x.detach_(), lambda: x.requires_grad_(False),
    ):  # fmt: skip
        yield attempt(f), x
    y = t.ones(3, requires_grad=True)
    with t.no_grad():
        y.add_(1)
        y[0] = 7
        y.view(3, 1).mul_(2)
    (y * y).sum().backward()
    yield y, y.grad, y.is_leaf


@scenario
def test_out_of_place_then_in_place(t: Any) -> Any:
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y += x
    y *= 3
    y -= 1
    y /= 2
    y **= 2
    yield y
    y.sum().backward()
    yield x.grad


@scenario
def test_write_to_the_base_then_use_an_old_view(t: Any) -> Any:
    x = t.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    base = x * 1
    v = base[1:3]
    w = v[1]
    base.mul_(10)
    yield v, w
    (v.sum() * 2 + w * 100).backward()
    yield x.grad


@scenario
def test_write_through_views_of_views(t: Any) -> Any:
    x = t.arange(12.0, requires_grad=True)
    base = (x * 1).view(3, 4)
    rows = base[1:]
    block = rows[:, 1:3]
    block.t().mul_(t.tensor([[2.0, 3.0], [5.0, 7.0]]))
    yield base, rows, block
    rows.add_(1)
    (base * t.arange(12.0).view(3, 4)).sum().backward()
    yield x.grad


@scenario
def test_write_a_tensor_that_requires_grad_into_a_constant(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    base = t.zeros(4)
    view = base[:2]
    view.copy_(x * 3)
    yield base.requires_grad, base.is_leaf
    base[2:].add_(x)
    (base * t.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    yield base, x.grad


@scenario
def test_setitem_gradients(t: Any) -> Any:
    for key in (
        0,
        slice(1, 3),
        (slice(None), 1),
        [0, 2],
        t.tensor([True, False, True]),
        (t.tensor([0, 1]), t.tensor([1, 0])),
        Ellipsis,
        None,
    ):
        x = t.ones(3, 2, requires_grad=True)
        v = t.tensor(5.0, requires_grad=True)
        y = x * 2
        y[key] = v
        y[0, 0] *= 3
        (y * t.arange(6.0).view(3, 2)).sum().backward()
        yield str(key), x.grad, v.grad


@scenario
def test_gradients_of_each_view_kind(t: Any) -> Any:
    views = (
        lambda b: b.view(6), lambda b: b.t(), lambda b: b.transpose(0, 1), lambda b: b.permute(1, 0), lambda b: b[0], lambda b: b[:, 1:],
        lambda b: b.unsqueeze(1), lambda b: b.squeeze(), lambda b: b.narrow(1, 0, 2), lambda b: b.select(1, 1), lambda b: b.diagonal(),
        lambda b: b.flatten(), lambda b: b.as_strided((2,), (1,), 1),
        lambda b: b.reshape(3, 2), lambda b: b.view_as(b), lambda b: b.unflatten(1, (3, 1)), lambda b: b.swapaxes(0, 1), lambda b: b.movedim(0, 1),
        lambda b: b[...], lambda b: b[None], lambda b: b[::1, ::2], lambda b: b.T, lambda b: b.expand(2, 3), lambda b: b.unfold(1, 2, 2),
    )  # fmt: skip
    for i, make in enumerate(views):
        x = t.arange(6.0).view(2, 3).requires_grad_()
        base = x * 1

        def write(make: Any = make, base: Any = base) -> Any:
            v = make(base)
            v.mul_(3)
            return v

        v = attempt(write)
        yield i, v, base
        if not isinstance(v, str):
            (base**2).sum().backward()
            yield x.grad


@scenario
def test_detach_and_data(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    y = x * 2
    d = y.detach()
    yield d.requires_grad, d.is_leaf, d.data_ptr() == y.data_ptr(), d._is_view()
    y.detach_()
    yield y.requires_grad, y.is_leaf, y.grad_fn
    yield attempt(lambda: (x * 1)[0].detach_())
    x.data = t.full((3,), 4.0)
    yield x
    (x * x).sum().backward()
    yield x.grad
    yield attempt(lambda: setattr(x, "data", 3))
    x.data[0] = 9
    yield x, x.data.requires_grad


@scenario
def test_base_and_is_view(t: Any) -> Any:
    x = t.zeros(4)
    v = x[1:]
    w = v[1:]
    yield (
        v._is_view(),
        w._base is x,
        x._base is None,
        x.detach()._is_view(),
        x.clone()._is_view(),
        v.contiguous() is v,
    )
    yield x.view(2, 2)._base is x, (x + 1)._base is None, x.reshape(2, 2)._base is x


@scenario
def test_copy_and_fill(t: Any) -> Any:
    x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
    s = t.tensor([4.0, 5.0, 6.0], dtype=t.float64, requires_grad=True)
    y = x * 2
    y.copy_(s * s)
    y.sum().backward()
    yield x.grad, s.grad
    y = x * 2
    y.fill_(3)
    yield y.requires_grad
    y.sum().backward()
    yield x.grad
    y = x * 2
    y.masked_fill_(t.tensor([True, False, True]), 0)
    y.clamp_(max=3.5)
    y.sum().backward()
    yield y, x.grad
    y = x * 2
    y.index_add_(0, t.tensor([0, 0]), x[1:])
    y.scatter_(0, t.tensor([1]), x[:1])
    y.sum().backward()
    yield y, x.grad


@scenario
def test_overlapping_memory(t: Any) -> Any:
    x = t.ones(3)
    yield attempt(lambda: x.expand(2, 3).add_(1))
    yield attempt(lambda: x.expand(2, 3).mul_(t.ones(2, 3))), x
    y = t.arange(4.0)
    yield attempt(lambda: y[1:].copy_(y[:-1].clone())), y
    yield attempt(lambda: y.add_(y)), attempt(lambda: y.t().add_(y)), y


@scenario
def test_swapping_in_place_shape(t: Any) -> Any:
    x = t.arange(6.0).view(2, 3).requires_grad_()
    y = x * 1
    y.t_()
    yield y.shape, y
    y.unsqueeze_(0)
    y.squeeze_()
    y.transpose_(0, 1)
    (y * t.arange(6.0).view(2, 3)).sum().backward()
    yield y, x.grad


@scenario
def test_in_place_needs_the_same_kind_of_numbers(t: Any) -> Any:
    i = t.ones(2, dtype=t.int64)
    f = t.ones(2)
    yield attempt(lambda: i.add_(1.5)), attempt(lambda: i.mul_(f)), attempt(lambda: i.add_(1)), i
    yield attempt(lambda: f.add_(1j)), attempt(lambda: f.add_(t.ones(2, dtype=t.float64))), f
    yield (
        attempt(lambda: (f > 0).add_(1)),
        attempt(lambda: f.add_(t.ones(3))),
        attempt(lambda: f.add_(t.ones(2, 2))),
    )
    yield attempt(lambda: i.div_(2)), attempt(lambda: i.floor_divide_(2)), i


def test_writes_to_outputs_of_functions_with_several_views() -> None:
    """PyTorch refuses these; here they have their gradients."""
    for make in (lambda b: b.unbind(0)[1], lambda b: b.split(1)[1][0], lambda b: b.chunk(2)[1][0]):
        x = flambeau.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        base = x * 1
        make(base).mul_(10)
        (base * base).sum().backward()
        assert x.grad.tolist() == [[2.0, 4.0], [600.0, 800.0]]


def test_writes_through_views_made_without_grad_are_refused() -> None:
    x = flambeau.ones(3, requires_grad=True)
    y = x * 1
    with flambeau.no_grad():
        v = y[:2]
    with pytest.raises(RuntimeError, match="created in no_grad mode"):
        v.mul_(5)
    assert y.tolist() == [1.0, 1.0, 1.0] and y._version == 0
    with flambeau.no_grad():
        v.mul_(5)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_infinite_cotangents_stay_out_of_constant_parts() -> None:
    for f in (flambeau.floor, flambeau.sign, flambeau.round, flambeau.trunc):
        x = flambeau.tensor([1.5, -0.5], requires_grad=True)
        f(x).backward(flambeau.tensor([float("inf"), float("nan")]))
        assert x.grad.tolist() == [0.0, 0.0]


def test_the_error_names_both_operations_and_both_lines() -> None:
    x = flambeau.ones(2, requires_grad=True)
    h = x * 1
    y = h * h  # saved here
    h.add_(1)  # changed here
    with pytest.raises(RuntimeError) as e:
        y.sum().backward()
    text = str(e.value)
    assert "modified by an inplace operation" in text and "is at version 1; expected version 0" in text
    assert "saved by mul" in text and "changed by add_" in text
    assert "y = h * h  # saved here" in text and "h.add_(1)  # changed here" in text
    assert ".clone()" in text


def test_a_second_backward_names_the_first() -> None:
    x = flambeau.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()  # consumed here
    with pytest.raises(RuntimeError, match=r"(?s)second time.*retain_graph=True.*consumed here"):
        y.backward()


@scenario
def test_one_value_for_elements_that_share_their_memory(t: Any) -> Any:
    for write in (lambda x: x.fill_(2), lambda x: x.zero_()):
        base = t.ones(1, 2)
        yield write(base.expand(3, 2)), base
    yield attempt(lambda: t.ones(1).expand(3).add_(1)), attempt(lambda: t.ones(1).expand(3).copy_(t.ones(3)))


@scenario
def test_a_tensor_that_a_leaf_is_written_to_is_a_copy_of_it(t: Any) -> Any:
    for write in (
        lambda y, x: y.copy_(x),
        lambda y, x: y.__setitem__(slice(None), x),
        lambda y, x: y.__setitem__(..., x),
        lambda y, x: y[:].copy_(x),
        lambda y, x: y.view(-1).copy_(x),
    ):
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = t.zeros(2)
        write(y, x)
        yield y.requires_grad, y.is_leaf, y is x
        y.add_(1)
        y.mul_(3)
        y.sum().backward()
        yield y, x.grad


@scenario
def test_in_place_views_of_views_of_leaves(t: Any) -> Any:
    for change in (
        lambda y: y.t_(),
        lambda y: y.squeeze_(),
        lambda y: y.unsqueeze_(0),
        lambda y: y.transpose_(0, 1),
    ):
        x = t.ones(2, 2, requires_grad=True)
        y = x.T
        yield attempt(functools.partial(change, y))
        with t.no_grad():
            yield change(y).shape, x.shape
