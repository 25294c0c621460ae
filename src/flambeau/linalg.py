"""Linear algebra: `flambeau.linalg`."""

from .core.public import FUNCTIONS as _FUNCTIONS
from .ops import linalg_decompositions as _decompositions
from .ops import linalg_norms as _norms
from .ops import linalg_products as _products
from .prims.linalg import LinAlgError
from .runtime.absent import names_of as _names_of

_ = (_decompositions, _norms, _products)
for _name, _fn in list(_FUNCTIONS.items()):
    if _name.startswith("linalg_"):
        globals()[_name[len("linalg_") :]] = _fn
__all__ = ["LinAlgError", *sorted(n[len("linalg_") :] for n in _FUNCTIONS if n.startswith("linalg_"))]

__getattr__ = _names_of(__name__)
