"""From what users log to arrays, and from arrays to pictures and sounds."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import Any

import numpy as np

from ...core.tensor import Tensor


def as_array(x: Any) -> Any:
    """A NumPy array of a tensor, an array, a list or a number.

    Raises: NotImplementedError for anything else.
    """
    if isinstance(x, Tensor):
        x = x.detach()
        return (x.float() if x.dtype.itemsize == 2 and x.is_floating_point() else x).numpy()
    if isinstance(x, (np.ndarray, np.generic, int, float, complex, bool, list, tuple)):
        return np.asarray(x)
    raise NotImplementedError(f"Got {type(x).__name__}, but numpy array or torch tensor are expected.")


def grid(images: Any, columns: int = 8) -> Any:
    """Pictures (N, H, W, C) side by side, as one (H, W, C)."""
    n, h, w, c = images.shape
    columns = min(n, columns)
    rows = -(-n // columns)
    canvas = np.zeros((rows * h, columns * w, c), images.dtype)
    for i in range(n):
        y, x = divmod(i, columns)
        canvas[y * h : (y + 1) * h, x * w : (x + 1) * w] = images[i]
    return canvas


def as_picture(array: Any, dataformats: str) -> Any:
    """A picture (H, W, 3 or 4) from an array whose dims `dataformats` names (N pictures become one grid).

    Raises: AssertionError when the names do not fit the array.
    """
    names = dataformats.upper()
    if len(set(names)) != len(names) or set(names) - set("NCHW") or not {"H", "W"} <= set(names):
        raise AssertionError(
            f"dataformats must be made of the letters N, C, H, W once each, not {dataformats!r}"
        )
    if array.ndim != len(names):
        raise AssertionError(
            f"size of input tensor and input format are different: shape {array.shape}, format {names!r}"
        )
    missing = [axis for axis in "NC" if axis not in names]
    array = array.reshape((*array.shape, *(1,) * len(missing)))
    names += "".join(missing)
    pictures = array.transpose([names.index(axis) for axis in "NHWC"])
    if pictures.shape[-1] == 1:
        pictures = np.repeat(pictures, 3, -1)
    return grid(pictures) if "N" in dataformats.upper() else pictures[0]


def as_bytes(picture: Any) -> Any:
    """Numbers of 0..1 (of 0..255 when they are bytes) as bytes."""
    if picture.dtype == np.uint8:
        return picture
    return np.clip(picture.astype(np.float32) * 255, 0, 255).astype(np.uint8)


def png(picture: Any) -> bytes:
    """A picture (H, W, 3 or 4) of bytes in the PNG format (RFC 2083)."""
    height, width, channels = picture.shape
    if channels not in (3, 4):
        raise AssertionError(f"a picture has 1, 3 or 4 channels, not {channels}")
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = picture.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 6, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def figure_picture(figure: Any, close: bool) -> Any:
    """A matplotlib figure (or a list of them) as a picture (H, W, C), or several (N, H, W, C)."""
    if isinstance(figure, (list, tuple)):
        return np.stack([figure_picture(f, close) for f in figure])
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())
    if close:
        pyplot.close(figure)
    return picture


def wav(sound: Any, sample_rate: int) -> bytes:
    """A sound of -1..1 as 16-bit samples in the WAVE format."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
