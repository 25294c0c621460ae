"""Sample calls of the normalisations and the likelihoods."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from battery.rows import ints, real, row
from flambeau.nn import functional  # noqa: F401  (registers the operations of the layers)


def _standard(x: Any) -> Any:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 0.01)


def _standard_slope(g: Any, x: Any) -> Any:
    """The adjoint of the derivative of `_standard`, which is symmetric within a row, by differences."""
    return ((_standard(x + 1e-6 * g) - _standard(x - 1e-6 * g)) / 2e-6).real


def _batch_normal(x: Any) -> Any:
    return (x - x.mean((0, 2), keepdims=True)) / np.sqrt(x.var((0, 2), keepdims=True) + 0.01)


row("batch_norm_whole", real(2), real(3, 2, 4), real(2, seed=1), eps=0.01, relu=True, expandable=False,
    reference=lambda b, x, w: (np.maximum(_batch_normal(x) * w[:, None] + b[:, None], 0), x.mean((0, 2)), x.var((0, 2))))  # fmt: skip


def _channels(x: Any) -> tuple[Any, Any]:
    return x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)


def _normal(x: Any) -> Any:
    mean, var = _channels(x)
    return (x - mean) / np.sqrt(var + 0.01)


def _batch_slopes(g: Any, x: Any, w: Any) -> Any:
    y, scale = _normal(x), w[:, None] / np.sqrt(_channels(x)[1] + 0.01)
    mean = functools.partial(np.mean, axis=(0, 2), keepdims=True)
    return g.sum((0, 2)), scale * (g - mean(g) - y * mean(g * y)), (g * y).sum((0, 2))


def _with_moments(*args: Any) -> Any:
    """The moments of the second argument go in as constants."""
    x = args[1].detach()
    return (*args, x.mean((0, 2)), x.var((0, 2), correction=0))


row("batch_moments", real(3, 2, 4), reference=lambda x: tuple(np.ravel(v) for v in _channels(x)))
row("batch_norm", real(2), real(3, 2, 4), real(2, seed=1), eps=0.01, prepare=_with_moments, expandable=False,
    reference=lambda b, x, w: _normal(x) * w[:, None] + b[:, None])  # fmt: skip
row("batch_norm_grad", real(3, 2, 4, seed=1), real(3, 2, 4), real(2), eps=0.01, prepare=_with_moments, expandable=False,
    reference=_batch_slopes)  # fmt: skip
_COUNTED = np.array([1.0, 0.0, 1.0])
for _reduction, _shares in {"none": np.ones(3), "sum": np.ones(3), "mean": np.full(3, 0.5)}.items():
    row("nll", real(3, 4), ints(2, -7, 0), ignore=-7, reduction=_reduction, note=_reduction, expandable=False,
        reference=lambda x, t, r=_reduction, w=_shares: (lambda v: v if r == "none" else v.sum())(-x[range(3), t % 4] * _COUNTED * w))  # fmt: skip
    row("nll_grad", real(3) if _reduction == "none" else np.array(1.7), ints(2, -7, 0), classes=4, ignore=-7, reduction=_reduction,
        note=_reduction, expandable=False,
        reference=lambda g, t, w=_shares: -np.eye(4)[t % 4] * (_COUNTED * w * g)[:, None])  # fmt: skip
row(
    "mean_of_counted",
    real(3) * _COUNTED,
    ints(2, -7, 0),
    ignore=-7,
    expandable=False,
    reference=lambda x, t: x.sum() / 2,
)
row(
    "shares_of_counted",
    np.array(1.7),
    ints(2, -7, 0),
    ignore=-7,
    expandable=False,
    reference=lambda g, t: np.full(3, g / 2),
)
row("standardize", real(2, 4), dims=(1,), eps=0.01, observe=lambda y, mean, var: y,
    reference=lambda x: (_standard(x), x.mean(1, keepdims=True), x.var(1, keepdims=True)))  # fmt: skip
row("layer_norm", real(4), real(2, 4), real(4, seed=2), eps=0.01, observe=lambda y, mean, var: y,
    reference=lambda b, x, w: (_standard(x) * w + b, x.mean(1, keepdims=True), x.var(1, keepdims=True)))  # fmt: skip


def _grouped(b: Any, x: Any, w: Any) -> Any:
    rows = x.reshape(2, 2, -1)
    mean, var = rows.mean(2), rows.var(2)
    y = ((rows - mean[..., None]) / np.sqrt(var[..., None] + 0.01)).reshape(x.shape)
    return y * w[:, None] + b[:, None], mean, var


row("group_norm", real(4), real(2, 4, 3), real(4, seed=2), groups=2, eps=0.01, observe=lambda y, mean, var: y,
    reference=_grouped, expandable=False)  # fmt: skip
row("rms_norm", real(2, 3, 4), real(4, seed=2), eps=0.01, observe=lambda y, scale: y,
    reference=lambda x, w: (x / np.sqrt((x * x).mean(-1, keepdims=True) + 0.01) * w,
                            1 / np.sqrt((x * x).mean(-1, keepdims=True) + 0.01)))  # fmt: skip
row("standardize_grad", real(2, 4), real(2, 4, seed=3), dims=(1,), eps=0.01, tol=1e-7, reference=_standard_slope,
    prepare=lambda g, x: (g, x, x.detach().mean(1, True), x.detach().var(1, correction=0, keepdim=True)))  # fmt: skip
