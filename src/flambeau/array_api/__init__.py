"""The Python array API standard, version 2024.12 (https://data-apis.org/array-api/2024.12).

`Tensor.__array_namespace__()` returns this module, so that libraries written for the standard (SciPy, scikit-learn and
others) compute with tensors.  Its functions take any tensors and return `Array`s: tensors that share everything with
plain ones (memory, gradients, `vmap`, all of PyTorch's methods) but have the standard's operators and attributes
where PyTorch's differ.  The differences, and what holds where:

* *Promotion.*  For PyTorch a 0-d tensor counts less than a dimensioned one, and uint16, uint32 and uint64 do not
  combine with other integers.  Functions of this namespace and operators on an `Array` follow the standard:
  every array counts in full, ``uint16 + int8`` is int32.  Operators between plain tensors stay PyTorch's.
* *size.*  A method in PyTorch, a number in the standard.  ``Array.size`` is an int that can also be called.
* *T, mT.*  An `Array` transposes matrices only; PyTorch's ``T`` reverses the dims of any tensor.
* *Indexing.*  An `Array` takes slices with negative steps, which PyTorch refuses; as tensors have no negative strides,
  the result is a copy.
* *to_device* is there for all tensors; ``device`` is the same in both.
* Integers with floats and bool with numbers, which the standard leaves open, combine as in PyTorch.  Integer literals
  become int64, floating ones the default dtype (`flambeau.set_default_dtype`).
* In-place operators that would have to change the dtype raise TypeError, as the standard asks.

PyTorch's own functions return plain tensors, whatever they are given; `asarray` makes an `Array` of a tensor (sharing
memory and history), ``x.as_subclass(flambeau.Tensor)`` the other way round.

>>> import flambeau as torch
>>> t = torch.arange(4.0)
>>> xp = t.__array_namespace__()
>>> xp.mean(t)
Array(1.5000)
"""

from __future__ import annotations

import math as _math
from typing import TYPE_CHECKING, Any

from ..runtime.dtypes import BY_NAME as _BY_NAME
from . import elementwise as _elementwise
from . import fft, linalg
from .arrays import Array
from .creation import *  # noqa: F403
from .info import __array_namespace_info__
from .linear_algebra import matmul, matrix_transpose, tensordot, vecdot
from .manipulation import *  # noqa: F403
from .promotion import can_cast, finfo, iinfo, isdtype, result_type
from .searching import *  # noqa: F403
from .statistics import *  # noqa: F403

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


__array_api_version__ = "2024.12"
e, pi, inf, nan, newaxis = _math.e, _math.pi, _math.inf, _math.nan, None
for _name in _elementwise.__all__:
    globals()[_name] = getattr(_elementwise, _name)
for _name in (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
):
    globals()[_name] = _BY_NAME[_name]
__all__ = [n for n in globals() if not n.startswith("_") and n not in ("annotations", "Any", "TYPE_CHECKING")]
__all__ += ["__array_api_version__", "__array_namespace_info__"]
