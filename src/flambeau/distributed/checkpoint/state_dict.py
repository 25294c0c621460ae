"""State dicts of modules that may be divided among processes: in a world of one process, of whole modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...runtime.absent import names_of

if TYPE_CHECKING:
    from ...nn.modules.module import Module

__all__ = ["StateDictOptions", "get_model_state_dict", "set_model_state_dict"]

__getattr__ = names_of(__name__)


@dataclass
class StateDictOptions:
    """What the functions here are to do; only `ignore_frozen_params`, `keep_submodule_prefixes` and `strict` matter in a
    world of one process."""

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    keep_submodule_prefixes: bool = True
    strict: bool = True
    broadcast_from_rank0: bool = False
    flatten_optimizer_state_dict: bool = False
    dsd_fqn_modifiers: str = "_fqn_modifiers"


def get_model_state_dict(
    model: Module, *, submodules: Any = None, options: StateDictOptions | None = None
) -> dict[str, Any]:
    """The state of a module by qualified names.

    >>> import flambeau as torch
    >>> from flambeau.distributed.checkpoint.state_dict import get_model_state_dict
    >>> list(get_model_state_dict(torch.nn.Linear(1, 1)))
    ['weight', 'bias']
    """
    if submodules is not None:
        raise NotImplementedError(
            "get_model_state_dict: take the state of each submodule instead of submodules="
        )
    frozen: set[str] = set()
    if options is not None and options.ignore_frozen_params:
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {k: v for k, v in model.state_dict().items() if k not in frozen}


def set_model_state_dict(
    model: Module, model_state_dict: Mapping[str, Any], *, options: StateDictOptions | None = None
) -> Any:
    """Load the state of a module; parameters on the meta device get the given tensors themselves.

    Raises: RuntimeError naming every key or shape that does not fit.  Returns (missing keys, unexpected keys).
    """
    strict = options is None or options.strict
    assign = any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    return model.load_state_dict(model_state_dict, strict=strict, assign=assign)
