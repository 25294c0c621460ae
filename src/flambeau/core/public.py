"""From an operation to what a user calls: promotion, `out=`, methods, in-place forms, and the fast path.

`unary` and `binary` define an elementwise operation with everything it has, in one statement.  `public` does the
same for a composite written as an ordinary function.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ..runtime import dtypes
from ..runtime.dtypes import BOOL, FLOATING, INTEGRAL, dtype
from . import families, inplace
from .acceleration import SLOW_IN_NUMPY
from .docstrings import elementwise, in_place, operator
from .families import BIG
from .grad_names import GradName, rename, show
from .op import Op, bind, parameter_names
from .promotion import (
    COMPARE,
    FLOAT,
    LOGICAL,
    SAME,
    convert,
    promote,
    result_type,
)
from .remembered import ONE_WAY, remembering
from .state import NO_GRAD, RECORD, defaults, everyone, tls
from .tape import Node, PlainNode, helpers, next_seq
from .tensor import Storage, Tensor, new_object, snapshot
from .where import user_place

F = TypeVar("F", bound=Callable[..., Any])

# Every public operation by name: the namespace `flambeau` and the methods of Tensor are made from it.
FUNCTIONS: dict[str, Callable[..., Any]] = {}
METHODS: dict[str, Callable[..., Any]] = {}

F32, F64, I64, BOOLS = (np.dtype(t) for t in (np.float32, np.float64, np.int64, np.bool_))
_NO_PARAMS: dict[str, Any] = {}
_ndarray = np.ndarray
asarray = np.asarray


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
    if tls.__dict__.get("torch_function", True):
        found: list[Any] = []
        for x in (*args, *kwargs.values()):
            for y in x if isinstance(x, (tuple, list)) else (x,):
                cls = type(y)
                if (cls in OVERRIDES or _stands_for_a_tensor(cls)) and not any(type(o) is cls for o in found):
                    # a subclass goes before its base
                    at = next((i for i, o in enumerate(found) if isinstance(y, type(o))), len(found))
                    found.insert(at, y)
        if found or tls.__dict__.get("function_modes"):
            if not as_method and not OVERRIDES and FUNCTIONS.get(fn.__name__) is not fn:
                return None  # a part of a function of the API, which asks when it meets the error
            OVERRIDES.extend({type(o) for o in found if type(o) not in OVERRIDES})
            return (hand_over(fn if as_method else OUTER_FORM.get(fn, fn), found, args, kwargs),)
    cast = tls.autocast
    return None if cast is None else cast(fn, args, kwargs)


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
    """For a function that makes tensors from data or nothing: modes may take it over, classes of arguments may not."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if OVERRIDES and tls.__dict__.get("function_modes") and tls.__dict__.get("torch_function", True):
            return hand_over(wrapper, (), args, kwargs)
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
    if function and fn.__module__ == __name__:
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
    """`fn` as a function of the API: an argument that is no tensor is a TypeError which says so."""
    name = fn.__name__

    @functools.wraps(fn)
    def checked(*args: Any, **kwargs: Any) -> Any:
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


