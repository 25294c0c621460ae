"""The transforms as interpreters: batching (VMap), forward mode (JVP) and reverse mode (Tape).

Each wraps payloads in a value of its own and lowers to the interpreter below it on the stack; context decides which
interpreter runs, never the argument types.  Everything made while an interpreter is on top is wrapped by it, also
when it depends on no input: that is how an in-place write knows whether its target belongs to the transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .op import Op, bind
from .state import NO_GRAD, RECORD, SPECIAL, tls
from .tape import AccumulateGrad, Node, OutNode, make_node, next_seq
from .tensor import Tensor, make_view, new_object, wrap
from .where import describe, user_place


class Value:
    """Base of interpreter payloads."""

    __slots__ = ("inner", "interp")
    __array_ufunc__ = None  # a leaked tensor must fail in NumPy, not be treated as an object array
    inner: Tensor
    interp: Interpreter

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner._a.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        return self.inner._a.dtype

    @property
    def size(self) -> int:
        n = 1
        for s in self.shape:
            n *= s
        return n

    def history(self) -> Any:
        """The autograd node at the innermost tape that knows this value."""
        inner = self.inner
        return inner._node if not isinstance(inner._a, Value) else inner._a.history()


class Batched(Value):
    """A value with a batch dim in front (or none, when it does not depend on the mapped inputs)."""

    __slots__ = ("batched",)

    def __init__(self, inner: Tensor, batched: bool, interp: VMap) -> None:
        self.inner = inner
        self.batched = batched
        self.interp = interp

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.inner._a.shape
        return shape[1:] if self.batched else shape


class Dual(Value):
    """A primal with its tangent (None: zero)."""

    __slots__ = ("tangent",)

    def __init__(self, inner: Tensor, tangent: Tensor | None, interp: JVP) -> None:
        self.inner = inner
        self.tangent = tangent
        self.interp = interp


class Taped(Value):
    """A value on a functional tape, with its node (None: constant)."""

    __slots__ = ("node",)

    def __init__(self, inner: Tensor, node: Any, interp: Tape) -> None:
        self.inner = inner
        self.node = node
        self.interp = interp

    def history(self) -> Any:
        return self.node if self.node is not None else Value.history(self)


class Interpreter:
    """A level on the stack."""

    name = "transform"

    def __init__(self) -> None:
        self.outer_grad = tls.grad  # grad mode outside, in force whenever we lower
        self.outer_hooks: list[Any] = []
        self.level = len(tls.stack) + 1

    def __repr__(self) -> str:
        return self.name

    def __enter__(self) -> Any:
        self.outer_grad = tls.grad
        try:
            tls.stack.append(self)
            tls.grad = True
            tls.refresh()
        except BaseException:
            self.leave(True)
            raise
        return self

    def __exit__(self, *exc: Any) -> None:
        try:
            self.leave(exc[0] is not None)
        except BaseException:
            self.leave(True)
            raise

    def leave(self, failed: bool) -> None:
        """Take this level off the stack, and if the function `failed` whatever it has left above."""
        if self in tls.stack:
            at = tls.stack.index(self)
            del tls.stack[at : len(tls.stack) if failed else at + 1]
        tls.grad = self.outer_grad
        tls.refresh()

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """Run the body one level further down, in the grad mode that was in force there."""
        stack, grad = tls.stack, tls.grad
        try:
            stack.pop()
            tls.grad = self.outer_grad
            tls.refresh()
            yield
        finally:
            if self not in stack:
                stack.append(self)
            tls.set_grad(grad)

    def owns(self, x: Any) -> bool:
        return isinstance(x, Tensor) and isinstance(x._a, Value) and x._a.interp is self

    def inner(self, x: Any) -> Any:
        """`x` one level down."""
        if isinstance(x, Tensor):
            a = x._a
            if isinstance(a, Value) and a.interp is self:
                return a.inner
        return x

    def process(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        # as `lowered`, for every operation of every transform: the thread's fields are set one by one, and the count of
        # threads in special modes stays as it is, since this thread is in one again when the rule has run
        state = tls.__dict__
        stack, grad, mode = state["stack"], state["grad"], state["mode"]
        stack.pop()
        state["grad"] = outer = self.outer_grad
        if not stack and not state["inference"] and state["capture"] is None:
            seen = state["saved_hooks"] or state["anomaly"] is not None
            state["mode"] = NO_GRAD if not outer else SPECIAL if seen else RECORD
        try:
            out = self.rule(op, args, params)
        finally:
            stack.append(self)
            state["grad"], state["mode"] = grad, mode
        result = wrap(out) if op.n_out == 1 else tuple(wrap(o) for o in out)
        if op.is_view:
            make_view(result, args[0], op, params)  # type: ignore[arg-type]
        return result

    def rule(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Payload(s) of the result; runs lowered."""
        raise NotImplementedError

    def lift(self, x: Tensor) -> Tensor:
        """A constant at this level."""
        raise NotImplementedError


