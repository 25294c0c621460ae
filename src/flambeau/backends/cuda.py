"""CUDA's settings: accepted, without effect on the CPU."""

from __future__ import annotations


class _MatmulSettings:
    """Flags for products of matrices."""

    allow_tf32 = False
    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    fp32_precision = "ieee"


matmul = _MatmulSettings()


def is_built() -> bool:
    """False."""
    return False


def flash_sdp_enabled() -> bool:
    """False: attention is computed by the plain formula."""
    return False


def mem_efficient_sdp_enabled() -> bool:
    """False: attention is computed by the plain formula."""
    return False


def math_sdp_enabled() -> bool:
    """True: attention is computed by the plain formula."""
    return True
