"""``import flambeau.as_torch``: from here on ``import torch`` gives flambeau, for programs written for PyTorch.

    import flambeau.as_torch
    import torch, torch.nn.functional as F

    assert F is flambeau.nn.functional
    flambeau.as_torch.uninstall()

`standing_in` does the same for the length of a ``with`` block, and ``python -m flambeau run script.py`` for a program.
What flambeau does not have raises ImportError or AttributeError and is listed in docs/compatibility.md.
"""

from .stand_in import install, is_installed, standing_in, uninstall

__all__ = ["install", "is_installed", "standing_in", "uninstall"]

install()
