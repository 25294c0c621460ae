"""Making a graph of a program by running it on values that write down what is done with them."""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import inspect
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from ..core.tensor import Tensor
from ..nn import Module, Parameter, Sequential
from ..stand_in.checks import _assert
from ..utils import pytree
from . import proxy as proxies
from ._compatibility import compatibility
from .codegen import _PyTreeCodeGen, _PyTreeInfo
from .graph import Graph
from .graph_module import GraphModule
from .node import Node, base_types
from .proxy import ParameterProxy, Proxy, Scope, ScopeContextManager, TracerBase
from .wrapping import (
    Patcher,
    _wrapped_fns_to_patch,
    _wrapped_methods_to_patch,
    find_proxy,
    wrap,
)

__all__ = [
    "PH",
    "PHBase",
    "PHWithMeta",
    "ProxyableClassMeta",
    "Tracer",
    "_wrapped_fns_to_patch",
    "_wrapped_methods_to_patch",
    "compatibility",
    "functools",
    "is_fx_symbolic_tracing",
    "is_fx_tracing",
    "symbolic_trace",
    "wrap",
]

_proxyable: dict[type, None] = {}


def is_fx_tracing() -> bool:
    """Whether a program is being traced."""
    return bool(proxies._tracing)


is_fx_symbolic_tracing = is_fx_tracing


class ProxyableClassMeta(type):
    """The metaclass of classes whose construction from traced values is one node."""

    def __init__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> None:
        _proxyable.setdefault(cls)
        super().__init__(name, bases, attrs)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        found = find_proxy(args, kwargs) if is_fx_tracing() else None
        if found is not None:
            return found.tracer.create_proxy("call_function", cls, args, kwargs)
        return super().__call__(*args, **kwargs)


class PHBase:
    """A place in `concrete_args` that stays a parameter."""

    def __repr__(self) -> str:
        return "PH"


PH = PHBase()


class PHWithMeta(PHBase):
    """A place in `concrete_args` that stays a parameter, and what its node gets: a name, and attributes."""

    def __init__(self, ph_key: str | None = None) -> None:
        self.ph_key = ph_key


