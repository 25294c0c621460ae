"""Comparing and making tensors in tests: `flambeau.testing`."""

from ..runtime.absent import names_of as _names_of
from .comparison import assert_allclose, assert_close
from .making import make_tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

__getattr__ = _names_of(__name__)
