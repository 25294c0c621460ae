"""``torch._dynamo.eval_frame``: what programs ask of the compiler, and the class of compiled modules."""

from __future__ import annotations

from ...nn.modules.compiled import OptimizedModule
from ...runtime.absent import names_of

__all__ = ["OptimizedModule", "is_dynamo_supported"]


def is_dynamo_supported() -> bool:
    """Whether functions can be compiled: always."""
    return True


__getattr__ = names_of(__name__)
