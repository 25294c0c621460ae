"""Discrete Fourier transforms: `flambeau.fft`."""

from .core.public import FUNCTIONS as _FUNCTIONS
from .ops import fft as _fft
from .runtime.absent import names_of as _names_of

_ = _fft
for _name, _fn in list(_FUNCTIONS.items()):
    if _name.startswith("fft_"):
        globals()[_name[len("fft_") :]] = _fn
__all__ = sorted(n[len("fft_") :] for n in _FUNCTIONS if n.startswith("fft_"))

__getattr__ = _names_of(__name__)
