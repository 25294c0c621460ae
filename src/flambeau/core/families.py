"""The families: everything a rule-writer would otherwise repeat for each operation lives here, once.

pointwise     y[i] = body(x[i], ...): a scalar body and the tangent map of each input; unbroadcasting is derived
reduction     a weight dy/dx of x's shape; vjp, jvp and axis shifting are derived
view          shares memory; how to write through it, and so its vjp, are derived from the view itself
linear        jvp is the operation itself; a vjp is given
multilinear   linear in each slot: jvp is the sum over slots; a vjp for each slot is given
opaque        any function of trailing dims with a vjp; jvp is given or is the transpose of the vjp
random        draws; batching asks the vmap level's randomness mode
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime import pool
from . import acceleration, layout
from .op import REGISTRY, Op, Rule, bind, parameter_names
from .tape import helpers
from .tensor import Tensor, wrap

BIG = acceleration.BIG
HEAVY = acceleration.HEAVY


# ---------------------------------------------------------------------------------------- axis parameters and shifts


class Axis(int):
    """Annotation: a normalised dim (an int); a batch dim in front shifts it by one."""


class Axes(tuple):  # type: ignore[type-arg]
    """Annotation: a tuple of normalised dims."""


class Perm(tuple):  # type: ignore[type-arg]
    """Annotation: a permutation of all dims."""


class Shape(tuple):  # type: ignore[type-arg]
    """Annotation: sizes of all dims of the result."""


class Index(tuple):  # type: ignore[type-arg]
    """Annotation: one entry (int, slice, None) for each dim, from the front."""


SHIFT: dict[str, Callable[[Any, int], Any]] = {
    "Axis": lambda v, n: v + 1,
    "Axes": lambda v, n: tuple([d + 1 for d in v]),
    "Perm": lambda v, n: (0, *[d + 1 for d in v]),
    "Shape": lambda v, n: (n, *v),
    "Index": lambda v, n: (slice(None), *v),
}


def shifts_of(impl: Callable[..., Any]) -> dict[str, Callable[[Any, int], Any]]:
    """{parameter: how a batch dim in front changes it}, read off the annotations of the implementation."""
    found = {}
    for name, annotation in getattr(impl, "__annotations__", {}).items():
        kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        kind = kind.rpartition(".")[2]
        if kind in SHIFT:
            found[name] = SHIFT[kind]
    return found


def inputs_of(impl: Callable[..., Any], skip: int = 0) -> list[str]:
    """Names of the tensor inputs: the parameters before `*`, or all that are not keyword-only."""
    code = impl.__code__
    return list(code.co_varnames[skip : code.co_argcount])


def statics_of(impl: Callable[..., Any]) -> list[str]:
    """Names of the keyword-only parameters."""
    code = impl.__code__
    return list(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount])


def shape_of(x: Any) -> tuple[int, ...]:
    return x._a.shape if isinstance(x, Tensor) else ()


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x._a.shape == shape else REGISTRY["reshape"](x, shape=shape)


def expand(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x._a.shape == shape else REGISTRY["expand"](x, shape=shape)


def contiguous(x: Tensor) -> Tensor:
    """A copy in memory order."""
    return REGISTRY["clone"](x)  # type: ignore[no-any-return]


def unbroadcast(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum `g` over the dims that broadcasting a tensor of `shape` had expanded."""
    have = g._a.shape
    if have == shape:
        return g
    lead = len(have) - len(shape)
    dims = tuple([i for i in range(len(have)) if i < lead or (shape[i - lead] == 1 and have[i] != 1)])
    if dims:
        g = REGISTRY["sum"](g, dims=dims)
    return reshape(g, shape)


def align(args: Sequence[Any], batched: Sequence[bool], size: int, trailing: int = 0) -> list[Any]:
    """Batch dims in front of equally many dims, so that plain broadcasting over the rest is right."""
    ranks = [(len(x._a.shape) if isinstance(x, Tensor) else 0) - b for x, b in zip(args, batched)]
    nd = max(ranks)
    if all(r == nd or not b for r, b in zip(ranks, batched)):
        return list(args)
    out = []
    for x, b, r in zip(args, batched, ranks):
        if b and r < nd:
            s = x._a.shape
            x = reshape(x, (size, *(1,) * (nd - r), *s[1:]))
        out.append(x)
    return out


