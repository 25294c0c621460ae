"""`lobpcg` of sparse matrices, by SciPy's iteration."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..ops.eigenpairs import request
from ..prims.base import from_value
from .tensors import handles

__all__: list[str] = []


@handles("lobpcg")
def lobpcg(
    A: Any,
    k: int | None = None,
    B: Any = None,
    X: Any = None,
    n: int | None = None,
    iK: Any = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    *options: Any,
    **more: Any,
) -> tuple[Tensor, Tensor]:
    """(eigenvalues, eigenvectors), see `flambeau.lobpcg`."""
    from scipy.sparse.linalg import LinearOperator
    from scipy.sparse.linalg import lobpcg as run

    k, n, descending = request(A, k, X, n, largest, method)
    dtype = A.dtype.numpy

    def operator(matrix: Any) -> Any:
        if matrix is None:
            return None
        constant = matrix.detach()

        def product(v: Any) -> Any:
            columns = from_value(np.ascontiguousarray(v.reshape(v.shape[0], -1), dtype))
            return FUNCTIONS["matmul"](constant, columns).numpy().reshape(v.shape)

        return LinearOperator(tuple(matrix.shape), matvec=product, matmat=product, dtype=dtype)

    start = FUNCTIONS["randn"]((A.shape[-1], n), dtype=A.dtype) if X is None else X.detach()
    values, vectors = run(
        *(operator(A), start.numpy().copy(), operator(B), operator(iK)),
        tol=tol,
        maxiter=1000 if niter is None or niter < 0 else niter,
        largest=descending,
    )
    order = np.argsort(values)
    chosen = (order[::-1] if descending else order)[:k]
    return from_value(values[chosen].astype(dtype)), from_value(
        np.ascontiguousarray(vectors[:, chosen], dtype)
    )
