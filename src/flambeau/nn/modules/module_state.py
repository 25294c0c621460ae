"""state_dict and load_state_dict of modules."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...autograd.grad_mode import no_grad
from ...core.tape import RemovableHandle
from ...core.tensor import Tensor
from ..parameter import Parameter, is_lazy
from .module_hooks import HookHandle

if TYPE_CHECKING:
    from .module import Module

_EXTRA_STATE_KEY_SUFFIX = "_extra_state"


class _IncompatibleKeys(NamedTuple):
    """What load_state_dict found to differ; empty lists when everything fitted."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys!r}, unexpected_keys={self.unexpected_keys!r})"
        )


class _WithModule:
    """A hook that is given its module first, and does not keep it alive; survives copying with the module."""

    def __init__(self, hook: Callable[..., Any], module: Any) -> None:
        self.hook = hook
        functools.update_wrapper(self, hook)
        self.module: weakref.ref[Any] | None = weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self.module() if self.module is not None else None
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {"hook": self.hook, "module": self.module() if self.module is not None else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.hook = state["hook"]
        module = state["module"]
        self.module = weakref.ref(module) if module is not None else None


class _Backup:
    """The state of a module tree before loading, to go back to when loading fails."""

    def __init__(self, module: Module) -> None:
        self.tables = [(m, dict(m._parameters), dict(m._buffers)) for m in module.modules()]
        tensors = {
            id(t): t for _, p, b in self.tables for t in (*p.values(), *b.values()) if isinstance(t, Tensor)
        }
        with no_grad():
            self.values = [(t, t._version, t.detach().clone()) for t in tensors.values() if not is_lazy(t)]

    def restore(self) -> None:
        for m, parameters, buffers in self.tables:
            for table, old in ((m._parameters, parameters), (m._buffers, buffers)):
                table.clear()
                table.update(old)  # type: ignore[arg-type]
        with no_grad():
            for t, version, value in self.values:
                if t._version != version:
                    t.copy_(value)


class StateMethods:
    """The part of Module that saves and loads its state."""

    _version: int = 1
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _state_dict_hooks: dict[int, Callable[..., Any]]
    _state_dict_pre_hooks: dict[int, Callable[..., Any]]
    _load_state_dict_pre_hooks: dict[int, Callable[..., Any]]
    _load_state_dict_post_hooks: dict[int, Callable[..., Any]]

    def get_extra_state(self) -> Any:
        """Anything picklable to store beside the tensors; override together with `set_extra_state`."""
        raise RuntimeError(
            f"{type(self).__name__} does not define get_extra_state(): it is called only for classes that "
            "override it"
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise RuntimeError(
            f"{type(self).__name__} does not define set_extra_state(): it is called only for classes that "
            "override it"
        )

    # ------------------------------------------------------------------------------------------------- saving

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """A post-hook that may return another dict.

        Raises: RuntimeError for a hook that was registered through `register_state_dict_post_hook`.
        """
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return HookHandle(self._state_dict_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after this module's state was gathered.

        The hook may change state_dict in place and returns None.
        """
        hook._from_public_api = True  # type: ignore[attr-defined]
        return HookHandle(self._state_dict_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before this module's state is gathered."""
        return HookHandle(self._state_dict_pre_hooks, hook)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Put this module's own tensors (not its children's) into `destination`."""
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buf in self._buffers.items():
            if buf is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buf if keep_vars else buf.detach()
        if getattr(type(self), "get_extra_state", None) is not StateMethods.get_extra_state:
            destination[prefix + _EXTRA_STATE_KEY_SUFFIX] = self.get_extra_state()

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """An ordered dict of all parameters and persistent buffers by qualified name.

        The tensors are detached but share memory with the module; with `keep_vars` they are the module's own.
        Its ``_metadata`` attribute holds each module's version.

        >>> import flambeau as torch
        >>> list(torch.nn.Linear(2, 3).state_dict())
        ['weight', 'bias']
        """
        if args:
            # the old positional order
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            result = hook(self, destination, prefix, local_metadata)
            if getattr(hook, "_from_public_api", False):
                if result is not None:
                    raise RuntimeError("state_dict post-hook must return None")
            elif result is not None:
                destination = result
        return destination

    # ------------------------------------------------------------------------------------------------ loading

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        return HookHandle(self._load_state_dict_pre_hooks, _WithModule(hook, self) if with_module else hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call hook before this module's own tensors are loaded.

        The call is ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)``; the hook may change the dict and the lists.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after this module and its children were loaded.

        The hook may change the two lists in place and returns None.
        """
        return HookHandle(self._load_state_dict_post_hooks, hook)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module's own tensors (not its children's), noting what does not fit."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)

        assign = local_metadata.get("assign_to_params_buffers", False)
        local_state = dict(self._local_state())
        for name, target in local_state.items():
            key = prefix + name
            if key in state_dict:
                self._load_one(name, key, target, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)

        extra_key = prefix + _EXTRA_STATE_KEY_SUFFIX
        if getattr(type(self), "set_extra_state", None) is not StateMethods.set_extra_state:
            if extra_key in state_dict:
                self.set_extra_state(state_dict[extra_key])
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)

        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra_key:
                    first, dot, _ = key[len(prefix) :].partition(".")
                    if first not in (self._modules if dot else local_state):
                        unexpected_keys.append(key)

    def _local_state(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and persistent buffers of this module that are not None."""
        for name, param in self._parameters.items():
            if param is not None:
                yield name, param
        for name, buf in self._buffers.items():
            if buf is not None and name not in self._non_persistent_buffers_set:
                yield name, buf

    def _load_one(
        self, name: str, key: str, target: Any, value: Any, assign: bool, error_msgs: list[str]
    ) -> None:
        if not isinstance(value, Tensor):
            error_msgs.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
                "from "
                f"checkpoint but received {type(value)}"
            )
            return
        if is_lazy(target) and is_lazy(value):
            return
        if target.shape == () and value.shape == (1,):
            value = value.reshape(())  # checkpoints from before PyTorch 0.4 have no 0-dim tensors
        if value.shape != target.shape:
            error_msgs.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                f"the shape in current model is {target.shape}."
            )
            return
        if not assign and target.is_meta and not value.is_meta:
            warnings.warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current "
                "model, which is a no-op. (Did you mean to pass `assign=True` to assign items in the state dictionary "
                "to their corresponding key in the module instead of copying them in place?)",
                stacklevel=2,
            )
        try:
            with no_grad():
                if not assign:
                    target.copy_(value)
                    return
                if isinstance(target, Parameter):
                    if isinstance(value, Parameter):
                        value.requires_grad_(target.requires_grad)
                    else:
                        value = Parameter(value, requires_grad=target.requires_grad)
                setattr(self, name, value)
        except Exception as e:
            error_msgs.append(
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{target.size()} and "
                f"whose dimensions in the checkpoint are {value.size()}, an exception occurred : {e.args}."
            )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy the tensors of `state_dict` into this module and its children.

        `strict` demands the same keys; `assign` puts the given tensors in place instead of copying their
        values. Returns ``(missing_keys, unexpected_keys)``. When an error is raised the module is as it was
        before.

        Raises: TypeError when state_dict is not a mapping; RuntimeError naming every key or shape that does
        not fit.

        >>> import flambeau as torch
        >>> a, b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        >>> b.load_state_dict(a.state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        module: Module = self  # type: ignore[assignment]
        backup = None if _fits(module, state_dict) else _Backup(module)
        try:
            return _load(module, state_dict, strict, assign)
        except BaseException:
            if backup is not None:
                backup.restore()
            raise


def _fits(module: Module, state_dict: Mapping[str, Any]) -> bool:
    """Whether loading cannot fail as far as keys and shapes tell, so that no backup is needed."""
    found = 0
    for prefix, m in module.named_modules(remove_duplicate=False):
        for name, t in m._local_state():
            value = state_dict.get(f"{prefix}.{name}" if prefix else name)
            if not isinstance(value, Tensor) or is_lazy(t) or is_lazy(value) or t.shape != value.shape:
                return False
            found += 1
    return found == len(state_dict)


def _load(root: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> _IncompatibleKeys:
    missing_keys: list[str] = []
    unexpected_keys: list[str] = []
    error_msgs: list[str] = []
    metadata = getattr(given, "_metadata", None)
    state_dict = OrderedDict(given)  # hooks may change it
    if metadata is not None:
        state_dict._metadata = metadata  # type: ignore[attr-defined]

    def load(module: Module, local_state_dict: Any, prefix: str) -> None:
        local_metadata = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
        if assign:
            local_metadata["assign_to_params_buffers"] = assign
        module._load_from_state_dict(
            local_state_dict, prefix, local_metadata, True, missing_keys, unexpected_keys, error_msgs
        )
        for name, child in module._modules.items():
            if child is not None:
                child_prefix = f"{prefix}{name}."
                child_dict = {k: v for k, v in local_state_dict.items() if k.startswith(child_prefix)}
                load(child, child_dict, child_prefix)
        incompatible = _IncompatibleKeys(missing_keys, unexpected_keys)
        for hook in module._load_state_dict_post_hooks.values():
            if hook(module, incompatible) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to "
                    "return new "
                    "values; change incompatible_keys in place"
                )

    load(root, state_dict, "")
    if strict:
        if missing_keys:
            keys = ", ".join(f'"{k}"' for k in missing_keys)
            error_msgs.insert(0, f"Missing key(s) in state_dict: {keys}. ")
        if unexpected_keys:
            keys = ", ".join(f'"{k}"' for k in unexpected_keys)
            error_msgs.insert(1 if missing_keys else 0, f"Unexpected key(s) in state_dict: {keys}. ")
    if error_msgs:
        lines = "\n\t".join(error_msgs)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(root).__name__}:\n\t{lines}")
    return _IncompatibleKeys(missing_keys, unexpected_keys)
