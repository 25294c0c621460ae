"""Looking into numbers: mantissa and exponent, hashes of bit patterns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import families as fam
from ..core.families import Axes
from ..core.public import public
from ..core.tensor import Tensor
from ..prims.base import convert_to
from ..prims.pointwise import exp2
from .args import dtype_of, wrap_dims
from .layouts import in_own_order
from .reduce import keep, named

_Frexp = named("frexp", "mantissa", "exponent")


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def _mantissa(x: Any) -> Any:
    return np.frexp(_wide(x))[0].astype(x.dtype)


def _exponent(x: Any) -> Any:
    found = np.frexp(_wide(x))[1]
    return np.where(np.isfinite(_wide(x)), found, 0).astype(np.int32)


_exponent_op = fam.opaque_op(_exponent, None, name="frexp_exponent", differentiable=False)


def _mantissa_vjp(g: Tensor, x: Tensor) -> Tensor:
    return g / exp2(convert_to(_exponent_op(x), g._a.dtype))  # type: ignore[no-any-return]


_mantissa_op: Any = fam.opaque_op(
    _mantissa,
    (_mantissa_vjp,),
    name="frexp_mantissa",
    jvp=lambda ts, xs, y, p: _mantissa_vjp(ts[0], xs[0]),
    grad_name="FrexpBackward0",
)


@public(out=True)
def frexp(input: Tensor) -> Any:
    """(mantissa, exponent) with ``input = mantissa * 2 ** exponent`` and mantissa in (-1, -1/2], 0, [1/2, 1); int32 exponents.

    Raises: RuntimeError for tensors that are not floating.
    """
    if input._a.dtype.kind not in "fV":
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes (got {dtype_of(input)})")
    return _Frexp(_mantissa_op(input), _exponent_op(input))


def _hash(x: Any, *, dims: Axes) -> Any:
    wide = x.astype(np.float64) if x.dtype.kind in "fV" else x.astype(np.int64)
    return np.bitwise_xor.reduce(wide.view(np.uint64), axis=tuple(dims))


_hash_op = fam.opaque_op(_hash, None, name="hash_tensor", differentiable=False)


@public(out=True)
def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """Exclusive or of all elements' bit patterns (as float64 or int64), over the dims; the result is uint64.

    Raises: RuntimeError for complex tensors or other modes than 0.
    """
    if mode != 0:
        raise RuntimeError(f"Unsupported hash_tensor mode {mode}: only 0 (xor) exists")
    if input._a.dtype.kind == "c":
        raise NotImplementedError(f'"xor_sum_cpu" not implemented for complex dtypes ({dtype_of(input)})')
    dims = wrap_dims(dim, len(input._a.shape))
    return in_own_order(keep(_hash_op(input, dims=dims), input, dims, keepdim))
