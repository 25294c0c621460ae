"""What programs use of ``torch._inductor``: its settings, which have no effect here."""

from ...runtime.absent import names_of
from . import config

__all__ = ["config"]

__getattr__ = names_of(__name__)
