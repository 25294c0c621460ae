"""Convolutions."""

from __future__ import annotations

import math
from typing import Any

from ...core.grad_names import rename
from ...core.public import FUNCTIONS, overridable
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...ops.layouts import like_images, like_signals
from ...prims.conv import biased_conv_op, conv_input_op, conv_op
from ...prims.conv_arrays import output_size
from ...prims.half_conv import half_conv_op
from .padding import pad

IntOrTuple = int | tuple[int, ...]


def spread(value: Any, n: int, name: str) -> tuple[int, ...]:
    """One int for each spatial dim.

    Raises: RuntimeError for another number of them.
    """
    if hasattr(value, "__index__"):
        return (value.__index__(),) * n
    found = tuple(int(v) for v in value)
    if len(found) == 1:
        return found * n
    if len(found) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values to match the convolution dimensions, but got {name}={list(found)}"
        )
    return found


def _check(
    x: Tensor, w: Tensor, bias: Tensor | None, n: int, groups: int, name: str, transposed: bool
) -> None:
    for t, what in ((x, "input"), (w, "weight")):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(t).__name__}")
    nd = len(x._a.shape)
    if len(w._a.shape) != n + 2:
        raise RuntimeError(
            f"expected {n + 2}-dimensional weight for {name}, but got a {len(w._a.shape)}-dimensional one of size {list(w._a.shape)}"
        )
    if nd not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(x._a.shape)}"
        )
    if x._a.dtype != w._a.dtype:
        raise RuntimeError(f"Input type ({x.type()}) and weight type ({w.type()}) should be the same")
    if bias is not None and bias._a.dtype != w._a.dtype:
        raise RuntimeError(f"Input type ({x.type()}) and bias type ({bias.type()}) should be the same")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    channels = x._a.shape[-(n + 1)]
    o, c = w._a.shape[:2]
    if transposed:
        if channels != o:
            raise RuntimeError(
                f"Given transposed=1, weight of size {list(w._a.shape)}, expected input{list(x._a.shape)} to have {o} channels, but got {channels} channels instead"
            )
        if o % groups:
            raise RuntimeError(
                f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of size {list(w._a.shape)} instead"
            )
        out = c * groups
    else:
        if o < groups or o % groups:
            raise RuntimeError(
                f"Given groups={groups}, expected weight to be at least {groups} at dimension 0 and divisible by it, but got weight of size {list(w._a.shape)} instead"
            )
        if channels != c * groups:
            raise RuntimeError(
                f"Given groups={groups}, weight of size {list(w._a.shape)}, expected input{list(x._a.shape)} to have {c * groups} channels, but got {channels} channels instead"
            )
        out = o
    if bias is not None and tuple(bias._a.shape) != (out,):
        raise RuntimeError(
            f"Given weight of size {list(w._a.shape)}, expected bias to be 1-dimensional with {out} elements, but got bias of size {list(bias._a.shape)} instead"
        )


def _positive(values: tuple[int, ...], name: str) -> None:
    if any(v <= 0 for v in values):
        raise RuntimeError(f"non-positive {name} is not supported")


def _takes_onednn(x: Tensor, w: Tensor, groups: int) -> bool:
    """Whether PyTorch hands this to oneDNN; its own transposed convolution of volumes gives contiguous results."""
    s, kernel = x._a.shape, w._a.shape
    return groups > 1 or min(kernel[-2:]) > 3 or s[0] > 1 or math.prod(s[:4]) > 20480


def _with_bias(x: Tensor, w: Tensor, bias: Tensor | None, op: Any, settings: dict[str, Any]) -> Tensor:
    y: Tensor
    if bias is not None and x._a.dtype.itemsize == 2:
        y = half_conv_op(x, w, bias, transposed=op is conv_input_op, **{"size": None, **settings})
    elif bias is not None and op is conv_op and bias._a.dtype.kind == "f":
        y = biased_conv_op(x, w, bias, **settings)
    else:
        y = op(x, w, **settings)
        if bias is not None:
            y = y + bias.reshape(-1, *(1,) * (len(w._a.shape) - 2))
    if tls.stack:
        return y
    if len(w._a.shape) == 3:
        y = like_signals(y, w)
    elif op is not conv_input_op or len(w._a.shape) == 4 or _takes_onednn(x, w, settings["groups"]):
        y = like_images(y, x, w)
    # PyTorch puts complex convolutions together from real ones
    return rename(y, "AddBackward0" if y._a.dtype.kind == "c" else "ConvolutionBackward0")  # type: ignore[no-any-return]


