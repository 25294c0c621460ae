"""Running a module on several devices: `flambeau.nn.parallel`."""

from ...runtime.absent import names_of as _names_of
from .data_parallel import DataParallel, data_parallel
from .distributed import DistributedDataParallel
from .replicas import parallel_apply, replicate
from .scatter_gather import gather, scatter

__all__ = [
    "DataParallel",
    "DistributedDataParallel",
    "data_parallel",
    "gather",
    "parallel_apply",
    "replicate",
    "scatter",
]

__getattr__ = _names_of(__name__)
