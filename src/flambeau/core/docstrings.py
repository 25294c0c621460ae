"""Docstrings for functions that are made from a statement: what their family says, and examples."""

from __future__ import annotations

import os
import re
from typing import Any

__all__ = [
    "add_examples",
    "add_notes",
    "borrow_parts",
    "elementwise",
    "in_place",
    "lend_parts",
    "operator",
    "with_parts",
]

RESULTS = {
    "float": "floating and complex ones stay, integers and bool become the default dtype",
    "same": "the result has that of the operands",
    "compare": "the result is bool",
    "logical": "the result is bool",
}
# What is left when the kinds of dtypes that a function refuses are taken away from bool, integers, floating and complex.
ACCEPTED = {
    "bifc": "every dtype",
    "bif": "every real dtype",
    "ifc": "integer, floating and complex",
    "if": "integer and floating",
    "fc": "floating and complex",
    "f": "floating",
    "bi": "bool and integer",
    "i": "integer",
}
REFUSED = {"b": "bool", "i": "signed", "u": "unsigned", "f": "floating", "c": "complex"}
PARTS = ("Formula:", "Shapes:", "Dtypes:", "Raises:")


def elementwise(name: str, doc: str, operands: int, kind: str, reject: str) -> str:
    """The docstring of an elementwise function of one or two operands; `reject` lists NumPy kinds that it refuses."""
    call = "input" if operands == 1 else "input, other"
    shown = f"special.{name[8:]}" if name.startswith("special_") else name
    refused = ", ".join([REFUSED[k] for k in reject if k in REFUSED])
    accepted = ACCEPTED["".join([k for k in "bifc" if k not in reject])]
    promoted = "operands are promoted to one; " if operands == 2 and kind == "same" else ""
    shapes = (
        "a tensor of any shape, which the result has"
        if operands == 1
        else "tensors, or one and a number, which broadcast; the result has the common shape"
    )
    errors = "TypeError for what is no tensor"
    if operands == 2:
        errors += ", RuntimeError for shapes that do not broadcast"
    if refused:
        errors += f", RuntimeError for dtypes of these kinds: {refused}"
    return f"""{doc or f"Elementwise ``{shown}({call})``."}

    Shapes: {shapes}; so has `out`, where the result is written if it is given.
    Dtypes: {accepted}; {promoted}{RESULTS[kind]}.
    Raises: {errors}.
    """


def in_place(name: str) -> str:
    """The docstring of a form in place."""
    return f"""``{name[:-1]}``, with the result written into the tensor, which is returned.

    Shapes: the tensor's, to which the other operands broadcast; it never changes.
    Dtypes: as ``{name[:-1]}``; the result is cast to the tensor's.
    Raises: what that raises; RuntimeError for a leaf that requires grad, and when the result has another shape or a
        dtype that cannot be cast to the tensor's.
    """


SYMBOLS = {
    **{
        "add": "+",
        "sub": "-",
        "mul": "*",
        "truediv": "/",
        "pow": "**",
        "mod": "%",
        "and": "&",
        "or": "|",
        "xor": "^",
    },
    **{"lshift": "<<", "rshift": ">>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="},
}


def operator(dunder: str, name: str, kind: str, reject: str) -> str:
    """The docstring of an operator's method."""
    bare = dunder.strip("_")
    reflected = bare not in SYMBOLS
    left, right = ("other", "self") if reflected else ("self", "other")
    symbol = SYMBOLS[bare[1:] if reflected else bare]
    doc = elementwise(name, f"``{left} {symbol} {right}``: ``{name}({left}, {right})``.", 2, kind, reject)
    call = f"2 {symbol} x" if reflected else f"x {symbol} 2"
    return f"""{doc}
    >>> import flambeau as torch
    >>> x = torch.tensor([1, 2])
    >>> ({call}).shape
    torch.Size([2])
    """


