"""The functions of `numpy.linalg` that operations are made of, kept from waiting for threads (`runtime.blas`)."""

from __future__ import annotations

import numpy as np

from ..runtime.blas import guarded

__all__ = ["cholesky", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "qr", "slogdet", "solve", "svd"]

cholesky = guarded(np.linalg.cholesky, "numpy")
det = guarded(np.linalg.det, "numpy")
eig = guarded(np.linalg.eig, "numpy")
eigh = guarded(np.linalg.eigh, "numpy")
eigvals = guarded(np.linalg.eigvals, "numpy")
eigvalsh = guarded(np.linalg.eigvalsh, "numpy")
inv = guarded(np.linalg.inv, "numpy")
qr = guarded(np.linalg.qr, "numpy")
slogdet = guarded(np.linalg.slogdet, "numpy")
solve = guarded(np.linalg.solve, "numpy")
svd = guarded(np.linalg.svd, "numpy")