def unary(
    name: str,
    body: Callable[..., Any],
    d: Sequence[Callable[..., Any] | None] | None = None,
    *,
    kind: str = FLOAT,
    vjp: Any = None,
    jvp: Any = None,
    impl: Any = None,
    method: bool = True,
    inplace: bool = True,
    function: bool = True,
    aliases: Sequence[str] = (),
    reject: str = "",
    grad_name: str | None = None,
    doc: str = "",
) -> Any:
    """Define a unary elementwise operation: function, method, in-place, out=, derivatives, batching, test row.

    `kind` is FLOAT (integers become the default dtype), SAME (dtype kept) or COMPARE (result is bool);
    `reject` lists NumPy kinds that it refuses ("c" complex, "b" bool).
    """
    op = families.pointwise_op(name, body, d, vjp=vjp, jvp=jvp, impl=impl, grad_name=grad_name)
    ufunc = op.info["ufunc"]
    call = ufunc if ufunc is not None else op.info["plain"]
    limit = families.HEAVY if name in SLOW_IN_NUMPY else BIG  # from here on a generated kernel may do it
    plan = op.plan((True,)) if op.differentiable else None

    def fn(input: Any, *, out: Any = None) -> Any:
        if out is None and not OVERRIDES:
            try:
                a = input._a
                dt = a.dtype
                if (dt is F32 or dt is F64) and a.nbytes < limit:
                    mode = RECORD if everyone.plain else tls.mode
                    if mode:
                        r = call(a)
                        t = new_object(Tensor)
                        t._a = r if type(r) is _ndarray else asarray(r)
                        t._st = None
                        t._base = None
                        node = input._node
                        if node is None or plan is None or mode == NO_GRAD:
                            t._node = None
                        elif plan.inputs or plan.output:
                            t._node = _saving_node(plan, (node,), (input,), t)
                        else:
                            t._node = _plain_node(plan, (node,))
                        return t
            except (AttributeError, ValueError, TypeError, RuntimeWarning):
                pass
        return slow(input, out)

    def slow(input: Any, out: Any) -> Any:
        recorder = tls.capture
        if recorder is not None and out is None and not OVERRIDES and not tls.stack:
            t = recorder.again(op, input, recorder)
            if t is not None:
                return t
        if OVERRIDES or not isinstance(input, Tensor):
            found = overridden(fn, (input,), {} if out is None else {"out": out})
            if found is not None:
                return found[0]
        check_tensor(input, name)
        k = input._a.dtype.kind
        if reject and k in reject:
            raise NotImplementedError(f'"{name}" not implemented for dtype {input.dtype}')
        if kind == FLOAT and k in "bui":
            input = convert(input, defaults.dtype)
        result = bind(op, (input,), _NO_PARAMS)
        return result if out is None else store_out(out, result, name)

    _describe(fn, op, name, doc, 1, kind, reject)
    register(fn, name, method=method, inplace=inplace, aliases=aliases, function=function)
    return fn


def _plain_node(plan: Any, nexts: tuple[Any, ...]) -> PlainNode:
    """A node that saves nothing, for inputs of the result's shape."""
    n = new_object(PlainNode)
    n.plan = plan
    n.next = nexts
    n.seq = next_seq()
    n.extra = None
    return n


def _saving_node(plan: Any, nexts: tuple[Any, ...], args: tuple[Any, ...], out: Tensor) -> Node:
    """A node for inputs of the result's shape that saves what the plan says."""
    n = new_object(Node)
    n.op = plan.op
    n.params = _NO_PARAMS
    n.plan = plan
    n.next = nexts
    n.seq = next_seq()
    n.extra = n.freed = n.out_metas = n.metas = None
    saved: list[Any] = []
    stores: list[Any] = []
    for i in plan.inputs:
        x = args[i]
        if isinstance(x, Tensor):
            st = x._st
            if st is None:
                st = x._st = Storage()
            saved.append(x._a)
            stores.append((st, st.version))
        else:
            saved.append(x)
            stores.append(None)
    if plan.output:
        st = out._st = Storage()
        saved.append(out._a)
        stores.append((st, 0))
    n.saved = saved
    n.stores = tuple(stores)
    n.place = user_place(3)
    return n


def light_node(plan: Any, nexts: tuple[Any, ...], args: tuple[Any, ...], out: Tensor) -> Any:
    """The node of an operation whose arguments have the result's shape."""
    if plan.inputs or plan.output:
        return _saving_node(plan, nexts, args, out)
    return _plain_node(plan, nexts)


def _describe(fn: Any, op: Op, name: str, doc: str, operands: int, kind: str, reject: str) -> None:
    op.public = fn
    fn.op = op
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = elementwise(name, doc, operands, kind, reject)


