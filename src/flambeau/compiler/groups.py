"""Normalisation of groups of channels (group norm), and its gradients: one kernel each.

A unit of work is a group of one image: its elements stay in the cache from the pass for its moments to the one that
writes.
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
from .channels import Channels
from .dialect import Value
from .types import Storage, UnsupportedError, storage
from .unit_kernel import finish, make_unit_kernel, share

__all__ = ["group_norm", "group_norm_backward"]

Array = npt.NDArray[Any]
_SCALARS = ("units", "work", "grain", "images", "places", "groups")  # images: channels of a group


class _Groups(Channels):
    """Loops over the elements of a group, or of a channel of one, which lie side by side."""

    def __init__(self, kind: Storage, arrays: int) -> None:
        super().__init__(kind, arrays, _SCALARS)
        self.depth, self.plane = self.s["images"], self.s["places"]
        self.eps = self.load("double", "%scalars", len(_SCALARS))

    @contextmanager
    def images(self, channel: str, arrays: Sequence[int]) -> Iterator[list[str]]:
        """The addresses of the block `channel`; blocks have `places` elements."""
        first = self.word("mul", channel, self.s["places"])
        yield [self.at(self.arrays[a], first, self.item) for a in arrays]

    def whole(self) -> None:
        """From here on a block is a group."""
        self.s["places"] = self.word("mul", self.depth, self.plane)

    def parts(self) -> None:
        """From here on a block is a channel."""
        self.s["places"] = self.plane

    def scale(self, var: str) -> str:
        root = self.call("double", "llvm.sqrt.f64", f"double {self.scalar('fadd', var, self.eps)}")
        return self.scalar("fdiv", "1.0", root)


def _write_forward(kind: Storage) -> str:
    """Arrays: the result, means, variances (images, groups), the input, weights, biases (channels,)."""
    k = _Groups(kind, 6)
    with k.loop("%lo", "%hi") as unit:
        k.whole()
        (total,) = k.sums(unit, [3], ["zeroinitializer"], lambda v: v, 1)
        middle = k.spread(k.scalar("fdiv", total, k.count))

        def deviations(v: list[Value]) -> list[Value]:
            d = v[0] - middle
            return [d, d * d]

        # around the rounded mean, and then around the exact one
        first, second = k.sums(unit, [3], [middle.ref], deviations, 2)
        offset, var = (k.scalar("fdiv", s, k.count) for s in (first, second))
        var = k.scalar("fsub", var, k.scalar("fmul", offset, offset))
        negative = k.emit(f"fcmp olt double {var}, 0.0")
        var = k.emit(f"select i1 {negative}, double 0.0, double {var}")
        k.store(kind.llvm, k.narrow(k.scalar("fdiv", total, k.count)), k.arrays[1], unit, k.item)
        k.store(kind.llvm, k.narrow(var), k.arrays[2], unit, k.item)
        scale = k.spread(k.scale(var))
        k.parts()
        start = k.word("mul", k.word("urem", unit, k.s["groups"]), k.depth)
        with k.loop(0, k.depth) as c:
            channel = k.word("add", start, c)
            factor, level = scale * k.one(4, channel), k.one(5, channel)

            def write(v: list[Value], place: str, mask: str) -> None:
                k.put_part((v[0] - middle) * factor + level, rows[1], place, mask)

            with k.images(k.word("add", k.word("mul", unit, k.depth), c), [3, 0]) as rows:
                k.sweep(rows[:1], ["zeroinitializer"], write)
    return finish(k)


def _write_backward(kind: Storage) -> str:
    """Arrays: gradients of the input, and of weights and biases for each image (images, channels); then the result's
    gradient, the input, weights (channels,), means and variances (images, groups)."""
    k = _Groups(kind, 8)
    zero = "zeroinitializer"
    with k.loop("%lo", "%hi") as unit:
        mean, scale = k.one(6, unit), k.scale(k.wide(7, unit))
        start = k.word("mul", k.word("urem", unit, k.s["groups"]), k.depth)
        k.parts()
        along, level = k.variable("double", "0.0"), k.variable("double", "0.0")
        with k.loop(0, k.depth) as c:
            plane = k.word("add", k.word("mul", unit, k.depth), c)
            weight = k.wide(5, k.word("add", start, c))
            own_level, own = k.sums(
                plane, [3, 4], [zero, mean.ref], lambda v: [v[0], v[0] * (v[1] - mean)], 2
            )
            slope = k.scalar("fmul", own, scale)
            k.store(kind.llvm, k.narrow(slope), k.arrays[1], plane, k.item)
            k.store(kind.llvm, k.narrow(own_level), k.arrays[2], plane, k.item)
            along.set(k.scalar("fadd", along.get(), k.scalar("fmul", slope, weight)))
            level.set(k.scalar("fadd", level.get(), k.scalar("fmul", own_level, weight)))
        share_of = k.spread(k.scalar("fdiv", k.scalar("fmul", along.get(), scale), k.count))
        average, wide_scale = k.spread(k.scalar("fdiv", level.get(), k.count)), k.spread(scale)
        with k.loop(0, k.depth) as c:
            weights = k.one(5, k.word("add", start, c))

            def write(v: list[Value], place: str, mask: str) -> None:
                g, x = v
                k.put_part((g * weights - average - (x - mean) * share_of) * wide_scale, rows[2], place, mask)

            with k.images(k.word("add", k.word("mul", unit, k.depth), c), [3, 4, 0]) as rows:
                k.sweep(rows[:2], [zero, zero], write)
    return finish(k)


@cache
def _kernel(name: str, backward: bool) -> Callable[..., None]:
    kind = storage(name)
    text = (_write_backward if backward else _write_forward)(kind)
    integers = [True] * len(_SCALARS) + [False]
    return make_unit_kernel("groups", text, 3, [kind] * (8 if backward else 6), integers)


def _sizes(x: Array, groups: int) -> tuple[int, ...]:
    depth, places = x.shape[1] // groups, math.prod(x.shape[2:])
    units, work = x.shape[0] * groups, depth * (places + 16) // 4
    return units, work, share(units, work), depth, places, groups


def _check(*arrays: Array, groups: int) -> None:
    x = arrays[0]
    if x.dtype.name not in ("float32", "float64") or any(a.dtype != x.dtype for a in arrays):
        raise UnsupportedError(f"no normalisation of {' and '.join(str(a.dtype) for a in arrays)} here")
    if x.ndim < 2 or x.size == 0 or groups < 1 or x.shape[1] % groups:
        raise ValueError(f"the channels of an array of shape {x.shape} do not divide into {groups} groups")


def group_norm(x: Array, weight: Array, bias: Array, groups: int, eps: float) -> tuple[Array, Array, Array]:
    """Each group of channels of each image made to have mean 0 and variance 1, then times `weight` plus `bias` (Y. Wu
    and K. He, *Group Normalization*, 2018): the result, and (images, groups) of means and variances.

    Args:
        x: (images, channels, ...), float32 or float64.
        weight, bias: (channels,) of that dtype.

    Raises: UnsupportedError for other dtypes; ValueError for channels that do not divide, or an empty array.

    >>> import numpy as np
    >>> from flambeau.compiler.groups import group_norm
    >>> group_norm(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2), 1, 0.0)[0].tolist()
    [[-1.0, 1.0]]
    """
    _check(x, weight, bias, groups=groups)
    x, weight, bias = (np.ascontiguousarray(a) for a in (x, weight, bias))
    y: Array = empty(x.shape, x.dtype)
    mean, var = (np.empty((x.shape[0], groups), x.dtype) for _ in range(2))
    _kernel(x.dtype.name, False)(y, mean, var, x, weight, bias, *_sizes(x, groups), eps)
    return y, mean, var


def group_norm_backward(
    g: Array, x: Array, weight: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array, Array]:
    """The gradients of input, weight and bias, from the result's and what `group_norm` returned.

    Raises: as `group_norm`.
    """
    groups = mean.shape[1]
    _check(g, x, weight, mean, var, groups=groups)
    g, x, weight, mean, var = (np.ascontiguousarray(a) for a in (g, x, weight, mean, var))
    gx: Array = empty(x.shape, x.dtype)
    gw, gb = (np.empty(x.shape[:2], x.dtype) for _ in range(2))
    _kernel(x.dtype.name, True)(gx, gw, gb, g, x, weight, mean, var, *_sizes(x, groups), eps)
    return gx, gw.sum(axis=0), gb.sum(axis=0)
