"""Normalisation of channels over images and places (batch norm), and its gradients: one kernel each.

A unit of work is a channel: its elements stay in the cache from the pass for its moments to the one that writes. Sums
over an image's places are made in vectors, those over images in float64; their order is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from .dialect import Value
from .image_rows import ImageRows
from .types import COMPUTE, FLOATS, Storage, UnsupportedError, storage
from .unit_kernel import finish, make_unit_kernel

__all__ = ["Channels", "batch_norm", "batch_norm_backward", "moments", "normalise", "totals"]

Array = npt.NDArray[Any]
_UNROLL = 4
_SCALARS = ("channels", "work", "grain", "images", "places")


class Channels(ImageRows):
    """Loops over the elements of a channel of arrays (images, channels, places)."""

    def __init__(self, kind: Storage, arrays: int, scalars: Sequence[str] = _SCALARS) -> None:
        super().__init__(kind)
        self.arrays = [self.load("ptr", "%arrays", i) for i in range(arrays)]
        self.s = {name: self.load("i64", "%scalars", i) for i, name in enumerate(scalars)}
        self.double = COMPUTE["float64"]
        self.count = self.emit(f"uitofp i64 {self.word('mul', self.s['images'], self.s['places'])} to double")

    def one(self, array: int, channel: str) -> Value:
        """A channel's number in all lanes."""
        return self.splat(
            self.load(self.kind.llvm, self.arrays[array], channel, self.item), self.kind.compute
        )

    def wide(self, array: int, channel: str) -> str:
        """A channel's number as a double."""
        one = self.load(self.kind.llvm, self.arrays[array], channel, self.item)
        return one if self.item == 8 else self.emit(f"fpext float {one} to double")

    def narrow(self, number: str) -> str:
        """A double as a number of the arrays' kind."""
        return number if self.item == 8 else self.emit(f"fptrunc double {number} to float")

    def spread(self, number: str) -> Value:
        """A double in all lanes."""
        return self.splat(self.narrow(number), self.kind.compute)

    def scalar(self, code: str, a: str, b: str) -> str:
        return self.emit(f"{code} double {a}, {b}")

    @contextmanager
    def images(self, channel: str, arrays: Sequence[int]) -> Iterator[list[str]]:
        """A loop over images: the addresses of the channel's places."""
        with self.loop(0, self.s["images"]) as n:
            plane = self.word("add", self.word("mul", n, self.s["channels"]), channel)
            first = self.word("mul", plane, self.s["places"])
            yield [self.at(self.arrays[a], first, self.item) for a in arrays]

    def sweep(
        self, rows: Sequence[str], beside: Sequence[str], body: Callable[[list[Value], str, str], None]
    ) -> None:
        """``body(values, place, mask)`` for each vector of rows, of which the last may be part of one."""
        places, step = self.s["places"], self.lanes * _UNROLL
        whole = self.word("sub", places, self.word("urem", places, step))
        with self.loop(0, whole, step) as p:
            for u in range(_UNROLL):
                place = self.word("add", p, u * self.lanes)
                values = [
                    Value(self, self.memory.load(self.kind, self.at(r, place, self.item)), self.kind.compute)
                    for r in rows
                ]
                body(values, place, "")
        with self.loop(whole, places, self.lanes) as p:
            count = self.smaller(self.word("sub", places, p), self.lanes)
            mask = self.memory.mask(count)
            values = []
            for r, other in zip(rows, beside, strict=True):
                ref = self.memory.load_part(self.kind, self.at(r, p, self.item), count, mask)
                inside = Value(self, mask, COMPUTE["bool"])
                found = Value(self, ref, self.kind.compute)
                values.append(self.select(inside, found, Value(self, other, self.kind.compute)))
            self.left = count
            body(values, p, mask)

    def sums(
        self,
        channel: str,
        arrays: Sequence[int],
        beside: Sequence[str],
        terms: Callable[[list[Value]], list[Value]],
        n: int,
    ) -> list[str]:
        """The sums of `n` terms over a channel, as doubles. Terms of what is `beside` must be zero."""
        vector, zero = self.vector(self.kind.compute), "zeroinitializer"
        totals = [self.variable("double", "0.0") for _ in range(n)]
        with self.images(channel, arrays) as rows:
            parts = [[self.variable(vector, zero) for _ in range(_UNROLL)] for _ in range(n)]
            turn = [0]

            def add(values: list[Value], _: str, mask: str) -> None:
                for part, term in zip(parts, terms(values), strict=True):
                    own = part[turn[0] % _UNROLL]
                    own.set((Value(self, own.get(), self.kind.compute) + term).ref)
                turn[0] += 1

            self.sweep(rows, beside, add)
            for total, part in zip(totals, parts, strict=True):
                whole = [Value(self, p.get(), self.kind.compute) for p in part]
                both = (whole[0] + whole[1]) + (whole[2] + whole[3])
                both = self.fold(both, lambda a, b: a + b)
                lane = self.emit(f"extractelement {vector} {both.ref}, i32 0")
                if self.item == 4:
                    lane = self.emit(f"fpext float {lane} to double")
                total.set(self.scalar("fadd", total.get(), lane))
        return [t.get() for t in totals]

    def put_part(self, value: Value, row: str, place: str, mask: str) -> None:
        """Store a vector of `sweep`."""
        address = self.at(row, place, self.item)
        if mask:
            self.memory.store_part(self.kind, value.ref, address, self.left, mask)
        else:
            self.memory.store(self.kind, value.ref, address)