class Tracer(TracerBase):
    """Traces modules and functions: override `is_leaf_module` to say which modules become one node each.

    Functions of `autowrap_modules`, and `autowrap_functions`, become nodes without `wrap`. With `param_shapes_constant`
    sizes of parameters are numbers.

    >>> import flambeau as torch
    >>> class All(torch.fx.Tracer):
    ...     def is_leaf_module(self, m, module_qualified_name):
    ...         return False
    >>> [n.op for n in All().trace(torch.nn.Sequential(torch.nn.ReLU())).nodes]
    ['placeholder', 'call_function', 'output']
    """

    def __init__(
        self,
        autowrap_modules: tuple[ModuleType, ...] = (math,),
        autowrap_functions: tuple[Callable[..., Any], ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        super().__init__()
        values = itertools.chain.from_iterable(vars(m).items() for m in autowrap_modules)
        self._autowrap_function_ids = {id(v) for n, v in values if not n.startswith("_") and callable(v)}
        self._autowrap_function_ids.update(id(f) for f in autowrap_functions)
        self._autowrap_search: list[ModuleType] = list(autowrap_modules)
        self.param_shapes_constant = param_shapes_constant
        self.submodule_paths: dict[Module, str] | None = None
        self.root_module_name = ""
        self.scope = Scope("", None)
        self.module_stack = collections.OrderedDict()
        self.num_calls: dict[str, int] = {}
        self.node_name_to_scope = {}
        self.root: Any = None
        self.tensor_attrs: dict[Any, str] = {}

    # ------------------------------------------------------------------------------------------- what one may override

    def create_arg(self, a: Any) -> Any:
        """What a node has for an argument: parameters and buffers by name, other tensors as new buffers of the root.

        Raises: NameError for a parameter that is not the root's.
        """
        if isinstance(a, Parameter):
            for name, p in self.root.named_parameters():
                if a is p:
                    return self.create_node("get_attr", name, (), {})
            raise NameError("parameter is not a member of this module")
        if isinstance(a, Tensor):
            for name, b in self.root.named_buffers():
                if a is b:
                    return self.create_node("get_attr", name, (), {})
        elif isinstance(a, Module):
            for name, m in self.root.named_modules():
                if a is m:
                    return self.create_node("get_attr", name, (), {})
        if isinstance(a, tuple) and hasattr(a, "_fields") and not isinstance(a, pytree.TreeSpec):
            return self.create_node("call_function", type(a), tuple(self.create_arg(x) for x in a), {})
        if isinstance(a, (Tensor, pytree.TreeSpec)):
            return self._constant(a, "_tensor_constant" if isinstance(a, Tensor) else "_tree_spec_constant")
        if type(a) in _proxyable:
            name = self.get_fresh_qualname(f"_{type(a).__name__}_constant_")
            setattr(self.root, name, a)
            return self.create_node("get_attr", name, (), {})
        return super().create_arg(a)

    def _constant(self, a: Any, prefix: str) -> Node:
        name = self.tensor_attrs.get(_key_of(a))
        if name is None:
            name = self.get_fresh_qualname(prefix)
            self.tensor_attrs[_key_of(a)] = name
            setattr(self.root, name, a)
        return self.create_node("get_attr", name, (), {})

    def get_fresh_qualname(self, prefix: str) -> str:
        """A name that begins like this and that the root has no attribute of."""
        return next(name for i in itertools.count() if not hasattr(self.root, name := f"{prefix}{i}"))

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        """Whether a module becomes one node: the library's own do, except `Sequential`; all others are traced through."""
        home = m.__module__.split(".")[:2]
        return home in (["flambeau", "nn"], ["torch", "nn"]) and not isinstance(m, Sequential)

    def path_of_module(self, mod: Module) -> str:
        """The dotted name of a module in the root.

        Raises: NameError when it is not in it.
        """
        if self.submodule_paths:
            path = self.submodule_paths.get(mod)
        else:
            path = next((name for name, m in self.root.named_modules() if m is mod), None)
        if path is None:
            raise NameError("module is not installed as a submodule")
        return path

    def call_module(
        self, m: Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a call of a module does: a node, if it is a leaf, else `forward`."""
        path = self.path_of_module(m)
        with ScopeContextManager(self.scope, Scope(path, type(m))) as scope:
            count = self.num_calls.get(path, 0)
            key = f"{scope.module_path}@{count}" if count else scope.module_path
            self.module_stack[key] = (path, scope.module_type)
            self.num_calls[path] = count + 1
            if self.is_leaf_module(m, path):
                result = self.create_proxy("call_module", path, args, kwargs)
            else:
                result = forward(*args, **kwargs)
            self.module_stack.popitem(last=True)
        return result

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Proxy]) -> Any:
        """What an attribute of a module is: for a parameter a traced value, the same each time."""
        found: Any = ()
        if isinstance(attr_val, Parameter):
            found = self.root.named_parameters()
        elif self.proxy_buffer_attributes and isinstance(attr_val, Tensor):
            found = self.root.named_buffers()
        for name, p in found:
            if p is not attr_val:
                continue
            if name not in parameter_proxy_cache:
                more: dict[str, Any] = {}
                if self.param_shapes_constant and isinstance(attr_val, Parameter):

                    def made(node: Node, name: str = name) -> Proxy:
                        return ParameterProxy(self, node, name, attr_val)

                    more["proxy_factory_fn"] = made
                parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {}, **more)
            return parameter_proxy_cache[name]
        return attr_val

    # -------------------------------------------------------------------------------------------------- the arguments

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """The function to run and the traced values to run it on."""
        analysed: Any = inspect.unwrap(root_fn)
        code = analysed.__code__
        count = code.co_argcount + code.co_kwonlyargcount
        names = iter(code.co_varnames)
        args: list[Any] = []
        if is_module:
            if count == 0:
                raise RuntimeError("``self`` argument cannot be part of *args expansion!")
            next(names)
            args.append(self.root)
        var = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
        if isinstance(concrete_args, tuple) and concrete_args and var and count == 1:
            for i, given in enumerate(concrete_args):
                out = self.create_proxy("placeholder", f"input_{i}", (), {})
                if isinstance(given, PHBase) and given is not PH:
                    _give_attributes(given, out.node)
                args.append(out)
            return root_fn, args
        own = [next(names) for _ in range(1 if is_module else 0, count)]
        if isinstance(concrete_args, tuple):
            if len(own) != len(concrete_args):
                raise RuntimeError(
                    f"Tracing expected {len(own)} arguments but got {len(concrete_args)} concrete arguments"
                )
            concrete_args = dict(zip(own, concrete_args))
        signature = inspect.signature(analysed)

        def parameter(name: str) -> Any:
            return self._proxy_placeholder(name, concrete_args, signature, analysed)

        args.extend(parameter(name) for name in own)
        if code.co_kwonlyargcount > 0 or var:
            if code.co_flags & inspect.CO_VARARGS:
                args.append(parameter(f"*{next(names)}"))
            if code.co_flags & inspect.CO_VARKEYWORDS:
                args.append(parameter(f"**{next(names)}"))
            root_fn = _all_positional(root_fn, len(args))
        flat, spec = pytree.tree_flatten(tuple(args))
        if all(child.kind is None for child in spec.children):
            return root_fn, args
        codegen = _PyTreeCodeGen(_PyTreeInfo(list(code.co_varnames)[:count], spec, None))
        self.graph._codegen = codegen

        def of_leaves(*leaves: Any) -> Any:
            out, out_spec = pytree.tree_flatten(root_fn(*pytree.tree_unflatten(list(leaves), spec)))
            codegen.pytree_info = codegen.pytree_info._replace(out_spec=out_spec)
            return out

        return of_leaves, flat

    def _proxy_placeholder(
        self, name: str, concrete_args: Any, sig: inspect.Signature, fn_for_analysis: Any
    ) -> Any:
        parameter = None if name[0] == "*" else sig.parameters[name]
        default = (
            () if parameter is None or parameter.default is inspect.Parameter.empty else (parameter.default,)
        )
        if concrete_args is None or name not in concrete_args:
            kind = None if _is_own(fn_for_analysis) else fn_for_analysis.__annotations__.get(name)
            return self.create_proxy("placeholder", name, default, {}, type_expr=kind)
        number = itertools.count(1)

        def of(x: Any) -> Any:
            out = self.create_proxy("placeholder", f"{name}_{next(number)}", default, {})
            if isinstance(x, PHBase):
                if x is not PH:
                    _give_attributes(x, out.node)
                return out
            if x is None:
                message = f"{name} has been specialized to have value None but got another value"
                self.create_proxy("call_function", _assert_is_none, (out, message), {})
            elif isinstance(x, base_types) and not isinstance(x, Tensor):
                message = f"{name} has been specialized to have value {x} but got another value"
                self.create_proxy("call_function", _assert, (out == x, message), {})
            else:
                warnings.warn(
                    f"Was not able to add assertion to guarantee correct input {name} to specialized function. It is up to "
                    "the user to make sure that your inputs match the inputs you specialized the function with.",
                    stacklevel=2,
                )
            return x

        return pytree.tree_map(of, concrete_args[name])

    # --------------------------------------------------------------------------------------------------------- tracing

    def trace(self, root: Module | Callable[..., Any], concrete_args: Any = None) -> Graph:
        """The graph of a module or function; afterwards `self.root` has what the graph names.

        Raises: TraceError where the program needs a number; AssertionError for what is neither a module nor a function.
        """
        fn: Any
        if isinstance(root, Module):
            self.root = root
            if not hasattr(type(root), self.traced_func_name):
                raise AssertionError(
                    f"traced_func_name={self.traced_func_name} doesn't exist in {type(root).__name__}"
                )
            fn = getattr(type(root), self.traced_func_name)
            self.root_module_name = root._get_name()
            self.submodule_paths = {m: name for name, m in root.named_modules()}
        else:
            self.root, fn = Module(), root
        self.graph = Graph(tracer_cls=type(self))
        code = getattr(fn, "__code__", None)
        if code is not None:
            self.graph._co_fields = {
                **{"co_name": code.co_name, "co_filename": code.co_filename},
                "co_firstlineno": code.co_firstlineno,
            }
        self.tensor_attrs = _tensors_of(self.root)
        if not isinstance(fn, FunctionType):
            raise AssertionError(f"Expected FunctionType, got {type(fn)}")
        names = fn.__globals__
        proxies._tracing.append(self)
        try:
            run, args = self.create_args_for_root(fn, isinstance(root, Module), concrete_args)
            with self._patched(names):
                plain = inspect.unwrap(run)
                returned = None if _is_own(plain) else inspect.get_annotations(plain).get("return")
                self.create_node("output", "output", (self.create_arg(run(*args)),), {}, type_expr=returned)
        finally:
            proxies._tracing.remove(self)
        self.submodule_paths = None
        return self.graph

    @contextlib.contextmanager
    def _patched(self, names: dict[str, Any]) -> Iterator[None]:
        cache: dict[str, Proxy] = {}
        plain_getattr, plain_call = Module.__getattr__, Module.__call__
        ids = self._autowrap_function_ids

        def module_getattr(mod: Module, attr: str) -> Any:
            return self.getattr(attr, plain_getattr(mod, attr), cache)

        def module_call(mod: Module, *args: Any, **kwargs: Any) -> Any:
            def forward(*args: Any, **kwargs: Any) -> Any:
                return plain_call(mod, *args, **kwargs)

            patcher.autowrap(getattr(getattr(mod, "forward", mod), "__globals__", {}), ids)
            return self.call_module(mod, forward, args, kwargs)

        with Patcher() as patcher:
            patcher.patch_method(Module, "__getattr__", module_getattr)
            patcher.patch_method(Module, "__call__", module_call)
            patcher.patch_wrapped()
            patcher.autowrap(names, ids)
            for module in self._autowrap_search:
                patcher.autowrap(vars(module), ids)
            yield

    def __deepcopy__(self, memo: dict[int, Any]) -> Tracer:
        made: Any = object.__new__(type(self))
        for k, v in self.__dict__.items():
            made.__dict__[k] = copy.copy(v) if k == "_autowrap_search" else copy.deepcopy(v, memo)
        return made  # type: ignore[no-any-return]


def _is_own(fn: Any) -> bool:
    """Whether a function is the library's, whose annotations PyTorch's does not have."""
    return (fn.__module__ or "").split(".")[0] == "flambeau"


def _key_of(a: Any) -> Any:
    return a if isinstance(a, Tensor) else id(a)


def _tensors_of(root: Module) -> dict[Any, str]:
    """The tensors that modules have as plain attributes, and their dotted names."""
    found: dict[Any, str] = {}
    for path, module in root.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, (Tensor, pytree.TreeSpec)):
                found[_key_of(value)] = f"{path}.{name}" if path else name
    return found


def _give_attributes(ph: PHBase, node: Node) -> None:
    for name, value in vars(ph).items():
        if not name.startswith("__") and not hasattr(node, name):
            object.__setattr__(node, name, value)


def _all_positional(fn: Any, count: int) -> Callable[..., Any]:
    """`fn` as a function of `count` positional arguments, ``*args`` and ``**kwargs`` among them as one each."""
    if "__wrapped__" in vars(fn):
        raise AssertionError(
            "Cannot trace a decorated function with *args, **kwargs or keyword-only arguments"
        )
    code = fn.__code__
    code = code.replace(
        co_flags=code.co_flags & ~(inspect.CO_VARARGS | inspect.CO_VARKEYWORDS),
        co_argcount=count,
        co_posonlyargcount=0,
        co_kwonlyargcount=0,
    )
    return FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)


def symbolic_trace(root: Module | Callable[..., Any], concrete_args: Any = None) -> GraphModule:
    """A `GraphModule` of what a module or function does, found out by running it on values that have no numbers.

    `concrete_args` gives values for some of its parameters by name, which the program is specialized to: for containers
    with `PH` in the places that stay open.

    Raises: TraceError where the program needs a number, as in ``if x.sum() > 0``.

    >>> import flambeau as torch
    >>> gm = torch.fx.symbolic_trace(lambda x, y: torch.relu(x) + y)
    >>> print(gm.code.strip())
    def forward(self, x, y):
        relu = torch.relu(x);  x = None
        add = relu + y;  relu = y = None
        return add
    """
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    name = type(root).__name__ if isinstance(root, Module) else root.__name__
    return GraphModule(tracer.root, graph, name)


# What tracers outside are written with.
_orig_module_call, _orig_module_getattr = Module.__call__, Module.__getattr__
_Patcher = Patcher
_autowrap_check = Patcher.autowrap
_patch_wrapped_functions = Patcher.patch_wrapped


class ScriptObject:
    """An object of TorchScript: nothing is one."""


@wrap
def _assert_is_none(value: Any, msg: str) -> None:
    if value is not None:
        raise AssertionError(msg)
