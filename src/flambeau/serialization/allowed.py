"""What a pickle may name under ``weights_only=True``, and what the names stand for.

Each name stands for a dtype, a storage type, or a `Constructor`: a function of ours that checks its arguments
and builds one value.  The object that the name denotes in Python is never looked up.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..runtime import dtypes
from ..runtime.types import Size, device, sparse_coo, sparse_csc, sparse_csr, strided
from . import numpy_values, tensors
from .errors import brief

if TYPE_CHECKING:
    from .loader import Loader

__all__ = [
    "Constructor",
    "StorageType",
    "add_safe_globals",
    "canonical",
    "clear_safe_globals",
    "get_safe_globals",
    "lookup",
    "safe_globals",
]


class StorageType(NamedTuple):
    """A typed storage class of PyTorch's pickles; dtype None is the untyped one."""

    name: str
    dtype: Any


class Constructor:
    """A checked builder: ``build(loader, *args)``; ValueError and TypeError mean that the arguments are
    refused."""

    __slots__ = ("build", "name")

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        self.name = name
        self.build = build

    def __repr__(self) -> str:
        return f"<{self.name}>"


STORAGE_NAMES = {
    **{
        "float64": "DoubleStorage",
        "float32": "FloatStorage",
        "float16": "HalfStorage",
        "int64": "LongStorage",
    },
    **{"int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage", "uint8": "ByteStorage"},
    **{"bool": "BoolStorage", "bfloat16": "BFloat16Storage", "complex64": "ComplexFloatStorage"},
    **{"complex128": "ComplexDoubleStorage"},
}


def _ordered_dict(loader: Loader, *args: Any) -> Any:
    if not args:
        return OrderedDict()
    (pairs,) = args
    if type(pairs) is not list or any(type(p) not in (list, tuple) or len(p) != 2 for p in pairs):
        raise TypeError("a list of pairs was expected")
    loader.charge(len(pairs))
    for key, _ in pairs:
        loader.check_key(key)
    return OrderedDict(pairs)


def _counter(loader: Loader, *args: Any) -> Any:
    if args and (len(args) != 1 or type(args[0]) is not dict):
        raise TypeError("a dict was expected")
    counts = args[0] if args else {}
    loader.charge(len(counts))
    return Counter(counts)


def _elements(loader: Loader, args: tuple[Any, ...]) -> list[Any]:
    if not args:
        return []
    (items,) = args
    if type(items) not in (list, tuple):
        raise TypeError("a list was expected")
    loader.charge(len(items))
    for item in items:
        loader.check_key(item)
    return list(items)


def _encode(loader: Loader, text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 spells `bytes`."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise TypeError("latin-1 text was expected")
    loader.charge(len(text))
    return text.encode("latin-1")


def _bytearray(loader: Loader, *args: Any) -> bytearray:
    if not args:
        return bytearray()
    if type(args[0]) is bytes and len(args) == 1:  # never an int: bytearray(n) allocates n bytes
        loader.charge(len(args[0]))
        return bytearray(args[0])
    return bytearray(_encode(loader, *args))


def _bytes(loader: Loader, *args: Any) -> bytes:
    if args:
        raise TypeError("only the empty bytes are spelled so")
    return b""


def _complex(loader: Loader, *args: Any) -> complex:
    if len(args) > 2 or any(type(x) not in (float, int) for x in args):
        raise TypeError("two floats were expected")
    return complex(*args)


def _size(loader: Loader, *args: Any) -> Size:
    (sizes,) = args or ((),)
    if type(sizes) not in (tuple, list) or any(type(n) is not int for n in sizes):
        raise TypeError("a tuple of ints was expected")
    loader.charge(len(sizes))
    return Size(sizes)


def _device(loader: Loader, kind: Any, index: Any = None) -> device:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise TypeError("a device name was expected")
    return device(kind, index)


_LAYOUTS = {str(x): x for x in (strided, sparse_coo, sparse_csr, sparse_csc)}


def _layout(loader: Loader, name: Any) -> Any:
    if name not in _LAYOUTS:
        raise ValueError(f"layout {brief(name)} is not supported")
    return _LAYOUTS[name]


def _unsupported(what: str) -> Callable[..., Any]:
    def refuse(loader: Loader, *args: Any) -> Any:
        raise ValueError(f"{what} are not supported; save dense tensors instead")

    return refuse


def _frozenset(loader: Loader, *args: Any) -> frozenset[Any]:
    return frozenset(_elements(loader, args))


def _set(loader: Loader, *args: Any) -> set[Any]:
    return set(_elements(loader, args))


def _not_callable(loader: Loader, *args: Any) -> Any:
    raise TypeError("this class is not built directly")


_BUILDERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.Counter": _counter,
    "_codecs.encode": _encode,
    "builtins.bytearray": _bytearray,
    "builtins.bytes": _bytes,
    "builtins.complex": _complex,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
    "torch.Tensor": _not_callable,
    "torch.nn.parameter.Parameter": _not_callable,
    "torch._utils._rebuild_tensor": tensors.rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": tensors.rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": tensors.rebuild_tensor_v3,
    "torch._utils._rebuild_meta_tensor_no_storage": tensors.rebuild_meta,
    "torch._utils._rebuild_parameter": tensors.rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": tensors.rebuild_parameter_with_state,
    "torch._tensor._rebuild_from_type_v2": tensors.rebuild_from_type,
    "torch._utils._rebuild_sparse_tensor": tensors.rebuild_sparse_tensor,
    "torch._utils._rebuild_qtensor": _unsupported("quantized tensors"),
    "torch._utils._rebuild_nested_tensor": _unsupported("nested tensors"),
    "numpy._core.multiarray.scalar": numpy_values.scalar,
    "numpy._core.multiarray._reconstruct": numpy_values.empty_array,
    "numpy.dtype": numpy_values.make_dtype,
    "numpy.ndarray": _not_callable,
}