def batch_to_front(args: Sequence[Any], batched: Sequence[bool], size: int) -> list[Any]:
    """Every tensor with a batch dim of full size in front (unbatched ones are expanded, without a copy)."""
    out = []
    for x, b in zip(args, batched):
        if isinstance(x, Tensor) and not b:
            s = x._a.shape
            x = expand(reshape(x, (1, *s)), (size, *s))
        out.append(x)
    return out


# ------------------------------------------------------------------------------------------------------- pointwise


class NumPyDialect:
    """Scalar bodies over NumPy arrays: ufuncs by name, and the few names that differ."""

    select = staticmethod(np.where)
    abs = np.absolute
    max = np.maximum
    min = np.minimum
    round = np.rint
    pow = np.power
    not_ = np.logical_not
    complex = staticmethod(lambda a, b: a + 1j * b)

    def __getattr__(self, name: str) -> Any:
        fn = getattr(np, name, None)
        if fn is None:
            import scipy.special  # imported when one of its ufuncs is first used

            fn = getattr(scipy.special, name)
        setattr(self, name, fn)
        return fn

    @staticmethod
    def rsqrt(x: Any) -> Any:
        return np.reciprocal(np.sqrt(x))


NUMPY = NumPyDialect()


class _Symbol:
    """Traces a body that is a single ufunc call, so that eager calls the ufunc directly."""

    def __init__(self, i: int) -> None:
        self.i = i

    def __add__(self, o: Any) -> Any:
        return np.add, (self, o)

    def __sub__(self, o: Any) -> Any:
        return np.subtract, (self, o)

    def __mul__(self, o: Any) -> Any:
        return np.multiply, (self, o)

    def __truediv__(self, o: Any) -> Any:
        return np.true_divide, (self, o)

    def __neg__(self) -> Any:
        return np.negative, (self,)

    def __lt__(self, o: Any) -> Any:
        return np.less, (self, o)

    def __le__(self, o: Any) -> Any:
        return np.less_equal, (self, o)

    def __gt__(self, o: Any) -> Any:
        return np.greater, (self, o)

    def __ge__(self, o: Any) -> Any:
        return np.greater_equal, (self, o)

    def __eq__(self, o: Any) -> Any:
        return np.equal, (self, o)

    def __ne__(self, o: Any) -> Any:
        return np.not_equal, (self, o)

    def __and__(self, o: Any) -> Any:
        return np.bitwise_and, (self, o)

    def __or__(self, o: Any) -> Any:
        return np.bitwise_or, (self, o)

    def __xor__(self, o: Any) -> Any:
        return np.bitwise_xor, (self, o)

    def __invert__(self) -> Any:
        return np.invert, (self,)


class _Tracer:
    def __getattr__(self, name: str) -> Any:
        ufunc = (
            getattr(NUMPY, name)
            if name in ("abs", "max", "min", "round", "pow", "not_")
            else getattr(np, name, None)
        )
        if not isinstance(ufunc, np.ufunc):
            raise AttributeError(name)
        return lambda *args: (ufunc, args)


def single_ufunc(body: Callable[..., Any], n: int) -> np.ufunc | None:
    """The ufunc that a scalar body consists of, or None when it is more than one call."""
    symbols = [_Symbol(i) for i in range(n)]
    try:
        ufunc, args = body(_Tracer(), *symbols)
    except Exception:  # any failure to trace means only: not a single ufunc
        return None
    same = len(args) == n and all(a is s for a, s in zip(args, symbols))
    return ufunc if same and isinstance(ufunc, np.ufunc) and ufunc.nout == 1 else None


def _dtype_of(x: Any) -> Any:
    """What `ufunc.resolve_dtypes` wants to know of an operand: Python numbers are weak, except for bool."""
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype
    return np.dtype(bool) if type(x) is bool else type(x)


