"""Operations of a program's own, with a name and a derivative: `flambeau.library`.

A function made by `custom_op` is called like any other and found as ``torch.ops.<namespace>.<name>``.  Kernels for other
devices and shape functions (`register_fake`) are taken and never called: there is one device, and shapes are computed
together with values.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from .autograd import Function, no_grad
from .core.public import OVERRIDES, taken_over
from .core.pytree import tree_flatten
from .core.tensor import Tensor
from .ops.registered import register
from .runtime.absent import names_of

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_vmap",
    "triton_op",
]

_ops: dict[str, CustomOpDef] = {}


def _parts(name: str) -> tuple[str, str]:
    namespace, colons, op = name.partition("::")
    if not colons or not namespace.isidentifier() or not op.split(".")[0].isidentifier():
        raise ValueError(f"the name of an operation has the form 'namespace::name', not {name!r}")
    return namespace, op.split(".")[0]


class CustomOpDef:
    """What `custom_op` gives back: call it, or register a derivative."""

    def __init__(self, name: str, fn: Callable[..., Any], mutates: frozenset[str] = frozenset()) -> None:
        self._namespace, self._name = _parts(name)
        self._qualname = f"{self._namespace}::{self._name}"
        self._fn = fn
        self._mutates = mutates
        self._signature = inspect.signature(fn)
        self._backward: Callable[..., Any] | None = None
        self._setup_context: Callable[..., Any] | None = None
        self._vmap: Callable[..., Any] | None = None
        self._functions: dict[tuple[int, tuple[str, ...]], Any] = {}
        functools.update_wrapper(self, fn)

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    @property
    def default(self) -> CustomOpDef:
        """The operation: it has one overload."""
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if OVERRIDES:
            taken = taken_over(self, args, kwargs, as_method=True)
            if taken is not None:
                return taken[0]
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:  # keyword-only: a Function's apply has positions only
            keywords = bound.kwargs
            return self._recorded(len(bound.args), tuple(keywords)).apply(*bound.args, *keywords.values())
        return self._recorded(len(bound.args), ()).apply(*bound.args)

    def _recorded(self, count: int, names: tuple[str, ...]) -> Any:
        """The autograd Function for calls with `count` positions and the keywords `names`."""
        found = self._functions.get((count, names))
        if found is None:
            found = self._functions[count, names] = self._function_for(count, names)
        return found

    def _function_for(self, count: int, names: tuple[str, ...]) -> Any:
        op = self

        def forward(*args: Any) -> Any:
            with no_grad():
                y = op._fn(*args[:count], **dict(zip(names, args[count:], strict=True)))
            given = {id(t) for t in tree_flatten(args)[0] if isinstance(t, Tensor)}
            if any(id(t) in given for t in tree_flatten(y)[0] if isinstance(t, Tensor)):
                raise RuntimeError(
                    f"{op._qualname}: an operation may not return one of its inputs; return a clone"
                )
            return y

        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            written = [
                a
                for p, a in zip(op._signature.parameters, inputs, strict=False)
                if p in op._mutates and isinstance(a, Tensor)
            ]
            if written:
                ctx.mark_dirty(*written)
            if op._setup_context is None:
                return
            if names:
                rest = dict(zip(names, inputs[count:], strict=True))
                op._setup_context(ctx, inputs[:count], rest, output)
            else:
                op._setup_context(ctx, inputs, output)

        def backward(ctx: Any, *grads: Any) -> Any:
            if op._backward is None:
                raise RuntimeError(
                    f"Trying to backward through {op._qualname} but no autograd formula was registered. "
                    "Please use register_autograd to add one."
                )
            g = op._backward(ctx, *grads)
            g = g if isinstance(g, tuple) else tuple(g) if isinstance(g, list) else (g,)
            return (*g, *(None for _ in names)) if names else g

        def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
            assert op._vmap is not None
            keywords = dict(zip(names, args[count:], strict=True))
            return op._vmap(info, in_dims[:count], *args[:count], **keywords)

        methods = {"forward": forward, "setup_context": setup_context, "backward": backward}
        if self._vmap is not None:
            methods["vmap"] = vmap
        members: dict[str, Any] = {n: staticmethod(f) for n, f in methods.items()}
        members["generate_vmap_rule"] = self._vmap is None
        return type(self._name, (Function,), members)

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """`backward(ctx, *grads)` gives the gradients of the inputs.

        `setup_context(ctx, inputs, output)` keeps what it needs; where the operation has keyword-only arguments it is
        called as ``setup_context(ctx, inputs, keyword_only_inputs, output)``.
        """
        self._backward, self._setup_context = backward, setup_context

    def register_vmap(self, func: Any = None, /) -> Any:
        """`func(info, in_dims, *args)` gives the results for a batch, and their batch dims.  Also a decorator."""
        if func is None:
            return self.register_vmap
        self._vmap = func
        self._functions.clear()
        return func

    def register_fake(self, fn: Any, /) -> Any:
        """`fn` itself: shapes are computed with values."""
        return fn

    def register_kernel(self, device_types: Any, fn: Any = None, /) -> Any:
        """Run `fn` on the CPU, if `device_types` names it or is None; kernels of other devices are never called."""
        if fn is None:
            return lambda f: self.register_kernel(device_types, f)
        if device_types is None or "cpu" in (
            [device_types] if isinstance(device_types, str) else device_types
        ):
            self._fn = fn
        return fn


def custom_op(
    name: str,
    fn: Callable[..., Any] | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    device_types: Any = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Make the function `fn` one operation, with the name ``"namespace::name"``.  Also a decorator.

    Inside it nothing is recorded; its derivative is what `CustomOpDef.register_autograd` is given.  `mutates_args`
    names the arguments that it writes to.

    Raises: ValueError for a name of another form.  Calls raise RuntimeError where an input itself is returned, and
    backward passes without a registered derivative.

    >>> import flambeau as torch
    >>> @torch.library.custom_op("shop::double", mutates_args=())
    ... def double(x: torch.Tensor) -> torch.Tensor:
    ...     return x * 2
    >>> double.register_autograd(lambda ctx, g: g * 2)
    >>> x = torch.ones(2, requires_grad=True)
    >>> torch.ops.shop.double(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    def made(f: Callable[..., Any]) -> CustomOpDef:
        written = (
            frozenset(inspect.signature(f).parameters)
            if mutates_args == "unknown"
            else frozenset((mutates_args,) if isinstance(mutates_args, str) else mutates_args)
        )
        op = _ops[name] = CustomOpDef(name, f, written)
        register(op._namespace, op._name, op)
        return op

    return made if fn is None else made(fn)


def triton_op(
    name: str,
    fn: Callable[..., Any] | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    schema: str | None = None,
    allow_decomposition: bool = True,
) -> Any:
    """`custom_op`: what a function around kernels for accelerators is where there are none.

    Raises: as `custom_op`.
    """
    return custom_op(name, fn, mutates_args=mutates_args, schema=schema)


def _find(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if op not in _ops:
        raise RuntimeError(f"operator {op} does not exist: custom_op or Library.define makes one")
    return _ops[op]


def register_autograd(
    op: Any,
    backward: Callable[..., Any],
    /,
    *,
    setup_context: Callable[..., Any] | None = None,
    lib: Any = None,
) -> None:
    """`CustomOpDef.register_autograd` of the operation `op` (an object, or a name).

    Raises: RuntimeError for a name that is unknown.
    """
    _find(op).register_autograd(backward, setup_context=setup_context)


def register_kernel(op: Any, device_types: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """`CustomOpDef.register_kernel` of the operation `op` (an object, or a name)."""
    return _find(op).register_kernel(device_types, func)


def register_vmap(op: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """`CustomOpDef.register_vmap` of the operation `op` (an object, or a name)."""
    return _find(op).register_vmap(func)


def register_fake(op: Any, func: Any = None, /, *, lib: Any = None, _stacklevel: int = 1, **_: Any) -> Any:
    """`func` itself, or a decorator that changes nothing: shapes are computed with values.

    Also for operations that do not exist, where PyTorch raises: packages that describe their C++ operations, which are
    absent here, can be imported.
    """
    return (lambda f: f) if func is None else func


class Library:
    """Operations of one namespace, defined by a schema (``"double(Tensor x) -> Tensor"``) and a function."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        if kind not in ("DEF", "IMPL", "FRAGMENT"):
            raise ValueError(f"Unsupported kind: {kind}")
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Announce an operation; `impl` says what it does.  Gives its name."""
        name = schema.partition("(")[0].strip()
        _parts(f"{self.ns}::{name}")
        return name

    def impl(self, op_name: Any, fn: Callable[..., Any], dispatch_key: str = "", **_: Any) -> None:
        """Let the operation run `fn`.  Kernels of other devices and of tensors without values are never called."""
        key = dispatch_key or self.dispatch_key
        if key not in ("", "CPU", "CompositeImplicitAutograd", "CompositeExplicitAutograd"):
            return
        name = str(op_name).rpartition("::")[2].split(".")[0]
        if key in ("", "CompositeImplicitAutograd"):  # derived from the operations inside it
            register(self.ns, name, fn)
        else:
            _ops[f"{self.ns}::{name}"] = CustomOpDef(f"{self.ns}::{name}", fn)
            register(self.ns, name, _ops[f"{self.ns}::{name}"])


__getattr__ = names_of(__name__)
