"""The version, and what it was built for (nothing but Python)."""

from . import __version__

cuda = None
hip = None
xpu = None
debug = False
git_version = "unknown"
