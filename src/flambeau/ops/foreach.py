"""``torch._foreach_*``: operations on lists of tensors, which optimizers outside the library update parameters with.

Each is the operation of that name on every tensor in turn.  The other operand is a list of as many, a number, or a
tensor of one element for all; the names with an underscore at the end write to the first list, and return it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from .contraction import norm

__all__ = ["FUNCTIONS_OF_LISTS"]

_UNARY = (
    *("abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac"),
    *("lgamma", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign"),
    *("sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)
_BINARY = {  # the operation for another list of tensors, and for numbers
    **{name: (name, name) for name in ("add", "sub", "mul", "div", "pow")},
    **{"maximum": ("maximum", "clamp_min"), "minimum": ("minimum", "clamp_max")},
    **{name: (name, name) for name in ("clamp_min", "clamp_max")},
}
_ALPHA = ("add", "sub")


def _tensors(name: str, value: Any) -> list[Tensor]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"{name}(): argument 'self' (position 1) must be tuple of Tensors, not {type(value).__name__}"
        )
    if not value:
        raise RuntimeError("Tensor list must have at least one tensor.")
    for i, x in enumerate(value):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}() expected Tensor as element {i} in argument 0, but got {type(x).__name__}"
            )
    return list(value)


def _each(name: str, value: Any, count: int) -> list[Any]:
    """`value` for each of `count` tensors: its entries, or itself where it is one for all."""
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            if value and isinstance(value[0], Tensor):
                raise RuntimeError(
                    f"Tensor lists must have the same number of tensors, got {count} and {len(value)}"
                )
            raise RuntimeError(
                f"Tensor list must have same number of elements as scalar list, got {count} and {len(value)}."
            )
        return list(value)
    if isinstance(value, Tensor):
        if value.dim() != 0:
            raise RuntimeError(
                f"scalar tensor expected to be 0 dim but it has {value.dim()} dimensions and {value.numel()} elements."
            )
    elif not isinstance(value, (int, float, complex)):
        raise TypeError(f"{name}(): a list of tensors or numbers, or a number, not {type(value).__name__}")
    return [value] * count


def _apply(operation: str, in_place: bool, x: Tensor, *args: Any, **options: Any) -> Tensor:
    if in_place and hasattr(x, operation + "_"):
        result: Tensor = getattr(x, operation + "_")(*args, **options)
        return result
    result = FUNCTIONS[operation](x, *args, **options)
    return x.copy_(result) if in_place else result  # maximum_ and minimum_ do not exist


def _unary(operation: str, in_place: bool, name: str, self: Any) -> Any:
    done = tuple([_apply(operation, in_place, x) for x in _tensors(name, self)])
    return self if in_place else done


def _binary(of: tuple[str, str], in_place: bool, name: str, self: Any, other: Any) -> Any:
    if not in_place and of[0] == "pow" and isinstance(self, (int, float, complex)):
        return tuple([FUNCTIONS["pow"](self, x) for x in _tensors(name, other)])
    xs = _tensors(name, self)
    done = tuple(
        [
            _apply(of[0] if isinstance(y, Tensor) else of[1], in_place, x, y)
            for x, y in zip(xs, _each(name, other, len(xs)))
        ]
    )
    return self if in_place else done


def _with_alpha(
    of: tuple[str, str], in_place: bool, name: str, self: Any, other: Any, *, alpha: Any = None
) -> Any:
    if alpha is None:
        return _binary(of, in_place, name, self, other)
    xs = _tensors(name, self)
    ys = _each(name, other, len(xs))
    if not all(isinstance(y, Tensor) for y in ys):
        raise TypeError(f"{name}(): 'alpha' is for tensors as the other operand, not for numbers")
    done = tuple([_apply(of[0], in_place, x, y, alpha=alpha) for x, y in zip(xs, ys)])
    return self if in_place else done


def _ternary(
    operation: str,
    in_place: bool,
    name: str,
    self: Any,
    tensor1: Any,
    tensor2: Any,
    value: Any = 1,
    *,
    scalars: Any = None,
) -> Any:
    xs = _tensors(name, self)
    given = value if scalars is None else scalars
    if isinstance(given, Tensor):
        given = given.tolist()
    values = _each(name, given, len(xs))
    pairs = zip(_each(name, tensor1, len(xs)), _each(name, tensor2, len(xs)))
    done = tuple([_apply(operation, in_place, x, y, z, value=v) for x, (y, z), v in zip(xs, pairs, values)])
    return self if in_place else done


def _lerp(
    in_place: bool, name: str, self: Any, tensors1: Any, weight: Any = None, *, weights: Any = None
) -> Any:
    xs = _tensors(name, self)
    given = _each(name, weight if weights is None else weights, len(xs))
    done = tuple(
        [_apply("lerp", in_place, x, y, w) for x, y, w in zip(xs, _each(name, tensors1, len(xs)), given)]
    )
    return self if in_place else done


def _foreach_norm(self: Any, ord: Any = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The vector norm of each tensor."""
    return tuple([norm(x, ord, dtype=dtype) for x in _tensors("_foreach_norm", self)])


