"""Statistics: quantiles, covariance, counts and histograms."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..core.meta import is_meta
from ..core.pending import known, seen
from ..core.promotion import convert, result_type
from ..core.public import FUNCTIONS, public
from ..core.refusal import without_derivative
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims import base
from ..prims.base import reshape
from ..prims.indexing import gather_op
from ..prims.pointwise import isnan, sqrt, where_op
from ..prims.search import bincount_op, histc_op, histogram_op, weighted_bincount_op
from ..runtime import dtypes
from .args import dtype_of, numel, wrap_dim
from .creation import linspace
from .meta_device import made
from .order import sort
from .rearrange import movedim
from .reduce import named
from .shape import select

_Histogram = named("histogram", "hist", "bin_edges")
_Histogramdd = named("histogramdd", "hist", "bin_edges")

# ------------------------------------------------------------------------------------------------------ quantiles

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    x: Tensor, q: Any, dim: Any, keepdim: bool, interpolation: str, skip_nan: bool, name: str
) -> Tensor:
    if numel(x) == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if dtype_of(x) not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype, got {dtype_of(x)}")
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = base.full((), q, x._a.dtype)
    elif len(q._a.shape) > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, got shape {list(q._a.shape)}")
    elif q._a.dtype != x._a.dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor: {dtype_of(q)}, {dtype_of(x)}"
        )
    elif not ((seen(q) >= 0) & (seen(q) <= 1)).all():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    nd = len(x._a.shape)
    if dim is None:
        rows, kept = reshape(x, (numel(x),)), (1,) * nd
    else:
        d = wrap_dim(dim, nd)
        rows = movedim(x, d, -1) if nd else reshape(x, (1,))
        kept = tuple([1 if k == d else n for k, n in enumerate(x._a.shape)])
    ordered = sort(rows, -1)[0]  # NaN last
    lead, n = tuple(rows._a.shape[:-1]), int(rows._a.shape[-1])
    nans = isnan(ordered)
    if skip_nan:
        last = (convert(~nans, dtype_of(x)).sum(-1, True) - 1).clamp(min=0)
        ranks = q * last
    else:
        ranks = where_op(nans.any(-1, True), n - 1, q * base.full((*lead, 1), n - 1, x._a.dtype))
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = ranks.detach().floor()
    y = gather_op(ordered, convert(below, dtypes.int64), dim=len(lead))
    if interpolation in ("linear", "midpoint"):
        weight = (
            ranks - below if interpolation == "linear" else base.full(tuple(ranks._a.shape), 0.5, x._a.dtype)
        )
        y = y.lerp(gather_op(ordered, convert(ranks.detach().ceil(), dtypes.int64), dim=len(lead)), weight)
    tail = kept if keepdim else lead
    if not q._a.shape:
        return reshape(y, tail)
    return reshape(movedim(y, -1, 0), (int(q._a.shape[0]), *tail))


@public(out=True, grad_name="SqueezeBackward4")
def quantile(
    input: Tensor, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-th quantiles (q a number or a vector in [0, 1]) of all elements or a dim; NaN where there is a NaN.

    Several q give a result with a dim for them in front.  Raises: RuntimeError for other dtypes than float32 and
    float64, an empty tensor, or q outside [0, 1].

    >>> import flambeau as torch
    >>> torch.quantile(torch.tensor([0., 1., 2., 3.]), 0.5)
    tensor(1.5000)
    """
    return _quantile(input, q, dim, keepdim, interpolation, False, "quantile")


@public(out=True, grad_name="SqueezeBackward4")
def nanquantile(
    input: Tensor, q: Any, dim: Any = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """`quantile` of the elements that are not NaN."""
    return _quantile(input, q, dim, keepdim, interpolation, True, "nanquantile")


# ----------------------------------------------------------------------------------------------------- covariance


def _weights(w: Any, n: int, name: str, x: Tensor) -> Tensor | None:
    if w is None:
        return None
    if len(w._a.shape) > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with {w.ndim} dimensions"
        )
    floating = w._a.dtype.kind in "fV"
    if name == "fweights" and w._a.dtype.kind not in "ui":
        raise RuntimeError(
            f"cov(): expected fweights to have integral dtype but got fweights with {dtype_of(w)} dtype"
        )
    if name == "aweights" and not floating:
        raise RuntimeError(
            f"cov(): expected aweights to have floating point dtype but got aweights with {dtype_of(w)} dtype"
        )
    if numel(w) != n:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got {numel(w)} != {n}"
        )
    if (seen(w) < 0).any():
        raise RuntimeError(f"cov(): {name} cannot be negative")
    return reshape(w, (n,))


