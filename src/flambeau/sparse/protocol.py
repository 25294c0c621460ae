"""What Python and autograd ask of a tensor: sizes, numbers, iteration, leaves and hooks, operators."""

from __future__ import annotations

import copy
import math
from typing import Any

from ..autograd import differentiate
from ..core.elementwise import OPERANDS
from ..core.tensor import Tensor
from ..ops.args import wrap_dim
from .conversion import detach, sparse_mask
from .printing import representation
from .tensors import HANDLERS, CompressedTensor, CooTensor, SparseTensor, compressed, coo, handles, refuse

# ------------------------------------------------------------------------------------------------ sizes and numbers


@handles()
def size(self: Any, dim: int | None = None) -> Any:
    return self.shape if dim is None else self._sizes[wrap_dim(dim, len(self._sizes))]


@handles("dim", "ndimension")
def dim(self: Any) -> int:
    return len(self._sizes)


@handles("numel", "nelement")
def numel(self: Any) -> int:
    return math.prod(self._sizes)


for _name in ("element_size", "is_floating_point", "is_complex", "is_signed"):
    handles(_name)(lambda self, _name=_name: getattr(Tensor, _name)(self._vals))
for _name in ("is_conj", "is_neg", "is_inference", "_is_view", "is_shared", "is_distributed", "is_pinned"):
    handles(_name)(lambda self, *args: False)


@handles()
def get_device(self: Any) -> int:
    return -1


@handles()
def is_contiguous(self: Any, memory_format: Any = None) -> bool:
    return False


@handles()
def stride(self: Any, dim: int | None = None) -> Any:
    if not isinstance(self, CooTensor):
        raise RuntimeError(f"Sparse CSR tensors do not have strides (the layout is {self.layout})")
    return (0,) * self.ndim if dim is None else 0


@handles()
def is_same_size(self: Any, other: Any) -> bool:
    return tuple(self.shape) == tuple(other.shape)


@handles()
def item(self: Any) -> Any:
    n = math.prod(self._sizes)
    if n != 1:
        raise RuntimeError(f"a Tensor with {n} elements cannot be converted to Scalar")
    return self.to_dense().item()


@handles("__bool__", "is_nonzero")
def is_nonzero(self: Any) -> bool:
    n = math.prod(self._sizes)
    if n != 1:
        many = "no values" if n == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {many} is ambiguous")
    return bool(self.to_dense().item())


for _name, _kind in (("__float__", float), ("__int__", int), ("__complex__", complex)):
    handles(_name)(lambda self, _kind=_kind: _kind(item(self)))


@handles("numpy", "__array__", "to_numpy")
def numpy(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise TypeError(
        f"can't convert {'Sparse' if self.is_sparse else 'SparseCsr'} layout tensor to numpy. Use Tensor.to_dense() first."
    )


@handles("tolist", "data_ptr", "storage", "untyped_storage", "storage_offset", "const_data_ptr")
def no_storage(self: Any, *args: Any) -> Any:
    raise NotImplementedError(
        f"Cannot access storage of a tensor of layout {self.layout}: convert with .to_dense(), or take its indices and values"
    )


@handles("__len__")
def length(self: Any) -> int:
    if not self._sizes:
        raise TypeError("len() of a 0-d tensor")
    return int(self._sizes[0])


@handles("__iter__")
def iterate(self: Any) -> Any:
    if not self._sizes:
        raise TypeError("iteration over a 0-d tensor")
    return iter(HANDLERS["unbind"](self, 0))


@handles("__format__")
def format_(self: Any, spec: str) -> str:
    return object.__format__(self, spec)


# --------------------------------------------------------------------------------------------------------- autograd


@handles()
def requires_grad_(self: Any, requires_grad: bool = True) -> Any:
    """Make this tensor a leaf that collects its gradient, or stop that."""
    if not self.is_leaf:
        if requires_grad:
            return self
        raise RuntimeError(
            "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
            "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
        )
    if requires_grad != self._leaf:
        self._vals = self._vals.detach().requires_grad_(requires_grad)
        self._leaf = requires_grad
    return self


@handles()
def detach_(self: Any) -> Any:
    self._vals, self._leaf = self._vals.detach(), False
    return self


@handles()
def retain_grad(self: Any) -> None:
    if not self.is_leaf or not self.requires_grad:
        raise NotImplementedError(
            "retain_grad() of a sparse tensor that was computed is not defined here: call it on the tensor of values "
            "that it was made from"
        )


@handles()
def register_hook(self: Any, hook: Any) -> Any:
    """Call ``hook(grad)`` with the gradient in the places of this tensor; a returned tensor replaces it."""
    like = detach(self)

    def on_values(g: Tensor) -> Any:
        new = hook(like._with(g))
        return None if new is None else sparse_mask(new, like)._vals

    return self._vals.register_hook(on_values)


@handles()
def backward(
    self: Any, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None
) -> None:
    """Gradients of the values of a sparse tensor, from a gradient of its shape; of others for a sparse gradient."""
    differentiate.backward(self, gradient, retain_graph, create_graph, inputs=inputs)


# -------------------------------------------------------------------------------------------------------- operators


def _binary(name: str, fn: str, turned: bool = False) -> None:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, OPERANDS):
            return NotImplemented
        return HANDLERS[fn](other, self) if turned else HANDLERS[fn](self, other)

    method.__name__ = name
    setattr(SparseTensor, name, method)


