"""Finite differences and the trapezoidal rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.grad_names import rename
from ..core.public import public
from ..core.tensor import Tensor
from ..prims import base
from ..prims.base import reshape
from .args import is_number, wrap_dim
from .shape import cat, select, slice_dim


def _without_first(x: Tensor, d: int) -> Tensor:
    return slice_dim(x, d, 1, int(x._a.shape[d]))


def _without_last(x: Tensor, d: int) -> Tensor:
    return slice_dim(x, d, 0, max(int(x._a.shape[d]) - 1, 0))


@public(out=True)
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The n-th differences of neighbours along a dim (for bool: whether they differ).

    `prepend` and `append` are joined to the tensor first.
    Raises: RuntimeError for 0-d tensors, negative n, or shapes that cannot be joined.

    >>> import flambeau as torch
    >>> torch.diff(torch.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    nd = len(input._a.shape)
    if nd < 1:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    for extra in (prepend, append):
        if extra is not None and len(extra._a.shape) != nd:
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        if extra is not None:
            for k, (a, b) in enumerate(zip(extra._a.shape, input._a.shape)):
                if a != b and k != wrap_dim(dim, nd):
                    raise RuntimeError(
                        f"diff expects the shape of tensor to prepend or append to match that of input except along the differencing "
                        f"dimension; input.size({k}) = {b}, but got tensor.size({k}) = {a}"
                    )
    d = wrap_dim(dim, nd)
    if n == 0:
        return rename(input.clone(), "torch::autograd::CopyBackwards")  # type: ignore[no-any-return]
    parts = [x for x in (prepend, input, append) if x is not None]
    x = cat(parts, d) if len(parts) > 1 else input
    for _ in range(min(int(n), int(x._a.shape[d]))):
        a, b = _without_first(x, d), _without_last(x, d)
        x = a ^ b if x._a.dtype.kind == "b" else a - b
    return x


def _gradient_along(x: Tensor, d: int, spacing: Any, order: int) -> Tensor:
    """Second-order differences inside, one-sided ones of the given order at both ends (Fornberg, 1988)."""
    n = int(x._a.shape[d])

    def at(i: int) -> Tensor:
        return slice_dim(x, d, i, i + 1)

    left, mid, right = slice_dim(x, d, 0, n - 2), slice_dim(x, d, 1, n - 1), slice_dim(x, d, 2, n)
    if not isinstance(spacing, Tensor):
        inside = (right - left) / (2 * spacing)
        if order == 1:
            first, last = (at(1) - at(0)) / spacing, (at(n - 1) - at(n - 2)) / spacing
        else:
            first = (-1.5 * at(0) + 2 * at(1) - 0.5 * at(2)) / spacing
            last = (1.5 * at(n - 1) - 2 * at(n - 2) + 0.5 * at(n - 3)) / spacing
        return cat([first, inside, last], d)
    steps = diff(spacing)
    steps = base.reshape(steps, tuple([n - 1 if k == d else 1 for k in range(len(x._a.shape))]))
    h, k = slice_dim(steps, d, 0, n - 2), slice_dim(steps, d, 1, n - 1)
    inside = -k / (h * (h + k)) * left + (k - h) / (h * k) * mid + h / (k * (h + k)) * right
    h0, h1 = slice_dim(steps, d, 0, 1), slice_dim(steps, d, n - 2, n - 1)
    if order == 1:
        return cat([(at(1) - at(0)) / h0, inside, (at(n - 1) - at(n - 2)) / h1], d)
    h2, g2 = slice_dim(steps, d, 1, 2), slice_dim(steps, d, n - 3, n - 2)
    first = (
        -(2 * h0 + h2) / (h0 * (h0 + h2)) * at(0)
        + (h0 + h2) / (h0 * h2) * at(1)
        - h0 / (h2 * (h0 + h2)) * at(2)
    )
    last = (
        h1 / (g2 * (g2 + h1)) * at(n - 3)
        - (h1 + g2) / (g2 * h1) * at(n - 2)
        + (2 * h1 + g2) / (h1 * (g2 + h1)) * at(n - 1)
    )
    return cat([first, inside, last], d)


@public(method=False)
def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Derivatives along the dims (all by default), from values on a grid: second order inside, `edge_order` at the ends.

    `spacing` is a step, steps for each dim, or coordinates for each dim.
    Raises: RuntimeError when it does not fit the dims, or a dim has fewer than edge_order + 1 positions.
    """
    nd = len(input._a.shape)
    dims = list(range(nd)) if dim is None else [dim] if hasattr(dim, "__index__") else list(dim)
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    found = [wrap_dim(d, nd) for d in dims]
    if len(set(found)) != len(found):
        raise RuntimeError(
            f"dim {next(d for d in found if found.count(d) > 1)} appears multiple times in the list of dims"
        )
    if isinstance(spacing, Tensor):
        raise TypeError("gradient(): argument 'spacing' must be a number, or a list of numbers or of Tensors")
    if spacing is None or is_number(spacing):
        each = [1 if spacing is None else spacing] * len(found)
    else:
        each = list(spacing)
        if len(each) != len(found):
            raise RuntimeError(
                f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() = {nd}' or to "
                f"the dims given ({len(found)}), but got a list of length {len(each)}"
            )
    for d, s in zip(found, each):
        if input._a.shape[d] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
        if isinstance(s, Tensor):
            if len(s._a.shape) != 1 or s._a.shape[0] != input._a.shape[d]:
                raise RuntimeError(
                    "torch.gradient expected each element of spacing to have one dimension and as many elements as the dim, but got "
                    f"{list(s._a.shape)} for dim {d} of size {input._a.shape[d]}"
                )
    return tuple([_gradient_along(input, d, s, edge_order) for d, s in zip(found, each)])


