"""The functions that PyTorch writes in Python over others: `torch.functional`. They are those of `torch` itself."""

from __future__ import annotations

import flambeau as _torch

from .runtime.absent import names_of

__all__ = """
    atleast_1d atleast_2d atleast_3d block_diag broadcast_shapes broadcast_tensors cartesian_prod cdist chain_matmul einsum
    istft lu meshgrid norm pca_lowrank split stft svd_lowrank tensordot unique unique_consecutive unravel_index
""".split()

globals().update({name: getattr(_torch, name) for name in __all__})

__getattr__ = names_of(__name__)
