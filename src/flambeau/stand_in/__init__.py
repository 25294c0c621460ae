"""Standing in for PyTorch: ``import torch`` finds flambeau.  `flambeau.as_torch` is the way in for users."""

from .install import install, is_installed, standing_in, uninstall

__all__ = ["install", "is_installed", "standing_in", "uninstall"]
