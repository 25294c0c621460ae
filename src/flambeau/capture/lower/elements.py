"""What can be part of a generated kernel: operations element by element, and how their bodies are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler.dialect import Dialect
from ...compiler.dialect import Value as Lane
from ...core.acceleration import NAMES, POWERS
from ..graph import Instr, Scalar, Value

__all__ = ["element", "is_elementwise", "kernel_dtype"]

F32, F64, BOOL = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.bool_)
_CASTS = ("convert", "cast")
_BITS = {
    "bitwise_not": "logical_not",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
}
_LOGICAL = frozenset((*_BITS, *_BITS.values()))  # of masks the bitwise ones are the same
_EXTRA = frozenset("floor ceil trunc overwrite isnan fmax fmin copysign".split())


def kernel_dtype(dtype: Any) -> bool:
    """Whether arrays of this dtype can be part of a kernel."""
    return dtype is F32 or dtype is F64 or dtype is BOOL or dtype in (F32, F64, BOOL)


def is_elementwise(instr: Instr, any_layout: bool = False) -> bool:
    """Whether a kernel body exists for the instruction; its result must be laid out in C order, or in any order."""
    op = instr.op
    name = op.name
    if len(instr.outs) != 1 or not (any_layout or instr.out.contiguous) or not kernel_dtype(instr.out.dtype):
        return False
    if any(not kernel_dtype(v.dtype) for v in instr.values()):
        return False
    if name == "full":
        return type(instr.params["value"]) in (int, float, bool)
    if not instr.values():
        return False
    if name in _CASTS or name == "clone":
        return True
    if name in _LOGICAL:
        return all(v.dtype == BOOL for v in instr.values())
    if name == "pow":
        return _power(instr) is not None
    if name not in NAMES and name not in _EXTRA:
        return False
    if instr.params:
        return False
    numbers = [v for v in instr.values() if not (name == "where" and v is instr.args[0])]
    if not numbers:  # where(mask, 1.0, 2.0)
        return False
    if name in ("eq", "ne", "where", "overwrite") and all(v.dtype == BOOL for v in numbers):
        return all(type(a) is Value for a in instr.args)
    return all(v.dtype == numbers[0].dtype and v.dtype != BOOL for v in numbers)


def _power(instr: Instr) -> Callable[..., Any] | None:
    """How a power is computed: small exponents by products, as the operation itself does; None where it has no body."""
    base, exponent = instr.args
    floats = [v.dtype for v in instr.values()]
    if any(t != instr.out.dtype or t not in (F32, F64) for t in floats):
        return None
    if type(exponent) in (int, float) and type(base) is Value:
        form = POWERS.get(float(exponent)) if abs(exponent) <= 4 else None
        if form is not None:
            return form
    if any(type(a) not in (Value, int, float) for a in instr.args):
        return None
    # C's function, lane by lane, gains nothing over NumPy's.
    return (lambda k, x, y: k.pow(x, y)) if instr.out.dtype == F32 else None


def element(k: Dialect, instr: Instr, args: list[Any]) -> Any:
    """The instruction on kernel values (and numbers)."""
    name = _BITS.get(instr.op.name, instr.op.name)
    if name == "full":
        value = instr.params["value"]
        if instr.out.dtype == BOOL:
            return k.const(bool(value), "bool")
        return k.const(float(value), instr.out.dtype.name)
    if name in _CASTS:
        return k.cast(args[0], instr.out.dtype.name)
    if name == "clone":
        return args[0]
    if name == "overwrite":
        return args[1] if isinstance(args[1], Lane) else k.operand(args[1], args[0])
    if name == "logical_not":
        return ~args[0]
    if name in _LOGICAL:
        a, b = args
        return a & b if name == "logical_and" else a | b if name == "logical_or" else a ^ b
    if name == "pow":
        form = _power(instr)
        assert form is not None
        return form(k, *args)
    if name in ("eq", "ne") and args[0].type.kind == "b":
        different = args[0] ^ args[1]
        return different if name == "ne" else ~different
    if name == "isnan":
        return k.isnan(args[0])
    if name in ("fmax", "fmin"):
        a, b = (
            x if isinstance(x, Lane) else k.operand(x, next(y for y in args if isinstance(y, Lane)))
            for x in args
        )
        chosen = k.select((a > b) if name == "fmax" else (a < b), a, b)
        return k.select(k.isnan(b), a, k.select(k.isnan(a), b, chosen))
    assert instr.op.scalar is not None
    return instr.op.scalar(k, *args)


def scalar_type(instr: Instr) -> str:
    """The dtype in which an instruction's numbers are computed: that of its arrays."""
    numbers = [v for v in instr.values() if v.dtype != BOOL]
    return str(numbers[0].dtype.name if numbers else instr.out.dtype.name)


def text(instr: Instr, names: dict[Any, str]) -> str:
    """The instruction as part of a kernel's name: kernels of equal text have equal code."""
    args = [names[a] if type(a) in (Value, Scalar) else repr(a) for a in instr.args]
    extra = ""
    if instr.op.name == "full":
        extra = repr(instr.params["value"])
    return f"{instr.op.name}({','.join(args)}{extra}):{instr.out.dtype.char}"
