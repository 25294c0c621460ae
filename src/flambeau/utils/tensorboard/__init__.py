"""Writing logs for TensorBoard: `flambeau.utils.tensorboard.SummaryWriter`.

Needs the package ``tensorboard``, which is not among the dependencies.
"""

try:
    import tensorboard as _tensorboard
except ModuleNotFoundError as e:
    raise ImportError(
        "flambeau.utils.tensorboard needs the package tensorboard: pip install tensorboard",
        name="tensorboard",
    ) from e

from ...runtime.absent import names_of as _names_of
from .writer import FileWriter, SummaryWriter

__all__ = ["FileWriter", "SummaryWriter"]

__getattr__ = _names_of(__name__)
