"""When hooks run, what a walk calls at its end, nodes as functions: the same trace as PyTorch's."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flambeau
from parity import attempt, scenario


@scenario
def test_hooks_of_inputs_that_grad_asks_for(t: Any) -> Any:
    log: list[Any] = []
    a = t.tensor(1.0, requires_grad=True)
    b = a * 2
    c = b * 3
    a.register_hook(lambda g: log.append("a"))
    b.register_hook(lambda g: log.append("b"))
    acc = b.grad_fn.next_functions[0][0]
    for name, node in (("acc", acc), ("node", b.grad_fn)):
        node.register_prehook(lambda g, name=name: log.append(f"before {name}"))
        node.register_hook(lambda i, o, name=name: log.append(f"after {name}"))
    for call in (
        lambda: t.autograd.grad(c, b, retain_graph=True),
        lambda: t.autograd.grad(c, (a, b), retain_graph=True),
        lambda: c.backward(retain_graph=True),
        lambda: c.backward(inputs=(b,), retain_graph=True),
        lambda: c.backward(inputs=(a, b), retain_graph=True),
    ):
        log.clear()
        call()
        yield [*log]


@scenario
def test_gradients_of_inputs_that_are_no_leaves(t: Any) -> Any:
    a = t.tensor(1.0, requires_grad=True)
    b = a * 2
    c = b * 3
    b.grad_fn.register_prehook(lambda gs: (gs[0] * 100,))
    yield t.autograd.grad(c, (a, b), retain_graph=True)
    c.backward(inputs=(b,), retain_graph=True)
    yield b.grad, a.grad, b.retains_grad
    c.backward(inputs=(b,), retain_graph=True)
    yield b.grad
    c.backward(inputs=(a,), retain_graph=True)
    yield b.grad, a.grad


@scenario
def test_order_around_a_leaf(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    acc = x.view_as(x).grad_fn.next_functions[0][0]
    x.register_hook(lambda g: g.sub(2.0))
    acc.register_prehook(lambda gs: (gs[0].div(5.0),))

    def between(p: Any) -> None:
        p.grad.add_(0.5)

    x.register_post_accumulate_grad_hook(between)

    def last(gi: Any, go: Any) -> None:
        x.grad = go[0].mul(10)

    acc.register_hook(last)
    x.sum().backward()
    yield x.grad
    y = t.ones(2, requires_grad=True)
    y.register_post_accumulate_grad_hook(lambda p: p.grad)
    yield attempt(lambda: y.sum().backward())


@scenario
def test_leaves_with_hooks_run_as_soon_as_their_gradient_is_whole(t: Any) -> Any:
    log: list[str] = []
    w = [t.full((2, 2), 0.5 + i, requires_grad=True) for i in range(3)]
    for i, p in enumerate(w):
        p.register_post_accumulate_grad_hook(lambda p, i=i: log.append(f"w{i} {p.grad.sum().item():.3f}"))
    for _ in range(2):
        h = t.ones(2, 2) @ w[0]
        k = h @ w[1]
        h.register_hook(lambda g: log.append("h"))
        k.register_hook(lambda g: log.append("k"))
        ((k @ w[2]).sum() + (k * w[2]).sum()).backward()
    yield log


@scenario
def test_callbacks_at_the_end(t: Any) -> Any:
    engine = t.autograd.Variable._execution_engine
    log: list[str] = []
    x = t.ones(2, requires_grad=True)

    class Inner(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            log.append("outer node")
            engine.queue_callback(lambda: log.append("outer end"))
            with t.enable_grad():
                y = t.ones(1, requires_grad=True)
                z = y * 3
                z.register_hook(lambda g: engine.queue_callback(lambda: log.append("inner end")))
                z.sum().backward()
            log.append("outer node ends")
            return g * 2

    def more() -> None:
        log.append("first end")
        engine.queue_callback(lambda: log.append("queued at the end"))

    y = Inner.apply(x)
    y.register_hook(lambda g: engine.queue_callback(more))
    y.sum().backward()
    yield log
    yield attempt(lambda: engine.queue_callback(lambda: None))


@scenario
def test_callbacks_of_a_pass_that_fails_are_forgotten(t: Any) -> Any:
    engine = t.autograd.Variable._execution_engine
    log: list[str] = []
    x = t.ones(2, requires_grad=True)

    def fails(g: Any) -> None:
        engine.queue_callback(lambda: log.append("never"))
        raise ValueError("stop")

    y = x * 2
    y.register_hook(fails)
    yield attempt(lambda: y.sum().backward())
    z = x * 3
    z.register_hook(lambda g: engine.queue_callback(lambda: log.append("end")))
    z.sum().backward()
    yield log


@scenario
def test_nodes_are_functions(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    node = (x * x).grad_fn
    yield [g.detach() for g in node(t.ones(2))]
    yield attempt(lambda: node())[0], attempt(lambda: node(t.ones(2), t.ones(2)))[0]
    acc = node.next_functions[0][0]
    yield acc(t.ones(2)), x.grad


@scenario
def test_retained_gradients_follow_writes_through_views(t: Any) -> Any:
    base = t.tensor([1.0], requires_grad=True).clone()
    base.retain_grad()
    view, other = base[:], base[:]
    view.retain_grad()
    other.retain_grad()
    view.mul_(2)
    (view + other).sum().backward()
    yield view.grad, other.grad, base.grad


@scenario
def test_nodes_of_functions_bear_their_names(t: Any) -> Any:
    class Mine(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

    x = t.ones(2, requires_grad=True)
    y = Mine.apply(x)
    yield type(y.grad_fn).__name__, y.grad_fn.name(), isinstance(y.grad_fn, t.autograd.graph.Node)
    yield y is x, y.data_ptr() == x.data_ptr(), y._is_view()


@scenario
def test_functions_with_the_wrong_methods(t: Any) -> Any:
    class Neither(t.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clone()

    class Both(Neither):
        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g

        @staticmethod
        def vjp(ctx: Any, g: Any) -> Any:
            return g

    x = t.ones(1, requires_grad=True)
    yield attempt(lambda: Neither.apply(x).sum().backward())
    yield attempt(lambda: Both.apply(x).sum().backward())


def test_hooks_over_several_tensors_in_threads() -> None:
    x, y = (flambeau.ones(2, requires_grad=True) for _ in range(2))
    calls: list[int] = []
    flambeau.autograd.graph.register_multi_grad_hook((x, y), lambda gs: calls.append(len(gs)))
    out = (x * y).sum()
    threads = [threading.Thread(target=lambda: out.backward(retain_graph=True)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [2] * 8


def test_a_graph_with_hooks_on_some_leaves_has_the_same_gradients() -> None:
    def gradients(hooked: bool) -> list[Any]:
        flambeau.manual_seed(0)
        w = [flambeau.randn(4, 4, requires_grad=True) for _ in range(4)]
        if hooked:
            for p in w[::2]:
                p.register_post_accumulate_grad_hook(lambda p: None)
        x = flambeau.randn(3, 4)
        h = (x @ w[0]).tanh() @ w[1] + x @ w[0]
        values, _ = h.max(0)
        (h @ w[2] @ w[3] + values @ w[0]).sum().backward()
        return [p.grad for p in w]

    for a, b in zip(gradients(False), gradients(True)):
        flambeau.testing.assert_close(a, b)


def test_saved_tensors_may_be_written_to_inside_the_block() -> None:
    a = flambeau.rand(2, 3, requires_grad=True)
    with flambeau.autograd.graph.allow_mutation_on_saved_tensors() as block:
        b = a.clone()
        out = (b**2).sum() + b[0].exp().sum()
        b[0].sin_()
        assert len(block.cloned)
        b.mul_(3)
        out.backward()
        assert not len(block.cloned)
    wanted = 2 * a.detach()
    wanted[0] += a.detach()[0].exp()
    flambeau.testing.assert_close(a.grad, wanted)

    with flambeau.autograd.graph.allow_mutation_on_saved_tensors():
        late = (a**2).sum()
        with pytest.raises(RuntimeError, match="cannot be nested"):
            with flambeau.autograd.graph.allow_mutation_on_saved_tensors():
                pass
    with pytest.raises(AssertionError, match="outside of the 'allow_mutation"):
        late.backward()
    c = a.clone()
    out = (c**2).sum()
    c.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()
