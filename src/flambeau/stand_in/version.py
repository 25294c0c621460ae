"""The version that programs read as ``torch.__version__``."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["TorchVersion", "VERSION"]


def _key(version: str) -> tuple[tuple[int, ...], tuple[int, int]]:
    """What orders versions: the numbers without trailing zeros, then whether it is a pre-release, and which."""
    found = re.match(r"v?(\d+(?:\.\d+)*)[._-]?(?:(a|b|rc|dev)[a-z]*\.?(\d*))?", version.strip())
    if found is None:
        raise ValueError(f"not a version: {version!r}")
    numbers = [int(n) for n in found[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    stage = {"dev": -4, "a": -3, "b": -2, "rc": -1, None: 0}[found[2]]
    return tuple(numbers), (stage, int(found[3] or 0))


class TorchVersion(str):
    """A version string that compares by its numbers, with strings, tuples of numbers and other versions.

    Build labels (what follows ``+``) do not count; a string that is no version compares as text.

    >>> from flambeau.stand_in.version import TorchVersion
    >>> TorchVersion("2.13.0+cpu") > "2.4", TorchVersion("2.13.0") >= (2, 13), TorchVersion("2.13.0") < "2.13.1"
    (True, True, True)
    """

    def _compare(self, other: Any) -> tuple[Any, Any]:
        text = ".".join(map(str, other)) if isinstance(other, (tuple, list)) else str(other)
        try:
            return _key(self), _key(text)
        except ValueError:
            return str(self), text

    def __lt__(self, other: Any) -> bool:
        mine, theirs = self._compare(other)
        return bool(mine < theirs)

    def __le__(self, other: Any) -> bool:
        mine, theirs = self._compare(other)
        return bool(mine <= theirs)

    def __gt__(self, other: Any) -> bool:
        mine, theirs = self._compare(other)
        return bool(mine > theirs)

    def __ge__(self, other: Any) -> bool:
        mine, theirs = self._compare(other)
        return bool(mine >= theirs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (str, tuple, list)):
            return False
        mine, theirs = self._compare(other)
        return bool(mine == theirs)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return str.__hash__(self)


VERSION = TorchVersion("2.13.0+flambeau")
