"""What profiles consist of, under PyTorch's name for the module: see `flambeau.profiler.events`."""

from ..profiler.events import EventList, FunctionEvent, FunctionEventAvg
from ..runtime.absent import names_of as _names_of

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg"]

__getattr__ = _names_of(__name__)
