"""Operations made of Python functions: `flambeau.library`.

`custom_op` gives a function a name in ``torch.ops`` and, through `register_autograd`, a derivative.  Functions that
PyTorch's tracers would ask (`register_fake`) are accepted and not needed: operations run when they are called.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from .autograd import Function, no_grad
from .core.tensor import Tensor
from .runtime.absent import names_of as _names_of

__all__ = [
    "CustomOpDef",
    "custom_op",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_vmap",
]

_OPS: dict[str, CustomOpDef] = {}  # by qualified name: "mylib::scale"


class CustomOpDef:
    """An operation made of a function; called like the function."""

    def __init__(self, name: str, fn: Callable[..., Any], mutates_args: str | Iterable[str]) -> None:
        self._qualname, self._fn = name, fn
        self._mutates = mutates_args
        self._function: type[Function] | None = None
        functools.update_wrapper(self, fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._function is None:
            return self._refuse_gradients(args, kwargs)
        if not kwargs:
            return self._function.apply(*args)
        import inspect

        bound = inspect.signature(self._fn).bind(*args, **kwargs)
        bound.apply_defaults()
        return self._function.apply(*bound.args, *bound.kwargs.values())

    def _refuse_gradients(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result, whose backward raises: what is inside the function is not recorded, as in PyTorch."""
        if not any(isinstance(a, Tensor) and a.requires_grad for a in (*args, *kwargs.values())):
            return self._fn(*args, **kwargs)
        run, name = self._fn, self._qualname

        class NoDerivative(Function):
            generate_vmap_rule = True

            @staticmethod
            def forward(ctx: Any, *inputs: Any) -> Any:
                return run(*inputs[: len(args)], **dict(zip(kwargs, inputs[len(args) :])))

            @staticmethod
            def backward(ctx: Any, *gradients: Any) -> Any:
                raise RuntimeError(
                    f"Trying to backward through {name} but no autograd formula was registered: "
                    "torch.library.register_autograd gives it one"
                )

        return NoDerivative.apply(*args, *kwargs.values())

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """Give the operation a derivative.

        ``setup_context(ctx, inputs, output)`` saves what ``backward(ctx, *gradients)`` needs, as in a
        `flambeau.autograd.Function`; `backward` returns one gradient, or None, for each argument.
        """
        run = self._fn

        def forward(*args: Any) -> Any:
            with no_grad():
                return run(*args)

        members: dict[str, Any] = {
            "generate_vmap_rule": True,
            "forward": staticmethod(forward),
            "setup_context": staticmethod(setup_context or (lambda ctx, inputs, output: None)),
            "backward": staticmethod(backward),
        }
        self._function = type(self._qualname.rpartition("::")[2], (Function,), members)

    def register_fake(self, fn: Callable[..., Any], /) -> Callable[..., Any]:
        """`fn`: shapes are learnt by running the operation."""
        return fn

    def register_kernel(
        self, device_types: str | Iterable[str] | None, fn: Callable[..., Any] | None = None, /
    ) -> Any:
        """Have `fn` compute the operation on a device: on the CPU, if that is it or None."""

        def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
            kinds = (device_types,) if isinstance(device_types, str) else device_types
            if kinds is None or "cpu" in kinds:
                self._fn = fn
            return fn

        return decorate if fn is None else decorate(fn)

    def register_vmap(self, func: Callable[..., Any] | None = None) -> Any:
        """`func`: examples are mapped over by mapping what the operation does."""
        return (lambda func: func) if func is None else func

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"


def custom_op(
    name: str,
    fn: Callable[..., Any] | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    device_types: str | Iterable[str] | None = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """An operation ``torch.ops.<namespace>.<name>`` made of `fn`, or a decorator that makes one.

    Args:
        name: ``"namespace::name"``.
        mutates_args: the names of arguments that `fn` writes to.
        device_types: the devices `fn` is for; nothing is called on others.

    Raises: ValueError for a name of another form.

    >>> import flambeau as torch
    >>> @torch.library.custom_op("mylib::scale", mutates_args=())
    ... def scale(x: torch.Tensor, factor: float) -> torch.Tensor:
    ...     return x * factor
    >>> def backward(ctx, g):
    ...     return g * ctx.factor, None
    >>> def setup_context(ctx, inputs, output):
    ...     ctx.factor = inputs[1]
    >>> scale.register_autograd(backward, setup_context=setup_context)
    >>> x = torch.ones(2, requires_grad=True)
    >>> torch.ops.mylib.scale(x, 3.0).sum().backward()
    >>> x.grad
    tensor([3., 3.])
    """
    if not re.fullmatch(r"\w+::\w+", name):
        raise ValueError(f'an operation is named "namespace::name", not {name!r}')

    def make(fn: Callable[..., Any]) -> CustomOpDef:
        op = CustomOpDef(name, fn, mutates_args)
        _OPS[name] = op
        return op

    return make if fn is None else make(fn)


def _find(op: Any) -> CustomOpDef:
    found = op if isinstance(op, CustomOpDef) else _OPS.get(str(op))
    if found is None:
        raise RuntimeError(f"operator {op} does not exist: torch.library.custom_op makes one")
    return found


def register_autograd(
    op: Any,
    backward: Callable[..., Any],
    /,
    *,
    setup_context: Callable[..., Any] | None = None,
    lib: Any = None,
) -> None:
    """`CustomOpDef.register_autograd` for an operation or its name.  Raises RuntimeError where there is none."""
    _find(op).register_autograd(backward, setup_context=setup_context)


def register_fake(op: Any, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """`func`: shapes are learnt by running the operation.  Raises RuntimeError where there is none."""
    _find(op)
    return (lambda func: func) if func is None else func


def register_kernel(
    op: Any,
    device_types: str | Iterable[str] | None,
    func: Callable[..., Any] | None = None,
    /,
    *,
    lib: Any = None,
) -> Any:
    """`CustomOpDef.register_kernel` for an operation or its name.  Raises RuntimeError where there is none."""
    return _find(op).register_kernel(device_types, func)


def register_vmap(op: Any, func: Callable[..., Any] | None = None, /, *, lib: Any = None) -> Any:
    """`func`.  Raises RuntimeError where there is no such operation."""
    return _find(op).register_vmap(func)


def namespace(name: str) -> Any:
    """``torch.ops.<name>``, None where no operation is in it."""
    from types import SimpleNamespace

    inside = {q.partition("::")[2]: op for q, op in _OPS.items() if q.partition("::")[0] == name}
    return SimpleNamespace(**inside) if inside else None


__getattr__ = _names_of(__name__)
