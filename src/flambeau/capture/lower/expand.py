"""Softmax, standardisation, norms and the like, with their gradients, as reductions and elementwise operations.

So they become part of the kernels around them: a layer norm with its weight, bias and the residual before it is one
pass over memory, and what nobody wants (the normalised values, where only a gradient is asked for) is not computed.
Only what becomes rows of a kernel is written out: floats in C order, over the last dims.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..graph import Graph, Instr, Scalar, Value, operation
from .elements import BOOL, F32, F64

__all__ = ["expand"]


class Writer:
    """Appends operations over the last dims of one shape."""

    def __init__(self, graph: Graph, instr: Instr, dims: int, numbers: dict[float, Scalar]) -> None:
        self.graph, self.instr, self.numbers = graph, instr, numbers
        self.shape = instr.values()[0].shape
        self.dtype = instr.values()[0].dtype
        self.lead = self.shape[: len(self.shape) - dims]
        self.kept = self.lead + (1,) * dims
        self.dims = tuple(range(len(self.lead), len(self.shape)))

    def number(self, value: float) -> Any:
        """A number that machine code reads like one of the program's, so that it serves all sizes."""
        value = float(value)
        if value not in self.numbers:
            self.numbers[value] = self.graph.scalar(float, value)
        return self.numbers[value]

    def add(self, name: str, args: Sequence[Any], shape: tuple[int, ...], /, **params: Any) -> Value:
        meta = shape, self.dtype, _dense(shape, self.dtype.itemsize)
        return self.graph.add(operation(name), args, params, [meta], self.instr.place).out

    def total(self, x: Value, name: str = "sum") -> Value:
        """One number for each row, with the reduced dims kept."""
        return self.add(
            "reshape", [self.add(name, [x], self.lead, dims=self.dims)], self.kept, shape=self.kept
        )

    def each(self, name: str, *args: Any) -> Value:
        """Elementwise; of the full shape if an argument is."""
        full = any(type(a) is Value and a.shape == self.shape for a in args)
        return self.add(name, args, self.shape if full else self.kept)

    def mean(self, x: Value) -> Value:
        return self.each("div", self.total(x), self.number(math.prod(self.shape[len(self.lead) :])))

    def scale(self, var: Value, eps: float) -> Value:
        return self.each("rsqrt", self.each("add", var, self.number(eps)))


def _dense(shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    strides = []
    for n in reversed(shape):
        strides.append(item)
        item *= max(n, 1)
    return tuple(strides[::-1])


def _softmax(w: Writer, x: Value) -> list[Value]:
    e = w.each("exp", w.each("sub", x, w.total(x, "amax")))
    return [w.each("mul", e, w.each("reciprocal", w.total(e)))]


def _log_softmax(w: Writer, x: Value) -> list[Value]:
    z = w.each("sub", x, w.total(x, "amax"))
    return [w.each("sub", z, w.each("log", w.total(w.each("exp", z))))]


def _softmax_grad(w: Writer, g: Value, y: Value) -> list[Value]:
    return [w.each("mul", w.each("sub", g, w.total(w.each("mul", g, y))), y)]


def _log_softmax_grad(w: Writer, g: Value, y: Value) -> list[Value]:
    return [w.each("sub", g, w.each("mul", w.each("exp", y), w.total(g)))]


def _standardize(w: Writer, x: Value) -> list[Value]:
    mean = w.mean(x)
    centred = w.each("sub", x, mean)
    var = w.mean(w.each("mul", centred, centred))
    return [w.each("mul", centred, w.scale(var, w.instr.params["eps"])), mean, var]


def _standardize_grad(w: Writer, g: Value, x: Value, mean: Value, var: Value) -> list[Value]:
    scale = w.scale(var, w.instr.params["eps"])
    y = w.each("mul", w.each("sub", x, mean), scale)
    share = w.mean(w.each("mul", g, y))
    level = w.each("sub", g, w.mean(g))
    return [w.each("mul", w.each("sub", level, w.each("mul", y, share)), scale)]


def _variance(w: Writer, x: Value) -> list[Value]:
    centred = w.each("sub", x, w.mean(x))
    squares = w.add("sum", [w.each("mul", centred, centred)], w.lead, dims=w.dims)
    n = math.prod(w.shape[len(w.lead) :])
    return [w.add("div", [squares, w.number(max(n - w.instr.params["correction"], 0))], w.lead)]


def _norm2(w: Writer, x: Value) -> list[Value]:
    squares = w.add("sum", [w.each("mul", x, x)], w.lead, dims=w.dims)
    return [w.add("sqrt", [squares], w.lead)]


def _logsumexp(w: Writer, x: Value) -> list[Value]:
    top = w.total(x, "amax")
    # Infinite maxima are not subtracted: infinity minus infinity would be NaN.
    mask = w.graph.add(
        operation("isfinite"), [top], {}, [(w.kept, BOOL, _dense(w.kept, 1))], w.instr.place
    ).out
    shift = w.add("where", [mask, top, 0.0], w.kept)
    total = w.each("log", w.total(w.each("exp", w.each("sub", x, shift))))
    return [w.add("reshape", [w.each("add", total, shift)], w.lead, shape=w.lead)]


FORMS: dict[str, Callable[..., list[Value]]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softmax_grad": _softmax_grad,
    "log_softmax_grad": _log_softmax_grad,
    "standardize": _standardize,
    "standardize_grad": _standardize_grad,
    "variance": _variance,
    "norm2": _norm2,
    "logsumexp": _logsumexp,
}


def row_dims(instr: Instr) -> int:
    """How many of the last dims are the row of an operation that can be written out, else 0."""
    if instr.op.name not in FORMS:
        return 0
    values = instr.values()
    first = values[0]
    dims = instr.params["dims"] if "dims" in instr.params else (instr.params["dim"],)
    n = len(first.shape)
    if (
        not dims
        or tuple(dims) != tuple(range(n - len(dims), n))
        or first.dtype not in (F32, F64)
        or len(values) != len(instr.args)
        or any(not v.contiguous or v.dtype != first.dtype for v in (*values, *instr.outs))
        or first.size == 0
        or math.prod(first.shape[n - len(dims) :]) < 2
    ):
        return 0
    lead = first.shape[: n - len(dims)]
    shapes = (first.shape, lead, lead + (1,) * len(dims))
    return len(dims) if all(v.shape in shapes for v in (*values, *instr.outs)) else 0


def expand(graph: Graph) -> Graph:
    """An equal graph in which those operations over rows are written out."""
    if not any(row_dims(i) for i in graph.instrs):
        return graph
    result = Graph()
    result.inputs, result.scalars, result.count = graph.inputs, list(graph.scalars), graph.count
    instead: dict[Value, Value] = {}
    numbers: dict[float, Scalar] = {}
    for instr in graph.instrs:
        args = tuple([instead.get(a, a) if type(a) is Value else a for a in instr.args])
        dims = row_dims(instr)
        if dims:
            made = FORMS[instr.op.name](Writer(result, instr, dims, numbers), *args)
            instead.update(zip(instr.outs, made))
            continue
        if args != instr.args:
            instr = instr.replaced(args)
        result.instrs.append(instr)
    result.outputs = [instead.get(v, v) for v in graph.outputs]
    return result