@public()
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """Covariance matrix of the variables in the rows of `input` (observations in the columns).

    `fweights` are repetitions of the observations (integers), `aweights` their importance; `correction` is subtracted
    from the number of observations.  Raises: RuntimeError for bool tensors, more than two dims, or unfit weights.
    """
    if len(input._a.shape) > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    if input._a.dtype.kind == "b":
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input if len(input._a.shape) == 2 else reshape(input, (1, numel(input)))
    n = int(x._a.shape[1])
    f, a = _weights(fweights, n, "fweights", x), _weights(aweights, n, "aweights", x)
    w = a if f is None else f if a is None else f * a
    if w is None:
        total: Any = n
        mean = x.sum(1, True) / n
        norm: Any = max(n - correction, 0)
        negative = n - correction <= 0
    else:
        total = w.sum()
        if n and (seen(total) == 0).any():
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        mean = (x * w).sum(1, True) / total
        if correction == 0:
            norm = total
        else:
            norm = total - correction * (total if a is None else (w * a).sum() / total)
            if a is None:
                norm = total - correction
        negative = bool((seen(norm) <= 0).any())
        norm = norm.clamp(min=0)
    if negative:
        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
            UserWarning,
            stacklevel=3,
        )
    centred = x - mean
    weighted = centred if w is None else centred * w
    wide = result_type(centred, weighted)
    y = convert(weighted, wide) @ convert(centred, wide).t().conj()
    y = y / (norm if isinstance(norm, Tensor) else base.full((), norm, np.dtype(np.float64)))
    return y.squeeze()  # type: ignore[no-any-return]


@public()
def corrcoef(input: Tensor) -> Tensor:
    """Correlation coefficients of the variables in the rows of `input`."""
    if len(input._a.shape) > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    c = cov(input)
    if not c._a.shape:
        return c / c  # type: ignore[no-any-return]
    variance = c.diag()
    deviation = sqrt(variance.real if c._a.dtype.kind == "c" else variance)
    y = c / deviation.unsqueeze(1) / deviation
    if y._a.dtype.kind == "c":
        return FUNCTIONS["complex"](y.real.clamp(-1, 1), y.imag.clamp(-1, 1))  # type: ignore[no-any-return]
    return y.clamp(-1, 1)  # type: ignore[no-any-return]


# --------------------------------------------------------------------------------------------- counts and histograms


