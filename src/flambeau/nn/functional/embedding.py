"""Embeddings, bags of embeddings, one-hot codes."""

from __future__ import annotations

import numpy as np

from ...core import inplace
from ...core.grad_names import shows
from ...core.interpreters import Batched
from ...core.pending import seen
from ...core.promotion import convert
from ...core.public import FUNCTIONS
from ...core.tensor import Tensor
from ...ops.args import dtype_of, numel
from ...prims import base
from ...prims.base import from_value
from ...prims.indexing import gather_op, index_get_op, index_put_op, largest_unsigned, scatter_op
from ...prims.pointwise import where_op
from ...prims.segments import bag_of_op, segment_argmax_op
from ...runtime import dtypes

INDEX_DTYPES = (np.dtype(np.int64), np.dtype(np.int32))


def _wrapped_padding(padding_idx: int, n: int) -> int:
    if not -n <= padding_idx < n:
        raise AssertionError(f"Padding_idx must be within num_embeddings ({n}), got {padding_idx}")
    return padding_idx % n


@shows("EmbeddingBackward0")
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` (num, dim) at the integer positions `input` (*): shape (*, dim).

    The row `padding_idx` gets no gradient.  `max_norm` rescales the rows used, in place.  With `sparse` the gradient of
    a `weight` that is a leaf is a sparse COO tensor of the rows used (outside of transforms and compiled functions).

    Raises: IndexError for positions out of range, RuntimeError for other dtypes, and for `scale_grad_by_freq` with `sparse`.
    """
    if input._a.dtype not in INDEX_DTYPES:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{dtype_of(input)} instead"
        )
    if len(weight._a.shape) != 2:
        raise RuntimeError("'weight' must be 2-D")
    n = weight._a.shape[0]
    if padding_idx is not None:
        padding_idx = _wrapped_padding(padding_idx, n)
    index = convert(input, dtypes.int64)
    positions = seen(index)
    if positions.size and largest_unsigned(positions) >= n:
        raise IndexError(
            "index out of range in self: embedding positions must be in "
            f"[0, {n - 1}], got [{int(positions.min())}, {int(positions.max())}]"
        )
    if max_norm is not None:
        renorm_rows(weight, input, max_norm, norm_type)
    if sparse and weight.requires_grad:
        if scale_grad_by_freq:
            raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
        from ...sparse.gradients import look_up

        y = index_get_op(weight.detach(), index, spec=(True,))
        if look_up(y, weight, positions, padding_idx):
            return y  # type: ignore[no-any-return]
    y = index_get_op(weight, index, spec=(True,))
    if padding_idx is not None and y.requires_grad:
        pad = (index == padding_idx).unsqueeze(-1)
        y = where_op(pad, y.detach(), y)
    if scale_grad_by_freq and y.requires_grad:
        one = base.full((), 1, y._a.dtype)
        zero = base.full((n,), 0, y._a.dtype)
        counts = index_put_op(zero, one, index, spec=(True,), accumulate=True)
        share = 1 / index_get_op(counts, index, spec=(True,)).unsqueeze(-1)
        y = y.detach() * (1 - share) + y * share
    return y  # type: ignore[no-any-return]


def renorm_rows(weight: Tensor, input: Tensor, max_norm: float, p: float) -> None:
    """Scale the rows of a table at these positions, in place, to norms of at most `max_norm`."""
    from ...autograd import no_grad

    with no_grad():
        rows = convert(input.reshape(-1), dtypes.int64)  # repeated ones are written the same value
        chosen = weight.detach().index_select(0, rows)
        norm = chosen.norm(p, 1, keepdim=True)
        scaled = where_op(norm > max_norm, chosen * (max_norm / (norm + 1e-7)), chosen)
        inplace.write(weight, weight.detach().index_copy(0, rows, scaled), "embedding_renorm_")


BAG_MODES = ("sum", "mean", "max")


def _check_bags(
    input: Tensor, weight: Tensor, offsets: Tensor | None, per_sample: Tensor | None, mode: str
) -> None:
    if per_sample is not None and tuple(per_sample._a.shape) != tuple(input._a.shape):
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample.shape}) is not None, then it must have the same shape "
            f"as the input ({input.shape})"
        )
    if len(weight._a.shape) != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {len(weight._a.shape)}")
    nd = len(input._a.shape)
    if nd == 2 and offsets is not None:
        raise ValueError(
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
            f"sequences. However, found offsets of type {type(offsets)}"
        )
    if nd == 1 and (offsets is None or len(offsets._a.shape) != 1):
        raise ValueError(
            f"offsets has to be a 1D Tensor but got {'None' if offsets is None else f'{offsets.ndim}D'}"
        )
    if nd not in (1, 2):
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {nd}")
    if mode not in BAG_MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    for t, what in ((input, "input"), (offsets, "offsets")):
        if t is not None and t._a.dtype not in INDEX_DTYPES:
            raise RuntimeError(f"expected {what} of embedding_bag to be Long or Int, but got {dtype_of(t)}")
    if per_sample is not None:
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
                f"(got mode='{mode}')."
            )
        if per_sample._a.dtype != weight._a.dtype:
            raise RuntimeError(
                f"expected per_sample_weights to have the same type as weight, got {dtype_of(per_sample)} and "
                f"{dtype_of(weight)}"
            )


def _check_offsets(offsets: Tensor, count: int) -> None:
    a = seen(offsets)
    if a.size and (int(a[..., 0].min()) != 0 or int(a[..., 0].max()) != 0):
        raise RuntimeError(
            f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch, but got {a[..., 0]}"
        )
    if a.size and int(a.max()) > count:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length({count}), got offsets[-1] of {int(a.max())}"
        )


@shows("EmbeddingBagBackward0")
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of rows of `weight` (num, dim): shape (bags, dim).

    `input` (B, n) holds B bags; `input` (n) has the first position of each bag in `offsets`.  Positions equal to
    `padding_idx` do not count.  Empty bags give zeros.

    Raises: ValueError, RuntimeError or NotImplementedError for arguments that do not fit, IndexError for positions
    out of range.
    """
    _check_bags(input, weight, offsets, per_sample_weights, mode)
    if mode == "max" and (scale_grad_by_freq or sparse):
        what = "scaling the gradient by the frequency" if scale_grad_by_freq else "sparse weights"
        raise ValueError(f"max mode does not support {what}")
    n = numel(input)
    if len(input._a.shape) == 2:
        bags, each = (int(v) for v in input._a.shape)
        bag = from_value(np.repeat(np.arange(bags), each))
    else:
        assert offsets is not None
        if include_last_offset and not offsets._a.shape[0]:
            raise RuntimeError("include_last_offset: number of offsets should be at least 1")
        _check_offsets(offsets, n)
        bags = offsets._a.shape[0] - (1 if include_last_offset else 0)
        starts = offsets[:bags] if include_last_offset else offsets
        bag = bag_of_op(convert(starts, dtypes.int64), count=n)
    if padding_idx is not None:
        padding_idx = _wrapped_padding(padding_idx, weight._a.shape[0])
    flat = convert(input.reshape(n), dtypes.int64)
    rows = embedding(
        flat, weight, padding_idx if sparse else None, max_norm, norm_type, scale_grad_by_freq, sparse
    )
    keep = None if padding_idx is None else flat != padding_idx
    if mode == "max":
        return _bag_max(rows, bag, keep, bags)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(n, 1)
    if keep is not None:
        rows = where_op(keep.unsqueeze(1), rows, 0)
    zero = base.full((bags, weight._a.shape[1]), 0, weight._a.dtype)
    total = index_put_op(zero, rows, bag, spec=(True,), accumulate=True)
    if mode == "sum":
        return total  # type: ignore[no-any-return]
    ones = base.full((n,), 1, weight._a.dtype) if keep is None else convert(keep, dtype_of(weight))
    counts = index_put_op(base.full((bags,), 0, weight._a.dtype), ones, bag, spec=(True,), accumulate=True)
    return total / FUNCTIONS["clamp_min"](counts, 1).unsqueeze(1)  # type: ignore[no-any-return]


def _bag_max(rows: Tensor, bag: Tensor, keep: Tensor | None, bags: int) -> Tensor:
    if not rows._a.shape[0]:
        return base.full((bags, rows._a.shape[1]), 0, rows._a.dtype)
    counted = base.full(tuple(bag._a.shape), True, np.dtype(bool)) if keep is None else keep
    at = segment_argmax_op(rows, bag, counted, bags=bags)
    found = at >= 0
    return where_op(found, gather_op(rows, where_op(found, at, 0), dim=0), 0)  # type: ignore[no-any-return]


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Integers (*) as one-hot rows (*, num_classes) of int64.

    Raises: RuntimeError for values outside the classes or other dtypes.
    """
    if tensor._a.dtype != np.int64:
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor, got {dtype_of(tensor)}."
        )
    size = tensor.numel()
    if num_classes == -1:
        if not size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        if isinstance(tensor._a, Batched) and tensor._a.batched:
            raise RuntimeError(
                "When vmap-ing torch.nn.functional.one_hot, please provide an explicit positive num_classes argument."
            )
        num_classes = int(tensor.max()) + 1
    elif num_classes < 1 and not (num_classes == 0 and not size):
        raise RuntimeError(
            "num_classes should be positive" if not size else "Class values must be smaller than num_classes."
        )
    if size:
        values = seen(tensor)
        if values.size and largest_unsigned(values) >= num_classes:
            if int(values.min()) < 0:
                raise RuntimeError("Class values must be non-negative.")
            raise RuntimeError("Class values must be smaller than num_classes.")
    shape, d = tuple(tensor._a.shape), np.dtype(np.int64)
    zeros, ones = base.full((*shape, num_classes), 0, d), base.full((*shape, 1), 1, d)
    return scatter_op(zeros, ones, base.reshape(tensor, (*shape, 1)), dim=len(shape), reduce="set")  # type: ignore[no-any-return]
