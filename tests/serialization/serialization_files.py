"""Helpers of the serialization tests: archives and pickles put together by hand."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

import flambeau as torch


def array(tensor: Any) -> np.ndarray[Any, Any]:
    """The values of a tensor, also of one that requires grad."""
    return np.asarray(tensor.detach().numpy())


def saved(obj: Any, **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    torch.serialization.save(obj, stream, **kwargs)
    return stream.getvalue()


def loaded(data: bytes, **kwargs: Any) -> Any:
    return torch.serialization.load(io.BytesIO(data), **kwargs)


def archive(
    pickle_bytes: bytes, entries: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> bytes:
    """An archive around a hand-made pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as z:
        z.writestr("archive/data.pkl", pickle_bytes)
        z.writestr("archive/version", b"3\n")
        for name, data in (entries or {}).items():
            z.writestr(f"archive/{name}", data)
    return stream.getvalue()


def text(s: str) -> bytes:
    """BINUNICODE."""
    raw = s.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def number(n: int) -> bytes:
    """LONG1."""
    raw = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def numbers(*values: int) -> bytes:
    """A tuple of ints."""
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(count: int, key: str = "0", kind: str = "FloatStorage", location: str = "cpu") -> bytes:
    """A persistent id, resolved."""
    fields = text("storage") + name("torch", kind) + text(key) + text(location) + number(count)
    return b"(" + fields + b"tQ"


def tensor(
    count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], grad: bool = False, **kwargs: Any
) -> bytes:
    """A pickle with one tensor over a storage of `count` elements."""
    parts = storage(count, **kwargs) + number(offset) + numbers(*size) + numbers(*stride)
    parts += (b"\x88" if grad else b"\x89") + name("collections", "OrderedDict") + b")R"
    return b"\x80\x02" + name("torch._utils", "_rebuild_tensor_v2") + b"(" + parts + b"tR."
