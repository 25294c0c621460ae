"""Tools around training: `flambeau.utils.data`, `flambeau.utils.dlpack`, and others that load when first asked for."""

from ..runtime.absent import no_such_name as _no_such_name
from . import data, dlpack

__all__ = ["data", "dlpack"]

_LAZY = (
    "_device",
    "_python_dispatch",
    "benchmark",
    "checkpoint",
    "hooks",
    "model_zoo",
    "pytree",
    "tensorboard",
)


def __getattr__(name: str) -> object:
    if name == "_pytree":
        name = "pytree"
    if name == "swap_tensors":
        from .swapping import swap_tensors

        return swap_tensors
    if name in _LAZY:
        import importlib

        try:
            return importlib.import_module(f"flambeau.utils.{name}")
        except ModuleNotFoundError as e:
            if e.name != f"flambeau.utils.{name}":
                raise
    raise _no_such_name(__name__, name)
