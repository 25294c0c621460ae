"""Where NaN and infinities go in losses, limits and pools, and in their gradients."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import flambeau

ROWS, CLASSES = 3, 4
rng = np.random.default_rng(0)


def real(*shape: int) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def share(*shape: int) -> Any:
    return rng.uniform(0.1, 0.9, shape).astype(np.float32)


def sign(*shape: int) -> Any:
    return np.sign(real(*shape))


X = (ROWS, CLASSES)
LABELS = np.array([0, 3, 1])
ALL, ONE, SOME = (True, True, True), (True, False, False), (True, True, False)  # which inputs have gradients
# name, inputs, settings, gradients
LOSSES: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[bool, ...]]] = [
    ("mse_loss", (real(*X), real(*X)), {"weight": share(*X)}, SOME),
    ("l1_loss", (real(*X), real(*X)), {}, SOME),
    ("smooth_l1_loss", (real(*X), real(*X)), {"beta": 0.5}, SOME),
    ("huber_loss", (real(*X), real(*X)), {}, SOME),
    ("huber_loss", (real(*X), real(*X)), {"weight": share(*X)}, SOME),
    ("kl_div", (real(*X), share(*X)), {}, SOME),
    ("poisson_nll_loss", (real(*X), 5 * share(*X)), {"full": True}, SOME),
    ("gaussian_nll_loss", (real(*X), real(*X), share(*X)), {"full": True}, ALL),
    ("binary_cross_entropy", (share(*X), share(*X)), {"weight": share(*X)}, ONE),
    ("binary_cross_entropy_with_logits", (real(*X), share(*X)), {"weight": share(*X)}, SOME),
    ("binary_cross_entropy_with_logits", (real(*X), share(*X)), {"pos_weight": share(CLASSES)}, SOME),
    ("multilabel_soft_margin_loss", (real(*X), share(*X) > 0.5), {"weight": share(CLASSES)}, ONE),
    ("multilabel_soft_margin_loss", (real(*X), share(*X)), {}, SOME),
    ("multi_margin_loss", (real(*X), LABELS), {"weight": share(CLASSES)}, ONE),
    ("multi_margin_loss", (real(*X), LABELS), {"p": 2}, ONE),
    ("multilabel_margin_loss", (real(*X), np.array([[0, 3, -1, 0], [1, -1, 0, 0], [2, 1, 0, 3]])), {}, ONE),
    ("hinge_embedding_loss", (real(*X), sign(*X)), {}, ONE),
    ("margin_ranking_loss", (real(ROWS), real(ROWS), sign(ROWS)), {"margin": 0.3}, ALL),
    ("triplet_margin_loss", (real(*X), real(*X), real(*X)), {}, ALL),
    ("triplet_margin_loss", (real(*X), real(*X), real(*X)), {"swap": True}, ALL),
    ("nll_loss", (real(*X), LABELS), {"weight": share(CLASSES), "ignore_index": 3}, ONE),
    ("cross_entropy", (real(*X), LABELS), {}, ONE),
]
SPECIAL = [float("nan"), float("inf"), -float("inf")]


def outcome(lib: Any, name: str, inputs: Any, settings: Any, needs: Any) -> Any:
    """The loss and its gradients, or the error's type."""
    tensors = [lib.from_numpy(a.copy()) for a in inputs]
    leaves = [t.requires_grad_() for t, n in zip(tensors, needs) if n and t.is_floating_point()]
    given = {k: lib.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    try:
        y = getattr(lib.nn.functional, name)(*tensors, **given)
    except (RuntimeError, ValueError) as e:
        return type(e).__name__
    return [y.detach().numpy(), *[g.numpy() for g in lib.autograd.grad(y.sum(), leaves)]]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("case", range(len(LOSSES)))
def test_losses(case: int, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    name, inputs, settings, needs = LOSSES[case]
    arrays = [*inputs, *[v for v in settings.values() if isinstance(v, np.ndarray)]]
    for which, place, value in itertools.product(range(len(arrays)), (0, 1, -1), SPECIAL):
        if arrays[which].dtype != np.float32:
            continue
        old = arrays[which].flat[place]
        arrays[which].flat[place] = value
        try:
            found = [
                outcome(lib, name, inputs, {**settings, "reduction": reduction}, needs)
                for lib in (torch, flambeau)
            ]
        finally:
            arrays[which].flat[place] = old
        if isinstance(found[0], str):
            assert found[1] == found[0]
            continue
        if name == "poisson_nll_loss" and which == 1 and value < 0:
            continue  # where Stirling's term is left out PyTorch differentiates it all the same (pytorch_errors.py)
        for theirs, mine in zip(*found, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5, err_msg=f"{which} {place} {value}")


def test_ctc_loss() -> None:
    torch = pytest.importorskip("torch")
    found = []
    for lib in (torch, flambeau):
        logs = np.log(np.random.default_rng(1).uniform(0.1, 0.9, (5, 2, 4)))
        logs[1, 0, 2] = np.nan
        x = lib.from_numpy(logs).requires_grad_()
        targets = lib.tensor([[1, 2], [3, 1]])
        y = lib.nn.functional.ctc_loss(x, targets, lib.tensor([5, 4]), lib.tensor([2, 1]), reduction="none")
        y.sum().backward()
        found.append([y.detach().numpy(), x.grad.numpy()])
    for theirs, mine in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "value", "slope"),
    [
        (lambda x: x.clamp(-1, 1), [np.nan, 1, -1, 1, 0], [0, 0, 0, 1, 1]),
        (lambda x: x.clamp(max=1), [np.nan, 1, -np.inf, 1, 0], [0, 0, 1, 1, 1]),
        (lambda x: x.clamp(flambeau.zeros(5), flambeau.ones(5)), [np.nan, 1, 0, 1, 0], [0, 0, 0, 1, 1]),
        (lambda x: x.clamp_min(float("nan")), [np.nan] * 5, [0] * 5),
        (flambeau.nn.functional.hardsigmoid, [np.nan, 1, 0, 4 / 6, 0.5], [0, 0, 0, 1 / 6, 1 / 6]),
        (flambeau.nn.functional.logsigmoid, [np.nan, 0, -np.inf, None, None], [np.nan, 0, 1, None, None]),
    ],
)
def test_limits_pass_nan_and_no_gradient(call: Any, value: Any, slope: Any) -> None:
    x = flambeau.tensor([np.nan, np.inf, -np.inf, 1.0, 0.0], requires_grad=True)
    y = call(x)
    y.sum().backward()
    for found, expected in ((y.detach(), value), (x.grad, slope)):
        known = [i for i, v in enumerate(expected) if v is not None]
        np.testing.assert_allclose(found.numpy()[known], [expected[i] for i in known], rtol=1e-6)


