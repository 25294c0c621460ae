"""Cross entropy of a linear map's outputs in one call."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ...core.grad_names import rename
from ...core.tensor import Tensor
from ...prims import base
from ...runtime import dtypes
from .classification import cross_entropy
from .linear import linear

ACC_POLICIES = ("auto", "accurate", "balanced", "compact")
ACC_DTYPES = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


@dataclasses.dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """PyTorch's settings for how `linear_cross_entropy` divides its work.

    They are checked and kept; the result is computed in one piece whatever they say.

    Raises: ValueError for values that PyTorch refuses.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        if self.acc_policy not in ACC_POLICIES:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, colon, factor = self.chunking_method.partition(":")
            if name != "aspect_ratio" or colon and not (factor.isdigit() and int(factor) > 0):
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype is not None and self.acc_dtype not in ACC_DTYPES:
            raise ValueError(f"acc_dtype must be None or one of {ACC_DTYPES}, got {self.acc_dtype!r}")


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target, ...)``.

    input (N, in) or (in); linear_weight (C, in), or (C, d1, ..., in) for logits (N, C, d1, ...).

    Raises: RuntimeError for shapes that do not fit, or an ignore_index for targets that are probabilities.
    """
    x, w = tuple(input._a.shape), tuple(linear_weight._a.shape)
    if len(x) not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {len(x)}")
    if len(w) < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {len(w)}")
    if x[-1] != w[-1]:
        raise RuntimeError(
            f"expected equal input and linear_weight last dimensions (in_features), got {x[-1]} and {w[-1]}, "
            "respectively"
        )
    classes = w[:-1]
    if linear_bias is not None and tuple(linear_bias._a.shape) != classes:
        raise RuntimeError(f"expected linear_bias shape {classes}, got {tuple(linear_bias._a.shape)}")
    if len(classes) > 1 and len(x) == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {w} requires batched input, (N, {x[-1]}), got "
            f"unbatched input with shape {x}"
        )
    shape = (*x[:-1], *classes)
    if tuple(target._a.shape) == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if len(classes) > 1:
        rows = math.prod(classes)
        linear_weight = base.reshape(linear_weight, (rows, w[-1]))
        linear_bias = None if linear_bias is None else base.reshape(linear_bias, (rows,))
    logits = base.reshape(linear(input, linear_weight, linear_bias), shape)
    ignored = -100 if ignore_index is None else ignore_index
    loss = cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )
    chunked = options is not None and options.batch_chunk_size is not None and tuple(target._a.shape) != shape
    return _named(loss, len(x), classes, reduction) if chunked else loss


def _named(loss: Tensor, dims: int, classes: tuple[int, ...], reduction: str) -> Tensor:
    """The node's name in PyTorch when the batch goes through in chunks."""
    if dims == 1:
        return rename(loss, "SqueezeBackward1")  # type: ignore[no-any-return]
    if len(classes) > 1:
        return rename(loss, "ViewBackward0") if reduction == "none" else loss
    kind = "_no_reduction" if reduction == "none" else ""
    name = f"GeneratedBackwardFor_torch_nn__linear_cross_entropy_batch_chunked{kind}_defaultBackward"
    return rename(loss, name)  # type: ignore[no-any-return]
