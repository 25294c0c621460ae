"""The names of ``torch._utils`` that programs, and pickles of PyTorch's tensors, refer to."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..core.tensor import Tensor
from ..runtime.absent import names_of
from ..serialization import plain

_rebuild_tensor = plain.rebuild_tensor
_rebuild_tensor_v2 = plain.rebuild_tensor_v2
_rebuild_tensor_v3 = plain.rebuild_tensor_v3
_rebuild_parameter = plain.rebuild_parameter
_rebuild_parameter_with_state = plain.rebuild_parameter_with_state


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """All elements of the tensors, one tensor after the other, in one dim."""
    flat: Tensor = ops.cat([t.reshape(-1) for t in tensors])
    return flat


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of `flat` in the shapes of `tensors`: the inverse of `_flatten_dense_tensors`."""
    parts = flat.split([t.numel() for t in tensors])
    return tuple(part.view(t.shape) for part, t in zip(parts, tensors, strict=True))


__getattr__ = names_of(__name__)
