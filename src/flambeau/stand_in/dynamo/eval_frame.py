"""``torch._dynamo.eval_frame``: for the class of compiled modules, which programs ask for."""

from __future__ import annotations

from ...nn.modules.compiled import OptimizedModule
from ...runtime.absent import names_of

__all__ = ["OptimizedModule"]

__getattr__ = names_of(__name__)
