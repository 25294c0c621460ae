"""``torch._tensor_str``: for classes outside the library that print themselves like tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.tensor import Tensor
from ..runtime.absent import names_of
from ..tensor import printing

__all__ = ["PRINT_OPTS"]


class _Options:
    """The print options in force, by attribute."""

    def __getattr__(self, name: str) -> Any:
        return getattr(printing.current_options(), name)


PRINT_OPTS = _Options()


def _tensor_str(self: Tensor, indent: int) -> str:
    """The values of a tensor in brackets, to start in column `indent`."""
    return printing.format_contents(self.detach().numpy(), indent=indent)


def _add_suffixes(tensor_str: str, suffixes: Sequence[str], indent: int, force_newline: bool) -> str:
    """The values and what follows them, as wide as lines may be; `force_newline` puts the first on its own line."""
    options = printing.current_options()
    if not force_newline or not suffixes:
        return printing.join_notes(tensor_str, suffixes, indent, options)
    first, *others = suffixes
    return printing.join_notes(f"{tensor_str},\n{' ' * indent}{first}", others, indent, options)


def _str(self: Tensor, *, tensor_contents: Any = None) -> str:
    """``repr(self)``."""
    return repr(self)


_str_intern = _str

__getattr__ = names_of(__name__)
