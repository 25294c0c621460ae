"""``repr`` of sparse tensors, in PyTorch's words."""

from __future__ import annotations

from typing import Any

from ..core.pending import known
from ..core.state import defaults
from ..core.tensor import Tensor
from ..tensor.printing import current_options, join_notes, tensor_repr
from ..tensor.representation import representation as of_strided
from .tensors import CooTensor


def _part(name: str, t: Tensor) -> str:
    """``name=tensor(...)`` with the continuation lines under the first."""
    t = t.detach()
    prefix = f"{name}=tensor("
    if known(t) is None:
        return f"{name}={of_strided(t)}"
    if not t.numel():
        return f"{prefix}[], size={tuple(t.shape)})"
    dtype = t.dtype.name  # said once, of the whole tensor
    return tensor_repr(t._a, dtype_name=dtype, default_dtype_name=dtype, prefix=prefix)


def representation(t: Any) -> str:
    """The text that PyTorch prints for this tensor."""
    if isinstance(t, CooTensor):
        parts = [("indices", t._ind), ("values", t._vals)]
    else:
        slow, fast = ("crow", "col") if t.is_sparse_csr else ("ccol", "row")
        parts = [(f"{slow}_indices", t._begins), (f"{fast}_indices", t._plain), ("values", t._vals)]
    indent = len("tensor(")
    gap = "\n" + " " * indent
    text = ("," + gap).join(gap.join(_part(*part).split("\n")) for part in parts)
    notes = [f"size={tuple(t._sizes)}", f"nnz={t._vals.shape[0]}"]
    complex_default = "complex128" if defaults.dtype.name == "float64" else "complex64"
    if t.dtype is not defaults.dtype and t.dtype.name not in (complex_default, "int64", "bool"):
        notes.append(f"dtype={t.dtype}")
    notes.append(f"layout={t.layout}")
    fn = t.grad_fn
    if fn is not None:
        notes.append(f"grad_fn=<{fn.name()}>")
    elif t.requires_grad:
        notes.append("requires_grad=True")
    return join_notes("tensor(" + text, notes, indent, current_options(), newline_first=t.is_sparse)
