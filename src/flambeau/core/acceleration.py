"""Generated kernels for large elementwise results, where NumPy's one thread and one pass per operation are slow.

The core does not know the compiler; the top of the package offers a factory here.  Loading LLVM costs time, so the
factory is first called when the calls seen so far would have saved as much.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime import pool

BIG = 1 << 20  # bytes of a result from which a kernel (and recycled memory) is worth it
HEAVY = 1 << 16  # the same for operations that NumPy is slow at
LOADING = 0.12  # seconds to load LLVM and make the first kernels
SECONDS_PER_BYTE = 1.5e-10  # what a kernel saves against NumPy, a cautious figure
HEAVY_SECONDS_PER_BYTE = 8e-10  # the same where NumPy is slow

# Operations whose scalar body means the same under the compiler's dialect, to the last two places.
NAMES = frozenset(
    "add sub mul div neg exp expm1 log log1p sin cos tanh sigmoid sqrt rsqrt reciprocal square abs maximum minimum erf "
    "lt le gt ge eq ne where relu silu silu_slope gelu_erf gelu_erf_slope gelu_tanh gelu_tanh_slope elu_expm1 "
    "floor ceil trunc rint frac sign sgn isnan isinf isfinite copysign overwrite "
    "xlogy affine times_difference tanh_slope sigmoid_slope addcmul addcdiv lerp lerp_near lerp_far at_least at_most hard_sigmoid "
    "logsigmoid logits_loss weighted_logits_loss".split()
)
SLOW_IN_NUMPY = frozenset(
    "where exp expm1 log log1p sin cos tanh sigmoid erf silu silu_slope gelu_erf gelu_erf_slope gelu_tanh "
    "gelu_tanh_slope elu_expm1 rsqrt relu sign sgn isinf isfinite frac affine times_difference tanh_slope "
    "sigmoid_slope addcmul addcdiv lerp lerp_near lerp_far at_least at_most hard_sigmoid logsigmoid logits_loss "
    "weighted_logits_loss".split()
)
# Powers that are computed by products and roots, as the operation itself computes them.
POWERS: dict[float, Callable[..., Any]] = {
    0.5: lambda k, x, y: k.sqrt(x),
    -0.5: lambda k, x, y: 1.0 / k.sqrt(x),
    1.0: lambda k, x, y: x,
    -1.0: lambda k, x, y: 1.0 / x,
    2.0: lambda k, x, y: x * x,
    -2.0: lambda k, x, y: 1.0 / (x * x),
    3.0: lambda k, x, y: x * x * x,
    4.0: lambda k, x, y: (x * x) * (x * x),
}
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
BOOL = np.dtype(np.bool_)


class _State:
    factory: Callable[[], Callable[..., Any]] | None = None
    make: Callable[..., Any] | None = None
    saving = 0.0


_kernels: dict[Any, Any] = {}


def offer(factory: Callable[[], Callable[..., Any]]) -> None:
    """Use ``factory()(body, in_dtypes, out_dtypes, n_scalars)`` to make kernels, once that pays."""
    _State.factory = factory


def ready(nbytes: int, heavy: bool = True) -> bool:
    """Whether kernels can be made; counts the call's bytes until loading LLVM would have paid."""
    if _State.make is None:
        if _State.factory is None:
            return False
        _State.saving += nbytes * (HEAVY_SECONDS_PER_BYTE if heavy else SECONDS_PER_BYTE)
        if _State.saving < LOADING:
            return False
        _State.make = _State.factory()
    return True


def loaded() -> bool:
    """Whether LLVM is there already, so that every kernel is worth making."""
    return _State.saving >= LOADING


def load() -> None:
    """Make kernels from now on: a compiled function has loaded LLVM."""
    _State.saving = max(_State.saving, LOADING)


def make_kernel() -> Callable[..., Any] | None:
    """``make(body, in_dtypes, out_dtypes, n_scalars)``, once `ready`."""
    return _State.make


