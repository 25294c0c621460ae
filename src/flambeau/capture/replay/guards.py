"""What a replay checks before it skips the Python: where each outside value was read, and what was found there.

Values are compared as a program would tell them apart: numbers and strings by type and bits (so -0.0 is not 0.0,
nor True 1), everything else by identity, holding a reference, so that no other object can take the same address.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from ...core.tensor import Tensor

__all__ = ["Guards", "PLAIN", "same"]

PLAIN = (int, float, bool, complex, str, bytes, type(None), type(Ellipsis))
MISSING = object()


def same(a: Any, b: Any) -> bool:
    """Whether no program could tell two values apart."""
    if a is b:
        return True
    cls = type(a)
    if cls is not type(b):
        return False
    if cls is float:
        return struct.pack("d", a) == struct.pack("d", b)
    if cls is complex:
        return struct.pack("dd", a.real, a.imag) == struct.pack("dd", b.real, b.imag)
    if cls in (int, bool, str, bytes):
        return bool(a == b)
    if cls is tuple:
        return len(a) == len(b) and all(map(same, a, b))
    return False


def contents(x: Any) -> list[Any]:
    """The parts of a container, in order: to be compared one by one."""
    if isinstance(x, dict):
        return [v for pair in x.items() for v in pair]
    return list(x)


def _same_contents(x: Any, parts: Sequence[Any]) -> bool:
    found = contents(x)
    return len(found) == len(parts) and all(map(same, found, parts))


class Guards:
    """A list of checks, each with a text for messages; `source` lines go into the generated replay."""

    def __init__(self) -> None:
        self.checks: dict[Any, tuple[str, dict[str, Any], str]] = {}
        self.tensors: dict[int, Tensor] = {}
        self.arguments: set[int] = set()  # ids of the tensors that are arguments: another call has others

    def add(self, key: Any, text: str, expression: str, **names: Any) -> None:
        """Note a check: `expression` is true as long as nothing has changed; {name} stands for a constant."""
        self.checks.setdefault(key, (expression, names, text))

    def entry(self, what: str, mapping: dict[str, Any], name: str, value: Any) -> None:
        """A name in a dictionary: a global, an attribute of an object, a parameter of a module."""
        test = "same({d}.get({n}, {m}), {v})" if isinstance(value, PLAIN) else "{d}.get({n}, {m}) is {v}"
        self.add((id(mapping), name), f"{what} {name!r}", test, d=mapping, n=name, m=MISSING, v=value)

    def cell(self, cell: Any, name: str, value: Any) -> None:
        """A variable of an enclosing function."""
        test = "same({c}.cell_contents, {v})" if isinstance(value, PLAIN) else "{c}.cell_contents is {v}"
        self.add(("cell", id(cell)), f"the variable {name!r}", test, c=cell, v=value)

    def of_class(self, cls: type, name: str, value: Any) -> None:
        """An attribute of a class."""
        test = (
            "same(getattr({c}, {n}, {m}), {v})"
            if isinstance(value, PLAIN)
            else "getattr({c}, {n}, {m}) is {v}"
        )
        self.add(("class", cls, name), f"{cls.__name__}.{name}", test, c=cls, n=name, m=MISSING, v=value)

    def absent(self, what: str, mapping: dict[str, Any], name: str) -> None:
        """A name that an object does not have of its own."""
        self.add((id(mapping), name), f"{what} {name!r}", "{n} not in {d}", d=mapping, n=name)

    def inside(self, what: str, container: Any) -> None:
        """Everything in a list, tuple or dictionary, by identity."""
        self.add(
            ("inside", id(container)),
            what,
            "same_contents({c}, {p})",
            c=container,
            p=contents(container),
            same_contents=_same_contents,
        )

    def empty(self, what: str, container: Any) -> None:
        """A dictionary (of hooks) with nothing in it."""
        self.add(("empty", id(container)), what, "not {c}", c=container)

    def function(self, fn: Any) -> None:
        """The code and the defaults of a function."""
        self.add(
            ("function", id(fn)),
            f"the function {fn.__name__}",
            "{f}.__code__ is {c} and {f}.__defaults__ is {d} and {f}.__kwdefaults__ is {k}",
            f=fn,
            c=fn.__code__,
            d=fn.__defaults__,
            k=fn.__kwdefaults__,
        )
        if fn.__kwdefaults__:
            self.inside(f"the defaults of {fn.__name__}", fn.__kwdefaults__)

    def tensor(self, t: Tensor) -> None:
        """A tensor from outside: an input of the program, read again in each call."""
        if id(t) not in self.arguments:
            self.tensors.setdefault(id(t), t)

    def write(self, constant: Callable[[str, Any], str]) -> list[tuple[str, str]]:
        """(expression, text) of each check; `constant` names objects."""
        lines = []
        for expression, names, text in self.checks.values():
            lines.append(
                (
                    expression.format(
                        **{n: constant("g", v) for n, v in names.items() if n != "same_contents"}
                    ),
                    text,
                )
            )
        return lines

    def changed(self) -> str | None:
        """The text of the first check that does not hold."""
        for expression, names, text in self.checks.values():
            scope = {"same": same, "same_contents": _same_contents}
            renamed = {n: f"_{n}" for n in names}
            scope.update({f"_{n}": v for n, v in names.items()})
            if not eval(expression.format(**renamed), scope):
                return text
        return None
