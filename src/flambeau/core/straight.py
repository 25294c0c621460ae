"""Elementwise functions as straight-line NumPy programs: the other half of `fusion`, for small arrays.

On a few hundred elements the arithmetic costs nothing and each operation on tensors a microsecond.  Traced over this
dialect, a composite becomes one generated Python function that calls ufuncs on arrays.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["Straight", "Word"]

_BOOL = np.dtype(np.bool_)
_quietly = functools.partial(np.errstate, all="ignore")
_NAME = re.compile(r"\b[xvc]\d+\b")


class Word:
    """A variable of the program; its dtype stands where kernel values have their type."""

    __slots__ = ("k", "ref", "type")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, k: Straight, ref: str, dtype: Any) -> None:
        self.k, self.ref, self.type = k, ref, dtype

    def __bool__(self) -> bool:
        raise TypeError("a program cannot branch on its data; use k.select(condition, a, b)")

    def __add__(self, o: Any) -> Word:
        return self.k.ufunc("add", self, o)

    def __radd__(self, o: Any) -> Word:
        return self.k.ufunc("add", o, self)

    def __sub__(self, o: Any) -> Word:
        return self.k.ufunc("subtract", self, o)

    def __rsub__(self, o: Any) -> Word:
        return self.k.ufunc("subtract", o, self)

    def __mul__(self, o: Any) -> Word:
        return self.k.ufunc("multiply", self, o)

    def __rmul__(self, o: Any) -> Word:
        return self.k.ufunc("multiply", o, self)

    def __truediv__(self, o: Any) -> Word:
        return self.k.ufunc("true_divide", self, o)

    def __rtruediv__(self, o: Any) -> Word:
        return self.k.ufunc("true_divide", o, self)

    def __neg__(self) -> Word:
        return self.k.ufunc("negative", self)

    def __lt__(self, o: Any) -> Word:
        return self.k.ufunc("less", self, o, dtype=_BOOL)

    def __le__(self, o: Any) -> Word:
        return self.k.ufunc("less_equal", self, o, dtype=_BOOL)

    def __gt__(self, o: Any) -> Word:
        return self.k.ufunc("greater", self, o, dtype=_BOOL)

    def __ge__(self, o: Any) -> Word:
        return self.k.ufunc("greater_equal", self, o, dtype=_BOOL)

    def __eq__(self, o: object) -> Word:  # type: ignore[override]
        return self.k.ufunc("equal", self, o, dtype=_BOOL)

    def __ne__(self, o: object) -> Word:  # type: ignore[override]
        return self.k.ufunc("not_equal", self, o, dtype=_BOOL)

    def __and__(self, o: Any) -> Word:
        return self.k.ufunc("bitwise_and", self, o)

    def __or__(self, o: Any) -> Word:
        return self.k.ufunc("bitwise_or", self, o)

    def __xor__(self, o: Any) -> Word:
        return self.k.ufunc("bitwise_xor", self, o)

    def __invert__(self) -> Word:
        return self.k.ufunc("invert", self)


def _one(name: str) -> Callable[..., Word]:
    def call(self: Straight, x: Word) -> Word:
        return self.ufunc(name, x)

    return call


def _test(name: str) -> Callable[..., Word]:
    def call(self: Straight, x: Word) -> Word:
        return self.ufunc(name, x, dtype=_BOOL)

    return call


class Straight:
    """A dialect for scalar bodies that writes calls of NumPy's functions."""

    def __init__(self, dtypes: Sequence[Any]) -> None:
        self.lines: list[tuple[str, str]] = []  # variable, expression
        self.scope: dict[str, Any] = {"where": np.where}
        self.inputs = [Word(self, f"x{i}", d) for i, d in enumerate(dtypes)]

    def ufunc(self, name: str, *operands: Any, dtype: Any = None) -> Word:
        """A call of ``numpy.name``; the result has the operands' dtype if not told otherwise."""
        self.scope[name] = getattr(np, name)
        return self._line(name, operands, dtype)

    def _line(self, name: str, operands: Sequence[Any], dtype: Any) -> Word:
        own = next((o.type for o in operands if isinstance(o, Word) and o.type != _BOOL), _BOOL)
        refs = [o.ref if isinstance(o, Word) else self.const(o, own).ref for o in operands]
        ref = f"v{len(self.lines)}"
        self.lines.append((ref, f"{name}({', '.join(refs)})"))
        return Word(self, ref, own if dtype is None else dtype)

    def const(self, value: Any, dtype: Any) -> Word:
        """A number, as a 0-d array: NumPy need not convert it at each call."""
        ref = f"c{len(self.scope)}"
        self.scope[ref] = np.array(value, dtype)
        return Word(self, ref, np.dtype(dtype))

    def select(self, condition: Word, a: Any, b: Any) -> Word:
        return self._line("where", (condition, a, b), next(o.type for o in (a, b) if isinstance(o, Word)))

    def cast(self, x: Word, name: str) -> Word:
        dtype = np.dtype(name)
        if x.type == dtype:
            return x
        self.scope[f"to_{name}"] = lambda a: a.astype(dtype)
        return self._line(f"to_{name}", (x,), dtype)

    exp, log, log1p, expm1 = (_one(n) for n in ("exp", "log", "log1p", "expm1"))
    sin, cos, tanh, sqrt = (_one(n) for n in ("sin", "cos", "tanh", "sqrt"))
    abs, floor, ceil, trunc, round = (_one(n) for n in ("absolute", "floor", "ceil", "trunc", "rint"))
    isnan, isinf, isfinite = (_test(n) for n in ("isnan", "isinf", "isfinite"))

    def max(self, a: Any, b: Any) -> Word:
        return self.ufunc("maximum", a, b)

    def min(self, a: Any, b: Any) -> Word:
        return self.ufunc("minimum", a, b)

    def copysign(self, a: Any, b: Any) -> Word:
        return self.ufunc("copysign", a, b)

    def rsqrt(self, x: Word) -> Word:
        return self.ufunc("reciprocal", self.sqrt(x))

    def sign(self, x: Word) -> Word:
        """0 for NaN, as in PyTorch."""
        return self.select(x == x, self.ufunc("sign", x), 0)

    def sgn(self, x: Word) -> Word:
        return self.sign(x)

    def xlogy(self, a: Word, b: Any) -> Word:
        y = b if isinstance(b, Word) else self.const(b, a.type)
        return self.select((a == 0) & (y == y), 0, a * self.log(y))

    def program(self, results: Sequence[Word | None]) -> tuple[Callable[..., Any], list[bool]]:
        """The function of the inputs that gives a tuple of the results, and which inputs it reads."""
        live = {r.ref for r in results if r is not None}
        kept = []
        for ref, text in reversed(self.lines):
            if ref in live:
                kept.append(f"    {ref} = {text}\n")
                live.update(_NAME.findall(text))
        names = [x.ref for x in self.inputs]
        returned = "".join(f"{'None' if r is None else r.ref}, " for r in results)
        inputs, lines = ", ".join(names), [*reversed(kept), f"    return ({returned})\n"]
        # The user's filters may make errors of warnings, which PyTorch does not have.
        text = f"def run({inputs}):\n    try:\n" + "".join([f"    {line}" for line in lines])
        text += f"    except RuntimeWarning:\n        with quietly():\n            return run({inputs})\n"
        scope = {
            **self.scope,
            "quietly": _quietly,
            "__name__": __name__,
        }  # the name: NumPy's warnings are silenced by it
        exec(text, scope)
        return scope["run"], [n in live for n in names]
