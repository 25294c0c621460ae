"""From an operation to what a user calls: `out=`, methods, in-place forms, subclasses' own behaviour, errors.

`public` makes a function of the library from an ordinary function over operations; `elementwise` has what defines
an operation element by element.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..runtime import dtypes
from ..runtime.dtypes import BOOL, FLOATING, INTEGRAL, dtype
from . import inplace
from .docstrings import in_place
from .grad_names import GradName, show
from .op import Op, parameter_names
from .promotion import (
    convert,
)
from .remembered import ONE_WAY, remembering
from .state import tls
from .tape import helpers
from .tensor import Tensor, snapshot

F = TypeVar("F", bound=Callable[..., Any])

# Every public operation by name: the namespace `flambeau` and the methods of Tensor are made from it.
FUNCTIONS: dict[str, Callable[..., Any]] = {}
METHODS: dict[str, Callable[..., Any]] = {}

F32 = np.dtype(np.float32)


# -------------------------------------------------------------------------------------------------- out= and in-place


# Operations whose out= must have exactly the result's dtype, as in PyTorch; so must those with several results.
EXACT_OUT = frozenset(
    """
    addmm all amax amin any argmax argmin baddbmm bmm complex diag gather histc index_add index_copy index_select isin
    isneginf isposinf masked_select matmul mm multinomial nanquantile nonzero norm quantile scatter scatter_add searchsorted take
    tril triu
    """.split()
)


# Functions that make a tensor from numbers: of the dtype of the one that they are to fill.
DTYPE_OF_OUT = frozenset("arange linspace logspace eye".split())


def dtype_of_out(out: Any, asked: Any, name: str) -> Any:
    """Raises: RuntimeError when a dtype is asked for that `out` has not."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    have = dtypes.OF_NUMPY[out._a.dtype]
    if asked is not None and asked is not have:
        raise RuntimeError(f"{name}(): dtype {asked} does not match dtype of out parameter ({have})")
    return have


def check_out(out: Any, result: Any, name: str) -> None:
    """Raises: RuntimeError unless `out` has the dtype of the result."""
    if isinstance(out, Tensor) and isinstance(result, Tensor) and out._a.dtype != result._a.dtype:
        want, have = dtypes.OF_NUMPY[result._a.dtype], dtypes.OF_NUMPY[out._a.dtype]
        raise RuntimeError(
            f"{name}(): Expected out tensor to have dtype {want.name}, but got {have.name} instead"
        )


