"""Gathering, scattering and adding at indices, along one dim of contiguous arrays.

Each thread owns a part of the result, so nothing is locked, and additions to one place happen in the order of the
indices: the result does not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from ..runtime.threads import get_num_threads
from . import engine, launch, native
from .dialect import Dialect, Value
from .types import Storage, UnsupportedError, storage
from .vector_loop import Memory, attributes

__all__ = ["add_along", "add_rows", "gather_along", "scatter_along", "take_rows"]

Array = npt.NDArray[Any]
_SCALARS = ("units", "work", "grain", "outer", "count", "inner", "length", "block", "blocks")
_SIZES = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}
_SUMS = ("float32", "float64", "int64", "int32")
_INDEX = np.dtype(np.int64)


def _write(kind: Storage, way: str) -> str:
    """``kernel(ptr arrays, ptr scalars, i64 lo, i64 hi)`` over units: a block of columns of one outer index.

    Arrays: the result, the other operand, the indices, and two words for an index that is out of range.
    """
    host = engine.host()
    k = Dialect(host, host.vector_bits // max(kind.compute.bits, 8))
    memory, item = Memory(k), kind.itemsize
    out, other, index, wrong = (k.load("ptr", "%arrays", i) for i in range(4))
    s = {name: k.load("i64", "%scalars", i) for i, name in enumerate(_SCALARS)}
    count, inner, length = s["count"], s["inner"], s["length"]

    def checked(place: str, skip: str) -> str:
        """The index stored at `place`; past the unusable ones."""
        found = k.load("i64", index, place)
        usable, bad = k.new_label("usable"), k.new_label("bad")
        k.branch_if(k.compare("ult", found, length), usable, bad)
        k.label(bad)
        k.store("i64", found, wrong, 1)
        k.store("i64", 1, wrong, 0)
        k.branch(skip)
        k.label(usable)
        return found

    def move(target: str, source: str, add: bool) -> None:
        value = k.load(kind.llvm, other, source, item)
        if add:
            old = k.load(kind.llvm, out, target, item)
            value = k.emit(f"{'fadd' if kind.compute.kind == 'f' else 'add'} {kind.llvm} {old}, {value}")
        k.store(kind.llvm, value, out, target, item)

    def row(target: str, source: str, low: str, high: str, add: bool) -> None:
        """Columns ``low`` to ``high`` of a row, in whole vectors."""
        to, origin = (
            k.at(base, k.word("mul", start, inner), item) for base, start in ((out, target), (other, source))
        )
        whole = k.word("add", low, k.word("and", k.word("sub", high, low), -k.lanes))

        def part(j: str, rest: str, mask: str) -> None:
            a, b = k.at(origin, j, item), k.at(to, j, item)
            ref = memory.load_part(kind, a, rest, mask) if rest else memory.load(kind, a)
            if add:
                old = memory.load_part(kind, b, rest, mask) if rest else memory.load(kind, b)
                ref = (Value(k, old, kind.compute) + Value(k, ref, kind.compute)).ref
            if rest:
                memory.store_part(kind, ref, b, rest, mask)
            else:
                memory.store(kind, ref, b)

        with k.loop(low, whole, k.lanes) as j:
            part(j, "", "")
        rest = k.word("sub", high, whole)
        with k.when(k.compare("ne", rest, 0)):
            part(whole, rest, memory.mask(rest))

    with k.loop("%lo", "%hi") as unit:
        o, b = k.word("udiv", unit, s["blocks"]), k.word("urem", unit, s["blocks"])
        low = k.word("mul", b, s["block"])
        if way == "take":  # a unit is one row of the result
            skip = k.new_label("skip")
            row(unit, checked(unit, skip), "0", inner, False)
            k.branch(skip)
            k.label(skip)
        else:
            high = k.smaller(k.word("add", low, s["block"]), inner)
            with k.loop(0, count) as i:
                if way == "rows":
                    skip = k.new_label("skip")
                    row(checked(i, skip), i, low, high, True)
                    k.branch(skip)
                    k.label(skip)
                else:
                    start = k.word("mul", k.word("add", k.word("mul", o, count), i), inner)
                    with k.loop(low, high) as j:
                        skip = k.new_label("skip")
                        at = k.word("add", start, j)
                        found = checked(at, skip)
                        far = k.word("add", k.word("mul", o, length), found)
                        far = k.word("add", k.word("mul", far, inner), j)
                        if way == "gather":
                            move(at, far, False)
                        else:
                            move(far, at, way == "add")
                        k.branch(skip)
                        k.label(skip)
    k.line("ret void")
    function = k.function("kernel", "ptr %arrays, ptr %scalars, i64 %lo, i64 %hi")
    return "\n".join(k.declarations.values()) + "\n" + function + attributes(host)


@cache
def _kernel(name: str, way: str) -> Callable[..., None]:
    kind, entry = storage(name), launch.launcher("units")
    address = engine.build(_write(kind, way), ["kernel"])["kernel"]
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)

    def through_ctypes(*arguments: Any) -> None:
        pointers = np.array([a.ctypes.data for a in arguments[:4]], np.uint64)
        words = np.array(arguments[4:], np.int64)
        run(address, pointers.ctypes.data, words.ctypes.data, arguments[4], arguments[6])

    if not entry.builtin:
        return through_ctypes
    dtypes = (kind.numpy, kind.numpy, _INDEX, _INDEX)
    descriptor = launch.Descriptor(
        address,
        1,
        tuple(map(id, dtypes)),
        tuple(d.itemsize for d in dtypes),
        (True,) * len(_SCALARS),
        cost=1.0,
    )
    words = np.array(descriptor.words(), np.int64)
    made: Callable[..., None] = native.make_function("indexed", entry.builtin, (words, through_ctypes))
    return made


def _raw(x: Array, sums: bool) -> Array:
    """`x` as elements that kernels know: of its size, or its own dtype if they are to be added."""
    if sums:
        if x.dtype.name not in _SUMS:
            raise UnsupportedError(f"no sums of {x.dtype} here")
        return x
    name = _SIZES.get(x.dtype.itemsize)
    if name is None:
        raise UnsupportedError(f"no kernels for {x.dtype}")
    return x.view(name)


def _check_index(index: Array) -> Array:
    if index.dtype != _INDEX:
        raise UnsupportedError(f"indices must be int64, got {index.dtype}")
    return np.ascontiguousarray(index)


def _run(
    way: str, out: Array, other: Array, index: Array, outer: int, count: int, inner: int, length: int
) -> None:
    """Raises: IndexError for an index outside of 0 to length - 1; some of `out` is written then."""
    if not index.size or not inner:
        return
    threads = get_num_threads()
    if way == "take":
        units, block, blocks, work = count, inner, 1, inner
    else:
        # Blocks of columns make up for few outer indices; a block is at least a cache line or two.
        blocks = max(1, min(-(-inner // 64), -(-4 * threads // max(outer, 1))))
        block = -(-inner // blocks)
        blocks = -(-inner // block)
        units, work = outer * blocks, count * block
    grain = max(1, min(units, -(-10_000 // max(work, 1)), units // (4 * threads) or 1))
    if units * work < 12_000:
        grain = units
    wrong: Array = np.zeros(2, np.int64)
    name = out.dtype.name
    _kernel(name, way)(
        out, other, index, wrong, units, work, grain, outer, count, inner, length, block, blocks
    )
    if wrong[0]:
        raise IndexError(f"index {int(wrong[1])} is out of bounds for dimension with size {length}")


def _split(shape: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def _alike(x: Array, index: Array, dim: int) -> bool:
    return x.ndim == index.ndim and all(
        a == b for d, (a, b) in enumerate(zip(x.shape, index.shape)) if d != dim
    )


def gather_along(x: Array, index: Array, dim: int) -> Array:
    """``np.take_along_axis(x, index, dim)`` for indices from 0 on, of x's shape but for `dim`.

    Raises: IndexError for an index out of range; UnsupportedError for dtypes without kernels; ValueError for shapes.

    >>> import numpy as np
    >>> from flambeau.compiler.indexed import gather_along
    >>> gather_along(np.array([[10.0, 20.0]]), np.array([[1, 1, 0]]), 1)
    array([[20., 20., 10.]])
    """
    if not _alike(x, index, dim):
        raise ValueError(f"indices of shape {index.shape} do not fit an array of shape {x.shape} along {dim}")
    index, x = _check_index(index), np.ascontiguousarray(x)
    out = empty(index.shape, x.dtype)
    outer, count, inner = _split(index.shape, dim)
    _run("gather", _raw(out, False), _raw(x, False), index, outer, count, inner, x.shape[dim])
    return out


def scatter_along(out: Array, index: Array, src: Array, dim: int) -> None:
    """``np.put_along_axis(out, index, src, dim)`` into a C-contiguous array; of equal indices the last one counts.

    Raises: as `gather_along`.
    """
    _put("set", out, index, src, dim)


def add_along(out: Array, index: Array, src: Array, dim: int) -> None:
    """Add `src` to the elements of `out` that `scatter_along` would write; float32, float64, int32 and int64.

    Raises: as `gather_along`.
    """
    _put("add", out, index, src, dim)


def _put(way: str, out: Array, index: Array, src: Array, dim: int) -> None:
    if not _alike(out, index, dim) or src.shape != index.shape or not out.flags.c_contiguous:
        raise ValueError(
            f"indices of shape {index.shape} and values of shape {src.shape} do not fit an array of shape {out.shape}"
        )
    if src.dtype != out.dtype:
        raise UnsupportedError(f"values must be {out.dtype}, got {src.dtype}")
    index, src = _check_index(index), np.ascontiguousarray(src)
    sums = way == "add"
    outer, count, inner = _split(index.shape, dim)
    _run(way, _raw(out, sums), _raw(src, sums), index, outer, count, inner, out.shape[dim])


def take_rows(x: Array, index: Array) -> Array:
    """``x[index]`` for a vector of indices from 0 on.

    Raises: as `gather_along`.
    """
    if index.ndim != 1 or not x.ndim:
        raise ValueError(
            f"a vector of indices and an array of rows are needed, got {index.shape} and {x.shape}"
        )
    index, x = _check_index(index), np.ascontiguousarray(x)
    out = empty((len(index), *x.shape[1:]), x.dtype)
    _run("take", _raw(out, False), _raw(x, False), index, 1, len(index), math.prod(x.shape[1:]), len(x))
    return out


def add_rows(out: Array, index: Array, rows: Array) -> None:
    """``np.add.at(out, index, rows)`` for a vector of indices from 0 on, and a C-contiguous `out`.

    Raises: as `gather_along`.
    """
    if (
        index.ndim != 1
        or not out.ndim
        or rows.shape != (len(index), *out.shape[1:])
        or not out.flags.c_contiguous
    ):
        raise ValueError(f"{len(index)} rows like those of {out.shape} are needed, got {rows.shape}")
    if rows.dtype != out.dtype:
        raise UnsupportedError(f"rows must be {out.dtype}, got {rows.dtype}")
    index, rows = _check_index(index), np.ascontiguousarray(rows)
    _run("rows", _raw(out, True), _raw(rows, True), index, 1, len(index), math.prod(out.shape[1:]), len(out))
