"""Values that a compiled function leaves to the backward pass outside of it, which computes them again."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.capture import recompute
from flambeau.capture.recompute import Recipe
from flambeau.core.pending import Pending

N = 160  # rows and columns: large enough for a thought


def gelu(x: Any) -> Any:
    """The usual approximation, in steps: each of them is saved for the backward pass."""
    return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def matrix(seed: int, requires_grad: bool = False) -> Any:
    values = np.random.default_rng(seed).standard_normal((N, N)).astype(np.float32)
    return torch.tensor(values, requires_grad=requires_grad)


def always(f: Callable[..., Any]) -> Any:
    return torch.compile(f, options={"recompute": "always"})


def learnt(f: Any, *args: Any) -> Any:
    """`f` after the calls that learn its operations and make its programs, forward and backward."""
    for _ in range(3):
        f(*args).sum().backward()
    for a in args:
        a.grad = None
    return f


def left_out(y: Any) -> list[Pending]:
    """The promises that the tape below `y` has and nobody has computed."""
    found = {}
    todo = [y.grad_fn]
    while todo:
        node = todo.pop()
        for value in getattr(node, "saved", None) or ():
            if type(value) is Pending and value.value is None:
                found[id(value)] = value
        todo += [n for n in node.next if n is not None]
    return list(found.values())


def gradient(f: Any, x: Any) -> Any:
    (g,) = torch.autograd.grad(f(x).sum(), x)
    return g.numpy()


def test_a_chain_is_computed_again_and_gives_eager_s_gradient() -> None:
    w, x = matrix(0), matrix(1, True)
    f = learnt(always(lambda x: gelu(x @ w)), x)
    y = f(x)
    assert len(left_out(y)) == 3  # of four: the product is kept
    y.sum().backward()
    want = gradient(lambda x: gelu(x @ w), x)
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=2e-5, atol=2e-5)


def test_never_keeps_everything() -> None:
    w, x = matrix(0), matrix(1, True)
    f = learnt(torch.compile(lambda x: gelu(x @ w), options={"recompute": "never"}), x)
    assert not left_out(f(x))


def test_what_is_cheap_to_keep_is_kept_by_default() -> None:
    """What a product reads is written in any case: to read it once more is less than to compute it."""
    w, x = matrix(0), matrix(1, True)
    f = learnt(torch.compile(lambda x: torch.sigmoid(x @ w) @ w), x)
    assert not left_out(f(x))


def test_small_results_are_kept() -> None:
    x = torch.ones(8, requires_grad=True)
    f = always(lambda x: gelu(x * 2))
    for _ in range(3):
        y = f(x)
    assert not left_out(y)


def test_an_unknown_choice_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="'recompute': 'sometimes'.*should be 'auto', 'never' or 'always'"):
        torch.compile(gelu, options={"recompute": "sometimes"})


def test_explain_says_what_is_left_out() -> None:
    w, x = matrix(0), matrix(1, True)
    text = always(lambda x: gelu(x @ w)).explain(x)
    assert "for a backward pass outside: 3 of the saved results (307200 bytes) are computed again" in text


def steps(w: Any, shift: Any, shown: list[Any]) -> Callable[[Any], Any]:
    """A function whose product is saved and whose steps are computed again from it, with `shift`."""

    def f(x: Any) -> Any:
        u = x @ w
        h = u + shift
        shown[:] = [h, h.detach(), h[0]]
        return gelu(h + 1) + u * u

    return f


def shifted() -> Any:
    return torch.arange(N, dtype=torch.float32) / N


@pytest.mark.parametrize("what", ["outside", "outside by NumPy", "result", "inner", "detached", "view"])
def test_writes_between_the_passes_change_nothing(what: str) -> None:
    """What is computed again reads what nobody else can write to."""

    def run(compiled: bool) -> Any:
        w, shift, x = matrix(0), shifted(), matrix(1, True)
        shown: list[Any] = []
        f = steps(w, shift, shown)
        if compiled:
            f = learnt(always(f), x)
        y = f(x)
        if compiled:
            assert left_out(y)
        with torch.no_grad():
            if what == "outside by NumPy":
                shift.numpy()[:] = 7.0
            else:
                targets = {"outside": shift, "result": y, "inner": shown[0], "detached": shown[1]}
                targets.get(what, shown[2]).mul_(3)
        (g,) = torch.autograd.grad(y.sum(), x)
        return g.numpy()

    np.testing.assert_allclose(run(True), run(False), rtol=2e-5, atol=2e-4)


def test_a_saved_value_that_was_written_to_is_an_error_as_in_eager_mode() -> None:
    w, x = matrix(0), matrix(1, True)
    shown: list[Any] = []

    def f(x: Any) -> Any:
        u = x @ w
        shown[:] = [u.detach()]
        return gelu(u)

    compiled = learnt(always(f), x)
    y = compiled(x)
    shown[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_graph_that_is_kept_is_computed_again_for_each_pass() -> None:
    w, x = matrix(0), matrix(1, True)
    y = learnt(always(lambda x: gelu(x @ w)), x)(x).sum()
    y.backward(retain_graph=True)
    assert left_out(y)
    for _ in range(2):  # eagerly
        y.backward(retain_graph=True)
    want = gradient(lambda x: gelu(x @ w), x)
    np.testing.assert_allclose(x.grad.numpy(), 3 * want, rtol=5e-5, atol=5e-4)


def test_second_derivatives() -> None:
    w, x = matrix(0), matrix(1, True)

    def second(f: Any) -> Any:
        (g,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
        (h,) = torch.autograd.grad((g * g).sum(), x)
        return h.numpy()

    f = always(lambda x: gelu(x @ w))
    want = second(lambda x: gelu(x @ w))
    for _ in range(4):
        np.testing.assert_allclose(second(f), want, rtol=2e-4, atol=2e-3 * np.abs(want).max())


def test_eager_backward_passes_and_other_readers() -> None:
    """Two losses, so that the second backward pass is eager; `_saved_` attributes; an anomaly; hooks."""
    w, x = matrix(0), matrix(1, True)
    f = learnt(always(lambda x: gelu(x @ w)), x)
    want = gradient(lambda x: gelu(x @ w), x)
    a, b = f(x).sum(), f(x).sum()
    a.backward()
    b.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * want, rtol=5e-5, atol=5e-4)
    y = f(x)
    last = y.grad_fn
    saved = [getattr(last, name) for name in dir(last) if name.startswith("_saved_")]
    assert any(isinstance(t, torch.Tensor) and np.isfinite(t.detach().numpy()).all() for t in saved)
    with torch.autograd.set_detect_anomaly(True):
        (g,) = torch.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(g.numpy(), want, rtol=2e-5, atol=2e-4)


def test_another_thread_may_run_the_backward_pass() -> None:
    w, x = matrix(0), matrix(1, True)
    want = gradient(lambda x: gelu(x @ w), x)
    y = learnt(always(lambda x: gelu(x @ w)), x)(x).sum()
    threads = [threading.Thread(target=lambda: y.backward(retain_graph=True)) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_allclose(x.grad.numpy(), 3 * want, rtol=5e-5, atol=5e-4)


def test_a_program_of_several_functions() -> None:
    """What one compiled function leaves out is read by another, and by the backward pass of both."""
    w, x = matrix(0), matrix(1, True)
    first, second = always(lambda x: gelu(x @ w)), always(lambda x: gelu(x * 0.5).sin())
    want = gradient(lambda x: gelu(gelu(x @ w) * 0.5).sin(), x)
    for _ in range(4):
        (g,) = torch.autograd.grad(second(first(x)).sum(), x)
        np.testing.assert_allclose(g.numpy(), want, rtol=2e-5, atol=2e-4)


def test_saved_tensor_hooks_see_every_saved_tensor() -> None:
    w, x = matrix(0), matrix(1, True)
    f = learnt(always(lambda x: gelu(x @ w)), x)
    packed: list[Any] = []

    def pack(t: Any) -> Any:
        packed.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        for _ in range(3):
            packed.clear()
            y = f(x)
    assert not left_out(y) and all(np.isfinite(t.detach().numpy()).all() for t in packed)
    (g,) = torch.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(g.numpy(), gradient(lambda x: gelu(x @ w), x), rtol=2e-5, atol=2e-4)


def test_memory_goes_with_the_graph() -> None:
    """Promises and their recipe do not refer to each other."""
    w, x = matrix(0), matrix(1, True)
    f = learnt(always(lambda x: gelu(x @ w)), x)
    gc.collect()
    gc.disable()
    try:
        y = f(x)
        assert left_out(y)
        del y
        y = f(x)
        y.sum().backward()
        del y
        assert not any(type(o) is Recipe for o in gc.get_objects())
        for p in [o for o in gc.get_objects() if type(o) is Pending]:
            assert type(p.owner) is not Recipe
    finally:
        gc.enable()


def test_the_cut_is_paid_for_in_bytes() -> None:
    """Of a chain over a wide array, made of a narrow one, the narrow one is kept."""
    narrow, x = torch.rand(N, 1), matrix(1, True)
    f = learnt(always(lambda x: torch.tanh((narrow + 1).expand(N, N) * x.sum()).exp()), x)
    text = f.explain(x)
    assert "computed again" in text
    y = f(x)
    (p, *_) = left_out(y)
    recipe = p.owner
    assert isinstance(recipe, Recipe)
    assert sum(a.nbytes for a in recipe.sources) <= narrow.numpy().nbytes + 8
    np.testing.assert_allclose(
        gradient(f, x),
        gradient(lambda x: torch.tanh((narrow + 1).expand(N, N) * x.sum()).exp(), x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_choices_are_those_of_compile() -> None:
    for choice in recompute.CHOICES:
        torch.compile(gelu, options={"recompute": choice})
