"""``repr`` of tensors: hands plain values to the printer, and describes what a transform hides."""

from __future__ import annotations

from typing import Any

from ..core.interpreters import Batched, Dual, Value
from ..core.pending import NO_DATA, Pending, known
from ..core.public import OVERRIDES, overridden
from ..core.state import defaults
from ..core.tape import AccumulateGrad
from ..core.tensor import Tensor
from ..ops.args import dtype_of
from . import printing


def _contents(t: Tensor) -> str:
    """The text of a value inside transforms: the level's wrapper around the value below it."""
    a = t._a
    if not isinstance(a, Value):
        return representation(t)
    level = a.interp.level
    inner = _contents(a.inner)
    if isinstance(a, Batched):
        bdim = 0 if a.batched else None
        return f"BatchedTensor(lvl={level}, bdim={bdim}, value=\n" + _indent(inner) + "\n)"
    if isinstance(a, Dual):
        if a.interp.name == "forward_ad" and known(a.inner) is not None:
            return representation(a.inner, None if a.tangent is None else _contents(a.tangent))
        tangent = "None" if a.tangent is None else _contents(a.tangent)
        return f"DualTensor(lvl={level}, value=\n{_indent(inner)},\n    tangent=\n{_indent(tangent)}\n)"
    return f"GradTrackingTensor(lvl={level}, value=\n" + _indent(inner) + "\n)"


def _indent(text: str) -> str:
    return "\n".join("    " + line for line in text.split("\n"))


def _grad_fn(t: Tensor) -> str | None:
    node = t._node
    if node is None or isinstance(node, AccumulateGrad):
        return None
    return node.name().rpartition(":")[2]  # type: ignore[no-any-return]


def _without_data(t: Tensor) -> str:
    """A meta tensor: all that there is to say of it."""
    parts = ["...", "device='meta'", f"size={tuple(t._a.shape)}"]
    if dtype_of(t) is not defaults.dtype:
        parts.append(f"dtype={dtype_of(t)}")
    grad_fn = _grad_fn(t)
    if grad_fn is not None:
        parts.append(f"grad_fn=<{grad_fn}>")
    elif t.requires_grad:
        parts.append("requires_grad=True")
    cls = type(t)
    name = "tensor" if cls is Tensor or getattr(t, "_is_param", False) else cls.__name__
    return f"{name}({', '.join(parts)})"


def representation(t: Tensor, tangent: str | None = None) -> str:
    """The text that PyTorch prints for this tensor, the primal of a dual number if it has a tangent."""
    if type(t._a) is Pending and t._a.owner is NO_DATA:
        return _without_data(t)
    if known(t) is None:
        return _contents(t)
    cls = type(t)
    name = None if cls is Tensor or getattr(t, "_is_param", False) else cls.__name__
    return printing.tensor_repr(
        t._a,
        dtype_name=dtype_of(t).name,
        default_dtype_name=defaults.dtype.name,
        prefix="tensor(" if name is None else f"{name}(",
        class_name=name,
        requires_grad=t.requires_grad,
        grad_fn=_grad_fn(t),
        tangent=tangent,
    )


def _repr(self: Tensor, *, tensor_contents: Any = None) -> str:
    if OVERRIDES:
        found = overridden(_repr, (self,), {})
        if found is not None:
            return found[0]  # type: ignore[no-any-return]
    return representation(self)


_repr.__name__ = "__repr__"
setattr(Tensor, "__repr__", _repr)