def _write_forward(kind: Storage, which: str) -> str:
    """Arrays: the result, means, variances (channels,), the input, weights, biases (channels,). A scalar: eps.

    `which` is "moments": only these; "forward"; or "relu": followed by the maximum with zero.
    """
    k = Channels(kind, 6)
    eps = k.load("double", "%scalars", len(_SCALARS))
    with k.loop("%lo", "%hi") as c:
        (total,) = k.sums(c, [3], ["zeroinitializer"], lambda v: v, 1)
        middle = k.spread(k.scalar("fdiv", total, k.count))

        def deviations(v: list[Value]) -> list[Value]:
            d = v[0] - middle
            return [d, d * d]

        # around the rounded mean, and then around the exact one
        first, second = k.sums(c, [3], [middle.ref], deviations, 2)
        offset = k.scalar("fdiv", first, k.count)
        var = k.scalar("fdiv", second, k.count)
        var = k.scalar("fsub", var, k.scalar("fmul", offset, offset))
        negative = k.emit(f"fcmp olt double {var}, 0.0")
        var = k.emit(f"select i1 {negative}, double 0.0, double {var}")
        mean = k.scalar("fdiv", total, k.count)
        k.store(kind.llvm, k.narrow(mean), k.arrays[1], c, k.item)
        k.store(kind.llvm, k.narrow(var), k.arrays[2], c, k.item)
        var = k.wide(2, c)  # as others read it: the result is the same in one step and in two
        if which != "moments":
            _normalise(k, c, middle, var, eps, which == "relu")
    return finish(k)


def _normalise(k: Channels, channel: str, middle: Value, var: str, eps: str, relu: bool) -> None:
    root = k.call("double", "llvm.sqrt.f64", f"double {k.scalar('fadd', var, eps)}")
    factor = k.spread(k.scalar("fdiv", "1.0", root)) * k.one(4, channel)
    level = k.one(5, channel)

    def write(v: list[Value], place: str, mask: str) -> None:
        y = (v[0] - middle) * factor + level
        if relu:
            y = k.select(y < 0.0, 0.0, y)  # NaN stays
        k.put_part(y, rows[1], place, mask)

    with k.images(channel, [3, 0]) as rows:
        k.sweep(rows[:1], ["zeroinitializer"], write)


def _write_known(kind: Storage) -> str:
    """The same where means and variances are known; these are read."""
    k = Channels(kind, 6)
    eps = k.load("double", "%scalars", len(_SCALARS))
    with k.loop("%lo", "%hi") as c:
        _normalise(k, c, k.one(1, c), k.wide(2, c), eps, False)
    return finish(k)


def _write_totals(kind: Storage) -> str:
    """Arrays: a sum for each channel, the input."""
    k = Channels(kind, 2)
    with k.loop("%lo", "%hi") as c:
        (total,) = k.sums(c, [1], ["zeroinitializer"], lambda v: v, 1)
        k.store(kind.llvm, k.narrow(total), k.arrays[0], c, k.item)
    return finish(k)


def _write_backward(kind: Storage) -> str:
    """Arrays: gradients of the input, weights and biases, then the result's, the input, weights, means, variances."""
    k = Channels(kind, 8)
    eps = k.load("double", "%scalars", len(_SCALARS))
    with k.loop("%lo", "%hi") as c:
        mean = k.one(6, c)
        zero = "zeroinitializer"
        level, along = k.sums(c, [3, 4], [zero, mean.ref], lambda v: [v[0], v[0] * (v[1] - mean)], 2)
        root = k.call("double", "llvm.sqrt.f64", f"double {k.scalar('fadd', k.wide(7, c), eps)}")
        scale = k.scalar("fdiv", "1.0", root)
        slope = k.scalar("fmul", along, scale)
        k.store(kind.llvm, k.narrow(slope), k.arrays[1], c, k.item)
        k.store(kind.llvm, k.narrow(level), k.arrays[2], c, k.item)
        share = k.spread(k.scalar("fdiv", k.scalar("fmul", slope, scale), k.count))
        average = k.spread(k.scalar("fdiv", level, k.count))
        factor = k.spread(scale) * k.one(5, c)

        def write(v: list[Value], place: str, mask: str) -> None:
            g, x = v
            k.put_part((g - average - (x - mean) * share) * factor, rows[2], place, mask)

        with k.images(c, [3, 4, 0]) as rows:
            k.sweep(rows[:2], [zero, zero], write)
    return finish(k)


