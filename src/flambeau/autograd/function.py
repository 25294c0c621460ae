"""Operations written by users: ``autograd.Function``."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..core import inplace
from ..core.families import unbroadcast
from ..core.interpreters import JVP, Batched, Dual, Tape, Taped, VMap
from ..core.pytree import tree_map
from ..core.refusal import Refusal
from ..core.state import tls
from ..core.tape import AccumulateGrad, BaseNode, OutNode, next_seq, raise_freed
from ..core.tensor import Storage, Tensor, composed, snapshot, storage, wrap
from ..core.where import Place, describe
from ..prims.base import convert_to, full
from .grad_mode import no_grad

__all__ = ["Function", "FunctionCtx", "InplaceFunction", "once_differentiable"]


class FunctionCtx(BaseNode):
    """The context that forward, setup_context and backward share; it is also the graph node (``grad_fn``)."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.next: Sequence[BaseNode | None] = ()
        self.seq = 0
        self.extra = None
        self.n_out = 1
        self.needs_input_grad: tuple[bool, ...] = ()
        self._to_save: tuple[Any, ...] = ()
        self._saved: Any = ()
        self._to_save_forward: tuple[Any, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._non_differentiable: set[int] = set()
        self._materialize = True
        self._materialize_non_diff_grads = (
            True  # as PyTorch names it: zeros for outputs that have no gradient, too?
        )
        self._metas: list[Any] = []
        self._freed: Any = False
        self._multiple = False

    def name(self) -> str:
        return f"{self._cls.__name__}Backward"

    # ---- what forward and setup_context call

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep inputs or outputs for backward; they come back as ``ctx.saved_tensors``, checked for staleness."""
        for t in tensors:
            if t is not None and not isinstance(t, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but an argument is of type {type(t).__name__}; keep other objects "
                    "as attributes of ctx"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep tensors for jvp."""
        self._to_save_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Declare inputs that forward changed in place (and returns)."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Declare outputs that have no gradient."""
        self._non_differentiable = {id(t) for t in args}

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing gradients reach backward as zeros (the default) or as None."""
        self._materialize = value

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """`saved_tensors`, under the name that it had."""
        warnings.warn(
            "'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2
        )
        return self.saved_tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The saved tensors.

        Raises: RuntimeError when they were freed or changed in place since.
        """
        if self._freed is not False:
            raise_freed(self._freed)
        if self._saved == () and self._to_save:
            return tuple(self._to_save)
        return tuple(self._unpack(*entry) for entry in self._saved)

    def _unpack(self, t: Any, st: Storage | None, version: int, own: int, unpack: Any) -> Any:
        if t is None:
            return None
        if unpack is not None:
            return unpack(t)
        if st is not None and st.version != version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"a tensor of shape {list(t.shape)} saved by {self._cls.__name__} is at version {st.version}; expected version "
                f"{version} instead.\n  changed by {st.writer}: {describe(st.place)}\n"
                "Save a .clone() of it, or use the out-of-place operation."
            )
        if own >= 0:  # an output: its history is this node
            node = self if not self._multiple else OutNode(self, own)
            if composed(t):
                return _with_history(t, node)
            s = snapshot(t)
            s._node = node
            return s
        return t

    def _pack_saved(self, outputs: Sequence[Any]) -> None:
        hooks = tls.saved_hooks[-1] if tls.saved_hooks else None
        entries: list[Any] = []
        for t in self._to_save:
            if t is None:
                entries.append((None, None, 0, -1, None))
                continue
            own = next((i for i, o in enumerate(outputs) if o is t), -1)
            if hooks is not None and not tls.stack:
                entries.append((hooks[0](t), None, 0, -1, hooks[1]))
                continue
            if composed(t):
                st = storage(t._vals)
                entries.append((t._with(t._vals), st, st.version, own, None))
                continue
            keep = snapshot(t)
            if own >= 0:
                keep._node = None
            st = storage(t)
            keep._st = st
            entries.append((keep, st, st.version, own, None))
        self._saved = entries
        self._to_save = ()

    # ---- what the engine calls

    def backward(self, g: Any) -> Sequence[Any]:
        if self._freed is not False and self._saved is None:
            raise_freed(self._freed)
        cts = list(g) if self._multiple else [g]
        if self._materialize:
            skip = () if self._materialize_non_diff_grads else self._constant
            cts = [
                _zeros(m) if c is None and m is not None and i not in skip else c
                for i, (c, m) in enumerate(zip(cts, self._metas))
            ]
        cts = [m._with(c) if composed(m) and type(c) is Tensor else c for c, m in zip(cts, self._metas)]
        result = self._cls.backward(self, *cts)
        grads = list(result) if isinstance(result, (tuple, list)) else [result]
        n = len(self.needs_input_grad)
        if len(grads) > n and all(x is None for x in grads[n:]):
            grads = grads[:n]
        if len(grads) != n:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {n}, got {len(grads)})"
            )
        for i, (x, need) in enumerate(zip(grads, self.needs_input_grad)):
            if x is not None and not isinstance(x, Tensor):
                raise RuntimeError(
                    f"expected Variable or None (got {type(x).__name__}) for gradient {i} of {self.name()}"
                )
            meta = self._in_metas[i]
            if x is None or not need or meta is None:
                continue
            if composed(meta):  # the gradient of the values
                grads[i] = x.sparse_mask(meta)._vals
                continue
            shape, dtype = meta
            if composed(x):  # a leaf may keep it as it is
                if tuple(x.shape) != shape:
                    raise RuntimeError(
                        f"Function {self.name()} returned an invalid gradient at index {i} - got {list(x.shape)} but expected "
                        f"shape compatible with {list(shape)}"
                    )
                grads[i] = x if type(self.next[i]) is AccumulateGrad else x.to_dense()
                continue
            if x._a.dtype != dtype and dtype.kind in "fcV":
                grads[i] = x = convert_to(x, dtype)
            have = tuple(x._a.shape)
            if have != shape:
                lead = len(have) - len(shape)
                if lead < 0 or any(n not in (1, m) for n, m in zip(shape, have[lead:])):
                    raise RuntimeError(
                        f"Function {self.name()} returned an invalid gradient at index {i} - got {list(have)} but expected shape "
                        f"compatible with {list(shape)}"
                    )
                grads[i] = unbroadcast(x, shape)
        return grads

    _in_metas: list[Any] = []
    _constant: Sequence[int] = ()  # the outputs marked as non-differentiable

    def free(self, place: Place) -> None:
        if self._saved:
            self._saved = None
            self._freed = place

    @property
    def op(self) -> Any:
        return self


