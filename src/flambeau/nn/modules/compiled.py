"""The module that `flambeau.compile` makes of a module."""

from __future__ import annotations

from typing import Any

from .module import Module

__all__ = ["OptimizedModule"]


class OptimizedModule(Module):
    """A compiled module: shares everything with the original, which is its `_orig_mod`."""

    def __init__(self, mod: Any, compiled: Any) -> None:
        super().__init__()
        self._orig_mod = mod
        self.training = mod.training
        self.__dict__["compiled"] = compiled

    @property
    def dynamo_ctx(self) -> Any:
        """The compiled call, under the name by which programs ask whether a module is compiled."""
        return self.compiled

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled.call(args, kwargs)

    def train(self, mode: bool = True) -> Any:
        self._orig_mod.train(mode)
        return super().train(mode)

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self._modules["_orig_mod"]
        return getattr(self._orig_mod, name)
