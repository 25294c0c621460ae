"""What the doctests of the package cannot be collected from here."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("tensorboard") else ["src/flambeau/utils/tensorboard"]
