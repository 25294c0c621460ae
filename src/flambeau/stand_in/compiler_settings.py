"""Modules of settings of PyTorch's compiler, which have no effect here: programs set them and read them back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_ABSENT = object()


class Settings(ModuleType):
    """What a module of settings becomes: any name can be set, and `patch` sets names for a while."""

    @contextlib.contextmanager
    def patch(self, changes: Any = None, /, **settings: Any) -> Iterator[None]:
        """Other settings for the length of a ``with`` block or a decorated function.

        `changes` is a dict, or a name whose value is the argument `value`.
        """
        if isinstance(changes, str):
            changes = {changes: settings.pop("value", None)}
        wanted = {**(changes or {}), **settings}
        before = {name: vars(self).get(name, _ABSENT) for name in wanted}
        vars(self).update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is _ABSENT:
                    vars(self).pop(name, None)
                else:
                    setattr(self, name, value)