def store_out(out: Any, result: Any, name: str) -> Any:
    """Write results into the tensors given as ``out=``.

    Raises: RuntimeError when the result's dtype cannot be cast to out's, or when out requires grad.
    """
    if name in EXACT_OUT:
        check_out(out, result, name)
    if isinstance(result, (tuple, list)):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"{name}(): argument 'out' must be tuple of {len(result)} Tensors")
        for o, r in zip(out, result):
            check_out(o, r, name)
        stored = [store_out(o, r, name) for o, r in zip(out, result)]
        return type(result)(stored) if type(result) in (tuple, list) else type(result)(*stored)
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if tls.grad and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad. Call it under torch.no_grad(), or assign the result instead."
        )
    src, dst = dtypes.OF_NUMPY[result._a.dtype], dtypes.OF_NUMPY[out._a.dtype]
    if not can_cast(src, dst):
        raise RuntimeError(
            f"result type {src.name} can't be cast to the desired output type {dst.name} ({name})"
        )
    if tuple(out._a.shape) != tuple(result._a.shape):
        inplace.check_writable(out, name)
        helpers["resize_out"](out, tuple(result._a.shape))
    inplace.write(out, convert(result, dst), name)
    return out


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch's rules allow storing a result of dtype `from_` in a tensor of dtype `to`.

    >>> import flambeau as torch
    >>> torch.can_cast(torch.float64, torch.int32), torch.can_cast(torch.int64, torch.float16)
    (False, True)
    """
    if isinstance(from_, type) or isinstance(to, type):  # float and the like
        from_, to = dtypes._python(from_), dtypes._python(to)
    if not isinstance(from_, dtype) or not isinstance(to, dtype):
        raise TypeError(f"can_cast() takes two dtypes, not {type(from_).__name__} and {type(to).__name__}")
    if from_.is_complex and not to.is_complex:
        return False
    if from_.is_floating_point and to.category < FLOATING:
        return False
    return not (from_.category == INTEGRAL and to.category == BOOL)


def inplace_form(fn: Callable[..., Any], name: str, grad_name: GradName | None = None) -> Callable[..., Any]:
    """``name_``: the operation, written back into its first argument.

    `grad_name` is given where the node shows another name than that of the operation.
    """
    op: Op | None = getattr(fn, "op", None)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if "out" in kwargs:
            raise TypeError(f"{name}() got an unexpected keyword argument 'out': it writes into its tensor")
        if OVERRIDES:
            found = overridden(method, (self, *args), kwargs)
            if found is not None:
                return found[0]  # type: ignore[no-any-return]
        if not tls.stack:
            inplace.check_writable(self, name)
        alone = tls.capture.alone(self) if tls.capture is not None else None
        source = snapshot(self)
        if (
            not alone  # then there is no memory yet to be overwritten
            and tls.grad
            and not tls.stack
            and recorded(self, args)
            and not (op and 0 not in op.plan((True,) * len(op.inputs)).inputs)
        ):
            source._a = self._a.copy()  # rules may save the old values, which are about to be overwritten
            source._st = None
        elif alone:
            source._st = None  # the old values stay what they are: `self` gets new memory
        new = fn(source, *args, **kwargs)
        if grad_name is not None and not tls.stack:
            show(new, grad_name, (source, *args), kwargs)
        d, own = dtypes.OF_NUMPY[new._a.dtype], dtypes.OF_NUMPY[self._a.dtype]
        if d is not own and not can_cast(d, own):
            raise RuntimeError(
                f"result type {d.name} can't be cast to the desired output type {own.name} ({name})"
            )
        return inplace.write(self, new, name, alone)

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    method.__doc__ = in_place(name)
    return method


def recorded(x: Tensor, args: Sequence[Any]) -> bool:
    return x._node is not None or any(isinstance(a, Tensor) and a._node is not None for a in args)


# ------------------------------------------------------------------------------------------ subclasses' own behaviour

# Classes with a __torch_function__ of their own, and a class for each thing else that has functions ask (a mode,
# autocast); empty in nearly every program, and then costs one truth test.
OVERRIDES: list[type] = []


# A function of the API inside its outermost form -> that form, which is what programs compare with.
OUTER_FORM: dict[Any, Callable[..., Any]] = {}


def overridden(
    fn: Callable[..., Any], args: Any, kwargs: dict[str, Any], as_method: bool = False
) -> tuple[Any] | None:
    """(result,) if a mode, an argument's class (through __torch_function__), or autocast takes over, else None."""
    taken = taken_over(fn, args, kwargs, as_method)
    if taken is not None:
        return taken
    cast = tls.autocast
    return None if cast is None else cast(fn, args, kwargs)


def taken_over(
    fn: Callable[..., Any], args: Any, kwargs: dict[str, Any], as_method: bool = False
) -> tuple[Any] | None:
    """`overridden` without autocast."""
    if tls.__dict__.get("torch_function", True):
        found: list[Any] = []
        for x in (*args, *kwargs.values()):
            for y in x if isinstance(x, (tuple, list)) else (x,):
                cls = type(y)
                if cls is Tensor:
                    continue
                if (cls in OVERRIDES or _stands_for_a_tensor(cls)) and not any(type(o) is cls for o in found):
                    # a subclass goes before its base
                    at = next((i for i, o in enumerate(found) if isinstance(y, type(o))), len(found))
                    found.insert(at, y)
        if found or tls.__dict__.get("function_modes"):
            if not as_method and not OVERRIDES and FUNCTIONS.get(fn.__name__) is not fn:
                return None  # a part of a function of the API, which asks when it meets the error
            OVERRIDES.extend({type(o) for o in found if type(o) not in OVERRIDES})
            return (hand_over(fn if as_method else OUTER_FORM.get(fn, fn), found, args, kwargs),)
    return None