class VMap(Interpreter):
    """Batching over a hidden leading dim of `size`."""

    name = "vmap"

    def __init__(self, size: int, randomness: str = "error", chunk: Any = None) -> None:
        super().__init__()
        self.size = size
        self.randomness = randomness

    def rule(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        batched, lowered, flag = [], [], False
        for x in args:  # one pass over the arguments: every operation of every level comes by here
            a = x._a if isinstance(x, Tensor) else None
            if type(a) is Batched and a.interp is self:
                lowered.append(a.inner)
                batched.append(a.batched)
                flag = flag or a.batched
            else:
                lowered.append(x)
                batched.append(False)
        inner = tuple(lowered)
        if op.family == "random":
            return self.random(op, inner, batched, params)
        if not flag:
            out = bind(op, inner, params)
            return Batched(out, False, self) if op.n_out == 1 else [Batched(o, False, self) for o in out]
        out, flag = op.batch(self.size, batched, inner, params)
        return Batched(out, flag, self) if op.n_out == 1 else [Batched(o, flag, self) for o in out]

    def random(self, op: Op, inner: tuple[Any, ...], batched: list[bool], params: dict[str, Any]) -> Any:
        if self.randomness == "error":
            raise RuntimeError(
                f"vmap: called random operation {op.name} while in randomness error mode. Please either use the "
                "'same' or 'different' randomness flags on vmap or perform the randomness operation out of vmap "
                f"(at {describe(user_place(4))})"
            )
        if self.randomness == "same":
            if any(batched):
                raise RuntimeError(
                    f"vmap: {op.name} with randomness='same' needs inputs that are the same for the whole batch"
                )
            return Batched(bind(op, inner, params), False, self)
        out, flag = op.batch(self.size, batched, inner, params)
        return Batched(out, flag, self)

    def lift(self, x: Tensor) -> Tensor:
        return wrap(Batched(x, False, self))


class JVP(Interpreter):
    """Forward mode: every value carries a tangent."""

    name = "jvp"

    def rule(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        tangents, lowered, live = [], [], False
        for x in args:
            a = x._a if isinstance(x, Tensor) else None
            if type(a) is Dual and a.interp is self:
                lowered.append(a.inner)
                tangents.append(a.tangent)
                live = live or a.tangent is not None
            else:
                lowered.append(x)
                tangents.append(None)
        inner = tuple(lowered)
        out = bind(op, inner, params)
        live = live and op.differentiable
        if op.n_out == 1:
            t = op.jvp(tangents, inner, out, params) if live else None
            return Dual(out, t, self)
        ts = op.jvp(tangents, inner, out, params) if live else (None,) * len(out)
        return [Dual(o, t, self) for o, t in zip(out, ts)]

    def lift(self, x: Tensor) -> Tensor:
        return wrap(Dual(x, None, self))


class FuncNode(Node):
    """A node of a functional tape: its saved values are tensors of the level below.

    The transform walks it from below; `autograd.grad` inside the transformed function walks it at the tape's own level,
    and with create_graph saved values come back with their history, so that the result depends on the inputs.
    """

    __slots__ = ("level",)
    level: Tape
    calls_user = True

    def unpack(self, k: int) -> Any:
        value = self.saved[k]
        if tls.grad and isinstance(value, Tensor) and tls.stack and tls.stack[-1] is self.level:
            inputs = self.plan.inputs
            node = self.next[inputs[k]] if k < len(inputs) else self
            return wrap(Taped(value, node, self.level))
        return value

    def unpack_output(self) -> Any:
        first = len(self.plan.inputs)
        if self.op.n_out == 1:
            return self.unpack(first)
        found = [self.unpack(first + i) for i in range(self.op.n_out)]
        for i, t in enumerate(found):
            if type(t._a) is Taped and t._a.node is self:
                t._a.node = OutNode(self, i)
        return tuple(found)


class InputNode(AccumulateGrad):
    """An input of a function under vjp or grad: a place where a cotangent is wanted."""

    __slots__ = ()

    def __init__(self) -> None:
        self.next = ()
        self.seq = next_seq()
        self.extra = None

    ref = staticmethod(lambda: None)  # type: ignore[assignment]


class Tape(Interpreter):
    """Reverse mode for functions: records on a level of its own."""

    name = "grad"

    def rule(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        found, lowered, live = [], [], False
        for x in args:
            a = x._a if isinstance(x, Tensor) else None
            if type(a) is Taped and a.interp is self:
                lowered.append(a.inner)
                found.append(a.node)
                live = live or a.node is not None
            else:
                lowered.append(x)
                found.append(None)
        inner, nexts = tuple(lowered), tuple(found)
        out = bind(op, inner, params)
        node = None
        if live and op.differentiable and self.recording:
            plan = op.plan(tuple([n is not None for n in nexts]))
            if plan.rules:
                node = make_func_node(op, inner, params, plan, nexts, out, self)
        if op.n_out == 1:
            return Taped(out, node, self)
        return [
            Taped(o, OutNode(node, i) if node is not None and o._a.dtype.kind in "fcV" else None, self)
            for i, o in enumerate(out)
        ]

    @property
    def recording(self) -> bool:
        return self._grad_inside

    def process(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        self._grad_inside = tls.grad  # `no_grad` inside the transformed function stops this level's recording
        return Interpreter.process(self, op, args, params)

    _grad_inside = True

    def lift(self, x: Tensor) -> Tensor:
        return wrap(Taped(x, None, self))


def make_func_node(op: Op, args: Any, params: Any, plan: Any, nexts: Any, out: Any, level: Tape) -> FuncNode:
    node = new_object(FuncNode)
    outs = (out,) if op.n_out == 1 else out
    node.op, node.params, node.plan, node.next = op, params, plan, nexts
    node.seq = next_seq()
    node.extra = node.freed = node.place = None
    node.stores = ()
    node.level = level
    node.saved = [args[i] for i in plan.inputs] + (list(outs) if plan.output else [])
    node.metas = make_metas(args) if plan.metas else None
    node.out_metas = tuple([(o._a.shape, o._a.dtype) for o in outs]) if op.n_out != 1 else None
    return node


def make_metas(args: Any) -> Any:
    from .op import meta_of

    return tuple([meta_of(x) for x in args])


__all__ = [
    "Batched",
    "Dual",
    "FuncNode",
    "InputNode",
    "Interpreter",
    "JVP",
    "Tape",
    "Taped",
    "VMap",
    "Value",
    "make_node",
]
