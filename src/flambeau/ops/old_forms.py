"""Calls in the order of PyTorch before 1.5: a factor in front of the tensors that it multiplies."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..core.public import OLD_FORMS
from ..core.state import everyone
from ..core.tensor import Tensor

# The tensors that a function takes, and the names of the factors in the order in which they were given.
FACTORS = {
    **{name: (2, ("alpha",)) for name in ("add", "sub")},
    **{name: (3, ("value",)) for name in ("addcmul", "addcdiv")},
    **{name: (3, ("beta", "alpha")) for name in ("addmm", "addmv", "addr", "addbmm", "baddbmm")},
}


def _form(name: str, tensors: int, factors: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
    def old_form(args: Sequence[Any]) -> tuple[list[Any], dict[str, Any]] | None:
        operands = [x for x in args if isinstance(x, Tensor)]
        given = [x for x in args if isinstance(x, numbers.Number)]
        if factors == ("alpha",) and len(given) == 2 and args[-1] is given[-1]:
            operands.append(given.pop())  # type: ignore[arg-type] # these add numbers, too
        if len(operands) != tensors or not given or len(operands) + len(given) != len(args):
            return None
        if len(given) > len(factors):
            return None
        named = dict(zip(factors, given))
        if everyone.listener is not None:  # the next call has to warn, too
            everyone.listener(None, (), {}, None)
        warnings.warn(
            f"This overload of {name} is deprecated: give {' and '.join(named)} by name, behind the tensors",
            UserWarning,
            stacklevel=4,
        )
        return operands, named

    return old_form


for _name, (_tensors, _factors) in FACTORS.items():
    OLD_FORMS[_name] = _form(_name, _tensors, _factors)
