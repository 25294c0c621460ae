"""What PyTorch programs ask and set about numeric back ends: `flambeau.backends`.

Flags are remembered and change no numbers; `is_available` tells the truth.
"""

from contextlib import nullcontext as __allow_nonbracketed_mutation  # flags can always be set; MONAI asks

from ..runtime.absent import names_of as _names_of
from . import cpu, cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]

__getattr__ = _names_of(__name__)
