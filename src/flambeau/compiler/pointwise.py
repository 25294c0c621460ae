"""Fused pointwise kernels: one pass over memory for any number of operations."""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from . import engine, launch, native
from .broadcast import Plan, make_plan
from .types import COMPUTE, Compute, UnsupportedError, storage
from .vector_loop import Body, Source, write_kernel

__all__ = ["PointwiseKernel", "pointwise_kernel"]

Array = npt.NDArray[Any]
_MAX_PLANS = 4096


def pointwise_kernel(
    body: Body,
    in_dtypes: Sequence[Any],
    out_dtypes: Sequence[Any],
    n_scalars: int | Sequence[Any] = 0,
    unroll: int = 0,
) -> PointwiseKernel:
    """Compile the function `body` of elements into a kernel over arrays.

    ``body(k, *vectors, *scalars)`` is called once, with a `Dialect` and its values, and returns a value or a
    tuple of them, one per output. Dtypes are anything `numpy.dtype` accepts: float32, float64, float16 and
    bfloat16 (computed in float32), int8, int16, int32, int64, uint8, bool. `n_scalars` is the number of
    Python numbers passed at each call, of the first input's type, or their types one by one. What the body
    computes is fixed; sizes, shapes and scalars are not. `unroll`: vectors in a step of the loop, 0 for a number
    that suits the body.

    Raises: UnsupportedError (a TypeError) for dtypes without kernels; TypeError and ValueError for a body
    that mixes types or returns the wrong number of values; ImportError without llvmlite.

    >>> import numpy as np
    >>> from flambeau.compiler.pointwise import pointwise_kernel
    >>> axpy = pointwise_kernel(lambda k, x, y, a: a * x + y, ["float32"] * 2, ["float32"], 1)
    >>> x, out = np.arange(3, dtype=np.float32), np.empty(3, np.float32)
    >>> axpy(out, x, x, 10.0)
    >>> out
    array([ 0., 11., 22.], dtype=float32)
    """
    return PointwiseKernel(body, in_dtypes, out_dtypes, n_scalars, unroll)


def _scalar_types(
    n_scalars: int | Sequence[Any], in_dtypes: Sequence[Any], out_dtypes: Sequence[Any]
) -> list[Compute]:
    if not isinstance(n_scalars, int):
        types = [storage(d).compute for d in n_scalars]
    elif n_scalars:
        types = [storage((list(in_dtypes) or list(out_dtypes))[0]).compute] * n_scalars
    else:
        types = []
    if any(t is COMPUTE["bool"] for t in types):
        raise UnsupportedError("scalars are numbers; give their types, such as n_scalars=['float32']")
    return types


