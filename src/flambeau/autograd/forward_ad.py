"""Forward mode by dual numbers: ``dual_level``, ``make_dual``, ``unpack_dual``."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.interpreters import JVP, Dual
from ..core.op import dtype_of
from ..core.state import tls
from ..core.tensor import Tensor, wrap

__all__ = [
    "UnpackedDualTensor",
    "dual_level",
    "enter_dual_level",
    "exit_dual_level",
    "make_dual",
    "unpack_dual",
]


class UnpackedDualTensor(NamedTuple):
    """The primal and the tangent (None when there is none) of a dual tensor."""

    primal: Tensor
    tangent: Tensor | None


def _level() -> JVP | None:
    return next((i for i in reversed(tls.stack) if isinstance(i, JVP)), None)


def enter_dual_level() -> int:
    """Begin a level of dual numbers, and return its number.

    Raises: RuntimeError inside another one.
    """
    if _level() is not None:
        raise RuntimeError(
            "Nested forward mode AD is not supported at the moment; use flambeau.func.jvp inside flambeau.func.jvp"
        )
    level = JVP()
    level.__enter__()
    return 0


def exit_dual_level(*, level: Any = None) -> None:
    """End the level; its tangents are gone.

    Raises: RuntimeError when there is none.
    """
    current = _level()
    if current is None:
        raise RuntimeError("Trying to exit a forward AD level but no level is active")
    current.__exit__()


class dual_level:
    """The block in which dual tensors live.

    >>> import flambeau as torch
    >>> import flambeau.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     y = torch.sin(fwAD.make_dual(torch.zeros(1), torch.ones(1)))
    ...     tangent = fwAD.unpack_dual(y).tangent
    >>> tangent
    tensor([1.])
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: Any) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: Any = None) -> Tensor:
    """`tensor` with this tangent.

    Raises: RuntimeError outside a level, and for a tangent of another shape or dtype.
    """
    current = _level()
    if current is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if tensor._a.dtype.kind not in "fcV":
        raise ValueError(f"Expected primal to be floating point or complex, but got: {dtype_of(tensor)}")
    if tuple(tensor._a.shape) != tuple(tangent._a.shape) or tensor._a.dtype != tangent._a.dtype:
        raise RuntimeError(
            f"Expected a tangent of shape {list(tensor._a.shape)} and dtype {dtype_of(tensor)}, got {list(tangent._a.shape)} and {dtype_of(tangent)}"
        )
    return wrap(Dual(current.inner(tensor), current.inner(tangent), current))


def unpack_dual(tensor: Tensor, *, level: Any = None) -> UnpackedDualTensor:
    """The primal and tangent of a dual tensor."""
    current = _level()
    if current is None or not current.owns(tensor):
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(tensor._a.inner, tensor._a.tangent)