def add_examples(path: str, *functions: dict[str, Any]) -> None:
    """Put examples at the ends of the docstrings of their functions.

    The file examples.txt in the folder `path` has blocks between empty lines: a function's name, a call, what it prints.
    """
    with open(os.path.join(path, "examples.txt"), encoding="utf-8") as f:
        blocks = f.read().rstrip("\n").split("\n\n")
    for block in blocks:
        name, _, text = block.partition("\n")
        fn = next((table[name] for table in functions if name in table), None)
        if fn is None:
            raise LookupError(f"{path} has an example for {name}, which is no function")
        text = text.replace("\n", "\n    ")
        fn.__doc__ = f"{(fn.__doc__ or '').rstrip()}\n\n    >>> import flambeau as torch\n    {text}\n    "


def add_notes(path: str, *functions: dict[str, Any]) -> None:
    """Put formulas, shapes, dtypes and errors into docstrings: what several functions have in common is written once.

    The file notes.txt in the folder `path` has blocks between empty lines: names of functions, then a text that begins
    with one of `PARTS`. Errors are for those of the functions whose docstrings say nothing about them. The first block
    has a line for each formula.
    """
    with open(os.path.join(path, "notes.txt"), encoding="utf-8") as f:
        blocks = f.read().rstrip("\n").split("\n\n")
    if blocks[0].startswith("Formulas\n"):
        lines = blocks.pop(0).split("\n")[1:]
        blocks[:0] = [
            f"{name}\nFormula: {text}." for name, _, text in (line.partition(" ") for line in lines)
        ]
    found: dict[int, tuple[Any, dict[str, str]]] = {}
    for block in blocks:
        head, _, text = block.partition(":")
        names, _, label = head.rpartition("\n")
        text = text.replace("\n", "\n    ")
        for name in names.split():
            for table in functions:
                fn = table.get(name)
                if fn is not None:
                    break
            else:
                raise LookupError(f"{path} has notes for {name}, which is no function")
            found.setdefault(id(fn), (fn, {}))[1][label + ":"] = text
    for fn, parts in found.values():
        fn.__doc__ = with_parts(fn.__doc__ or "", parts)


def borrow_parts(functions: dict[str, Any], of: dict[str, Any]) -> None:
    """Functions whose docstrings only name one of `of`, as ``nn.functional.NAME``, get its shapes, dtypes and errors."""
    for fn in functions.values():
        doc = fn.__doc__ or ""
        named = re.match(r"[^\n]*`nn\.functional\.(\w+)`", doc)
        if named and "Shapes:" not in doc:
            fn.__doc__ = with_parts(doc, parts_of(of[named[1]]))


def parts_of(fn: Any) -> dict[str, str]:
    """The parts of a docstring by their labels."""
    text = (fn.__doc__ or "").partition("    >>>")[0]
    labels = [part for part in PARTS if part in text]
    starts = [text.index(part) for part in labels] + [len(text)]
    return {part: text[a + len(part) : b] for part, a, b in zip(labels, starts, starts[1:])}


def lend_parts(path: str, of: dict[str, Any], to: dict[str, Any]) -> None:
    """Classes that call functions get what these say of shapes, dtypes and errors.

    The file functions.txt in the folder `path` has a line for each function: its name, and those of the classes.
    """
    with open(os.path.join(path, "functions.txt"), encoding="utf-8") as f:
        for line in f:
            name, _, classes = line.partition(":")
            parts = parts_of(of[name])
            for cls in classes.split():
                to[cls].__doc__ = with_parts(to[cls].__doc__ or "", parts)


def with_parts(doc: str, parts: dict[str, str]) -> str:
    """A docstring with these parts in it, in their order, in front of its own errors and examples."""
    said, example, shown = doc.partition("    >>>")
    before, raises, own = said.rstrip().partition("Raises:")
    have, shapes, rest = before.partition("    Shapes:")  # of a docstring that is made
    given = {**parts, "Raises:": own} if raises else parts
    lines = [f"    {part}{given[part].rstrip()}" for part in PARTS if part in given]
    if shapes:
        lines[1:1] = [f"    Shapes:{rest.rstrip()}"]
    return have.rstrip() + "\n\n" + "\n".join(lines) + "\n\n" + example + shown
