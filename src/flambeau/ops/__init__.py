"""The public operations, by name, with PyTorch's signatures: ``from flambeau import ops; ops.softmax(...)``."""

from typing import Any

from ..core.public import FUNCTIONS
from . import (
    activation,
    bits,
    calculus,
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
    search,
    shape,
    special,
    statistics,
    stft,
    view_in_place,
    windows,
)

_modules = (
    activation,
    bits,
    calculus,
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
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    import sys

    made_by_users = sys.modules.get("flambeau.library")  # not loaded: there are no operations of users
    found = None if made_by_users is None else made_by_users.namespace(name)
    if found is None:
        raise AttributeError(f"flambeau has no operation {name!r} (see docs/compatibility.md)")
    return found
