"""Names of ``torch.ao.quantization`` for models that can be quantized and are not: marks that compute nothing.

Quantizing itself is absent: there are no integer kernels.
"""

from __future__ import annotations

from typing import Any

from ..core.tensor import Tensor
from ..nn import Module
from ..runtime.absent import WHERE, names_of

__all__ = ["DeQuantStub", "FakeQuantizeBase", "ObserverBase", "QuantStub"]


class ObserverBase(Module):
    """What watches the range of values.  Nothing is an instance: libraries ask whether a module is one.

    Raises: RuntimeError when constructed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"torch.ao.quantization.{type(self).__name__} is absent ({WHERE})")


class FakeQuantizeBase(ObserverBase):
    """What rounds as a quantized model would.  Nothing is an instance."""


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
