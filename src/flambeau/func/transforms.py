"""grad, vjp, jvp and what is built from them: Jacobians, Hessians, linearisation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..core.families import run_vjp
from ..core.interpreters import JVP, Dual, InputNode, Tape, Taped
from ..core.op import Op, dtype_of
from ..core.pytree import shown, tree_flatten, tree_map, tree_unflatten
from ..core.tape import helpers
from ..core.tensor import Tensor, wrap
from ..core.walk import run_backward
from ..prims.base import convert_to, from_value, full, reshape
from .vectorize import vmap

Argnums = int | tuple[int, ...]


def _zeros(x: Tensor) -> Tensor:
    return full(tuple(x._a.shape), 0, x._a.dtype)


def _ones(x: Tensor) -> Tensor:
    return full(tuple(x._a.shape), 1, x._a.dtype)


def _need_tensors(leaves: Sequence[Any], what: str) -> None:
    for x in leaves:
        if not isinstance(x, Tensor):
            raise ValueError(
                f"{what}: Thing passed to transform API must be Tensor, got {type(x)}; close over what is not differentiated"
            )


def _need_floating(x: Tensor, what: str) -> None:
    if x._a.dtype.kind not in "fcV":
        raise RuntimeError(
            f"{what}: only Tensors of floating point and complex dtype can be differentiated, got an input of dtype {dtype_of(x)}; "
            "convert it with .float()"
        )


def _pick(args: tuple[Any, ...], argnums: Argnums) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """The positions `argnums` of the arguments, and these arguments.

    Raises: RuntimeError for argnums of another type, out of range, twice the same, or none at all.
    """
    chosen = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(chosen, tuple) or not all(isinstance(i, int) for i in chosen):
        raise RuntimeError(f"argnums must be an int or a tuple of ints, got {argnums!r}")
    if not chosen:
        raise RuntimeError("argnums must be non-empty, got ()")
    for i in chosen:
        if not -len(args) <= i < len(args):
            raise RuntimeError(f"Got argnum={i}, but only {len(args)} positional inputs")
    chosen = tuple([i % len(args) for i in chosen])
    if len(set(chosen)) != len(chosen):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return chosen, tuple([args[i] for i in chosen])


class _Tracked:
    """A function's run on a tape of its own: inputs to differentiate, outputs, and the way back."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self.level = Tape()
        self.nodes = [InputNode() for _ in inputs]
        self.inputs = [wrap(Taped(x, n, self.level)) for x, n in zip(inputs, self.nodes)]

    def lower(self, x: Any) -> Any:
        return x._a.inner if self.level.owns(x) else x

    def pull(self, outs: Sequence[Any], cts: Sequence[Any], keep: bool = True) -> list[Tensor | None]:
        """Cotangents of the inputs; runs at the level below, whose interpreters see every operation."""
        roots = [
            (o._a.node, ct)
            for o, ct in zip(outs, cts)
            if self.level.owns(o) and o._a.node is not None and ct is not None
        ]
        if not roots:
            return [None] * len(self.nodes)
        found = run_backward(roots, keep_graph=keep, targets=self.nodes, accumulate=False, create_graph=True)
        return [found.get(n) for n in self.nodes]


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """``(func(*primals), vjp_fn)``, where ``vjp_fn(cotangents)`` gives the vector-Jacobian products (a tuple).

    With `has_aux`, func returns (output, aux) and the result is (output, vjp_fn, aux).

    Raises: ValueError for primals that are not tensors, RuntimeError for primals or outputs that are not floating or
    complex tensors and for cotangents of another structure or shape, TypeError for cotangents that are not tensors.
    Cotangents of another floating dtype are converted to that of the output.

    >>> import flambeau as torch
    >>> y, pull = torch.func.vjp(torch.sin, torch.zeros(2))
    >>> pull(torch.ones(2))
    (tensor([1., 1.]),)
    """
    tensors, spec = tree_flatten(primals)
    _need_tensors(tensors, "vjp(f, *primals)")
    for x in tensors:
        _need_floating(x, "vjp(f, *primals)")
    tracked = _Tracked(tensors)
    args = tree_unflatten(tracked.inputs, spec)
    with tracked.level:
        out = func(*args)
    aux = None
    if has_aux:
        if not (isinstance(out, tuple) and len(out) == 2):
            raise RuntimeError(
                "vjp(f, *primals): output of function f should be a tuple: (output, aux) if has_aux is True"
            )
        out, aux = out
        aux = tree_map(tracked.lower, aux)
    outs, out_spec = tree_flatten(out)
    for o in outs:
        if not isinstance(o, Tensor):
            raise RuntimeError(
                f"vjp(f, *primals): Expected f to be a function that has non-empty output Tensors, got {type(o).__name__}"
            )
        if o._a.dtype.kind not in "fcV":
            raise RuntimeError(
                f"vjp(f, *primals): Expected all outputs of f to be floating-point or complex Tensors, got one of dtype {dtype_of(o)}; "
                "return it as aux (has_aux=True)"
            )
    if not outs:
        raise RuntimeError(
            "vjp(f, *primals): Expected f to be a function that has non-empty output (i.e. output isn't [] or ())"
        )

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        cts, ct_spec = tree_flatten(cotangents)
        if ct_spec != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {shown(ct_spec)}, outputs: {shown(out_spec)}"
            )
        for o, c in zip(outs, cts):
            if not isinstance(c, Tensor):
                raise (RuntimeError if c is None else TypeError)(
                    f"cotangents must be Tensors, like the outputs, but got {type(c).__name__}"
                )
            if tuple(c._a.shape) != tuple(o._a.shape):
                raise RuntimeError(
                    f"Expected cotangents of the outputs' shapes: output {list(o._a.shape)}, cotangent {list(c._a.shape)}"
                )
        cts = [c if c._a.dtype == o._a.dtype else convert_to(c, o._a.dtype) for o, c in zip(outs, cts)]
        grads = tracked.pull(outs, cts)  # in the grad mode around the call: the levels outside see no_grad
        return tree_unflatten([g if g is not None else _zeros(x) for g, x in zip(grads, tensors)], spec)

    value = tree_unflatten([tracked.lower(o) for o in outs], out_spec)
    return (value, vjp_fn, aux) if has_aux else (value, vjp_fn)


