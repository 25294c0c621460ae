"""The tape: nodes that remember how a tensor was made, for the engine (`walk`) to go through backwards.

Edges go node -> node, never node -> tensor, so a handle can be re-bound by an in-place write without making a
cycle, and dropping the last handle frees the graph at once, without the cycle collector.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .pending import Pending
from .state import tls
from .tensor import DATA_REPLACED, Storage, Tensor, new_object, storage, wrap
from .where import Place, describe, user_place

if TYPE_CHECKING:
    from .op import Op, Plan

next_seq = itertools.count().__next__  # creation order: a consumer always has a larger number than its inputs


class Extras:
    """Hooks and retained gradients: most nodes have none."""

    __slots__ = (
        "tensor_hooks",
        "pre_hooks",
        "hooks",
        "retain",
        "metadata",
        "post_accumulate",
        "created",
    )

    def __init__(self) -> None:
        self.tensor_hooks: dict[int, Callable[[Tensor], Any]] = {}  # on the gradient of the node's output
        self.pre_hooks: dict[int, Callable[..., Any]] = {}  # (grad_outputs) -> replacement or None
        self.hooks: dict[int, Callable[..., Any]] = {}  # (grad_inputs, grad_outputs) -> replacement or None
        self.post_accumulate: dict[int, Callable[[Tensor], None]] = {}
        self.retain: weakref.ref[Tensor] | None = None
        self.metadata: dict[str, Any] = {}
        self.created: Any = None  # anomaly mode: the traceback of the forward call


class BaseNode:
    """What every node has; also the face that users see as ``grad_fn``."""

    __slots__ = ("next", "seq", "extra", "__weakref__")
    next: Sequence[BaseNode | None]
    seq: int
    extra: Extras | None
    calls_user = True  # does `backward` run code of the user's, which looks at the grad mode?

    def extras(self) -> Extras:
        if self.extra is None:
            self.extra = Extras()
        return self.extra

    def name(self) -> str:
        raise NotImplementedError

    @property
    def next_functions(self) -> tuple[tuple[BaseNode | None, int], ...]:
        """The nodes of the inputs, each with the number of the output used."""
        from .node_faces import face

        return tuple((face(n), n.index if type(n) is OutNode else 0) for n in self.next)

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for the user's own notes on this node."""
        return self.extras().metadata

    def _sequence_nr(self) -> int:
        return self.seq

    def __call__(self, *grad_outputs: Any) -> Any:
        """The gradients of the inputs (a tensor, or a tuple of tensors and None) for those of the outputs.

        Hooks are not called.

        Raises: TypeError for another number of arguments than the operation has outputs, and for what is no tensor;
        RuntimeError once freed.
        """
        n = getattr(self, "n_out", 1)
        if len(grad_outputs) != n:
            raise TypeError(f"{self.name()} expected {n} arguments, got {len(grad_outputs)} instead")
        for g in grad_outputs:
            if g is not None and not isinstance(g, Tensor):
                raise TypeError(f"{self.name()} expected Tensors or None, got {type(g).__name__}")
        many = n != 1 or getattr(self, "_multiple", False)
        grads = tuple(self.backward([*grad_outputs] if many else grad_outputs[0]))  # type: ignore[attr-defined]
        return grads[0] if len(grads) == 1 else grads

    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after this node ran; a returned tuple replaces grad_inputs."""
        return RemovableHandle(self.extras().hooks, fn)

    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before this node runs; a returned tuple replaces them."""
        return RemovableHandle(self.extras().pre_hooks, fn)

    def __repr__(self) -> str:
        return f"<{self.name().rpartition(':')[2]} object at {id(self):#x}>"


class RemovableHandle:
    """Returned by the hook registration methods; ``remove()`` (or leaving a ``with``) takes the hook away."""

    _ids = itertools.count()

    def __init__(self, hooks_dict: Any, fn: Any = None, *, extra_dict: Any = None) -> None:
        """A handle with an `id` of its own; `fn`, if given, is put into `hooks_dict` under it.

        Libraries with tables of their own put their hook there themselves.  `extra_dict`, or a list of such, are
        further tables that the hook's entry is taken from.
        """
        self.id = next(RemovableHandle._ids)
        self._hooks: dict[int, Any] = hooks_dict
        self._extra: Any = (extra_dict,) if isinstance(extra_dict, dict) else tuple(extra_dict or ())
        if fn is not None:
            hooks_dict[self.id] = fn

    def remove(self) -> None:
        self._hooks.pop(self.id, None)
        for table in self._extra:
            table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.remove()


