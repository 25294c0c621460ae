"""Names of ``torch.ao.quantization`` for models that can be quantized and are not: marks that compute nothing.

Quantizing itself is absent: there are no integer kernels.
"""

from __future__ import annotations

from ..core.tensor import Tensor
from ..nn import Module
from ..runtime.absent import names_of

__all__ = ["DeQuantStub", "QuantStub"]


class QuantStub(Module):
    """Where a quantized model would begin: the tensor itself."""

    def __init__(self, qconfig: object = None) -> None:
        super().__init__()
        if qconfig:
            self.qconfig = qconfig

    def forward(self, x: Tensor) -> Tensor:
        return x


class DeQuantStub(QuantStub):
    """Where a quantized model would end: the tensor itself."""


__getattr__ = names_of(__name__)
