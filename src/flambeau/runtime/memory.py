"""The memory that an array lies in: what its views have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["root"]


def root(array: Any) -> Any:
    """The outermost array that `array` is a view of; itself when it is none.

    All views of one memory have the same root, those made by stride tricks included, so it stands for the storage.
    """
    while True:
        base = array.base
        if not isinstance(base, np.ndarray):
            base = getattr(base, "base", None)  # stride tricks put an object between an array and its memory
            if not isinstance(base, np.ndarray):
                return array
        array = base
