"""Matrix products on the pool, from generated code alone.

A product whose second factor fits in the second-level cache as it lies is multiplied in place
(`small_gemm`); the others are packed (`packed_gemm`).  A batch is shared out product by product, a single
product tile by tile.  NumPy's BLAS is not called but for tiny products: its threads and the pool's would
fight for the processors, and it takes narrow registers on processors that it does not know.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from ..runtime.threads import get_num_threads
from . import engine, launch, native, packed_gemm, pair_panels, product_finish
from .product_finish import Finish, Start
from .small_gemm import LONGEST, write_product, write_transposed_product
from .types import storage

__all__ = [
    *(
        "NATURAL",
        "Schedule",
        "batched_matmul",
        "bfloat16_matmul",
        "finished_matmul",
        "has_bfloat16",
        "matmul",
    ),
]

Array = npt.NDArray[Any]
_CHUNK = 100_000  # multiplications at least that a thread takes at once
_TINY = 100_000  # multiplications in all below which NumPy's shorter way is faster
_IN_PLACE = 1 << 21  # bytes of the second factor up to which it is read where it lies
_FEW_ROWS = 24  # of the first factor: packing the second one, transposed, is not worth it up to here
_STRETCH = 256  # the inner dimension is packed in stretches of about this many
_PAIRS = 512  # the same for pairs of bfloat16 numbers
_ROOM = 4 << 20  # bytes of each factor that are packed at a time


class Schedule(NamedTuple):
    """How a product is computed; every schedule gives the same result but for rounding.

    `way`: ``packed``, ``plain`` or ``transposed``, the second factor being read where it lies by rows or by columns;
    empty for a choice by size.  `stretch` and `tile` cut a packed product: the inner dimension, about, and panels of
    rows in a tile.  `share`: parts for each thread, 0 to compute in the calling thread.
    """

    way: str = ""
    stretch: int = _STRETCH
    tile: int = 12
    share: int = 4


NATURAL = Schedule()

_KERNEL = """
define void @kernel(ptr %arrays, ptr %scalars, i64 %lo, i64 %hi) {{
entry:
{loads}
  %any = icmp ult i64 %lo, %hi
  br i1 %any, label %loop, label %done
loop:
  %unit = phi i64 [%lo, %entry], [%next, %loop]
  %i = udiv i64 %unit, %parts
  %part = urem i64 %unit, %parts
  %row = mul i64 %part, %rows
  %left = sub i64 %m, %row
  %height = call i64 @llvm.umin.i64(i64 %left, i64 %rows)
  %ab = mul i64 %sa, %i
  %ar = mul i64 %row, %arow
  %ao = add i64 %ab, %ar
  %bo = mul i64 %sb, %i
  %ob = mul i64 %so, %i
  %or = mul i64 %row, %orow
  %oo = add i64 %ob, %or
  %ap = getelementptr i8, ptr %a, i64 %ao
  %bp = getelementptr i8, ptr %b, i64 %bo
  %op = getelementptr i8, ptr %o, i64 %oo
  %before = mul i64 %i, %m
  %first = add i64 %before, %row
  %single = icmp eq i64 %sa, 0
  %start.first = select i1 %single, i64 %row, i64 %first
  %start.arrays = getelementptr i64, ptr %own.arrays, i64 %start_array
  %start.numbers = getelementptr i64, ptr %own.scalars, i64 %start_number
  call void
    @small(ptr %ap, ptr %bp, ptr %op, i64 %height, i64 %n, i64 %k, i64 %arow, i64 %acol, i64 %brow,
           ptr %finish, ptr %own.arrays, ptr %own.scalars, i64 %first,
           ptr %prepare, ptr %start.arrays, ptr %start.numbers, i64 %start.first)
  %next = add i64 %unit, 1
  %more = icmp ult i64 %next, %hi
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
_NAMES = {
    np.dtype(name): name for name in ("float32", "float64")
}  # an array's dtype.name takes a microsecond
_FLOAT32 = np.dtype(np.float32)
_ARRAYS = ("o", "a", "b")
# The first three are what the launcher needs: units, multiplications of a unit, units of a chunk.
_SCALARS = (
    *("units", "work", "grain", "sa", "sb", "so", "m", "n", "k"),
    *("arow", "acol", "brow", "orow", "parts", "rows", "finish"),
    *("prepare", "start_array", "start_number"),
)


@cache
def _address(name: str, way: str) -> int:
    """The kernel's address; `way` is ``packed``, ``pairs``, ``plain`` or ``transposed`` (the second factor)."""
    if way in ("packed", "pairs"):
        imports = {"pool.run": launch.pool().run_address}
        text = packed_gemm.write_packed_product(name, way == "pairs")
        return engine.build(text, ["kernel"], imports)["kernel"]
    loads = [
        f"  %{field}.p = getelementptr i64, ptr %{base}, i64 {i}\n"
        f"  %{field} = load {'ptr' if field in ('finish', 'prepare') else type}, ptr %{field}.p"
        for fields, base, type in ((_ARRAYS, "arrays", "ptr"), (_SCALARS, "scalars", "i64"))
        for i, field in enumerate(fields)
    ]
    for base, fields in (("arrays", _ARRAYS), ("scalars", _SCALARS)):
        loads.append(f"  %own.{base} = getelementptr i64, ptr %{base}, i64 {len(fields)}")
    own = write_product(name) if way == "plain" else write_transposed_product(name)
    return engine.build(_KERNEL.format(loads="\n".join(loads)) + own, ["kernel"])["kernel"]


@cache
def _product(
    name: str, way: str, finish: Finish | None = None, start: Start | None = None
) -> Callable[..., None]:
    """``product(arrays..., finish's outputs and inputs..., start's inputs..., scalars...)`` for arrays that were checked."""
    entry, kernel = launch.launcher("units"), _address(name, way)
    packed = way in ("packed", "pairs")
    arrays: tuple[str, ...] = packed_gemm.ARRAYS if packed else _ARRAYS
    scalars: tuple[str, ...] = packed_gemm.SCALARS if packed else _SCALARS
    factor = storage("bfloat16" if way == "pairs" else name).numpy
    dtypes = [factor if field in ("a", "b") else np.dtype(name) for field in arrays]
    integers = [True] * len(scalars)
    if finish is not None:
        dtypes += [*[s.numpy for s in finish.outputs], *[s.numpy for s, _ in finish.inputs]]
        integers += [t.kind != "f" for t in finish.scalars]
    if start is not None:
        dtypes += [s.numpy for s, _ in start.inputs]
        integers += [t.kind != "f" for t in start.scalars]
    count = len(dtypes)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)

    def through_ctypes(*arguments: Any) -> None:
        used = [a if a.flags.aligned else np.array(a) for a in arguments[:count]]
        pointers = np.array([a.ctypes.data for a in used], np.uint64)
        words = np.zeros(len(integers), np.int64)
        for i, (number, integer) in enumerate(zip(arguments[count:], integers, strict=True)):
            words[i : i + 1].view(np.int64 if integer else np.float64)[0] = number
        run(kernel, pointers.ctypes.data, words.ctypes.data, arguments[count], arguments[count + 2])

    if not entry.builtin:
        return through_ctypes
    descriptor = launch.Descriptor(
        kernel,
        0 if finish is not None else 1,
        tuple(id(d) for d in dtypes),
        tuple(d.itemsize for d in dtypes),
        tuple(integers),
        cost=0.01,
    )
    words = np.array(descriptor.words(), np.int64)
    made: Callable[..., None] = native.make_function("product", entry.builtin, (words, through_ctypes))
    return made


def _layout(shape: tuple[int, ...], strides: tuple[int, ...], size: int) -> tuple[bool, tuple[int, int, int]]:
    """Whether matrices must be copied, which have neither contiguous rows nor columns, and the distances then: between
    the matrices of a batch (0 for a single one), between rows and between columns."""
    batch, rows, columns = shape
    step, row, column = strides
    step = 0 if batch == 1 else step
    if (column == size or columns == 1) and row % size == 0 and (row >= columns * size or rows == 1):
        return False, (step, max(row, columns * size), size)
    if (row == size or rows == 1) and column % size == 0 and (column >= rows * size or columns == 1):
        return False, (step, size, max(column, rows * size))
    return True, (0 if batch == 1 else rows * columns * size, columns * size, size)


def _up(a: int, unit: int) -> int:
    return -(-a // unit) * unit


@lru_cache(maxsize=4096)
def _plan(
    name: str, m: int, n: int, k: int, threads: int, schedule: Schedule = NATURAL, pairs: bool = False
) -> tuple[int, tuple[int, ...]]:
    """How a product is cut: elements of the room that it needs, and the scalars ``kc`` to ``pb``."""
    height, width, lanes = packed_gemm.panel_sizes(name)
    deep = -(-k // -(-k // (_PAIRS if pairs else schedule.stretch)))
    most = _ROOM // (deep * np.dtype(name).itemsize)
    rows, columns = min(_up(m, height), _up(most, height)), min(_up(n, width), _up(most, width))
    down, across = rows // height, columns // width  # panels
    share = schedule.share * threads
    # Tiles of up to 12 panels of rows; of columns so few that each thread gets four tiles.
    tile = -(-down // -(-down // schedule.tile)) if share else down
    wide = -(-across // min(across, max(1, -(-share * tile // down))))
    room = columns * deep + down * (height * deep + lanes) + 64
    pieces = max(share, 1)
    return room, (
        *(deep, rows, columns, tile * height, wide * width),
        *(max(1, down // pieces), max(1, across // pieces)),
    )


def batched_matmul(
    a: Array,
    b: Array,
    out: Array | None = None,
    *,
    bias: Array | None = None,
    accumulate: bool = False,
    schedule: Schedule = NATURAL,
) -> Array:
    """``np.matmul(a, b)`` for float32 or float64 arrays of three dimensions.

    One of them may have batch size 1. Transposed and sliced matrices are read in place.

    Args:
        a: batch of matrices (batch or 1, m, k).
        b: batch of matrices (batch or 1, k, n).
        out: C-contiguous array for the result, which shares no memory with the others.
        bias: contiguous vector of n numbers to add to every row of the result.
        accumulate: add the products to what `out` holds; not together with `bias`.
        schedule: how it is computed; one that these arrays do not allow is not followed.

    Raises: ValueError for shapes that do not belong together and an unusable `out`; TypeError for dtypes.

    >>> import numpy as np
    >>> from flambeau.compiler.gemm import batched_matmul
    >>> batched_matmul(np.ones((8, 2, 3)), np.ones((8, 3, 4))).shape
    (8, 2, 4)
    """
    if a.ndim != 3 or b.ndim != 3:
        raise ValueError(f"batches of matrices must have 3 dimensions, got shapes {a.shape} and {b.shape}")
    name = _NAMES.get(a.dtype)
    if name is None or a.dtype != b.dtype:
        raise TypeError(f"both batches must be float32 or float64, got {a.dtype} and {b.dtype}")
    batch = b.shape[0] if a.shape[0] == 1 else a.shape[0]
    if a.shape[2] != b.shape[1] or b.shape[0] not in (1, batch):
        raise ValueError(f"batches of shapes {a.shape} and {b.shape} cannot be multiplied")
    m, k, n = a.shape[1], a.shape[2], b.shape[2]
    if out is None:
        if accumulate:
            raise ValueError("accumulate=True needs out")
        out = empty((batch, m, n), a.dtype)
    elif out.shape != (batch, m, n) or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out must be a writable C-contiguous array of shape {(batch, m, n)}, got shape {out.shape}, "
            f"strides {out.strides}"
        )
    elif out.dtype != a.dtype:
        raise TypeError(f"out must be {a.dtype}, got {out.dtype}")
    if bias is not None and (bias.shape != (n,) or bias.dtype != a.dtype or accumulate):
        raise ValueError(
            f"bias must be a {a.dtype} vector of {n} numbers, without accumulate; got {bias.dtype} {bias.shape}"
        )
    work = batch * m * n * k
    worth = work >= _TINY or (schedule.way and work)
    if worth and a.flags.aligned and b.flags.aligned and out.flags.aligned:
        _multiply(name, a, b, out, bias, accumulate, schedule)
    elif accumulate:
        out += np.matmul(a, b)
    else:
        np.matmul(a, b, out=out)
        if bias is not None:
            out += bias
    return out


class Prepared(NamedTuple):
    """How factors with given shapes and strides are multiplied: what `prepared` finds out."""

    way: str
    launch: Callable[..., None]
    words: tuple[int, ...]
    copied: tuple[bool, bool]  # factors whose layout no way can read
    room: tuple[int, ...]  # elements that packed panels need; empty where nothing is packed
    home: tuple[int, int, int]  # shape of the product
    sums: bool  # whether it has to be in memory as a whole on the way

    def __call__(
        self,
        a: Array,
        b: Array,
        outs: Sequence[Array],
        home: Array | None = None,
        bias: Array | None = None,
        inputs: Sequence[Array] = (),
        numbers: Sequence[float] = (),
    ) -> None:
        """Multiply; `home` is memory for the product, of the dtype of its sums; `bias` is what `biased` promised."""
        if self.copied[0]:
            a = np.ascontiguousarray(a)
        if self.copied[1]:
            b = np.ascontiguousarray(b)
        dtype = _FLOAT32 if a.itemsize == pair_panels.ITEM else a.dtype
        if self.room:
            space = empty(self.room, dtype)
            if home is None:
                home = empty(self.home, dtype) if self.sums else space
            self.launch(
                *(home, a, b, space, home if bias is None else bias, *outs, *inputs, *self.words, *numbers)
            )
            return
        if bias is not None:
            assert home is not None
            outs, inputs = (home,), (bias, *inputs)
        if home is None:
            home = empty(self.home, dtype) if self.sums else a  # where it is not written to
        self.launch(home, a, b, *outs, *inputs, *self.words, *numbers)


@lru_cache(maxsize=4096)
def prepared(
    name: str,
    a_shape: tuple[int, ...],
    a_strides: tuple[int, ...],
    b_shape: tuple[int, ...],
    b_strides: tuple[int, ...],
    threads: int,
    finish: Finish | None = None,
    schedule: Schedule = NATURAL,
    pairs: bool = False,
    biased: bool = False,
    accumulate: bool = False,
    start: Start | None = None,
) -> Prepared:
    """The way to multiply batches (batch or 1, m, k) and (batch or 1, k, n), none of these 0, with sums in `name`.

    `pairs`: the factors are bfloat16.  `finish`: what is computed from the product instead of writing it.  `biased`: a
    vector will be added to every row; together with a `finish` for pairs alone.  `start`: the first factor is computed
    from other arrays; `Prepared` is called with any array of its dtype instead, and `inputs` and `numbers` have those for
    `finish` and then those for `start`.
    """
    m, inner, n = a_shape[1], a_shape[2], b_shape[2]
    batch, k = max(a_shape[0], b_shape[0]), -(-inner // 2) if pairs else inner
    item = np.dtype(name).itemsize
    size = pair_panels.ITEM if pairs else item
    copy_a, (sa, arow, acol) = _layout(a_shape, a_strides, size)
    copy_b, (sb, brow, bcol) = _layout(b_shape, b_strides, size)
    home = batch, m, n
    copied = copy_a, copy_b
    work, share = m * n * k, schedule.share * threads
    way = "packed"
    if not accumulate and not pairs and (schedule.way or k * n * item <= _IN_PLACE):
        if bcol == item and schedule.way in ("", "plain") and (start is None or k <= LONGEST):
            way = "plain"
        elif (
            bcol != item
            and acol == item
            and start is None
            and (m <= _FEW_ROWS if not schedule.way else schedule.way == "transposed")
        ):
            way = "transposed"
    if biased and way != "packed":
        finish = _biased(name)
    functions = (0, 0) if finish is None else product_finish.address(name, finish)
    before = (0, 0, 0)
    if start is not None:
        arrays, numbers = 0, 0
        if finish is not None:
            arrays, numbers = len(finish.outputs) + len(finish.inputs), len(finish.scalars)
        before = product_finish.start_address(name, start), arrays, numbers
        schedule = schedule._replace(stretch=min(schedule.stretch, packed_gemm.LONGEST))
    if way == "packed":
        room, cuts = _plan(name, m, n, k, threads, schedule, pairs)
        # A batch is shared out, unless its products are so few or so large that each is better cut up.
        grain = batch if batch < 2 * threads or work > 1 << 26 else -(-batch // (4 * threads))
        grain = min(batch, max(grain, -(-_CHUNK // work))) if share else batch
        words = (
            *(batch, work, grain, room * item, sa, sb, m * n * item, m, n, k, arow, acol, brow, bcol),
            *(n * item, *cuts, biased, accumulate, inner, *functions, *before),
        )
        launch_ = _product(name, "pairs" if pairs else way, finish, start)
        return Prepared(
            way, launch_, words, copied, (room * -(-batch // grain),), home, finish is None or cuts[0] < k
        )
    # Enough parts for all threads: of the batch, and where that is small of the rows too.
    rows, parts = m, 1
    if batch < share and work > _CHUNK:
        rows = max(8, -(-m * batch // share), _CHUNK // (k * n))
        rows = min(m, _up(rows, 8))
        parts = -(-m // rows)
    units = batch * parts
    grain = min(units, max(1, _CHUNK // (rows * n * k), units // (2 * share))) if share else units
    words = (
        *(units, rows * n * k, grain, sa, sb, m * n * item, m, n, k),
        *(arow, acol, brow if way == "plain" else bcol, n * item, parts, rows, functions[0], *before),
    )
    return Prepared(
        way,
        _product(name, way, finish, start),
        words,
        copied,
        (),
        home,
        finish is None or way == "transposed",
    )


@cache
def _biased(name: str) -> Finish:
    """A bias added to every row."""
    kind = storage(name)
    return Finish(lambda k, x, bias: x + bias, (kind,), ((kind, "shared"),))


def _multiply(
    name: str,
    a: Array,
    b: Array,
    out: Array,
    bias: Array | None,
    accumulate: bool,
    schedule: Schedule,
) -> None:
    shapes = a.shape, a.strides, b.shape, b.strides, get_num_threads()
    if bias is not None:
        bias = np.ascontiguousarray(bias) if bias.flags.aligned else np.array(bias)
    product = prepared(name, *shapes, None, schedule, False, bias is not None, accumulate)
    product(a, b, (), out, bias)


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself."""
    host = engine.host()
    return host.vector_bits == 512 and host.has("avx512bf16")


_ROUNDED = Finish(lambda k, x: x, (storage("bfloat16"),))  # the sums, rounded once


def bfloat16_matmul(a: Array, b: Array, bias: Array | None = None) -> Array:
    """The products of two batches of bfloat16 matrices, summed up in float32 and rounded once.

    For processors that have instructions for it (`has_bfloat16`): these flush numbers below 1.2e-38 to zero.

    Args:
        a: (batch or 1, m, k), none of the sizes 0.
        b: (batch or 1, k, n).
        bias: float32 vector of n numbers to add to every row before it is rounded.

    Raises: ValueError for shapes that do not belong together, or have a 0; TypeError for other dtypes.
    """
    if a.dtype.name != "bfloat16" or b.dtype.name != "bfloat16":
        raise TypeError(f"both batches must be bfloat16, got {a.dtype} and {b.dtype}")
    if a.ndim != 3 or b.ndim != 3 or a.shape[2] != b.shape[1] or not a.size or not b.size:
        raise ValueError(f"batches of shapes {a.shape} and {b.shape} cannot be multiplied in pairs")
    batch = b.shape[0] if a.shape[0] == 1 else a.shape[0]
    if b.shape[0] not in (1, batch):
        raise ValueError(f"batches of shapes {a.shape} and {b.shape} cannot be multiplied in pairs")
    if bias is not None and (bias.shape != (b.shape[2],) or bias.dtype != np.float32):
        raise ValueError(
            f"bias must be a float32 vector of {b.shape[2]} numbers, got {bias.dtype} {bias.shape}"
        )
    out = empty((batch, a.shape[1], b.shape[2]), a.dtype)
    if bias is not None:
        bias = np.ascontiguousarray(bias) if bias.flags.aligned else np.array(bias)
    shapes = a.shape, a.strides, b.shape, b.strides, get_num_threads()
    prepared("float32", *shapes, _ROUNDED, NATURAL, True, bias is not None)(a, b, (out,), None, bias)
    return out


def matmul(
    a: Array,
    b: Array,
    out: Array | None = None,
    *,
    bias: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """``np.matmul(a, b)`` for two float32 or float64 matrices, which may be transposed or sliced.

    The other arguments, and what is raised, are those of `batched_matmul`.

    >>> import numpy as np
    >>> from flambeau.compiler.gemm import matmul
    >>> matmul(np.eye(2), np.arange(4.0).reshape(2, 2).T)
    array([[0., 2.],
           [1., 3.]])
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"matrices must have 2 dimensions, got shapes {a.shape} and {b.shape}")
    into = None if out is None else out[None]
    result: Array = batched_matmul(a[None], b[None], into, bias=bias, accumulate=accumulate)[0]
    return result
