"""The one part of ``torch.ao`` that models import without using it."""

from __future__ import annotations

from ..runtime.absent import names_of
from . import quantization

__all__ = ["quantization"]

__getattr__ = names_of(__name__)