def pooled(ufunc: np.ufunc) -> Callable[..., Any]:
    """A ufunc whose large results live in recycled memory, where they lie in the order of their indices."""

    def impl(*xs: Any) -> Any:
        big = 0
        for x in xs:
            if type(x) is np.ndarray and x.nbytes >= BIG:
                big = x.nbytes
        if not big:
            return ufunc(*xs)
        out_dtype = ufunc.resolve_dtypes((*[_dtype_of(x) for x in xs], None))[-1]
        arrays = [x for x in xs if isinstance(x, np.ndarray)]
        shape = arrays[0].shape if len(arrays) == 1 else np.broadcast_shapes(*[a.shape for a in arrays])
        if not arrays[0].flags.c_contiguous:
            return ufunc(*xs)  # NumPy keeps the inputs' memory order
        return ufunc(*xs, out=pool.empty(shape, out_dtype))

    return impl


SINGLE = np.dtype(np.float32)
HALF_VECTOR = 32  # elements that PyTorch's 16-bit kernels take at once


def is_half(x: Any) -> bool:
    """Whether an array has a 16-bit floating dtype (float16, bfloat16)."""
    return type(x) is np.ndarray and x.dtype.itemsize == 2 and x.dtype.kind in "fV"


def wide(x: Any) -> Any:
    """The array that 16-bit floats are computed in: float32; any other array as it is."""
    return x.astype(SINGLE) if is_half(x) else x


def _arrays(xs: Sequence[Any]) -> list[Any]:
    return [x for x in xs if type(x) is np.ndarray]


def in_single(impl: Callable[..., Any], op_of: list[Op]) -> Callable[..., Any]:
    """Half types compute in float32 and are rounded once, as in PyTorch's kernels; large arrays ask for a kernel.

    With `impl.rest_in_steps`, the last elements, which fill no vector, are rounded at each step, as PyTorch's are.
    """
    in_steps = getattr(impl, "rest_in_steps", False)

    def run(*xs: Any, **params: Any) -> Any:
        half = None
        large = 0
        odd = False
        for x in xs:
            if type(x) is np.ndarray:
                if x.nbytes > large:
                    large = x.nbytes
                d = x.dtype
                if d.itemsize == 2 and half is None and d.kind in "fV":
                    half = d
                if not x.flags.c_contiguous:
                    odd = True
        if odd and large >= HEAVY:
            turned, back = layout.turned(xs)
            if back is not None:  # as the result lies in memory: then a kernel can write it
                y = run(*turned, **params)
                return y.transpose(back) if type(y) is np.ndarray else y
        if large >= HEAVY and not params and acceleration.wanted(op_of, large):
            r = acceleration.run(op_of[0], xs)
            if r is not None:
                return layout.settled(r, _arrays(xs)) if odd else r
        if half is not None:
            r = np.asarray(impl(*[v.astype(SINGLE) if is_half(v) else v for v in xs], **params))
            r = r.astype(half) if r.dtype is SINGLE or r.dtype == np.float64 else r
            rest = r.size % HALF_VECTOR if in_steps and all(x.flags.c_contiguous for x in (r, *xs)) else 0
            if rest:
                r.reshape(-1)[-rest:] = impl(*[x.reshape(-1)[-rest:] for x in xs], **params)
        else:
            r = impl(*xs, **params)
        return layout.settled(r, _arrays(xs)) if odd and type(r) is np.ndarray else r

    return run