def rehearse(body: Callable[..., Any], dtypes: Sequence[Any]) -> list[bool]:
    """Run a kernel's body on values that go nowhere: which of them does it read?"""
    from ..compiler import engine
    from ..compiler.dialect import Dialect, Value
    from ..compiler.types import storage

    k = Dialect(engine.host(), 8)
    names = [f"%input{i}." for i in range(len(dtypes))]
    results = body(k, *[Value(k, name, storage(d).compute) for name, d in zip(names, dtypes)])
    # Backwards from the results, and from whatever has an effect (branches, stores): those are all kept.
    live = {r.ref for r in results if r is not None}
    for line in reversed(k.lines):
        target, equals, text = line.strip().partition(" = ")
        if not equals or target in live:
            live.update(_REGISTER.findall(text if equals else target))
    return [name in live for name in names]


_REGISTER = re.compile(r"%[\w.]+")


def wanted(op_of: list[Any], nbytes: int) -> bool:
    """Whether an operation on arrays of this size should ask for a kernel."""
    if not op_of:
        return False
    name = op_of[0].name
    return name in NAMES and (nbytes >= BIG or name in SLOW_IN_NUMPY)


def run(op: Any, xs: tuple[Any, ...]) -> Any:
    """The result of a pointwise operation on large arrays from a generated kernel, or None to let NumPy do it.

    One operand must have the shape of the result and lie in memory in its order; the others may broadcast.
    """
    full = None
    alike = True
    key: list[Any] = [op.name]
    arrays, numbers = [], []
    for x in xs:
        if type(x) is np.ndarray:
            if x.dtype not in FLOATS and x.dtype != BOOL:
                return None
            if full is None or x.size > full.size:
                full = x
            arrays.append(x)
            key.append(x.dtype)
        elif type(x) in (float, int) and abs(x) < 1e30:
            numbers.append(float(x))
            key.append(None)
        else:
            return None
    assert full is not None
    if not full.flags.c_contiguous:
        return None
    shape = full.shape
    for x in arrays:
        if x.shape != shape:
            alike = False
            if x.ndim > len(shape) or any(a not in (1, b) for a, b in zip(x.shape[::-1], shape[::-1])):
                return None
        elif not x.flags.c_contiguous:
            alike = False
    if not ready(full.nbytes, op.name in SLOW_IN_NUMPY):
        return None
    name = tuple(key)
    kernel = _kernels.get(name)
    if kernel is None:
        kernel = _kernels[name] = _make(op, xs, arrays)
    if kernel is False:
        return None
    out = pool.empty(shape, kernel[1])
    if alike:
        kernel[0].fn(out, *arrays, *numbers)
    else:
        kernel[0].broadcast((out,), arrays, *numbers)
    return out


def _make(op: Any, xs: tuple[Any, ...], arrays: list[Any]) -> Any:
    floats = [a.dtype for a in arrays if a.dtype != BOOL]
    if not floats or any(d != floats[0] for d in floats):
        return False
    compares = op.name in ("lt", "le", "gt", "ge", "eq", "ne", "isnan", "isinf", "isfinite")
    out = BOOL if compares else floats[0]
    places = [i for i, x in enumerate(xs) if type(x) is np.ndarray] + [
        i for i, x in enumerate(xs) if type(x) is not np.ndarray
    ]
    body = op.scalar

    def ordered(k: Any, *values: Any) -> Any:
        args: list[Any] = [None] * len(values)
        for value, place in zip(values, places):
            args[place] = value
        return body(k, *args)

    assert _State.make is not None
    try:
        scalars = [floats[0].name] * (len(xs) - len(arrays))
        kernel = _State.make(ordered, [a.dtype.name for a in arrays], [out.name], scalars)
        return kernel, out
    except Exception:  # a body that the compiler's dialect does not cover: NumPy keeps doing it
        return False
