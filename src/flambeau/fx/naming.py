"""Names in generated code: what a function is called there, and how to keep names apart.

A function of flambeau has the name that PyTorch prints for it (``torch.add``, ``torch._C._nn.linear``), so that generated
code reads the same; the names of PyTorch's internals are found by `flambeau._C` under these names, too.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import keyword
import math
import re
import sys
import types
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import flambeau

torch: Any = flambeau  # what programs call it
# Where PyTorch has a function, if not where the program found it.
_IN_FUNCTIONAL = frozenset(
    """
    atleast_1d atleast_2d atleast_3d block_diag broadcast_shapes broadcast_tensors cartesian_prod cdist chain_matmul einsum
    lu meshgrid norm split stft tensordot unique unique_consecutive unravel_index
    """.split()
)
_IN_C_NN = frozenset(
    "avg_pool2d avg_pool3d elu_ gelu hardtanh_ leaky_relu_ linear one_hot scaled_dot_product_attention softplus softshrink".split()
)
_IN_TORCH = frozenset(
    """
    adaptive_avg_pool1d avg_pool1d bilinear celu_ channel_shuffle conv1d conv2d conv3d conv_tbc conv_transpose1d
    conv_transpose2d conv_transpose3d cosine_similarity hardshrink native_channel_shuffle pairwise_distance pdist pixel_shuffle
    pixel_unshuffle prelu relu_ rrelu_ selu_ threshold_
    """.split()
)
_OTHERS = {
    "torch.nn.functional.logsigmoid": "torch._C._nn.log_sigmoid",
    "torch.segment_reduce": "torch._segment_reduce",
}


def _pytorch_name(prefix: str, name: str) -> str:
    full = f"{prefix}.{name}"
    if full in _OTHERS:
        return _OTHERS[full]
    if prefix == "torch" and name in _IN_FUNCTIONAL:
        return f"torch.functional.{name}"
    if prefix == "torch.nn.functional" and name in _IN_C_NN:
        return f"torch._C._nn.{name}"
    if prefix == "torch.nn.functional" and name in _IN_TORCH:
        return f"torch.{name}"
    if prefix in ("torch.linalg", "torch.fft", "torch.special"):
        family = prefix.rpartition(".")[2]
        return f"torch._C._{family}.{family}_{name}"
    return full


class Names:
    """The functions of flambeau by identity, and the name of each."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}
        self.kept: list[Any] = []  # an id stays that of its object
        self.functions: set[int] = set()

    def add(self, prefix: str, space: Any, names: Any) -> None:
        for name in names:
            value = vars(space).get(name)
            if (
                callable(value)
                and not isinstance(value, (type, ModuleType))
                and id(value) not in self.of
                and (getattr(value, "__module__", None) or "").startswith("flambeau")
            ):
                self.of[id(value)] = _pytorch_name(prefix, name)
                self.kept.append(value)
                if prefix != "torch.Tensor":
                    self.functions.add(id(value))


_known: Names | None = None


def known() -> Names:
    """The table of names, made when first asked for."""
    global _known
    if _known is None:
        from flambeau import fft, linalg, nn, special

        _known = Names()
        public = [n for n in vars(flambeau) if not n.startswith(("__", "linalg_", "fft_", "special_"))]
        # A function with several names has that after which it calls itself.
        _known.add("torch", flambeau, [n for n in public if getattr(vars(flambeau)[n], "__name__", n) == n])
        _known.add("torch", flambeau, public)
        for prefix, space in (
            ("torch.nn.functional", nn.functional),
            ("torch.linalg", linalg),
            ("torch.fft", fft),
            ("torch.special", special),
            ("torch.nn.init", nn.init),
        ):
            _known.add(prefix, space, [n for n in dir(space) if not n.startswith("__")])
        for kind in torch.Tensor.__mro__[:-1]:
            _known.add("torch.Tensor", kind, list(vars(kind)))
    return _known


