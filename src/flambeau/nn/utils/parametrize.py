"""Parametrizations: parameters computed from other tensors each time they are read."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from ...autograd.grad_mode import no_grad
from ...core.tensor import Tensor
from ..modules.container import ModuleDict, ModuleList
from ..modules.module import Module
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_depth = 0  # how many `cached` blocks are open
_cache: dict[tuple[int, str], Any] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once inside the block, however often it is read.

    >>> import flambeau as torch
    >>> from flambeau.nn.utils import parametrize
    >>> m = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2))
    >>> with parametrize.cached():
    ...     m.weight is m.weight
    True
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth:
            _cache.clear()


def _register(module: Module, name: str, tensor: Any) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_result(value: Any, dtype: Any, shape: Any, names: tuple[str, str], flag: str) -> None:
    """A parametrization may change neither dtype nor shape.

    Raises: ValueError naming both.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
    for what, old, new in (("dtype", dtype, value.dtype), ("shape", shape, value.shape)):
        if old != new:
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, unless {flag} flag "
                "is "
                f"enabled.\n{names[0]} {what}: {old}\n{names[1]} {what}: {new}"
            )


def _inverse(module: Any, value: Any) -> Any:
    """`right_inverse` of a parametrization, or the value itself where there is none."""
    if not hasattr(module, "right_inverse"):
        return value
    try:
        return module.right_inverse(value)
    except NotImplementedError:
        return value


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, first one first, with the tensor or tensors they start from.

    Those are `original`, or `original0`, `original1`, … when `right_inverse` gives several. Calling the list
    gives the parametrized tensor.

    Raises: ValueError when a result is not a tensor or, unless `unsafe`, has another dtype or shape.
    """

    def __init__(self, modules: Sequence[Module], original: Any, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        dtype, shape = original.dtype, original.shape
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                new = _inverse(module, new)
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if isinstance(new, Tensor):
            if new.dtype != dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            before = original.data
            original.data = new.detach()
            _register(self, "original", original)
        else:
            for i, part in enumerate(new):
                if not isinstance(part, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                        f"Got element {i} of the sequence with type {type(part).__name__}."
                    )
                if isinstance(original, Parameter):
                    part = Parameter(part, original.requires_grad)
                part.requires_grad_(original.requires_grad)
                _register(self, f"original{i}", part)
        if not unsafe:
            try:
                _check_result(self(), dtype, shape, ("unparametrized", "parametrized"), "`unsafe`")
            except BaseException:
                if self.is_tensor:
                    original.data = before  # the module keeps its tensor as it was
                raise

    def _originals(self) -> list[Any]:
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def right_inverse(self, value: Any) -> None:
        """Set the originals so that the parametrized tensor becomes `value`, as far as the inverses do that.

        Raises: RuntimeError when a parametrization has no inverse; ValueError when its result does not fit.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            if self.is_tensor and not isinstance(value, Tensor):
                raise ValueError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
            values = [value] if self.is_tensor else value
            if not isinstance(values, Sequence):
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors. Got {type(values).__name__}."
                )
            if len(values) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. "
                    f"Got a sequence of length {len(values)}."
                )
            originals = self._originals()
            for i, (old, new) in enumerate(zip(originals, values, strict=True)):
                if not isinstance(new, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a sequence of tensors. "
                        f"Got element {i} of type {type(new).__name__}."
                    )
                if old.dtype != new.dtype:
                    raise ValueError(
                        f"Tensor {i} returned by `right_inverse` has dtype {new.dtype} while the original "
                        "has "
                        f"dtype {old.dtype}"
                    )
            for old, new in zip(originals, values, strict=True):
                old.data = new.data

    def forward(self) -> Any:
        value = self._modules["0"](*self._originals())
        for i in range(1, len(self)):
            value = self._modules[str(i)](value)
        return value

    def __len__(self) -> int:
        return len(self._modules)


def _parametrized_class(module: Module) -> None:
    """Give the module a class of its own, so that properties can be put on it."""
    cls = type(module)

    def deepcopy(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        replica: Any = object.__new__(type(self))
        memo[id(self)] = replica
        replica.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return replica

    def getstate(self: Any) -> NoReturn:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(): save that, and "
            "load it "
            "into a module with the same parametrizations"
        )

    members: dict[str, Any] = {"__getstate__": getstate}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _put_property(module: Module, name: str) -> None:
    def get(self: Any) -> Any:
        parametrization = self.parametrizations[name]
        if not _depth:
            return parametrization()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def put(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, put))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make a parameter or buffer of `module` the result of `parametrization` applied to it.

    ``module.weight`` then reads ``parametrization(original)``; the original is the parameter that is trained,
    at ``module.parametrizations.weight.original``. A method ``right_inverse(tensor)`` of the parametrization
    gives the original from the tensor (or several), and makes assignment to ``module.weight`` possible.
    Several parametrizations apply one after the other. Returns the module.

    Raises: ValueError when there is no such tensor or, unless `unsafe`, dtype or shape would change.

    >>> import flambeau as torch
    >>> class Symmetric(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> m = torch.nn.Linear(3, 3)
    >>> _ = torch.nn.utils.parametrize.register_parametrization(m, "weight", Symmetric())
    >>> bool((m.weight == m.weight.T).all())
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            y = getattr(module, tensor_name)
            x = parametrization(y)
            names = (f"module.{tensor_name}", f"parametrization(module.{tensor_name})")
            _check_result(x, y.dtype, y.shape, names, "the `unsafe`")
            z = _inverse(parametrization, x)
            _check_result(z, y.dtype, y.shape, (names[0], "right_inverse of it"), "the `unsafe`")
        plist: Any = module.parametrizations[tensor_name]
        plist.append(parametrization)
        plist.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        plist = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _parametrized_class(module)
            module.parametrizations = ModuleDict()
        _put_property(module, tensor_name)
        module.parametrizations[tensor_name] = plist
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has parametrizations, or one of the named tensor."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make the tensor an ordinary one again, with its parametrized value or else with the original's.

    Raises: ValueError when it is not parametrized, or when the original is several tensors and is to be left.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    plist: Any = module.parametrizations[tensor_name]
    if not leave_parametrized and not plist.is_tensor:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in "
            "terms of a "
            "sequence of tensors."
        )
    result: Any = plist.original if plist.is_tensor else None
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name)
        if plist.is_tensor:
            result.data = value.data
        else:
            first = plist.original0
            result = Parameter(value.detach()) if isinstance(first, Parameter) else value.detach()
            result.requires_grad_(first.requires_grad)
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, result)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give `to_module` the parametrizations of `from_module` and the tensors below them; returns `to_module`.

    One of them if `tensor_name` is given, else all; a tensor that `to_module` does not have is made. The two
    modules share the tensors afterwards. Nothing happens if `from_module` has no parametrization.

    >>> import flambeau as torch
    >>> from flambeau.nn.utils import parametrize
    >>> a = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 3))
    >>> b = parametrize.transfer_parametrizations_and_params(a, torch.nn.Linear(2, 3))
    >>> torch.equal(a.weight, b.weight)
    True
    """
    if not is_parametrized(from_module):
        return to_module
    lists = from_module.parametrizations
    for name in list(lists) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in lists[name]:
            register_parametrization(to_module, name, parametrization)
        source, target = lists[name], to_module.parametrizations[name]
        for key in [*source._parameters, *source._buffers]:
            setattr(target, key, getattr(source, key))
    return to_module


def type_before_parametrizations(module: Module) -> type:
    """The module's class without parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
