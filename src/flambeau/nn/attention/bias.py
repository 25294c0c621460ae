"""Causal masks that know their form, for `scaled_dot_product_attention`."""

from __future__ import annotations

import enum
import warnings
from typing import Any

from ... import ops
from ...core.tensor import Tensor
from ...runtime.dtypes import bool_
from .. import functional as F

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(enum.IntEnum):
    """Which corner of the matrix of scores the diagonal ends in, where queries and keys differ in number."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """A causal mask of `seq_len_q` queries and `seq_len_kv` keys, as `scaled_dot_product_attention`'s `attn_mask`.

    It stands for a bool matrix without holding it.  Made by `causal_upper_left` and `causal_lower_right`; warns of
    queries that see nothing.

    Raises: AssertionError for a variant that is no `CausalVariant`; ValueError when used together with ``is_causal``.
    """

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int

    @staticmethod
    def __new__(cls: Any, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> Any:
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        return ops.empty((seq_len_q, seq_len_kv)).as_subclass(cls)

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> None:
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        if seq_len_q > seq_len_kv and variant is CausalVariant.LOWER_RIGHT:
            warnings.warn(
                "Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!",
                stacklevel=3,
            )

    def _materialize(self, device: Any = None) -> Tensor:
        """The bool matrix: True where a query sees a key."""
        lower = self.variant is CausalVariant.LOWER_RIGHT
        offset = self.seq_len_kv - self.seq_len_q if lower else 0
        ones = ops.ones((self.seq_len_q, self.seq_len_kv), dtype=bool_, device=device)
        return ops.tril(ones, offset)  # type: ignore[no-any-return]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[misc]

    def __repr__(self, **options: Any) -> str:
        return repr(self._materialize())


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: CausalBias,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    if is_causal:
        raise ValueError("CausalBias should not be used with causal=True")
    square = attn_mask.seq_len_q == attn_mask.seq_len_kv
    if square or attn_mask.variant is CausalVariant.UPPER_LEFT:
        return F.scaled_dot_product_attention(query, key, value, None, dropout_p, True, **options)
    mask = attn_mask._materialize(query.device)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout_p, **options)


def _sizes(name: str, size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) != 2:
        raise AssertionError(f"{name} only supports 2D tensors")
    return size[0], size[1]


def causal_upper_left(*size: int) -> CausalBias:
    """The mask of ``is_causal=True``: query i sees the keys up to i.

    Raises: AssertionError for other than two sizes.

    >>> import flambeau as torch
    >>> torch.nn.attention.bias.causal_upper_left(2, 3)
    tensor([[ True, False, False],
            [ True,  True, False]])
    """
    return CausalBias(CausalVariant.UPPER_LEFT, *_sizes("causal_upper_left", size))


def causal_lower_right(*size: int) -> CausalBias:
    """The mask of queries that are the last ones of a sequence: the last query sees all keys.

    Raises: AssertionError for other than two sizes.

    >>> import flambeau as torch
    >>> torch.nn.attention.bias.causal_lower_right(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    return CausalBias(CausalVariant.LOWER_RIGHT, *_sizes("causal_lower_right", size))