def _foreach_powsum(self: Any, ord: Any = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The sum of the powers of each tensor's absolute values."""
    return tuple([x.abs().pow(ord).sum(dtype=dtype) for x in _tensors("_foreach_powsum", self)])


def _foreach_max(self: Any) -> tuple[Tensor, ...]:
    """The largest element of each tensor."""
    return tuple([x.max() for x in _tensors("_foreach_max", self)])


def _foreach_mm(self: Any, mat2: Any) -> tuple[Tensor, ...]:
    """The products of matrices."""
    xs = _tensors("_foreach_mm", self)
    return tuple([x.mm(y) for x, y in zip(xs, _each("_foreach_mm", mat2, len(xs)))])


def _foreach_clone(self: Any, *, memory_format: Any = None) -> tuple[Tensor, ...]:
    """A copy of each tensor."""
    options: dict[str, Any] = {} if memory_format is None else {"memory_format": memory_format}
    return tuple([x.clone(**options) for x in _tensors("_foreach_clone", self)])


def _foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Write the tensors of `src` to those of `self`."""
    xs = _tensors("_foreach_copy_", self)
    for x, y in zip(xs, _each("_foreach_copy_", src, len(xs))):
        x.copy_(y)
    return self


def _foreach_zero_(self: Any) -> Any:
    """Set all elements to zero."""
    for x in _tensors("_foreach_zero_", self):
        x.zero_()
    return self


def _named(rule: Callable[..., Any], operation: str, name: str) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **options: Any) -> Any:
        return rule(name, self, *args, **options)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`{operation}` of each tensor of a list."
    return call


def _all() -> dict[str, Callable[..., Any]]:
    own: Sequence[Callable[..., Any]] = (
        *(_foreach_norm, _foreach_powsum, _foreach_max, _foreach_mm, _foreach_clone),
        *(_foreach_copy_, _foreach_zero_),
    )
    found = {fn.__name__: fn for fn in own}
    for in_place, end in ((False, ""), (True, "_")):
        rules: dict[str, Callable[..., Any]] = {
            **{n: functools.partial(_unary, n, in_place) for n in _UNARY},
            **{n: functools.partial(_binary, of, in_place) for n, of in _BINARY.items()},
            **{n: functools.partial(_with_alpha, (n, n), in_place) for n in _ALPHA},
            **{n: functools.partial(_ternary, n, in_place) for n in ("addcmul", "addcdiv")},
            "lerp": functools.partial(_lerp, in_place),
        }
        for operation, rule in rules.items():
            name = f"_foreach_{operation}{end}"
            found[name] = _named(rule, operation, name)
    return found


FUNCTIONS_OF_LISTS = _all()
