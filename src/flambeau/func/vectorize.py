"""vmap: a function of one example becomes a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..core.interpreters import Batched, VMap
from ..core.pytree import broadcast_prefix, children_of, tree_flatten, tree_unflatten
from ..core.tensor import Tensor, wrap
from ..prims.base import expand_op, permute_op, reshape

InDims = Any


def move_dim(x: Tensor, src: int, dst: int) -> Tensor:
    """`x` with one dim moved."""
    if src == dst:
        return x
    order = [d for d in range(len(x._a.shape)) if d != src]
    order.insert(dst, src)
    return permute_op(x, dims=tuple(order))  # type: ignore[no-any-return]


def _batch_inputs(args: tuple[Any, ...], in_dims: InDims, name: str) -> tuple[list[Any], list[Any], Any, int]:
    if not isinstance(in_dims, (int, tuple)) and in_dims is not None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims!r}, ...)(<inputs>): expected `in_dims` to be int or a (potentially nested) tuple matching "
            f"the structure of inputs, got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a function with no "
            "inputs. The latter is unsupported."
        )
    leaves, spec = tree_flatten(args)
    dims = broadcast_prefix(in_dims, args, f"vmap({name}, in_dims)")
    size: int | None = None
    out_dims: list[Any] = []
    for i, (x, d) in enumerate(zip(leaves, dims)):
        if d is None:
            out_dims.append(None)
            continue
        if not isinstance(d, int):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims!r}): in_dims must be integers or None, got {d!r} for input {i}"
            )
        if not isinstance(x, Tensor):
            raise ValueError(
                f"vmap({name}, in_dims={in_dims!r}, ...)(<inputs>): Got in_dim={d} for an input but the input is of type {type(x)}. We "
                "cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        n = len(x._a.shape)
        if not -n <= d < n:
            raise ValueError(
                f"vmap({name}, in_dims={in_dims!r}, ...)(<inputs>): Got in_dim={d} for some input, but that input is a Tensor of "
                f"dimensionality {n} so expected in_dim to satisfy -{n} <= in_dim < {n}."
            )
        d = d + n if d < 0 else d
        if size is not None and x._a.shape[d] != size:
            found = [
                x_._a.shape[k if k >= 0 else k + len(x_._a.shape)]
                for x_, k in zip(leaves, dims)
                if k is not None
            ]
            raise ValueError(
                f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {found} for the mapped dimension"
            )
        size = x._a.shape[d]
        out_dims.append(d)
    if size is None:
        raise ValueError(
            f"vmap({name}, in_dims={in_dims!r}, ...)(<inputs>): at least one input must have a mapped dim; all in_dims are None"
        )
    return leaves, out_dims, spec, size


def vmap(
    func: Callable[..., Any],
    in_dims: InDims = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Map `func` over a dim of its tensor inputs, all examples at once.

    `in_dims` gives the mapped dim of each input (a pytree prefix; None: not mapped), `out_dims` where the batch goes
    in each output.  `randomness`: "error", "same" for all examples, or "different".  `chunk_size` limits how many
    examples run at once.

    Raises: ValueError for inputs, sizes or dims that do not fit, RuntimeError for data-dependent control flow.

    >>> import flambeau as torch
    >>> torch.vmap(torch.dot)(torch.ones(2, 3), torch.ones(2, 3))
    tensor([3., 3.])
    """
    if randomness not in ("error", "same", "different"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves, dims, spec, size = _batch_inputs(args, in_dims, name)
        moved = [x if d is None else move_dim(x, d, 0) for x, d in zip(leaves, dims)]
        if chunk_size is None or chunk_size >= size:
            return _run(func, moved, dims, spec, size, out_dims, randomness, kwargs, name, leaves)
        return _chunked(func, moved, dims, spec, size, out_dims, randomness, kwargs, name, chunk_size)

    return wrapped


def _run(
    func: Any,
    moved: Any,
    dims: Any,
    spec: Any,
    size: int,
    out_dims: Any,
    randomness: str,
    kwargs: Any,
    name: str,
    originals: Any,
) -> Any:
    level = VMap(size, randomness)
    inputs = [x if d is None else wrap(Batched(x, True, level)) for x, d in zip(moved, dims)]
    payloads = [x._a if isinstance(x, Tensor) else None for x in inputs]
    with level:
        out = func(*tree_unflatten(inputs, spec), **kwargs)
    for x, old, original, d in zip(inputs, payloads, originals, dims):
        if d is not None and x._a is not old:  # written in place: the caller's tensor sees it, as in PyTorch
            move_dim(original, d, 0).copy_(x._a.inner if x._a.batched else x._a.inner)
    results, out_spec = tree_flatten(out)
    where = _out_dims(out_dims, out, results, name)
    return tree_unflatten([_unwrap(r, d, level, name) for r, d in zip(results, where)], out_spec)


def _out_dims(out_dims: Any, out: Any, results: Any, name: str) -> list[Any]:
    if not isinstance(out_dims, int) and out_dims is not None and children_of(out_dims) is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims!r}): `out_dims` must be an int or a tuple of ints, got {type(out_dims)}"
        )
    if isinstance(out_dims, (tuple, list)) and not isinstance(out, (tuple, list)):
        if len(out_dims) == 1:
            out_dims = out_dims[0]
        else:
            raise ValueError(
                f"vmap({name}, ..., out_dims={out_dims!r}): `out_dims` has {len(out_dims)} entries but the function has one output"
            )
    return broadcast_prefix(out_dims, out, f"vmap({name}, ..., out_dims)")


def _unwrap(x: Any, d: Any, level: VMap, name: str) -> Any:
    if not isinstance(x, Tensor):
        if d is None:
            return x
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean to set out_dims= to None for output?"
        )
    mine = level.owns(x)
    inner = x._a.inner if mine else x
    batched = mine and x._a.batched
    if d is None:
        if batched:
            raise ValueError(
                f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None: the output depends on the mapped inputs"
            )
        return inner
    if not batched:
        s = tuple(inner._a.shape)
        inner = expand_op(reshape(inner, (1, *s)), shape=(level.size, *s))
    n = len(inner._a.shape)
    if not isinstance(d, int) or not -n <= d < n:
        raise IndexError(
            f"vmap({name}, ..., out_dims): Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})"
        )
    return move_dim(inner, 0, d + n if d < 0 else d)


def _chunked(
    func: Any,
    moved: Any,
    dims: Any,
    spec: Any,
    size: int,
    out_dims: Any,
    randomness: str,
    kwargs: Any,
    name: str,
    chunk: int,
) -> Any:
    from ..ops.shape import cat

    parts = []
    out_spec: Any = None
    where: list[Any] = []
    for start in range(0, size, chunk):
        stop = min(start + chunk, size)
        piece = [x if d is None else x[start:stop] for x, d in zip(moved, dims)]
        out = _run(
            func,
            piece,
            [None if d is None else 0 for d in dims],
            spec,
            stop - start,
            out_dims,
            randomness,
            kwargs,
            name,
            piece,
        )
        results, out_spec = tree_flatten(out)
        where = _out_dims(out_dims, out, results, name)
        parts.append(results)
    joined = [p[0] if d is None else cat(list(p), d) for p, d in zip(zip(*parts), where)]
    return tree_unflatten(joined, out_spec)
