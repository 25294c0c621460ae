"""`flambeau.utils.pytree` under the name that PyTorch's users import: the same module, with its private names."""

import sys

from . import pytree

# For those who execute this file themselves, as tests of docstrings do.
globals().update({name: value for name, value in vars(pytree).items() if not name.startswith("__")})
sys.modules[__name__] = pytree
