"""The rules of autograd: leaves, accumulation, graphs and their lives, hooks, in-place writes, staleness."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import flambeau as torch


def leaf(*values: float) -> torch.Tensor:
    return torch.tensor(list(values), requires_grad=True)


def test_leaves_and_accumulation() -> None:
    x = leaf(2.0)
    assert x.is_leaf and x.grad is None and x.grad_fn is None
    for expected in (7.0, 14.0):
        (x**2 + 3 * x + 1).backward()
        assert x.grad.item() == expected
    assert not (x * 2).is_leaf
    with pytest.raises(RuntimeError, match="implicitly created only for scalar"):
        (leaf(1.0, 2.0) * 2).backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.ones(1).sum().backward()
    with pytest.raises(RuntimeError, match="floating point and complex"):
        torch.ones(2, dtype=torch.int64).requires_grad_()


def test_gradients_of_two_leaves_do_not_share_memory() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x + y).sum().backward()
    (x * y).sum().backward()
    assert x.grad.tolist() == [4.0, 5.0] and y.grad.tolist() == [2.0, 3.0]
    seed = torch.ones(2)
    z = leaf(1.0, 1.0)
    (z * 1).backward(seed)
    seed.add_(5)
    assert z.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: (a + b).sum(),
        lambda a, b: ((a + b) * 2).sum(),
        lambda a, b: (a + b).exp().sum(),
        lambda a, b: ((a - b) * 2).sum(),
        lambda a, b: ((a + b) + (b + a)).exp().sum(),
        lambda a, b: torch.stack([a, b]).exp().sum(),
        lambda a, b: torch.cat([a, b]).exp().sum(),
        lambda a, b: torch.where(a > 0, a, b).exp().sum(),
        lambda a, b: torch.lerp(a, b, 0.5).exp().sum(),
        lambda a, b: (a.view(2, 2) + b.view(2, 2)).exp().sum(),
        lambda a, b: torch.add(a, b, alpha=1).exp().sum(),
        lambda a, b: Both.apply(a, b).exp().sum(),
        lambda a, b: Both.apply(a, b)[1:2][0],
    ],
)
@pytest.mark.parametrize("passes", [1, 2])
def test_gradients_of_two_leaves_are_written_to_one_by_one(loss, passes) -> None:
    a, b = leaf(1.0, 2.0, 3.0, 4.0), leaf(5.0, 6.0, 7.0, 8.0)
    for _ in range(passes):
        loss(a, b).backward()
    before = b.grad.clone()
    with torch.no_grad():
        a.grad.mul_(3).add_(1)
    assert torch.equal(b.grad, before)
    assert not np.shares_memory(a.grad.numpy(), b.grad.numpy())


class Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        return a + b

    @staticmethod
    def backward(ctx, g):
        return g, g


def test_a_gradient_that_nobody_else_holds_is_not_copied() -> None:
    x = leaf(1.0, 2.0)
    seen = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            made = g * 2
            seen.append(made.data_ptr())
            return made

    Watched.apply(x).sum().backward()
    assert x.grad.data_ptr() == seen[0]


def test_graph_is_freed_and_the_error_names_the_first_use() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()  # consumed here
    assert x.grad.item() == 12.0
    with pytest.raises(RuntimeError, match="second time") as error:
        y.backward()
    assert "consumed here" in str(error.value)
    z = (x + 1).sum()  # nothing was saved, so nothing is missing
    z.backward()
    z.backward()


def test_double_backward_and_grad_options() -> None:
    x, unused = leaf(2.0), leaf(1.0)
    (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    assert torch.autograd.grad(g.sum(), x)[0].item() == 12.0
    assert x.grad is None
    y = x * 2
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(y.sum(), [x, unused], retain_graph=True)
    assert torch.autograd.grad(y.sum(), [x, unused], retain_graph=True, allow_unused=True)[1] is None
    assert torch.autograd.grad(y.sum(), [x, unused], materialize_grads=True)[1].item() == 0.0
    v = leaf(1.0, 2.0, 3.0)
    (rows,) = torch.autograd.grad(v**2, v, torch.eye(3), is_grads_batched=True)
    np.testing.assert_array_equal(rows.numpy(), np.diag([2.0, 4.0, 6.0]))


def test_inputs_limits_accumulation() -> None:
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 3.0 and y.grad is None
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * y).backward(inputs=[])


def test_retain_grad_and_hooks() -> None:
    x = leaf(1.0, 2.0)
    calls: list[str] = []
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: (calls.append("tensor"), g * 10)[1])
    y.grad_fn.register_prehook(lambda gs: calls.append("pre"))
    y.grad_fn.register_hook(lambda gi, go: calls.append("node"))
    x.register_post_accumulate_grad_hook(lambda t: calls.append("post"))
    handle = x.register_hook(lambda g: calls.append("leaf"))
    y.sum().backward()
    assert calls == ["tensor", "pre", "node", "leaf", "post"]
    assert y.grad.tolist() == [10.0, 10.0] and x.grad.tolist() == [20.0, 20.0]
    handle.remove()
    with pytest.raises(RuntimeError, match="requires_grad=False|doesn't require gradient"):
        torch.ones(1).register_hook(print)
    with pytest.raises(RuntimeError, match="changed the size"):
        z = leaf(1.0, 2.0) * 1
        z.register_hook(lambda g: g[:1])
        z.sum().backward()


def test_stale_saved_tensor_names_both_operations_and_lines() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    z = y * y  # saves y
    y.add_(1)  # changes y
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as error:
        z.sum().backward()
    text = str(error.value)
    assert "saved by mul" in text and "saves y" in text
    assert "changed by add_" in text and "changes y" in text
    assert ".clone()" in text


def test_addition_saves_nothing_and_outputs_are_checked() -> None:
    x = leaf(1.0)
    y = x * 2
    z = y + 1
    y.mul_(5)
    z.sum().backward()
    assert x.grad.item() == 2.0
    e = leaf(0.0).exp()
    e.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        e.sum().backward()


def test_versions_are_shared_by_views() -> None:
    a = torch.zeros(4)
    b = a[1:3]
    c = b.view(2, 1)
    c.add_(1)
    a.mul_(2)
    assert a._version == b._version == c._version == 2
    assert a.tolist() == [0.0, 2.0, 2.0, 0.0]
    w = leaf(1.0, 2.0, 3.0)
    base = w * 1
    view = base[:2]
    saved = (view * view).sum()
    base[2] = 7.0  # another element, but the same storage: PyTorch's rule
    with pytest.raises(RuntimeError, match="version"):
        saved.backward()


def test_in_place_through_views_rebases_history() -> None:
    a = leaf(1.0, 2.0, 3.0, 4.0)
    b = a * 3
    view = b[1:3]
    other = b[2:]
    view.mul_(2)
    view[0] = 5.0
    (b * b).sum().backward()
    # b = [3a0, 5, 6a2, 3a3]
    assert a.grad.tolist() == [18.0, 0.0, 216.0, 72.0]
    assert other.grad_fn is not None
    assert other.tolist() == [18.0, 12.0]
    c = leaf(1.0, 2.0)
    base = torch.zeros(2, 2)
    base[0].copy_(c)  # the base begins to require grad through a view of it
    assert base.requires_grad
    (base * base).sum().backward()
    assert c.grad.tolist() == [2.0, 4.0]


def test_in_place_on_leaves_is_refused_before_anything_changes() -> None:
    x = leaf(1.0)
    for write in (lambda: x.add_(1), lambda: x[0:1].mul_(2), lambda: x.__setitem__(0, 3.0)):
        with pytest.raises(RuntimeError, match="leaf Variable"):
            write()
    assert x.item() == 1.0 and x._version == 0
    with torch.no_grad():
        x.add_(1)
    assert x.item() == 2.0 and x.is_leaf
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.ones(1).expand(3).add_(1)


def test_modes() -> None:
    x = leaf(1.0)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad

    @torch.no_grad()
    def generate():  # type: ignore[no-untyped-def]
        yield torch.is_grad_enabled()
        yield (x * 2).requires_grad

    assert list(generate()) == [False, False] and torch.is_grad_enabled()
    with torch.set_grad_enabled(False):
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        y = torch.ones(2)
        assert y.is_inference() and not (x * 2).requires_grad
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        y.add_(1)
    with pytest.raises(RuntimeError, match="[Ii]nference"):
        (y * leaf(1.0)).sum().backward()


def test_detach_and_data_share_memory() -> None:
    x = leaf(1.0, 2.0)
    d = x.detach()
    d[0] = 5.0
    assert x.tolist() == [5.0, 2.0] and not d.requires_grad
    y = x * x
    d.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()
    x.data.zero_()
    assert x.tolist() == [0.0, 0.0]


def test_complex_gradients_follow_wirtinger() -> None:
    z = torch.tensor([1 + 2j, -0.5j], dtype=torch.complex128, requires_grad=True)
    (z * z.conj()).real.sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 2 * np.array([1 + 2j, -0.5j]))
    for fn in (
        lambda z: z.exp(),
        lambda z: z.abs(),
        lambda z: z.angle(),
        lambda z: z.real * z.imag,
        torch.sgn,
    ):
        assert torch.autograd.gradcheck(fn, (z,), check_forward_ad=True)


def test_deep_graph_and_its_deletion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    y.backward()
    assert x.grad.item() == 1.0
    del y


def test_threads_run_backward_at_once() -> None:
    w = leaf(1.0, 2.0)
    errors: list[BaseException] = []

    def work(k: int) -> None:
        try:
            for _ in range(30):
                (g,) = torch.autograd.grad((w * w * k).sum(), w)
                np.testing.assert_array_equal(g.numpy(), [2.0 * k, 4.0 * k])
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors


def test_graphs_make_no_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(200):
            x = leaf(1.0, 2.0)
            y = x * 2
            y[0] = 3.0
            y.mul_(2)
            y.exp().sum().backward()
        del x, y
        assert len(gc.get_objects()) - before < 200
    finally:
        gc.enable()


def test_walking_the_graph() -> None:
    x = leaf(1.0)
    y = (x * 2).sum()
    assert y.grad_fn.name() == "SumBackward0"
    (mul, number), *_ = y.grad_fn.next_functions
    assert mul.name() == "MulBackward0" and number == 0
    assert mul.next_functions[0][0].variable is x
    assert mul.next_functions[1] == (None, 0)


def test_saved_tensor_hooks_and_anomaly() -> None:
    x = leaf(2.0)
    seen: list[str] = []
    hooks = torch.autograd.graph.saved_tensors_hooks
    with hooks(lambda t: (seen.append("pack"), t.numpy(force=True))[1], lambda a: torch.from_numpy(a)):
        y = (x * x).sum()
    y.backward()
    assert seen == ["pack", "pack"] and x.grad.item() == 4.0
    with pytest.warns(UserWarning, match="forward call"), pytest.raises(RuntimeError, match="nan values"):
        with torch.autograd.detect_anomaly():
            (torch.sqrt(leaf(0.0)) * 0).sum().backward()


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


def test_function() -> None:
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Cube.apply, (x,)) and torch.autograd.gradgradcheck(Cube.apply, (x,))
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(lambda t: Cube.apply(t).sum())(torch.ones(2))
    y = Cube.apply(x)
    with torch.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()


class Meters(torch.Tensor):
    pass


def test_subclasses_keep_their_type() -> None:
    m = torch.ones(2).as_subclass(Meters)
    for result in (m + 1, 1 - m, torch.exp(m), m.sum(), m[0], torch.add(m, m)):
        assert type(result) is Meters