def binary(
    name: str,
    body: Callable[..., Any],
    d: Sequence[Callable[..., Any] | None] | None = None,
    *,
    kind: str = SAME,
    vjp: Any = None,
    jvp: Any = None,
    impl: Any = None,
    method: bool = True,
    inplace: bool = True,
    function: bool = True,
    aliases: Sequence[str] = (),
    reject: str = "",
    grad_name: str | None = None,
    doc: str = "",
    dunder: str = "",
    commutes: bool = False,
    numbers: str = "",
    tensor_name: str | None = None,
    reflected_name: tuple[str, str] | None = None,
    second: str = "other",
    ordered: bool = True,
) -> Any:
    """Define a binary elementwise operation; as `unary`, and `dunder` names its operator (``__add__``).

    `second` is the name of the second parameter.  `ordered` says that the derivative in it is taken first: PyTorch
    goes through a function's derivatives in the alphabetical order of the parameters' names.

    Nodes show `grad_name`; where they differ, `tensor_name` if `other` is a tensor, and `reflected_name` for the
    operator with a number, or with a tensor, on its left.

    `numbers` says which operands may be Python numbers: "both" (one at a time), "other", or "none".
    """
    numbers = numbers or ("other" if kind == COMPARE else "both")
    order = (1, 0) if ordered else (0, 1)
    op = families.pointwise_op(name, body, d, vjp=vjp, jvp=jvp, impl=impl, grad_name=grad_name, order=order)
    ufunc = op.info["ufunc"]
    names = (tensor_name, reflected_name)
    method_fn, _, slow = _binary_fast(op, name, ufunc, kind, reject, numbers, names)

    def fn(input: Any, other: Any, *, out: Any = None) -> Any:
        if OVERRIDES:
            found = overridden(fn, (input, other), {} if out is None else {"out": out})
            if found is not None:
                return found[0]
        if out is None:
            result = method_fn(input, other)
            if result is NotImplemented:
                found = overridden(fn, (input, other), {})
                if found is not None:
                    return found[0]
                raise TypeError(
                    f"{name}(): argument 'other' must be Tensor or Number, not {type(other).__name__}"
                )
            return result
        result = slow(input, other)
        if result is NotImplemented:
            raise TypeError(
                f"{name}(): argument 'other' must be Tensor or Number, not {type(other).__name__}"
            )
        return store_out(out, result, name)

    if second != "other":
        fn.__code__ = fn.__code__.replace(
            co_varnames=tuple(second if n == "other" else n for n in fn.__code__.co_varnames)
        )
    _describe(fn, op, name, doc, 2, kind, reject)
    register(fn, name, method=method, inplace=inplace, aliases=aliases, function=function)
    if dunder:
        bare = dunder.strip("_")
        bound, bound_reflected, _ = _binary_fast(op, name, ufunc, kind, reject, numbers, names, bound=True)
        setattr(Tensor, dunder, _operator(bound, dunder))
        bound.__doc__ = operator(dunder, name, kind, reject)
        if bare not in ("lt", "le", "gt", "ge", "eq", "ne"):
            bound_reflected.__doc__ = operator(f"__r{bare}__", name, kind, reject)
            setattr(Tensor, f"__r{bare}__", _operator(bound if commutes else bound_reflected, f"__r{bare}__"))
            setattr(Tensor, f"__i{bare}__", _operator(getattr(Tensor, name + "_"), f"__i{bare}__"))
    return fn


OPERANDS = (Tensor, int, float, complex, bool, np.generic)


