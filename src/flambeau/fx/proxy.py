"""Values of a program that is being traced: `Proxy`, which writes down what is done with it."""

from __future__ import annotations

import collections
import copy
import dataclasses
import dis
import enum
import operator
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from .. import overrides
from ..core.public import OVERRIDES
from ..core.tensor import Tensor
from . import traceback as fx_traceback
from .codegen import REFLECTED, magic_methods
from .graph import Graph
from .naming import as_passed_on, is_function, torch
from .node import Node, base_types, map_aggregate, map_arg

__all__ = [
    "Attribute",
    "GraphAppendingTracer",
    "ParameterProxy",
    "Proxy",
    "Scope",
    "TraceError",
    "TracerBase",
]


class TraceError(ValueError):
    """A program does with a traced value what only numbers allow."""


class Scope:
    """The module in which a node was made: its dotted name and its class."""

    def __init__(self, module_path: str, module_type: Any) -> None:
        self.module_path, self.module_type = module_path, module_type


class ScopeContextManager:
    """While entered, `scope` says what `current_scope` says."""

    def __init__(self, scope: Scope, current_scope: Scope) -> None:
        self._before = copy.copy(scope)
        scope.module_path, scope.module_type = current_scope.module_path, current_scope.module_type
        self._scope = scope

    def __enter__(self) -> Scope:
        return self._scope

    def __exit__(self, *exc: Any) -> None:
        self._scope.module_path, self._scope.module_type = self._before.module_path, self._before.module_type


