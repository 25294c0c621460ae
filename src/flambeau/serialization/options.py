"""Settings and inspection, under PyTorch's names in ``torch.serialization``."""

from __future__ import annotations

import os
import pickletools
from enum import Enum
from typing import Any

from . import allowed, loading
from .archive import ArchiveReader

__all__ = [
    "LoadEndianness",
    "get_default_load_endianness",
    "get_unsafe_globals_in_checkpoint",
    "set_default_load_endianness",
]


class LoadEndianness(Enum):
    """The byte order assumed for files that do not state theirs (written before PyTorch 2.1)."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


def get_default_load_endianness() -> LoadEndianness | None:
    """What `set_default_load_endianness` has set; None means little-endian."""
    found: LoadEndianness | None = loading.assumed.endianness
    return found


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order for files that do not state theirs.

    Raises: TypeError for anything but a LoadEndianness or None.
    """
    if not isinstance(endianness, LoadEndianness) and endianness is not None:
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    loading.assumed.endianness = endianness


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a file that `load(weights_only=True)` refuses.  Nothing is loaded or executed.

    Raises: RuntimeError (`CorruptFileError`) when `f` is not a file of `save`; ValueError for a damaged one.
    """
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as stream:
            return _unsafe_names(ArchiveReader(stream, str(os.fspath(f))).read("data.pkl"))
    return _unsafe_names(ArchiveReader(f, str(getattr(f, "name", type(f).__name__))).read("data.pkl"))


def _unsafe_names(data: bytes) -> list[str]:
    unsafe: dict[str, None] = {}
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
        elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
            module, name = texts[-2:]
        else:
            if isinstance(argument, str):
                texts.append(argument)
            continue
        try:
            allowed.lookup(module, name)
        except LookupError:
            unsafe[f"{module}.{name}"] = None
    return list(unsafe)