def _context(cls: Any) -> FunctionCtx:
    """A context for `cls`, of a class that bears its name: programs that show graphs print the class of each node."""
    kind = cls.__dict__.get("_backward_cls")
    if kind is None:
        kind = type(
            f"{cls.__name__}Backward", (FunctionCtx,), {"_forward_cls": cls, "__module__": cls.__module__}
        )
        cls._backward_cls = kind
    return kind(cls)  # type: ignore[no-any-return]


def _apply_eager(cls: Any, args: tuple[Any, ...], ctx: FunctionCtx | None = None) -> Any:
    if ctx is None:
        ctx = _context(cls)
    needs = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
    ctx.needs_input_grad = needs
    recording = tls.grad and any(needs)
    prev = tls.grad
    separate = _has_setup(cls)
    tls.set_grad(False)
    try:
        out = cls.forward(*args) if separate else cls.forward(ctx, *args)
        if separate:
            cls.setup_context(ctx, args, out)
    finally:
        tls.set_grad(prev)
    return _finish(ctx, args, out, recording, [a._node if isinstance(a, Tensor) else None for a in args])


def _with_history(t: Any, node: Any) -> Any:
    """A sparse tensor whose values have this node."""
    values = t._vals.detach()
    values._node = node
    return t._with(values)


def _meta(x: Any) -> Any:
    """What backward has to know of an input or output: shape and dtype, or where the entries of a sparse one are."""
    if not isinstance(x, Tensor):
        return None
    return x.detach() if composed(x) else (tuple(x._a.shape), x._a.dtype)


def _zeros(meta: Any) -> Any:
    return full(meta[0], 0, meta[1]) if isinstance(meta, tuple) else meta * 0


def _has_setup(cls: Any) -> bool:
    return cls.setup_context is not Function.setup_context


