"""Docstrings for functions that are made from a statement: what their family says, and examples."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["add_examples", "add_notes", "elementwise", "in_place"]

RESULTS = {
    "float": "the dtype of its operands where that is floating or complex, and the default dtype for integers and bool",
    "same": "the dtype of its operands",
    "compare": "dtype bool",
    "logical": "dtype bool",
}
REFUSED = {"b": "bool", "i": "signed", "u": "unsigned", "f": "floating", "c": "complex"}


def elementwise(name: str, doc: str, operands: int, kind: str, reject: str) -> str:
    """The docstring of an elementwise function of one or two operands; `reject` lists NumPy kinds that it refuses."""
    call = "input" if operands == 1 else "input, other"
    where = f"torch.special.{name[8:]}" if name.startswith("special_") else f"torch.{name}"
    one, two = ("[1, 2]", "[[1], [2]]") if "f" in reject else ("[0.25, 0.5]", "[[0.5], [1.0]]")
    given = f"torch.tensor({one})" + (f", torch.tensor({two})" if operands == 2 else "")
    refused = ", ".join([REFUSED[k] for k in reject if k in REFUSED])
    shapes = (
        "Takes a tensor of any shape"
        if operands == 1
        else "The operands broadcast and are promoted to one dtype"
    )
    errors = "TypeError for what is no tensor"
    if operands == 2:
        errors += ", RuntimeError for shapes that do not broadcast"
    if refused:
        errors += f", RuntimeError for dtypes of these kinds: {refused}"
    return f"""{doc or f"Elementwise ``{name}({call})``."}

    {shapes}; the result has {RESULTS[kind]}.
    With `out`, it is written there.

    Raises: {errors}.

    >>> import flambeau as torch
    >>> {where}({given}).shape
    torch.Size([{"2" if operands == 1 else "2, 2"}])
    """


def in_place(name: str) -> str:
    """The docstring of a form in place."""
    return f"""``{name[:-1]}``, with the result written into the tensor, which is returned.

    Raises: what that raises; RuntimeError for a leaf that requires grad, and when the result has another shape or a
    dtype that cannot be cast to the tensor's.
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
    """Put what several functions have in common, shapes, dtypes and errors, into their docstrings.

    The file notes.txt in the folder `path` has blocks between empty lines: a line of names, a text, and from "Raises:" on
    the errors, for those of the functions whose docstrings say nothing about them.
    """
    with open(os.path.join(path, "notes.txt"), encoding="utf-8") as f:
        blocks = f.read().rstrip("\n").split("\n\n")
    for block in blocks:
        names, _, rest = block.replace("\n", "\n    ").partition("\n")
        text, _, errors = rest.partition("\n    Raises:")
        for name in names.split():
            fn = next(table[name] for table in functions if name in table)
            said, example, shown = (fn.__doc__ or "").partition("    >>>")
            before, raises, after = said.rstrip().partition("    Raises:")
            parts = [before.rstrip(), text, raises + after if raises else f"    Raises:{errors}"]
            fn.__doc__ = "\n\n".join(parts) + "\n\n" + example + shown
