"""``torch._C._nn``: functions of `flambeau.nn.functional` that libraries call by the name of PyTorch's binding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..core.tensor import Tensor
from ..nn import functional
from ..nn.modules.module import _parse_to
from ..runtime.absent import names_of as _names_of

__all__ = ["_parse_to"]

# Those whose arguments are the public function's, in its order.
_SAME = (
    *("adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool2d", "avg_pool3d", "gelu", "glu", "hardsigmoid"),
    *("hardswish", "hardtanh", "leaky_relu", "linear", "mish", "one_hot", "pad", "relu6"),
    *("scaled_dot_product_attention", "silu", "softplus", "softshrink", "elu_", "hardtanh_", "leaky_relu_"),
)
globals().update({name: getattr(functional, name) for name in _SAME})
log_sigmoid = functional.logsigmoid


def _upsampling(mode: str, dims: int, aligned: bool) -> Callable[..., Tensor]:
    """The function ``upsample_{mode}{dims}d``; `aligned` when it has a parameter ``align_corners``."""

    def upsample(
        input: Tensor,
        output_size: Sequence[int] | None = None,
        *rest: Any,
        align_corners: bool = False,
        scale_factors: Sequence[float] | None = None,
    ) -> Tensor:
        options: dict[str, Any] = {"mode": mode}
        if aligned:
            options["align_corners"], rest = (rest[0], rest[1:]) if rest else (align_corners, ())
        # One sequence of factors, or each as an argument of its own.
        scales = scale_factors or (rest[0] if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest)
        if not scales or any(s is None for s in scales):
            return functional.interpolate(
                input, None if output_size is None else list(output_size), **options
            )
        sizes = [math.floor(n * s) for n, s in zip(input.shape[2:], scales)]
        if output_size is not None and list(output_size) != sizes:
            raise ValueError(
                f"{upsample.__name__}: output_size {list(output_size)} is not {sizes}, "
                f"to which scales {list(scales)} take an input of {list(input.shape)}"
            )
        return functional.interpolate(input, None, list(scales), **options)

    upsample.__name__ = upsample.__qualname__ = f"upsample_{mode}{dims}d"
    upsample.__doc__ = f"`interpolate` with mode {mode!r}, to `output_size` or by factors."
    return upsample


upsample_nearest1d = _upsampling("nearest", 1, False)
upsample_nearest2d = _upsampling("nearest", 2, False)
upsample_nearest3d = _upsampling("nearest", 3, False)
upsample_linear1d = _upsampling("linear", 1, True)
upsample_bilinear2d = _upsampling("bilinear", 2, True)
upsample_bicubic2d = _upsampling("bicubic", 2, True)
upsample_trilinear3d = _upsampling("trilinear", 3, True)

__getattr__ = _names_of(__name__)
