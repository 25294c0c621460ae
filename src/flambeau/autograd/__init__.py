"""Automatic differentiation: `backward`, `grad`, gradient modes, user-defined functions, hooks, checks."""

from ..runtime.absent import no_such_name as _no_such_name
from . import forward_ad, graph
from .anomaly_mode import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from .differentiate import backward, grad
from .function import Function, FunctionCtx, once_differentiable
from .grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    is_multithreading_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .variable import Variable

__all__ = [
    "Function",
    "FunctionCtx",
    "GradcheckError",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_anomaly_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "is_multithreading_enabled",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


def __getattr__(name: str) -> object:
    if name in ("functional", "variable"):
        import importlib

        return importlib.import_module(f"flambeau.autograd.{name}")
    if name in ("profiler", "profiler_util"):
        import importlib

        return importlib.import_module("flambeau.profiler." + ("legacy" if name == "profiler" else "events"))
    raise _no_such_name(__name__, name)