class AccumulateGrad(BaseNode):
    """Accumulates into the ``.grad`` of a leaf, which it refers to weakly (the leaf owns its node)."""

    __slots__ = ("ref",)
    hooked = False  # has any leaf ever had hooks?

    def extras(self) -> Extras:
        AccumulateGrad.hooked = True
        return super().extras()

    def __init__(self, leaf: Tensor) -> None:
        self.ref = weakref.ref(leaf)
        self.next = ()
        self.seq = next_seq()
        self.extra = None

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    @property
    def variable(self) -> Tensor | None:
        """The leaf, or None if nobody holds it any more."""
        return self.ref()

    def backward(self, g: Any) -> Sequence[Any]:
        from .walk import accumulate_leaf

        if g is not None:
            accumulate_leaf(self, g, tls.grad)
        return ()

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


class OutNode(BaseNode):
    """One output of an operation that has several: hands its cotangent to the operation's node."""

    __slots__ = ("parent", "index")

    def __init__(self, parent: BaseNode, index: int) -> None:
        self.parent = parent
        self.index = index
        self.next = (parent,)
        self.seq = next_seq()
        self.extra = None

    def name(self) -> str:
        return self.parent.name()


class PlainNode(BaseNode):
    """A recorded operation that saved nothing, over inputs of the result's shape: the light form of `Node`."""

    __slots__ = ("plan",)
    plan: Plan
    calls_user = False
    params: dict[str, Any] = {}
    saved = stores = ()
    metas = out_metas = place = None

    @property
    def op(self) -> Op:
        return self.plan.op

    def name(self) -> str:
        return self.plan.op.grad_name

    def show_as(self, name: str) -> None:
        """Bear another name in graphs."""
        self.plan = self.plan.op.shown_as(name).plan(self.plan.needs)

    def backward(self, g: Any) -> Sequence[Any]:
        return self.plan.run(self, g)  # type: ignore[no-any-return]

    def free(self, place: Place) -> None:
        """Nothing to free: going through it again is allowed, as in PyTorch."""


class Packed:
    """A saved tensor that went through saved-tensor hooks."""

    __slots__ = ("value", "unpack")

    def __init__(self, value: Any, unpack: Callable[[Any], Any]) -> None:
        self.value = value
        self.unpack = unpack


class Node(BaseNode):
    """One recorded operation."""

    __slots__ = ("op", "params", "plan", "saved", "stores", "metas", "out_metas", "place", "freed")

    op: Op
    calls_user = False
    params: dict[str, Any]
    plan: Plan
    saved: Any  # payloads (arrays, scalars, Packed) in the order of plan.inputs, then the output; None once freed
    stores: tuple[tuple[Storage, int] | None, ...]  # (storage, version when saved) beside each saved payload
    metas: Any
    out_metas: Any
    place: Place  # the user's line
    freed: Place  # where the graph was first consumed

    def name(self) -> str:
        return self.op.grad_name

    def show_as(self, name: str) -> None:
        """Bear another name in graphs."""
        self.op = self.op.shown_as(name)

    @property
    def n_out(self) -> int:
        return self.op.n_out

    def unpack(self, k: int) -> Any:
        """Saved value `k` as a tensor with its history, after the version check."""
        value = self.saved[k]
        pair = self.stores[k]
        if pair is not None and pair[0].version != pair[1] and not self.replaced(k, pair):
            self.raise_stale(value, pair)
        if type(value) is np.ndarray or type(value) is Pending:
            t = new_object(Tensor)
            t._a = value
            t._st = pair[0] if pair is not None else None
            t._base = None
            if tls.grad:
                inputs = self.plan.inputs
                t._node = self.next[inputs[k]] if k < len(inputs) else self
            else:
                t._node = None
            return t
        if type(value) is Packed:
            tls.refresh()  # the hook sees the grad mode of backward
            t = value.unpack(value.value)
            if not isinstance(t, Tensor):
                raise TypeError(
                    "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                    f"{type(t).__name__}"
                )
            inputs = self.plan.inputs
            copy = wrap(t._a)
            copy._node = self.next[inputs[k]] if k < len(inputs) else self
            return copy
        return value

    def replaced(self, k: int, pair: tuple[Storage, int]) -> bool:
        """Whether saved value `k` is an output that got other values by assigning to ``.data``, and nothing else."""
        st, version = pair
        return k >= len(self.plan.inputs) and st.version == version + 1 and st.writer == DATA_REPLACED

    def raise_stale(self, value: Any, pair: tuple[Storage, int]) -> None:
        st, version = pair
        shape = list(value.shape) if isinstance(value, np.ndarray) else []
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[torch.{_type_name(value)} {shape}] is at version {st.version}; expected version {version} instead.\n"
            f"  saved by {self.op.name}:    {describe(self.place)}\n"
            f"  changed by {st.writer or 'an in-place write'}:  {describe(st.place)}\n"
            "Two usual cures: use the operation that makes a new tensor instead of the in-place one "
            "(x = x + 1, not x += 1), or save a copy by calling .clone() before the change."
        )

    def backward(self, g: Any) -> Sequence[Any]:
        """Gradients for the inputs, given the cotangent (for several outputs: a list of them)."""
        if self.saved is None:
            raise_freed(self.freed)
        if self.out_metas is not None:
            g = [zeros_like_meta(m) if c is None else c for c, m in zip(g, self.out_metas)]
        return self.plan.run(self, g)  # type: ignore[no-any-return]

    def unpack_output(self) -> Any:
        first = len(self.plan.inputs)
        if self.op.n_out == 1:
            return self.unpack(first)
        outs = []
        for i in range(self.op.n_out):
            t = self.unpack(first + i)
            if t is not None:  # not one that no rule reads
                t._node = OutNode(self, i)
            outs.append(t)
        return tuple(outs)

    def free(self, place: Place) -> None:
        if self.saved:
            self.saved = None
            self.stores = ()
            self.freed = place

    @property
    def _raw_saved(self) -> Any:
        return self.saved


