"""Eager execution: call the implementation on arrays, wrap, and record on the bottom tape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .state import tls
from .tape import record
from .tensor import Tensor, from_array, make_view

if TYPE_CHECKING:
    from .op import Op


def raw(x: Any) -> Any:
    """The array under a tensor; anything else as it is."""
    if isinstance(x, Tensor):
        a = x._a
        if type(a) is not np.ndarray:
            raise RuntimeError(
                f"a tensor made inside {a.interp} was used after that transform had ended; "
                "return it from the transformed function instead of storing it outside"
            )
        return a
    return x


def call_impl(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """The implementation's result, with NumPy's complaints turned into PyTorch's exception types."""
    arrays = [raw(x) for x in args]
    try:
        return op.impl(*arrays, **params)
    except RuntimeWarning:  # floating-point warnings made errors by the user's filters: PyTorch has none
        with np.errstate(all="ignore"):
            return op.impl(*arrays, **params)
    except np.linalg.LinAlgError:
        raise
    except ValueError as e:
        shapes = ", ".join(str(list(np.shape(a))) for a in arrays if isinstance(a, np.ndarray))
        raise RuntimeError(f"{op.name}: {e} (input shapes: {shapes})") from None


def eager(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Run `op` now on arrays; record it if an input requires grad and grad mode is on."""
    result = call_impl(op, args, params)
    if op.n_out == 1:
        out: Any = from_array(result)
        if op.is_view:
            make_view(out, args[0], op, params)
    else:
        out = tuple(from_array(r) for r in result)
    if op.differentiable and tls.grad:
        for x in args:
            if isinstance(x, Tensor) and x._node is not None:
                record(op, args, params, out)
                break
    return out
