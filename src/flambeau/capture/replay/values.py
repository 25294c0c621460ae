"""What the proof knows of a value: the object itself, or that it was made in the call."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from .guards import same

__all__ = ["Bound", "Closure", "Env", "Fresh", "Items", "Known", "Method", "Refused", "Value"]


class Refused(Exception):
    """The function cannot be proved to do the same each time; the message has the reason and the line."""


@dataclass(frozen=True, eq=False)
class Known:
    """An object that exists outside the call (or a constant), reached through reads that are guarded."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and same(self.value, other.value)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Fresh:
    """Made in this call out of what is guarded.

    `holds`: objects from outside, other than tensors and constants, may be reached through it; `callable`: it came from
    a function transform.
    """

    holds: bool = False
    callable: bool = False


@dataclass(frozen=True)
class Items:
    """A tuple made in this call, a list that was an argument, or what a loop over known things goes through."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Method:
    """A method of a tensor, or of something made in this call."""

    owner: Value
    name: str


@dataclass(frozen=True)
class Bound:
    """A Python function with its first argument."""

    function: Any
    owner: Value


@dataclass(frozen=True, eq=False)
class Closure:
    """A function written inside the function."""

    node: ast.FunctionDef | ast.Lambda
    env: Env
    defaults: tuple[Value, ...]


Value = Known | Fresh | Items | Method | Bound | Closure


@dataclass(eq=False)
class Env:
    """The variables of a function that is being read."""

    function: Any  # the Python function whose globals and cells these are
    variables: dict[str, Value] = field(default_factory=dict)
    parent: Env | None = None
    locals: frozenset[str] = frozenset()
    returned: list[Value] = field(default_factory=list)