def _operator(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """An operator method: a foreign operand gets its own chance (NotImplemented), as Python's data model asks."""
    if name.startswith("__i"):

        def update(self: Tensor, other: Any) -> Any:
            if not isinstance(other, OPERANDS):
                return NotImplemented
            return fn(self, other)

        return update
    return fn


def _binary_fast(
    op: Op,
    name: str,
    ufunc: Any,
    kind: str,
    reject: str,
    numbers: str,
    names: tuple[str | None, tuple[str, str] | None],
    bound: bool = False,
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """(The operation, the same with its operands exchanged, what both leave to care).

    `bound`: the first is an operator's method, whose first operand is a tensor.
    """
    tensor_name, reflected_name = names
    pair_op = op if tensor_name is None else op.shown_as(tensor_name)
    number: Any
    both: Any
    left: Any
    right: Any
    number = both = left = right = None
    if op.differentiable:
        number = op.plan((True, False))  # the other operand is a Python number
        both, left, right = (pair_op.plan(k) for k in ((True, True), (True, False), (False, True)))
    call = ufunc if ufunc is not None else op.info["plain"]
    # powers of integers ask whether the exponent is a number: negative ones are refused
    integers = kind != FLOAT and "i" not in reject and name != "pow"
    takes = numbers != "none"
    others: tuple[Any, ...] = (
        (I64,) if integers else ()
    )  # dtypes besides float32 and float64 that need no care
    if kind in (COMPARE, LOGICAL) or name.startswith("bitwise") and "b" not in reject:
        others += (BOOLS,)
    scalars: dict[Any, dict[Any, Any]] = {F32: {}, F64: {}, I64: {}}

    def constant(value: Any, d: Any) -> Any:
        """A Python scalar as a 0-d array of dtype `d`, remembered: NumPy converts it anew on every call otherwise."""
        found = scalars[d].get(value)
        if found is None:
            found = np.array(value, d)
            if value:  # 0.0 and -0.0 are one key
                if len(scalars[d]) > 1000:
                    scalars[d].clear()
                scalars[d][value] = found
        return found

    def method(self: Any, other: Any) -> Any:
        cls = type(other)
        try:
            a = self._a
            d = a.dtype
            if cls is Tensor or not (cls is float or cls is int):  # the first test decides nearly always
                b = other._a
                if d is b.dtype and (d is F32 or d is F64 or d in others) and a.nbytes < BIG:
                    na = self._node
                    nb = other._node
                    if na is None and nb is None:
                        if everyone.plain or tls.mode:
                            r = call(a, b)
                            t = new_object(Tensor)
                            t._a = r if type(r) is _ndarray else asarray(r)
                            t._st = t._base = t._node = None
                            return t
                    elif both is not None:
                        mode = RECORD if everyone.plain else tls.mode
                        if mode == RECORD and a.shape == b.shape:
                            r = call(a, b)
                            t = new_object(Tensor)
                            t._a = r if type(r) is _ndarray else asarray(r)
                            t._st = None
                            t._base = None
                            plan = right if na is None else left if nb is None else both
                            if plan.inputs or plan.output:
                                t._node = _saving_node(plan, (na, nb), (self, other), t)
                            else:
                                t._node = n = new_object(PlainNode)
                                n.plan = plan
                                n.next = (na, nb)
                                n.seq = next_seq()
                                n.extra = None
                            return t
                        if mode == NO_GRAD:
                            r = call(a, b)
                            t = new_object(Tensor)
                            t._a = r if type(r) is _ndarray else asarray(r)
                            t._st = None
                            t._base = None
                            t._node = None
                            return t
            elif (
                takes and (d is F32 or d is F64 or (d is I64 and integers and cls is int)) and a.nbytes < BIG
            ):
                mode = RECORD if everyone.plain else tls.mode
                if mode:
                    b = scalars[d].get(other)
                    r = call(a, constant(other, d) if b is None else b)
                    t = new_object(Tensor)
                    t._a = r if type(r) is _ndarray else asarray(r)
                    t._st = None
                    t._base = None
                    node = self._node
                    if node is None or number is None or mode == NO_GRAD:
                        t._node = None
                    elif number.inputs or number.output:
                        t._node = _saving_node(number, (node, None), (self, other), t)
                    else:
                        t._node = n = new_object(PlainNode)
                        n.plan = number
                        n.next = (node, None)
                        n.seq = next_seq()
                        n.extra = None
                    return t
        except (AttributeError, ValueError, TypeError, OverflowError, RuntimeWarning):
            pass  # whatever it was, the careful path says it better
        if bound and not isinstance(self, Tensor):
            raise TypeError(f"{name} as a method needs a Tensor before its dot, not {type(self).__name__}")
        return slow(self, other)

    def slow(self: Any, other: Any) -> Any:
        if type(self) is Tensor and tls.stack and not OVERRIDES and "f" not in reject:
            d = self._a.dtype  # under a transform, nothing to promote: what every derivative rule does
            if d is F32 or d is F64:
                if type(other) is Tensor and other._a.dtype is d:
                    check_broadcast((self, other))
                    return bind(pair_op, (self, other), _NO_PARAMS)
                if numbers != "none" and (type(other) is float or type(other) is int):
                    return bind(op, (self, other), _NO_PARAMS)
        if not isinstance(self, OPERANDS):
            found = overridden(op.public, (self, other), {})
            if found is not None:
                return found[0]
        recorder = tls.capture
        if recorder is not None and not OVERRIDES and not tls.stack:
            t = recorder.again(pair_op if isinstance(other, Tensor) else op, self, other)
            if t is not None:
                return t
        if not isinstance(other, OPERANDS) and (
            not isinstance(self, Tensor) or not hasattr(other, "__index__")
        ):
            if isinstance(self, Tensor):
                return NotImplemented
            raise TypeError(f"{name}(): argument 'input' must be Tensor, not {type(self).__name__}")
        if not isinstance(self, Tensor) and (numbers != "both" or not isinstance(other, Tensor)):
            raise TypeError(
                f"{name}(): argument 'input' (position 1) must be Tensor, not {type(self).__name__}"
            )
        if numbers == "none" and not isinstance(other, Tensor):
            raise TypeError(
                f"{name}(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}"
            )
        if OVERRIDES:
            found = overridden(op.public, (self, other), {})
            if found is not None:
                return found[0]
        if "B" in reject:
            refuse_bool(self, other)
        args = promote((self, other), kind)
        dtype = next(x for x in args if isinstance(x, Tensor))._a.dtype
        k = dtype.kind
        if dtype.itemsize == 2 and k in "fV" and name not in WIDE_NUMBERS:
            args = [float(dtype.type(x)) if type(x) is float else x for x in args]
        if k in reject:
            raise NotImplementedError(f'"{name}" not implemented for dtype {result_type(*args)}')
        check_broadcast(args)
        return bind(pair_op if isinstance(other, Tensor) else op, tuple(args), _NO_PARAMS)

    def reflected(self: Any, other: Any) -> Any:
        if not isinstance(other, OPERANDS):
            return NotImplemented
        if not isinstance(self, Tensor):
            raise TypeError(f"{name} as a method needs a Tensor before its dot, not {type(self).__name__}")
        result = slow(other, self)
        if reflected_name is None or tls.stack:
            return result
        return rename(result, reflected_name[isinstance(other, Tensor)])

    method.__name__, reflected.__name__ = name, f"r{name}"
    return method, reflected, slow


# Beside 16-bit tensors a number has the tensor's dtype, so it is rounded first; PyTorch's kernels of these keep it whole.
WIDE_NUMBERS = ("mul", "div")


def refuse_bool(a: Any, b: Any) -> None:
    """Raises: RuntimeError where a bool would be subtracted or subtracted from, tensor or number."""
    bools = [type(x) is bool or isinstance(x, Tensor) and x._a.dtype.kind == "b" for x in (a, b)]
    if not any(bools):
        return
    if all(bools):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    raise RuntimeError(
        "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the "
        "`~` or `logical_not()` operator instead."
    )


def check_broadcast(args: Sequence[Any]) -> None:
    """Raises: RuntimeError in PyTorch's words when the shapes do not broadcast."""
    shapes = [x._a.shape for x in args if isinstance(x, Tensor)]
    if not shapes or shapes.count(shapes[0]) == len(shapes):
        return
    nd = max(len(s) for s in shapes)
    result = [1] * nd
    for s in shapes:
        for i, n in reversed(list(enumerate(s))):  # the last dim that differs is named
            at = nd - len(s) + i
            if n != 1:
                if result[at] not in (1, n):
                    raise RuntimeError(
                        f"The size of tensor a ({result[at]}) must match the size of tensor b ({n}) at non-singleton "
                        f"dimension {at} (shapes {', '.join(str(list(x)) for x in shapes)})"
                    )
                result[at] = n


__all__ = [n for n in dir() if not n.startswith("_")]
