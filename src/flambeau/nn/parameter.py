"""Parameter and Buffer: tensors that a module knows as its own."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..core.tensor import Tensor


class _ParameterMeta(type):
    """Tensors of other classes that were made parameters are instances of Parameter too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Parameter and isinstance(instance, Tensor) and getattr(instance, "_is_param", False)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that becomes a parameter of the module it is assigned to.

    It shares memory with `data`, is a leaf, and requires grad unless told otherwise.

    >>> import flambeau as torch
    >>> torch.nn.Parameter(torch.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    _plain_results = True  # operations on parameters give plain tensors
    _is_param = True

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = ops.empty(0)
        if type(data) is Tensor or type(data) is Parameter:
            return Tensor._make_subclass(cls, data, requires_grad)  # type: ignore[no-any-return, attr-defined]
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter data must be a torch.Tensor, not {type(data).__name__}")
        detached = data.detach().requires_grad_(requires_grad)
        if not isinstance(detached, type(data)):
            raise RuntimeError(
                f"Creating a Parameter from an instance of type {type(data).__name__} requires that "
                "detach() returns "
                f"an instance of the same type, but return type {type(detached).__name__} was found instead."
            )
        t: Any = detached
        t._is_param = True
        parameter: Parameter = t
        return parameter

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        result = type(self)(self.data.clone(), self.requires_grad)
        memo[id(self)] = result
        return result

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.__dict__:
            return _rebuild_with_state, (type(self), self.data, self.requires_grad, dict(self.__dict__))
        return _rebuild, (type(self), self.data, self.requires_grad)


def _rebuild(cls: type, data: Tensor, requires_grad: bool) -> Any:
    return cls(data, requires_grad)


def _rebuild_with_state(cls: type, data: Tensor, requires_grad: bool, state: dict[str, Any]) -> Any:
    param = cls(data, requires_grad)
    param.__dict__.update(state)
    return param


class _BufferMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is Buffer:
            return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)
        return type.__instancecheck__(cls, instance)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that becomes a buffer of the module it is assigned to, in its `state_dict` if `persistent`.

    >>> import flambeau as torch
    >>> m = torch.nn.Module()
    >>> m.mean = torch.nn.Buffer(torch.zeros(2))
    >>> [name for name, _ in m.named_buffers()]
    ['mean']
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = ops.empty(0)
        t = data.detach().requires_grad_(data.requires_grad)
        t.persistent = persistent
        t._is_buffer = True
        return t  # type: ignore[no-any-return]
