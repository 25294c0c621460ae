"""Passes over the graph itself: what nobody wants goes, what is computed twice is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Graph, Instr, Scalar, Value
from ..trie import freeze
from .elements import is_elementwise

__all__ = ["needed", "simplify"]


def needed(graph: Graph) -> list[Instr]:
    """The instructions that the outputs depend on, in order."""
    wanted = set(graph.outputs)
    kept = []
    for instr in reversed(graph.instrs):
        if any(v in wanted for v in instr.outs):
            kept.append(instr)
            wanted.update(instr.values())
    return kept[::-1]


def simplify(graph: Graph) -> Graph:
    """An equal graph without unneeded and repeated instructions; copies nobody can tell from the original are dropped.

    Two outputs never become one array, and an output never becomes an input.
    """
    result = Graph()
    result.inputs, result.scalars, result.count = graph.inputs, graph.scalars, graph.count
    known: dict[Any, Instr] = {}
    same: dict[Value, Value] = {}
    outputs = set(graph.outputs)
    for instr in needed(graph):
        args = tuple([same.get(a, a) if type(a) is Value else a for a in instr.args])
        if is_elementwise(instr):
            args = unexpanded(instr, args)
        if instr.op.name == "clone" and instr.out not in outputs and args[0].strides == instr.out.strides:
            same[instr.out] = args[0]
            continue
        key = signature(instr, args)
        first = known.get(key) if key is not None else None
        if first is not None and not any(v in outputs for v in (*instr.outs, *first.outs)):
            same.update(zip(instr.outs, first.outs))
            continue
        if args != instr.args:
            instr = instr.replaced(args)
        instr = unreshaped(instr)
        if key is not None:
            known[key] = instr
        result.instrs.append(instr)
    result.outputs = graph.outputs
    result.instrs = needed(result)
    return result


def unexpanded(instr: Instr, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of an elementwise operation before they were expanded: it broadcasts them itself."""
    found = tuple([origin(a) if type(a) is Value else a for a in args])
    if found == args:
        return args
    shapes = [a.shape for a in found if type(a) is Value]
    return found if np.broadcast_shapes(*shapes) == instr.out.shape else args


def unreshaped(instr: Instr) -> Instr:
    """A sum over leading dims that were flattened for it, as a sum over those dims: in the shape of the kernel before."""
    if instr.op.name != "sum" or not instr.params["dims"]:
        return instr
    (x,) = instr.values()
    if x.producer is None or x.producer.op.name != "reshape":
        return instr
    (y,) = x.producer.values()
    if y.producer is None or not is_elementwise(y.producer):
        return instr
    n = len(instr.params["dims"])
    rest = x.shape[n:]
    m = len(y.shape) - len(rest)
    if (
        not rest
        or m < 1
        or tuple(sorted(instr.params["dims"])) != tuple(range(n))
        or y.shape[m:] != rest
        or not (x.contiguous and y.contiguous)
    ):
        return instr
    return instr.replaced((y,), {**instr.params, "dims": tuple(range(m))})


def origin(v: Value) -> Value:
    """What a value was expanded from; of a single element, what it is a view of."""
    while v.producer is not None:
        name = v.producer.op.name
        if name != "expand" and not (name == "reshape" and v.size == 1):
            break
        (v,) = v.producer.values()
    return v


def signature(instr: Instr, args: tuple[Any, ...]) -> Any:
    """A hashable that equal computations share, or None."""
    if instr.op.family == "random":
        return None
    try:
        params = tuple([(k, freeze(v)) for k, v in sorted(instr.params.items())])
        parts = [a if type(a) in (Value, Scalar) else ("=", freeze(a)) for a in args]
    except TypeError:
        return None
    return (instr.op, *parts, params)
