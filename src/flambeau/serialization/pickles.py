"""Pickles in a file, read with or without restrictions."""

from __future__ import annotations

import importlib
import io
import pickle
from typing import Any

from . import allowed, binding, plain
from .allowed import Constructor
from .loader import Loader
from .unpickler import RestrictedUnpickler

__all__ = ["PickleStream"]


class _FullUnpickler(pickle.Unpickler):
    """Python's unpickler, with PyTorch's names standing for ours.  It runs whatever the file says."""

    def __init__(self, stream: Any, loader: Loader, **kwargs: Any) -> None:
        super().__init__(stream, **kwargs)
        self.loader = loader

    def persistent_load(self, pid: Any) -> Any:
        return self.loader.storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        full_name = allowed.canonical(module, name)
        if full_name in ("torch.Tensor", "torch.nn.parameter.Parameter"):
            return binding.class_named(full_name)
        if full_name == "torch._tensor._rebuild_from_type_v2":
            return plain.rebuild_from_type_v2
        if full_name.startswith("torch."):
            found = allowed.ALLOWED.get(full_name)
            if isinstance(found, Constructor):
                return _Bound(found, self.loader)
            if found is not None:
                return found
            inside = full_name.removeprefix("torch.").split(".")
            path = ".".join(("flambeau", *inside[:-1]))
            try:
                value: Any = importlib.import_module(path)
                for part in name.split("."):
                    value = getattr(value, part)
                return value
            except (ImportError, AttributeError):
                if module.split(".")[0] == "flambeau":
                    raise
                raise pickle.UnpicklingError(
                    f"{self.loader.file} needs {module}.{name}, which flambeau does not have; save the "
                    "model's state_dict() instead of the model"
                ) from None
        return super().find_class(module, name)


class _Bound:
    """A constructor together with the load that it belongs to."""

    def __init__(self, constructor: Constructor, loader: Loader) -> None:
        self.constructor = constructor
        self.loader = loader

    def __call__(self, *args: Any) -> Any:
        return self.constructor.build(self.loader, *args)


class PickleStream:
    """Consecutive pickles in one byte string, read with or without restrictions."""

    def __init__(self, data: bytes, weights_only: bool, encoding: str, options: dict[str, Any]) -> None:
        self.data = data
        self.weights_only = weights_only
        self.encoding = encoding
        self.options = options
        self.position = 0

    def next(self, loader: Loader) -> Any:
        """The next value."""
        if self.weights_only:
            machine = RestrictedUnpickler(self.data, loader, self.position, self.encoding)
            value = machine.load()
            self.position = machine.position
            return value
        stream = io.BytesIO(self.data)
        stream.seek(self.position)
        value = _FullUnpickler(stream, loader, encoding=self.encoding, **self.options).load()
        self.position = stream.tell()
        return value
