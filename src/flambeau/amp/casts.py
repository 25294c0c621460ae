"""Which functions autocast computes in which dtype, and the casting itself.

The lists are those of PyTorch 2.13 for the CPU, by the names of our functions (where PyTorch lists a kernel that a
function is made of, the function stands here).  What is on no list computes in the dtypes it is given.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..core.promotion import convert
from ..core.state import tls
from ..core.tensor import Tensor
from ..runtime import dtypes

# Computed in the dtype of autocast: matrix products, which are fast and accumulate in float32.
LOWER = """
    addbmm addmm baddbmm bmm chain_matmul conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d
    conv_transpose3d einsum linalg_multi_dot linalg_vecdot linear matmul matrix_power mm prelu
    scaled_dot_product_attention tensordot
"""
# Computed in float32: losses, solvers, transforms, and what loses too much otherwise.
FLOAT32 = """
    adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy binary_cross_entropy_with_logits cdist
    cholesky cholesky_inverse cholesky_solve cosine_embedding_loss cross_entropy ctc_loss fft_fft fft_fft2 fft_fftn
    fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn
    fractional_max_pool2d fractional_max_pool3d geqrf grid_sample hinge_embedding_loss huber_loss inverse kl_div l1_loss
    linalg_cholesky linalg_cholesky_ex linalg_cond linalg_eig linalg_eigh linalg_eigvals linalg_eigvalsh
    linalg_householder_product linalg_inv linalg_inv_ex linalg_lstsq linalg_matrix_rank linalg_qr linalg_solve linalg_svd
    linalg_svdvals linalg_tensorinv linalg_tensorsolve lu_solve margin_ranking_loss max_pool3d max_unpool2d max_unpool3d
    mse_loss multi_margin_loss multilabel_margin_loss nanquantile nll_loss orgqr ormqr pinverse poisson_nll_loss polar
    prod qr quantile smooth_l1_loss soft_margin_loss stft svd trace triangular_solve triplet_margin_loss view_as_complex
"""
# Computed in the widest dtype of the arguments.
WIDEST = "cat index_copy stack"
# Left alone, with the products they are made of: vectors gain nothing.
AS_GIVEN = frozenset("addmv addr bilinear cov dot inner kron mv outer vdot".split())

Policy = Callable[[Any, Any, dtypes.dtype], dtypes.dtype | None]


def _widest(args: Any, kwargs: Any, fast: dtypes.dtype) -> dtypes.dtype | None:
    """float32 when any argument is, else the dtype of autocast; None (no casts) when float64 takes part."""
    kinds = {x.dtype for x in _tensors((*args, *kwargs.values())) if x.is_floating_point()}
    if dtypes.float64 in kinds or not kinds:
        return None
    return dtypes.float32 if dtypes.float32 in kinds else fast


def _padding(args: Any, kwargs: Any, fast: dtypes.dtype) -> dtypes.dtype | None:
    """Reflection and replication have kernels of their own, in float32; other modes copy."""
    mode = args[2] if len(args) > 2 else kwargs.get("mode", "constant")
    return dtypes.float32 if mode in ("reflect", "replicate") else None


def _recurrent(args: Any, kwargs: Any, fast: dtypes.dtype) -> dtypes.dtype | None:
    """LSTM layers are one kernel; others are linear maps, listed above, and elementwise steps."""
    return fast if args[0] == "LSTM" else None


POLICIES: dict[str, Policy] = {
    **dict.fromkeys(LOWER.split(), lambda args, kwargs, fast: fast),
    **dict.fromkeys(FLOAT32.split(), lambda args, kwargs, fast: dtypes.float32),
    **dict.fromkeys(WIDEST.split(), _widest),
    **dict.fromkeys(AS_GIVEN, lambda args, kwargs, fast: None),
    "pad": _padding,
    "recurrent": _recurrent,
}


def _tensors(values: Any) -> Any:
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (tuple, list)):
            yield from _tensors(x)


class Cache:
    """Parameters as they were cast, so that one used several times is cast once and has one gradient to add to.

    An entry is used while the parameter lives and has not been written to.
    """

    def __init__(self) -> None:
        self.entries: dict[Any, tuple[weakref.ref[Tensor], int, Tensor]] = {}

    def get(self, x: Tensor, to: dtypes.dtype) -> Tensor:
        """`x` as dtype `to`."""
        key = id(x), to, tls.grad
        version = x._version
        found = self.entries.get(key)
        if found is not None and found[0]() is x and found[1] == version:
            return found[2]
        made = convert(x, to)
        self.entries[key] = weakref.ref(x), version, made
        return made


class Caster:
    """What `tls.autocast` holds in an autocast region: runs a listed function on cast arguments."""

    def __init__(self, fast: dtypes.dtype, cache: Cache | None) -> None:
        self.fast = fast
        self.cache = cache

    def __call__(self, fn: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> tuple[Any] | None:
        """(result,) for a listed function, else None."""
        name = getattr(fn, "__name__", "")
        policy = POLICIES.get(name)
        to = None if policy is None else policy(args, kwargs, self.fast)
        if to is None and name not in AS_GIVEN:
            return None
        before = tls.autocast
        tls.autocast = None  # inside, dtypes are as they were made
        try:
            if to is not None:
                args = tuple([self.cast(x, to) for x in args])
                kwargs = {k: v if k == "out" else self.cast(v, to) for k, v in kwargs.items()}
            return (fn(*args, **kwargs),)
        finally:
            tls.autocast = before

    def cast(self, x: Any, to: dtypes.dtype) -> Any:
        """`x` with its floating tensors (but for float64) as dtype `to`."""
        if isinstance(x, (tuple, list)) and any(isinstance(v, (Tensor, tuple, list)) for v in x):
            values = [self.cast(v, to) for v in x]
            return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)
        if not isinstance(x, Tensor) or x._a.dtype.kind not in "fV" or x.dtype in (to, dtypes.float64):
            return x
        kept = self.cache is not None and to is self.fast and x.dtype is dtypes.float32
        if kept and x.requires_grad and x.is_leaf and x._base is None and not tls.stack:
            return self.cache.get(x, to)  # type: ignore[union-attr]
        return convert(x, to)
