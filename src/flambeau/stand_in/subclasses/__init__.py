"""``torch._subclasses``: tensors without memory, for PyTorch's tracers, which are absent."""

from ...runtime.absent import names_of

__getattr__ = names_of(__name__)
