"""Calling a module with other parameters and buffers than its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ... import ops
from ...core.tensor import Tensor
from ..modules.batchnorm import _BatchNorm
from ..modules.module import Module

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]

_ABSENT = object()


class _Slot:
    """The place where a module keeps one tensor."""

    def __init__(self, owner: Module, name: str) -> None:
        self.name = name
        self.table: dict[str, Any] = owner.__dict__
        for table in (owner._parameters, owner._buffers):
            if name in table:
                self.table = table

    def get(self) -> Any:
        return self.table.get(self.name, _ABSENT)

    def put(self, value: Any) -> None:
        if value is _ABSENT:
            self.table.pop(self.name, None)
        else:
            self.table[self.name] = value


def _named_tensors(module: Module) -> dict[str, Tensor]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _with_tied(own: dict[str, Tensor], given: dict[str, Any]) -> dict[str, Any]:
    """`given`, with each value also under the other names of the same tensor.

    Raises: ValueError when names of one tensor are given different values.
    """
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(id(tensor), []).append(name)
    result = dict(given)
    for names in groups.values():
        values = [given[n] for n in names if n in given]
        if not values or len(names) == 1:
            continue
        if any(v is not values[0] for v in values):
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(names)}, which are tied. "
                "Consider using tie_weights=False"
            )
        result.update(dict.fromkeys(names, values[0]))
    return result


@contextmanager
def _reparametrize_module(
    module: Module, parameters_and_buffers: dict[str, Any], tie_weights: bool = False, strict: bool = False
) -> Iterator[None]:
    """`functional_call`'s context, under the name by which libraries use it (without a call, for several calls)."""
    given = parameters_and_buffers
    own = _named_tensors(module) if tie_weights or strict else {}  # endless for modules that hold each other
    values = _with_tied(own, given) if tie_weights else dict(given)
    if strict:
        unexpected = [n for n in values if n not in own]
        missing = [n for n in own if n not in values]
        messages = [f"Unexpected key(s): {', '.join(map(repr, unexpected))}."] if unexpected else []
        messages += [f"Missing key(s): {', '.join(map(repr, missing))}."] if missing else []
        if messages:
            lines = "\n\t".join(messages)
            raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t{lines}")
    slots = {}
    for name, value in values.items():
        if not isinstance(value, Tensor) and value is not None:
            raise TypeError(f"{value} is not an instance of torch.Tensor, but was given for {name!r}")
        path, _, last = name.rpartition(".")
        slots[name] = _Slot(module.get_submodule(path), last)
    before = {name: slot.get() for name, slot in slots.items()}
    try:
        for name, slot in slots.items():
            slot.put(values[name])
        yield
    finally:
        for name, slot in slots.items():
            now = slot.get()
            if name in given and now is not values[name]:
                given[name] = now  # the module assigned a new tensor, as a buffer update may
            slot.put(before[name])


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Any] | Sequence[dict[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call `module` with the given tensors in place of its own of the same names, which are untouched.

    Takes one dict of qualified names or several with different keys; tensors not named stay the module's own.
    A value for one name of a shared tensor is used for all its names, unless ``tie_weights=False``. `strict`
    demands all names and no others.

    Raises: RuntimeError for names that do not fit, if strict; ValueError for repeated keys and conflicting
    values; TypeError for values that are not tensors; AttributeError for paths that lead to no submodule.

    >>> import flambeau as torch
    >>> from flambeau.nn.utils.stateless import functional_call
    >>> m = torch.nn.Linear(1, 1)
    >>> functional_call(m, {"weight": torch.tensor([[3.0]]), "bias": torch.zeros(1)}, torch.ones(1))
    tensor([3.])
    """
    if isinstance(parameter_and_buffer_dicts, dict):
        given = parameter_and_buffer_dicts
    elif isinstance(parameter_and_buffer_dicts, (list, tuple)):
        if not all(isinstance(d, dict) for d in parameter_and_buffer_dicts):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        keys = [key for d in parameter_and_buffer_dicts for key in d]
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise ValueError(
                f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous"
            )
        given = {key: value for d in parameter_and_buffer_dicts for key, value in d.items()}
    else:
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, "
            f"but got {type(parameter_and_buffer_dicts)}"
        )
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _reparametrize_module(module, given, tie_weights, strict):
        return module(*args, **(kwargs or {}))


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Have all batch norms of `root` normalise with the batch's statistics only, in place; returns `root`.

    Running statistics are written in place, which a transform over the module's parameters cannot do.

    >>> import flambeau as torch
    >>> net = torch.func.replace_all_batch_norm_modules_(torch.nn.Sequential(torch.nn.BatchNorm1d(3)))
    >>> net[0].running_mean is None, net[0].track_running_stats
    (True, False)
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return root


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of several models of one architecture, stacked along a new first dim.

    The stacked parameters are leaves. With `functional_call` under `vmap` this runs an ensemble at once.

    Raises: RuntimeError for no models, models of different classes or in different modes.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(tables: list[dict[str, Any]]) -> dict[str, Any]:
        result = {}
        for name, first in tables[0].items():
            parts = [table[name] for table in tables]
            if len({p.requires_grad for p in parts}) > 1:
                raise RuntimeError(
                    f"Expected {name} from each model to have the same .requires_grad. Got different values."
                )
            t = ops.stack(parts).detach()
            result[name] = t.requires_grad_(first.requires_grad)
        return result

    return (
        stacked([dict(m.named_parameters()) for m in models]),
        stacked([dict(m.named_buffers()) for m in models]),
    )
