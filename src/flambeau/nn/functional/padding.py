"""Padding: constant, reflect, replicate, circular."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.grad_names import rename
from ...core.public import overridable, public
from ...core.state import tls
from ...core.tensor import Tensor
from ...ops.args import dtype_of
from ...ops.from_python import checked_scalar
from ...ops.layouts import like_images
from ...prims.base import from_value, full, index_view_op
from ...prims.half_pool import half_repeat_op
from ...prims.indexing import index_get_op
from ...prims.rearrange import zero_pad_op


def _constant(x: Tensor, pairs: list[tuple[int, int]], value: float) -> Tensor:
    """Pairs for each dim from the first; negative ones cut."""
    key = []
    for n, (a, b) in zip(x._a.shape, pairs):
        key.append(slice(max(-a, 0), n + min(b, 0)))
    inner = index_view_op(x, index=tuple(key)) if any(a < 0 or b < 0 for a, b in pairs) else x
    if all(a <= 0 and b <= 0 for a, b in pairs):
        return inner.clone()  # type: ignore[no-any-return]
    shape = tuple([n + max(a, 0) + max(b, 0) for n, (a, b) in zip(inner._a.shape, pairs)])
    where = tuple([slice(max(a, 0), max(a, 0) + n) for n, (a, b) in zip(inner._a.shape, pairs)])
    if type(value) in (int, float) and value == 0:
        return zero_pad_op(inner, shape=shape, where=where)  # type: ignore[no-any-return]
    base = full(shape, checked_scalar(value, dtype_of(x)), x._a.dtype)
    return index_view_op.put(base, inner, index=where)  # type: ignore[no-any-return]


@public(method=False, grad_name="ConstantPadNdBackward0")
def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """Padding with a constant; `pad` lists (before, after) from the last dim on, negative numbers cut.

    Raises: RuntimeError for an odd number of entries, too many, or more cut than there is.
    """
    amounts = [int(v) for v in pad]
    nd = len(input._a.shape)
    if len(amounts) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(amounts)}")
    if len(amounts) // 2 > nd:
        raise RuntimeError(
            f"Length of pad should be no more than twice the number of dimensions of the input. Pad length is {len(amounts)} while the input has {nd} dimensions."
        )
    pairs = [(0, 0)] * nd
    for i in range(len(amounts) // 2):
        a, b = amounts[2 * i], amounts[2 * i + 1]
        d = nd - 1 - i
        pairs[d] = (a, b)
        n = input._a.shape[d]
        if n + a + b < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {a} and {b} resulted in a negative output size, which is invalid. Check dimension {d} of your input."
            )
    return like_images(_constant(input, pairs, value), input)


def _positions(n: int, a: int, b: int, mode: str, d: int, shape: list[int]) -> Any:
    i = np.arange(-a, n + b)
    if mode == "replicate":
        return np.clip(i, 0, max(n - 1, 0))
    if mode == "reflect":
        if a >= n or b >= n:
            raise RuntimeError(
                f"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding ({a}, {b}) at dimension {d} of input {shape}"
            )
        i = np.abs(i)
        return np.where(i > n - 1, 2 * (n - 1) - i, i)
    kept = n + min(a, 0) + min(b, 0)  # negative amounts cut first, and what is left wraps around
    if a > kept or b > kept:
        raise RuntimeError(
            f"Padding value causes wrapping around more than once: ({a}, {b}) at dimension {d} of input {shape}"
        )
    return np.arange(-max(a, 0), kept + max(b, 0)) % max(kept, 1) + max(-a, 0)


# What the nodes of the padding modes show.
PADDED = {
    "reflect": "ReflectionPad{}DBackward0",
    "replicate": "ReplicationPad{}DBackward0",
    "circular": "torch::autograd::CopySlices",
}


@overridable
def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Padding; `pad` lists (before, after) from the last dim on; modes constant, reflect, replicate, circular.

    Raises: RuntimeError for paddings that do not fit, NotImplementedError for other modes or dims.

    >>> import flambeau as torch
    >>> torch.nn.functional.pad(torch.ones(2), (1, 1))
    tensor([0., 1., 1., 0.])
    """
    amounts = [int(v) for v in pad]
    if mode == "constant":
        return constant_pad_nd(input, amounts, 0 if value is None else value)
    if len(amounts) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    nd = len(input._a.shape)
    k = len(amounts) // 2
    if nd not in (k + 1, k + 2):
        raise NotImplementedError(
            f"Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now, got a {nd}-D input and {len(amounts)} pad values"
        )
    shape = list(input._a.shape)
    if mode != "circular" and any(n == 0 for n in shape[nd - k - 1 :]):
        raise RuntimeError(
            f"Expected {k + 1}D or {k + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: {shape}"
        )
    x = input
    at_once: dict[
        int, Any
    ] = {}  # 16-bit replication: the gradient is summed over all dims together, as in PyTorch
    together = mode == "replicate" and input._a.dtype.itemsize == 2 and input._a.dtype.kind in "fV"
    for i in range(k):
        a, b = amounts[2 * i], amounts[2 * i + 1]
        if a == 0 and b == 0:
            continue
        d = nd - 1 - i
        n = shape[d]
        if n + a + b <= 0 and mode != "circular" or n + a + b < 0:
            raise RuntimeError(
                f"input (size {n} at dimension {d}) is too small for padding ({a}, {b}): the output would have size {n + a + b}"
            )
        places = _positions(n, a, b, mode, d, shape)
        if together:
            at_once[d] = tuple(places.tolist())
        else:
            x = index_get_op(x, from_value(places), spec=(*[False] * d, True))
    if at_once:
        dims = range(min(at_once), nd)
        repeated = tuple([at_once.get(d, tuple(range(shape[d]))) for d in dims])
        x = half_repeat_op(x, size=tuple([shape[d] for d in dims]), places=repeated)
    if x is input:
        return x.clone()  # type: ignore[no-any-return]
    if mode != "circular":
        x = like_images(x, input)
    return x if tls.stack else rename(x, PADDED[mode].format(k))
