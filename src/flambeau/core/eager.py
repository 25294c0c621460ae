"""Eager execution: call the implementation on arrays, wrap, and record on the bottom tape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .meta import run_meta
from .pending import NO_DATA, Pending, resolve
from .state import everyone, tls
from .tape import record
from .tensor import Tensor, make_view, new_object, storage, wrap

if TYPE_CHECKING:
    from .op import Op

ndarray, asarray = np.ndarray, np.asarray


def raw(x: Any) -> Any:
    """The array under a tensor; anything else as it is."""
    if isinstance(x, Tensor):
        if everyone.listener is not None:
            everyone.listener(None, (), {}, None)
        a = x._a
        if type(a) is Pending:
            return resolve(x)
        if type(a) is not np.ndarray:
            raise RuntimeError(
                f"this needs the memory of a tensor, which {a.interp} hides from the function it transforms: "
                "return the tensor, and look at it outside"
                if a.interp in tls.stack
                else f"a tensor made inside {a.interp} was used after that transform had ended; "
                "return it from the transformed function instead of storing it outside"
            )
        return a
    return x


def complain(op: Op, args: tuple[Any, ...], params: dict[str, Any], e: Exception) -> Any:
    """After a failed call: the result without warnings, or the error in PyTorch's exception types."""
    for x in args:
        raw(x)
    arrays = [raw(x) for x in args]
    if isinstance(
        e, RuntimeWarning
    ):  # floating-point warnings made errors by the user's filters: PyTorch has none
        with np.errstate(all="ignore"):
            return op.impl(*arrays, **params)
    if isinstance(e, ValueError) and not isinstance(e, np.linalg.LinAlgError):
        shapes = ", ".join(str(list(np.shape(a))) for a in arrays if isinstance(a, np.ndarray))
        raise RuntimeError(f"{op.name}: {e} (input shapes: {shapes})") from None
    if isinstance(e, MemoryError):
        raise RuntimeError(f"{op.name}: not enough memory: {e}") from None
    raise e


def eager_view(op: Op, x: Any, params: dict[str, Any]) -> Any:
    """`eager` for a view of what has no history: the array's view and the storage's note of it."""
    a = x._a
    if type(a) is not ndarray or x._node is not None or everyone.captures:
        return eager(op, (x,), params)
    try:
        a = op.impl(a, **params)
    except Exception as e:
        return complain(op, (x,), params, e)
    out = new_object(Tensor)
    out._a = a
    out._node = None
    make_view(out, x, op, params)
    if everyone.listener is not None:
        everyone.listener(op, (x,), params, out)
    return out


def eager(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Run `op` now on arrays; record it if an input requires grad and grad mode is on."""
    if everyone.captures and tls.capture is not None:
        return tls.capture.process(op, args, params)
    tracked = False
    arrays = []
    for x in args:
        if isinstance(x, Tensor):
            a = x._a
            if type(a) is Pending:
                if a.owner is NO_DATA:
                    return run_meta(op, args, params)
                a = resolve(x)
            arrays.append(a)
            if x._node is not None:
                tracked = True
        else:
            arrays.append(x)
    try:
        result = op.impl(*arrays, **params)
    except Exception as e:
        result = complain(op, args, params, e)
    if op.n_out == 1:
        out: Any = new_object(Tensor)
        out._a = result if type(result) is ndarray else asarray(result)
        out._node = None
        out._st = None
        out._base = None
        if op.is_view:
            make_view(out, args[0], op, params)
    else:
        out = tuple([wrap(r if type(r) is ndarray else asarray(r)) for r in result])
    if tracked and op.differentiable and tls.grad:
        record(op, args, params, out)
    elif tls.inference:
        for t in (out,) if op.n_out == 1 else out:
            if not op.is_view:
                storage(t).inference = True
    if everyone.listener is not None:
        everyone.listener(op, args, params, out)
    return out
