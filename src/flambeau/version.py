"""The version, and what it was built for (nothing but Python)."""

from . import __version__

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "xpu"]

cuda = None
hip = None
xpu = None
debug = False
git_version = "unknown"
