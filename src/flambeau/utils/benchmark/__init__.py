"""Timing statements: `Timer` makes `Measurement`s, `Compare` a table of them."""

from ...runtime.absent import names_of as _names_of
from .compare import Compare
from .measurement import Measurement, TaskSpec, select_unit, trim_sigfig, unit_to_english
from .timer import Language, Timer, timer

__all__ = [
    "Compare",
    "Language",
    "Measurement",
    "TaskSpec",
    "Timer",
    "select_unit",
    "timer",
    "trim_sigfig",
    "unit_to_english",
]

__getattr__ = _names_of(__name__)
