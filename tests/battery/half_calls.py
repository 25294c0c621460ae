"""Sample calls of the operations that 16-bit floats have of their own: here in float64, where their formulas show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from battery.rows import real, row
from flambeau.nn import functional  # noqa: F401  (registers the operations of the layers)
from flambeau.nn.functional import half_sampling  # noqa: F401  (loads when it is first needed)
from flambeau.prims.half_pool import Bins

row("half_trilinear", real(3, 1, 2, 1), real(1, 4, 2, 3), real(3, 1, 1, 3, seed=1), sums=(2, 3), unroll=1, expandable=False,
    reference=lambda a, w, b: (a * w * b).sum((2, 3), keepdims=True))  # fmt: skip
row("half_trilinear", real(3, 4, 1, 1), real(1, 4, 2, 3), real(3, 1, 1, 3, seed=1), sums=(1, 3), unroll=1, expandable=False,
    note="unrolled dim summed", reference=lambda a, w, b: (a * w * b).sum((1, 3), keepdims=True))  # fmt: skip
row("half_mean", real(2, 3, 4), dims=(0, 2), reference=lambda x: x.mean((0, 2)))
row("deviation", real(2, 4), dims=(1,), correction=1.0, reference=lambda x: x.std(1, ddof=1))
for _p in (0.5, 1.0, 1.5, 3.0):
    row(
        "half_norm",
        real(2, 3),
        dims=(1,),
        p=_p,
        reference=lambda x, p=_p: (np.abs(x) ** p).sum(1) ** (1 / p),
        note=str(_p),
    )
for _p in (1.5, 2.0, 3.0):
    row("half_dist", real(2, 3), real(2, 3, seed=1), dims=(0, 1), p=_p, note=str(_p), expandable=False,
        reference=lambda a, b, p=_p: (np.abs(a - b) ** p).sum() ** (1 / p))  # fmt: skip
for _n in (2, 3):
    row("half_corners", real(2**_n, 3, 5), abs(real(_n, 5, seed=1)) / 4, note=f"{_n} dims", expandable=False,
        reference=lambda found, t, n=_n: sum(
            found[k] * math.prod([t[d] if k >> (n - 1 - d) & 1 else 1 - t[d] for d in range(n)]) for k in range(2**n)))  # fmt: skip


_OUT = {
    "mm": "ij,jk->ik",
    "bmm": "bij,bjk->bik",
    "addbmm": "bij,bjk->ik",
    "mv": "ij,j->i",
    "outer": "i,j->ij",
}
for _kind, _shapes in {"mm": ((4,), (3, 2), (2, 4)), "bmm": ((3, 1), (2, 3, 2), (2, 2, 4)), "addbmm": ((3, 4), (2, 3, 2), (2, 2, 4)),
                       "mv": ((3,), (3, 2), (2,)), "outer": ((3, 1), (3,), (4,))}.items():  # fmt: skip
    row("half_product", *[real(*s, seed=k) for k, s in enumerate(_shapes)], kind=_kind, beta=0.3, alpha=0.7, note=_kind, expandable=False,
        reference=lambda x, a, b, kind=_kind: 0.3 * x + 0.7 * np.einsum(_OUT[kind], a, b))  # fmt: skip
for _reduction, _reduce in {"none": np.asarray, "sum": np.sum, "mean": np.mean}.items():
    _settings = {"reduction": _reduction, "note": _reduction, "expandable": False}
    row("half_square_error", real(2, 3), real(2, 3, seed=1), None, setting=0.0, **_settings,
        reference=lambda x, t, w=None, r=_reduce: r((x - t) ** 2))  # fmt: skip
    row("half_huber", real(2, 3), real(2, 3, seed=1), None, setting=0.9, **_settings,
        reference=lambda x, t, w=None, r=_reduce: r(np.where(abs(x - t) < 0.9, (x - t) ** 2 / 2, 0.9 * (abs(x - t) - 0.45))))  # fmt: skip
    row("half_logits_loss", real(2, 3), abs(real(2, 3, seed=1)) / 3, abs(real(3, seed=2)), setting=0.0, **_settings,
        reference=lambda x, t, w, r=_reduce: r(w * (np.log1p(np.exp(x)) - t * x)))  # fmt: skip
    row("half_binary_cross_entropy", abs(real(2, 3)) / 3, abs(real(2, 3, seed=1)) / 3, abs(real(3, seed=2)), setting=0.0, **_settings,
        reference=lambda p, t, w, r=_reduce: r(-w * (t * np.log(p) + (1 - t) * np.log(1 - p))))  # fmt: skip


_BINS = Bins((3, 4), ((0, 1), (0, 1, 2)), ((2, 3), (2, 3, 4)), ((2, 2), (2, 2, 2)), None, False)


def _binned(x: Any) -> Any:
    return np.stack(
        [np.stack([x[..., i : i + 2, j : j + 2].mean((-1, -2)) for j in range(3)], -1) for i in range(2)], -2
    )


_PLACES = {"size": (2, 3), "places": ((0, 0, 1), (0, 1, 2, 2))}
row("half_repeat", real(2, 2, 3), **_PLACES, reference=lambda x: x[:, [0, 0, 1]][..., [0, 1, 2, 2]])
row("half_repeat_adjoint", real(2, 3, 4), **_PLACES,
    reference=lambda g: np.einsum("nab,ai,bj->nij", g, np.eye(2)[[0, 0, 1]], np.eye(3)[[0, 1, 2, 2]]))  # fmt: skip
row("half_mean_pool", real(2, 3, 4), bins=_BINS, reference=_binned)
row("half_mean_pool_adjoint", real(2, 2, 3), bins=_BINS,
    reference=lambda g: np.einsum("nij,ijhw->nhw", g, _binned(np.eye(12).reshape(12, 3, 4)).reshape(3, 4, 2, 3).transpose(2, 3, 0, 1)))  # fmt: skip


def _scale(x: Any, axes: Any) -> Any:
    return 1 / np.sqrt(x.var(axes, keepdims=True) + 0.01)


def _affine_norm(x: Any, w: Any, b: Any, axes: Any) -> Any:
    return (x - x.mean(axes, keepdims=True)) * _scale(x, axes) * w + b


def _norm_slopes(g: Any, x: Any, w: Any, axes: Any) -> tuple[Any, Any, Any]:
    """The gradients of <g, `_affine_norm`>, the first one by differences."""
    gx = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        up, down = ((g * _affine_norm(x + d, w, 0, axes)).sum() for d in (step, -step))
        gx[place] = (up - down) / 2e-6
    shared = tuple([d for d, n in enumerate(w.shape) if n == 1])
    return gx, (g * _affine_norm(x, 1, 0, axes)).sum(shared, keepdims=True), g.sum(shared, keepdims=True)


for _axes, _fit, _channels in (((2,), (1, 1, 4), False), ((0, 2), (1, 3, 1), True)):
    row("half_standardize", real(2, 3, 4), real(*_fit), real(*_fit, seed=1), dims=_axes, eps=0.01, channels=_channels,
        note=f"channels {_channels}", expandable=False, observe=lambda y, mean, var: y,
        reference=lambda x, w, b, a=_axes: (_affine_norm(x, w, b, a), x.mean(a, keepdims=True), x.var(a, keepdims=True)))  # fmt: skip
    row("half_standardize_grad", real(2, 3, 4), real(2, 3, 4, seed=3), real(*_fit), dims=_axes, eps=0.01, channels=_channels,
        note=f"channels {_channels}", tol=1e-7, expandable=False,
        reference=lambda g, x, w, a=_axes: _norm_slopes(g, x, w, a),
        prepare=lambda g, x, w, a=_axes: (g, x, w, x.detach().mean(a, True), (x.detach().var(a, correction=0, keepdim=True) + 0.01).rsqrt()))  # fmt: skip
row("half_group_norm", real(2, 2, 2, 3), real(1, 2, 2, 1), real(1, 2, 2, 1, seed=1), eps=0.01, expandable=False,
    reference=lambda x, w, b: (_affine_norm(x, w, b, (2, 3)), x.mean((2, 3), keepdims=True), _scale(x, (2, 3))))  # fmt: skip
_images = real(2, 2, 2, 3, seed=3)
row("half_group_norm_grad", real(2, 2, 2, 3), _images, real(1, 2, 2, 1), _images.mean((2, 3), keepdims=True), _scale(_images, (2, 3)),
    tol=1e-7, expandable=False, reference=lambda g, x, w, mean, scale: _norm_slopes(g, x, w, (2, 3)))  # fmt: skip
