"""The recorder: what eager execution is replaced by while a compiled function runs.

It stands below every transform and below the tape, so all of those work as in eager mode, and see their operations
noted instead of run.  A *segment* is what is noted between two flushes.  In a segment that was seen before, results
are promises (`Pending`) and the flush runs one program.  A new operation ends that: from there on operations run as
they come, and are noted for the next time.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.eager import complain, eager, raw
from ..core.elementwise import WIDE_NUMBERS, light_node
from ..core.op import REGISTRY, Op, bind
from ..core.pending import Pending, resolve
from ..core.state import tls
from ..core.tape import record
from ..core.tensor import Tensor, make_view, new_object, storage, wrap
from ..core.where import describe, user_place
from . import recompute as recomputing
from .graph import Graph, Scalar, Value
from .program import WATCHERS, Program, interpret
from .recompute import EXTRA, KEPT, Recipe, who_wants
from .treatment import CONSTANTS, WHOLE, shares, waits
from .trie import CONSTANT, INPUT, NEW, NONE, NUMBER, RESULT, Root, Step, freeze

__all__ = ["CannotReplay", "Recorder", "Statistics", "refusal"]

ndarray = np.ndarray
NUMBERS = frozenset((int, float, bool, complex))
WRITE = "memory is written"  # a flush that the program cannot notice, so that fullgraph allows it
LONGEST = 4000  # operations in a segment: a loop without end must not pile up memory
_treatments: dict[Op, Any] = {}
_sharing: dict[Op, bool] = {}


class CannotReplay(RuntimeError):
    """The function was compiled with mode="reduce-overhead" and cannot be replayed; nothing was changed yet."""


def refusal(reason: str) -> CannotReplay:
    """The exception for a function that cannot be replayed."""
    return CannotReplay(
        f"compile(mode='reduce-overhead') cannot replay this function: {reason}; "
        "the default mode can run it: there the Python runs on every call"
    )


class Statistics:
    """What a compiled function did: flushes, operations noted and seen before, programs made."""

    __slots__ = ("flushes", "hits", "misses", "at_once", "programs", "reasons")

    def __init__(self) -> None:
        self.flushes = self.hits = self.misses = self.at_once = self.programs = 0
        self.reasons: dict[str, int] = {}

    def note(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


class Segment:
    """What was noted since the last flush."""

    __slots__ = ("recorder", "step", "arrays", "places", "numbers", "results", "handles", "count", "cold")

    def __init__(self, recorder: Recorder) -> None:
        self.recorder: Recorder | None = recorder  # None when the compiled function has ended
        self.step: Step = recorder.root
        self.arrays: list[Any] = []  # inputs, in order of first use
        self.places: dict[
            int, int
        ] = {}  # id of an input array -> its number; the arrays above keep the ids valid
        self.numbers: list[Any] = []
        self.results: list[Pending] = []  # the promises, until they are kept
        self.handles: list[Any] = []  # weak references to the tensors that were given promises
        self.count = 0
        self.cold = False  # operations run as they come

    def compute(self, pending: Pending) -> None:
        """Called by a promise whose value is asked for."""
        recorder = self.recorder
        if recorder is None or recorder.segment is not self:
            return
        if threading.get_ident() == recorder.thread:
            recorder.flush("a value was read")
        elif pending.value is None:
            self.compute_beside(pending)

    def compute_beside(self, pending: Pending) -> None:
        """For another thread: one value, leaving the segment to its own thread."""
        step = self.step
        results = sum([len(s.metas) for s in step.path()])
        graph = step.graph(tuple([i == pending.slot for i in range(results)]))
        (pending.value,) = graph.run(self.arrays, self.numbers)


def _holders(results: list[Pending]) -> list[int]:
    return [sys.getrefcount(p) for p in results]


# What `_holders` says of a promise that only the segment holds; versions of Python differ.
_UNWANTED = _holders([new_object(Pending)])[0]


class Recorder:
    """Notes the operations of one thread while it is inside a compiled function."""

    def __init__(
        self,
        root: Root,
        make: Callable[[Graph], Program],
        statistics: Statistics,
        fullgraph: bool = False,
        watch: Callable[[tuple[Program, float]], Any] | None = None,
        whole: Any = None,
        recompute: str = "never",
    ) -> None:
        self.watch = watch
        self.whole = whole  # of a call that is to be replayed: everything must become one program
        self.recompute = recompute  # what is left to a backward pass outside: "auto", "never" or "always"
        self.made_again: dict[
            Recipe, dict[Value, Any]
        ] = {}  # in this segment, of what earlier programs left out
        self.root = root
        self.make = make
        self.statistics = statistics
        self.fullgraph = fullgraph
        self.thread = threading.get_ident()
        self.segment = Segment(self)

    # ---- operations ----

    def process(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """The tensors that stand for the results of `op`."""
        treatment = _treatments.get(op)
        if treatment is None:
            treatment = _treatments[op] = waits(op)
            _sharing[op] = shares(op)
        if not treatment and self.whole is not None and op.name in WHOLE:
            treatment = True
        segment = self.segment
        key: list[Any] = [op]
        real = True
        if treatment:
            for x in args:
                if isinstance(x, Tensor):
                    a = x._a
                    if type(a) is Pending:
                        if a.owner is not segment:
                            x._a = a = self.from_before(a)
                            if self.segment is not segment:
                                return self.process(op, args, params)
                        if type(a) is Pending:
                            real = False
                    if treatment == "floats" and a.dtype.kind not in "fcV":
                        treatment = False
                        break
                elif x is not None and type(x) not in NUMBERS:
                    treatment = False
                    break
        if treatment and real and op.is_view and self.whole is None:
            treatment = False  # a view of memory that exists: made now, it aliases as it should
        if treatment and params:
            try:
                key.append((*params, *[freeze(v) for v in params.values()]))
            except TypeError:
                treatment = False
        if (
            treatment
            and op.family == "factory"
            and self.whole is None
            and type(params["value"]) is not bool
            and params["value"] not in (0, 1)
        ):
            treatment = False  # a number of the program's: as an input, not as part of the sequence
        if not treatment:
            return self.at_once(op, args, params)
        if segment.count >= LONGEST:
            self.flush("the segment had grown to its limit")
            return self.process(op, args, params)
        places, arrays = segment.places, segment.arrays
        for x in args:
            if isinstance(x, Tensor):
                a = x._a
                if type(a) is Pending:
                    key.append(a.slot)
                else:
                    at = places.get(id(a))
                    if at is None:
                        places[id(a)] = len(arrays)
                        arrays.append(a)
                        key.append((a.shape, a.dtype, a.strides))
                    else:
                        key.append(~at)
            elif x is None:
                key.append(None)
            elif op.name in CONSTANTS:
                key.append(("=", freeze(x)))
            else:
                segment.numbers.append(x)
                key.append(type(x))
        name = tuple(key)
        step = segment.step.children.get(name)
        if step is None:
            return self.learn(op, args, params, name)
        if segment.cold:  # known from here on, but the values before were computed as they came
            segment.step = step
            return self.run_now(op, args, params, step)
        self.statistics.hits += 1
        slot = segment.count
        sharing = _sharing[op]
        promises, outs = [], []
        for shape, dtype, strides in step.metas:
            p = new_object(Pending)
            p.shape, p.dtype, p.strides = shape, dtype, strides
            p.value, p.owner, p.slot = None, segment, slot
            p.is_view, p.is_viewed = sharing, False
            promises.append(p)
            slot += 1
            outs.append(self.handle(p))
        # all or nothing, also where an interrupt comes: it would be raised at a call
        segment.results += promises
        segment.step, segment.count = step, slot
        if sharing:
            mark_viewed(args)
        return finish(op, args, params, outs[0] if op.n_out == 1 else tuple(outs))

    def again(self, op: Op, x: Any, y: Any) -> Tensor | None:
        """The result of an elementwise operation that comes where it came before, or None for the long way.

        `y` is `self` for operations of one argument.
        """
        segment = self.segment
        places = segment.places
        if segment.cold or segment.count >= LONGEST:
            return None
        number = False
        shape: Any = None
        nx = ny = None
        if isinstance(x, Tensor):
            a = x._a
            nx = x._node
            shape = a.shape
            if type(a) is Pending:
                if a.owner is not segment:
                    return None  # of an earlier program: its array is an input of this one
                key_x: Any = a.slot
            elif (key_x := ~places.get(id(a), -1)) == 0:
                return None  # ~(-1): an input not seen in this segment
        elif type(x) in NUMBERS:
            key_x = type(x)
            number = True
        else:
            return None
        if y is self:
            key: Any = (op, key_x)
        else:
            if isinstance(y, Tensor):
                b = y._a
                ny = y._node
                if type(b) is Pending:
                    if b.owner is not segment:
                        return None
                    key_y: Any = b.slot
                elif (key_y := ~places.get(id(b), -1)) == 0:
                    return None
                if shape is None:
                    shape = b.shape
                elif b.shape != shape:
                    shape = ()
            elif type(y) in NUMBERS and not number:
                key_y = type(y)
                number = True
            else:
                return None
            key = (op, key_x, key_y)
        step = segment.step.children.get(key)
        if step is None:
            return None
        meta = step.metas[0]
        tracked = (nx is not None or ny is not None) and op.differentiable and tls.grad
        if tracked and (meta[0] != shape or tls.saved_hooks or tls.anomaly is not None):
            return None
        if tls.inference:
            return None
        if number:
            n, d = (x, b.dtype) if type(x) in NUMBERS else (y, a.dtype)
            if d.itemsize == 2 and type(n) is float and d.kind in "fV":
                if op.name not in WIDE_NUMBERS or type(x) in NUMBERS:
                    n = float(d.type(n))  # as the long way does
        self.statistics.hits += 1
        p = new_object(Pending)
        p.shape, p.dtype, p.strides = meta
        p.value = None
        p.owner = segment
        p.slot = segment.count
        p.is_view = p.is_viewed = False
        t: Tensor = new_object(Tensor)
        t._a = p
        t._st = t._base = t._node = None
        segment.handles.append(weakref.ref(t))
        segment.results += (p,)  # as in `process`
        if number:
            segment.numbers += (n,)
        segment.step, segment.count = step, segment.count + 1
        if tracked:
            args = (x,) if y is self else (x, y)
            nexts = (nx,) if y is self else (nx, ny)
            plan = op.plan(tuple([n is not None for n in nexts]))
            if plan.rules:
                t._node = light_node(plan, nexts, args, t)
        return t

    def handle(self, payload: Any) -> Tensor:
        t: Tensor = new_object(Tensor)
        t._a = payload
        t._node = None
        t._st = None
        t._base = None
        self.segment.handles.append(weakref.ref(t))
        return t

    def at_once(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Run an operation that does not wait."""
        self.statistics.at_once += 1
        if self.whole is not None and not self.whole.allows(op, args):
            raise refusal(f"{op.name} runs at once at {describe(user_place(3))}")
        promised = [x for x in args if isinstance(x, Tensor) and type(x._a) is Pending]
        for x in promised:
            if x._a.owner is not self.segment:
                x._a = self.from_before(x._a)
        for x in promised:
            p = x._a
            if type(p) is Pending:
                if p.owner is self.segment:
                    self.flush(f"{op.name} runs at once")
                x._a = p.force()
        tls.capture = None
        try:
            result = eager(op, args, params)
        finally:
            tls.capture = self
        if self.whole is not None:
            self.whole.constant(result)
        return result

    def from_before(self, p: Pending) -> Any:
        """What an operation reads in the place of an earlier program's result.

        Its array, or if that program left it out, the promise of this one to compute it again.
        """
        recipe = p.owner
        if p.value is not None or type(recipe) is not Recipe:
            return p.force()
        keeping = recipe.keeping
        made = self.made_again.get(recipe)
        if made is None:
            made = self.made_again[recipe] = dict(zip(keeping.again.inputs, map(wrap, recipe.sources)))
        for instr in keeping.way(p.slot):
            if instr.out not in made:
                args = []
                for x in instr.args:
                    if type(x) is Value:
                        args.append(made[x])
                    else:
                        args.append(recipe.numbers[x.index] if type(x) is Scalar else x)
                made[instr.out] = self.process(instr.op, tuple(args), instr.params)
        return made[keeping.output(p.slot)]._a

    def drawing(self, name: str) -> None:
        """Numbers are about to be drawn without an operation, straight into memory of another layout.

        Raises: CannotReplay where that would have to be replayed.
        """
        if self.whole is not None:
            raise refusal(f"random_{name} runs at once at {describe(user_place(3))}")

    def learn(self, op: Op, args: tuple[Any, ...], params: dict[str, Any], name: Any) -> Any:
        """Run an operation that was not seen in this place before, and note it."""
        segment = self.segment
        if not segment.cold:
            self.run(segment, once=True)
            segment.cold = True
            segment.results = []
        refs: list[Any] = []
        for part, x in zip(name[1 + bool(params) :], args):
            if type(part) is int:
                refs.append((RESULT, part) if part >= 0 else (INPUT, ~part))
            elif type(part) is tuple:
                refs.append((CONSTANT, x) if part[0] == "=" else (NEW, part))
            elif part is None:
                refs.append((NONE, None))
            else:
                refs.append((NUMBER, part))
        step = Step(segment.step, op, tuple(refs), params, (), user_place(4))
        result = self.run_now(op, args, params, step)
        outs = (result,) if op.n_out == 1 else result
        step.metas = tuple([(o._a.shape, o._a.dtype, o._a.strides) for o in outs])
        segment.step.children[name] = step
        segment.step = step
        self.root.grown()
        self.statistics.misses += 1
        return result

    def run_now(self, op: Op, args: tuple[Any, ...], params: dict[str, Any], step: Step) -> Any:
        """Run a noted operation in a segment whose values are computed as they come."""
        segment = self.segment
        arrays = []
        for x in args:
            if isinstance(x, Tensor):
                a = x._a
                arrays.append(a.value if type(a) is Pending else a)
            else:
                arrays.append(x)
        try:
            result = op.impl(*arrays, **params)
        except Exception as e:
            result = complain(op, args, params, e)
        sharing = _sharing[op]
        if sharing:
            mark_viewed(args)
        outs = []
        for r in (result,) if op.n_out == 1 else result:
            p = new_object(Pending)
            a = r if type(r) is ndarray else np.asarray(r)
            p.shape, p.dtype, p.strides, p.value = a.shape, a.dtype, a.strides, a
            p.owner, p.slot, p.is_view, p.is_viewed = segment, segment.count, sharing, False
            segment.count += 1
            outs.append(self.handle(p))
        return finish(op, args, params, outs[0] if op.n_out == 1 else tuple(outs))

    # ---- flushing ----

    def end(self) -> None:
        """Back to eager execution.  Promises that nobody kept refer to their segment: no cycle with this may stay."""
        self.segment.recorder = None
        tls.end_capture()

    def flush(self, reason: str = "memory is written or shown", last: bool = False) -> None:
        """Keep the promises made so far; `last` says that the compiled function has ended.

        Raises: RuntimeError under fullgraph=True, unless `last`; what the operations raise.
        """
        segment = self.segment
        if not segment.count:
            return
        if self.whole is not None and not last:
            self.whole, what = None, "memory from outside is written" if reason == WRITE else reason
            raise refusal(f"{what} at {describe(user_place(2))}")
        if self.fullgraph and not last and reason != WRITE:
            raise RuntimeError(
                f"compile(fullgraph=True): {reason} at {describe(user_place(2))}, in the middle of the function; "
                "move it out of the compiled function, or compile without fullgraph"
            )
        self.segment = Segment(self)
        self.statistics.flushes += 1
        self.statistics.note("the function ended" if last else reason)
        self.made_again = {}
        if not segment.cold:
            self.run(segment, last=last)
        for ref in segment.handles:
            t = ref()
            if t is not None and type(t._a) is Pending and t._a.value is not None:
                t._a = t._a.value
        segment.arrays, segment.results, segment.handles = [], [], []
        self.root.prune()

    def run(self, segment: Segment, once: bool = False, last: bool = False) -> None:
        """Compute what was promised and is still wanted.

        `once`: the sequence goes on in a way not seen before, so next time it is part of a longer program.  Machine code
        for a beginning would be made for nothing.  `last`: what only the tape wants may be left to the backward pass.
        """
        results = segment.results
        if not results:
            return
        self.made_again = {}
        counts = _holders(results)
        wanted: tuple[int, ...] = tuple([n > _UNWANTED for n in counts])
        if True not in wanted:
            return
        step = segment.step
        if (
            last
            and self.recompute != "never"
            and any([wanted[i] for i in step.large_results(recomputing.LARGE)])
        ):
            tensors = [t for t in [ref() for ref in segment.handles] if t is not None]
            wanted = who_wants(results, [n - _UNWANTED for n in counts], tensors)
        program = step.programs.get(wanted)
        if program is None and once:
            program = interpret(step.graph(wanted))
        elif program is None:
            program = step.programs[wanted] = self.program(step, wanted)
            self.statistics.programs += 1
        if WATCHERS:
            values = iter(program.run_watched(*WATCHERS[-1], segment.arrays, segment.numbers))
        elif self.watch is None:
            values = iter(program.run(segment.arrays, segment.numbers))
        else:
            start = time.perf_counter()
            values = iter(program.run(segment.arrays, segment.numbers))
            self.watch((program, time.perf_counter() - start))
        keeping = program.keeping
        given = [p for p, want in zip(results, wanted) if want]
        if keeping is not None:
            given = [results[i] for i in keeping.given]
        for p, a in zip(given, values):  # in this order: what is left of `values` comes after
            if p.value is not None:  # another thread was faster
                continue
            if a.shape != p.shape or a.dtype != p.dtype:
                raise RuntimeError(
                    f"compile: a result has shape {list(a.shape)} and dtype {a.dtype}, where {list(p.shape)} and "
                    f"{p.dtype} were expected; its shape depends on values, which is a defect: please report it"
                )
            p.value = a
        if keeping is not None:
            sources = [next(values) if i == EXTRA else results[i].value for i in keeping.copied]
            recipe = Recipe(keeping, sources, segment.numbers)
            for i in keeping.slots:
                results[i].owner = recipe

    def program(self, step: Step, wanted: tuple[int, ...]) -> Program:
        """The program for the way to `step`, with the results that are wanted."""
        if KEPT not in wanted:
            return self.make(step.graph(wanted))
        from .keeping import plan

        graph = step.graph((True,) * len(wanted))
        keeping = plan(graph, wanted, self.recompute == "always", self.make)
        program = self.make(graph)
        program.keeping = keeping
        return program

    # ---- in-place ----

    def flush_to_write(self) -> None:
        """Run what reads memory as it is, before it is written."""
        self.flush(WRITE)

    def alone(self, t: Tensor) -> bool:
        """Whether writing to `t` may give it new memory instead: no other tensor, view or array can tell.

        The references to the payload are counted: any other handle, saved value or NumPy alias is one more.
        """
        a = t._a
        if self.whole is not None and type(a) is not Pending:
            self.whole = None
            raise refusal(f"memory from outside is written at {describe(user_place(2))}")
        if t._base is not None:
            return False
        st = t._st
        if st is not None and st.views is not None and any([ref() is not None for ref in st.views]):
            return False
        segment = self.segment
        if type(a) is Pending:
            if a.owner is segment:
                return (
                    not a.is_view and not a.is_viewed and sys.getrefcount(a) <= _UNWANTED + (not segment.cold)
                )
            if a.value is None:
                return False
            a = resolve(t)
        noted = id(a) in segment.places
        return type(a) is ndarray and a.base is None and sys.getrefcount(a) <= _UNWANTED + noted

    def sole(self, p: Pending) -> bool:
        """Whether one tensor, the caller's, holds this promise, and its memory will be its own."""
        segment = self.segment
        # held by: the segment (unless cold), the tensor, the caller's and our name, the argument
        return (
            p.owner is segment
            and not p.is_view
            and not p.is_viewed
            and sys.getrefcount(p) <= 4 + (not segment.cold)
            and p.flags.c_contiguous
        )

    def rebind(self, t: Tensor, new: Tensor, copy: bool) -> None:
        """Give `t`, which is `alone`, the values of `new` in new memory of the same layout."""
        strides = t._a.strides
        b = new._a
        # held by: the segment (unless cold), `new`, the local name, the argument
        if (
            copy
            or type(b) is not Pending
            or b.owner is not self.segment
            or b.is_view
            or b.is_viewed
            or b.strides != strides
            or sys.getrefcount(b) > 3 + (not self.segment.cold)
        ):
            b = bind(REGISTRY["clone"], (new,), {})._a
        if type(b) is not Pending or b.strides != strides:
            self.flush(WRITE)
            fresh = dense_like(t._a)
            np.copyto(fresh, raw(new), casting="unsafe")
            t._a = fresh
            return
        t._a = b
        self.segment.handles.append(weakref.ref(t))


def dense_like(a: Any) -> Any:
    """New memory with the shape, dtype and strides of an array that has no gaps."""
    memory = np.empty(a.size, a.dtype)
    try:
        return np.ndarray(a.shape, a.dtype, memory, 0, a.strides)
    except ValueError:  # it has gaps
        return memory.reshape(a.shape)


def mark_viewed(args: tuple[Any, ...]) -> None:
    """The results of an operation may share memory with these."""
    for x in args:
        if isinstance(x, Tensor) and type(x._a) is Pending:
            x._a.is_viewed = True


def finish(op: Op, args: tuple[Any, ...], params: dict[str, Any], out: Any) -> Any:
    """What eager execution does once the results are there: view, tape, inference mode."""
    if op.is_view:
        make_view(out, args[0], op, params)
    if tls.grad and op.differentiable:
        for x in args:
            if isinstance(x, Tensor) and x._node is not None:
                record(op, args, params, out)
                return out
    if tls.inference and not op.is_view:
        for t in (out,) if op.n_out == 1 else out:
            storage(t).inference = True
    return out
