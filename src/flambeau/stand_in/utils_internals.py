"""The names of ``torch._utils`` that pickles of PyTorch's tensors refer to."""

from __future__ import annotations

from ..runtime.absent import names_of
from ..serialization import tensors

_rebuild_tensor = tensors.rebuild_tensor
_rebuild_tensor_v2 = tensors.rebuild_tensor_v2
_rebuild_tensor_v3 = tensors.rebuild_tensor_v3
_rebuild_parameter = tensors.rebuild_parameter
_rebuild_parameter_with_state = tensors.rebuild_parameter_with_state

__getattr__ = names_of(__name__)
