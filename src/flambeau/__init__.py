"""flambeau: PyTorch's core in Python.  ``import flambeau as torch``."""

from __future__ import annotations

import math as _math
import warnings as _warnings
from typing import Any

# First: from the modules below it would be imported so many frames deep that CPython 3.11 asks for a new chunk of its
# stack, and gives it back, in every call of the typing module (30 ms).
import numpy as _numpy  # noqa: F401

# NumPy warns about 1/0 and the like; PyTorch does not.  Only calls made from our own modules are silenced.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"flambeau(\.|$)")

from . import autograd, func, ops, random, special  # noqa: E402
from .autograd import (  # noqa: E402
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .compile_api import compile  # noqa: E402
from .core import acceleration as _acceleration  # noqa: E402
from .core import docstrings as _docstrings  # noqa: E402
from .core import public as _public  # noqa: E402
from .core import remembered as _remembered  # noqa: E402
from .core.public import can_cast  # noqa: E402
from .core.state import defaults as _defaults  # noqa: E402
from .core.tensor import Tensor  # noqa: E402
from .func import vmap  # noqa: E402
from .ops.random import Generator, default_generator  # noqa: E402
from .runtime import dtypes as _dtypes  # noqa: E402
from .runtime import native_draws as _native_draws  # noqa: E402
from .runtime.absent import no_such_name as _no_such_name  # noqa: E402
from .runtime.dtypes import dtype, finfo, iinfo, promote_types  # noqa: E402
from .runtime.types import (  # noqa: E402
    Size,
    channels_last,
    channels_last_3d,
    contiguous_format,
    device,
    jagged,
    layout,
    memory_format,
    preserve_format,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from .tensor import copying as _copying  # noqa: E402
from .tensor import indexing as _indexing  # noqa: E402
from .tensor import methods as _methods  # noqa: E402
from .tensor import more_methods as _more_methods  # noqa: E402
from .tensor import protocol as _protocol  # noqa: E402  # looks at what the others made
from .tensor import representation as _representation  # noqa: E402
from .tensor import sharing as _sharing  # noqa: E402
from .tensor import sparse_methods as _sparse_methods  # noqa: E402
from .tensor.printing import set_printoptions  # noqa: E402

__version__ = "0.1.0"

e, pi, inf, nan, newaxis = _math.e, _math.pi, _math.inf, _math.nan, None

for _d in _dtypes.ALL:
    globals()[_d.name] = _d
for _alias, _d in _dtypes.ALIASES.items():
    globals()[_alias] = _d
for _name, _fn in _public.FUNCTIONS.items():
    if not _name.startswith("__"):
        _is_bare = (
            _fn.__module__ != "flambeau" and _public.METHODS.get(_name) is _fn or _name in ("real", "imag")
        )
        globals()[_name] = _public.of_tensors(_fn) if _is_bare else _fn


def _random_kernels() -> Any:
    from .compiler.random_kernels import load

    return load()


def _pointwise_kernels() -> Any:
    from .compiler.pointwise import pointwise_kernel

    return pointwise_kernel


_acceleration.offer(_pointwise_kernels)  # for large elementwise results, when it pays
_native_draws.offer(_random_kernels)  # generated code for long draws, loaded when it pays


def get_default_dtype() -> dtype:
    """The dtype of new floating tensors."""
    return _defaults.dtype


def set_default_dtype(d: dtype) -> None:
    """Set the dtype of new floating tensors.

    Raises: TypeError for dtypes that are not floating.
    """
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, not {d}")
    _defaults.dtype = d
    _remembered.forget()


def is_tensor(obj: object) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


_docstrings.add_notes(ops.__path__[0], _public.FUNCTIONS, _public.METHODS)
_docstrings.add_examples(ops.__path__[0], _public.FUNCTIONS, _public.METHODS, globals())
for _name, _fn in _public.FUNCTIONS.items():
    if not _name.startswith("__"):
        globals()[_name].__doc__ = _fn.__doc__  # of the outer form, too
for _name in _more_methods.ALSO_FUNCTIONS:
    _public.METHODS[_name].__doc__ = _public.FUNCTIONS[_name].__doc__

from . import interop as _interop  # noqa: E402

_interop.install()

# Sub-packages load when first asked for: importing flambeau itself stays cheap.
_LAZY = {
    **{
        n: f"flambeau.{n}"
        for n in (
            "nn",
            "optim",
            "utils",
            "serialization",
            "compiler",
            "linalg",
            "fft",
            "signal",
            "array_api",
            "multiprocessing",
            "scientific",
            "sparse",
        )
    },
    **{
        n: f"flambeau.{n}"
        for n in ("accelerator", "cuda", "cpu", "backends", "return_types", "version", "distributions")
    },
    **{
        n: f"flambeau.{n}"
        for n in ("__future__", "jit", "overrides", "testing", "profiler", "hub", "distributed", "types")
    },
    **{
        n: f"flambeau.{n}"
        for n in (
            "__config__",
            "amp",
            "functional",
            "futures",
            "fx",
            "library",
            "mps",
            "onnx",
            "quasirandom",
            "xpu",
        )
    },
    "torch_version": "flambeau.stand_in.version",
    "_C": "flambeau.stand_in.internals",
    "ao": "flambeau.stand_in.ao",
    "quantization": "flambeau.stand_in.quantization",
    "_dynamo": "flambeau.stand_in.dynamo",
    "_higher_order_ops": "flambeau.stand_in.higher_order_ops",
    "_inductor": "flambeau.stand_in.inductor",
    "_ops": "flambeau.stand_in.aten",
    "_subclasses": "flambeau.stand_in.subclasses",
    "_tensor_str": "flambeau.stand_in.tensor_str",
    "_utils": "flambeau.stand_in.utils_internals",
    "storage": "flambeau.tensor.storage",
}
_LAZY_NAMES = {
    **{"save": "serialization", "load": "serialization"},
    **{"TypedStorage": "tensor.storage", "UntypedStorage": "tensor.storage"},
    **{
        f"{n}Storage": "tensor.typed_storage"
        for n in (
            *("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"),
            *("ComplexFloat", "ComplexDouble"),
        )
    },
    **{"AcceleratorError": "accelerator", "OutOfMemoryError": "accelerator"},
    "is_anomaly_enabled": "autograd.anomaly_mode",
    "to_dlpack": "utils.dlpack",
    **{
        f"{n}Tensor": "tensor.typed"
        for n in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
    **{
        n: "settings"
        for n in (
            *("are_deterministic_algorithms_enabled", "compiled_with_cxx11_abi", "get_default_device"),
            *("get_deterministic_debug_mode", "get_float32_matmul_precision", "get_num_interop_threads"),
            *("get_num_threads", "is_deterministic_algorithms_warn_only_enabled", "is_storage"),
            "_has_compatible_shallow_copy_type",
            *("is_warn_always_enabled", "set_default_device", "set_default_tensor_type"),
            *("set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal"),
            *("set_num_interop_threads", "set_num_threads", "set_warn_always", "typename"),
            "use_deterministic_algorithms",
        )
    },
    **{
        n: "amp.autocast_mode"
        for n in (
            *("autocast", "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache"),
            *("get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype"),
            *("is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled"),
            *("set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled"),
            *("set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype"),
        )
    },
    "GradScaler": "amp",
    **{
        n: "nn.modules.recurrent_functions"
        for n in (
            "gru",
            "lstm",
            "rnn_relu",
            "rnn_tanh",
            "gru_cell",
            "lstm_cell",
            "rnn_relu_cell",
            "rnn_tanh_cell",
        )
    },
    **{
        f"sparse_{n}_tensor": "sparse.construction" for n in ("coo", "csr", "csc", "bsr", "bsc", "compressed")
    },
    "resize_as_sparse_": "sparse.conversion",
    **{n: "sparse.products" for n in ("dsmm", "hsmm", "hspmm", "saddmm", "smm", "spmm", "sspaddmm")},
    **{n: "ops.symbolic" for n in ("SymBool", "SymFloat", "SymInt")},
    **{"ScriptModule": "jit", "ScriptFunction": "jit"},
    "_assert": "stand_in.checks",
    "PyTorchFileReader": "stand_in.file_reader",
    "_assert_async": "stand_in.checks",
    "Future": "futures",
    **{f"_convert_indices_from_{way}": "ops.row_pointers" for way in ("coo_to_csr", "csr_to_coo")},
    **{n: "accelerator" for n in ("Event", "Stream", "get_device_module")},
    **{
        f"_check{n}": "stand_in.checks"
        for n in ("", "_index", "_is_size", "_not_implemented", "_tensor_all", "_type", "_value", "_with")
    },
    **{f"sym_{n}": "ops.symbolic" for n in ("float", "int", "ite", "max", "min", "not", "sqrt", "sum")},
}


def __getattr__(name: str) -> object:
    import importlib

    if name in _LAZY:
        try:
            module = importlib.import_module(_LAZY[name])
        except ModuleNotFoundError as e:
            if e.name != _LAZY[name]:
                raise
        else:
            globals()[name] = module
            return module
    elif name in _LAZY_NAMES:
        value = getattr(importlib.import_module(f"flambeau.{_LAZY_NAMES[name]}"), name)
        globals()[name] = value
        return value
    elif name.startswith("_foreach_"):
        from .ops.foreach import FUNCTIONS_OF_LISTS

        if name in FUNCTIONS_OF_LISTS:
            globals()[name] = FUNCTIONS_OF_LISTS[name]
            return FUNCTIONS_OF_LISTS[name]
    if not name.startswith(
        "_"
    ):  # functions that also live here are defined with nn's: loading it registers them
        importlib.import_module("flambeau.nn.functional")
        if name in _public.FUNCTIONS:
            globals()[name] = _public.FUNCTIONS[name]
            return _public.FUNCTIONS[name]
    raise _no_such_name("flambeau", name)


def __dir__() -> list[str]:
    return sorted(
        {*globals(), *_LAZY, *_LAZY_NAMES}
    )  # not as_torch: whoever looks at every name would install it
