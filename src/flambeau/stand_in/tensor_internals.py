"""The names of ``torch._tensor`` that programs, and pickles of PyTorch's tensors, refer to."""

from __future__ import annotations

from ..core.tensor import Tensor
from ..runtime.absent import names_of
from ..serialization import plain

__all__ = ["Tensor"]

_rebuild_from_type_v2 = plain.rebuild_from_type_v2

__getattr__ = names_of(__name__)