def _finish(ctx: FunctionCtx, args: Sequence[Any], out: Any, recording: bool, nexts: Sequence[Any]) -> Any:
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    ctx._multiple = isinstance(out, (tuple, list)) and len(outs) != 1 or isinstance(out, (tuple, list))
    dirty = {id(t) for t in ctx._dirty}
    for t in ctx._dirty:
        inplace.check_writable(t, ctx._cls.__name__)
    inputs = {id(a): a for a in args if isinstance(a, Tensor)}
    for i, o in enumerate(outs):
        if isinstance(o, Tensor) and id(o) in inputs and id(o) not in dirty:
            if composed(o):
                outs[i] = s = o.detach()
                ctx._to_save = tuple(s if t is o else t for t in ctx._to_save)
                continue
            with no_grad():  # an input returned as it is: a view of it, so that both can have a history
                s = o.view_as(o)
            if id(o) in ctx._non_differentiable:
                ctx._non_differentiable.add(id(s))
            ctx._to_save = tuple(s if t is o else t for t in ctx._to_save)
            outs[i] = s
    if recording:
        ctx.next = tuple(nexts)
        ctx.seq = next_seq()
        ctx.n_out = len(outs)
        ctx._in_metas = [_meta(a) for a in args]
        ctx._metas = [_meta(o) for o in outs]
        ctx._constant = [i for i, o in enumerate(outs) if id(o) in ctx._non_differentiable]
        ctx._pack_saved(outs)
    for t in ctx._dirty:
        storage(t).written(ctx._cls.__name__, 4)
    for i, o in enumerate(outs):
        if not isinstance(o, Tensor) or id(o) in ctx._non_differentiable:
            continue
        if composed(o):
            if recording and (o.is_floating_point() or o.is_complex()):
                outs[i] = _with_history(o, OutNode(ctx, i) if ctx._multiple else ctx)
            continue
        if o._a.dtype.kind not in "fcV":
            continue
        if recording:
            o._node = OutNode(ctx, i) if ctx._multiple else ctx
            if id(o) in dirty and o._base is not None:
                inplace.rebase(o, snapshot(o))
    if isinstance(out, (tuple, list)):
        return tuple(outs)
    return outs[0]


# ------------------------------------------------------------------------------------------------- under transforms


def _lower(level: Any, x: Any) -> Any:
    return level.inner(x)


def _apply_transformed(cls: Any, args: tuple[Any, ...]) -> Any:
    level = tls.stack[-1]
    if not _has_setup(cls):
        if len(tls.stack) == 1 and level.name == "forward_ad":
            return _apply_dual(cls, args, level)
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must override the "
            "setup_context staticmethod. For more details, please see "
            "https://pytorch.org/docs/main/notes/extending.func.html"
        )
    if isinstance(level, VMap):
        return _apply_vmap(cls, args, level)
    inner = tuple(_lower(level, a) for a in args)
    with level.lowered():
        out = apply(cls, inner)
    outs = list(out) if isinstance(out, tuple) else [out]
    ctx = _context(cls)
    if isinstance(level, JVP):
        wrapped = [wrap(Dual(o, None, level)) if isinstance(o, Tensor) else o for o in outs]
        result = tuple(wrapped) if isinstance(out, tuple) else wrapped[0]
        tangents = [a._a.tangent if level.owns(a) else None for a in args]
        if any(t is not None for t in tangents):
            with level.lowered():
                ctx.needs_input_grad = tuple(t is not None for t in tangents)
                cls.setup_context(ctx, inner, out)
                ctx._to_save = ctx._to_save_forward or ctx._to_save
                ds = _tangents_out(cls, ctx, inner, tangents)
            for w, t in zip(wrapped, ds):
                w._a.tangent = t
        return result
    assert isinstance(level, Tape)
    nodes = [a._a.node if level.owns(a) else None for a in args]
    recording = tls.grad and any(n is not None for n in nodes)
    if recording:
        ctx.needs_input_grad = tuple(n is not None for n in nodes)
        with level.lowered():  # backward runs one level down, on these values
            cls.setup_context(ctx, inner, out)
        ctx.next = tuple(nodes)
        ctx.seq = next_seq()
        ctx.n_out = len(outs)
        ctx._multiple = isinstance(out, tuple)
        ctx._in_metas = [(tuple(a._a.shape), a._a.dtype) if isinstance(a, Tensor) else None for a in inner]
        ctx._metas = [(tuple(o._a.shape), o._a.dtype) if isinstance(o, Tensor) else None for o in outs]
        ctx._saved = [(t, None, 0, -1, None) for t in ctx._to_save]
    wrapped = []
    for i, o in enumerate(outs):
        node: Any = None
        if (
            recording
            and isinstance(o, Tensor)
            and id(o) not in ctx._non_differentiable
            and o._a.dtype.kind in "fcV"
        ):
            node = OutNode(ctx, i) if ctx._multiple else ctx
        wrapped.append(wrap(Taped(o, node, level)) if isinstance(o, Tensor) else o)
    return tuple(wrapped) if isinstance(out, tuple) else wrapped[0]


