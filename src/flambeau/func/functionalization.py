"""functionalize: a function without in-place writes, from one that has them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..core.interpreters import Tape, Taped
from ..core.pytree import tree_flatten, tree_map, tree_unflatten
from ..core.tensor import Tensor, wrap


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """`func` with every in-place write replaced by a new value; writes to its arguments are copied back at the end.

    While it runs, each write re-binds the tensor written and its views to the values after the write, and no memory
    that existed before is touched. `remove` may also be "mutations_and_views"; the results are the same.

    Raises: RuntimeError for other values of `remove`.

    >>> import flambeau as torch
    >>> def f(x):
    ...     y = x.clone()
    ...     y[0].add_(1)
    ...     return y
    >>> torch.func.functionalize(f)(torch.zeros(2))
    tensor([1., 0.])
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove={remove!r}): remove must be 'mutations' or 'mutations_and_views'"
        )

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        level = Tape()  # with no input to differentiate: it records nothing, and keeps writes to itself
        leaves, spec = tree_flatten((args, kwargs))
        inside = [wrap(Taped(x, None, level)) if isinstance(x, Tensor) else x for x in leaves]
        before = [x._a if isinstance(x, Tensor) else None for x in inside]
        args_in, kwargs_in = tree_unflatten(inside, spec)
        with level:
            out = func(*args_in, **kwargs_in)
        for x, old, original in zip(inside, before, leaves):
            if isinstance(x, Tensor) and x._a is not old:
                original.copy_(x._a.inner)
        return tree_map(lambda x: x._a.inner if level.owns(x) else x, out)

    return wrapped
