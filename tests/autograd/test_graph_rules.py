"""Leaves, accumulation, the life of graphs, options of grad and backward: the same trace as PyTorch's."""

from __future__ import annotations

from typing import Any

from parity import attempt, scenario


@scenario
def test_leaf_rules(t: Any) -> Any:
    x = t.ones(2, requires_grad=True)
    y = x * 2
    z = t.ones(2) * 2
    yield x.is_leaf, y.is_leaf, z.is_leaf, y.detach().is_leaf
    yield x.requires_grad, y.requires_grad, z.requires_grad
    yield attempt(lambda: y.requires_grad_(False)), attempt(lambda: setattr(y, "requires_grad", False))
    yield attempt(lambda: z.requires_grad_()), z.is_leaf
    yield attempt(lambda: t.tensor([1, 2], requires_grad=True))
    yield attempt(lambda: t.tensor([True]).requires_grad_())
    yield attempt(lambda: setattr(x, "grad", t.ones(3)))
    yield attempt(lambda: setattr(x, "grad", t.ones(2, dtype=t.float64)))
    yield attempt(lambda: setattr(x, "grad", 3))
    x.grad = t.full((2,), 5.0)
    (x * x).sum().backward()
    yield x.grad
    x.grad = None
    yield x.grad is None, y.grad is None


