"""Neural networks: modules, parameters, initialisation, functional forms, utilities."""

from ..runtime.absent import names_of as _names_of
from . import functional, init, modules, parameter, utils
from .functional.linear_cross_entropy import LinearCrossEntropyOptions
from .modules import *  # noqa: F403
from .modules import __all__ as _modules
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer",
    "LinearCrossEntropyOptions",
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

__getattr__ = _names_of(__name__)
