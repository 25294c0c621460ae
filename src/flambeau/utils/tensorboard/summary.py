"""``torch.utils.tensorboard.summary``: the records themselves, for loggers that write them through a file writer."""

from __future__ import annotations

from typing import Any

from ...runtime.absent import names_of as _names_of
from . import summaries
from .summaries import custom_scalars, histogram, text

__all__ = ["custom_scalars", "histogram", "hparams", "scalar", "text"]


def scalar(
    name: str, tensor: Any, collections: Any = None, new_style: bool = False, double_precision: bool = False
) -> Any:
    """A number, or a tensor with one element; `collections` has no effect.

    Raises: AssertionError for more elements.
    """
    return summaries.scalar(name, tensor, new_style, double_precision)


def hparams(
    hparam_dict: dict[str, Any],
    metric_dict: dict[str, Any],
    hparam_domain_discrete: dict[str, list[Any]] | None = None,
) -> tuple[Any, Any, Any]:
    """What a run was made with: the records of the experiment, of its start and of its end.

    Raises: TypeError unless the arguments are dicts, ValueError for values that are no numbers, strings or bools.
    """
    domains = {} if hparam_domain_discrete is None else hparam_domain_discrete
    for name, value in (
        ("hparam_dict", hparam_dict),
        ("metric_dict", metric_dict),
        ("hparam_domain_discrete", domains),
    ):
        if not isinstance(value, dict):
            raise TypeError(f"{name} should be a dictionary, but is {type(value).__name__}")
    experiment, start, end = summaries.hparams(hparam_dict, metric_dict, domains)
    return experiment, start, end


__getattr__ = _names_of(__name__)
