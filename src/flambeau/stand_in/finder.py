"""Finding ``torch`` and its sub-modules in flambeau: an entry of ``sys.meta_path``."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ..runtime.absent import WHERE
from .version import VERSION

# Modules of PyTorch that have another name here.
ELSEWHERE = {
    "torch._C": "flambeau.stand_in.internals",
    "torch._C._distributed_c10d": "flambeau.distributed.distributed_c10d",
    "torch._C._nn": "flambeau.stand_in.nn_functions",
    "torch._custom_ops": "flambeau.library",
    "torch._dynamo": "flambeau.stand_in.dynamo",
    "torch._higher_order_ops": "flambeau.stand_in.higher_order_ops",
    "torch._inductor": "flambeau.stand_in.inductor",
    "torch._ops": "flambeau.stand_in.aten",
    "torch._subclasses": "flambeau.stand_in.subclasses",
    "torch._utils": "flambeau.stand_in.utils_internals",
    "torch._dynamo.utils": "flambeau.stand_in.dynamo_utils",
    "torch.distributed._composable": "flambeau.distributed",
    "torch.distributed._tensor": "flambeau.distributed.tensor",
    "torch.ao": "flambeau.stand_in.ao",
    "torch.ao.quantization": "flambeau.stand_in.quantization",
    "torch.quantization": "flambeau.stand_in.quantization",
    "torch.jit.annotations": "flambeau.stand_in.jit_annotations",
    "torch.onnx.symbolic_helper": "flambeau.stand_in.onnx_symbols",
    "torch.storage": "flambeau.tensor.storage",
    "torch.torch_version": "flambeau.stand_in.version",
    "torch.utils._pytree": "flambeau.utils.pytree",
    "torch._tensor": "flambeau.stand_in.tensor_internals",
    "torch._tensor_str": "flambeau.stand_in.tensor_str",
    "torch.autograd.profiler": "flambeau.profiler.legacy",
    "torch.autograd.profiler_util": "flambeau.profiler.events",
    "torch.cuda.random": "flambeau.cuda",
}


def is_torch(name: str) -> bool:
    """Whether `name` is ``torch`` or below it."""
    return name == "torch" or name.startswith("torch.")


def here(name: str) -> str:
    """The module of flambeau for a module of PyTorch."""
    if name.startswith("torch.onnx.symbolic_opset"):
        return "flambeau.stand_in.onnx_symbols"
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    above, dot, own = name.rpartition(".")
    return here(above) + dot + own if dot else "flambeau"


class Loader:
    """Gives an import the module of flambeau itself, unchanged."""

    def __init__(self, name: str, target: str) -> None:
        self.name = name
        self.target = target

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.target)
        self.kept = module.__spec__  # the import system is about to put its own there
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.kept
        # A module beside a function of the same name (autograd.gradcheck): an import would put it in the function's place.
        for target, below in list(sys.modules.items()):
            above, _, own = target.rpartition(".")
            if above == self.target and getattr(module, own, below) is not below:
                sys.modules[f"{self.name}.{own}"] = below

    def get_code(self, name: str) -> Any:
        """What ``python -m torch.distributed.run`` runs."""
        spec = importlib.util.find_spec(self.target)
        of = getattr(None if spec is None else spec.loader, "get_code", None)
        if of is None:
            raise ImportError(f"{self.name} cannot be run")
        return of(self.target)


def _exists(target: str) -> bool:
    if target in sys.modules:
        return True
    try:
        return importlib.util.find_spec(target) is not None
    except ModuleNotFoundError:
        return False


def _importing() -> bool:
    """Whether an import asked the finder, not a program that looks whether a module could be imported."""
    frame: Any = sys._getframe(2)
    for _ in range(2):  # _find_spec, then who called it
        if frame is not None:
            if frame.f_code.co_name == "_find_and_load_unlocked":
                return True
            frame = frame.f_back
    return False


class Finder:
    """What ``sys.meta_path`` holds while flambeau stands in for PyTorch."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not is_torch(name):
            return None
        module = here(name)
        if _exists(module):
            found = importlib.util.find_spec(module) if module not in sys.modules else None
            is_package = any(other.startswith(f"{name}.") for other in ELSEWHERE) or (
                hasattr(sys.modules[module], "__path__")
                if found is None
                else found.submodule_search_locations is not None
            )
            spec = ModuleSpec(name, Loader(name, module), origin="flambeau", is_package=is_package)  # type: ignore[arg-type]
            return spec
        if _importing():
            raise ModuleNotFoundError(
                f"No module named {name!r}: flambeau, which stands in for torch here, has none ({WHERE})",
                name=name,
            )
        return None

    def invalidate_caches(self) -> None:
        """Nothing is cached."""

    def find_distributions(self, context: Any = None) -> Iterable[importlib.metadata.Distribution]:
        """``importlib.metadata.version("torch")`` agrees with ``torch.__version__``."""
        name = getattr(context, "name", None)
        if name is None or re.sub(r"[-_.]+", "-", name).lower() == "torch":
            return [Torch()]
        return []


class Torch(importlib.metadata.Distribution):
    """The metadata of the distribution that is stood in for."""

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}\n"
        return None

    def locate_file(self, path: Any) -> Any:
        return path