ALLOWED: dict[str, Any] = {
    **{name: Constructor(name, build) for name, build in _BUILDERS.items()},
    **{f"torch.{d.name}": d for d in dtypes.ALL},
    **{f"torch.{n}": StorageType(n, dtypes.BY_NAME[d]) for d, n in STORAGE_NAMES.items()},
    "torch.storage.UntypedStorage": StorageType("UntypedStorage", None),
}

# Python 2 names, which protocol 2 keeps using, and the module that NumPy 2 renamed.
_RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
}
_BLOCKED_MODULES = frozenset(("sys", "os", "posix", "nt"))


def canonical(module: str, name: str) -> str:
    """The full name used for look-ups; this library's modules count as PyTorch's."""
    module = _RENAMED.get(module, module)
    if module == "flambeau" or module.startswith("flambeau."):
        module = "torch" + module[len("flambeau") :]
    return f"{module}.{name}"


# -- what the user adds

SafeGlobal = Callable[..., Any] | tuple[Callable[..., Any], str]
_added: list[SafeGlobal] = []


def _full_name(item: SafeGlobal) -> str:
    if isinstance(item, tuple):
        if len(item) != 2:
            raise ValueError(f"a pair (object, full name) was expected, got a tuple of length {len(item)}")
        if not isinstance(item[1], str):
            raise TypeError(f"the second element must be the full name as str, got {type(item[1]).__name__}")
        module, _, name = item[1].rpartition(".")
        return canonical(module, name)
    return canonical(item.__module__, item.__qualname__)


def add_safe_globals(safe_globals: list[SafeGlobal]) -> None:
    """Let `load(weights_only=True)` name and *call* these classes and functions.

    Each element is an object, or a pair (object, full name in the file).  Only add what is harmless with any
    arguments.

    Raises: TypeError, ValueError for anything else.
    """
    for item in safe_globals:
        _full_name(item)
    _added.extend(item for item in safe_globals if item not in _added)


def get_safe_globals() -> list[SafeGlobal]:
    """What `add_safe_globals` has added."""
    return list(_added)


def clear_safe_globals() -> None:
    """Forget what `add_safe_globals` has added."""
    _added.clear()


@contextmanager
def safe_globals(safe_globals: list[SafeGlobal]) -> Iterator[None]:
    """`add_safe_globals` for the duration of a ``with`` block."""
    before = list(_added)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _added[:] = before


def user_allowed() -> list[Any]:
    """The objects that `add_safe_globals` has added."""
    return [item[0] if isinstance(item, tuple) else item for item in _added]


def lookup(module: str, name: str) -> Any:
    """What a global in a pickle stands for.

    Raises: LookupError with the reason when it is not allowed.
    """
    full_name = canonical(module, name)
    if module in _BLOCKED_MODULES:
        raise LookupError(f"global {full_name} is in the blocked module '{module}'")
    for item in _added:
        if _full_name(item) == full_name:
            return item[0] if isinstance(item, tuple) else item
    try:
        return ALLOWED[full_name]
    except KeyError:
        shown = full_name.removeprefix("builtins.")
        raise LookupError(
            f"Unsupported global: {full_name} is not allowed by default. If you trust it, call "
            f"torch.serialization.add_safe_globals([{shown}]) first, or use the context manager "
            f"torch.serialization.safe_globals([{shown}]); weights_only=False executes whatever the file says"
        ) from None
