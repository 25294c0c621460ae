"""Attention compiled for a given mask: absent (`nn.functional.scaled_dot_product_attention` takes any mask)."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...runtime.absent import WHERE
from ...runtime.absent import names_of as _names_of

__all__ = ["AuxRequest", "BlockMask", "create_block_mask", "flex_attention"]

_DEFAULT_SPARSE_BLOCK_SIZE = 128
_INSTEAD = f"nn.functional.scaled_dot_product_attention takes any mask ({WHERE})"


class AuxRequest(NamedTuple):
    """What else `flex_attention` should return."""

    lse: bool = False
    max_scores: bool = False


class BlockMask:
    """A mask as blocks.  Nothing is an instance.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"torch.nn.attention.flex_attention.BlockMask is absent: {_INSTEAD}")


def create_block_mask(*args: Any, **kwargs: Any) -> BlockMask:
    """Raises RuntimeError."""
    return BlockMask()


def flex_attention(*args: Any, **kwargs: Any) -> Any:
    """Raises RuntimeError."""
    raise RuntimeError(f"torch.nn.attention.flex_attention is absent: {_INSTEAD}")


__getattr__ = _names_of(__name__)
