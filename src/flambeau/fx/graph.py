"""A program as a list of nodes, each an operation on what nodes before it gave: `Graph`."""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .codegen import (
    CodeGen,
    PythonCode,
    TransformCodeFunc,
    _format_target,
    _PyTreeCodeGen,
    _PyTreeInfo,
    inplace_methods,
    magic_methods,
    reflectable_magic_methods,
)
from .immutable_collections import immutable_dict
from .naming import Namespace, custom_builtins, is_from_torch, register_custom_builtin, snake_case, torch
from .node import Node, _get_qualified_name, _type_repr, map_arg

if TYPE_CHECKING:
    from .graph_module import GraphModule

__all__ = [
    "CodeGen",
    "Graph",
    "PythonCode",
    "_PyTreeCodeGen",
    "_PyTreeInfo",
    "_format_target",
    "_get_qualified_name",
    "_type_repr",
    "inplace_methods",
    "magic_methods",
    "reflectable_magic_methods",
]

_Namespace = Namespace
_custom_builtins = custom_builtins
_register_custom_builtin = register_custom_builtin
_is_from_torch = is_from_torch
_snake_case = snake_case
_KINDS = ("call_function", "call_method", "get_attr", "call_module", "placeholder", "output")


class _InsertPoint:
    def __init__(self, graph: Graph, insert: Callable[[Node], None]) -> None:
        self.graph, self.before = graph, graph._insert
        graph._insert = insert

    def __enter__(self) -> None:
        """The place is set already."""

    def __exit__(self, *exc: Any) -> None:
        self.graph._insert = self.before


class _node_list:  # noqa: N801  PyTorch's name
    """The nodes of a graph in order, which may be changed while they are gone through."""

    def __init__(self, graph: Graph, direction: str = "_next") -> None:
        if direction not in ("_next", "_prev"):
            raise AssertionError(f"direction must be '_next' or '_prev', got {direction}")
        self.graph, self.direction = graph, direction

    def __len__(self) -> int:
        return self.graph._len

    def __iter__(self) -> Iterator[Node]:
        root, way = self.graph._root, self.direction
        at = getattr(root, way)
        while at is not root:
            if not at._erased:
                yield at
            at = getattr(at, way)

    def __reversed__(self) -> _node_list:
        return _node_list(self.graph, "_next" if self.direction == "_prev" else "_prev")


class _Table:
    """The nodes by kind, and for calls of functions by function."""

    def __init__(self) -> None:
        self.table: dict[Any, dict[Node, None]] = {}

    @staticmethod
    def key(op: str, target: Any) -> Any:
        return (op, target if op == "call_function" else None)

    def __contains__(self, node: Node) -> bool:
        return node in self.table.get(self.key(node.op, node.target), ())

    def insert(self, node: Node) -> None:
        self.table.setdefault(self.key(node.op, node.target), {})[node] = None

    def remove(self, node: Node) -> None:
        self.table[self.key(node.op, node.target)].pop(node)


