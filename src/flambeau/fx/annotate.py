"""Giving a traced value a type: `annotate`."""

from __future__ import annotations

from typing import Any

from .proxy import Proxy

__all__ = ["annotate"]


def annotate(val: Any, type: Any) -> Any:
    """`val`, whose node now has this type if it is a traced value.

    Raises: RuntimeError when it has a type already.
    """
    if isinstance(val, Proxy):
        if val.node.type:
            raise RuntimeError(
                f"Tried to annotate a value that already had a type on it! Existing type is {val.node.type} and new type "
                f"is {type}. The type of a parameter stands in the function's signature"
            )
        val.node.type = type
    return val
