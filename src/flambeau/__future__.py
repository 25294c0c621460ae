"""How modules take converted tensors: `flambeau.__future__`.

By default a conversion (``Module.to`` and its kind) gives the values to the parameter that is there.
"""

from __future__ import annotations

from .nn.parameter import CONVERSIONS as _settings
from .runtime.absent import names_of

__all__ = [
    "get_overwrite_module_params_on_conversion",
    "get_swap_module_params_on_conversion",
    "set_overwrite_module_params_on_conversion",
    "set_swap_module_params_on_conversion",
]

__getattr__ = names_of(__name__)


def set_overwrite_module_params_on_conversion(value: bool) -> None:
    """Whether conversions put new parameters in the place of the old ones.

    >>> import flambeau as torch
    >>> m = torch.nn.Linear(1, 1)
    >>> before = m.weight
    >>> torch.__future__.set_overwrite_module_params_on_conversion(True)
    >>> m.double().weight is before
    False
    >>> torch.__future__.set_overwrite_module_params_on_conversion(False)
    """
    _settings["overwrite"] = bool(value)


def get_overwrite_module_params_on_conversion() -> bool:
    """Whether conversions put new parameters in the place of the old ones."""
    return _settings["overwrite"]


def set_swap_module_params_on_conversion(value: bool) -> None:
    """Remembered: parameters stay the same objects in conversions and in `load_state_dict` in any case."""
    _settings["swap"] = bool(value)


def get_swap_module_params_on_conversion() -> bool:
    """What `set_swap_module_params_on_conversion` was told."""
    return _settings["swap"]
