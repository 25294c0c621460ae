"""Forward mode by dual numbers: ``dual_level``, ``make_dual``, ``unpack_dual``."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

from ..core.interpreters import JVP, Dual
from ..core.op import Op, dtype_of
from ..core.state import tls
from ..core.tensor import Tensor, wrap
from ..prims.base import convert_to
from ..runtime.absent import no_such_name

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


class DualLevel(JVP):
    """Forward mode over a block of code: when it ends, what was made in it stays, without tangents."""

    name = "forward_ad"

    def __init__(self) -> None:
        super().__init__()
        self.made: weakref.WeakSet[Tensor] = weakref.WeakSet()

    def process(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        result = super().process(op, args, params)
        self.made.update(result if isinstance(result, tuple) else (result,))
        return result

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        for t in list(self.made):
            if self.owns(t):
                t._node, t._a = t._a.inner._node, t._a.inner._a


def _level() -> JVP | None:
    return next((i for i in reversed(tls.stack) if isinstance(i, JVP)), None)


def __getattr__(name: str) -> int:
    if name == "_current_level":  # -1 outside of any: what programs look at to know whether they are in one
        return -1 if _level() is None else 0
    raise no_such_name(__name__, name)


def enter_dual_level() -> int:
    """Begin a level of dual numbers, and return its number.

    Raises: RuntimeError inside another one.
    """
    if _level() is not None:
        raise RuntimeError(
            "Nested forward mode AD is not supported at the moment; use flambeau.func.jvp inside flambeau.func.jvp"
        )
    DualLevel().__enter__()
    return 0


def exit_dual_level(*, level: Any = None) -> None:
    """End the level; its tangents are gone, and its tensors go on as ordinary ones.

    Raises: RuntimeError when there is none.
    """
    current = _level()
    if current is None:
        raise RuntimeError("Trying to exit a forward AD level but no level is active")
    current.__exit__(None, None, None)


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

    A tangent of another floating dtype is converted.

    Raises: RuntimeError outside a level, for a tangent of another shape, and for a tensor that has a tangent already;
    ValueError for tensors that are not floating or complex.
    """
    current = _level()
    if current is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if tensor._a.dtype.kind not in "fcV":
        raise ValueError(f"Expected primal to be floating point or complex, but got: {dtype_of(tensor)}")
    if tuple(tensor._a.shape) != tuple(tangent._a.shape) or tangent._a.dtype.kind not in (
        "fcV" if tensor._a.dtype.kind == "c" else "fV"
    ):
        raise RuntimeError(
            f"Expected a tangent of shape {list(tensor._a.shape)} and dtype {dtype_of(tensor)}, got {list(tangent._a.shape)} and {dtype_of(tangent)}"
        )
    if current.owns(tensor) and tensor._a.tangent is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level is not supported: "
            "take unpack_dual(tensor).primal"
        )
    with current.lowered():
        inner, along = current.inner(tensor), current.inner(tangent)
        if along._a.dtype != inner._a.dtype:
            along = convert_to(along, inner._a.dtype)
    made = wrap(Dual(inner, along, current))
    if isinstance(current, DualLevel):
        current.made.add(made)
    return made


def unpack_dual(tensor: Tensor, *, level: Any = None) -> UnpackedDualTensor:
    """The primal and tangent of a dual tensor."""
    current = _level()
    if current is None or not current.owns(tensor):
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(tensor._a.inner, tensor._a.tangent)