def _tangents_out(cls: Any, ctx: FunctionCtx, inner: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """What the Function's jvp makes of the inputs' tangents."""
    if ctx._materialize:  # integers have no tangents
        tangents = [
            full(tuple(a._a.shape), 0, a._a.dtype)
            if t is None and isinstance(a, Tensor) and a._a.dtype.kind in "fcV"
            else t
            for a, t in zip(inner, tangents)
        ]
    dout = cls.jvp(ctx, *tangents)
    return list(dout) if isinstance(dout, tuple) else [dout]


def _apply_dual(cls: Any, args: tuple[Any, ...], level: Any) -> Any:
    """A Function whose forward takes ctx, on dual tensors: what forward kept in ctx is there in jvp."""
    inner = tuple(_lower(level, a) for a in args)
    tangents = [a._a.tangent if level.owns(a) else None for a in args]
    ctx = _context(cls)
    with level.lowered():
        out = _apply_eager(cls, inner, ctx)
        outs = list(out) if isinstance(out, tuple) else [out]
        ds: list[Any] = [None] * len(outs)
        if any(t is not None for t in tangents):
            kept = ctx._saved, ctx._to_save
            ctx._saved = ()
            ctx._to_save = ctx._to_save_forward or tuple(ctx._unpack(*entry) for entry in kept[0]) or kept[1]
            ds = _tangents_out(cls, ctx, inner, tangents)
            ctx._saved, ctx._to_save = kept
    changed = {id(x): a for x, a in zip(inner, args) if any(x is t for t in ctx._dirty)}
    results = []
    for o, t in zip(outs, ds):
        if isinstance(o, Tensor):
            whole = id(o) in ctx._non_differentiable or o._a.dtype.kind not in "fcV"
            if whole and t is not None:
                raise RuntimeError(
                    f"jvp of {cls.__name__} returned a tangent for an output without one (of an integer type, or marked as "
                    "non-differentiable). You should return None at that position instead."
                )
            dual = Dual(o, None if whole else t, level)
            if id(o) in changed and level.owns(changed[id(o)]):
                along = changed[id(o)]._a.tangent
                if along is not None and t is not along:
                    raise RuntimeError(
                        f"An inplace custom Function ({cls.__name__}) is not modifying the forward mode gradients inplace. If "
                        "the forward is modifying an input inplace, then the jvp function must modify the corresponding "
                        "gradient inplace."
                    )
                changed[id(o)]._a = dual
                o = changed[id(o)]
            else:
                o = wrap(dual)
                level.made.add(o)
        results.append(o)
    return tuple(results) if isinstance(out, tuple) else results[0]


class VmapInfo:
    """What a Function's vmap staticmethod is told."""

    def __init__(self, batch_size: int, randomness: str) -> None:
        self.batch_size = batch_size
        self.randomness = randomness


def _apply_vmap(cls: Any, args: tuple[Any, ...], level: VMap) -> Any:
    flags = [level.owns(a) and a._a.batched for a in args]
    inner = tuple(_lower(level, a) for a in args)
    if not any(flags):
        with level.lowered():
            out = apply(cls, inner)
        return tree_map(lambda o: wrap(Batched(o, False, level)) if isinstance(o, Tensor) else o, out)
    in_dims = tuple(0 if f else None for f in flags)
    if cls.vmap is not Function.vmap:
        if cls.generate_vmap_rule:
            raise RuntimeError(
                f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and a vmap staticmethod; give only one"
            )
        with level.lowered():
            result = cls.vmap(VmapInfo(level.size, level.randomness), in_dims, *inner)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise RuntimeError(f"{cls.__name__}.vmap must return (outputs, out_dims)")
        out, out_dims = result
        outs = list(out) if isinstance(out, tuple) else [out]
        dims = list(out_dims) if isinstance(out_dims, tuple) else [out_dims] * len(outs)
        from ..func.vectorize import move_dim

        with level.lowered():
            moved = [o if d is None else move_dim(o, d, 0) for o, d in zip(outs, dims)]
        wrapped = [wrap(Batched(o, d is not None, level)) for o, d in zip(moved, dims)]
        return tuple(wrapped) if isinstance(out, tuple) else wrapped[0]
    if not cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please override and implement the vmap "
            "staticmethod or set generate_vmap_rule=True."
        )
    with level.lowered():
        out = apply(_vmapped(cls, in_dims, level), inner)
    return tree_map(lambda o: wrap(Batched(o, True, level)), out)


