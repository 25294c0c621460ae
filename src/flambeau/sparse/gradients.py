"""Sparse gradients: of a table of which few rows were looked up, and what Functions and callers of backward give.

The node of a look-up hands a leaf its gradient as a COO tensor with the rows looked up; what is computed from a leaf
gets the dense one.  The engine meets such a gradient in two places only: where several are added up, and where a leaf
collects them.  Both ask `core.tape.helpers`, into which this module enters itself with the first sparse tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.state import everyone, tls
from ..core.tape import AccumulateGrad, BaseNode, helpers, next_seq
from ..core.tensor import Tensor
from ..prims.base import from_value
from .arithmetic import add, become
from .conversion import to_dense
from .tensors import CooTensor, SparseTensor, coo

__all__ = ["look_up"]


class RowsNode(BaseNode):
    """The rows of a table at some positions: its gradient consists of these rows."""

    __slots__ = ("rows", "kept", "shape")

    def __init__(self, table: BaseNode, rows: Any, kept: Any, shape: tuple[int, ...]) -> None:
        self.next = (table,)
        self.seq = next_seq()
        self.extra = None
        self.rows = rows  # the positions (n,) of what counts
        self.kept = kept  # where these are among all positions; None: everywhere
        self.shape = shape

    def name(self) -> str:
        return "EmbeddingBackward0"

    @property
    def op(self) -> Any:
        return self

    def backward(self, g: Any) -> Sequence[Any]:
        values = g.reshape(-1, self.shape[1])
        if self.kept is not None:
            values = values.index_select(0, from_value(self.kept))
        gradient = coo(from_value(self.rows[None]), values, self.shape, False)
        return (gradient if type(self.next[0]) is AccumulateGrad else to_dense(gradient),)

    def free(self, place: Any) -> None:
        """There is nothing that could be freed: the positions serve again."""


def look_up(y: Tensor, table: Tensor, positions: Any, padding: int | None) -> bool:
    """Give the rows `y` of `table` at `positions`, taken without history, a node whose gradient is sparse.

    Returns False, and does nothing, where that is not possible: inside transforms and compiled functions.
    """
    if tls.stack or everyone.captures or not tls.grad:
        return False
    flat = positions.reshape(-1).astype(np.int64)
    kept = None if padding is None else np.nonzero(flat != padding)[0]
    rows = flat if kept is None else flat[kept]
    y._node = RowsNode(table._node, rows, kept, tuple(table.shape))
    return True


# ------------------------------------------------------------------------------------------------------- the engine

_add = helpers["add"]


def _add_any(a: Any, b: Any) -> Any:
    """The sum of two cotangents: sparse if both are."""
    if isinstance(a, SparseTensor) and not isinstance(b, SparseTensor):
        return add(b, a)
    return _add(a, b)


def _accumulate(leaf: Tensor, old: Any, g: Any, create_graph: bool) -> bool:
    """Collect a gradient where it, or what is there, is sparse; False where both are strided."""
    if not isinstance(g, SparseTensor) and not isinstance(old, SparseTensor):
        return False
    if old is None:
        leaf._grad = g if create_graph else g.detach()
    elif create_graph or not isinstance(g, SparseTensor):
        leaf._grad = _add_any(old, g)
    elif isinstance(old, CooTensor):
        become(old, add(old, g.detach()), "add_")
    else:
        old.add_(g.detach())
    return True


helpers["add"] = _add_any
helpers["accumulate"] = _accumulate