class TracerBase:
    """What makes nodes of operations: override its methods for tracing of another kind."""

    graph: Graph
    record_stack_traces: bool = False
    _record_forward_stack_traces_only: bool = False
    check_mutable_operations: bool = False
    trace_asserts: bool = False
    proxy_buffer_attributes: bool = False
    traced_func_name: str = "forward"
    scope: Scope
    module_stack: collections.OrderedDict[str, tuple[str, Any]]
    node_name_to_scope: dict[str, tuple[str, Any]]

    def create_node(
        self,
        kind: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Put a node into the graph."""
        if kind == "call_function" and self.check_mutable_operations:
            from .operator_schemas import check_for_mutable_operation

            check_for_mutable_operation(target, args, kwargs)
        node = self.graph.create_node(kind, target, args, kwargs, name, type_expr)
        self.node_name_to_scope[node.name] = (self.scope.module_path, self.scope.module_type)
        if fx_traceback.has_preserved_node_meta():
            node.meta.update(
                {k: copy.copy(v) for k, v in fx_traceback.get_current_meta().items() if k in _KEPT}
            )
        elif self.module_stack:
            node.meta["nn_module_stack"] = copy.copy(self.module_stack)
        if self.record_stack_traces and not node.stack_trace:
            frames = _frames_of_program(self._record_forward_stack_traces_only)
            if frames:
                node.stack_trace = "".join(traceback.StackSummary.from_list(frames).format()).strip()
        return node

    def proxy(self, node: Node) -> Proxy:
        """The value of a node."""
        return Proxy(node, self)

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str | None = None,
        type_expr: Any = None,
        proxy_factory_fn: Callable[[Node], Proxy] | None = None,
    ) -> Any:
        """Put a node into the graph; its value."""
        node = self.create_node(kind, target, self.create_arg(args), self.create_arg(kwargs), name, type_expr)
        return self.proxy(node) if proxy_factory_fn is None else proxy_factory_fn(node)

    def create_arg(self, a: Any) -> Any:
        """What a node has for an argument of the program: nodes for traced values, also in containers.

        Raises: NotImplementedError for an object that has no place in a graph, RuntimeError for a traced key of a dict.
        """
        if isinstance(a, Proxy):
            return a.node
        if hasattr(a, "__fx_create_arg__"):
            return a.__fx_create_arg__(self)
        if isinstance(a, tuple):
            values = [self.create_arg(x) for x in a]
            if hasattr(a, "_fields"):
                return type(a)(*values)
            return tuple(values) if any(isinstance(v, Node) for v in values) else type(a)(values)
        if isinstance(a, list):
            return [self.create_arg(x) for x in a]
        if isinstance(a, dict):
            return {self._key(k): self.create_arg(v) for k, v in a.items()}
        if isinstance(a, slice):
            return slice(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, range):
            return range(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if dataclasses.is_dataclass(a) and not isinstance(a, type):
            fields = {f.name: self.create_arg(getattr(a, f.name)) for f in dataclasses.fields(a)}
            return self.create_node("call_function", type(a), (), fields)
        if isinstance(a, (*base_types, enum.Enum)) or a is None or a is ... or _is_overload(a):
            return a
        raise NotImplementedError(f"argument of type: {type(a)}")

    def _key(self, k: Any) -> Any:
        if isinstance(k, str):
            return k

        def refuse(n: Node) -> Any:
            raise RuntimeError(
                f"Keys for dictionaries used as an argument cannot contain a Node. Got key: {k}"
            )

        k = self.create_arg(k)
        map_arg(k, refuse)
        return k

    def to_bool(self, obj: Proxy) -> bool:
        """The truth value of a traced value, where the program branches.

        Raises: TraceError, unless a tracer of one's own knows it.
        """
        raise TraceError("symbolically traced variables cannot be used as inputs to control flow")

    def iter(self, obj: Proxy) -> Iterator[Any]:
        """The elements of a traced value, where the program goes through them.

        Raises: TraceError, unless a tracer of one's own knows them.
        """
        raise TraceError(
            "Proxy object cannot be iterated. This can be attempted when the Proxy is used in a loop or as a *args or "
            "**kwargs function argument. How many elements there are is not known while a program is traced: put the "
            "loop into a function marked by torch.fx.wrap, or loop over a number that is known"
        )

    def keys(self, obj: Proxy) -> Any:
        """The keys of a traced value, which ``**`` asks for."""
        return Attribute(obj, "keys")()


_KEPT = (
    "nn_module_stack",
    "torch_fn",
    "source_fn_stack",
    "original_aten",
    "recompute",
    "stack_trace",
    "custom",
)


def _is_overload(a: Any) -> bool:
    from ..stand_in.aten import Overload, Packet

    return isinstance(a, (Overload, Packet))


def _frames_of_program(forward_only: bool) -> list[traceback.FrameSummary]:
    """The frames from the first `forward` on, without flambeau's own."""
    from pathlib import Path

    home = str(Path(__file__).parents[1])
    frames = list(traceback.extract_stack())
    if forward_only:
        frames = [f for f in frames if f.name == "forward"]
    else:
        first = next((i for i, f in enumerate(frames) if f.name == "forward"), len(frames))
        frames = frames[first:]
    return [f for f in frames if not f.filename.startswith(home)]


class GraphAppendingTracer(TracerBase):
    """Writes into a graph that there is: what a `Proxy` of a node alone does."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.scope = Scope("", None)
        self.module_stack = collections.OrderedDict()
        self.node_name_to_scope = {}


def assert_fn(x: Any) -> None:
    """Raises: AssertionError when `x` is false."""
    if not x:
        raise AssertionError("Assertion failed")


def _instructions_at(frame: Any) -> tuple[list[dis.Instruction], int]:
    found = list(dis.get_instructions(frame.f_code))
    return found, next(i for i, one in enumerate(found) if one.offset == frame.f_lasti)


class Proxy:
    """The value of a node, while a program runs on it: what is done with it becomes nodes.

    It knows no numbers: a program that branches on it or goes through its elements cannot be traced.  A `Proxy` of a node
    can also be made by hand, to put operations into a graph by writing them.

    >>> import flambeau as torch
    >>> graph = torch.fx.Graph()
    >>> x = torch.fx.Proxy(graph.placeholder("x"))
    >>> _ = graph.output((torch.relu(x) + 1).node)
    >>> torch.fx.GraphModule({}, graph)(torch.tensor([-1.0, 2.0]))
    tensor([1., 3.])
    """

    __hash__: ClassVar[Any] = object.__hash__

    def __new__(cls, *args: Any, **kwargs: Any) -> Proxy:
        global _alive
        if not _alive:
            OVERRIDES.append(Proxy)  # has functions ask their arguments, which they do not otherwise
        _alive += 1
        return super().__new__(cls)

    def __del__(self) -> None:
        global _alive
        _alive -= 1
        if not _alive:
            OVERRIDES[:] = [kind for kind in OVERRIDES if not issubclass(kind, Proxy)]

    def __init__(self, node: Node, tracer: TracerBase | None = None) -> None:
        self.tracer = GraphAppendingTracer(node.graph) if tracer is None else tracer
        self.node = node

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, k: str) -> Attribute:
        if k in _OF_VALUES:
            raise AttributeError(f"a traced value has no {k}: it is no number and no array")
        return Attribute(
            self, k
        )  # its node is made when it is needed: most attributes are methods that are called

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state

    def __deepcopy__(self, memo: dict[int, Any]) -> Proxy:
        made: Any = type(self).__new__(type(self))
        for k, v in self.__dict__.items():
            try:
                made.__dict__[k] = copy.deepcopy(v, memo)
            except Exception:  # what cannot be copied is shared
                made.__dict__[k] = copy.copy(v)
        return made  # type: ignore[no-any-return]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator[Any]:
        instructions, at = _instructions_at(sys._getframe(1))
        if instructions[at].opname == "UNPACK_SEQUENCE":  # then it is known how many there are
            return (self[i] for i in range(instructions[at].argval))  # type: ignore[index]
        return self.tracer.iter(self)

    def __abs__(self) -> Any:
        return self.tracer.create_proxy("call_function", operator.abs, (self,), {})

    def __bool__(self) -> bool:
        if self.tracer.trace_asserts and _is_asserted(sys._getframe(1)):
            self.tracer.create_proxy("call_function", assert_fn, (self,), {})
            return True
        return self.tracer.to_bool(self)

    def keys(self) -> Any:
        """What ``**`` asks for: the tracer answers."""
        return self.tracer.keys(self)

    def __len__(self) -> int:
        raise RuntimeError(
            "'len' is not supported in symbolic tracing by default. If you want this call to be recorded, please call "
            "torch.fx.wrap('len') at module scope"
        )

    @classmethod
    def __torch_function__(cls, orig_method: Any, types: Any, args: Any = None, kwargs: Any = None) -> Any:
        args, kwargs = args or (), kwargs or {}
        tracers: dict[TracerBase, None] = {}

        def note(x: Any) -> Any:
            if isinstance(x, Proxy):
                tracers[x.tracer] = None
            return x

        map_aggregate((args, kwargs), note)
        if len(tracers) > 1:
            raise RuntimeError(
                f"Found multiple different tracers {list(tracers)} while trying to trace operations {orig_method}"
            )
        tracer = next(iter(tracers))
        name = orig_method.__name__
        if not is_function(orig_method) and overrides.is_tensor_method_or_property(orig_method):
            return tracer.create_proxy("call_method", name, args, kwargs)
        args, kwargs = as_passed_on(orig_method, args, kwargs)
        return tracer.create_proxy(
            "call_function", orig_method, args, kwargs, name=tracer.graph._target_to_str(name)
        )


# By these functions would take a traced value for a number or an array.
_OF_VALUES = frozenset(
    "__index__ __float__ __array__ __array_interface__ __array_struct__ __dlpack__".split()
)

_tracing: list[Any] = []  # the tracers at work
_alive = 0  # proxies that there are


def _is_asserted(frame: Any) -> bool:
    """Whether the frame is about to raise AssertionError if what it asks for is false."""
    instructions, at = _instructions_at(frame)
    if not instructions[at].opname.startswith("POP_JUMP") or "TRUE" not in instructions[at].opname:
        following = [i.opname for i in instructions[at : at + 3]]
        return "LOAD_ASSERTION_ERROR" in following and any("TRUE" in name for name in following)
    return instructions[at + 1].opname in ("LOAD_ASSERTION_ERROR", "LOAD_COMMON_CONSTANT")


class Attribute(Proxy):
    """An attribute of a traced value: a method, if it is called."""

    def __init__(self, root: Proxy, attr: str) -> None:
        self.root, self.attr, self.tracer = root, attr, root.tracer
        self._node: Node | None = None

    @property
    def node(self) -> Node:  # type: ignore[override]
        """The node that asks for the attribute, made when it is first needed."""
        if self._node is None:
            made = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {})
            self._node = made.node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(Proxy):
    """A parameter whose sizes are known, so that a program may branch on them."""

    def __init__(self, tracer: TracerBase, node: Node, name: str, param: Any) -> None:
        super().__init__(node, tracer)
        if not isinstance(param, torch.nn.Parameter):
            raise AssertionError(f"Expected Parameter, got {type(param)}")
        self.param, self.name = param, name

    def __repr__(self) -> str:
        return f"ParameterProxy({self.name})"

    @property
    def shape(self) -> Any:
        """The parameter's sizes."""
        return self.param.shape

    def size(self, *dim: int) -> Any:
        """The parameter's sizes, or one of them."""
        return self.param.size(*dim)

    def dim(self) -> int:
        """The parameter's number of dims."""
        return int(self.param.dim())

    @property
    def ndim(self) -> int:
        """The parameter's number of dims."""
        return int(self.param.ndim)

    def numel(self) -> int:
        """The parameter's number of elements."""
        return int(self.param.numel())

    def nelement(self) -> int:
        """The parameter's number of elements."""
        return int(self.param.numel())


# The method that PyTorch sees where a tensor's operator meets a proxy.
METHOD_OF_OPERATOR = {
    **{f"__{n}__": n for n in ("add", "sub", "mul", "pow", "matmul", "eq", "ne", "lt", "le", "gt", "ge")},
    **{f"__i{n}__": f"{n}_" for n in ("add", "sub", "mul", "pow")},
    **{"__truediv__": "div", "__mod__": "remainder", "__itruediv__": "div_", "__imod__": "remainder_"},
}


def _operator(name: str) -> Callable[..., Any]:
    target = getattr(operator, name)

    def method(self: Proxy, *others: Any) -> Any:
        return self.tracer.create_proxy("call_function", target, (self, *others), {})

    method.__name__ = name
    return method


def _reflected(name: str) -> Callable[..., Any]:
    target, own = getattr(operator, name), f"__{name.strip('_')}__"

    def method(self: Proxy, left: Any) -> Any:
        if isinstance(left, Tensor):
            return self.tracer.create_proxy("call_method", METHOD_OF_OPERATOR.get(own, own), (left, self), {})
        return self.tracer.create_proxy("call_function", target, (left, self), {})

    method.__name__ = f"__r{name.strip('_')}__"
    return method


for _name in magic_methods:
    setattr(Proxy, f"__{_name.strip('_')}__", _operator(_name))
for _name in REFLECTED:
    setattr(Proxy, f"__r{_name.strip('_')}__", _reflected(_name))
