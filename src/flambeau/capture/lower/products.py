"""Calls of generated products: alone, or with what is computed from them (`finished`); all sizes are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...compiler import gemm
from ...compiler.gemm import Schedule
from ...compiler.product_finish import Finish, Start
from ...compiler.types import COMPUTE, UnsupportedError, storage
from ...prims.products import FEW, WORTH
from ...runtime.threads import get_num_threads
from ..graph import Instr, Value
from .elements import element
from .finished import factors, level, parts
from .groups import Group
from .kernels import COUNTS, Interface, lane

if TYPE_CHECKING:
    from . import Emitter

__all__ = ["about_finished", "emit_finished", "emit_product", "is_generated"]

_finishes: dict[str, Finish] = {}
_starts: dict[str, Start] = {}


def _ways(
    instr: Instr, finish: Finish | None, schedule: Schedule, start: Start | None = None
) -> Callable[[], gemm.Prepared]:
    """A function that gives the product for the present number of threads."""
    found = factors(instr)
    assert found is not None
    dtype, biased = instr.out.dtype.name, finish is None and len(instr.args) > 2
    ways: dict[int, gemm.Prepared] = {}

    def way() -> gemm.Prepared:
        threads = get_num_threads()
        known = ways.get(threads)
        if known is None:
            known = gemm.prepared(dtype, *found, threads, finish, schedule, biased=biased, start=start)
            ways[threads] = known
        return known

    if way().copied[1] and instr.op.name == "linear":
        raise UnsupportedError("weights have neither contiguous rows nor columns")
    return way


def is_generated(instr: Instr) -> bool:
    """Whether eager execution computes a product by generated code, too."""
    found = factors(instr)
    if found is None or found.work < WORTH:
        return False
    return found.a_shape[2] > 1 and found.b_shape[2] >= FEW and found.a_shape[1] >= FEW


def emit_product(emitter: Emitter, instr: Instr) -> None:
    """A product alone."""
    way = _ways(instr, None, emitter.choice.schedule)

    def run(out: Any, a: Any, b: Any, bias: Any = None) -> None:
        way()(a, b, (), out, bias)

    run.__name__ = instr.op.name  # what a profiler shows
    for v in instr.values():
        emitter.need(v)
    emitter.lines.append(f"{emitter.name(instr.out)} = {emitter.allocate(instr.out)}")
    arguments = [emitter.name(v) for v in (instr.out, *instr.values())]
    emitter.lines.append(f"{emitter.constant('f', run)}({', '.join(arguments)})")
    emitter.made.add(instr.out)


class _Parts:
    """What a group of kind ``product`` reads and writes."""

    def __init__(self, group: Group, wanted: set[Value]) -> None:
        self.parts = parts(group)
        self.product, self.views, self.points = self.parts.product, self.parts.views, self.parts.points
        self.dtype = self.product.out.dtype
        kernel = Group("points", group.shape, group.index)
        kernel.instrs = self.points
        self.face = Interface(kernel, wanted)
        self.own = {self.product.out, *(i.out for i in self.views)}  # the product, in several shapes
        self.kept = any(v in wanted for v in self.own)
        self.others = [v for v in self.face.inputs if v not in self.own]
        self.levels = [level(v, group.shape) or "?" for v in self.others]
        self.bias = self.product.args[2:]
        self.outputs = [*([self.product.out] if self.kept else []), *self.face.outputs]
        self.before: Interface | None = None
        if self.parts.starts:
            first = Group("points", self.parts.first.shape, group.index)
            first.instrs = self.parts.starts
            self.before = Interface(first, {self.parts.first})

    def name(self) -> str:
        """The text that what is computed from the product is found by."""
        levels = dict(zip(self.others, self.levels))
        kinds = [levels.get(v, "product") for v in self.face.inputs]
        return f"{self.face.name(kinds)}|{self.dtype.char}|{self.kept}|{bool(self.bias)}"

    def start_name(self) -> str:
        """The text that what is computed before it is found by."""
        face = self.before
        if face is None:
            return ""
        return f"{face.name([level(v, face.group.shape) or '?' for v in face.inputs])}|{self.dtype.char}"

    def start(self) -> Start | None:
        """How the first factor is computed, if it is."""
        face, name = self.before, self.start_name()
        if face is None:
            return None
        found = _starts.get(name)
        if found is not None:
            COUNTS["found"] += 1
            return found
        first = self.parts.first

        def body(k: Any, *lanes: Any) -> Any:
            env: dict[Any, Any] = dict(zip([*face.inputs, *face.scalars], lanes))
            for instr in face.group.instrs:
                env[instr.out] = element(k, instr, [lane(k, env, a) for a in instr.args])
            return env[first]

        levels = [level(v, face.group.shape) or "?" for v in face.inputs]
        COUNTS["kernels"] += 1
        inputs = tuple([(storage(v.dtype), at) for v, at in zip(face.inputs, levels)])
        _starts[name] = Start(body, inputs, tuple([COMPUTE[t] for t in face.types]))
        return _starts[name]

    def finish(self) -> Finish | None:
        """What is computed from the product, if something is."""
        if not self.points:
            return None
        name = self.name()
        found = _finishes.get(name)
        if found is not None:
            COUNTS["found"] += 1
            return found
        face, kept, own, others, biased = self.face, self.kept, self.own, self.others, bool(self.bias)

        def body(k: Any, x: Any, *lanes: Any) -> Any:
            rest = list(lanes)
            if biased:
                x = x + rest.pop(0)
            env: dict[Any, Any] = dict(zip([*others, *face.scalars], rest))
            env.update((v, x) for v in own)
            for instr in face.group.instrs:
                env[instr.out] = element(k, instr, [lane(k, env, a) for a in instr.args])
            return tuple([*([x] if kept else []), *[env[v] for v in face.outputs]])

        inputs = [(storage(v.dtype), at) for v, at in zip(others, self.levels)]
        if biased:
            inputs.insert(0, (storage(self.dtype), "shared"))
        COUNTS["kernels"] += 1
        _finishes[name] = Finish(
            body,
            tuple([storage(v.dtype) for v in self.outputs]),
            tuple(inputs),
            tuple([COMPUTE[t] for t in face.types]),
        )
        return _finishes[name]


def about_finished(group: Group, wanted: set[Value]) -> str:
    """What a product with its kernel computes, without its layouts."""
    p = _Parts(group, wanted)
    return f"{p.product.op.name}, {p.name()} {list(group.shape)} {p.start_name()}"


def emit_finished(emitter: Emitter, group: Group, wanted: set[Value]) -> None:
    """A product with what is computed from it.

    Raises: UnsupportedError, CompileError and others, before anything is written, if there is no such kernel.
    """
    p = _Parts(group, wanted)
    if not p.outputs or (p.points and not p.face.outputs):
        raise UnsupportedError("nothing of it is wanted")
    product, outputs, before = p.product, p.outputs, p.before
    finish = p.finish()
    way = _ways(product, finish, emitter.choice.schedule, p.start())
    home = next((i for i, v in enumerate(outputs) if v.dtype == p.dtype), -1)

    def run(a: Any, b: Any, outs: Sequence[Any], inputs: Sequence[Any], numbers: Sequence[Any]) -> None:
        way()(a, b, outs, outs[home] if home >= 0 else None, None, inputs, numbers)

    def run_alone(
        a: Any, b: Any, outs: Sequence[Any], inputs: Sequence[Any], numbers: Sequence[Any], bias: Any = None
    ) -> None:
        way()(a, b, (), outs[0], bias, inputs, numbers)

    a, b = product.args[:2]
    inputs, numbers = [*p.others], [*p.face.scalars]
    if before is not None:
        a = b  # any array: it is not read
        inputs, numbers = [*inputs, *before.inputs], [*numbers, *before.scalars]
    if finish is not None:
        inputs = [*p.bias, *inputs]
    for v in (a, b, *inputs, *p.bias):
        emitter.need(v)
    for v in outputs:
        emitter.lines.append(f"{emitter.name(v)} = {emitter.allocate(v)}")
        emitter.made.add(v)
    lists = [[emitter.name(v) for v in values] for values in (outputs, inputs, numbers)]
    texts = ["(" + "".join(f"{name}, " for name in names) + ")" for names in lists]
    arguments = [emitter.name(a), emitter.name(b), *texts]
    called = run if finish is not None else run_alone
    if finish is None:
        arguments += [emitter.name(v) for v in p.bias]
    called.__name__ = f"kernel {product.op.name}"  # what a profiler shows
    emitter.lines.append(f"{emitter.constant('f', called)}({', '.join(arguments)})")
    for instr in p.views:
        if instr.out in wanted:
            emitter.call(instr)
    text = f"{product.op.name} over {product.args[0].shape[-1]}"
    if before is not None:
        text = f"{' '.join(i.op.name for i in p.parts.starts)} while it is read, {text}"
    if p.points:
        kept = ", the product is kept" if p.kept else ""
        text += f", then {' '.join(i.op.name for i in p.points)} in the cache{kept}"
    arrays = {a, b, *inputs, *p.bias}
    moved = sum(v.nbytes for v in (*arrays, *outputs))
    reason = f"; {group.reason}" if group.reason else ""
    emitter.notes.append(
        f"product kernel {list(group.shape)}: {text}; reads {len(arrays)} arrays, writes {len(outputs)}, "
        f"{moved} bytes{reason}"
    )