@cache
def _kernel(dtype: np.dtype[Any], which: str) -> Callable[..., None]:
    kind = storage(dtype)
    if which == "backward":
        text, arrays, outputs = _write_backward(kind), 8, 3
    elif which == "totals":
        text, arrays, outputs = _write_totals(kind), 2, 1
    elif which == "known":
        text, arrays, outputs = _write_known(kind), 6, 1
    else:
        text, arrays, outputs = _write_forward(kind, which), 6, 3
    integers = [True] * len(_SCALARS) + [False]
    return make_unit_kernel("channels", text, outputs, [kind] * arrays, integers)


def _sizes(x: Array) -> tuple[int, int, int, int, int]:
    images, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    return channels, images * places // 4, 1, images, places


def _check(*arrays: Array) -> None:
    kind = arrays[0].dtype
    if kind not in FLOATS or any(a.dtype != kind for a in arrays):
        raise UnsupportedError(f"no normalisation of {' and '.join(str(a.dtype) for a in arrays)} here")


def totals(x: Array) -> Array:
    """The sum of each channel, dim 1 of `x`.

    Raises: as `moments`.
    """
    _check(x)
    x = np.ascontiguousarray(x)
    result: Array = np.empty(x.shape[1], x.dtype)
    _kernel(x.dtype, "totals")(result, x, *_sizes(x), 0.0)
    return result


def moments(x: Array) -> tuple[Array, Array]:
    """The mean and the variance (over n, not n - 1) of each channel, dim 1 of `x`.

    Raises: UnsupportedError for other dtypes than float32 and float64.

    >>> import numpy as np
    >>> from flambeau.compiler.channels import moments
    >>> moments(np.array([[[1.0, 3.0]]]))
    (array([2.]), array([1.]))
    """
    _check(x)
    x = np.ascontiguousarray(x)
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _kernel(x.dtype, "moments")(mean, mean, var, x, mean, mean, *_sizes(x), 0.0)
    return mean, var


def normalise(x: Array, weight: Array, bias: Array, mean: Array, var: Array, eps: float) -> Array:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` with numbers for each channel.

    Raises: as `moments`.
    """
    _check(x, weight, bias, mean, var)
    x, weight, bias, mean, var = (np.ascontiguousarray(a) for a in (x, weight, bias, mean, var))
    y: Array = empty(x.shape, x.dtype)
    _kernel(x.dtype, "known")(y, mean, var, x, weight, bias, *_sizes(x), eps)
    return y


def batch_norm(
    x: Array, weight: Array, bias: Array, eps: float, relu: bool = False
) -> tuple[Array, Array, Array]:
    """Both at once, with `relu` followed by the maximum with zero: the result, means and variances.

    Raises: as `moments`.

    >>> import numpy as np
    >>> from flambeau.compiler.channels import batch_norm
    >>> y, mean, var = batch_norm(np.array([[[1.0, 3.0]]]), np.ones(1), np.zeros(1), 0.0)
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[[-1.0, 1.0]]], [2.0], [1.0])
    """
    _check(x, weight, bias)
    x, weight, bias = (np.ascontiguousarray(a) for a in (x, weight, bias))
    y: Array = empty(x.shape, x.dtype)
    mean, var = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _kernel(x.dtype, "relu" if relu else "forward")(y, mean, var, x, weight, bias, *_sizes(x), eps)
    return y, mean, var


def batch_norm_backward(
    g: Array, x: Array, weight: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients in the input, the weight and the bias, from the result's; the moments are the input's.

    Raises: as `moments`.
    """
    _check(g, x, weight, mean, var)
    g, x, weight, mean, var = (np.ascontiguousarray(a) for a in (g, x, weight, mean, var))
    gx: Array = empty(x.shape, x.dtype)
    gw, gb = np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    _kernel(x.dtype, "backward")(gx, gw, gb, g, x, weight, mean, var, *_sizes(x), eps)
    return gx, gw, gb