def overridable(fn: F) -> F:
    """For a function that is not `public`: modes, classes with a __torch_function__ and autocast may take it over."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if OVERRIDES:
            taken = overridden(wrapper, args, kwargs)
            if taken is not None:
                return taken[0]
        return fn(*args, **kwargs)

    wrapper.names = parameter_names(fn)  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


def seen_by_modes(fn: F) -> F:
    """For a function that makes tensors from data or nothing: modes may take it over, and what stands for a size."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if OVERRIDES and tls.__dict__.get("torch_function", True):
            given = [y for x in (*args, *kwargs.values()) for y in (x if type(x) in (tuple, list) else (x,))]
            found = [x for x in given if _stands_for_a_tensor(type(x))]
            if found or tls.__dict__.get("function_modes"):
                return hand_over(wrapper, found[:1], args, kwargs)
        return fn(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def _stands_for_a_tensor(cls: type) -> bool:
    """Whether a class that is no Tensor takes part in the protocol."""
    return hasattr(cls, "__torch_function__") and not issubclass(cls, Tensor)


def hand_over(fn: Callable[..., Any], found: Sequence[Any], args: Any, kwargs: Any) -> Any:
    """What the innermost mode, or else the first of `found` that does not decline, makes of a call."""
    kinds = tuple(type(o) for o in found)
    modes = tls.__dict__.get("function_modes")
    if modes:
        mode = modes.pop()  # what it calls goes to the mode outside
        try:
            return mode.__torch_function__(fn, kinds, args, kwargs)
        finally:
            modes.append(mode)
    for o in found:
        result = type(o).__torch_function__(fn, kinds, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(
        f"no implementation found for 'torch.{getattr(fn, '__name__', fn)}' on types that implement "
        f"__torch_function__: {list(kinds)}"
    )


# By a function's name: what its deprecated order of arguments means, as (args, kwargs), or None where these are not in it.
OLD_FORMS: dict[str, Callable[[Sequence[Any]], tuple[list[Any], dict[str, Any]] | None]] = {}


# --------------------------------------------------------------------------------------------------------- decorators


def register(
    fn: Callable[..., Any],
    name: str,
    *,
    method: bool = True,
    function: bool = True,
    inplace: bool = False,
    aliases: Sequence[str] = (),
    inplace_name: GradName | None = None,
) -> None:
    if function and fn.__module__.startswith(f"{__package__}."):  # made here, by a statement elsewhere
        fn.__module__ = "flambeau"  # where pickle finds it
    for n in (name, *aliases):
        if function:
            FUNCTIONS[n] = fn
        if method:
            METHODS[n] = fn
            setattr(Tensor, n, fn)
        if inplace:
            form = inplace_form(fn, n + "_", inplace_name)
            METHODS[n + "_"] = form
            setattr(Tensor, n + "_", form)
            if function:
                FUNCTIONS.setdefault(n + "_", of_tensors(form))


def public(
    method: bool = True,
    inplace: bool = False,
    out: bool = False,
    aliases: Sequence[str] = (),
    name: str | None = None,
    function: bool = True,
    grad_name: GradName | None = None,
    inplace_name: GradName | None = None,
    half: bool = False,
) -> Callable[[F], F]:
    """Make an ordinary function over operations part of the API.

    `grad_name` is the name that the result's node shows (or a function of the arguments that gives it), `inplace_name`
    the one after the in-place form, where it differs;
    `half` says that tensors of 16-bit floating dtypes are to be computed in float32 throughout, and rounded at the end.
    """

    def decorate(fn: F) -> F:
        if half:
            fn = half_in_single(fn)
        fname = name or fn.__name__.strip("_")

        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if OVERRIDES:
                found = overridden(wrapper, args, kwargs)
                if found is not None:
                    return found[0]
            if kwargs:
                target = kwargs.pop("out", None) if out else None
                if target is not None and "dtype" in makes:
                    kwargs["dtype"] = dtype_of_out(target, kwargs.get("dtype"), fname)
                if "input" not in positional and kwargs and "input" in kwargs:
                    kwargs[positional[0]] = kwargs.pop("input")
                if "axis" in kwargs and "dim" in positional:
                    kwargs["dim"] = kwargs.pop("axis")
                if "keepdims" in kwargs and "keepdim" in positional:
                    kwargs["keepdim"] = kwargs.pop("keepdims")
                result = call(args, kwargs)
                if target is not None:
                    return store_out(target, result, fname)
            else:
                try:
                    result = fn(*args)
                except ARGUMENTS as e:
                    return rescue(e, args, kwargs)
            if (
                grad_name is not None
                and not (type(result) is Tensor and result._node is None)
                and not tls.stack
            ):
                show(result, grad_name, args, kwargs)
            return result

        def call(args: Any, kwargs: Any) -> Any:
            try:
                return fn(*args, **kwargs)
            except ARGUMENTS as e:
                return rescue(e, args, kwargs)

        def rescue(e: Exception, args: Any, kwargs: Any) -> Any:
            """The answer of an argument that is no Tensor, but of a class with a __torch_function__; else the error."""
            found = overridden(wrapper, args, kwargs) if not OVERRIDES else None
            if found is not None:
                return found[0]
            if not isinstance(e, TypeError):
                raise in_words_of_arguments(e, fname) from None
            old = OLD_FORMS[fname](args) if fname in OLD_FORMS else None
            if old is not None:
                return wrapper(*old[0], **old[1], **kwargs)
            raise e

        positional = parameter_names(fn)
        makes = positional if fname in DTYPE_OF_OUT else ()
        wrapper.__name__ = fname
        if fname in ONE_WAY and inplace_name is None:
            wrapper = remembering(wrapper, OVERRIDES, fname)  # type: ignore[assignment]
        register(
            wrapper,
            fname,
            method=method,
            function=function,
            inplace=inplace,
            aliases=aliases,
            inplace_name=inplace_name,
        )
        return wrapper  # type: ignore[return-value]

    return decorate


def half_in_single(fn: F) -> F:
    """`fn` with half-type tensors converted to float32 on the way in, and its floating results back."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else next(iter(kwargs.values()), None)
        if not isinstance(first, Tensor) or first._a.dtype.itemsize != 2 or first._a.dtype.kind not in "fV":
            return fn(*args, **kwargs)
        d = dtypes.OF_NUMPY[first._a.dtype]

        def up(x: Any) -> Any:
            return convert(x, dtypes.float32) if isinstance(x, Tensor) and x._a.dtype == d.numpy else x

        result = fn(*[up(x) for x in args], **{k: up(v) for k, v in kwargs.items()})

        def down(x: Any) -> Any:
            return convert(x, d) if isinstance(x, Tensor) and x._a.dtype == F32 else x

        if isinstance(result, tuple):
            values = [down(x) for x in result]
            return type(result)(*values) if hasattr(result, "_fields") else tuple(values)
        return down(result)

    wrapper.names = parameter_names(fn)  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


# What a function raises inside for arguments that are not what it takes.
ARGUMENTS = (AttributeError, TypeError, MemoryError, OverflowError)


def in_words_of_arguments(e: Exception, name: str) -> Exception:
    """The error for arguments of another type, or numbers out of all proportion, as PyTorch raises it."""
    if isinstance(e, MemoryError):
        return RuntimeError(f"{name}: not enough memory: {e}")
    if isinstance(e, OverflowError):
        if str(e).startswith("int too big to convert"):  # a number beside tensors, not a size
            return e
        return (TypeError if "float" in str(e) else RuntimeError)(f"{name}(): {e}")
    return not_a_tensor(e, name) if isinstance(e, AttributeError) else e


def not_a_tensor(e: AttributeError, name: str) -> Exception:
    """The error for an argument that is not a tensor: operations find out when they ask what only tensors have."""
    if not isinstance(e.obj, Tensor) and (e.name in _SLOTS or type(e.obj).__module__ == "builtins"):
        cure = (
            " (torch.as_tensor makes one)" if isinstance(e.obj, (list, tuple, float, int, np.ndarray)) else ""
        )
        return TypeError(f"{name}(): an argument must be Tensor, not {type(e.obj).__name__}{cure}")
    return e


_SLOTS = frozenset(Tensor.__slots__)


def of_tensors(fn: F) -> F:
    """`fn` as a function of the API: an argument that is no tensor is a TypeError which says so; modes and classes with
    a __torch_function__ may take it over."""
    name = fn.__name__

    @functools.wraps(fn)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if OVERRIDES:
            taken = taken_over(fn, args, kwargs, fn not in OUTER_FORM)
            if taken is not None:
                return taken[0]
        try:
            return fn(*args, **kwargs)
        except (AttributeError, MemoryError, OverflowError) as e:
            raise in_words_of_arguments(e, name) from None

    checked.__module__, checked.__qualname__ = "flambeau", name  # where pickle finds it
    OUTER_FORM.setdefault(fn, checked)
    return checked  # type: ignore[return-value]


def check_tensor(x: Any, name: str, position: str = "input") -> None:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}(): argument '{position}' (position 1) must be Tensor, not {type(x).__name__}"
        )


__all__ = [n for n in dir() if not n.startswith("_")]