def grad_and_value(
    func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (gradient, value) of a scalar function; with `has_aux` (gradient, (value, aux)).

    Raises: RuntimeError for outputs that are not real scalar tensors, for inputs that are not floating or complex and
    for argnums that do not fit; ValueError for inputs that are not tensors.
    """
    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen, picked = _pick(args, argnums)
        leaves, spec = tree_flatten(picked)
        _need_tensors(leaves, f"grad({name})")
        for x in leaves:
            _need_floating(x, f"grad({name})")
        tracked = _Tracked(leaves)
        inside = list(args)
        for i, value in zip(chosen, tree_unflatten(tracked.inputs, spec)):
            inside[i] = value
        with tracked.level:
            out = func(*inside, **kwargs)
        aux = None
        if has_aux:
            if not (isinstance(out, tuple) and len(out) == 2):
                raise RuntimeError(
                    "grad_and_value(f)(*args): output of function f should be a tuple: (output, aux) if has_aux is True"
                )
            out, aux = out
            aux = tree_map(tracked.lower, aux)
        if not isinstance(out, Tensor):
            raise RuntimeError(
                f"grad_and_value(f)(*args): Expected f(*args) to return a single tensor, got {type(out).__name__}"
            )
        if len(out._a.shape):
            raise RuntimeError(
                f"grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with {len(out._a.shape)} dims. Maybe "
                "you wanted to use the vjp or jacrev APIs instead?"
            )
        if out._a.dtype.kind == "c":
            raise RuntimeError(
                f"grad_and_value(f)(*args): grad can be implicitly created only for real scalar outputs but got {dtype_of(out)}; "
                "take .real, or use vjp"
            )
        value = tracked.lower(out)
        grads = tracked.pull([out], [_ones(value)], keep=False)  # in the grad mode around the call
        result = tree_unflatten([g if g is not None else _zeros(x) for g, x in zip(grads, leaves)], spec)
        result = result[0] if isinstance(argnums, int) else result
        return (result, (value, aux)) if has_aux else (result, value)

    return wrapped


def grad(func: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a scalar function with respect to the arguments `argnums`.

    Raises: as `grad_and_value`.

    >>> import flambeau as torch
    >>> torch.func.grad(torch.sin)(torch.tensor(0.0))
    tensor(1.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        g, value = both(*args, **kwargs)
        return (g, value[1]) if has_aux else g

    return wrapped


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """``(func(*primals), J(primals) @ tangents)`` in one forward pass.

    A tangent of another floating dtype is converted to its primal's.  With `strict`, outputs that do not depend on the
    primals are an error.

    Raises: RuntimeError when primals and tangents differ in structure or shape and for functions that return nothing,
    ValueError for primals that are not tensors of a floating or complex dtype.

    >>> import flambeau as torch
    >>> torch.func.jvp(torch.sin, (torch.zeros(1),), (torch.ones(1),))
    (tensor([0.]), tensor([1.]))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            f"jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals), got {type(primals).__name__}"
        )
    if not isinstance(tangents, tuple):
        raise RuntimeError(
            f"jvp(f, primals, tangents): Expected tangents to be a tuple, got {type(tangents).__name__}"
        )
    ps, spec = tree_flatten(primals)
    ts, t_spec = tree_flatten(tangents)
    if spec != t_spec:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure"
        )
    if not ps:
        raise RuntimeError("jvp(f, primals, tangents): Expected primals to be non-empty")
    for what, leaves in (("primals", ps), ("tangents", ts)):
        for x in leaves:
            if not isinstance(x, Tensor):
                raise RuntimeError(
                    f"jvp(f, primals, tangents): Expected {what} to only contain Tensors, got {type(x)}"
                )
    for p, t in zip(ps, ts):
        if tuple(p._a.shape) != tuple(t._a.shape):
            raise RuntimeError(
                f"Expected tangent of shape {list(p._a.shape)}, like its primal, but got {list(t._a.shape)}"
            )
        if p._a.dtype.kind not in "fcV":
            raise ValueError(
                f"jvp(f, primals, tangents): Expected primal to be floating point or complex, but got: {dtype_of(p)}"
            )
        if t._a.dtype.kind not in "fcV" or (t._a.dtype.kind == "c") > (p._a.dtype.kind == "c"):
            raise RuntimeError(
                f"Expected tangent of dtype {dtype_of(p)}, like its primal, but got {dtype_of(t)}"
            )
    ts = [t if t._a.dtype == p._a.dtype else convert_to(t, p._a.dtype) for p, t in zip(ps, ts)]
    level = JVP()
    inside = [wrap(Dual(p, t, level)) for p, t in zip(ps, ts)]
    with level:
        out = func(*tree_unflatten(inside, spec))
    aux = None
    if has_aux:
        if not (isinstance(out, tuple) and len(out) == 2):
            raise RuntimeError(
                "jvp(f, primals, tangents): output of function f should be a tuple: (output, aux) if has_aux is True"
            )
        out, aux = out
        aux = tree_map(lambda x: x._a.inner if level.owns(x) else x, aux)
    outs, out_spec = tree_flatten(out)
    for o in outs:
        if not isinstance(o, Tensor):
            raise RuntimeError(
                f"jvp(f, primals, tangents): Expected f to return Tensors only, got unsupported type {type(o).__name__}"
            )
    if not outs:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected f to be a function that has non-empty output (i.e. output isn't [] or ())"
        )
    values, tangents_out = [], []
    for o in outs:
        p = o._a.inner if level.owns(o) else o
        t = o._a.tangent if level.owns(o) else None
        if strict and t is None:
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed with strict=True."
            )
        values.append(p)
        tangents_out.append(_zeros(p) if t is None else t)
    result = tree_unflatten(values, out_spec), tree_unflatten(tangents_out, out_spec)
    return (*result, aux) if has_aux else result


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """``(func(*primals), jvp_fn)``, where ``jvp_fn(*tangents)`` applies the Jacobian at the primals.

    >>> import flambeau as torch
    >>> y, push = torch.func.linearize(torch.sin, torch.zeros(1))
    >>> push(torch.ones(1))
    tensor([1.])
    """
    leaves, _ = tree_flatten(primals)
    _need_tensors(leaves, "linearize(f, *primals)")
    value = func(*primals)

    def jvp_fn(*tangents: Any) -> Any:
        for x, t in zip(leaves, tree_flatten(tangents)[0]):
            if isinstance(t, Tensor) and t._a.dtype != x._a.dtype:
                raise RuntimeError(
                    f"Expected tangent of dtype {dtype_of(x)}, like its primal, but got {dtype_of(t)}"
                )
        return jvp(func, primals, tangents)[1]

    return value, jvp_fn