class Graph:
    """A program: `nodes` in the order in which they run, placeholders first, the output last.

    New nodes are put at the insertion point, which is the end unless `inserting_before` or `inserting_after` says.

    >>> import flambeau as torch
    >>> graph = torch.fx.Graph()
    >>> x = graph.placeholder("x")
    >>> y = graph.call_function(torch.relu, (x,))
    >>> _ = graph.output(y)
    >>> torch.fx.GraphModule(torch.nn.Module(), graph)(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, owning_module: Any = None, tracer_cls: Any = None, tracer_extras: Any = None) -> None:
        self._root = Node(self, "", "root", "", (), {})
        self._insert: Callable[[Node], None] = self._root.prepend
        self._len = 0
        self._numbered = True
        self._graph_namespace = Namespace()
        self._owning_module = owning_module
        self._tracer_cls = tracer_cls
        self._tracer_extras = tracer_extras
        self._codegen = CodeGen()
        self._co_fields: dict[str, Any] = {}
        self._find_nodes_lookup_table = _Table()

    @property
    def owning_module(self) -> GraphModule | None:
        """The module that runs this graph."""
        return self._owning_module  # type: ignore[no-any-return]

    @owning_module.setter
    def owning_module(self, mod: GraphModule | None) -> None:
        self._owning_module = mod

    @property
    def nodes(self) -> _node_list:
        """The nodes in order.  They can be removed and added while one goes through them."""
        return _node_list(self)

    def output_node(self) -> Node:
        """The last node, which returns the result."""
        last = self._root._prev
        if last.op != "output":
            raise AssertionError(f"Expected output node, got op={last.op}")
        return last  # type: ignore[no-any-return]

    def find_nodes(self, *, op: str, target: Any = None, sort: bool = True) -> list[Node]:
        """The nodes of a kind, of those with this target; for ``call_function`` the target has to be given.

        >>> import flambeau as torch
        >>> graph = torch.fx.symbolic_trace(lambda x: torch.relu(torch.relu(x))).graph
        >>> graph.find_nodes(op="call_function", target=torch.relu)
        [relu, relu_1]
        """
        if op == "call_function" and target is None:
            raise AssertionError("target must not be None for call_function op")
        found = list(self._find_nodes_lookup_table.table.get(_Table.key(op, target), ()))
        if op != "call_function" and target is not None:
            found = [n for n in found if n.target == target]
        return sorted(found) if sort else found

    def _number(self) -> None:
        self._root.__dict__["_place"] = -1
        for i, node in enumerate(self.nodes):
            node.__dict__["_place"] = i
        self._numbered = True

    # --------------------------------------------------------------------------------------------------- new nodes

    def create_node(
        self,
        op: str,
        target: Any,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        name: str | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Put a node of any kind at the insertion point.

        Raises: AssertionError for arguments that are no tuple and dict, or an unknown kind; ValueError for a target that
        does not fit the kind.
        """
        args, kwargs = args or (), kwargs or immutable_dict()
        if not isinstance(args, tuple):
            raise AssertionError(f"args must be a tuple, got {type(args)}")
        if not isinstance(kwargs, dict):
            raise AssertionError(f"kwargs must be a dict, got {type(kwargs)}")
        candidate = name if name is not None else self._target_to_str(target)
        name = self._graph_namespace.create_name(candidate, None)
        node = Node(self, name, op, target, args, kwargs, type_expr)
        for hook in getattr(self.owning_module, "_create_node_hooks", None) or ():
            hook(node)
        self._graph_namespace.associate_name_with_obj(name, node)
        self._insert(node)
        self._find_nodes_lookup_table.insert(node)
        self._len += 1
        return node

    def placeholder(
        self, name: str, type_expr: Any = None, default_value: Any = inspect.Signature.empty
    ) -> Node:
        """A parameter of the program; ``*name`` and ``**name`` take what is left over."""
        args = () if default_value is inspect.Signature.empty else (default_value,)
        return self.create_node("placeholder", name, args=args, type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any = None) -> Node:
        """A parameter, buffer or sub-module of the module, by its dotted name."""
        if self.owning_module is not None and not _is_there(self.owning_module, qualified_name):
            warnings.warn(
                f"Attempted to insert a get_attr Node with no underlying reference in the owning GraphModule: "
                f"{qualified_name!r}! Call GraphModule.add_submodule to add the necessary submodule, "
                "nn.Module.register_parameter for a parameter or nn.Module.register_buffer for a buffer",
                stacklevel=2,
            )
        return self.create_node("get_attr", qualified_name, type_expr=type_expr)

    def call_module(
        self,
        module_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        type_expr: Any = None,
    ) -> Node:
        """A call of the sub-module with this dotted name."""
        if self.owning_module is not None and self.owning_module.get_submodule(module_name) is None:
            warnings.warn(
                f"Attempted to insert a call_module Node for {module_name!r}, which is not there",
                stacklevel=2,
            )
        return self.create_node("call_module", module_name, args, kwargs, type_expr=type_expr)

    def call_method(
        self,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        type_expr: Any = None,
    ) -> Node:
        """A call of a method of ``args[0]``."""
        return self.create_node("call_method", method_name, args, kwargs, type_expr=type_expr)

    def call_function(
        self,
        the_function: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        type_expr: Any = None,
        name: str | None = None,
    ) -> Node:
        """A call of any function: one of flambeau's, of `operator`, or the program's own."""
        return self.create_node("call_function", the_function, args, kwargs, name=name, type_expr=type_expr)

    def output(self, result: Any, type_expr: Any = None) -> Node:
        """What the program returns."""
        return self.create_node("output", "output", args=(result,), type_expr=type_expr)

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Any] = lambda x: x) -> Node:
        """A copy of a node, which may be of another graph; `arg_transform` gives this graph's node for one of its inputs."""
        args, kwargs = map_arg(node.args, arg_transform), map_arg(node.kwargs, arg_transform)
        made = self.create_node(node.op, node.target, args, kwargs, node.name, node.type)
        made.meta = copy.copy(node.meta)
        return made

    def graph_copy(self, g: Graph, val_map: dict[Node, Any], return_output_node: bool = False) -> Any:
        """Copy the nodes of `g`; what this graph has for its result, None where it returns nothing.

        `val_map` gets the copy of each node; nodes that it has already are not copied.
        """
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                result = map_arg(node.args[0], lambda n: val_map[n])
                return (result, node) if return_output_node else result
            val_map[node] = self.node_copy(node, lambda n: val_map[n])
        return None

    def __deepcopy__(self, memo: Any = None) -> Graph:
        memo = memo if memo else {}
        made = Graph(tracer_cls=self._tracer_cls)
        found = made.graph_copy(self, val_map=memo, return_output_node=True)
        made._codegen = copy.deepcopy(self._codegen)
        made._co_fields = dict(self._co_fields)
        if found is not None:
            result, old = found
            new = made.output(result, type_expr=old.type)
            new.meta = copy.copy(old.meta)
        return made

    # ------------------------------------------------------------------------------------------------- the place of

    def inserting_before(self, n: Node | None = None) -> _InsertPoint:
        """Put new nodes before `n` (before all of them, without one); in a ``with`` block, until it ends."""
        if n is None:
            return self.inserting_after(self._root)
        if n.graph is not self:
            raise AssertionError("Node to insert before is not in graph.")
        return _InsertPoint(self, n.prepend)

    def inserting_after(self, n: Node | None = None) -> _InsertPoint:
        """Put new nodes after `n` (at the end, without one); in a ``with`` block, until it ends."""
        if n is None:
            return self.inserting_before(self._root)
        if n.graph is not self:
            raise AssertionError("Node to insert after is not in graph.")
        return _InsertPoint(self, n.append)

    def erase_node(self, to_erase: Node) -> None:
        """Take out a node.

        Raises: RuntimeError when others use it, or it is in another graph.
        """
        if to_erase.users:
            raise RuntimeError(
                f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in the graph: "
                f"{to_erase.users}!"
            )
        if to_erase.graph is not self:
            raise RuntimeError(f"Attempting to remove {to_erase} from wrong graph!")
        if to_erase._erased:
            warnings.warn(f"erase_node({to_erase}) on an already erased node", stacklevel=2)
            return
        for hook in getattr(self.owning_module, "_erase_node_hooks", None) or ():
            hook(to_erase)
        self._find_nodes_lookup_table.remove(to_erase)
        to_erase._remove_from_list()
        to_erase._erased = True  # who goes through the nodes may hold it still
        self._len -= 1
        nothing: Any = lambda n: None  # noqa: E731
        to_erase._update_args_kwargs(map_arg(to_erase._args, nothing), map_arg(to_erase._kwargs, nothing))

    def _clear_nodes(self) -> None:
        for node in reversed(self.nodes):
            node.meta.clear()
            self.erase_node(node)

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Take out the nodes that nobody uses, except those that do something (`Node.is_impure`); whether there were any.

        >>> import flambeau as torch
        >>> def f(x):
        ...     unused = x + 1
        ...     return x * 2
        >>> graph = torch.fx.symbolic_trace(f).graph
        >>> graph.eliminate_dead_code(), [n.name for n in graph.nodes]
        (True, ['x', 'mul', 'output'])
        """
        self.lint()
        changed = False
        for node in reversed(self.nodes):
            stays = node.is_impure() if is_impure_node is None else is_impure_node(node)
            if not stays and not node.users:
                self.erase_node(node)
                changed = True
        if self.owning_module is not None:
            from .graph_module import GraphModule

            used = {n.target for n in self.find_nodes(op="get_attr")}
            for name, child in self.owning_module.named_children():
                if name in used and isinstance(child, GraphModule):
                    changed |= child.graph.eliminate_dead_code()
                    child.recompile()
        return changed

    def lint(self) -> None:
        """Check that nodes are used after they are defined, belong to this graph, and name what the module has.

        Raises: RuntimeError or ValueError with the node that does not.
        """
        names: set[str] = set()
        seen: set[Node] = set()
        for node in self.nodes:
            if node.op not in _KINDS:
                raise RuntimeError(f"Node {node} had unknown opcode {node.op}!")
            if node.graph is not self:
                raise RuntimeError(f"Node '{node}' does not belong to this Graph!")
            if node not in self._find_nodes_lookup_table:
                raise RuntimeError(f"Node '{node}' is not added to the side table")
            for arg in node._input_nodes:
                if arg.graph is not self:
                    raise RuntimeError(
                        f"Argument '{arg}' of Node '{node}' does not belong to this Graph, but was used as an argument! "
                        f"If you are copying nodes from another graph, make sure to use ``arg_transform`` on node_copy() "
                        f"to remap values\n{self}"
                    )
                if arg not in seen:
                    raise RuntimeError(
                        f"Argument '{arg}' of Node '{node}' was used before it has been defined! Please check that Nodes "
                        f"in the graph are topologically ordered\n{self}"
                    )
            seen.add(node)
            if node.name in names:
                raise RuntimeError(f"Node redefined name {node.name}!")
            names.add(node.name)
        if self.owning_module is not None:
            for node in self.nodes:
                self._check_target(node)

    def _check_target(self, node: Node) -> None:
        if node.op == "call_function":
            want, ok = "a Callable", callable(node.target)
        else:
            want, ok = "a str", isinstance(node.target, str)
        if not ok:
            raise ValueError(
                f"Node {node} target {node.target} has type {torch.typename(node.target)} but {want} is expected"
            )
        if node.op not in ("get_attr", "call_module"):
            return
        at: Any = self.owning_module
        parts = node.target.split(".")
        for i, part in enumerate(parts):
            at, where = getattr(at, part, None), ".".join(parts[:i])
            if at is None:
                raise RuntimeError(
                    f"Node {node} target {node.target} references nonexistent attribute {part} of {where}"
                )
            if node.op == "call_module" and not isinstance(at, torch.nn.Module):
                raise RuntimeError(
                    f"Node {node} target {node.target} {part} of {where} does not reference an nn.Module"
                )

    # ------------------------------------------------------------------------------------------------------- as text

    def _target_to_str(self, target: Any) -> str:
        if callable(target):
            name = getattr(target, "__name__", None) or type(target).__name__
        else:
            name = target
            if name.startswith("__") and name.endswith("__") and len(name) > 4:
                name = name[2:-2]
        return snake_case(name)

    def python_code(self, root_module: str, **options: Any) -> PythonCode:
        """The text of a function that runs the graph, in which `root_module` is the name of the module.

        Options: `verbose` adds dtypes, sizes and lines of the program, `include_stride` and `include_device` more of that,
        `colored` colours for terminals, `expanded_def` a line for each parameter.
        """
        namespace = Namespace()  # of its own, as nodes and what is outside share it

        def name_of(n: Node) -> str:
            return namespace.create_name(n.name, n)

        before = {node: node._repr_fn for node in self.nodes}
        for node in before:
            node._repr_fn = name_of
        try:
            return self._python_code(root_module, namespace, **options)
        finally:
            for node, own in before.items():
                node._repr_fn = own

    def _python_code(self, root_module: str, namespace: Namespace, **options: Any) -> PythonCode:
        return self._codegen._gen_python_code(self.nodes, root_module, namespace, **options)

    def __str__(self) -> str:
        names: list[str] = []
        returned = [""]
        lines = [node.format_node(names, returned) for node in self.nodes]
        return "\n    ".join([f"graph({', '.join(names)}){returned[0]}:", *(line for line in lines if line)])

    def print_tabular(self) -> None:
        """Print the nodes as a table.

        Raises: ImportError without the package tabulate.
        """
        try:
            from tabulate import tabulate  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            print("`print_tabular` needs the package tabulate (pip install tabulate); print(graph) does not")
            raise
        rows = [[n.op, n.name, n.target, n.args, n.kwargs] for n in self.nodes]
        print(tabulate(rows, headers=["opcode", "name", "target", "args", "kwargs"]))

    # ------------------------------------------------------------------------------------------------------- codegen

    def process_inputs(self, *args: Any) -> Any:
        """The placeholders' values, from the arguments of the function."""
        return self._codegen.process_inputs(*args)

    def process_outputs(self, out: Any) -> Any:
        """The function's result, from the output's value."""
        return self._codegen.process_outputs(out)

    def set_codegen(self, codegen: CodeGen) -> None:
        """Have another `CodeGen` write the text."""
        self._codegen = codegen

    def on_generate_code(
        self, make_transformer: Callable[[TransformCodeFunc | None], TransformCodeFunc]
    ) -> contextlib.AbstractContextManager[None]:
        """Have a function change the lines of generated code; `make_transformer` gets the function that does so already.

        In a ``with`` block, until it ends.

        >>> import flambeau as torch
        >>> gm = torch.fx.symbolic_trace(lambda x: x + 1)
        >>> with gm.graph.on_generate_code(lambda _: lambda body: ["print('runs')\\n", *body]):
        ...     _ = gm.recompile()
        >>> gm(torch.ones(1))
        runs
        tensor([2.])
        """
        before = self._codegen._body_transformer
        self._codegen._body_transformer = make_transformer(before)

        @contextlib.contextmanager
        def until_it_ends() -> Iterator[None]:
            try:
                yield
            finally:
                self._codegen._body_transformer = before

        return until_it_ends()


def _is_there(mod: Any, qualified_name: str) -> bool:
    path, _, name = qualified_name.rpartition(".")
    try:
        owner = mod.get_submodule(path)
    except AttributeError:
        warnings.warn(f"Failed to fetch module {path}!", stacklevel=2)
        return False
    found = getattr(owner, name, None)
    return isinstance(found, (torch.nn.Module, torch.nn.Parameter)) or name in owner._buffers
