"""The public operations, by name, with PyTorch's signatures: ``from flambeau import ops; ops.softmax(...)``."""

from typing import Any

from ..core.public import FUNCTIONS
from . import (
    activation,
    bits,
    calculus,
    closed_range,
    contraction,
    conversion,
    copies,
    creation,
    default_device,
    eigenpairs,
    elementwise,
    fft,
    gather,
    geometry,
    linalg,
    linalg_decompositions,
    linalg_norms,
    linalg_products,
    matmul,
    memory,
    old_forms,
    order,
    random,
    random_counts,
    random_gamma,
    rearrange,
    reduce,
    reduce_at,
    registered,
    search,
    shape,
    special,
    statistics,
    stft,
    view_in_place,
    windows,
)
from .registered import load_library as load_library

_modules = (
    activation,
    bits,
    calculus,
    closed_range,
    contraction,
    conversion,
    copies,
    creation,
    elementwise,
    fft,
    gather,
    geometry,
    linalg,
    linalg_decompositions,
    linalg_norms,
    linalg_products,
    eigenpairs,
    matmul,
    memory,
    order,
    random,
    random_counts,
    random_gamma,
    rearrange,
    reduce,
    reduce_at,
    search,
    shape,
    special,
    statistics,
    stft,
    view_in_place,
    windows,
)


def __getattr__(name: str) -> Any:
    if name == "aten":
        from importlib import import_module

        return import_module("flambeau.stand_in.aten").aten
    if name in registered.NAMESPACES:  # operations of users
        return registered.NAMESPACES[name]
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    raise AttributeError(f"flambeau has no operation {name!r} (see docs/compatibility.md)")
