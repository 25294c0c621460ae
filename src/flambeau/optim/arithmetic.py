"""The arithmetic that update rules are written in, three times: NumPy arrays, compiled kernels, tensors.

A rule such as Adam's is one function of an arithmetic `k`, its coefficients and the values of one parameter:

* `Arrays` runs it at once on NumPy arrays, in place, with scratch memory and without temporaries;
* `Kernel` runs it once on symbolic values, which gives the body of a fused kernel;
* `Tensors` runs it on tensors, so that gradients flow through it (``differentiable=True``).

Operations with a trailing underscore change their first argument; the others return something new.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.tensor import Tensor
from ..ops import abs, clamp, maximum, sign, sqrt, where

Array = npt.NDArray[Any]
CHUNK = 16384  # elements that are updated at a time: a rule's arrays then stay in the cache


class Arrays:
    """NumPy, in place. Results live in scratch memory until the next `reset`."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._shape: tuple[int, ...] = ()
        self._flat: list[Array] = []  # one chunk each, kept for all parameters of a step
        self._views: list[Array] = []  # the same memory in the current shape
        self._used = 0

    def reset(self, shape: tuple[int, ...]) -> None:
        """Forget all results; the next ones have this shape."""
        self._used = 0
        if shape != self._shape:
            self._shape = shape
            self._views.clear()

    def _scratch(self) -> Array:
        i = self._used
        self._used += 1
        if i == len(self._views):
            size = math.prod(self._shape)
            if size > CHUNK:  # only arrays that cannot be cut into chunks
                self._views.append(np.empty(self._shape, self._dtype))
            else:
                if i >= len(self._flat):
                    self._flat.append(np.empty(CHUNK, self._dtype))
                self._views.append(self._flat[i][:size].reshape(self._shape))
        return self._views[i]

    def _release(self) -> None:
        self._used -= 1

    def copy(self, a: Array) -> Array:
        out = self._scratch()
        np.copyto(out, a)
        return out

    def neg(self, a: Array) -> Array:
        return np.negative(a, out=self._scratch())

    def abs(self, a: Array) -> Array:
        return np.absolute(a, out=self._scratch())

    def sqrt(self, a: Array) -> Array:
        return np.sqrt(a, out=self._scratch())

    def sign(self, a: Array) -> Array:
        return np.sign(a, out=self._scratch())

    def mul(self, a: Array, b: Any) -> Array:
        out = self._scratch()
        np.multiply(a, b, out=out)
        return out

    def add(self, a: Array, b: Any, alpha: Any = None) -> Array:
        """a + alpha b"""
        out = self._scratch()
        if alpha is None:
            np.add(a, b, out=out)
        else:
            np.multiply(b, alpha, out=out)
            np.add(a, out, out=out)
        return out

    def choose(self, a: Array, positive: Any, negative: Any, otherwise: Any) -> Array:
        """`positive` where a > 0, `negative` where a < 0, else `otherwise`."""
        out = self._scratch()
        np.copyto(out, otherwise)
        np.copyto(out, positive, where=a > 0)
        np.copyto(out, negative, where=a < 0)
        return out

    def copy_(self, a: Array, b: Array) -> None:
        np.copyto(a, b)

    def add_(self, a: Array, b: Any, alpha: Any = None) -> None:
        """a += alpha b"""
        if alpha is None:
            np.add(a, b, out=a)
            return
        term = np.multiply(b, alpha, out=self._scratch())
        np.add(a, term, out=a)
        self._release()

    def mul_(self, a: Array, b: Any) -> None:
        np.multiply(a, b, out=a)

    def div_(self, a: Array, b: Any) -> None:
        np.divide(a, b, out=a)

    def maximum_(self, a: Array, b: Array) -> None:
        np.maximum(a, b, out=a)

    def clamp_(self, a: Array, low: Any, high: Any) -> None:
        np.clip(a, low, high, out=a)

    def lerp_(self, a: Array, b: Array, weight: float) -> None:
        """a += weight (b - a), exact at the nearer end as in torch.lerp"""
        difference = np.subtract(b, a, out=self._scratch())
        if math.fabs(weight) < 0.5:
            np.multiply(difference, weight, out=difference)
            np.add(a, difference, out=a)
        else:
            np.multiply(difference, weight - 1.0, out=difference)
            np.add(b, difference, out=a)
        self._release()

    def addcmul_(self, a: Array, x: Array, y: Array, value: Any) -> None:
        """a += value x y"""
        term = np.multiply(x, value, out=self._scratch())
        np.multiply(term, y, out=term)
        np.add(a, term, out=a)
        self._release()

    def addcdiv_(self, a: Array, x: Array, y: Array, value: Any) -> None:
        """a += value x / y"""
        term = np.multiply(x, value, out=self._scratch())
        np.divide(term, y, out=term)
        np.add(a, term, out=a)
        self._release()