def pointwise_op(
    name: str,
    body: Callable[..., Any],
    d: Sequence[Callable[..., Any] | None] | None,
    *,
    vjp: Sequence[Callable[..., Any] | None] | None = None,
    jvp: Callable[..., Any] | None = None,
    impl: Callable[..., Any] | None = None,
    grad_name: str | None = None,
    order: tuple[int, ...] = (),
) -> Op:
    """An elementwise operation.

    `body(k, *xs)` is its mathematics over a dialect `k`.  `d[i](t, ...)` maps the tangent of input i to its
    contribution to the tangent of the result; since the Jacobian is diagonal, the same function maps cotangents back
    (between two conjugations for complex numbers, as the Wirtinger convention asks).  `vjp` replaces that for
    functions that are not holomorphic.  None means no gradient.  `jvp(ts, xs, y)` gives the whole tangent where
    PyTorch's forward mode rounds in another order than the sum of those contributions; `ts` has None for no tangent.
    """
    inputs = inputs_of(body, 1)
    statics = statics_of(body)
    knows_halves = getattr(impl, "knows_halves", False)
    ufunc = single_ufunc(body, len(inputs)) if not statics and impl is None else None
    if impl is None:
        impl = pooled(ufunc) if ufunc is not None else (lambda *xs, **p: body(NUMPY, *xs, **p))
    plain = impl
    op_of: list[Op] = []
    impl = impl if knows_halves else in_single(impl, op_of)
    tangents = [f and Rule(f, inputs) for f in d] if d is not None else []

    def reverse(i: int, f: Callable[..., Any], holomorphic: bool) -> Callable[..., Any]:
        names = list(parameter_names(f)[1:])
        if inputs[i] + "_meta" not in names:
            names.append(inputs[i] + "_meta")
        extra = len(names) - len(parameter_names(f)[1:])
        at = names.index(inputs[i] + "_meta")

        def whole(g: Tensor, *args: Any) -> Tensor:
            own = args[: len(args) - extra]
            if holomorphic and g._a.dtype.kind == "c":
                conj = REGISTRY["conj"]
                return conj(f(conj(g), *own))  # type: ignore[no-any-return]
            return f(g, *own)  # type: ignore[no-any-return]

        def rule(g: Tensor, *args: Any) -> Tensor:
            meta = args[at]
            return unbroadcast(whole(g, *args), meta.shape if meta is not None else g._a.shape)

        rule.whole = whole  # type: ignore[attr-defined]
        rule.direct = f  # type: ignore[attr-defined]
        rule.own = len(names) - extra  # type: ignore[attr-defined]
        rule.names = ("g", *names)  # type: ignore[attr-defined]
        return rule

    if vjp is not None:
        rules: Any = [f and reverse(i, f, False) for i, f in enumerate(vjp)]
    elif d is not None:
        rules = [f and reverse(i, f, True) for i, f in enumerate(d)]
    else:
        rules = None

    def forward(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
        if jvp is not None:
            return expand(jvp(ts, xs, y), y._a.shape)
        total = None
        for t, rule in zip(ts, tangents):
            if t is not None and rule is not None:
                part = rule.fn(t, *[primal(s, xs, y, params) for s in rule.sources])
                total = part if total is None else helpers["add"](total, part)
        return total if total is None else expand(total, y._a.shape)

    def batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
        return bind(op, tuple(align(args, batched, size)), params), True

    op = Op(
        name,
        "pointwise",
        impl,
        inputs,
        vjp=rules,
        jvp=forward,
        batch=batch,
        differentiable=rules is not None and any(rules),
        grad_name=grad_name,
    )
    op.scalar = body
    op_of.append(op)
    if order:
        op.info["order"] = order  # in which the rules run, where that is not the order of the inputs
    op.info["ufunc"] = ufunc
    op.info["plain"] = plain  # without the care for half types, for callers that know the dtype
    return op


def primal(source: tuple[int, Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    """What a rule's parameter means in forward mode, where everything is still at hand."""
    kind, key = source
    if kind == 0:
        return xs[key]
    if kind == 1:
        return y
    if kind == 2:
        return helpers["meta_of"](xs[key])
    if kind == 3:
        return tuple([helpers["meta_of"](x) for x in xs])
    if kind == 4:
        return params.get(key)
    if kind == 7:
        return list(xs)
    if kind == 5:
        return (True,) * len(xs)
    return tuple([helpers["meta_of"](o) for o in (y if isinstance(y, tuple) else (y,))])


# --------------------------------------------------------------------------------------- linear maps and reductions


def shifted_batch(op: Op, shifts: dict[str, Callable[[Any, int], Any]]) -> Callable[..., Any]:
    """Batching by shifting the annotated parameters, with every tensor input given a batch dim."""

    def batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
        moved = {k: shifts[k](v, size) if k in shifts else v for k, v in params.items()}
        return bind(op, tuple(batch_to_front(args, batched, size)), moved), True

    return batch


def linear_op(
    impl: Callable[..., Any],
    vjp: Any,
    *,
    name: str | None = None,
    grad_name: str | None = None,
    batch: Callable[..., Any] | None = None,
) -> Op:
    """Linear in all of its tensor inputs together: the jvp is the operation itself on the tangents."""
    inputs = inputs_of(impl)

    def jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
        full = [t if t is not None or not isinstance(x, Tensor) else zeros_like(x) for t, x in zip(ts, xs)]
        return bind(op, tuple(full), params)

    op = Op(
        name or impl.__name__.strip("_"),
        "linear",
        impl,
        inputs,
        vjp=vjp if isinstance(vjp, (tuple, list)) else (vjp,),
        jvp=jvp,
        batch=lambda *a: shifted_batch(op, shifts_of(impl))(*a) if batch is None else batch(*a),
        grad_name=grad_name,
    )
    if batch is None:
        op.batch = shifted_batch(op, shifts_of(impl))
    return op


def zeros_like(x: Any) -> Tensor:
    return helpers["zeros"]((x._a.shape, x._a.dtype))  # type: ignore[no-any-return]


def keepdims(y: Tensor, ndim: int, dims: Sequence[int]) -> Tensor:
    """Put the reduced dims back with size 1."""
    if len(y._a.shape) == ndim:
        return y
    sizes = iter(y._a.shape)
    return reshape(y, tuple([1 if i in dims else next(sizes) for i in range(ndim)]))


def rounded_once(impl: Callable[..., Any]) -> Callable[..., Any]:
    """An implementation whose 16-bit inputs are computed in float32, and whose result is rounded once."""

    def run(*xs: Any, **params: Any) -> Any:
        half = next((x.dtype for x in xs if is_half(x)), None)
        if half is None:
            return impl(*xs, **params)
        r = impl(*[x.astype(SINGLE) if is_half(x) else x for x in xs], **params)
        return np.asarray(r).astype(half)

    return run


def reduction_op(
    impl: Callable[..., Any],
    *,
    weight: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    half: bool = False,
    differentiable: bool = True,
    name: str | None = None,
    grad_name: str | None = None,
) -> Op:
    """Reduces `dims` away: ``impl(x, *, dims: Axes)``.

    `weight(x, y, dims)` is dy/dx elementwise (x's shape, with y's reduced dims kept); no weight means a plain sum.
    The cotangent is expanded and weighted; the tangent is weighted and summed, unless there is a `jvp`.  With `half`,
    16-bit inputs are reduced in float32 and the result is rounded once; the weights are rounded at each step.
    """
    given = jvp

    def vjp_sum(g: Tensor, x_meta: Any, dims: Any) -> Tensor:
        return expand(keepdims(g, len(x_meta.shape), dims), x_meta.shape)

    def vjp_weighted(g: Tensor, x: Any, y: Any, dims: Any) -> Tensor:
        w = weight(x, keepdims(y, len(x._a.shape), dims), dims)  # type: ignore[misc]
        if w._a.dtype.kind == "c":
            w = REGISTRY["conj"](w)
        return REGISTRY["mul"](keepdims(g, len(x._a.shape), dims), w)  # type: ignore[no-any-return]

    def forward(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
        if given is not None:
            return given(ts, xs, y, params)
        t = ts[0]
        if weight is not None:
            t = REGISTRY["mul"](
                t, weight(xs[0], keepdims(y, len(xs[0]._a.shape), params["dims"]), params["dims"])
            )
        return REGISTRY["sum"](t, dims=params["dims"])

    op = Op(
        name or impl.__name__.strip("_"),
        "reduction",
        rounded_once(impl) if half else impl,
        ["x"],
        vjp=((vjp_weighted if weight else vjp_sum),) if differentiable else None,
        jvp=forward,
        batch=lambda *a: None,
        differentiable=differentiable,
        grad_name=grad_name,
    )
    op.batch = shifted_batch(op, shifts_of(impl))
    return op


# ------------------------------------------------------------------------------------------------------------ views


def view_op(
    impl: Callable[..., Any],
    *,
    inverse: Callable[..., Any] | None = None,
    adjoint: Callable[..., Any] | None = None,
    name: str | None = None,
    grad_name: str | None = None,
) -> Op:
    """A view: ``impl(x, *, params)`` returns an array over the same memory.

    From it come `op.put(base, y)` = "base with y written through this view" (itself an operation, linear in both),
    the vjp (y written into zeros), and in-place writes under every interpreter.  `inverse(y, x_meta, params)` is
    given for views that keep every element (reshape, permute): it replaces writing into zeros by a view back.
    `adjoint` is given for views that repeat elements (expand, unfold): there is no writing through those.
    """
    name = name or impl.__name__.strip("_")
    shifts = shifts_of(impl)
    shifts.pop("base_shape", None)
    statics = statics_of(impl)

    def back(g: Tensor, x_meta: Any, params: dict[str, Any]) -> Tensor:
        if inverse is not None:
            return inverse(g, x_meta, **params)  # type: ignore[no-any-return]
        if adjoint is not None:
            return adjoint(g, x_meta, **params)  # type: ignore[no-any-return]
        return bind(op.adjoint, (g,), {**params, "base_shape": tuple(x_meta.shape)})  # type: ignore[no-any-return]

    def vjp(g: Tensor, x_meta: Any, *values: Any) -> Tensor:
        return back(g, x_meta, dict(zip(statics, values)))

    vjp.names = ("g", "x_meta", *statics)  # type: ignore[attr-defined]

    def put_impl(base: Any, y: Any, **params: Any) -> Any:
        out = np.array(base, order="C") if not base.flags.c_contiguous else base.copy()
        impl(out, **params)[...] = y
        return out

    def vjp_old(g: Tensor, y_meta: Any, *values: Any) -> Tensor:
        zero = helpers["zeros"]((y_meta.shape, y_meta.dtype))
        return bind(op.put, (g, zero), dict(zip(statics, values)))  # type: ignore[no-any-return]

    vjp_old.names = ("g", "v_meta", *statics)  # type: ignore[attr-defined]

    def vjp_new(g: Tensor, *values: Any) -> Tensor:
        return bind(op, (g,), dict(zip(statics, values)))  # type: ignore[no-any-return]

    vjp_new.names = ("g", *statics)  # type: ignore[attr-defined]

    def both(op_: Op) -> Callable[..., Any]:
        def jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
            full = [zeros_like(x) if t is None else t for t, x in zip(ts, xs)]
            return bind(op_, tuple(full), params)

        return jvp

    op = Op(
        name, "view", impl, ["x"], vjp=(vjp,), jvp=lambda *a: None, batch=lambda *a: None, grad_name=grad_name
    )
    op.is_view = True
    op.jvp = both(op)
    op.batch = shifted_batch(op, shifts)
    put = Op(
        name + "_put", "linear", put_impl, ["base", "v"], vjp=(vjp_old, vjp_new), jvp=lambda *a: None,
        batch=lambda *a: None, grad_name="torch::autograd::CopySlices",
    )  # fmt: skip
    put.jvp = both(put)
    put.batch = shifted_batch(put, shifts)
    op.put = put
    if inverse is None and adjoint is None:

        def adjoint_impl(y: Any, *, base_shape: Any, **params: Any) -> Any:
            out = np.zeros(base_shape, y.dtype)
            impl(out, **params)[...] = y
            return out

        def adjoint_vjp(g: Tensor, *values: Any) -> Tensor:
            return bind(op, (g,), dict(zip(statics, values)))  # type: ignore[no-any-return]

        adjoint_vjp.names = ("g", *statics)  # type: ignore[attr-defined]
        adj = Op(
            name + "_adjoint", "linear", adjoint_impl, ["y_"], vjp=(adjoint_vjp,), jvp=lambda *a: None,
            batch=lambda *a: None, grad_name=f"{name.capitalize()}BackwardBackward0",
        )  # fmt: skip
        adj.jvp = both(adj)
        adj.batch = shifted_batch(adj, {**shifts, "base_shape": SHIFT["Shape"]})
        op.adjoint = adj
    return op


# ------------------------------------------------------------------------------------------- multilinear and opaque


def multilinear_op(
    name: str,
    impl: Callable[..., Any],
    vjp: Sequence[Callable[..., Any]],
    batch: Callable[..., Any],
    grad_name: str | None = None,
) -> Op:
    """Linear in each of its inputs: matmul, convolution.  The jvp is the sum over slots."""

    def jvp(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
        total = None
        for i, t in enumerate(ts):
            if t is not None:
                part = bind(op, (*xs[:i], t, *xs[i + 1 :]), params)
                total = part if total is None else helpers["add"](total, part)
        return total

    op = Op(name, "multilinear", impl, inputs_of(impl), vjp=vjp, jvp=jvp, batch=batch, grad_name=grad_name)
    if batch is None:
        raise ValueError(f"{name}: a multilinear operation needs a batching rule")
    return op


def opaque_op(
    impl: Callable[..., Any],
    vjp: Any = None,
    *,
    name: str | None = None,
    jvp: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | None = None,
    n_out: int = 1,
    half: bool = False,
    differentiable: bool = True,
    grad_name: str | None = None,
) -> Op:
    """A function with a given vjp (linear algebra, scans, sorts).

    Forward mode is the given ``jvp(tangents, primals, y, params)``, else the transpose of the vjp: the vjp is linear
    in the cotangent and made of operations, so reverse mode through it gives the forward map (Christianson, 1992).
    Batching: the implementation works on trailing dims, or its parameters are annotated and get shifted.
    `half`: 16-bit inputs are computed in float32, and the result is rounded once.
    """
    inputs = inputs_of(impl)
    shifts = shifts_of(impl)

    def transpose(ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
        return helpers["transpose_vjp"](op, ts, xs, y, params)

    op = Op(
        name or impl.__name__.strip("_"),
        "opaque",
        rounded_once(impl) if half else impl,
        inputs,
        vjp=vjp,
        jvp=jvp or transpose,
        batch=lambda *a: None,
        n_out=n_out,
        differentiable=differentiable and vjp is not None,
        grad_name=grad_name,
    )
    op.batch = batch or shifted_batch(op, shifts)
    return op


def run_vjp(
    op: Op, g: Any, xs: Sequence[Any], y: Any, params: dict[str, Any], needs: tuple[bool, ...]
) -> list[Any]:
    """The vjp of `op` as a plain function of tensors."""
    plan = op.plan(needs)

    def value(k: int, p: Any) -> Any:
        if k == 0:
            return xs[plan.inputs[p]]
        if k == 5:
            return needs
        return primal((k, p), xs, y, params)

    grads: list[Any] = [None] * len(xs)
    for i, fn, sources in plan.rules:
        r = fn(g, *[value(k, p) for k, p in sources])
        if i < 0:
            return list(r)
        grads[i] = r
    return grads


def random_op(name: str, draw: Callable[..., Any]) -> Op:
    """Random numbers: ``draw(*arrays, shape: Shape, ...)``; not differentiable."""
    shifts = shifts_of(draw)

    def batch(size: int, batched: Sequence[bool], args: Sequence[Any], params: dict[str, Any]) -> Any:
        moved = {k: shifts[k](v, size) if k in shifts else v for k, v in params.items()}
        return bind(op, tuple(batch_to_front(args, batched, size)), moved), True

    op = Op(name, "random", draw, inputs_of(draw), batch=batch, differentiable=False)
    return op


def constant_op(name: str, impl: Callable[..., Any]) -> Op:
    """A factory: no tensor inputs."""
    return Op(name, "factory", impl, (), batch=lambda *a: None, differentiable=False)


__all__ = [n for n in dir() if not n.startswith("_")]
del wrap