def _conv(
    n: int, x: Tensor, w: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    name = f"conv{n}d"
    _check(x, w, bias, n, groups, name, False)
    s, d = spread(stride, n, "stride"), spread(dilation, n, "dilation")
    _positive(s, "stride")
    _positive(d, "dilation")
    kernel = tuple(w._a.shape[2:])
    if isinstance(padding, str):
        if padding == "valid":
            p = (0,) * n
        elif padding == "same":
            if any(v != 1 for v in s):
                raise RuntimeError("padding='same' is not supported for strided convolutions")
            total = [dd * (k - 1) for dd, k in zip(d, kernel)]
            if any(t % 2 for t in total):  # an odd total goes to the end
                x = pad(x, [v for t in reversed(total) for v in (0, t % 2)])
            p = tuple(t // 2 for t in total)
        else:
            raise RuntimeError(f"Invalid padding string: '{padding}', expected 'valid' or 'same'")
    else:
        p = spread(padding, n, "padding")
    if any(v < 0 for v in p):
        raise RuntimeError("negative padding is not supported")
    single = len(x._a.shape) == n + 1
    if single:
        x = x.unsqueeze(0)
    size = tuple(x._a.shape[2:])
    out = output_size(size, kernel, s, p, d)
    if any(v <= 0 for v in out):
        padded = [a + 2 * b for a, b in zip(size, p)]
        effective = [dd * (k - 1) + 1 for dd, k in zip(d, kernel)]
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: ({' x '.join(map(str, effective))}). Kernel size can't be greater than actual input size"
        )
    y = _with_bias(x, w, bias, conv_op, {"stride": s, "padding": p, "dilation": d, "groups": groups})
    return y.squeeze(0) if single else y


@overridable
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, L) with weight (O, C/groups, k).

    Raises: RuntimeError when sizes, dtypes or groups do not fit.
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


@overridable
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, H, W) with weight (O, C/groups, kH, kW).

    Raises: RuntimeError when sizes, dtypes or groups do not fit.

    >>> import flambeau as torch
    >>> torch.nn.functional.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)).shape
    torch.Size([1, 1, 2, 2])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


@overridable
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, D, H, W) with weight (O, C/groups, kD, kH, kW)."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _transposed(
    n: int,
    x: Tensor,
    w: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    _check(x, w, bias, n, groups, f"conv_transpose{n}d", True)
    s, d = spread(stride, n, "stride"), spread(dilation, n, "dilation")
    p, op = spread(padding, n, "padding"), spread(output_padding, n, "output_padding")
    _positive(s, "stride")
    _positive(d, "dilation")
    if any(v < 0 for v in p):
        raise RuntimeError("negative padding is not supported")
    for o, a, b in zip(op, s, d):
        if o < 0 or o >= max(a, b):
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding: {op}, stride: {s}, dilation: {d}"
            )
    single = len(x._a.shape) == n + 1
    if single:
        x = x.unsqueeze(0)
    kernel = tuple(w._a.shape[2:])
    size = tuple(
        [
            (i - 1) * a - 2 * b + dd * (k - 1) + o + 1
            for i, a, b, dd, k, o in zip(x._a.shape[2:], s, p, d, kernel, op)
        ]
    )
    if any(v <= 0 for v in size):
        raise RuntimeError(
            f"Given input size per channel: {list(x._a.shape[2:])}. Calculated output size per channel: {list(size)}. Output size is too small"
        )
    settings = {"size": size, "stride": s, "padding": p, "dilation": d, "groups": groups}
    y = _with_bias(x, w, bias, conv_input_op, settings)
    return y.squeeze(0) if single else y


@overridable
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, L) with weight (C, O/groups, k)."""
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@overridable
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, H, W) with weight (C, O/groups, kH, kW)."""
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@overridable
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed convolution of (N, C, D, H, W) with weight (C, O/groups, kD, kH, kW)."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


for _fn in (conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d):
    FUNCTIONS.setdefault(_fn.__name__, _fn)
_ = (math, dtype_of)
