"""Arithmetic of sparse tensors with each other, with dense ones and with numbers; functions that keep zero at zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.promotion import result_type
from ..core.public import FUNCTIONS, METHODS, can_cast
from ..core.state import tls
from ..core.tensor import Tensor
from ..prims.base import from_value
from ..runtime import dtypes
from .conversion import coalesce, dense_dim, like, rearranged, to_compressed
from .tensors import CompressedTensor, CooTensor, SparseTensor, coo, flat, handles, refuse, sparse_dims

Number = (int, float, complex, bool, np.generic)


def _same_size(name: str, a: Any, b: Any) -> None:
    if a._sizes != b._sizes:
        raise RuntimeError(
            f"{name}: expected sizes of 'self' and 'other' to match, but {list(a._sizes)} != {list(b._sizes)}"
        )
    if dense_dim(a) != dense_dim(b):
        raise RuntimeError(
            f"{name}: expected 'self' and 'other' to have the same number of dense dims, but these are {dense_dim(a)} "
            f"and {dense_dim(b)}"
        )


def _common(a: Any, b: Any) -> tuple[Any, Any]:
    """The operands in the dtype that both promote to."""
    d = _result_type(a, b)
    return a.to(d), b.to(d)


def _result_type(*operands: Any) -> dtypes.dtype:
    return result_type(*[x._vals if isinstance(x, SparseTensor) else x for x in operands])


def _scaled(x: Any, alpha: Any) -> Any:
    return x if alpha is None or alpha == 1 and not isinstance(alpha, Tensor) else mul(x, alpha)


def _check_alpha(dtype: dtypes.dtype, alpha: Any) -> None:
    if isinstance(alpha, float) and not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")


def _sum(a: CooTensor, b: CooTensor) -> CooTensor:
    """Entries side by side, or added where the places are the same; coalesced if both are."""
    ia, ib = a._array(), b._array()
    values_a, values_b = _common(a._vals, b._vals)
    if ia is ib or ia.shape == ib.shape and np.array_equal(ia, ib):
        t = a._with(values_a + values_b)
        t._coalesced = a._coalesced
        return t
    values = FUNCTIONS["cat"]((values_a, values_b))
    indices = np.concatenate((ia, ib), axis=1)
    if a._coalesced and b._coalesced:
        return rearranged(indices, values, a._sizes[: ia.shape[0]], a._sizes)
    return coo(from_value(indices), values, a._sizes, False)


def _dense_plus(dense: Any, x: CooTensor, name: str) -> Any:
    """A dense tensor plus a sparse one: the entries added at their places."""
    if tuple(dense.shape) != x._sizes:
        raise RuntimeError(
            f"{name}: expected 'self' and 'other' to have same size, but self has size {list(dense.shape)} while other "
            f"has size {list(x._sizes)} (FYI: dense-sparse addition does not currently support broadcasting)"
        )
    dense, values = _common(dense, x._vals)
    indices = x._array()
    if not indices.shape[0]:
        return dense + values.sum(0)
    if values.dtype is dtypes.bool_:
        return dense | x.to_dense()
    return dense.index_put(tuple(from_value(row) for row in indices), values, accumulate=True)


def _check_operand(name: str, x: Any) -> None:
    if not isinstance(x, (Tensor, *Number)):
        raise TypeError(f"{name}(): argument must be Tensor or Number, not {type(x).__name__}")


@handles("add")
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    return _add("add", input, other, alpha)


@handles("sub", "subtract")
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    return _add("sub", input, other, -alpha)


@handles("rsub")
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    return _add("sub", other, input, -alpha)


def _add(name: str, a: Any, b: Any, alpha: Any) -> Any:
    _check_operand(name, a)
    _check_operand(name, b)
    _check_alpha(_result_type(a, b), alpha)
    if isinstance(a, SparseTensor):
        if isinstance(b, SparseTensor):
            _same_size(name, a, b)
            return like(_sum(a._coo(), _scaled(b, alpha)._coo()), a.layout)
        if isinstance(a, CompressedTensor) and isinstance(b, Tensor) and b.ndim:
            return _dense_plus(_scaled_dense(b, alpha), a._coo(), name)
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if not isinstance(a, Tensor):
        raise RuntimeError(
            f"{name}: expected 'self' and 'other' to have same size, but self is a number while other has size "
            f"{list(b._sizes)} (FYI: dense-sparse addition does not currently support broadcasting)"
        )
    return _dense_plus(a, _scaled(b, alpha)._coo(), name)


def _scaled_dense(x: Tensor, alpha: Any) -> Tensor:
    return x if alpha == 1 else x * alpha


# -------------------------------------------------------------------------------------------------------- products


@handles("mul", "multiply")
def mul(input: Any, other: Any) -> Any:
    a, b = input, other
    _check_operand("mul", a)
    _check_operand("mul", b)
    if not isinstance(a, SparseTensor):
        a, b = b, a
    if isinstance(b, SparseTensor):
        return _sparse_times(a, b)
    if not isinstance(b, Tensor):
        return a._with(a._vals * b)
    if b.numel() == 1 and b.ndim <= a.ndim:
        return a._with(a._vals * b.reshape(()) if b.ndim == 0 else _times_one(a._vals, b))
    return _times_dense(a, b)


def _times_one(values: Tensor, one: Tensor) -> Tensor:
    """Values times the only element of a tensor with dims, whose dtype counts in full."""
    return values * one.reshape((1,) * values.ndim)  # type: ignore[no-any-return]


def _sparse_times(a: Any, b: Any) -> Any:
    if a is b:
        c = coalesce(a._coo())
        return like(c._with(c._vals * c._vals), a.layout)
    layout = a.layout
    _same_size("mul", a, b)
    a, b = coalesce(a._coo()), coalesce(b._coo())
    ia, ib = a._array(), b._array()
    if ia.shape == ib.shape and np.array_equal(ia, ib):
        return like(a._with(a._vals * b._vals), layout)
    sizes = a._sizes[: ia.shape[0]]
    ka, kb = flat(ia, sizes), flat(ib, sizes)
    if ka is None:
        raise RuntimeError(
            f"mul: the places in a tensor of shape {list(a._sizes)} are too many to be numbered"
        )
    _, at, bt = np.intersect1d(ka, kb, assume_unique=True, return_indices=True)
    values = a._vals.index_select(0, from_value(at)) * b._vals.index_select(0, from_value(bt))
    return like(coo(from_value(ia[:, at]), values, a._sizes, True), layout)


def elements(dense: Tensor, x: CooTensor, name: str) -> Tensor:
    """The elements of a dense tensor, broadcast to the shape of `x`, that belong to the values of `x`."""
    missing = x.ndim - dense.ndim
    if missing < 0 or any(n not in (1, m) for n, m in zip(dense.shape, x._sizes[missing:])):
        raise RuntimeError(
            f"{name}: a tensor of shape {list(dense.shape)} does not broadcast to the sparse one's, {list(x._sizes)}"
        )
    dense = dense.reshape((1,) * missing + tuple(dense.shape))
    indices = x._array()
    n = indices.shape[0]
    places = tuple(
        from_value(row if dense.shape[d] != 1 else np.zeros_like(row)) for d, row in enumerate(indices)
    )
    if not n:
        return dense.unsqueeze(0)  # type: ignore[no-any-return]
    return dense[places]  # type: ignore[no-any-return]


def _times_dense(x: Any, dense: Tensor) -> Any:
    c: CooTensor = x._coo()
    values = c._vals * elements(dense, c, "mul")
    return x._with(values)


@handles("div", "divide", "true_divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    _check_operand("div", other)
    if not isinstance(input, SparseTensor):
        refuse("reciprocal" if not isinstance(input, Tensor) or not input.ndim else "div", other)
    if isinstance(other, Tensor) and (isinstance(other, SparseTensor) or other.ndim):
        raise RuntimeError(
            f"Sparse division requires a scalar or zero-dim dense tensor divisor (got shape {list(other.shape)} for divisor)"
        )
    if rounding_mode is None:
        return input._with(input._vals / other)
    x: Any = coalesce(input) if isinstance(input, CooTensor) else input  # rounding is not linear
    return x._with(FUNCTIONS["div"](x._vals, other, rounding_mode=rounding_mode))


@handles("floor_divide")
def floor_divide(input: Any, other: Any) -> Any:
    return div(input, other, rounding_mode="floor")


@handles("pow")
def pow(input: Any, exponent: Any) -> Any:
    if not isinstance(input, SparseTensor):
        refuse("pow", exponent)
    if isinstance(exponent, Tensor):
        if isinstance(exponent, SparseTensor) or exponent.ndim:
            refuse("pow", input)
        exponent = exponent.item()
    if exponent == 0:
        raise RuntimeError(
            "pow: cannot raise to zeroth power on sparse tensor; it would make the result tensor dense"
        )
    x: Any = coalesce(input) if isinstance(input, CooTensor) else input
    return x._with(x._vals**exponent)


@handles("square")
def square(input: Any) -> Any:
    return pow(input, 2)


# --------------------------------------------------------------------------------- functions that keep zero at zero

_ZERO_AT_ZERO = (
    *("abs", "absolute", "angle", "asin", "arcsin", "asinh", "arcsinh", "atan", "arctan", "atanh", "arctanh"),
    *("ceil", "deg2rad", "erf", "erfinv", "expm1", "floor", "frac", "isinf", "isnan", "isneginf", "isposinf"),
    *("log1p", "nan_to_num", "rad2deg", "relu", "round", "sgn", "sign", "signbit", "sin", "sinh", "sqrt"),
    *("tan", "tanh", "trunc", "fix"),
)


def _keeping(name: str) -> None:
    def apply(input: Any, *args: Any, **kwargs: Any) -> Any:
        x = coalesce(input) if isinstance(input, CooTensor) else input
        return x._with(FUNCTIONS[name](x._vals, *args, **kwargs))

    handles(name)(apply)


for _name in _ZERO_AT_ZERO:
    _keeping(_name)


@handles("neg", "negative")
def neg(input: Any) -> Any:
    return input._with(-input._vals)


@handles("positive")
def positive(input: Any) -> Any:
    return input


@handles("threshold")
def threshold(input: Any, threshold: Any, value: Any, inplace: bool = False) -> Any:
    if threshold < 0 or value != 0:
        refuse("threshold", input)
    x = coalesce(input) if isinstance(input, CooTensor) else input
    return x._with(FUNCTIONS["threshold"](x._vals, threshold, value))


# -------------------------------------------------------------------------------------------------------- in place


def become(self: Any, new: Any, name: str) -> Any:
    """Write a result into the sparse tensor that it was made from.

    Raises: RuntimeError for a leaf that requires grad, and where shape, dtype or layout do not allow it.
    """
    if tls.grad and self.requires_grad and self.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if not isinstance(new, SparseTensor):
        raise RuntimeError(
            f"{name}: the result is not sparse, and cannot be written into a {self.layout} tensor"
        )
    if new._sizes != self._sizes:
        raise RuntimeError(f"{name}: the result has shape {list(new._sizes)}, not {list(self._sizes)}")
    if not can_cast(new.dtype, self.dtype):
        raise RuntimeError(
            f"result type {new.dtype.name} can't be cast to the desired output type {self.dtype.name} ({name})"
        )
    values = new._vals.to(self.dtype)
    same = isinstance(self, CooTensor) and isinstance(new, CooTensor) and new._ind is self._ind
    same = (
        same
        or isinstance(self, CompressedTensor)
        and isinstance(new, CompressedTensor)
        and new._plain is self._plain
    )
    if (
        same
        and values.shape == self._vals.shape
        and not values.requires_grad
        and not self._vals.requires_grad
    ):
        self._vals.copy_(values)  # all who hold the values see it
        return self
    leaf = self._leaf
    new = new if isinstance(new, type(self)) else to_compressed(new, self.layout)
    if new.layout is not self.layout:
        new = like(new._coo(), self.layout)
    self._take(new._with(values.detach() if leaf else values))
    if leaf:
        self._vals.requires_grad_()
        self._leaf = True
    return self


def _in_place(name: str, fn: Any) -> None:
    def apply(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, SparseTensor):
            return become(self, fn(self, *args, **kwargs), name)
        return _into_dense(self, fn, name, args, kwargs)

    handles(name)(apply)


def _into_dense(self: Any, fn: Any, name: str, args: Any, kwargs: Any) -> Any:
    """``dense.add_(sparse)``: the entries are added at their places; for the rest the result is written."""
    other: Any = args[0] if args else kwargs.get("other")
    if name in ("add_", "sub_", "subtract_") and tuple(self.shape) == other._sizes and self.ndim:
        alpha = kwargs.get("alpha", 1)
        x = _scaled(other, alpha if name == "add_" else -alpha)._coo()
        kind = _result_type(self, x)
        if not can_cast(kind, self.dtype):
            raise RuntimeError(
                f"result type {kind.name} can't be cast to the desired output type {self.dtype.name} ({name})"
            )
        if sparse_dims(x) and self.dtype is not dtypes.bool_:
            places = tuple(from_value(row) for row in x._array())
            return self.index_put_(places, x._vals.to(self.dtype), accumulate=True)
    new = fn(self, *args, **kwargs)
    dense = new.to_dense() if isinstance(new, SparseTensor) else new
    if not can_cast(dense.dtype, self.dtype):
        raise RuntimeError(
            f"result type {dense.dtype.name} can't be cast to the desired output type {self.dtype.name} ({name})"
        )
    return self.copy_(dense)


for _name, _fn in (
    *(
        ("add", add),
        ("sub", sub),
        ("subtract", sub),
        ("mul", mul),
        ("multiply", mul),
        ("div", div),
        ("divide", div),
    ),
    *(
        ("true_divide", div),
        ("floor_divide", floor_divide),
        ("pow", pow),
        ("neg", neg),
        ("negative", neg),
        ("square", square),
    ),
):
    _in_place(_name + "_", _fn)


def _unary_in_place(name: str) -> None:
    from .tensors import HANDLERS

    _in_place(name + "_", HANDLERS[name])


for _name in _ZERO_AT_ZERO:
    if _name + "_" in METHODS:
        _unary_in_place(_name)


@handles("zero_")
def zero_(self: Any) -> Any:
    from .conversion import zeros_like

    empty = zeros_like(self)
    if tls.grad and self.requires_grad and self.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    leaf = self._leaf
    self._take(empty)
    if leaf:
        self._vals.requires_grad_()
        self._leaf = True
    return self


@handles("copy_")
def copy_(self: Any, other: Any, non_blocking: bool = False) -> Any:
    if not isinstance(self, SparseTensor) or not isinstance(other, SparseTensor):
        kinds = [x.type() for x in (self, other)]
        raise RuntimeError(
            "copy_() between dense and sparse Tensors is not implemented! Found self type = "
            f"{kinds[0]} and src type = {kinds[1]}. Use .to_dense() or .to_sparse() first"
        )
    if self.layout is not other.layout:
        raise RuntimeError(f"copy_() from layout {other.layout} to layout {self.layout} is not implemented")
    return become(self, other.clone(), "copy_")
