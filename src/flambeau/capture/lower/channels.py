"""Batch norm in one operation: its moments, what they normalise, and a relu behind it that alone reads it.

The three as they come are three passes over memory; together, a channel stays in a thread's cache.
"""

from __future__ import annotations

from ..graph import Graph, Instr, Value, operation

__all__ = ["join_channels"]


def join_channels(graph: Graph) -> Graph:
    """The same graph, changed where it has batch norms whose moments are those of their input."""
    if not any(i.op.name == "batch_norm" for i in graph.instrs):
        return graph
    users, outputs = graph.users(), set(graph.outputs)
    position = {instr: n for n, instr in enumerate(graph.instrs)}
    gone: set[Instr] = set()
    instead: dict[Instr, Instr] = {}
    for instr in graph.instrs:
        first = _moments(instr)
        if first is None or not all(_known(v, position, first) for v in instr.args[:3]):
            continue
        readers = users[instr.out]
        last = instr
        if len(readers) == 1 and readers[0].op.name == "relu" and instr.out not in outputs:
            last = readers[0]
        if not last.out.contiguous:
            continue
        bias, x, weight = instr.args[:3]
        params = {**instr.params, "relu": last is not instr}
        whole = Instr(operation("batch_norm_whole"), (bias, x, weight), params, instr.place)
        whole.outs = (last.out, *first.outs)
        for v in whole.outs:
            v.producer = whole
        instead[first], position[whole] = whole, position[first]
        gone |= {instr, last}
    graph.instrs = [instead.get(i, i) for i in graph.instrs if i not in gone]
    return graph


def _moments(instr: Instr) -> Instr | None:
    """What makes the moments that a batch norm is given, if they are its input's."""
    if instr.op.name != "batch_norm":
        return None
    _, x, _, mean, var = instr.args
    first = mean.producer if type(mean) is Value else None
    if (
        first is None
        or first.op.name != "batch_moments"
        or first.outs != (mean, var)
        or first.args[0] is not x
    ):
        return None
    return first


def _known(v: object, position: dict[Instr, int], when: Instr) -> bool:
    """Whether a value is there already when an instruction runs."""
    return type(v) is Value and (
        v.producer is None or position.get(v.producer, len(position)) < position[when]
    )
