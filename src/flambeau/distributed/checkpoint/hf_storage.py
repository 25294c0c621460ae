"""Reading and writing parts of safetensors files from several processes: absent, but for the names."""

from __future__ import annotations

from typing import Any

from ...runtime.absent import WHERE, names_of

__all__ = ["HuggingFaceStorageReader", "HuggingFaceStorageWriter"]


class HuggingFaceStorageReader:
    """Raises RuntimeError when constructed: every process has whole tensors, and reads whole files."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"torch.distributed.checkpoint.hf_storage is absent: save from rank 0 ({WHERE})")


class HuggingFaceStorageWriter(HuggingFaceStorageReader):
    """Raises RuntimeError when constructed."""


__getattr__ = names_of(__name__)
