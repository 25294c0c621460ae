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


# Which ways of computing attention PyTorch may choose from on a GPU: remembered.
_attention = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True, "math_16_bit": False}


def flash_sdp_enabled() -> bool:
    """What `enable_flash_sdp` was given last; True at the start."""
    return _attention["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Remembered, without effect on the CPU."""
    _attention["flash"] = bool(enabled)


def mem_efficient_sdp_enabled() -> bool:
    """What `enable_mem_efficient_sdp` was given last; True at the start."""
    return _attention["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Remembered, without effect on the CPU."""
    _attention["mem_efficient"] = bool(enabled)


def math_sdp_enabled() -> bool:
    """What `enable_math_sdp` was given last; True at the start."""
    return _attention["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Remembered, without effect on the CPU."""
    _attention["math"] = bool(enabled)


def cudnn_sdp_enabled() -> bool:
    """What `enable_cudnn_sdp` was given last; True at the start."""
    return _attention["cudnn"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Remembered, without effect on the CPU."""
    _attention["cudnn"] = bool(enabled)


def fp16_bf16_reduction_math_sdp_allowed() -> bool:
    """What `allow_fp16_bf16_reduction_math_sdp` was given last; False at the start."""
    return _attention["math_16_bit"]


def allow_fp16_bf16_reduction_math_sdp(enabled: bool) -> None:
    """Remembered, without effect on the CPU."""
    _attention["math_16_bit"] = bool(enabled)
