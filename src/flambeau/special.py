"""Special functions: `flambeau.special`."""

from .core.public import FUNCTIONS as _FUNCTIONS
from .ops import special as _special
from .runtime.absent import names_of as _names_of

_ = _special
for _name, _fn in _FUNCTIONS.items():
    if _name.startswith("special_"):
        globals()[_name[len("special_") :]] = _fn
for _name in ("round", "logsumexp"):
    globals()[_name] = _FUNCTIONS[_name]

__getattr__ = _names_of(__name__)
