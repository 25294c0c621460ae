"""Sampling images at given places, and grids of places from affine maps (Jaderberg et al., "Spatial transformer networks", 2015)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ...core.promotion import convert
from ...core.public import FUNCTIONS, overridable, public
from ...core.tensor import Tensor
from ...core.where import warn
from ...ops.args import dtype_of
from ...ops.shape import expand_to
from ...prims import base
from ...prims.base import from_value
from ...prims.indexing import gather_op
from ...prims.pointwise import where_op
from ...runtime import dtypes

INTERPOLATION = {"bilinear": 0, "nearest": 1, "bicubic": 2}
PADDING = {"zeros": 0, "border": 1, "reflection": 2}
CUBIC = -0.75  # the coefficient of Keys' kernel that PyTorch uses


def _whole(x: Tensor) -> Tensor:
    """Integer positions of float coordinates; NaN and what no image can hold become a place outside."""
    low, high = -(2.0**30), 2.0**30
    return convert(where_op((x > low) & (x < high), x, low), dtypes.int64)


def _unnormalize(x: Tensor, n: int, align: bool) -> Tensor:
    """Coordinates in [-1, 1] as pixel positions."""
    if align:
        return (x + 1) * ((n - 1) / 2)  # type: ignore[no-any-return]
    return ((x + 1) * n - 1) / 2  # type: ignore[no-any-return]


def _clip(x: Tensor, n: int) -> Tensor:
    """Within [0, n-1], without gradient at and beyond the borders; NaN becomes 0."""
    return where_op(x > 0, where_op(x < n - 1, x, n - 1), 0)  # type: ignore[no-any-return]


def _reflect(x: Tensor, n: int, align: bool) -> Tensor:
    """Reflected at the centers (aligned) or edges of the border pixels until inside."""
    low, span = (0.0, float(n - 1)) if align else (-0.5, float(n))
    if span == 0:
        return x * 0  # type: ignore[no-any-return]
    z = (x - low).abs()
    flips = (z / span).floor()
    extra = z - flips * span
    even = (flips / 2).floor() * 2 == flips
    return where_op(even, extra, span - extra) + low  # type: ignore[no-any-return]


def _place(x: Tensor, n: int, padding: int, align: bool) -> Tensor:
    if padding == 1:
        return _clip(x, n)
    if padding == 2:
        return _clip(_reflect(x, n, align), n)
    return x


def _pixels(image: Tensor, at: list[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """image (N, C, prod(sizes)) at integer positions (N, places): (N, C, places), zero outside."""
    inside: Any = None
    flat: Any = 0
    for i, n in zip(at, sizes):
        ok = (i >= 0) & (i < n)
        inside = ok if inside is None else inside & ok
        flat = flat * n + i
    flat = where_op(inside, flat, 0)
    batch, channels = image._a.shape[:2]
    places = flat._a.shape[-1]
    index = expand_to(flat.unsqueeze(1), (batch, channels, places))
    return where_op(inside.unsqueeze(1), gather_op(image, index, dim=2, each=True), 0)  # type: ignore[no-any-return]


def _cubic_weights(t: Tensor) -> list[Tensor]:
    """Weights of the pixels -1, 0, 1, 2 at fraction t (Keys, 1981)."""
    a = CUBIC

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1  # type: ignore[no-any-return]

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a  # type: ignore[no-any-return]

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _sample(input: Tensor, grid: Tensor, interpolation: int, padding: int, align: bool, name: str) -> Tensor:
    """The common core: input (N, C, *sizes), grid (N, *out, len(sizes)) with the last dim of `sizes` first."""
    sizes = tuple(input._a.shape[2:])
    batch, channels = input._a.shape[:2]
    out = tuple(grid._a.shape[1:-1])
    places = math.prod(out)
    image = base.reshape(input, (batch, channels, math.prod(sizes)))
    flat = base.reshape(grid, (batch, places, len(sizes)))
    raw = [
        _unnormalize(FUNCTIONS["select"](flat, 2, len(sizes) - 1 - k), n, align) for k, n in enumerate(sizes)
    ]
    if interpolation == 2:
        y = _bicubic(image, raw, sizes, padding, align)
    else:
        x = [_place(v, n, padding, align) for v, n in zip(raw, sizes)]
        if interpolation == 1:
            rounded = [FUNCTIONS["round"](v) for v in x]
            # a sum with a zero made from the grid: its gradient is zero, not absent
            zero = where_op(rounded[0].abs() < math.inf, rounded[0] - rounded[0], 0)
            y = _pixels(image, [_whole(v) for v in rounded], sizes) + zero.unsqueeze(1)
        else:
            half = image._a.dtype.itemsize == 2
            y = _half_linear(image, x, sizes) if half else _linear(image, x, sizes)
    return base.reshape(y, (batch, channels, *out))


def _half_linear(image: Tensor, x: list[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """`_linear` for 16-bit images: the pixels of all corners are taken at once, place by place, as the gradient goes."""
    from .half_sampling import corners_of, half_corners_op, visits

    stack, limit = FUNCTIONS["stack"], 2.0**15  # 16-bit numbers beyond have no fractions
    low = [v.floor() for v in x]
    t = stack([where_op(v.abs() < limit, v - f, 0) for v, f in zip(x, low)], -2)
    at = [_whole(v) for v in low]
    batch, channels = image._a.shape[:2]
    places, corners = t._a.shape[-1], corners_of(len(sizes))
    each = [stack([i + c[d] for c in corners], -1) for d, i in enumerate(at)]
    each = [base.reshape(i, (batch, places * len(corners))) for i in each]
    order, take = visits(places, len(sizes)), FUNCTIONS["index_select"]
    if order is not None:
        each = [take(i, 1, from_value(order)) for i in each]
    found = _pixels(image, each, sizes)
    if order is not None:
        found = take(found, 2, from_value(np.argsort(order)))
    found = base.reshape(found, (batch, channels, places, len(corners))).permute(0, 3, 1, 2)
    return half_corners_op(found, t)  # type: ignore[no-any-return]


def _linear(image: Tensor, x: list[Tensor], sizes: tuple[int, ...]) -> Tensor:
    low = [v.floor() for v in x]
    at = [_whole(v) for v in low]
    t = [v - f for v, f in zip(x, low)]
    total: Any = None
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        weight: Any = None
        for c, f in zip(corner, t):
            w = f if c else 1 - f
            weight = w if weight is None else weight * w
        found = _pixels(image, [i + c for i, c in zip(at, corner)], sizes)
        inside: Any = None
        for i, c, n in zip(at, corner, sizes):
            ok = (i + c >= 0) & (i + c < n)
            inside = ok if inside is None else inside & ok
        part = found * where_op(inside, weight, 0).unsqueeze(1)
        total = part if total is None else total + part
    return total  # type: ignore[no-any-return]


def _bicubic(image: Tensor, raw: list[Tensor], sizes: tuple[int, ...], padding: int, align: bool) -> Tensor:
    low = [v.floor() for v in raw]
    weights = [_cubic_weights(v - f) for v, f in zip(raw, low)]
    # padding applies to each of the 4 x 4 pixels; only the fractions carry gradients
    at = [
        [_whole(_place(f.detach() + (k - 1), n, padding, align)) for k in range(4)]
        for f, n in zip(low, sizes)
    ]
    total: Any = None
    for i in range(4):
        row: Any = None
        for j in range(4):
            part = _pixels(image, [at[0][i], at[1][j]], sizes) * weights[1][j].unsqueeze(1)
            row = part if row is None else row + part
        row = row * weights[0][i].unsqueeze(1)
        total = row if total is None else total + row
    return total  # type: ignore[no-any-return]


def _check(input: Tensor, grid: Tensor, n: int | None, interpolation: int, name: str) -> None:
    for x, what in ((input, "input"), (grid, "grid")):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(x).__name__}")
    s, g = tuple(input._a.shape), tuple(grid._a.shape)
    if input._a.dtype != grid._a.dtype:
        raise RuntimeError(
            f"{name}(): expected input and grid to have same dtype, but input has {dtype_of(input)} and grid has {dtype_of(grid)}"
        )
    nd = len(s)
    if nd not in (4, 5) if n is None else nd != n + 2:
        raise RuntimeError(
            f"{name}(): expected 4D or 5D input and grid with same number of dimensions, but got input of size {list(s)}"
        )
    if len(g) != nd:
        raise RuntimeError(
            f"{name}(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes {list(s)} and grid "
            f"with sizes {list(g)}"
        )
    if s[0] != g[0]:
        raise RuntimeError(
            f"{name}(): expected grid and input to have same batch size, but got input with sizes {list(s)} and grid with sizes {list(g)}"
        )
    if g[-1] != nd - 2:
        raise RuntimeError(
            f"{name}(): expected grid to have size {nd - 2} in last dimension, but got grid with sizes {list(g)}"
        )
    if 0 in s[2:]:
        raise RuntimeError(
            f"{name}(): expected input to have non-empty spatial dimensions, but input has sizes {list(s)}"
        )
    if nd == 5 and interpolation == 2:
        raise RuntimeError(f"{name}(): bicubic interpolation only supports 4D input")
    if input._a.dtype.kind not in "fV":
        raise NotImplementedError(f'"{name}" not implemented for {dtype_of(input)}')


def _sampler_name(args: Any, kwargs: Any) -> str:
    x = args[0] if args else kwargs["input"]
    return f"GridSampler{len(x._a.shape) - 2}DBackward0"


def _sampler(name: str, n: int | None) -> Any:
    def sampler(
        input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
    ) -> Tensor:
        _check(input, grid, n, interpolation_mode, name)
        return _sample(input, grid, interpolation_mode, padding_mode, align_corners, name)

    sampler.__doc__ = "``nn.functional.grid_sample`` with its modes as numbers: bilinear, nearest, bicubic; zeros, border, reflection."
    return public(method=False, name=name, grad_name=_sampler_name)(sampler)


grid_sampler, grid_sampler_2d, grid_sampler_3d = (
    _sampler("grid_sampler", None),
    _sampler("grid_sampler_2d", 2),
    _sampler("grid_sampler_3d", 3),
)


def _default_warning(name: str) -> None:
    warn(
        f"Default {name} behavior has changed to align_corners=False since 1.3.0. Please specify align_corners=True if the old behavior is "
        "desired. See the documentation of grid_sample for details.",
    )


@overridable
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Values of `input` (N, C, H, W) at the places `grid` (N, h, w, 2), given as (x, y) in [-1, 1]: (N, C, h, w); volumes likewise.

    Raises: ValueError for other modes, RuntimeError for shapes or dtypes that do not fit.

    >>> import flambeau as torch
    >>> image = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    >>> torch.nn.functional.grid_sample(image, torch.zeros(1, 1, 1, 2), align_corners=True)
    tensor([[[[1.5000]]]])
    """
    if mode not in INTERPOLATION:
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in PADDING:
        raise ValueError(
            f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        _default_warning("grid_sample and affine_grid")
        align_corners = False
    return grid_sampler(input, grid, INTERPOLATION[mode], PADDING[padding_mode], align_corners)  # type: ignore[no-any-return]


@public(method=False, grad_name="AffineGridGeneratorBackward0")
def affine_grid_generator(theta: Tensor, size: Any, align_corners: bool) -> Tensor:
    """``nn.functional.affine_grid``."""
    spatial = tuple(int(n) for n in size)[2:]
    k = len(spatial)
    axes = []
    for n in spatial:
        x = np.linspace(-1, 1, n) if n > 1 else np.zeros(n)
        axes.append(x if align_corners or n <= 1 else x * ((n - 1) / n))
    mesh = np.meshgrid(*axes, indexing="ij")
    places = np.stack([*[m.reshape(-1) for m in reversed(mesh)], np.ones(math.prod(spatial))], -1)
    points = from_value(places.astype(theta._a.dtype))
    y = FUNCTIONS["matmul"](points, theta.transpose(1, 2))
    return base.reshape(y, (theta._a.shape[0], *spatial, k))


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Places for `grid_sample`: theta (N, 2, 3) and size (N, C, H, W) give (N, H, W, 2); (N, 3, 4) and 5 sizes give (N, D, H, W, 3).

    Raises: ValueError for other shapes or integer dtypes, NotImplementedError for other numbers of sizes.

    >>> import flambeau as torch
    >>> torch.nn.functional.affine_grid(torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]), (1, 1, 1, 2), align_corners=True)
    tensor([[[[-1.,  0.],
              [ 1.,  0.]]]])
    """
    if align_corners is None:
        _default_warning("grid_sample and affine_grid")
        align_corners = False
    if theta._a.dtype.kind not in "fV":
        raise ValueError(f"Expected theta to have floating point type, but got {dtype_of(theta)}")
    s = tuple(theta._a.shape)
    if len(size) == 4:
        if len(s) != 3 or s[-2] != 2 or s[-1] != 3:
            raise ValueError(
                f"Expected a batch of 2D affine matrices of shape Nx2x3 for size {list(size)}. Got {list(s)}."
            )
    elif len(size) == 5:
        if len(s) != 3 or s[-2] != 3 or s[-1] != 4:
            raise ValueError(
                f"Expected a batch of 3D affine matrices of shape Nx3x4 for size {list(size)}. Got {list(s)}."
            )
    else:
        raise NotImplementedError(
            f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {list(size)}."
        )
    if min(int(n) for n in size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {list(size)}")
    return affine_grid_generator(theta, size, align_corners)
