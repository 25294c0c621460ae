"""``torch.ops.aten``: operations by the names of PyTorch's dispatcher.

``aten.add.Tensor(x, y)`` calls `flambeau.add`: overloads differ in the types of their arguments only, which functions
look at themselves.  Nothing dispatches on these objects, as there is no ``__torch_dispatch__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.public import FUNCTIONS, METHODS, OVERRIDES, taken_over
from ..runtime.absent import WHERE

__all__ = ["Namespace", "Overload", "Packet", "aten"]


class _Callable:
    def __init__(self, name: str, packet: str) -> None:
        self._name, self._packet = name, packet
        self.__name__ = self.__qualname__ = name.partition(".")[2]
        self.__module__ = "torch.ops.aten"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if OVERRIDES:
            taken = taken_over(self, args, kwargs, as_method=True)
            if taken is not None:
                return taken[0]
        return _function(self._packet)(*args, **kwargs)

    def __str__(self) -> str:
        return self._name


class Overload(_Callable):
    """An operation for arguments of certain types: ``aten.add.Tensor``."""

    def __repr__(self) -> str:
        return f"<OpOverload(op='{self._name}')>"

    @property
    def overloadpacket(self) -> Packet:
        """The operation with any arguments."""
        packet: Packet = getattr(aten, self._packet)
        return packet


class Packet(_Callable):
    """An operation: ``aten.add``."""

    def __getattr__(self, name: str) -> Overload:
        if name.startswith("__"):
            raise AttributeError(name)
        made = Overload(f"aten.{self._packet}.{name}", self._packet)
        self.__dict__[name] = made  # the same object each time: programs look it up in dictionaries
        return made

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='{self._name}')>"


OpOverload, OpOverloadPacket = Overload, Packet  # as ``torch._ops`` calls them


class Namespace:
    """``torch.ops.aten``.

    >>> import flambeau as torch
    >>> torch.ops.aten.add.Tensor(torch.ones(2), 1)
    tensor([2., 2.])
    """

    def __getattr__(self, name: str) -> Packet:
        if name.startswith("__"):
            raise AttributeError(name)
        made = Packet(f"aten.{name}", name)
        self.__dict__[name] = made
        return made


def _function(name: str) -> Callable[..., Any]:
    found = FUNCTIONS.get(name) or METHODS.get(name)
    if found is None:
        import flambeau.nn.functional  # noqa: F401  what lives there registers itself

        found = FUNCTIONS.get(name) or METHODS.get(name)
    if found is None:
        raise NotImplementedError(f"torch.ops.aten.{name}: no public function has this name ({WHERE})")
    return found


aten = Namespace()
