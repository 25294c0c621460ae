"""Results that cannot be differentiated: an error once a backward pass reaches them, not a gradient that is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from .state import tls
from .tape import BaseNode, next_seq
from .tensor import Tensor

__all__ = ["Refusal", "without_derivative"]

T = TypeVar("T", bound=Tensor)


class Refusal(BaseNode):
    """The node of such a result."""

    def __init__(self, error: Exception, name: str, sources: Sequence[Any] = ()) -> None:
        self.next = tuple([x._node for x in sources if isinstance(x, Tensor)])
        self.seq = next_seq()
        self.extra = None
        self.error = error
        self.shown = name

    def name(self) -> str:
        return self.shown

    def backward(self, g: Any) -> Any:
        raise self.error

    def free(self, place: Any) -> None:
        """Nothing was saved."""


def without_derivative(result: T, what: str, name: str, *sources: Any) -> T:
    """`result`, just made of `sources` without being recorded; where one requires grad, so does it, and backward raises.

    `what` is the operation in the message of that NotImplementedError, `name` the one of the node.
    """
    if tls.grad and not tls.stack and any(isinstance(x, Tensor) and x._node is not None for x in sources):
        error = NotImplementedError(f"the derivative for '{what}' is not implemented.")
        result._node = Refusal(error, name, sources)
    return result
