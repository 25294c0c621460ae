"""Where the parts of tensors are that are spread over processes: absent, but for the name that programs import."""

from __future__ import annotations

from typing import Any, NoReturn

from ...runtime.absent import WHERE
from ...runtime.absent import names_of as _names_of

__all__ = ["compute_local_shape_and_global_offset"]


def compute_local_shape_and_global_offset(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError."""
    raise RuntimeError(f"torch.distributed.tensor is absent: every process has whole tensors ({WHERE})")


__getattr__ = _names_of(__name__)