def _basis(leaves: Sequence[Tensor]) -> tuple[list[Tensor], int]:
    """Standard basis of the space of `leaves`: for each leaf a batch of one-hot tensors."""
    import numpy as np

    total = sum(int(np.prod(x._a.shape)) for x in leaves)
    found = []
    start = 0
    for x in leaves:
        n = int(np.prod(x._a.shape))
        a = np.zeros((total, n), x._a.dtype)
        a[start : start + n] = np.eye(n, dtype=x._a.dtype)
        found.append(from_value(a.reshape(total, *x._a.shape)))
        start += n
    return found, total


def _with(args: tuple[Any, ...], chosen: tuple[int, ...], values: Any) -> list[Any]:
    full_args = list(args)
    for i, v in zip(chosen, values):
        full_args[i] = v
    return full_args


def _split_sizes(leaves: Sequence[Tensor]) -> list[int]:
    import math

    return [math.prod(x._a.shape) for x in leaves]


def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """The Jacobian by reverse mode: shape (*output, *input) for each pair.

    One batched vector-Jacobian product over the basis of the outputs (`chunk_size` of them at a time).

    >>> import flambeau as torch
    >>> torch.func.jacrev(torch.sin)(torch.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen, picked = _pick(args, argnums)
        result = vjp(lambda *xs: func(*_with(args, chosen, xs), **kwargs), *picked, has_aux=has_aux)
        out, pull = result[0], result[1]
        outs, out_spec = tree_flatten(out)
        ins, in_spec = tree_flatten(picked)
        basis, total = _basis(outs)

        def pulled(*cts: Any) -> list[Any]:
            return tree_flatten(pull(tree_unflatten(list(cts), out_spec)))[0]

        if (
            total == 1
        ):  # a batch of one costs a level and gains nothing: gradients, and Hessians made from them
            rows = pulled(*[reshape(b, tuple(b._a.shape[1:])) for b in basis])
            rows = [reshape(r, (1, *r._a.shape)) for r in rows]
        else:
            rows = vmap(pulled, chunk_size=chunk_size)(*basis)
        sizes = _split_sizes(outs)
        per_out = []
        start = 0
        for o, n in zip(outs, sizes):
            blocks = [r[start : start + n].reshape((*o._a.shape, *x._a.shape)) for r, x in zip(rows, ins)]
            tree = tree_unflatten(blocks, in_spec)
            per_out.append(tree[0] if isinstance(argnums, int) else tree)
            start += n
        jac = tree_unflatten(per_out, out_spec)
        return (jac, result[2]) if has_aux else jac

    return wrapped


def jacfwd(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The Jacobian by forward mode: shape (*output, *input) for each pair.

    >>> import flambeau as torch
    >>> torch.func.jacfwd(torch.sin)(torch.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        chosen, picked = _pick(args, argnums)
        ins, in_spec = tree_flatten(picked)
        basis, total = _basis(ins)

        def push(*ts: Any) -> Any:
            r = jvp(
                lambda *xs: func(*_with(args, chosen, xs), **kwargs),
                picked,
                tree_unflatten(list(ts), in_spec),
                has_aux=has_aux,
            )
            return (r[1], r[2]) if has_aux else r[1]

        columns = vmap(
            push, out_dims=(0, None) if has_aux else 0, randomness=randomness, chunk_size=chunk_size
        )(*basis)
        aux = None
        if has_aux:
            columns, aux = columns
        outs, out_spec = tree_flatten(columns)
        sizes = _split_sizes(ins)
        per_out = []
        for c in outs:
            shape = tuple(c._a.shape[1:])
            blocks = []
            start = 0
            for x, n in zip(ins, sizes):
                part = c[start : start + n]
                part = part.permute(*range(1, len(shape) + 1), 0).reshape((*shape, *x._a.shape))
                blocks.append(part)
                start += n
            tree = tree_unflatten(blocks, in_spec)
            per_out.append(tree[0] if isinstance(argnums, int) else tree)
        jac = tree_unflatten(per_out, out_spec)
        return (jac, aux) if has_aux else jac

    return wrapped


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """The Hessian of a scalar function, forward over reverse.

    >>> import flambeau as torch
    >>> torch.func.hessian(lambda x: (x ** 3).sum())(torch.ones(2))
    tensor([[6., 0.],
            [0., 6.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def _transpose_vjp(op: Op, ts: Sequence[Any], xs: Sequence[Any], y: Any, params: dict[str, Any]) -> Any:
    """The tangent map of an operation that only has a vjp: the transpose of the (linear) vjp at zero.

    g -> vjp(g) is linear, so its own vjp, applied to the tangent, is J t (Christianson, "Reverse accumulation and
    implicit functions", 1998; known as the double-vjp trick).
    """
    needs = tuple(t is not None for t in ts)
    outs = y if isinstance(y, tuple) else (y,)
    live = [i for i, o in enumerate(outs) if o._a.dtype.kind in "fcV"]
    zeros = [_zeros(outs[i]) for i in live]

    def pulled(*gs: Any) -> list[Any]:
        if op.n_out == 1:
            g: Any = gs[0]
        else:
            given = iter(gs)
            g = [next(given) if i in live else _zeros(o) for i, o in enumerate(outs)]
        return run_vjp(op, g, xs, y, params, needs)

    kept: list[Tensor] = []

    def traced(*gs: Any) -> Any:
        pairs = [(r, t) for r, t in zip(pulled(*gs), ts) if t is not None and r is not None]
        kept[:] = [t for _, t in pairs]
        return tuple(r for r, _ in pairs)

    _, back = vjp(traced, *zeros)
    result = back(tuple(kept))
    if op.n_out == 1:
        return result[0]
    found = dict(zip(live, result))
    return tuple(found.get(i) for i in range(len(outs)))


helpers["transpose_vjp"] = _transpose_vjp
