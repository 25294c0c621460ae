"""Dropout in its forms; masks are PyTorch's for the same seed."""

from __future__ import annotations

import warnings

from ... import ops
from ...core.grad_names import rename
from ...core.tensor import Tensor
from ...ops.args import dtype_of, numel
from ...ops.random import draw, draw_like
from .activation import in_place


def check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, elements become zero with probability `p` and the others are divided by 1 - p.

    Raises: ValueError for p outside [0, 1].
    """
    check_probability(p)
    if not numel(input) or p == 0 or not training:
        return input
    if p == 1:
        return in_place(input, input * ops.zeros_like(input), inplace, "dropout_")
    noise = draw_like("dropout", input, dtype_of(input), p)
    return in_place(input, input * noise, inplace, "dropout_")


def _feature_shape(input: Tensor) -> tuple[int, ...]:
    s = tuple(input._a.shape)
    return (*s[:2], *(1,) * (len(s) - 2))


def _feature_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    check_probability(p)
    if not numel(input) or p == 0 or not training:
        return input
    if p == 1:
        return in_place(input, input * ops.zeros_like(input), inplace, "feature_dropout_")
    return in_place(
        input,
        input * draw("dropout", _feature_shape(input), input._a.dtype, p, like=input),
        inplace,
        "feature_dropout_",
    )


def _warn_rank(name: str, nd: int, wanted: str, spatial: str) -> None:
    warnings.warn(
        f"{name}: Received a {nd}-D input to {name}, which drops whole channels of inputs of {spatial} spatial dimensions "
        f"({wanted}, or without the batch one fewer). Use dropout for elements, {name[:-2]}1d, 2d or 3d for other numbers",
        stacklevel=4,
    )


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of (N, C, L) or (C, L) dropped."""
    check_probability(p)
    nd = len(input._a.shape)
    if nd not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {nd}D input. Note that dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    if nd == 3:
        return _feature_dropout(input, p, training, inplace)
    return _feature_dropout(input.unsqueeze(0), p, training, inplace).squeeze(0)  # type: ignore[no-any-return]


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of (N, C, H, W) dropped; other shapes have a warning."""
    check_probability(p)
    nd = len(input._a.shape)
    if nd not in (3, 4):
        _warn_rank("dropout2d", nd, "4-D", "2")
    if nd == 3:
        warnings.warn(
            "dropout2d: Received a 3-D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired: "
            "(N, C, L) is (N, C, L, 1). Use dropout1d for that",
            stacklevel=3,
        )
    return _feature_dropout(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) dropped; other shapes have a warning."""
    check_probability(p)
    if len(input._a.shape) not in (4, 5):
        _warn_rank("dropout3d", len(input._a.shape), "5-D", "3")
    if len(input._a.shape) != 4:
        return _feature_dropout(input, p, training, inplace)
    before = input._node
    y = _feature_dropout(input.unsqueeze(0), p, training, inplace)
    if not inplace:
        return y.squeeze(0)  # type: ignore[no-any-return]
    return input if input._node is before else rename(input, "SqueezeBackward4")


ALPHA = 1.7580993408473766  # -scale * alpha of SELU: the value dropped units take


def _alpha(input: Tensor, p: float, training: bool, inplace: bool, features: bool) -> Tensor:
    check_probability(p)
    if not numel(input) or p == 0 or not training:
        return input
    if p == 1:
        return in_place(input, input * ops.zeros_like(input), inplace, "alpha_dropout_")
    if features:
        keep = draw("bernoulli", _feature_shape(input), input._a.dtype, 1 - p, like=input)
    else:
        keep = draw_like("bernoulli", input, dtype_of(input), 1 - p)
    a = 1.0 / ((ALPHA * ALPHA * p + 1) * (1 - p)) ** 0.5
    b = (keep - 1) * (ALPHA * a) + ALPHA * a * p
    return in_place(input, input * (keep * a) + b, inplace, "alpha_dropout_")


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance under SELU (Klambauer et al., 2017)."""
    return _alpha(input, p, training, inplace, features=False)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """``alpha_dropout`` of whole channels."""
    return _alpha(input, p, training, inplace, features=True)
