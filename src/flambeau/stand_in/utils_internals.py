"""The names of ``torch._utils`` that programs, and pickles of PyTorch's tensors, refer to."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..core.tensor import Tensor
from ..runtime.absent import names_of
from ..serialization import tensors

_rebuild_tensor = tensors.rebuild_tensor
_rebuild_tensor_v2 = tensors.rebuild_tensor_v2
_rebuild_tensor_v3 = tensors.rebuild_tensor_v3
_rebuild_parameter = tensors.rebuild_parameter
_rebuild_parameter_with_state = tensors.rebuild_parameter_with_state


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """All elements of the tensors, one tensor after the other, in one dim."""
    flat: Tensor = ops.cat([t.reshape(-1) for t in tensors])
    return flat


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of `flat` in the shapes of `tensors`: the inverse of `_flatten_dense_tensors`."""
    parts = flat.split([t.numel() for t in tensors])
    return tuple(part.view(t.shape) for part, t in zip(parts, tensors, strict=True))


__getattr__ = names_of(__name__)
