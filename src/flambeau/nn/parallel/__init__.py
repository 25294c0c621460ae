"""Running a module on several devices: `flambeau.nn.parallel`."""

from ...runtime.absent import names_of as _names_of
from .data_parallel import DataParallel, data_parallel
from .distributed import DistributedDataParallel

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]

__getattr__ = _names_of(__name__)