def raise_freed(place: Place) -> None:
    raise RuntimeError(
        "Trying to backward through the graph a second time (or directly access saved tensors after they have "
        "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
        "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if "
        f"you need to access saved tensors after calling backward.\n  The graph was first consumed at: {describe(place)}"
    )


def _type_name(value: Any) -> str:
    names = {
        "float32": "FloatTensor",
        "float64": "DoubleTensor",
        "int64": "LongTensor",
        "float16": "HalfTensor",
    }
    return names.get(str(getattr(value, "dtype", "")), "Tensor")


def zeros_like_meta(meta: Any) -> Tensor:
    return helpers["zeros"](meta)  # type: ignore[no-any-return]


# Operations that the tape itself uses; set by the primitives that define them.
helpers: dict[str, Callable[..., Any]] = {}


# ---------------------------------------------------------------------------------------------------- recording


def record(op: Op, args: tuple[Any, ...], params: dict[str, Any], out: Any) -> None:
    """Give `out` a node that remembers how it was made (bottom tape)."""
    nexts = tuple([x._node if isinstance(x, Tensor) else None for x in args])
    plan = op.plan(tuple([n is not None for n in nexts]))
    if not plan.rules:
        return
    node = make_node(Node, op, args, params, plan, nexts, out)
    attach(node, out)
    if tls.anomaly is not None:
        tls.anomaly.note_forward(node)


def attach(node: Node, out: Any) -> None:
    if isinstance(out, Tensor):
        out._node = node
        return
    for i, t in enumerate(out):
        if t._a.dtype.kind in "fcV":  # integer outputs (pivots, ranks, indices) carry no gradient
            t._node = OutNode(node, i)


def make_node(
    cls: type[Node],
    op: Op,
    args: tuple[Any, ...],
    params: dict[str, Any],
    plan: Plan,
    nexts: tuple[Any, ...],
    out: Any,
) -> Node:
    node = new_object(cls)
    node.op = op
    node.params = params
    node.plan = plan
    node.next = nexts
    node.seq = next_seq()
    node.extra = None
    node.freed = None
    node.out_metas = None
    saved: list[Any] = []
    stores: list[Any] = []
    for i in plan.inputs:
        save(args[i], saved, stores)
    outs = (out,) if op.n_out == 1 else out
    if plan.output:
        read = op.info.get("outputs_read")  # the user may write to the others
        for i, t in enumerate(outs):
            save(t if read is None or i in read else None, saved, stores)
    if op.n_out != 1:
        node.out_metas = tuple([(t._a.shape, t._a.dtype) for t in outs])
    node.metas = tuple([metas(x) for x in args]) if plan.metas else None
    node.saved = saved
    node.stores = tuple(stores)
    node.place = user_place(4) if saved else None
    return node


def metas(x: Any) -> Any:
    return helpers["meta_of"](x)


def save(x: Any, saved: list[Any], stores: list[Any]) -> None:
    if not isinstance(x, Tensor):
        saved.append(x)
        stores.append(None)
        return
    hooks = tls.saved_hooks
    if hooks and hooks[-1] is not None:
        pack, unpack = hooks[-1]
        view = wrap(x._a)
        view._node = x._node if type(x._node) is AccumulateGrad else None
        view._st = storage(x)
        version = view._st.version
        packed = pack(view)
        if view._st.version != version:
            raise RuntimeError("A saved tensor pack hook is modifying its input in place. It must not")
        saved.append(Packed(packed, unpack))
        stores.append(None)
        return
    st = storage(x)
    if st.inference:
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. To work around you can make a clone to get a normal "
            "tensor and use it in autograd."
        )
    saved.append(x._a)
    stores.append((st, st.version))
