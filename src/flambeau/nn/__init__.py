"""Neural networks: modules, parameters, initialisation, functional forms, utilities."""

from ..runtime.absent import no_such_name as _no_such_name
from . import functional, init, modules, parameter, utils
from .modules import *  # noqa: F403
from .modules import __all__ as _modules
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parameter",
    "utils",
    *_modules,
]


def __getattr__(name: str) -> object:
    if name in ("attention", "common_types", "grad", "parallel"):  # load when first asked for
        import importlib

        return importlib.import_module(f"flambeau.nn.{name}")
    if name == "DataParallel":
        from .parallel import DataParallel

        return DataParallel
    raise _no_such_name(__name__, name)
