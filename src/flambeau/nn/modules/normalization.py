"""LayerNorm, GroupNorm, RMSNorm, LocalResponseNorm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...core.tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]

Shape = int | Sequence[int]


def _as_shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if hasattr(shape, "__index__") else tuple(shape)


class _Affine(Module):
    """A module with a weight that starts at 1 and a bias that starts at 0, either of which may be absent."""

    def _make(self, name: str, wanted: bool, shape: Any, device: Any, dtype: Any) -> None:
        param = Parameter(ops.empty(shape, device=device, dtype=dtype)) if wanted else None
        self.register_parameter(name, param)

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        for name, fill in (("weight", init.ones_), ("bias", init.zeros_)):
            param = self._parameters.get(name)
            if param is not None:
                fill(param)


class LocalResponseNorm(Module):
    """``x / (k + alpha/size · sum of x² over size neighbouring channels)^beta`` (Krizhevsky et al. 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(Module):
    """``x / (k + alpha/size · sum of x² over neighbouring channels)^beta`` for (N, C, H, W), as Lua Torch had it.

    With ``p = (size + 1) // 2`` channel c sums over c - p + 1 … c + p - 1, and from channel p on over channel 0
    too: PyTorch's running sum never takes that one out, and networks were trained with it. LocalResponseNorm
    is the definition of the literature. The gradient is this function's own; PyTorch's leaves channel 0 out.

    Raises: ValueError for inputs of other dimensions.

    >>> import flambeau as torch
    >>> torch.nn.CrossMapLRN2d(3)(torch.ones(1, 4, 1, 1)).shape
    torch.Size([1, 4, 1, 1])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        channels, reach = input.shape[1], (self.size + 1) // 2
        sums = [
            [float(abs(c - o) < reach or (o == 0 and c >= reach)) for o in range(channels)]
            for c in range(channels)
        ]
        counted = ops.tensor(sums, dtype=input.dtype).reshape(channels, channels)
        total = ops.einsum("co,nohw->nchw", counted, input.square())
        return input * (total * (self.alpha / self.size) + self.k).pow(-self.beta)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LayerNorm(_Affine):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dims, `normalized_shape` (Ba et al.
    2016).

    >>> import flambeau as torch
    >>> torch.nn.LayerNorm(4)(torch.arange(8.0).reshape(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make("weight", elementwise_affine, self.normalized_shape, device, dtype)
        self._make("bias", elementwise_affine and bias, self.normalized_shape, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class GroupNorm(_Affine):
    """Normalises groups of channels of (N, C, *) over the group and all positions (Wu and He 2018).

    Raises: ValueError when num_channels is not divisible by num_groups.

    >>> import flambeau as torch
    >>> torch.nn.GroupNorm(2, 4)(torch.ones(1, 4, 3)).shape
    torch.Size([1, 4, 3])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make("weight", affine, num_channels, device, dtype)
        self._make("bias", affine and bias, num_channels, device, dtype)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """``x / sqrt(mean(x²) + eps) * weight`` over the last dims (Zhang and Sennrich 2019); eps None is machine
    eps.
    """

    def __init__(
        self,
        normalized_shape: Shape,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _as_shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make("weight", elementwise_affine, self.normalized_shape, device, dtype)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