@public()
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of the numbers 0, 1, ... occurs in a vector, or the sum of the weights at its places.

    Raises: RuntimeError for tensors that are not vectors of non-negative integers.

    >>> import flambeau as torch
    >>> torch.bincount(torch.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    if input._a.dtype.kind not in "ui":
        raise NotImplementedError(f'"bincount_cpu" not implemented for {dtype_of(input)}')
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0 (got {minlength})")
    if len(input._a.shape) != 1 or (seen(input) < 0).any():
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    x = convert(input, dtypes.int64)
    if weights is None:
        return bincount_op(x, minlength=int(minlength))  # type: ignore[no-any-return]
    if tuple(weights._a.shape) != tuple(x._a.shape):
        raise RuntimeError(
            f"weights should be 1-d and have the same length as input (got {list(weights._a.shape)}, {list(x._a.shape)})"
        )
    if weights._a.dtype != np.float32:
        weights = convert(weights, dtypes.float64)
    found = weighted_bincount_op(x, weights.detach(), minlength=int(minlength))
    if weights.requires_grad and tls.grad:  # PyTorch has no derivative
        return FUNCTIONS["index_add"](FUNCTIONS["zeros_like"](found), 0, x, weights)  # type: ignore[no-any-return]
    return found  # type: ignore[no-any-return]


@public(out=True)
def histc(input: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """How many elements lie in each of `bins` bins of equal width from min to max (0, 0: the range of the data).

    Elements outside are left out; the counts have the dtype of `input`.
    Raises: RuntimeError for integer tensors, bins < 1, or a range that is reversed or not finite.
    """
    if bins <= 0:
        raise RuntimeError(f"torch.histc(): bins must be > 0, but got {bins} for dimension 0")
    if input._a.dtype.kind in "ui" and is_meta(input):  # devices other than the CPU count integers
        return made((int(bins),), input._a.dtype)
    if input._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"histogram_cpu" not implemented for {dtype_of(input)}')
    if min > max:
        raise RuntimeError(f"torch.histc: max must be larger than min (got {min}, {max})")
    return histc_op(input, bins=int(bins), low=float(min), high=float(max), ndim=len(input._a.shape))  # type: ignore[no-any-return]


def _own_edges(column: Tensor, count: int, k: int, name: str) -> Tensor:
    """The edges of equal bins over the range of the data (widened by a half each way when it is a point)."""
    low, high = column.min(), column.max()
    if known(low) is not None and not (math.isfinite(low.item()) and math.isfinite(high.item())):
        raise RuntimeError(f"torch.{name}: dimension {k}'s range [{low.item()}, {high.item()}] is not finite")
    half = where_op(low == high, 0.5, low * 0)
    return linspace(low - half, high + half, count + 1, dtype=dtype_of(column))


def _histogram(
    x: Tensor, bins: Any, range: Any, weight: Any, density: bool, name: str
) -> tuple[Tensor, list[Tensor]]:
    """Histogram of points (n, d) and the edges of its bins."""
    if x._a.dtype.kind != "f" or x._a.dtype.itemsize < 4:
        raise NotImplementedError(f'"histogramdd" not implemented for {dtype_of(x)}')
    n, dims = (int(k) for k in x._a.shape)
    if weight is not None:
        if weight._a.dtype != x._a.dtype:
            raise RuntimeError(
                f"torch.{name}: if weight tensor is provided, input tensor and weight tensor should have the same dtype, but got "
                f"input(c10::{dtype_of(x)}), and weight(c10::{dtype_of(weight)})"
            )
        if numel(weight) != n:
            raise RuntimeError(
                f"torch.{name}: the weight tensor should have {n} elements, got {numel(weight)}"
            )
    points = x.detach()
    if isinstance(bins[0], Tensor):
        edges = [e.clone() for e in bins]
        for e in edges:
            if len(e._a.shape) != 1 or not numel(e):
                raise RuntimeError(
                    f"torch.{name}: bins tensor should have one dimension and at least one element"
                )
            if e._a.dtype != x._a.dtype:
                raise RuntimeError(
                    f"torch.{name}: input tensor and bins tensors should have the same dtype, but got input with dtype "
                    f"{dtype_of(x)} and bins with dtype {dtype_of(e)}"
                )
    else:
        if range is not None and len(range) != 2 * dims:
            raise RuntimeError(
                f"torch.{name}: for a {dims}-dimensional histogram range should have {2 * dims} elements, but got {len(range)}"
            )
        edges = []
        for k, count in enumerate(bins):
            if int(count) <= 0:
                raise RuntimeError(f"torch.{name}(): bins must be > 0, but got {count} for dimension {k}")
            if range is not None:
                low, high = float(range[2 * k]), float(range[2 * k + 1])
            elif n:
                edges.append(_own_edges(select(points, 1, k), int(count), k, name))
                continue
            else:
                low, high = 0.0, 1.0
            if not (math.isfinite(low) and math.isfinite(high)):
                raise RuntimeError(f"torch.{name}: dimension {k}'s range [{low}, {high}] is not finite")
            if low > high:
                raise RuntimeError(
                    f"torch.{name}: min should not exceed max, but got min {low} max {high} for dimension {k}"
                )
            if low == high:
                low, high = low - 0.5, high + 0.5
            edges.append(linspace(low, high, int(count) + 1, dtype=dtype_of(x)))
    w = base.full((n,), 1, x._a.dtype) if weight is None else reshape(weight.detach(), (n,))
    hist = histogram_op(points, w, *[e.detach() for e in edges])
    if density:
        hist = hist / hist.sum()
        for k, e in enumerate(edges):
            width = e[1:] - e[:-1]
            hist = hist / reshape(width, tuple([-1 if j == k else 1 for j in builtin_range(dims)]))
    return hist, edges


builtin_range = __builtins__["range"] if isinstance(__builtins__, dict) else __builtins__.range


@public(out=True)
def histogram(
    input: Tensor, bins: Any = 100, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """(hist, bin_edges): a histogram over `bins` equal bins, or over those between a vector of edges.

    `density` divides by the total and the widths.  Raises: RuntimeError for other dtypes than float32 and float64,
    and for bins, ranges or weights that do not fit.
    """
    n = numel(input)
    if weight is not None and tuple(weight._a.shape) != tuple(input._a.shape):
        raise RuntimeError(
            "torch.histogram: if weight tensor is provided it should have the same shape as the input tensor"
        )
    if isinstance(bins, Tensor) and range is not None:
        raise TypeError("histogram(): range cannot be given together with a tensor of bin edges")
    hist, edges = _histogram(reshape(input, (n, 1)), [bins], range, weight, density, "histogram")
    return _Histogram(without_derivative(hist, "histogram", "NotImplemented", input, weight), edges[0])


@public(method=False)
def histogramdd(
    input: Tensor, bins: Any, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """(hist, bin_edges): a histogram of points (..., d) in d dims; `bins` is a count, or counts or edges for each dim."""
    if len(input._a.shape) < 2:
        raise RuntimeError(
            f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {input.ndim}"
        )
    dims = int(input._a.shape[-1])
    each = [bins] * dims if isinstance(bins, int) else list(bins)
    if len(each) != dims:
        raise RuntimeError(
            f"torch.histogramdd: dimensionality mismatch: bins should have {dims} entries for a {dims}-dimensional histogram, got {len(each)}"
        )
    points = reshape(input, (math.prod(input._a.shape[:-1]), dims))
    hist, edges = _histogram(points, each, range, weight, density, "histogramdd")
    hist = without_derivative(hist, "histogramdd", "NotImplemented", input, weight)
    return _Histogramdd(hist, tuple(edges))
