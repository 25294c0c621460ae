"""Sparse tensors: ``flambeau.sparse``.

COO tensors (`flambeau.sparse_coo_tensor`, hybrid ones included) and CSR and CSC matrices consist of strided tensors, for
the places and the values of their entries.  What is not defined for a layout raises NotImplementedError.

>>> import flambeau as torch
>>> s = torch.sparse_coo_tensor([[0, 1], [2, 0]], torch.tensor([3.0, 4.0], requires_grad=True), (2, 3))
>>> torch.sparse.mm(s, torch.ones(3, 1)).sum().backward()
"""

from __future__ import annotations

from ..runtime.absent import names_of
from . import eigenpairs as _eigenpairs
from . import protocol as _protocol
from .invariants import check_sparse_tensor_invariants
from .making import as_sparse_gradcheck, spdiags
from .products import addmm, mm, sampled_addmm
from .reductions import log_softmax, softmax, sum
from .typed import (
    BFloat16Tensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
)

__all__ = [
    "BFloat16Tensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "addmm",
    "as_sparse_gradcheck",
    "check_sparse_tensor_invariants",
    "log_softmax",
    "mm",
    "sampled_addmm",
    "softmax",
    "spdiags",
    "sum",
]
del _eigenpairs, _protocol
__getattr__ = names_of(__name__)
