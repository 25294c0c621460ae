"""Module: the base of everything in `nn`.

A module holds parameters, buffers and submodules, found by attribute assignment, and a `forward` that is run
by calling it.  Saving and loading is in `module_state`, hooks are in `module_hooks`.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any, TypeVar

from ... import ops
from ...autograd.grad_mode import no_grad
from ...core.meta import COPY_OUT
from ...core.tape import RemovableHandle
from ...core.tensor import Tensor
from ...ops.args import as_dtype
from ...runtime.dtypes import dtype
from ...runtime.types import device, memory_format
from ..parameter import CONVERSIONS, Buffer, Parameter, is_lazy
from . import module_hooks, module_state
from .module_hooks import (
    HookMethods,
    _any_global,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from .module_state import _EXTRA_STATE_KEY_SUFFIX, StateMethods, _IncompatibleKeys

__all__ = [
    "_EXTRA_STATE_KEY_SUFFIX",
    "Module",
    "RemovableHandle",
    "_IncompatibleKeys",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

M = TypeVar("M", bound="Module")


def _indented(text: str, spaces: int) -> str:
    """`text` with every line but the first moved right."""
    return text.replace("\n", "\n" + " " * spaces)


def typename(x: Any) -> str:
    """The name that messages use for the type of `x` (for tensors PyTorch's legacy type, as
    torch.FloatTensor).
    """
    if isinstance(x, Tensor):
        return str(x.type())
    cls = type(x)
    module = cls.__module__
    return (
        cls.__qualname__
        if module == "builtins"
        else f"{module}.{cls.__qualname__}".replace("flambeau.", "torch.", 1)
    )


def _check_name(kind: str, name: Any, shown: str = "") -> None:
    if not isinstance(name, str):
        raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
    if "." in name:
        raise KeyError(f'{kind} name can\'t contain "."{shown}')
    if name == "":
        raise KeyError(f'{kind} name can\'t be empty string ""')


def _no_forward(self: Module, *args: Any, **kwargs: Any) -> Any:
    """Override this: what the module computes.

    Raises: NotImplementedError when a subclass does not define it.
    """
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


def _is_number_like(t: Tensor) -> bool:
    return bool(t.is_floating_point() or t.is_complex())


def _is_operation(fn: FunctionType) -> bool:
    """Whether `fn` is a function of ``torch`` or ``torch.nn.functional``."""
    home = fn.__module__ or ""
    return home in ("flambeau", "flambeau.nn.functional") or home.startswith("flambeau.ops.")


class Module(HookMethods, StateMethods):
    """Base class of all neural network modules.

    Subclasses call ``super().__init__()``, assign parameters, buffers and submodules as attributes, and
    define `forward`. Calling the module runs forward with the registered hooks.

    >>> import flambeau as torch
    >>> class Scale(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = torch.nn.Parameter(torch.tensor(2.0))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(torch.ones(2)).tolist()
    [2.0, 2.0]
    """

    dump_patches: bool = False
    call_super_init: bool = False
    training: bool
    _compiled_call_impl: Callable[..., Any] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Functions of the library that are attributes of a class do not become methods: PyTorch's are built in."""
        super().__init_subclass__(**options)
        for name, value in list(vars(cls).items()):
            if isinstance(value, FunctionType) and _is_operation(value):
                setattr(cls, name, staticmethod(value))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                name = next(iter(kwargs))
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument '{name}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were "
                    "given"
                )
        # written to __dict__ at once: __setattr__ would look for these very tables
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _backward_pre_hooks=OrderedDict(),
            _backward_hooks=OrderedDict(),
            _is_full_backward_hook=None,
            _forward_hooks=OrderedDict(),
            _forward_hooks_with_kwargs=OrderedDict(),
            _forward_hooks_always_called=OrderedDict(),
            _forward_pre_hooks=OrderedDict(),
            _forward_pre_hooks_with_kwargs=OrderedDict(),
            _state_dict_hooks=OrderedDict(),
            _state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_pre_hooks=OrderedDict(),
            _load_state_dict_post_hooks=OrderedDict(),
            _modules={},
        )
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    forward: Callable[..., Any] = _no_forward

    # ----------------------------------------------------------------------------------------------- the call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        d = self.__dict__
        try:
            special = (
                d["_forward_hooks"]
                or d["_forward_pre_hooks"]
                or d["_backward_hooks"]
                or d["_backward_pre_hooks"]
                or _any_global
                or self._compiled_call_impl
            )
        except KeyError:
            name = type(self).__name__
            raise AttributeError(
                f"'{name}' object has no attribute '_forward_hooks': its __init__ did not call "
                "super().__init__()"
            ) from None
        if not special:
            return self.forward(*args, **kwargs)
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        return self._call_with_hooks(args, kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """The call without the compiled form: what `compile` compiles."""
        return self._call_with_hooks(args, kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Make calls of this module run compiled; takes the arguments of ``flambeau.compile``."""
        import importlib

        compile_fn = importlib.import_module(__name__.partition(".")[0]).compile
        self._compiled_call_impl = compile_fn(self._call_impl, *args, **kwargs)

    # ------------------------------------------------------------------------------------------- registration

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state without being a parameter.

        Buffers move with `to` and, when `persistent`, are part of `state_dict`.

        Raises: KeyError for a bad or taken name; TypeError when it is not a tensor.

        >>> import flambeau as torch
        >>> m = torch.nn.Module()
        >>> m.register_buffer("mean", torch.zeros(2))
        >>> m.mean.tolist()
        [0.0, 0.0]
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        _check_name("buffer", name)
        if hasattr(self, name) and name not in self._buffers:
            raise KeyError(f"attribute '{name}' already exists")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None "
                "required)"
            )
        for hook in module_hooks._global_buffer_registration_hooks.values():
            new = hook(self, name, tensor)
            if new is not None:
                tensor = new
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, or a name that may become one (None).

        Raises: KeyError for a bad or taken name; TypeError when it is not a Parameter; ValueError for a
        non-leaf.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        _check_name("parameter", name)
        if hasattr(self, name) and name not in self._parameters:
            raise KeyError(f"attribute '{name}' already exists")
        if param is None:
            self._parameters[name] = None
            return
        if not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                "explicitly. "
                f"To express '{name}' as a function of another Tensor, compute the value in the forward() "
                "method."
            )
        for hook in module_hooks._global_parameter_registration_hooks.values():
            new = hook(self, name, param)
            if new is not None:
                param = new
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under a name.

        Raises: KeyError for a bad or taken name; TypeError when it is not a Module.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        _check_name("module", name, f", got: {name}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        for hook in module_hooks._global_module_registration_hooks.values():
            new = hook(self, name, module)
            if new is not None:
                module = new
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    # --------------------------------------------------------------------------------------- attribute access

    def __getattr__(self, name: str) -> Any:
        # called only when the ordinary look-up has failed; nearly always for a parameter, so that comes first
        d = self.__dict__
        try:
            return d["_parameters"][name]
        except KeyError:
            for table in ("_buffers", "_modules"):
                if table in d and name in d[table]:
                    return d[table][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        d = self.__dict__
        params = d.get("_parameters")
        if isinstance(value, Parameter):
            if params is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
            return
        if isinstance(value, Module):
            if params is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            if name in params:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None "
                    "expected)"
                )
            self._forget(name, "_buffers")
            for hook in module_hooks._global_module_registration_hooks.values():
                new = hook(self, name, value)
                if new is not None:
                    value = new
            d["_modules"][name] = value
            return
        if params is None:
            if isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            object.__setattr__(self, name, value)
        elif name in params:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None "
                    "expected)"
                )
            self.register_parameter(name, None)
        elif name in d["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None "
                    "expected)"
                )
            d["_modules"][name] = None
        elif isinstance(value, Buffer) or name in d["_buffers"]:
            self._set_buffer(name, value)
        else:
            object.__setattr__(self, name, value)

    def _set_buffer(self, name: str, value: Any) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"cannot assign '{typename(value)}' as buffer '{name}' "
                "(torch.nn.Buffer, torch.Tensor or None expected)"
            )
        if isinstance(value, Buffer):
            persistent = value.persistent
        else:
            persistent = name not in self._non_persistent_buffers_set
        if name not in self._buffers:
            self.__dict__.pop(name, None)
        self.register_buffer(name, value, persistent)

    def _forget(self, name: str, *tables: str) -> None:
        """Take `name` out of __dict__ and the given tables, as something of another kind takes its place."""
        d = self.__dict__
        d.pop(name, None)
        for table in tables:
            d[table].pop(name, None)
        d["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(n for n in names if not n[:1].isdigit())

    def __setstate__(self, state: dict[str, Any]) -> None:
        # tables that a module saved by an older version does not have
        for name in (
            "_forward_pre_hooks",
            "_forward_hooks",
            "_forward_hooks_with_kwargs",
            "_forward_hooks_always_called",
            "_forward_pre_hooks_with_kwargs",
            "_backward_pre_hooks",
            "_backward_hooks",
            "_state_dict_hooks",
            "_state_dict_pre_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ):
            self.__dict__[name] = OrderedDict()
        self.__dict__["_non_persistent_buffers_set"] = set()
        self.__dict__["_is_full_backward_hook"] = None
        self.__dict__.update(state)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    # ---------------------------------------------------------------------------------------- finding by path

    def get_submodule(self, target: str) -> Module:
        """The submodule at a dotted path ("" is this module).

        Raises: AttributeError when the path does not lead to a module.

        >>> import flambeau as torch
        >>> torch.nn.Sequential(torch.nn.ReLU()).get_submodule("0")
        ReLU()
        """
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` at a dotted path whose parent exists; with `strict` a module must be there already.

        Raises: ValueError for an empty path or a value that is not a module; AttributeError for a bad path.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if hasattr(parent, name):
            if not isinstance(getattr(parent, name), Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        elif strict:
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path.

        Raises: AttributeError when the path does not lead to a parameter.
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        param = getattr(module, name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path.

        Raises: AttributeError when the path does not lead to a buffer.
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(module, name)  # type: ignore[no-any-return]

    # ---------------------------------------------------------------------------------------------- traversal

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Iterable[tuple[str, Any]]],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else ((prefix, self),)
        )
        for path, module in modules:
            for name, member in get_members_fn(module):
                if member is None:
                    continue
                if remove_duplicate:
                    if id(member) in seen:
                        continue
                    seen.add(id(member))
                yield (f"{path}.{name}" if path else name), member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; with ``recurse=False`` only this module's own."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(qualified name, parameter) pairs, in the order of registration.

        >>> import flambeau as torch
        >>> [name for name, _ in torch.nn.Sequential(torch.nn.Linear(1, 1)).named_parameters()]
        ['0.weight', '0.bias']
        """
        yield from self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once; with ``recurse=False`` only this module's own."""
        for _, buf in self.named_buffers(recurse=recurse):
            yield buf

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(qualified name, buffer) pairs, in the order of registration."""
        yield from self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) pairs of the direct submodules, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once, or each time it is met with ``remove_duplicate=False``."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(qualified name, module) pairs of this module and all below it, parents first."""
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call ``fn`` on every module below this one and then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # --------------------------------------------------------------------------------------- dtype and device

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        """Replace the values of parameters, gradients and buffers by ``fn`` of them; parameters stay the same
        objects.
        """
        if recurse:
            for module in self.children():
                module._apply(fn)
        param: Any
        overwrite = CONVERSIONS["overwrite"]
        for name, param in self._parameters.items():
            if param is None:
                continue
            if is_lazy(param):
                param._convert(fn)
                continue
            with no_grad():
                new = fn(param)
            grad = param.grad
            if overwrite:
                fresh: Any = Parameter(new, param.requires_grad)
                self._parameters[name] = fresh
                with no_grad():
                    fresh.grad = None if grad is None else fn(grad).requires_grad_(grad.requires_grad)
                continue
            new_grad = None
            if grad is not None:
                with no_grad():
                    new_grad = fn(grad).requires_grad_(grad.requires_grad)
                param.grad = None  # its dtype may differ for a moment
            param.data = new
            if new_grad is not None:
                param.grad = new_grad
        buf: Any
        for name, buf in self._buffers.items():
            if is_lazy(buf):
                buf._convert(fn)
            elif buf is not None:
                self._buffers[name] = fn(buf)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move and convert parameters and buffers, in place.

        ``to(device=None, dtype=None, non_blocking=False, *, memory_format)``, ``to(dtype)`` or
        ``to(tensor)``. Only floating and complex tensors change dtype.

        Raises: TypeError for dtypes that are neither floating nor complex.

        >>> import flambeau as torch
        >>> torch.nn.Linear(1, 1).to(torch.float64).weight.dtype
        torch.float64
        """
        where, kind, non_blocking, fmt = _parse_to(*args, **kwargs)
        if kind is not None:
            if not (kind.is_floating_point or kind.is_complex):
                raise TypeError(
                    "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                    f"dtype={kind}"
                )
            if kind.is_complex:
                warnings.warn(
                    "Complex modules are a new feature under active development whose design may change, "
                    "and some "
                    "modules might not work as expected when using complex tensors as parameters or buffers.",
                    stacklevel=2,
                )

        def convert(t: Tensor) -> Tensor:
            if t.is_meta and where is not None and where.type != "meta":
                raise NotImplementedError(
                    f"{COPY_OUT} Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving module "
                    "from meta to a different device."
                )
            target = kind if _is_number_like(t) else None
            if fmt is not None and t.dim() in (4, 5):
                return t.to(where, target, non_blocking, memory_format=fmt)  # type: ignore[no-any-return]
            return t.to(where, target, non_blocking)  # type: ignore[no-any-return]

        return self._apply(convert)

    def cpu(self: M) -> M:
        """Move to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self: M, device: Any = None) -> M:
        """Move to a GPU.

        Raises: AssertionError where there is none.
        """
        return self._apply(lambda t: t.cuda(device))

    def type(self: M, dst_type: Any) -> M:
        """Convert all parameters and buffers."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: M) -> M:
        """Convert floating point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self: M) -> M:
        """Convert floating point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self: M) -> M:
        """Convert floating point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self: M) -> M:
        """Convert floating point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Move to a device without copying values."""
        return self._apply(lambda t: ops.empty_like(t, device=device), recurse=recurse)

    def share_memory(self: M) -> M:
        """Put parameters and buffers where other processes can reach them."""
        for t in (*self.parameters(), *self.buffers()):
            t.share_memory_()
            if t.is_leaf and t.grad is not None:
                t.grad.share_memory_()
        return self

    # ------------------------------------------------------------------------------------ modes and gradients

    def train(self: M, mode: bool = True) -> M:
        """Set training mode here and below; it concerns dropout, batch norm and the like.

        Raises: ValueError when mode is not a bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Set evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Switch the recording of gradients for all parameters."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters to None, or to zeros with ``set_to_none=False``."""
        p: Any
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                if p.grad.grad_fn is not None:
                    p.grad.detach_()
                else:
                    p.grad.requires_grad_(False)
                p.grad.zero_()

    # ----------------------------------------------------------------------------------------------- printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands between the parentheses of the module's line; override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [f"({name}): {_indented(repr(m), 2)}" for name, m in self._modules.items()]
        lines = extra_lines + child_lines
        name = self._get_name()
        if not lines:
            return f"{name}()"
        if len(extra_lines) == 1 and not child_lines:
            return f"{name}({extra_lines[0]})"
        body = "\n  ".join(lines)
        return f"{name}(\n  {body}\n)"


