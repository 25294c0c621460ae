"""Special functions: `flambeau.special`."""

from .core.public import FUNCTIONS as _FUNCTIONS
from .ops import special as _special

_ = _special
for _name, _fn in _FUNCTIONS.items():
    if _name.startswith("special_"):
        globals()[_name[len("special_") :]] = _fn
for _name in ("round", "logsumexp"):
    globals()[_name] = _FUNCTIONS[_name]
