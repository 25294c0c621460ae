"""Batches on their way from a worker process: large arrays travel in shared memory, not through a pipe.

A batch is pickled with its arrays out of band (pickle protocol 5). They are written to one file in memory
(``/dev/shm``), which the receiver maps and unlinks: the tensors it makes lie in that memory, and the memory
goes when they do. Where there is no such folder the arrays go through the pipe.
"""

from __future__ import annotations

import glob
import io
import mmap
import os
import pickle
from typing import Any

from ...core.eager import raw
from ...core.tensor import Tensor
from ...runtime import memory
from ...tensor import copying

FOLDER = "/dev/shm"
SHARE_MIN = 1 << 16  # bytes; less is cheaper to send
_ALIGNMENT = 64


class _Pickler(pickle.Pickler):
    """Sends a view of a larger memory without the rest of that memory: a sample is often a row of the whole dataset."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor) and type(value).__reduce_ex__ is Tensor.__reduce_ex__:
            array = raw(value)
            if memory.root(array) is not array:
                return copying.build, (type(value), array, value.requires_grad, None, dict(value.__dict__))
        return NotImplemented


class Sender:
    """The worker's end: packs batches."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def pack(self, data: Any) -> tuple[bytes, Any]:
        """The pickled data, and its buffers: a list of bytes, or ``(path, [(start, size), ...])``."""
        buffers: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        _Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(data)
        payload = stream.getvalue()
        views = [b.raw() for b in buffers]
        total = sum(v.nbytes for v in views)
        if total >= SHARE_MIN and os.path.isdir(FOLDER):
            try:
                return payload, self._share(views)
            except OSError:
                pass  # the folder is full
        return payload, [bytes(v) for v in views]

    def _share(self, views: list[memoryview]) -> tuple[str, list[tuple[int, int]]]:
        spans, end = [], 0
        for v in views:
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            spans.append((start, v.nbytes))
            end = start + v.nbytes
        self._count += 1
        path = os.path.join(FOLDER, f"{self._prefix}-{os.getpid()}-{self._count}")
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(handle, 0, end)  # a full folder is an error here, and not a crash on writing
            with mmap.mmap(handle, end) as mapped:
                for v, (start, size) in zip(views, spans, strict=True):
                    mapped[start : start + size] = v
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(handle)
        return path, spans


def unpack(packed: tuple[bytes, Any]) -> Any:
    """What `Sender.pack` was given."""
    payload, buffers = packed
    if isinstance(buffers, list):
        return pickle.loads(payload, buffers=[bytearray(b) for b in buffers])  # writable, as tensors are
    path, spans = buffers
    handle = os.open(path, os.O_RDWR)
    try:
        mapped = memoryview(mmap.mmap(handle, 0))
    finally:
        os.close(handle)
        os.unlink(path)
    return pickle.loads(payload, buffers=[mapped[start : start + size] for start, size in spans])


def remove_all(prefix: str) -> None:
    """Free everything that senders with this prefix left behind."""
    for path in glob.glob(os.path.join(FOLDER, f"{glob.escape(prefix)}-*")):
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