class Cell:
    """A place that holds a symbolic value, so that a rule can update it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _value(x: Any) -> Any:
    return x.value if type(x) is Cell else x


class Kernel:
    """Symbolic values of a kernel dialect, in cells."""

    def __init__(self, dialect: Any) -> None:
        self._k = dialect

    def copy(self, a: Cell) -> Cell:
        return Cell(a.value)

    def neg(self, a: Cell) -> Cell:
        return Cell(-a.value)

    def abs(self, a: Cell) -> Cell:
        return Cell(self._k.abs(a.value))

    def sqrt(self, a: Cell) -> Cell:
        return Cell(self._k.sqrt(a.value))

    def sign(self, a: Cell) -> Cell:
        return self.choose(a, 1.0, -1.0, a)

    def mul(self, a: Cell, b: Any) -> Cell:
        return Cell(a.value * _value(b))

    def add(self, a: Cell, b: Any, alpha: Any = None) -> Cell:
        return Cell(a.value + _value(b) if alpha is None else self._k.fma(b.value, alpha, a.value))

    def choose(self, a: Cell, positive: Any, negative: Any, otherwise: Any) -> Cell:
        k, x = self._k, a.value
        below = k.select(x < 0.0, self._operand(negative, x), self._operand(otherwise, x))
        return Cell(k.select(x > 0.0, self._operand(positive, x), below))

    def _operand(self, x: Any, like: Any) -> Any:
        return self._k.operand(_value(x), like)

    def copy_(self, a: Cell, b: Cell) -> None:
        a.value = b.value

    def add_(self, a: Cell, b: Any, alpha: Any = None) -> None:
        a.value = self.add(a, b, alpha).value

    def mul_(self, a: Cell, b: Any) -> None:
        a.value = a.value * _value(b)

    def div_(self, a: Cell, b: Any) -> None:
        a.value = a.value / _value(b)

    def maximum_(self, a: Cell, b: Cell) -> None:
        a.value = self._k.max(a.value, b.value)

    def clamp_(self, a: Cell, low: Any, high: Any) -> None:
        a.value = self._k.min(self._k.max(a.value, low), high)

    def lerp_(self, a: Cell, b: Cell, weight: Any) -> None:
        k, difference = self._k, b.value - a.value
        near_a = k.fma(difference, weight, a.value)
        near_b = k.fma(difference, weight - 1.0, b.value)
        a.value = k.select(k.abs(weight) < 0.5, near_a, near_b)

    def addcmul_(self, a: Cell, x: Cell, y: Cell, value: Any) -> None:
        a.value = a.value + value * x.value * y.value

    def addcdiv_(self, a: Cell, x: Cell, y: Cell, value: Any) -> None:
        a.value = a.value + value * x.value / y.value


class Tensors:
    """Tensor operations; values are written with ``copy_`` so that nothing saved for backward goes stale."""

    def copy(self, a: Tensor) -> Tensor:
        return a.clone()  # type: ignore[no-any-return]

    def neg(self, a: Tensor) -> Tensor:
        return -a  # type: ignore[no-any-return]

    def abs(self, a: Tensor) -> Tensor:
        return abs(a)  # type: ignore[no-any-return]

    def sqrt(self, a: Tensor) -> Tensor:
        return sqrt(a.clone()).clone()  # type: ignore[no-any-return]  # sqrt saves its result

    def sign(self, a: Tensor) -> Tensor:
        return sign(a)  # type: ignore[no-any-return]

    def mul(self, a: Tensor, b: Any) -> Tensor:
        return a.clone() * _fixed(b)  # type: ignore[no-any-return]

    def add(self, a: Tensor, b: Any, alpha: Any = None) -> Tensor:
        return a + (b if alpha is None else _fixed(b) * alpha)  # type: ignore[no-any-return]

    def choose(self, a: Tensor, positive: Any, negative: Any, otherwise: Any) -> Tensor:
        below = where(a < 0, negative, otherwise)
        return where(a > 0, positive, below)  # type: ignore[no-any-return]

    def copy_(self, a: Tensor, b: Tensor) -> None:
        a.copy_(b)

    def add_(self, a: Tensor, b: Any, alpha: Any = None) -> None:
        a.copy_(self.add(a, b, alpha))

    def mul_(self, a: Tensor, b: Any) -> None:
        a.copy_(self.mul(a, b))

    def div_(self, a: Tensor, b: Any) -> None:
        a.copy_(a.clone() / _fixed(b))

    def maximum_(self, a: Tensor, b: Tensor) -> None:
        a.copy_(maximum(a.clone(), _fixed(b)))

    def clamp_(self, a: Tensor, low: Any, high: Any) -> None:
        a.copy_(clamp(a.clone(), low, high))

    def lerp_(self, a: Tensor, b: Tensor, weight: Any) -> None:
        a.copy_(a.clone().lerp(_fixed(b), weight))

    def addcmul_(self, a: Tensor, x: Tensor, y: Tensor, value: Any) -> None:
        a.copy_(a + _fixed(x) * _fixed(y) * value)

    def addcdiv_(self, a: Tensor, x: Tensor, y: Tensor, value: Any) -> None:
        a.copy_(a + _fixed(x) / _fixed(y) * value)


def _fixed(x: Any) -> Any:
    """A copy that stays as it is when the original is updated later in the rule."""
    return x.clone() if isinstance(x, Tensor) else x
