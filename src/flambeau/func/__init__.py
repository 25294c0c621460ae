"""Function transforms: vmap, grad, vjp, jvp, Jacobians and Hessians, nested in any order."""

from typing import Any

from ..runtime.absent import no_such_name as _no_such_name
from .functionalization import functionalize
from .transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp
from .vectorize import vmap

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]

# PyTorch offers these here; they are about modules, so they live with them and are looked up when asked for.
_OF_MODULES = ("functional_call", "replace_all_batch_norm_modules_", "stack_module_state")


def __getattr__(name: str) -> Any:
    if name in _OF_MODULES:
        import importlib

        return getattr(importlib.import_module("flambeau.nn.utils.stateless"), name)
    raise _no_such_name(__name__, name)
