"""`flambeau.utils.pytree` under the name that PyTorch's users import: the same module, with its private names."""

import sys

from . import pytree

sys.modules[__name__] = pytree
