"""Matrix products of batches: OpenBLAS on one thread each, under the pool.

NumPy's `matmul` does not use threads over a batch, and OpenBLAS's threads inside of pool threads fight for
the processors; so each product runs on one thread and the pool shares out the batch. The `sgemm` and `dgemm`
of the OpenBLAS that NumPy itself has loaded are called through their addresses; where NumPy was built with
another library `np.matmul` computes. Products of factors that fit in the cache do not call BLAS.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from ..runtime.threads import get_num_threads
from . import engine, launch, native
from .small_gemm import write_product, write_transposed_product

__all__ = ["available", "batched_matmul", "matmul"]

Array = npt.NDArray[Any]
_ROW_MAJOR, _NO_TRANSPOSE, _TRANSPOSE = 101, 111, 112
_CHUNK = 100_000  # multiplications at least that a thread takes at once
_WIDE_CORES = ("SkylakeX", "Cooperlake", "Sapphirerapids")  # OpenBLAS's names of those with 512-bit kernels
_TINY = 100_000  # multiplications in all below which NumPy's shorter way to BLAS is faster
_LARGE = 4_000_000  # multiplications from which OpenBLAS's own threads are worth their start

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
  {call}
  %next = add i64 %unit, 1
  %more = icmp ult i64 %next, %hi
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
_BLAS = """
declare i64 @llvm.umin.i64(i64, i64)
declare void @gemm(i32, i32, i32, i64, i64, i64, {type}, ptr, i64, ptr, i64, {type}, ptr, i64)
"""
_BLAS_CALL = """%ta32 = trunc i64 %ta to i32
  %tb32 = trunc i64 %tb to i32
  call void @gemm(i32 {order}, i32 %ta32, i32 %tb32, i64 %height, i64 %n, i64 %k, {type} 1.0, ptr %ap,
    i64 %la, ptr %bp, i64 %lb, {type} 0.0, ptr %op, i64 %n)"""
_OWN_CALL = """call void
    @small(ptr %ap, ptr %bp, ptr %op, i64 %height, i64 %n, i64 %k, i64 %arow, i64 %acol, i64 %brow)"""
_NAMES = {
    np.dtype(name): name for name in ("float32", "float64")
}  # an array's dtype.name takes a microsecond
_ARRAYS = ("o", "a", "b")
# The first three are what the launcher needs: units, multiplications of a unit, units of a chunk.
_SCALARS = (
    *("units", "work", "grain", "sa", "sb", "so", "ta", "tb", "m", "n", "k", "la", "lb"),
    *("arow", "acol", "brow", "orow", "parts", "rows"),
)


class _Library:
    """NumPy's OpenBLAS."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self.sgemm = handle.scipy_cblas_sgemm64_
        self.dgemm = handle.scipy_cblas_dgemm64_
        self.get_threads = handle.scipy_openblas_get_num_threads64_
        self.set_threads = handle.scipy_openblas_set_num_threads64_
        self.get_threads.restype, self.get_threads.argtypes = ctypes.c_int, []
        self.set_threads.restype, self.set_threads.argtypes = None, [ctypes.c_int]
        self.core_name_function = handle.scipy_openblas_get_corename64_
        self.core_name_function.restype, self.core_name_function.argtypes = ctypes.c_char_p, []
        self.lock = threading.Lock()

    def core_name(self) -> str:
        """The processor that OpenBLAS believes it runs on."""
        return bytes(self.core_name_function() or b"").decode(errors="replace")

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """OpenBLAS without threads of its own. One user at a time: the setting is global."""
        with self.lock:
            before = self.get_threads()
            self.set_threads(1)
            try:
                yield
            finally:
                self.set_threads(before)


@cache
def _library() -> _Library | None:
    for path in _candidates():
        try:
            # RTLD_NOLOAD: only the copy that NumPy uses, never a second one with threads of its own.
            library = _Library(ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW))
        except (OSError, AttributeError):
            continue
        if _computes(library):
            return library
    return None


def _candidates() -> list[Path]:
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return []
    return sorted(Path(np.__file__).parent.parent.glob("numpy.libs/libscipy_openblas64_*"))


def _computes(library: _Library) -> bool:
    """One small product through the address, so that an unexpected interface is found out here."""
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(12, dtype=np.float32).reshape(3, 4)
    out = np.zeros((2, 4), np.float32)
    i64, pointer = ctypes.c_int64, ctypes.c_void_p
    call = ctypes.CFUNCTYPE(
        None,
        *[ctypes.c_int] * 3,
        *[i64] * 3,
        ctypes.c_float,
        pointer,
        i64,
        pointer,
        i64,
        ctypes.c_float,
        pointer,
        i64,
    )(ctypes.cast(library.sgemm, pointer).value or 0)
    flags = (_ROW_MAJOR, _NO_TRANSPOSE, _NO_TRANSPOSE)
    call(*flags, 2, 4, 3, 1.0, a.ctypes.data, 3, b.ctypes.data, 4, 0.0, out.ctypes.data, 4)
    return bool((out == a @ b).all())


def _address(name: str, way: str) -> int:
    """The kernel's address; `way` is ``blas``, ``plain`` or ``transposed`` (the second factor)."""
    loads = "\n".join(
        f"  %{field}.p = getelementptr i64, ptr %{base}, i64 {i}\n  %{field} = load {type}, ptr %{field}.p"
        for fields, base, type in ((_ARRAYS, "arrays", "ptr"), (_SCALARS, "scalars", "i64"))
        for i, field in enumerate(fields)
    )
    if way != "blas":
        own = write_product(name) if way == "plain" else write_transposed_product(name)
        return engine.build(_KERNEL.format(loads=loads, call=_OWN_CALL) + own, ["kernel"])["kernel"]
    library = _library()
    assert library is not None
    type = "float" if name == "float32" else "double"
    call = _BLAS_CALL.format(order=_ROW_MAJOR, type=type)
    text = _KERNEL.format(loads=loads, call=call) + _BLAS.format(type=type)
    routine = library.sgemm if name == "float32" else library.dgemm
    imports = {"gemm": ctypes.cast(routine, ctypes.c_void_p).value or 0}
    return engine.build(text, ["kernel"], imports)["kernel"]


