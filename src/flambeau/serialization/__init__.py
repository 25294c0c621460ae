"""Saving and loading: PyTorch's files, without executing anything from them; safetensors; and NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ..runtime.absent import names_of as _names_of
from ..runtime.types import device
from .allowed import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from .errors import CorruptFileError, UnsafeFileError
from .loading import load
from .npz import load_npz, save_npz
from .options import (
    LoadEndianness,
    get_default_load_endianness,
    get_unsafe_globals_in_checkpoint,
    set_default_load_endianness,
)
from .safetensors import load_safetensors, save_safetensors
from .saving import DEFAULT_PROTOCOL, save

__all__ = [
    "DEFAULT_PROTOCOL",
    "CorruptFileError",
    "LoadEndianness",
    "UnsafeFileError",
    "add_safe_globals",
    "clear_safe_globals",
    "get_default_load_endianness",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "load_npz",
    "load_safetensors",
    "safe_globals",
    "save",
    "save_npz",
    "save_safetensors",
    "set_default_load_endianness",
]

# for annotations: what `load` takes for `map_location`
MAP_LOCATION: TypeAlias = Callable[[Any, str], Any] | str | dict[str, str] | device | None

__getattr__ = _names_of(__name__)