# `typing.get_type_hints` of a user's module evaluates the annotations of its bases where these are defined.
setattr(module_state, "Module", Module)


def _of_python(kind: Any) -> Any:
    """The dtype that Python's float, int, bool or complex stands for; other things as they are."""
    return as_dtype(kind) if isinstance(kind, type) and kind in (float, int, bool, complex) else kind


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, dtype | None, bool, memory_format | None]:
    """(device, dtype, non_blocking, memory_format) from the arguments of `Module.to`."""
    allowed = ("device", "dtype", "tensor", "non_blocking", "copy", "memory_format")
    for key in kwargs:
        if key not in allowed:
            raise TypeError(
                f"to() received an invalid keyword argument '{key}': expected one of {', '.join(allowed)}"
            )
    where = kwargs.get("device")
    kind = _of_python(kwargs.get("dtype"))
    like = kwargs.get("tensor")
    rest = [_of_python(a) for a in args]
    if rest and isinstance(rest[0], Tensor):
        like = rest.pop(0)
    elif rest and isinstance(rest[0], dtype):
        kind = rest.pop(0)
    elif rest:
        where = rest.pop(0)
        if rest and (rest[0] is None or isinstance(rest[0], dtype)):
            kind = rest.pop(0)
    if where is not None and not isinstance(where, (str, device, int)) or isinstance(where, bool):
        raise TypeError(f"to() expected a device, a dtype or a tensor, but got {typename(where)} ({where!r})")
    if kind is not None and not isinstance(kind, dtype):
        raise TypeError(f"to(): argument 'dtype' must be torch.dtype, not {typename(kind)}")
    if like is not None:
        where, kind = like.device, like.dtype
    non_blocking = bool(rest[0]) if rest else bool(kwargs.get("non_blocking", False))
    if where is not None:
        where = device(where)
    return where, kind, non_blocking, kwargs.get("memory_format")
