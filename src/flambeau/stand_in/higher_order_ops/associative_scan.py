"""Running results of an associative function of two trees of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core.public import FUNCTIONS
from ...core.tensor import Tensor
from ...utils import pytree

__all__ = ["associative_scan"]


def associative_scan(
    combine_fn: Callable[[Any, Any], Any],
    xs: Any,
    dim: int,
    reverse: bool = False,
    combine_mode: str = "pointwise",
) -> Any:
    """``x[0], f(x[0], x[1]), f(f(x[0], x[1]), x[2]), ...`` along `dim`, in logarithmically many calls of `combine_fn`.

    Args:
        combine_fn: an associative function of two trees of tensors; it is called on many pairs at once, so it must
            treat the entries along `dim` alone.
        xs: a tree of tensors with the same number of entries along `dim`.
        reverse: from the last entry to the first.
        combine_mode: without effect: ``"pointwise"`` and ``"generic"`` functions are treated alike.

    Raises: ValueError for trees without tensors or with different lengths along `dim`, and where `combine_fn` returns
    another structure.

    >>> import flambeau as torch
    >>> from flambeau.stand_in.higher_order_ops import associative_scan
    >>> associative_scan(lambda a, b: a * b, torch.tensor([1.0, 2.0, 3.0, 4.0]), 0)
    tensor([ 1.,  2.,  6., 24.])
    """
    leaves, spec = pytree.tree_flatten(xs)
    if not leaves or not all(isinstance(x, Tensor) for x in leaves):
        raise ValueError("associative_scan takes a tree of at least one tensor")
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"combine_mode must be 'pointwise' or 'generic', not {combine_mode!r}")
    lengths = {x.shape[dim] for x in leaves}
    if len(lengths) != 1:
        raise ValueError(f"all tensors must have the same length along dim {dim}, not {sorted(lengths)}")

    def combine(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        result, found = pytree.tree_flatten(
            combine_fn(pytree.tree_unflatten(a, spec), pytree.tree_unflatten(b, spec))
        )
        if found != spec:
            raise ValueError("combine_fn must return a tree with the structure of xs")
        return result

    moved = [x.movedim(dim, 0) for x in leaves]
    if reverse:
        moved = [x.flip(0) for x in moved]
    dims = [x.shape[dim] for x in leaves]
    done = _scan(_along_first(combine, dim), moved) if dims[0] > 1 else moved
    if reverse:
        done = [x.flip(0) for x in done]
    return pytree.tree_unflatten([x.movedim(0, dim) for x in done], spec)


def _along_first(
    combine: Callable[[list[Tensor], list[Tensor]], list[Tensor]], dim: int
) -> Callable[[list[Tensor], list[Tensor]], list[Tensor]]:
    """`combine` for tensors whose `dim` has been moved to the front: it gets them as the caller's."""

    def combined(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        back = combine([x.movedim(0, dim) for x in a], [x.movedim(0, dim) for x in b])
        return [x.movedim(dim, 0) for x in back]

    return combined


def _scan(combine: Callable[[list[Tensor], list[Tensor]], list[Tensor]], xs: list[Tensor]) -> list[Tensor]:
    """Pairs are combined, their running results found, and the entries between filled in (Blelloch 1990)."""
    n = xs[0].shape[0]
    if n < 2:
        return xs
    pairs = combine([x[: n - 1 : 2] for x in xs], [x[1::2] for x in xs])
    odd = _scan(combine, pairs)  # the results at 1, 3, 5, ...
    rest = [x[2::2] for x in xs]
    even = combine([x[: rest[0].shape[0]] for x in odd], rest) if rest[0].shape[0] else rest
    return [_interleaved([x[:1], y], z) for x, y, z in zip(xs, even, odd)]


def _interleaved(even: list[Tensor], odd: Tensor) -> Tensor:
    first: Tensor = FUNCTIONS["cat"](even)
    n, m = first.shape[0], odd.shape[0]
    order = [i // 2 if i % 2 == 0 else n + i // 2 for i in range(n + m)]
    together: Tensor = FUNCTIONS["cat"]([first, odd])
    result: Tensor = together[order]
    return result
