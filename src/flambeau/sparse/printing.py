"""``repr`` of sparse tensors, in PyTorch's words."""

from __future__ import annotations

from typing import Any

from ..core.pending import known
from ..core.state import defaults
from ..core.tensor import Tensor
from ..tensor.printing import tensor_repr
from ..tensor.representation import representation as of_strided
from .tensors import CooTensor


def _part(name: str, t: Tensor) -> str:
    """``name=tensor(...)`` with the continuation lines under the first."""
    t = t.detach()
    prefix = f"{name}=tensor("
    if known(t) is None:
        return f"{name}={of_strided(t)}"
    if not t.numel():
        dtype = "" if t.dtype is defaults.dtype or not name.startswith("values") else _dtype_note(t)
        return f"{prefix}[], size={tuple(t.shape)}{dtype})"
    text = tensor_repr(
        t._a,
        dtype_name=t.dtype.name,
        default_dtype_name=t.dtype.name if name.startswith("values") else "float32",
        prefix=prefix,
    )
    return text


def _dtype_note(t: Tensor) -> str:
    return ""


def representation(t: Any) -> str:
    """The text that PyTorch prints for this tensor."""
    if isinstance(t, CooTensor):
        parts = [("indices", t._ind), ("values", t._vals)]
    else:
        slow, fast = ("crow", "col") if t.is_sparse_csr else ("ccol", "row")
        parts = [(f"{slow}_indices", t._begins), (f"{fast}_indices", t._plain), ("values", t._vals)]
    lines = [_part(*part) for part in parts]
    indent = " " * len("tensor(")
    lines = [("\n" + indent).join(line.split("\n")) for line in lines]
    last = f"size={tuple(t._sizes)}, nnz={t._vals.shape[0]}"
    default = t.dtype is defaults.dtype or t.dtype.name in (
        "complex128" if defaults.dtype.name == "float64" else "complex64",
        "int64",
        "bool",
    )
    notes = [] if default else [f"dtype={t.dtype}"]
    notes.append(f"layout={t.layout}")
    fn = t.grad_fn
    if fn is not None:
        notes.append(f"grad_fn=<{fn.name()}>")
    elif t.requires_grad:
        notes.append("requires_grad=True")
    return "tensor(" + (",\n" + indent).join(lines) + ",\n" + indent + ", ".join([last, *notes]) + ")"
