"""Hooks of modules: registration on one module or on all, and the call that runs them.

Order of a call: global forward pre-hooks, own forward pre-hooks, `forward`, global forward hooks, own forward
hooks. In backward: pre-hooks when the gradient of the output is known, hooks when that of the input is.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...autograd.function import Function
from ...autograd.grad_mode import is_grad_enabled
from ...core.tape import RemovableHandle
from ...core.tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

Hook = Callable[..., Any]
Hooks = OrderedDict  # id -> hook, in the order of calling


class HookHandle(RemovableHandle):
    """Takes a module hook away with ``remove()``, together with the flags set for it."""

    def __init__(
        self, hooks: dict[int, Any], hook: Any, *flags: dict[int, bool], prepend: bool = False
    ) -> None:
        super().__init__(hooks, hook)
        self._flags = flags
        for flag in flags:
            flag[self.id] = True
        if prepend:
            assert isinstance(hooks, OrderedDict)
            hooks.move_to_end(self.id, last=False)

    def remove(self) -> None:
        super().remove()
        for flag in self._flags:
            flag.pop(self.id, None)


class _GlobalHandle(HookHandle):
    """As HookHandle, and keeps `_any_global` true to the facts."""

    def __init__(self, hooks: dict[int, Any], hook: Any, *flags: dict[int, bool]) -> None:
        super().__init__(hooks, hook, *flags)
        _any_global[self.id] = True

    def remove(self) -> None:
        super().remove()
        _any_global.pop(self.id, None)


# Empty unless some global call hook is registered, so that a plain call asks one truth value for all of them.
_any_global: dict[int, bool] = {}

_global_forward_pre_hooks: dict[int, Hook] = OrderedDict()
_global_forward_hooks: dict[int, Hook] = OrderedDict()
_global_forward_hooks_always_called: dict[int, bool] = OrderedDict()
_global_forward_hooks_with_kwargs: dict[int, bool] = OrderedDict()
_global_backward_pre_hooks: dict[int, Hook] = OrderedDict()
_global_backward_hooks: dict[int, Hook] = OrderedDict()
_global_non_full_backward_hooks: dict[int, Hook] = OrderedDict()
_global_buffer_registration_hooks: dict[int, Hook] = OrderedDict()
_global_module_registration_hooks: dict[int, Hook] = OrderedDict()
_global_parameter_registration_hooks: dict[int, Hook] = OrderedDict()


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module; a returned value replaces args."""
    return _GlobalHandle(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module; a returned value replaces
    output.

    With `with_kwargs` the call is ``hook(module, args, kwargs, output)``; with `always_call` it is made even
    when forward raises.

    >>> import flambeau as torch
    >>> from flambeau.nn.modules.module import register_module_forward_hook
    >>> with register_module_forward_hook(lambda m, a, y: print(type(m).__name__)):
    ...     _ = torch.nn.Identity()(torch.ones(1))
    Identity
    """
    flags = [_global_forward_hooks_with_kwargs] if with_kwargs else []
    if always_call:
        flags.append(_global_forward_hooks_always_called)
    return _GlobalHandle(_global_forward_hooks, hook, *flags)


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """The old form of `register_module_full_backward_hook`; sees the last operation of a module only.

    Raises: RuntimeError while global full backward hooks are registered.
    """
    if _global_backward_hooks:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
            "Please use only one of them."
        )
    return _GlobalHandle(_global_non_full_backward_hooks, hook)


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` when the gradient of any module's output is known."""
    return _GlobalHandle(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradient of any module's input is known.

    Raises: RuntimeError while global hooks of the old form are registered.
    """
    if _global_non_full_backward_hooks:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
            "Please use only one of them."
        )
    return _GlobalHandle(_global_backward_hooks, hook)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` at each buffer registration; a returned value replaces it."""
    return HookHandle(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` at each submodule registration; a returned value replaces it."""
    return HookHandle(_global_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, param)`` at each parameter registration; a returned value replaces it."""
    return HookHandle(_global_parameter_registration_hooks, hook)


# --------------------------------------------------------------------------------------------- backward hooks


class BackwardHookFunction(Function):
    """The identity on several tensors, as one node of the graph that hooks can be hung on."""

    @staticmethod
    def forward(ctx: Any, *args: Tensor) -> Any:
        ctx.mark_non_differentiable(*[x for x in args if not x.requires_grad])
        return args

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


class BackwardHook:
    """Runs the full backward hooks of one call of a module.

    Inputs and outputs pass through identity nodes.  The output's node reports grad_output first, the input's
    node reports grad_input last; both see one entry per positional argument, None where it is not a tensor.
    """

    def __init__(self, module: Module, hooks: Sequence[Hook], pre_hooks: Sequence[Hook]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs: tuple[Any, ...] | None = None
        self.n_inputs = -1
        self.n_outputs = -1
        self.input_at: list[int] | None = None  # positions of the tensors among the inputs
        self.output_at: list[int] | None = None

    @staticmethod
    def _spread(at: Sequence[int], values: Sequence[Any], n: int) -> tuple[Any, ...]:
        out: list[Any] = [None] * n
        for i, v in zip(at, values, strict=True):
            out[i] = v
        return tuple(out)

    @staticmethod
    def _through_identity(args: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[int] | None, Any]:
        """(args with tensors replaced, their positions, the identity's node); (args, None, None) if not
        recorded.
        """
        at = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        if not (is_grad_enabled() and any(args[i].requires_grad for i in at)):
            return args, None, None
        new = _as_tuple(BackwardHookFunction.apply(*[args[i] for i in at]))
        node = next(t.grad_fn for t in new if t.grad_fn is not None)
        out = list(args)
        for i, t in zip(at, new, strict=True):
            out[i] = t
        return tuple(out), at, node

    def setup_input(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments to call forward with."""
        self.n_inputs = len(args)
        args, self.input_at, node = self._through_identity(args)
        if node is not None:
            node.register_hook(self._on_grad_input)
        return args

    def setup_output(self, result: Any) -> Any:
        """The result to give to the caller."""
        outputs, self.output_at, node = self._through_identity(_as_tuple(result))
        self.n_outputs = len(outputs)
        if node is not None:
            node.register_prehook(self._on_grad_output)
        if not isinstance(result, tuple):
            return outputs[0]
        named = hasattr(result, "_fields")  # a namedtuple
        return type(result)(*outputs) if named else outputs

    def _on_grad_input(self, grad_input: Sequence[Any], _: Any) -> Any:
        if self.grad_outputs is None:
            # a gradient reached the input without passing through the output, as activation checkpointing
            # does
            return None
        assert self.input_at is not None
        grads = self._spread(self.input_at, grad_input, self.n_inputs)
        for hook in self.hooks:
            new = hook(self.module, grads, self.grad_outputs)
            if new is None:
                continue
            new = _as_tuple(new)
            if len(new) != len(grads):
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, "
                    f"got {len(new)}, but expected {len(grads)}"
                )
            grads = new
        self.grad_outputs = None
        return tuple(grads[i] for i in self.input_at)

    def _on_grad_output(self, grad_output: Sequence[Any]) -> Any:
        assert self.output_at is not None
        grads = self._spread(self.output_at, grad_output, self.n_outputs)
        for pre_hook in self.pre_hooks:
            new = pre_hook(self.module, grads)
            if new is None:
                continue
            new = _as_tuple(new)
            if len(new) != len(grads):
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, "
                    f"got {len(new)}, but expected {len(grads)}"
                )
            grads = new
        self.grad_outputs = grads
        if self.input_at is None:
            self._without_inputs(grads)
        return tuple(grads[i] for i in self.output_at)

    def _without_inputs(self, grad_outputs: tuple[Any, ...]) -> None:
        """No input requires grad, so the hooks run now, with None for every grad_input."""
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs "
                "since no "
                "inputs require gradients.",
                stacklevel=6,
            )
        for hook in self.hooks:
            new = hook(self.module, (None,) * self.n_inputs, grad_outputs)
            if new is not None and not (isinstance(new, tuple) and all(g is None for g in new)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None "
                    "or None "
                    "for all gradients."
                )
        self.grad_outputs = None


# ---------------------------------------------------------------------------------------- hooks of one module


class HookMethods:
    """The part of Module that registers call hooks and runs them."""

    forward: Callable[..., Any]
    _forward_hooks: dict[int, Hook]
    _forward_hooks_with_kwargs: dict[int, bool]
    _forward_hooks_always_called: dict[int, bool]
    _forward_pre_hooks: dict[int, Hook]
    _forward_pre_hooks_with_kwargs: dict[int, bool]
    _backward_hooks: dict[int, Hook]
    _backward_pre_hooks: dict[int, Hook]
    _is_full_backward_hook: bool | None

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; a returned value (a tuple, or one value) replaces args.

        With `with_kwargs` the call is ``hook(module, args, kwargs)`` and returns ``(args, kwargs)`` or None.
        With `prepend` the hook goes before those already there.

        >>> import flambeau as torch
        >>> m = torch.nn.Identity()
        >>> handle = m.register_forward_pre_hook(lambda module, args: args[0] + 1)
        >>> m(torch.zeros(2))
        tensor([1., 1.])
        """
        flags = [self._forward_pre_hooks_with_kwargs] if with_kwargs else []
        return HookHandle(self._forward_pre_hooks, hook, *flags, prepend=prepend)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; a returned value replaces output.

        With `with_kwargs` the call is ``hook(module, args, kwargs, output)``. With `always_call` the hook
        runs even when forward raises.
        """
        flags = [self._forward_hooks_with_kwargs] if with_kwargs else []
        if always_call:
            flags.append(self._forward_hooks_always_called)
        return HookHandle(self._forward_hooks, hook, *flags, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when grad_output is known; a returned value replaces it."""
        return HookHandle(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when grad_input is known; a returned value replaces
        it.

        Both are tuples with one entry per positional argument or output, None where it is not a tensor.

        Raises: RuntimeError while hooks of the old form are registered here.

        >>> import flambeau as torch
        >>> m = torch.nn.Tanh()
        >>> handle = m.register_full_backward_hook(lambda module, gi, go: print(gi, go))
        >>> m(torch.zeros(1, requires_grad=True)).sum().backward()
        (tensor([1.]),) (tensor([1.]),)
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. "
                "Please use only one of them."
            )
        self._is_full_backward_hook = True
        return HookHandle(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The old form of `register_full_backward_hook`: sees the last operation of forward only.

        Raises: RuntimeError while full backward hooks are registered here.
        """
        if self._is_full_backward_hook is True:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. "
                "Please use only one of them."
            )
        self._is_full_backward_hook = False
        return HookHandle(self._backward_hooks, hook)

    def _get_backward_hooks(self) -> tuple[list[Hook], list[Hook]]:
        """(full hooks, old-form hooks) that apply to this module, global ones first."""
        own = list(self._backward_hooks.values())
        full = list(_global_backward_hooks.values())
        old = list(_global_non_full_backward_hooks.values())
        if self._is_full_backward_hook is True:
            full += own
        else:
            old += own
        return full, old

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        result: Any = None
        try:
            args, kwargs = self._run_forward_pre_hooks(args, kwargs)
            full, old = self._get_backward_hooks()
            pre = [*_global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]
            backward_hook = None
            if full or pre:
                backward_hook = BackwardHook(self, full, pre)  # type: ignore[arg-type]
                args = backward_hook.setup_input(args)
            result = self.forward(*args, **kwargs)
            for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
                if self._is_always_called(key):
                    called.add(key)
                new = self._run_forward_hook(key, hook, args, kwargs, result)
                if new is not None:
                    result = new
            if backward_hook is not None:
                if not isinstance(result, (Tensor, tuple)):
                    warnings.warn(
                        "For backward hooks to be called, module output should be a Tensor or a tuple of "
                        "Tensors "
                        f"but received {type(result)}",
                        stacklevel=3,
                    )
                result = backward_hook.setup_output(result)
            if old:
                self._attach_old_hooks(old, result)
            return result
        except Exception:
            for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
                if key not in called and self._is_always_called(key):
                    try:
                        self._run_forward_hook(key, hook, args, kwargs, result)
                    except Exception as e:
                        warnings.warn(
                            "module forward hook with ``always_call=True`` raised an exception that was "
                            "silenced as "
                            f"another error was raised in forward: {e}",
                            stacklevel=3,
                        )
            raise

    def _is_always_called(self, key: int) -> bool:
        return key in self._forward_hooks_always_called or key in _global_forward_hooks_always_called

    def _run_forward_hook(self, key: int, hook: Hook, args: Any, kwargs: dict[str, Any], result: Any) -> Any:
        if key in self._forward_hooks_with_kwargs or key in _global_forward_hooks_with_kwargs:
            return hook(self, args, kwargs, result)
        return hook(self, args, result)

    def _run_forward_pre_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for key, hook in (*_global_forward_pre_hooks.items(), *self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                new = hook(self, args, kwargs)
                if new is not None:
                    if not (isinstance(new, tuple) and len(new) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but "
                            f"got {new}."
                        )
                    args, kwargs = new
            else:
                new = hook(self, args)
                if new is not None:
                    args = _as_tuple(new)
        return args, kwargs

    def _attach_old_hooks(self, hooks: Sequence[Hook], result: Any) -> None:
        var = result
        while not isinstance(var, Tensor):
            var = next(v for v in var.values() if isinstance(v, Tensor)) if isinstance(var, dict) else var[0]
        node = var.grad_fn
        if node is None:
            return
        for hook in hooks:
            node.register_hook(lambda grad_in, grad_out, hook=hook: hook(self, grad_in, grad_out))