def is_function(fn: Any) -> bool:
    """Whether `fn` is found in one of flambeau's namespaces, so is no method of Tensor only."""
    found = known()
    if id(fn) in found.functions:
        return True
    name = getattr(fn, "__name__", None)
    if isinstance(name, str) and vars(flambeau).get(name) is fn:  # loaded since the table was made
        found.add("torch", flambeau, [name])
    return id(fn) in found.functions


def _split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> None:
    """What `split` takes there."""


def _tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> None:
    """What `tensordot` takes there."""


_SIGNATURES: dict[str, Callable[..., None]] = {
    "torch.functional.split": _split,
    "torch.functional.tensordot": _tensordot,
}


@functools.cache
def _parameters(fn: Any) -> Any:
    """The signature of a function that PyTorch has in Python; None for others."""
    name = known().of.get(id(fn), "")
    if name in _SIGNATURES:
        return inspect.signature(_SIGNATURES[name])
    in_python = name.startswith(("torch.nn.functional.", "torch.functional.", "torch.nn.init."))
    return inspect.signature(fn) if in_python else None


def as_passed_on(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The arguments as functions that PyTorch has in Python pass them on: what has a default by name, also when it is it."""
    signature = _parameters(fn)
    if signature is None:
        return args, kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return args, kwargs
    bound.apply_defaults()
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        value = bound.arguments[name]
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            if fn.__name__ == "einsum" and len(value) == 2 and isinstance(value[1], (list, tuple)):
                value = (value[0], *value[1])  # the operands as one list
            positional.extend(value)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        elif parameter.default is inspect.Parameter.empty and not named:
            positional.append(value)
        else:
            named[name] = value
    return tuple(positional), named


def torch_name(module: str) -> str:
    """A module of flambeau by the name that PyTorch has for it."""
    return f"torch{module[len('flambeau') :]}" if module.split(".")[0] == "flambeau" else module


def is_from_torch(obj: Any) -> bool:
    """Whether generated code reaches `obj` through the name ``torch``."""
    if id(obj) in known().of or _name_of_operation(obj) is not None:
        return True
    module = getattr(obj, "__module__", None)
    if not isinstance(module, str) or module.split(".")[0] not in ("flambeau", "torch"):
        return False
    name = getattr(obj, "__name__", "")
    return _reached(f"{torch_name(module)}.{name}") is obj or is_function(obj) or _shortest(obj) is not None


def _reached(path: str) -> Any:
    found: Any = flambeau
    for part in path.split(".")[1:]:
        try:
            found = getattr(found, part)
        except (AttributeError, ImportError):
            return None
    return found


def _shortest(obj: Any) -> str | None:
    """Where a class or function of flambeau is found by the name that it bears, if it is not in its own module."""
    name = getattr(obj, "__name__", "")
    module = torch_name(getattr(obj, "__module__", None) or "")
    for prefix in ("torch", module, module.rpartition(".")[0], "torch.nn"):
        if prefix and _reached(f"{prefix}.{name}") is obj:
            return f"{prefix}.{name}"
    return None


def _name_of_operation(fn: Any) -> str | None:
    """Where an operation made by ``torch.library.custom_op`` is found."""
    library = sys.modules.get("flambeau.library")  # nothing is one before that is loaded
    if library is None or not isinstance(fn, library.CustomOpDef):
        return None
    return f"torch.ops.{fn._namespace}.{fn._name}"


def qualified_name(fn: Any) -> str:
    """What a function is called in generated code.

    Raises: RuntimeError for a lambda without source.

    >>> import flambeau as torch
    >>> qualified_name(torch.relu), qualified_name(torch.nn.functional.linear), qualified_name(len)
    ('torch.relu', 'torch._C._nn.linear', 'len')
    """
    name = fn.__name__
    if getattr(builtins, name, None) is fn:
        return str(name)
    if is_function(fn) or id(fn) in known().of:
        return known().of[id(fn)]
    operation = _name_of_operation(fn)
    if operation is not None:
        return operation
    module = getattr(fn, "__module__", None)
    if name == "<lambda>":
        try:
            name = inspect.getsource(fn).split("=")[0].strip()
        except Exception as e:
            raise RuntimeError("Unable to represent lambda") from e
    if module is None:
        raise RuntimeError(f"cannot find module for {fn}")
    if module.split(".")[0] == "flambeau":
        return _shortest(fn) or f"{torch_name(module)}.{name}"
    return f"{module}.{name}"


def type_name(kind: Any) -> str:
    """A type as annotations of generated code show it."""
    if isinstance(kind, type) and not isinstance(kind, types.GenericAlias):
        if kind.__module__ == "builtins":
            return kind.__qualname__
        if kind.__module__.split(".")[0] == "flambeau":
            return _shortest(kind) or f"{torch_name(kind.__module__)}.{kind.__qualname__}"
        return f"{kind.__module__}.{kind.__qualname__}"
    if kind is ...:
        return "..."
    if isinstance(kind, types.FunctionType):
        return kind.__name__
    return repr(kind).replace("flambeau.core.tensor.Tensor", "torch.Tensor")


# ------------------------------------------------------------------------------------------------------- namespaces


class CustomBuiltin(NamedTuple):
    """A name that every piece of generated code has, and the statement that gives it to a file of its own."""

    import_str: str
    obj: Any


custom_builtins: dict[str, CustomBuiltin] = {}
_taken: dict[str, Any] = {**{word: object() for word in keyword.kwlist}, **vars(builtins)}


def register_custom_builtin(name: str, import_str: str, obj: Any) -> None:
    """Let generated code use `obj` under `name`, which no value gets then."""
    custom_builtins[name] = CustomBuiltin(import_str, obj)
    _taken[name] = obj


register_custom_builtin("inf", "from math import inf", math.inf)
register_custom_builtin("nan", "from math import nan", math.nan)
register_custom_builtin("NoneType", "NoneType = type(None)", type(None))
register_custom_builtin("torch", "import flambeau as torch", flambeau)
register_custom_builtin("device", "from flambeau import device", torch.device)

_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?$", re.DOTALL)
_NOT_IN_NAMES = re.compile(r"[^0-9a-zA-Z_]+")


def snake_case(name: str) -> str:
    """``camelCase`` as ``camel_case``."""
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


class Namespace:
    """Names, each of one object at most; no name hides one of Python's, unless the object is what has it there."""

    def __init__(self) -> None:
        self._obj_to_name: dict[Any, str] = {}
        self._used_names: set[str] = set()
        self._base_count: dict[str, int] = {}

    def create_name(self, candidate: str, obj: Any) -> str:
        """A new name like `candidate`; for an object that has a name already, that name."""
        if obj is not None and obj in self._obj_to_name:
            return self._obj_to_name[obj]
        if not candidate.isidentifier() or not candidate.isascii():
            candidate = _NOT_IN_NAMES.sub("_", candidate) or "_unnamed"
            if candidate[0].isdigit():
                candidate = f"_{candidate}"
        split = _NUMBERED.match(candidate)
        assert split is not None
        base, digits = split.group(1, 2)
        if not base:  # of "_3" nothing is left
            base, digits = candidate, None
        if digits is not None and candidate not in self._used_names:
            count = int(digits)
        else:
            count = self._base_count.get(base, 0)
            if _taken.get(candidate, obj) is not obj:
                count += 1
                candidate = f"{base}_{count}"
        while candidate in self._used_names:
            count += 1
            candidate = f"{base}_{count}"
        self._used_names.add(candidate)
        self._base_count[base] = count
        if obj is not None:
            self._obj_to_name[obj] = candidate
        return candidate

    def associate_name_with_obj(self, name: str, obj: Any) -> None:
        """Note that `name`, which was created before, is that of `obj`."""
        self._obj_to_name[obj] = name

    def rename(self, obj: Any, name: str) -> None:
        """Note another name for an object."""
        self._obj_to_name[obj] = name
        self._used_names.add(name)

    _rename_object = rename


Transformer = Callable[[list[str]], list[str]]