def _steps(y: Tensor, x: Any, dx: Any, d: int, name: str) -> Any:
    """Widths of the intervals: a number, or a tensor that broadcasts with `y`.

    Raises: RuntimeError for bool tensors or an `x` that does not fit, TypeError when both x and dx are given.
    """
    for t in (y, x):
        if isinstance(t, Tensor) and t._a.dtype.kind == "b":
            raise RuntimeError(f"{name}: received a bool input for `x` or `y`, but bool is not supported")
    if x is None:
        return 1 if dx is None else dx
    if dx is not None:
        raise TypeError(f"{name}(): x and dx cannot be given together")
    if not isinstance(x, Tensor):
        return x
    if not x._a.shape:
        raise RuntimeError(f"There must be one `x` value for each sample point ({name}: x is 0-dimensional)")
    if len(x._a.shape) == 1:
        if x._a.shape[0] != y._a.shape[d]:
            raise RuntimeError("There must be one `x` value for each sample point")
        return reshape(
            diff(x), tuple([max(int(x._a.shape[0]) - 1, 0) if k == d else 1 for k in range(len(y._a.shape))])
        )
    lead = len(y._a.shape) - len(x._a.shape)
    wide = reshape(x, (*[1] * max(lead, 0), *x._a.shape))
    at = d if lead >= 0 else d - lead
    if int(wide._a.shape[at]) != int(y._a.shape[d]):
        raise RuntimeError(
            f"There must be one `x` value for each sample point ({name}: x {list(x._a.shape)}, y {list(y._a.shape)}, dim {d})"
        )
    return diff(wide, dim=at)


def _pairs(y: Tensor, d: int) -> Tensor:
    return _without_first(y, d) + _without_last(y, d)  # type: ignore[no-any-return]


def _trapezoid_name(args: Any, kwargs: Any) -> str:
    """The last step divides by 2, or multiplies by the steps: by a number either way."""
    points = args[1] if len(args) > 1 else kwargs.get("x")
    return "MulBackward1" if points is None and not isinstance(kwargs.get("dx"), Tensor) else "DivBackward1"


@public(method=False, aliases=("trapz",), grad_name=_trapezoid_name)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The integral along a dim by the trapezoidal rule, at the points `x` or with steps `dx` (default 1).

    >>> import flambeau as torch
    >>> torch.trapezoid(torch.tensor([1., 2., 3.]))
    tensor(4.)
    """
    d = wrap_dim(dim, len(y._a.shape))
    step = _steps(y, x, dx, d, "trapezoid")
    if not isinstance(step, Tensor):
        if y._a.shape[d] == 0:
            shape = tuple([n for k, n in enumerate(y._a.shape) if k != d])
            return base.full(shape, 0, y._a.dtype if y._a.dtype.kind in "fcV" else np.dtype(np.float32))
        return (y.sum(d) - (select(y, d, 0) + select(y, d, -1)) * 0.5) * step  # type: ignore[no-any-return]
    d -= len(y._a.shape)
    total = step * _pairs(y, d + len(y._a.shape))
    return total.sum(d) / 2.0  # type: ignore[no-any-return]


@public(method=False)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running integral along a dim by the trapezoidal rule: one position fewer than `y`."""
    d = wrap_dim(dim, len(y._a.shape))
    step = _steps(y, x, dx, d, "cumulative_trapezoid")
    if not isinstance(step, Tensor):
        return rename(step / 2.0 * _pairs(y, d).cumsum(d), "CumsumBackward0")  # type: ignore[no-any-return]
    total = (step * _pairs(y, d)).cumsum(d - len(y._a.shape))
    return rename(total / 2.0, "DivBackward1")  # type: ignore[no-any-return]