def straightforward(x: Any, out: Any, reduce: Any) -> Any:
    """Adaptive pooling of the last dims, one bin after the other."""
    n = len(out)
    y = np.zeros((*x.shape[:-n], *out), x.dtype)
    for at in np.ndindex(*out):
        bins = [slice(i * m // o, -(-(i + 1) * m // o)) for i, m, o in zip(at, x.shape[-n:], out)]
        y[(..., *at)] = reduce(x[(..., *bins)], tuple(range(-n, 0)))
    return y


@pytest.mark.parametrize("value", [*SPECIAL, None])
@pytest.mark.parametrize("out", [(3,), (2, 5), (5, 7), (3, 1, 4), (9, 2, 2)])
def test_adaptive_pools(out: tuple[int, ...], value: float | None) -> None:
    n = len(out)
    x = np.random.default_rng(len(out)).standard_normal((2, 3, 5, 7, 6))[(..., *(0,) * (3 - n))].copy()
    if value is not None:
        x.flat[[1, 17, 18]] = value
        x[1] = value
    for name, reduce in (("avg", np.mean), ("max", np.max)):
        y = getattr(flambeau.nn.functional, f"adaptive_{name}_pool{n}d")(flambeau.from_numpy(x), out)
        np.testing.assert_allclose(y.numpy(), straightforward(x, out, reduce), rtol=1e-12)


@pytest.mark.parametrize("value", SPECIAL)
@pytest.mark.parametrize("out", [(3,), (1,), (2, 5), (1, 1), (9, 2, 2)])
def test_gradients_of_adaptive_pools(out: tuple[int, ...], value: float) -> None:
    torch = pytest.importorskip("torch")
    n = len(out)
    x = np.random.default_rng(7).standard_normal((2, 3, 5, 7, 6))[(..., *(0,) * (3 - n))].copy()
    x.flat[[1, 2]] = value
    for name in ("avg", "max"):
        found = []
        for lib in (torch, flambeau):
            a = lib.from_numpy(x.copy()).requires_grad_()
            y = getattr(lib.nn.functional, f"adaptive_{name}_pool{n}d")(a, out)
            g = np.ones(tuple(y.shape))
            g.flat[1] = value
            y.backward(lib.from_numpy(g))
            found.append(a.grad.numpy())
        np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_a_gradient_that_is_nan_stays_in_its_window() -> None:
    x = flambeau.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
    y = flambeau.nn.functional.max_pool2d(x, 2)
    y.backward(flambeau.tensor([[[[np.nan, 1.0], [np.inf, 2.0]]]]))
    assert x.grad is not None
    expected = np.zeros((4, 4))
    expected[1, 1], expected[1, 3], expected[3, 1], expected[3, 3] = np.nan, 1, np.inf, 2
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], expected)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_adaptive_means_of_integers_are_refused(n: int) -> None:
    x = flambeau.ones(1, 1, *[4] * n, dtype=flambeau.int64)
    for out in (2, 3):
        with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
            getattr(flambeau.nn.functional, f"adaptive_avg_pool{n}d")(x, out)