@scenario
def test_accumulation_keeps_the_tensor(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    x.sum().backward()
    g = x.grad
    x.sum().backward()
    yield g is x.grad, g
    (x * x).sum().backward(create_graph=True)
    yield g is x.grad, x.grad, g


@scenario
def test_retain_graph(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    yield x.grad
    yield attempt(lambda: y.backward())
    z = (x + 1).sum()  # saves nothing: may be walked again
    z.backward()
    yield attempt(lambda: z.backward()), x.grad
    w = x.exp()
    w.sum().backward()
    yield attempt(lambda: w.sum().backward())


@scenario
def test_shared_part_of_two_graphs(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x.exp()
    a, b = (h * 2).sum(), (h * h).sum()
    a.backward(retain_graph=True)
    yield x.grad
    b.backward()
    yield x.grad


@scenario
def test_create_graph(t: Any) -> Any:
    x = t.tensor([0.5, 1.5], requires_grad=True)
    y = (x**3).sum()
    (g,) = t.autograd.grad(y, x, create_graph=True)
    yield g
    (h,) = t.autograd.grad(g.sum(), x, create_graph=True)
    yield h
    (k,) = t.autograd.grad(h.sum(), x)
    yield k
    yield attempt(lambda: t.autograd.grad(k.sum(), x))


@scenario
def test_penalty_on_a_gradient(t: Any) -> Any:
    w = t.tensor([[0.3, -0.2], [0.1, 0.4]], requires_grad=True)
    x = t.tensor([1.0, -1.0], requires_grad=True)
    y = (w @ x).tanh().sum()
    (g,) = t.autograd.grad(y, x, create_graph=True)
    (y + (g.norm() - 1) ** 2).backward()
    yield w.grad, x.grad


@scenario
def test_grad_options(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    u = t.tensor([3.0], requires_grad=True)
    y = x * x
    yield attempt(lambda: t.autograd.grad(y, x))
    yield t.autograd.grad(y, x, t.ones(2), retain_graph=True)
    yield attempt(lambda: t.autograd.grad(y, [x, u], t.ones(2), retain_graph=True))
    yield t.autograd.grad(y, [x, u], t.ones(2), retain_graph=True, allow_unused=True)
    yield t.autograd.grad(y, [x, u], t.ones(2), retain_graph=True, materialize_grads=True)
    yield attempt(lambda: t.autograd.grad(y, u, t.ones(2), allow_unused=False, materialize_grads=True))
    yield attempt(lambda: t.autograd.grad(y, x, t.ones(3), retain_graph=True))
    yield attempt(lambda: t.autograd.grad([y, y], x, [t.ones(2)], retain_graph=True))
    yield t.autograd.grad([y, y.sum()], x, [t.ones(2), None], retain_graph=True)
    basis = t.eye(2)
    yield t.autograd.grad(y, x, basis, is_grads_batched=True, retain_graph=True)
    yield attempt(lambda: t.autograd.grad(y, t.ones(2), t.ones(2), retain_graph=True))
    yield attempt(lambda: t.autograd.grad(t.ones(2).sum(), x))
    yield t.autograd.grad(y, {"a": x, "b": u}, t.ones(2), retain_graph=True, allow_unused=True)
    yield (
        attempt(lambda: t.autograd.grad(y, (), t.ones(2))),
        attempt(lambda: t.autograd.grad(y, {}, t.ones(2))),
    )
    zero = t.autograd.grad(
        y, [x, u], t.ones(2), retain_graph=True, materialize_grads=True, create_graph=True
    )[1]
    yield zero.requires_grad, t.autograd.grad(zero, u, materialize_grads=True)
    yield attempt(lambda: t.autograd.grad(y, x, t.ones(3, 3), is_grads_batched=True, retain_graph=True))
    yield x.grad is None  # grad never accumulates


@scenario
def test_grad_of_a_middle_tensor(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 3
    y = (h * h).sum()
    yield t.autograd.grad(y, [h, x], retain_graph=True)
    yield t.autograd.grad(y, h)
    y = (h * h).sum()
    yield t.autograd.grad(y, y)


@scenario
def test_inputs(t: Any) -> Any:
    a = t.tensor(2.0, requires_grad=True)
    b = t.tensor(3.0, requires_grad=True)
    y = a * b
    y.backward(inputs=[a], retain_graph=True)
    yield a.grad, b.grad is None
    y.backward(inputs=b, retain_graph=True)
    yield a.grad, b.grad
    yield attempt(lambda: y.backward(inputs=[]))
    h = a * 2
    z = h * b
    z.backward(inputs=[h], retain_graph=True)
    yield a.grad, attempt(lambda: h.grad)


@scenario
def test_seeds(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    yield attempt(lambda: (x * 2).backward())
    yield attempt(lambda: (x * 2).backward(t.ones(3)))
    yield attempt(lambda: (x * 2).backward(t.ones(2, dtype=t.int64)))
    (x * 2).backward(t.tensor([1.0, 10.0]))
    yield x.grad
    t.autograd.backward([x.sum(), (x * x).sum()])
    yield x.grad
    t.autograd.backward([x * x, x.sum()], [t.ones(2), None])
    yield x.grad
    y = x.sum().reshape(1)
    y.backward()
    yield x.grad


@scenario
def test_retain_grad(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2
    yield h.retains_grad
    h.retain_grad()
    h.retain_grad()
    y = (h * h).sum()
    y.backward()
    yield h.grad, x.grad, h.retains_grad, x.retains_grad
    yield attempt(lambda: t.ones(2).retain_grad())
    x.retain_grad()  # nothing to do for a leaf
    h2 = x * 3
    h2.retain_grad()
    h2.mul_(2)
    h2.sum().backward()
    yield h2.grad, x.grad


@scenario
def test_unused_branches_and_several_uses(t: Any) -> Any:
    x = t.tensor([1.0, 2.0], requires_grad=True)
    u = t.tensor([5.0], requires_grad=True)
    _ = u * 2
    y = x * x + x * x * x + x
    y.sum().backward()
    yield x.grad, u.grad is None


@scenario
def test_names_of_nodes(t: Any) -> Any:
    x = t.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    for f in (
        lambda: x + x, lambda: x * 2, lambda: x / 2, lambda: -x, lambda: x - 1, lambda: x**2, lambda: x @ x, lambda: x.exp(),
        lambda: x.sum(), lambda: x.sum(0), lambda: x.mean(), lambda: x.relu(), lambda: x.sigmoid(), lambda: x.tanh(), lambda: x.t(),
        lambda: x.view(4), lambda: x.unsqueeze(0), lambda: x.clone(), lambda: x[0], lambda: x.max(), lambda: x.softmax(0), lambda: x.log(),
    ):  # fmt: skip
        yield f().grad_fn.name()


@scenario
def test_next_functions(t: Any) -> Any:
    a = t.ones(2, requires_grad=True)
    b = t.ones(2, requires_grad=True)
    y = a * b + a
    seen = []
    todo = [y.grad_fn]
    while todo:
        node = todo.pop(0)
        seen.append(node.name())
        todo += [n for n, _ in node.next_functions if n is not None]
    yield seen
    yield [i for _, i in y.grad_fn.next_functions]
    leaves = y.grad_fn.next_functions[0][0].next_functions
    yield leaves[0][0].variable is a, leaves[1][0].variable is b
    parts = t.ones(4, requires_grad=True).mul(2).split(2)
    yield len({p.grad_fn for p in parts}) >= 1
    yield (t.ones(2) * a).grad_fn.next_functions[0]


@scenario
def test_integer_and_constant_results(t: Any) -> Any:
    x = t.tensor([3.0, 1.0, 2.0], requires_grad=True)
    values, indices = x.sort()
    yield values.requires_grad, indices.requires_grad
    yield (x > 1).requires_grad, x.argmax().requires_grad, x.long().requires_grad, x.detach().requires_grad
    (values * t.tensor([1.0, 10.0, 100.0])).sum().backward()
    yield x.grad


@scenario
def test_complex_gradients(t: Any) -> Any:
    z = t.tensor([1 + 2j, -0.5 + 1j], requires_grad=True)
    yield attempt(lambda: (z * z).sum().backward())
    for f in (
        lambda z: (z * z.conj()).real.sum(), lambda z: z.abs().sum(), lambda z: z.real.sum(), lambda z: (z.imag ** 2).sum(),
        lambda z: z.angle().sum(), lambda z: (z.exp() * (2 - 1j)).real.sum(), lambda z: t.view_as_real(z).prod(), lambda z: (z / z.conj()).imag.sum(),
        lambda z: (z @ z).abs(), lambda z: (z**2).abs().sum(), lambda z: z.sgn().real.sum(),
    ):  # fmt: skip
        yield t.autograd.grad(f(z), z)
    x = t.tensor([1.0, 2.0], requires_grad=True)
    yield t.autograd.grad((x * z.detach()).abs().sum(), x)
    z.sum().backward(t.tensor(1 + 1j))
    yield z.grad


@scenario
def test_mixed_dtypes(t: Any) -> Any:
    x = t.ones(2, requires_grad=True)
    d = t.ones(2, dtype=t.float64, requires_grad=True)
    (x * d).sum().backward()
    yield x.grad, d.grad
    h = t.ones(2, dtype=t.float16, requires_grad=True)
    (h * x).sum().backward()
    yield h.grad
    s = t.tensor(2.0, dtype=t.float64, requires_grad=True)
    y = x * s
    y.sum().backward()
    yield y.dtype == t.float32, s.grad


@scenario
def test_broadcasting(t: Any) -> Any:
    a = t.ones(3, 1, requires_grad=True)
    b = t.arange(4.0).requires_grad_()
    s = t.tensor(2.0, requires_grad=True)
    (a * b * s).sum().backward()
    yield a.grad, b.grad, s.grad
    c = t.ones(1, 1, 2, requires_grad=True)
    (c.expand(3, 2, 2) * 2).sum().backward()
    yield c.grad


@scenario
def test_empty_tensors(t: Any) -> Any:
    x = t.empty(0, 3, requires_grad=True)
    (x * 2).sum().backward()
    yield x.grad
    y = t.ones(2, requires_grad=True)
    t.cat([y, t.empty(0)]).sum().backward()
    yield y.grad
