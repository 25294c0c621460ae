"""Files of TensorBoard's projector: points, their labels and pictures, and which belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import as_array, as_bytes, grid, png


def write_table(rows: Sequence[Any], path: Path, header: Sequence[str] | None = None) -> None:
    """One row on each line, columns between tabs.

    Raises: AssertionError when the header has another number of columns.
    """
    lines = [[str(v) for v in (row if isinstance(row, (list, tuple)) else [row])] for row in rows]
    if header is not None:
        if lines and len(header) != len(lines[0]):
            raise AssertionError(
                f"len of header must be equal to the number of columns in metadata: {len(header)} and {len(lines[0])}"
            )
        lines.insert(0, list(header))
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def write_sprite(images: Any, path: Path) -> None:
    """Pictures (N, C, H, W) in one square of pictures.

    Raises: AssertionError unless they are square and fit the 8192 pixels that TensorBoard takes.
    """
    pictures = as_array(images).transpose(0, 2, 3, 1)
    n, h, w, _ = pictures.shape
    side = math.ceil(math.sqrt(n))
    if h != w or side * h > 8192:
        raise AssertionError(
            f"pictures must be square and the sprite at most 8192 pixels wide: {n} pictures of {h} x {w}"
        )
    canvas = grid(as_bytes(pictures), side)
    whole = np.zeros((side * h, side * w, canvas.shape[2]), np.uint8)
    whole[: canvas.shape[0]] = canvas
    path.write_bytes(png(np.repeat(whole, 3, -1) if whole.shape[2] == 1 else whole))


def embedding_info(metadata: Any, images: Any, folder: str, step: int, tag: str) -> Any:
    """The entry that names the files of one set of points."""
    from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo

    info = EmbeddingInfo()
    info.tensor_name = f"{tag}:{str(step).zfill(5)}"
    info.tensor_path = f"{folder}/tensors.tsv"
    if metadata is not None:
        info.metadata_path = f"{folder}/metadata.tsv"
    if images is not None:
        info.sprite.image_path = f"{folder}/sprite.png"
        info.sprite.single_image_dim.extend([images.shape[3], images.shape[2]])
    return info