@cache
def _product(name: str, way: str) -> Callable[..., None]:
    """``product(out, a, b, scalars...)`` for arrays that were checked."""
    dtype, entry, kernel = np.dtype(name), launch.launcher(), _address(name, way)
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)

    def through_ctypes(*arguments: Any) -> None:
        pointers = np.array([a.ctypes.data for a in arguments[:3]], np.uint64)
        scalars = np.array(arguments[3:], np.int64)
        run(kernel, pointers.ctypes.data, scalars.ctypes.data, arguments[3], arguments[5])

    if not entry.units:
        return through_ctypes
    descriptor = launch.Descriptor(
        kernel, 1, (id(dtype),) * 3, (dtype.itemsize,) * 3, (True,) * len(_SCALARS), cost=0.01
    )
    words = np.array(descriptor.words(), np.int64)
    made: Callable[..., None] = native.make_function("product", entry.units, (words, through_ctypes))
    return made


@cache
def _own_limit() -> int:
    """Bytes of the second factor up to which `small_gemm` is used; twice that if it is transposed.

    They keep the multipliers busy while the factor is in the second-level cache. OpenBLAS does as well for
    matrices that are not tiny, if it knows the processor; it takes narrower registers if not.
    """
    library = _library()
    if library is None or (engine.host().vector_bits == 512 and library.core_name() not in _WIDE_CORES):
        return 1 << 21
    return 1 << 14


def available() -> bool:
    """Whether NumPy's OpenBLAS was found."""
    return _library() is not None


def _matrix(x: Array) -> tuple[Array, int, int]:
    """`x` with matrices that BLAS can read, copied if need be: (x, transpose flag, leading dimension)."""
    size = x.itemsize
    rows, columns = x.shape[-2:]
    row, column = x.strides[-2:]
    if (column == size or columns == 1) and row % size == 0 and (row >= columns * size or rows == 1):
        return x, _NO_TRANSPOSE, max(row // size, columns, 1)
    if (row == size or rows == 1) and column % size == 0 and (column >= rows * size or columns == 1):
        return x, _TRANSPOSE, max(column // size, rows, 1)
    x = np.ascontiguousarray(x)
    return x, _NO_TRANSPOSE, max(columns, 1)


def batched_matmul(a: Array, b: Array) -> Array:
    """``np.matmul(a, b)`` for float32 or float64 arrays of three dimensions.

    One of them may have batch size 1. Transposed and sliced matrices are read in place.

    Raises: ValueError for shapes that do not belong together; TypeError for dtypes.

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
    out = empty((batch, m, n), a.dtype)
    if batch * m * n * k < _TINY or not (a.flags.aligned and b.flags.aligned):
        np.matmul(a, b, out=out)
        return out
    _multiply(name, a, b, out)
    return out


def _multiply(name: str, a: Array, b: Array, out: Array) -> None:
    batch, m, n = out.shape
    k, item = a.shape[2], out.itemsize
    threads, size = get_num_threads(), m * n * k
    (x, tx, lx), (y, ty, ly) = _matrix(a), _matrix(b)
    way = "blas"
    if k * n * item <= _own_limit() * (1 + (ty == _TRANSPOSE)) and not tx == ty == _TRANSPOSE:
        way = "plain" if ty == _NO_TRANSPOSE else "transposed"
    library = _library() if way == "blas" else None
    # A few large products are left to OpenBLAS's own threads.
    few = threads > 1 and batch < threads and size >= _LARGE
    if way == "blas" and (library is None or few):
        np.matmul(a, b, out=out)
        return
    # Enough parts for all threads: of the batch, and where that is small of the rows too.
    rows, parts = m, 1
    if way != "blas" and batch < 4 * threads and size > _CHUNK:
        rows = max(8, -(-m * batch // (4 * threads)), _CHUNK // (k * n))
        rows = min(m, -(-rows // 8) * 8)
        parts = -(-m // rows)
    units = batch * parts
    grain = min(units, max(1, _CHUNK // (rows * n * k), units // (threads * 8)))
    steps = [0 if z.shape[0] == 1 else z.strides[0] for z in (x, y)]
    strides = (lx * item, item) if tx == _NO_TRANSPOSE else (item, lx * item)
    head = (units, rows * n * k, grain, *steps, m * n * item, tx, ty, m, n, k, lx, ly)
    arguments = (out, x, y, *head, *strides, ly * item, n * item, parts, rows)
    if library is None:
        _product(name, way)(*arguments)
        return
    with library.one_thread():
        _product(name, way)(*arguments)


def matmul(a: Array, b: Array) -> Array:
    """``np.matmul(a, b)`` for two float32 or float64 matrices, which may be transposed or sliced.

    Raises: ValueError for shapes that do not belong together; TypeError for dtypes.

    >>> import numpy as np
    >>> from flambeau.compiler.gemm import matmul
    >>> matmul(np.eye(2), np.arange(4.0).reshape(2, 2).T)
    array([[0., 2.],
           [1., 3.]])
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"matrices must have 2 dimensions, got shapes {a.shape} and {b.shape}")
    result: Array = batched_matmul(a[None], b[None])[0]
    return result
