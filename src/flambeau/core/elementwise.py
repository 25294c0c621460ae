"""Elementwise operations as a user calls them: promotion, operators, in-place and `out=` forms, and the fast path.

`unary` and `binary` define an operation with everything it has, in one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import families
from .acceleration import SLOW_IN_NUMPY
from .docstrings import elementwise, operator
from .families import BIG
from .grad_names import rename
from .layout import settled
from .op import Op, bind
from .promotion import COMPARE, FLOAT, LOGICAL, SAME, check_size, convert, promote, result_type
from .public import FUNCTIONS, OVERRIDES, check_tensor, overridden, register, store_out
from .state import NO_GRAD, RECORD, defaults, everyone, tls
from .tape import Node, PlainNode, next_seq
from .tensor import Storage, Tensor, new_object
from .where import user_place

__all__ = ["OPERANDS", "WIDE_NUMBERS", "binary", "check_broadcast", "light_node", "refuse_bool", "unary"]

F32, F64, I64, BOOLS = (np.dtype(t) for t in (np.float32, np.float64, np.int64, np.bool_))
_NO_PARAMS: dict[str, Any] = {}
_ndarray = np.ndarray
asarray = np.asarray


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
            except (AttributeError, ValueError, TypeError, NotImplementedError, RuntimeWarning):
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
        if bare == "eq":
            bound.__name__ = (
                dunder  # what PyTorch's operator is called, where the others have the function's name
            )
        bound.__doc__ = operator(dunder, name, kind, reject)
        if bare not in ("lt", "le", "gt", "ge", "eq", "ne"):
            bound_reflected.__doc__ = operator(f"__r{bare}__", name, kind, reject)
            if not commutes:
                bound_reflected.__name__ = f"__r{bare}__"
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

        update.__name__ = fn.__name__
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
            if type(value) is int:
                check_size(value)
            found = np.array(value, d)
            if value and abs(value) < 1 << 63:  # 0.0 and -0.0 are one key, and 2.0**70 and the integer
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
                            nd = a.ndim
                            if nd > 1 and not a.flags.c_contiguous:
                                r = settled(r, (a, b))
                            t = new_object(Tensor)
                            t._a = r if nd else asarray(r)  # of 0-d arrays NumPy makes scalars
                            t._st = t._base = t._node = None
                            return t
                    elif both is not None:
                        mode = RECORD if everyone.plain else tls.mode
                        if mode == RECORD and a.shape == b.shape:
                            r = call(a, b)
                            nd = a.ndim
                            if nd > 1 and not a.flags.c_contiguous:
                                r = settled(r, (a, b))
                            t = new_object(Tensor)
                            t._a = r if nd else asarray(r)  # of 0-d arrays NumPy makes scalars
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
                            nd = a.ndim
                            if nd > 1 and not a.flags.c_contiguous:
                                r = settled(r, (a, b))
                            t = new_object(Tensor)
                            t._a = r if nd else asarray(r)  # of 0-d arrays NumPy makes scalars
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
        except (AttributeError, ValueError, TypeError, OverflowError, NotImplementedError, RuntimeWarning):
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
        if isinstance(self, PLAIN_NUMBERS) and isinstance(other, PLAIN_NUMBERS) and name in ALONE:
            self = FUNCTIONS["tensor"](self)
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
        if dtype.itemsize == 2 and k in "fV" and (name not in WIDE_NUMBERS or type(args[0]) is float):
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


# What takes two Python numbers, too: the result is a tensor without dims.
ALONE = ("add", "sub", "mul", "div", "div_floor", "div_trunc")
PLAIN_NUMBERS = (bool, int, float, complex)

# Beside 16-bit tensors a number has the tensor's dtype, so it is rounded first; PyTorch's kernels of these keep one on
# the right whole.
WIDE_NUMBERS = ("mul", "div", "div_floor", "div_trunc")


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
