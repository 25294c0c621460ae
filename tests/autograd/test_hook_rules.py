"""Hooks of all kinds: when they run, in which order, what they may return."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from parity import attempt, scenario


@scenario
def test_tensor_hooks(t: Any) -> Any:
    log: list[Any] = []
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    first = h.register_hook(lambda g: log.append(("first", g.tolist())))
    h.register_hook(lambda g: g * 10)
    h.register_hook(lambda g: log.append(("third", g.tolist())))
    x.register_hook(lambda g: log.append(("leaf", g.tolist())))
    h.sum().backward()
    yield log, x.grad
    first.remove()
    first.remove()
    log.clear()
    (x * 2).sum().backward()
    yield log, x.grad
    yield attempt(lambda: t.ones(1).register_hook(lambda g: g))
    with (x * 2).register_hook(lambda g: g):
        pass


@scenario
def test_hooks_that_return_nonsense(t: Any) -> Any:
    def run(hook: Any) -> Any:
        x = t.tensor([1.0, 2.0], requires_grad=True)
        y = x * 2
        y.register_hook(hook)
        y.sum().backward()
        return x.grad

    yield attempt(lambda: run(lambda g: "text"))
    yield attempt(lambda: run(lambda g: t.ones(3)))
    yield attempt(lambda: run(lambda g: 1 / 0))
    yield attempt(lambda: run(lambda g: None))


@scenario
def test_leaf_hook_changes_what_accumulates(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: -g)
    (x * x).sum().backward()
    yield x.grad
    yield t.autograd.grad((x * x).sum(), x)


@scenario
def test_post_accumulate_hooks(t: Any) -> Any:
    log: list[Any] = []
    x = t.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: log.append("hook"))
    handle = x.register_post_accumulate_grad_hook(lambda p: log.append((p is x, p.grad.tolist())))
    x.sum().backward()
    x.sum().backward()
    yield log
    handle.remove()
    log.clear()
    x.sum().backward()
    yield log
    yield attempt(lambda: (x * 2).register_post_accumulate_grad_hook(lambda p: None))
    y = t.tensor([3.0], requires_grad=True)

    def step(p: Any) -> None:  # an optimizer inside backward
        with t.no_grad():
            p -= 0.5 * p.grad
        p.grad = None

    y.register_post_accumulate_grad_hook(step)
    (y * y).sum().backward()
    yield y, y.grad is None


@scenario
def test_node_hooks(t: Any) -> Any:
    log: list[Any] = []
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    node = y.grad_fn
    handle = node.register_hook(
        lambda gi, go: log.append(("after", [None if g is None else g.tolist() for g in gi], go[0].tolist()))
    )
    node.register_prehook(lambda go: log.append(("before", go[0].tolist())))
    y.register_hook(lambda g: log.append("tensor"))
    y.sum().backward()
    yield log, x.grad
    handle.remove()
    y = x * 3
    y.grad_fn.register_prehook(lambda go: (go[0] * 2,))
    y.grad_fn.register_hook(lambda gi, go: (gi[0] + 100, None))
    x.grad = None
    y.sum().backward()
    yield x.grad


@scenario
def test_order_of_hooks_and_retain_grad(t: Any) -> Any:
    log: list[Any] = []
    x = t.tensor([1.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    yield y.grad, x.grad, log


@scenario
def test_hooks_after_in_place(t: Any) -> Any:
    log: list[Any] = []
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: log.append(("before the write", g.tolist())))
    y.mul_(5)
    y.register_hook(lambda g: log.append(("after the write", g.tolist())))
    y.sum().backward()
    yield log, x.grad


@scenario
def test_hooks_run_once_with_the_whole_gradient(t: Any) -> Any:
    log: list[Any] = []
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 1
    h.register_hook(lambda g: log.append(g.tolist()))
    (h + h * h + h.exp()).sum().backward()
    yield log


@scenario
def test_hooks_see_the_grad_mode(t: Any) -> Any:
    log: list[Any] = []
    x = t.tensor([1.0, 2.0], requires_grad=True)
    for create in (False, True):
        y = x * x
        y.register_hook(lambda g: log.append((t.is_grad_enabled(), g.requires_grad)))
        y.sum().backward(create_graph=create)
        x.grad = None
    yield log


@scenario
def test_multi_grad_hook(t: Any) -> Any:
    log: list[Any] = []
    a, b, c = (t.tensor([float(i)], requires_grad=True) for i in (1, 2, 3))
    handle = t.autograd.graph.register_multi_grad_hook(
        (a, b, c), lambda gs: log.append([None if g is None else g.item() for g in gs])
    )
    (a * b).sum().backward()
    yield log
    (a * b * c).sum().backward()
    yield log
    handle.remove()
    (a * b * c).sum().backward()
    yield log
    t.autograd.graph.register_multi_grad_hook((a, b), lambda g: log.append("any"), mode="any")
    (a * b).sum().backward()
    (a * b).sum().backward()
    yield log


@scenario
def test_saved_tensor_hooks(t: Any) -> Any:
    log: list[Any] = []

    def pack(x: Any) -> Any:
        log.append(("pack", x.tolist()))
        return x.detach().numpy().copy()

    def unpack(x: Any) -> Any:
        log.append("unpack")
        return t.from_numpy(x)

    a = t.tensor([2.0], requires_grad=True)
    b = t.tensor([3.0], requires_grad=True)
    with t.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = a * b
    z = y * y  # outside
    z.sum().backward()
    yield sorted(map(str, log)), a.grad, b.grad
    with t.autograd.graph.save_on_cpu():
        y = a.exp()
    y.sum().backward()
    yield a.grad

    def inside_disabled() -> Any:
        with t.autograd.graph.disable_saved_tensors_hooks("not here"):
            with t.autograd.graph.saved_tensors_hooks(pack, unpack):
                return a * a

    yield attempt(inside_disabled)

    def wrong() -> None:
        with t.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: "text"):
            y = a * b
        y.sum().backward()

    yield attempt(wrong)

    def writes() -> None:
        with t.autograd.graph.saved_tensors_hooks(lambda x: x.mul_(2), lambda x: x):
            a * b

    yield attempt(writes)


@scenario
def test_nested_saved_tensor_hooks(t: Any) -> Any:
    a = t.tensor([2.0], requires_grad=True)
    with t.autograd.graph.saved_tensors_hooks(lambda x: x * 1, lambda x: x * 10):
        y = a * a
        with t.autograd.graph.saved_tensors_hooks(lambda x: x * 1, lambda x: x * 100):
            z = a * a
        w = a * a
    for v in (y, z, w):
        yield t.autograd.grad(v.sum(), a)


def test_retained_gradients_are_those_before_the_nodes_own_hooks():
    x = torch.ones(2, requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: g + 1)
    y.grad_fn.register_prehook(lambda gs: (gs[0] * 10,))
    y.sum().backward()
    assert y.grad.equal(torch.full((2,), 2.0)) and x.grad.equal(torch.full((2,), 60.0))


def test_gradients_of_user_functions_take_the_inputs_shape_and_dtype():
    def with_gradient(make):
        class Twice(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return make(g)

        x = torch.ones(2, 3, requires_grad=True)
        Twice.apply(x).sum().backward()
        return x.grad

    assert with_gradient(lambda g: g.double() * 2).dtype is torch.float32
    assert with_gradient(lambda g: g.expand(4, 2, 3)).equal(torch.full((2, 3), 4.0))
    for wrong in (lambda g: g.sum(), lambda g: g.t(), lambda g: g[:1]):
        with pytest.raises(RuntimeError, match="returned an invalid gradient"):
            with_gradient(wrong)
    with pytest.raises(RuntimeError, match="expected Variable or None"):
        with_gradient(lambda g: 1.0)