class PointwiseKernel:
    """A compiled kernel. Arguments are always outputs, then inputs, then scalars.

    An output may be one of the inputs. Outputs that share memory in any other way with another output are
    an error; inputs that overlap an output without being it are copied first.
    """

    def __init__(
        self,
        body: Body,
        in_dtypes: Sequence[Any],
        out_dtypes: Sequence[Any],
        n_scalars: int | Sequence[Any] = 0,
        unroll: int = 0,
    ) -> None:
        self._body, self._in, self._out, self._unroll = body, list(in_dtypes), list(out_dtypes), unroll
        self._scalars = _scalar_types(n_scalars, in_dtypes, out_dtypes)
        self._storages = [storage(d) for d in [*self._out, *self._in]]
        if len(self._storages) > launch.MAX_ARRAYS or len(self._scalars) > launch.MAX_SCALARS:
            raise UnsupportedError(
                f"a kernel has at most {launch.MAX_ARRAYS} arrays and {launch.MAX_SCALARS} scalars, got "
                f"{len(self._storages)} and {len(self._scalars)}"
            )
        self.n_outputs, self.n_inputs, self.n_scalars = len(self._out), len(self._in), len(self._scalars)
        source = write_kernel(body, self._in, self._out, self._scalars, unroll=unroll)
        self._descriptor = self._describe(source)
        self._variants: dict[tuple[bool, ...], int] = {(False,) * self.n_inputs: self._descriptor.kernel}
        self._make_entries()

    def _make_entries(self) -> None:
        """The functions that launch the machine code, with the descriptor's cuts."""
        self._plans: dict[Any, Plan] = {}
        self._words = np.array(self._descriptor.words(), np.int64)
        entry = launch.launcher("contiguous")
        self._run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(entry.run)
        self.fn: Callable[..., None] = self._make("pointwise", entry.builtin, self._contiguous_slowly)
        """``fn(*outs, *ins, *scalars)``: C-contiguous arrays of one size; the fastest way to call."""

    @cached_property
    def table(self) -> Callable[..., None]:
        """``table(*out_lists, *in_lists, *scalars)``: the kernel over many sets of arrays in one launch.

        Each argument is a list or tuple with one array for each set; within a set arrays are as for `fn`.
        Arrays of different sets must not overlap unless all are only read."""
        return self._make("pointwise_table", launch.launcher("table").builtin, self._table_slowly)

    @cached_property
    def _strided(self) -> Callable[..., None]:
        return self._make("pointwise_strided", launch.launcher("strided").builtin, self._strided_slowly)

    @cached_property
    def _run_table(self) -> Any:
        run = launch.launcher("table").run
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 4)(run)

    @cached_property
    def _run_strided(self) -> Any:
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(launch.launcher("strided").run)

    def as_if(self, factor: float) -> PointwiseKernel:
        """The same machine code, shared out to threads as if an element took `factor` times as long.

        More means more threads and smaller chunks, less fewer and larger ones.
        """
        other = copy.copy(self)  # with the same variants: what one compiles the other has
        for name in ("table", "_strided"):
            other.__dict__.pop(name, None)
        other._descriptor = replace(self._descriptor, cost=self._descriptor.cost * factor)
        other._make_entries()
        return other

    def _describe(self, source: Source) -> launch.Descriptor:
        return launch.Descriptor(
            self._load(source),
            self.n_outputs,
            tuple(id(s.numpy) for s in self._storages),
            tuple(s.itemsize for s in self._storages),
            tuple(t.kind != "f" for t in self._scalars),
            max(source.cost, 0.01),
        )

    @staticmethod
    def _load(source: Source) -> int:
        imports = {name: native.libm_address(name) for name in source.libm}
        return engine.build(source.text, ["kernel"], imports)["kernel"]

    def _make(self, name: str, address: int, slow: Callable[..., None]) -> Callable[..., None]:
        if not address:
            return slow
        made: Callable[..., None] = native.make_function(name, address, (self._words, slow))
        return made

    def __call__(self, *arguments: Any) -> None:
        """Compute; the same as `fn`.

        Raises: TypeError for a wrong number of arguments, wrong dtypes or things that are not arrays;
        ValueError for sizes that differ and outputs that are read-only, not contiguous or overlap.
        """
        self.fn(*arguments)

    # ---- broadcasting ----

    def broadcast(self, outs: Sequence[Array], ins: Sequence[Array], *scalars: float) -> None:
        """Compute over arrays of any strides; the inputs broadcast to the shape that all outputs have.

        Raises: ValueError for shapes that do not broadcast and for outputs whose elements overlap; TypeError
        for dtypes other than the kernel's.
        """
        arrays = (*outs, *ins)
        if len(outs) != self.n_outputs or len(ins) != self.n_inputs:
            raise TypeError(
                f"expected {self.n_outputs} outputs and {self.n_inputs} inputs, got {len(outs)} and "
                f"{len(ins)}"
            )
        key = tuple([(a.shape, a.strides) for a in arrays])
        plan = self._plans.get(key)
        if plan is None:
            plan = self._new_plan(key, arrays)
        if plan.words is not None:
            self._strided(plan.words, *arrays, *scalars)
        else:
            self._dense(plan, arrays, scalars)

    def _new_plan(self, key: Any, arrays: Sequence[Any]) -> Plan:
        self._check_types(arrays)
        plan = make_plan(key, self._descriptor, self._descriptor.cost)
        if plan.words is not None:
            if plan.uniform not in self._variants:
                source = write_kernel(
                    self._body, self._in, self._out, self._scalars, plan.uniform, unroll=self._unroll
                )
                self._variants[plan.uniform] = self._load(source)
            plan.words[launch.P_KERNEL] = self._variants[plan.uniform]
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan

    def _dense(self, plan: Plan, arrays: Sequence[Array], scalars: Sequence[float]) -> None:
        shape = arrays[0].shape
        used = list(arrays)
        for j in plan.copy:
            if j < self.n_outputs:
                used[j] = np.empty(shape, arrays[j].dtype)
            else:
                used[j] = np.ascontiguousarray(np.broadcast_to(arrays[j], shape))
        if plan.copy and any(
            np.may_share_memory(o, i) for o in arrays[: self.n_outputs] for i in arrays[self.n_outputs :]
        ):
            # Outputs are written only after every input was read, whichever way they overlap.
            for j in range(self.n_outputs):
                used[j] = np.empty(shape, arrays[j].dtype)
        for j in range(self.n_outputs):
            self._check_writeable(arrays[j])
        self.fn(*used, *scalars)
        for j in range(self.n_outputs):
            if used[j] is not arrays[j]:
                np.copyto(arrays[j], used[j])

    # ---- the careful ways ----

    def _check_types(self, arrays: Sequence[Any]) -> None:
        for j, (a, s) in enumerate(zip(arrays, self._storages, strict=True)):
            if not isinstance(a, np.ndarray):
                raise TypeError(f"argument {j} must be a numpy.ndarray, got {type(a).__name__}")
            if a.dtype != s.numpy or not a.dtype.isnative:
                raise TypeError(f"argument {j} must have dtype {s.name}, got {a.dtype}")

    def _check_count(self, arguments: Sequence[Any]) -> None:
        wanted = self.n_outputs + self.n_inputs + self.n_scalars
        if len(arguments) != wanted:
            raise TypeError(
                f"expected {self.n_outputs} outputs, {self.n_inputs} inputs and {self.n_scalars} scalars, "
                f"got {len(arguments)} arguments"
            )

    @staticmethod
    def _check_writeable(a: Array) -> None:
        if not a.flags.writeable:
            raise ValueError(f"an output of shape {a.shape} is read-only")

    def _pack_scalars(self, values: Sequence[Any]) -> Array:
        packed = np.zeros(max(1, len(values)), np.int64)
        for i, (value, type) in enumerate(zip(values, self._scalars, strict=True)):
            if type.kind == "f":
                packed[i : i + 1].view(np.float64)[0] = float(value)
            else:
                packed[i] = int(value)
        return packed

    def _prepare(self, arrays: Sequence[Any]) -> list[Array]:
        """The arrays of one set, checked, with inputs copied where they must be."""
        self._check_types(arrays)
        used = list(arrays)
        size = arrays[0].size
        for j, a in enumerate(arrays):
            if a.size != size:
                raise ValueError(
                    f"arrays of one call must have one size: argument 0 has {size} elements, argument {j} "
                    f"has {a.size}"
                )
            if j < self.n_outputs:
                self._check_writeable(a)
                if not (a.flags.c_contiguous and a.flags.aligned):
                    raise ValueError(
                        f"output {j} of shape {a.shape} and strides {a.strides} is not contiguous"
                    )
            elif not (a.flags.c_contiguous and a.flags.aligned):
                used[j] = np.ascontiguousarray(a).copy() if not a.flags.aligned else np.ascontiguousarray(a)
        for i in range(self.n_outputs):
            for j in range(i + 1, len(arrays)):
                if not size or not np.may_share_memory(used[i], used[j]):
                    continue
                if j < self.n_outputs:
                    raise ValueError(f"outputs {i} and {j} share memory")
                same_place = used[i].ctypes.data == used[j].ctypes.data
                if not (same_place and used[i].itemsize == used[j].itemsize):
                    used[j] = used[j].copy()
        return used

    def _contiguous_slowly(self, *arguments: Any) -> None:
        self._check_count(arguments)
        count = self.n_outputs + self.n_inputs
        scalars = self._pack_scalars(arguments[count:])
        used = self._prepare(arguments[:count])
        pointers = np.array([a.ctypes.data for a in used], np.uint64)
        n, grain = used[0].size, int(self._words[launch.GRAIN])
        if n <= self._words[launch.SERIAL]:
            grain = max(n, 1)
        self._run(self._descriptor.kernel, pointers.ctypes.data, scalars.ctypes.data, n, grain)

    def _table_slowly(self, *arguments: Any) -> None:
        self._check_count(arguments)
        count = self.n_outputs + self.n_inputs
        scalars = self._pack_scalars(arguments[count:])
        columns = [list(c) for c in arguments[:count]]
        if len({len(c) for c in columns}) > 1:
            raise ValueError(f"the lists of a table must have one length, got {[len(c) for c in columns]}")
        sets = [self._prepare(row) for row in zip(*columns, strict=True)]
        rows = np.zeros((len(sets), count + 2), np.int64)
        blocks = 0
        for row, used in zip(rows, sets, strict=True):
            row[:2] = used[0].size, blocks
            row[2:] = [a.ctypes.data for a in used]
            blocks += -(-used[0].size // launch.BLOCK)
        grain = max(1, int(self._words[launch.GRAIN]) // launch.BLOCK)
        self._run_table(
            self._descriptor.kernel,
            rows.ctypes.data,
            scalars.ctypes.data,
            count + 2,
            len(sets),
            blocks,
            grain,
        )

    def _strided_slowly(self, words: Array, *arguments: Any) -> None:
        self._check_count(arguments)
        count = self.n_outputs + self.n_inputs
        arrays = arguments[:count]
        scalars = self._pack_scalars(arguments[count:])
        self._check_types(arrays)
        for a in arrays[: self.n_outputs]:
            self._check_writeable(a)
        overlapping = False
        for i in range(self.n_outputs):
            for j in range(i + 1, count):
                if np.may_share_memory(arrays[i], arrays[j]):
                    if j < self.n_outputs:
                        raise ValueError(f"outputs {i} and {j} share memory")
                    same = arrays[i].ctypes.data == arrays[j].ctypes.data
                    alike = arrays[i].strides == arrays[j].strides and arrays[i].shape == arrays[j].shape
                    overlapping = overlapping or not (same and alike and arrays[i].dtype == arrays[j].dtype)
        if overlapping or not all(a.flags.aligned for a in arrays):
            self._dense(Plan(None, (), tuple(range(count))), arrays, arguments[count:])
            return
        pointers = np.array([a.ctypes.data for a in arrays], np.uint64)
        self._run_strided(words.ctypes.data, pointers.ctypes.data, scalars.ctypes.data)
