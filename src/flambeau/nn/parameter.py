"""Parameter and Buffer: tensors that a module knows as its own."""

from __future__ import annotations

from typing import Any, NoReturn

from .. import ops
from ..core.remembered import TENSORS
from ..core.tensor import Tensor
from ..runtime.absent import names_of as _names_of

# How modules take converted tensors (`flambeau.__future__`).
CONVERSIONS = {"overwrite": False, "swap": False}


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
        if type(data) is Tensor or type(data) is Parameter or getattr(data, "_plain_when_kept", False):
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


TENSORS.add(Parameter)


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

    _plain_results = True
    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = ops.empty(0)
        t = data.detach().requires_grad_(data.requires_grad)
        t.persistent = persistent
        t._is_buffer = True
        return t  # type: ignore[no-any-return]


class UninitializedTensorMixin(Tensor):
    """A parameter or buffer whose shape is not known yet; `materialize` gives it one.

    It has a dtype and a device, `data` has no elements, and nothing else can be asked of it.
    """

    _plain_results = True
    cls_to_become: type = Tensor
    _empty: Tensor  # no elements; of the right dtype, so that `Module.to` works

    @classmethod
    def _make(cls, requires_grad: bool, device: Any, dtype: Any) -> Any:
        t: Any = object.__new__(cls)
        t._node = t._st = t._base = None
        t._empty = ops.empty(0, device=device, dtype=dtype)
        t._wants_grad = requires_grad
        return t

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Allocate memory for this shape, with no particular values, and become an ordinary tensor."""
        fresh = ops.empty(shape, device=device, dtype=dtype or self._empty.dtype)
        wants_grad = self.__dict__.pop("_wants_grad")
        del self._empty
        t: Any = self
        t.__class__ = self.cls_to_become
        t._a = fresh._a
        t.requires_grad_(wants_grad)

    def _refuse(self) -> NoReturn:
        raise ValueError(
            "Attempted to use an uninitialized parameter. This error happens when you are using a "
            "`LazyModule` or "
            "explicitly manipulating `torch.nn.parameter.UninitializedParameter` objects. When using "
            "LazyModules "
            "call `forward` with a dummy batch to initialize the parameters before calling torch functions"
        )

    def _no_shape(self) -> NoReturn:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call "
            "`forward` to initialize the parameters before accessing their attributes."
        )

    _a = property(_refuse)  # every operation asks for the payload
    shape = property(_no_shape)
    dtype = property(lambda self: self._empty.dtype)
    device = property(lambda self: self._empty.device)
    is_meta = property(lambda self: self._empty.is_meta)
    data = property(
        lambda self: self._empty.detach()
    )  # an initialisation of it does nothing, and is no error
    requires_grad = property(lambda self: self._wants_grad, lambda self, value: self.requires_grad_(value))
    grad = property(lambda self: None, lambda self, value: None)
    grad_fn = property(lambda self: None)
    is_leaf = property(lambda self: True)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Whether the tensor will require grad once it has a shape."""
        self._wants_grad = bool(requires_grad)
        return self

    def _convert(self, fn: Any) -> None:
        """Apply a conversion of dtype or device."""
        self._empty = fn(self._empty)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        result = self._make(self._wants_grad, self.device, self.dtype)
        result.__dict__.update({k: v for k, v in self.__dict__.items() if k != "_empty"})
        memo[id(self)] = result
        return result

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild_uninitialized, (type(self), self._wants_grad, self.device, self.dtype)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"<{type(self).__name__}>"


def _rebuild_uninitialized(cls: Any, *args: Any) -> Any:
    return cls._make(*args)


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # type: ignore[misc]
    """A parameter of lazy modules, before the first call.

    >>> import flambeau as torch
    >>> p = torch.nn.parameter.UninitializedParameter()
    >>> p.materialize((2, 3))
    >>> type(p).__name__, p.shape
    ('Parameter', torch.Size([2, 3]))
    """

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        return cls._make(requires_grad, device, dtype)  # type: ignore[no-any-return]


class UninitializedBuffer(UninitializedTensorMixin):
    """A buffer of lazy modules, before the first call."""

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> UninitializedBuffer:
        t = cls._make(requires_grad, device, dtype)
        t.persistent = persistent
        t._is_buffer = True
        return t  # type: ignore[no-any-return]


def is_lazy(param: Any) -> bool:
    """Whether this is a parameter or buffer that has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)


__getattr__ = _names_of(__name__)