for _name, _fn in (
    ("add", "add"),
    ("sub", "sub"),
    ("mul", "mul"),
    ("truediv", "div"),
    ("floordiv", "floor_divide"),
):
    _binary(f"__{_name}__", _fn)
    _binary(f"__r{_name}__", _fn, turned=True)
    _binary(f"__i{_name}__", _fn + "_")
_binary("__matmul__", "matmul")
_binary("__rmatmul__", "matmul", turned=True)
_binary("__pow__", "pow")
_binary("__ipow__", "pow_")
_binary("__rpow__", "pow", turned=True)
setattr(SparseTensor, "__neg__", lambda self: HANDLERS["neg"](self))
setattr(SparseTensor, "__pos__", lambda self: self)
setattr(SparseTensor, "__abs__", lambda self: HANDLERS["abs"](self))
setattr(SparseTensor, "__getitem__", lambda self, key: HANDLERS["__getitem__"](self, key))


def _refused(name: str, shown: str) -> None:
    def method(self: Any, *args: Any) -> Any:
        refuse(shown, self)

    method.__name__ = name
    setattr(SparseTensor, name, method)


for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _refused(f"__{_name}__", _name)
for _name, _fn in (
    ("mod", "remainder"),
    ("and", "bitwise_and"),
    ("or", "bitwise_or"),
    ("xor", "bitwise_xor"),
):
    for _p in ("", "r", "i"):
        _refused(f"__{_p}{_name}__", _fn)
for _name, _fn in (("lshift", "__lshift__"), ("rshift", "__rshift__")):
    for _p in ("", "r", "i"):
        _refused(f"__{_p}{_name}__", _fn)
setattr(SparseTensor, "nelement", numel)
_refused("__invert__", "bitwise_not")
_refused("__setitem__", "copy_")
_refused("__contains__", "eq")
setattr(SparseTensor, "__hash__", Tensor.__hash__)
for _name in (
    "__len__",
    "__iter__",
    "__bool__",
    "__float__",
    "__int__",
    "__complex__",
    "__format__",
    "__array__",
):
    setattr(
        SparseTensor,
        _name,
        (lambda n: lambda self, *args, **kwargs: HANDLERS[n](self, *args, **kwargs))(_name),
    )
setattr(SparseTensor, "__repr__", lambda self, *, tensor_contents=None: representation(self))


# ----------------------------------------------------------------------------------------------------------- copies


def _deepcopy(self: Any, memo: dict[int, Any]) -> Any:
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment; "
            "copy x.detach()"
        )
    t = detach(self) if not self._leaf else self._with(self._vals)
    t._vals = copy.deepcopy(self._vals, memo)
    t._leaf, t._kept_places = self._leaf, None
    if isinstance(self, CooTensor):
        t._ind = copy.deepcopy(self._ind, memo)
        t._checked = t._ind._version
    else:
        t._begins, t._plain = copy.deepcopy(self._begins, memo), copy.deepcopy(self._plain, memo)
    memo[id(self)] = t
    t.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return t


def rebuild(kind: str, parts: tuple[Any, ...], requires_grad: bool, state: dict[str, Any]) -> Any:
    """A sparse tensor from what `__reduce_ex__` took it apart into."""
    if kind == "coo":
        indices, values, sizes, coalesced = parts
        t: Any = coo(indices, values, sizes, coalesced)
    else:
        t = compressed(*parts)
    t.__dict__.update(state)
    return requires_grad_(t) if requires_grad else t


def _reduce(self: Any, protocol: Any) -> Any:
    values = self._vals.detach()
    if isinstance(self, CooTensor):
        parts: tuple[Any, ...] = (self._ind, values, self._sizes, self._coalesced)
        return rebuild, ("coo", parts, self.requires_grad, dict(self.__dict__))
    assert isinstance(self, CompressedTensor)
    parts = (self._begins, self._plain, values, self._sizes, self._layout)
    return rebuild, ("compressed", parts, self.requires_grad, dict(self.__dict__))


setattr(SparseTensor, "__deepcopy__", _deepcopy)
setattr(SparseTensor, "__reduce_ex__", _reduce)