def _vmapped(cls: Any, in_dims: tuple[Any, ...], level: VMap) -> Any:
    """The Function whose forward, backward and jvp are those of `cls`, mapped."""
    from ..func.vectorize import vmap

    def mapped(fn: Callable[..., Any], dims: Any, out_dims: Any = 0) -> Callable[..., Any]:
        return vmap(fn, in_dims=dims, out_dims=out_dims, randomness=level.randomness)

    class Mapped(Function):
        @staticmethod
        def forward(*args: Any) -> Any:
            return mapped(cls.forward, in_dims)(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*[x for x in inputs if isinstance(x, Tensor)])
            ctx.others = [None if isinstance(x, Tensor) else x for x in inputs]
            ctx.set_materialize_grads(True)

        @staticmethod
        def _rebuilt(ctx: Any) -> list[Any]:
            saved = iter(ctx.saved_tensors)
            return [next(saved) if o is None else o for o in ctx.others]

        @staticmethod
        def backward(ctx: Any, *cts: Any) -> Any:
            inputs = Mapped._rebuilt(ctx)
            needs = ctx.needs_input_grad

            probe: list[bool] = []

            def traced(inputs: Any, cts: Any) -> Any:
                inner = _context(cls)
                inner.needs_input_grad = needs
                cls.setup_context(inner, tuple(inputs), cls.forward(*inputs))
                grads = cls.backward(inner, *cts)
                grads = grads if isinstance(grads, tuple) else (grads,)
                probe[:] = [g is not None for g in grads]
                return tuple(g for g in grads if g is not None)

            found = iter(mapped(traced, (list(in_dims), 0))(list(inputs), tuple(cts)))
            grads = [next(found) if p else None for p in probe]
            return tuple(g if g is None or d is not None else g.sum(0) for g, d in zip(grads, in_dims))

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            inputs = Mapped._rebuilt(ctx)

            def one(inputs: Any, tangents: Any) -> Any:
                inner = _context(cls)
                cls.setup_context(inner, tuple(inputs), cls.forward(*inputs))
                inner._to_save = inner._to_save_forward or inner._to_save
                return cls.jvp(inner, *tangents)

            moving = [None if t is None else d for t, d in zip(tangents, in_dims)]
            return mapped(one, (list(in_dims), moving))(list(inputs), list(tangents))

    Mapped.__name__ = cls.__name__
    return Mapped


def apply(cls: Any, args: tuple[Any, ...]) -> Any:
    return _apply_transformed(cls, args) if tls.stack else _apply_eager(cls, args)


class Function:
    """Base of user-defined differentiable operations.

    Subclasses define the static methods ``forward`` (with ``setup_context``, or taking ``ctx`` first), ``backward``,
    and for transforms ``jvp`` and ``vmap`` (or ``generate_vmap_rule = True``).

    >>> import flambeau as torch
    >>> class Square(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         x, = ctx.saved_tensors
    ...         return 2 * x * g
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> Square.apply(x).backward(); x.grad
    tensor(6.)
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should invoke them on the class itself: {type(self).__name__}.apply(...)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
        )

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set generate_vmap_rule=True."
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "vjp" in cls.__dict__:
            both = "backward" in cls.__dict__
            cls.backward = staticmethod(_both_given) if both else cls.__dict__["vjp"]  # type: ignore[method-assign]

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run the operation and record it; `setup_context` is given the defaults of what was left out, too."""
        code = getattr(cls.forward, "__code__", None)
        if kwargs or (code is not None and len(args) < code.co_argcount and _has_setup(cls)):
            import inspect

            ctx = () if _has_setup(cls) else (None,)
            bound = inspect.signature(cls.forward).bind(*ctx, *args, **kwargs)
            bound.apply_defaults()
            args = bound.args[len(ctx) :]
        return apply(cls, args)


def _both_given(ctx: Any, *grad_outputs: Any) -> Any:
    raise RuntimeError(
        "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one of them."
    )


class InplaceFunction(Function):
    """A Function whose operation may be done in place; `inplace` says so to code that still makes instances."""

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for a backward that cannot itself be differentiated: doing so is an error, not a wrong number."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        prev = tls.grad
        tls.set_grad(False)
        try:
            out = fn(ctx, *args)
        finally:
            tls.set_grad(prev)
        if not prev or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return out
        outs = list(out) if isinstance(out, tuple) else [out]
        for i, o in enumerate(outs):
            if isinstance(o, Tensor):
                s = snapshot(o)
                s._node = Refusal(
                    RuntimeError(
                        "trying to differentiate twice a function that was marked with @once_differentiable"
                    ),
                    "DelayedErrorBackward",
                    args,
                )
                outs[i] = s
        return tuple(outs) if isinstance(out, tuple) else outs[0]

    return wrapper
