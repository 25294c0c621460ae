"""The two gradients of a convolution as functions: by its input, and by its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.tensor import Tensor
from ..prims.conv import conv_input_op, conv_weight_op
from ..prims.conv_arrays import output_size
from ..runtime.absent import names_of as _names_of
from .functional.conv import spread

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]

IntOrTuple = int | tuple[int, ...]


def _settings(
    n: int,
    x: Sequence[int],
    w: Sequence[int],
    g: Tensor,
    stride: IntOrTuple,
    padding: IntOrTuple,
    dilation: IntOrTuple,
    groups: int,
) -> dict[str, Any]:
    """The parameters of the primitive, after a check that input, weight and output gradient belong together.

    Raises: RuntimeError naming the shapes.
    """
    for shape, what in ((x, "input"), (w, "weight"), (g.shape, "grad_output")):
        if len(shape) != n + 2:
            raise RuntimeError(f"expected {n + 2}-dimensional {what}, but got one of size {list(shape)}")
    s, p, d = (spread(v, n, k) for v, k in ((stride, "stride"), (padding, "padding"), (dilation, "dilation")))
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if min(s) <= 0 or min(d) <= 0 or min(p) < 0:
        raise RuntimeError(f"stride {s} and dilation {d} have to be positive, and padding {p} at least zero")
    if x[1] != w[1] * groups or w[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(w)} does not fit an input of size {list(x)}"
        )
    out = (x[0], w[0], *output_size(tuple(x[2:]), tuple(w[2:]), s, p, d))
    if tuple(g.shape) != out:
        raise RuntimeError(
            f"expected grad_output of size {list(out)}, as the convolution of an input of size {list(x)} with a "
            f"weight of size {list(w)} has, but got {list(g.shape)}"
        )
    return {"stride": s, "padding": p, "dilation": d, "groups": groups}


def _same_dtype(a: Tensor, b: Tensor) -> None:
    if a.dtype != b.dtype:
        raise RuntimeError(f"expected tensors of one dtype, but got {a.dtype} and {b.dtype}")


def _input(n: int, input_size: Sequence[int], weight: Tensor, grad_output: Tensor, *settings: Any) -> Tensor:
    _same_dtype(grad_output, weight)
    size = tuple(int(v) for v in input_size)
    chosen = _settings(n, size, weight.shape, grad_output, *settings)
    return conv_input_op(grad_output, weight, size=size[2:], **chosen)  # type: ignore[no-any-return]


def _weight(n: int, input: Tensor, weight_size: Sequence[int], grad_output: Tensor, *settings: Any) -> Tensor:
    _same_dtype(input, grad_output)
    size = tuple(int(v) for v in weight_size)
    chosen = _settings(n, input.shape, size, grad_output, *settings)
    return conv_weight_op(input, grad_output, kernel=size[2:], **chosen)  # type: ignore[no-any-return]


def conv1d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrTuple = 1,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv1d` by its input of size `input_size` (N, C, L), from that of its output.

    `weight` (O, C / groups, K), `grad_output` (N, O, L'). Can be differentiated.

    Raises: RuntimeError for sizes that no such convolution has, or different dtypes.

    >>> import flambeau as torch
    >>> torch.nn.grad.conv1d_input((1, 1, 3), torch.tensor([[[1.0, 2.0]]]), torch.ones(1, 1, 2))
    tensor([[[1., 3., 2.]]])
    """
    return _input(1, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrTuple = 1,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of `conv1d` by its weight of size `weight_size` (O, C / groups, K), from that of its output.

    Raises: RuntimeError for sizes that no such convolution has, or different dtypes.

    >>> import flambeau as torch
    >>> torch.nn.grad.conv1d_weight(torch.tensor([[[1.0, 2.0, 4.0]]]), (1, 1, 2), torch.ones(1, 1, 2))
    tensor([[[3., 6.]]])
    """
    return _weight(1, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrTuple = 1,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
) -> Tensor:
    """As conv1d_input, for `conv2d`: (N, C, H, W)."""
    return _input(2, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrTuple = 1,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
) -> Tensor:
    """As conv1d_weight, for `conv2d`: (O, C / groups, KH, KW)."""
    return _weight(2, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(
    input_size: Sequence[int],
    weight: Tensor,
    grad_output: Tensor,
    stride: IntOrTuple = 1,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
) -> Tensor:
    """As conv1d_input, for `conv3d`: (N, C, D, H, W)."""
    return _input(3, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(
    input: Tensor,
    weight_size: Sequence[int],
    grad_output: Tensor,
    stride: IntOrTuple = 1,
    padding: IntOrTuple = 0,
    dilation: IntOrTuple = 1,
    groups: int = 1,
) -> Tensor:
    """As conv1d_weight, for `conv3d`: (O, C / groups, KD, KH, KW)."""
    return _weight(3, input, weight_size, grad_output, stride, padding, dilation, groups)


__getattr__ = _names_of(__name__)
