"""`flambeau.utils.pytree` under the name that PyTorch's users import."""

from .pytree import *  # noqa: F403
from .pytree import __all__  # noqa: F401
