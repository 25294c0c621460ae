"""The operations of a graph: `Node`, and functions over the arguments that nodes have."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .immutable_collections import immutable_dict, immutable_list
from .naming import qualified_name, torch, type_name

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["Argument", "Node", "Target", "has_side_effect", "map_aggregate", "map_arg"]

Argument = Any
Target = Any
base_types = (
    *(str, int, float, bool, complex),
    *(torch.dtype, torch.Tensor, torch.device, torch.memory_format, torch.layout),
)

_get_qualified_name = qualified_name
_type_repr = type_name
_side_effectful_functions: set[Any] = set()


def has_side_effect(fn: Any) -> Any:
    """Keep calls of `fn` when dead code is eliminated; gives back `fn`."""
    _side_effectful_functions.add(fn)
    return fn


_DRAWS = "rand randn randint randperm rand_like randn_like randint_like normal poisson bernoulli multinomial".split()
_DRAWS_OF_ATEN = [*_DRAWS, "dropout", "native_dropout", "alpha_dropout", "feature_dropout", "rrelu"]


def _has_effects(target: Any, random: bool) -> bool:
    """Whether calls stay where nobody uses what they give: as in PyTorch, that is known of few functions."""
    from ..stand_in import checks
    from ..stand_in.aten import Overload, Packet

    if target in _side_effectful_functions or target in (
        operator.setitem,
        checks._assert,
        checks._assert_async,
    ):
        return True
    if isinstance(target, (Overload, Packet)):
        name, _, overload = target.__name__.partition(".")
        writes = overload == "out" or (name.endswith("_") and not name.endswith("__"))
        return writes or (random and name in _DRAWS_OF_ATEN)
    return any(target is getattr(torch, name) for name in _DRAWS)


def map_aggregate(a: Any, fn: Callable[[Any], Any]) -> Any:
    """`a` with `fn` applied to what its tuples, lists, dicts and slices hold; lists and dicts become immutable ones.

    >>> map_aggregate([1, (2, {"a": 3})], lambda x: x + 1)
    [2, (3, {'a': 4})]
    """
    if isinstance(a, tuple):
        values = [map_aggregate(x, fn) for x in a]
        return type(a)(*values) if hasattr(a, "_fields") else tuple(values)
    if isinstance(a, list):
        return immutable_list([map_aggregate(x, fn) for x in a])
    if isinstance(a, dict):
        return immutable_dict({k: map_aggregate(v, fn) for k, v in a.items()})
    if isinstance(a, slice):
        return slice(map_aggregate(a.start, fn), map_aggregate(a.stop, fn), map_aggregate(a.step, fn))
    return fn(a)


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """`map_aggregate` of the nodes alone: all else stays as it is.

    Raises: AssertionError when `fn` is not callable.
    """
    if not callable(fn):
        raise AssertionError("torch.fx.map_arg(a, fn): fn must be a callable")
    return map_aggregate(a, lambda x: fn(x) if isinstance(x, Node) else x)


def _shown(arg: Any, longest: float = float("inf")) -> str:
    if hasattr(arg, "_custom_fx_repr_fn"):
        return str(arg._custom_fx_repr_fn())
    if isinstance(arg, (list, tuple)):
        items = ", ".join(_shown(x) for i, x in enumerate(arg) if i < longest)
        more = f", ...[total_len={len(arg)}]" if len(arg) >= longest + 1 else ""
        if isinstance(arg, list):
            return f"[{items}{more}]"
        return f"({items}{',' if len(arg) == 1 else ''}{more})"
    if isinstance(arg, dict):
        return "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in arg.items()) + "}"
    return f"%{arg}" if isinstance(arg, Node) else str(arg)


_format_arg = _shown


class Node:
    """An operation in a `Graph`: `op` says of which kind, `target` which, `args` and `kwargs` of what.

    `users` has the nodes that use it as keys, `all_input_nodes` those that it uses. `op` is one of ``placeholder``,
    ``get_attr``, ``call_function``, ``call_module``, ``call_method`` and ``output``.

    >>> import flambeau as torch
    >>> graph = torch.fx.symbolic_trace(lambda x: torch.relu(x) + 1).graph
    >>> [(n.op, n.name, n.args) for n in graph.nodes][1:]
    [('call_function', 'relu', (x,)), ('call_function', 'add', (relu, 1)), ('output', 'output', (add,))]
    """

    graph: Graph
    name: str
    op: str
    target: Any

    def __init__(
        self,
        graph: Graph,
        name: str,
        op: str,
        target: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        return_type: Any = None,
    ) -> None:
        if op not in (
            "placeholder",
            "call_method",
            "call_module",
            "call_function",
            "get_attr",
            "output",
            "root",
        ):
            raise AssertionError(f"unknown kind of node: {op!r}")
        if op == "call_function":
            if not callable(target):
                raise ValueError(
                    f"Node [graph = {graph}, name = '{name}'] target {target} has type {torch.typename(target)} "
                    "but a Callable is expected"
                )
        elif not isinstance(target, str):
            raise ValueError(
                f"Node [graph = {graph}, name = '{name}'] target {target} has type {torch.typename(target)} "
                "but a str is expected"
            )
        own = self.__dict__  # as `__setattr__` looks into the graph's table
        own.update(graph=graph, name=name, op=op, target=target, type=return_type, meta={})
        own.update(users={}, _input_nodes={}, _erased=False, _repr_fn=None, _prev=self, _next=self, _place=0)
        self._update_args_kwargs(args, kwargs)

    # --------------------------------------------------------------------------------------------------- its place

    @property
    def next(self) -> Node:
        """The node after this one; the graph's root after the last."""
        return self._next  # type: ignore[no-any-return]

    @property
    def prev(self) -> Node:
        """The node before this one; the graph's root before the first."""
        return self._prev  # type: ignore[no-any-return]

    def prepend(self, x: Node) -> None:
        """Put `x`, which is in the same graph, before this node."""
        if x.graph is not self.graph:
            raise AssertionError("Attempting to move a Node into a different Graph")
        if x is self:
            return
        x._remove_from_list()
        before = self._prev
        before.__dict__["_next"] = x
        x.__dict__.update(_prev=before, _next=self)
        self.__dict__["_prev"] = x
        self.graph._numbered = False

    def append(self, x: Node) -> None:
        """Put `x`, which is in the same graph, after this node."""
        if x is self:
            return
        self._next.prepend(x)

    def _remove_from_list(self) -> None:
        before, after = self._prev, self._next
        before.__dict__["_next"], after.__dict__["_prev"] = after, before

    def _order(self) -> int:
        if not self.graph._numbered:
            self.graph._number()
        return self._place  # type: ignore[no-any-return]

    def __lt__(self, other: Node) -> bool:
        return self._order() < other._order()

    def __gt__(self, other: Node) -> bool:
        return self._order() > other._order()

    def __le__(self, other: Node) -> bool:
        return self is other or self < other

    def __ge__(self, other: Node) -> bool:
        return self is other or self > other

    # ------------------------------------------------------------------------------------------------ its arguments

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments; lists and dicts in it are immutable, so assign a new tuple to change them."""
        return self._args  # type: ignore[no-any-return]

    @args.setter
    def args(self, a: tuple[Any, ...]) -> None:
        self._update_args_kwargs(a, self._kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments given by name."""
        return self._kwargs  # type: ignore[no-any-return]

    @kwargs.setter
    def kwargs(self, k: dict[str, Any]) -> None:
        self._update_args_kwargs(self._args, k)

    def _update_args_kwargs(self, args: Any, kwargs: Any) -> None:
        for old in self._input_nodes:
            old.users.pop(self, None)
        inputs: dict[Node, None] = {}

        def note(x: Any) -> Any:
            if isinstance(x, Node):
                inputs[x] = None
            return x

        own = self.__dict__
        own["_args"], own["_kwargs"] = map_aggregate(args, note), map_aggregate(kwargs, note)
        own["_input_nodes"] = inputs
        for new in inputs:
            new.users.setdefault(self)

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes among the arguments, each once, in order."""
        return list(self._input_nodes)

    def update_arg(self, idx: int, arg: Any) -> None:
        """Give the positional argument at `idx` another value."""
        args = list(self.args)
        args[idx] = arg
        self.args = tuple(args)

    def insert_arg(self, idx: int, arg: Any) -> None:
        """Put a positional argument before that at `idx`."""
        if not 0 <= idx <= len(self.args):
            raise AssertionError(f"insert_args index must be between 0 and len(self.args), got {idx}")
        self.args = (*self.args[:idx], arg, *self.args[idx:])

    def update_kwarg(self, key: str, arg: Any) -> None:
        """Give the argument called `key` another value."""
        self.kwargs = {**self.kwargs, key: arg}

    def replace_all_uses_with(
        self,
        replace_with: Node,
        delete_user_cb: Callable[[Node], bool] | None = None,
        *,
        propagate_meta: bool = False,
    ) -> list[Node]:
        """Have every user of this node use another one; the users that were changed.

        `delete_user_cb` says of a user whether it is to be changed, `propagate_meta` copies this node's `meta`.
        """
        if propagate_meta:
            if replace_with.meta:
                raise AssertionError(
                    "Called node.replace_all_uses_with(replace_with, propagate_meta=True), but replace_with already has "
                    ".meta keys"
                )
            replace_with.meta.update(self.meta)
        changed = [user for user in [*self.users] if delete_user_cb is None or delete_user_cb(user)]
        for user in changed:
            user.replace_input_with(self, replace_with)
        return changed

    def replace_input_with(self, old_input: Node, new_input: Node) -> None:
        """Use `new_input` wherever this node uses `old_input`."""
        for hook in getattr(self.graph.owning_module, "_replace_hooks", None) or ():
            hook(old=old_input, new=new_input.name, user=self)

        def other(x: Node) -> Node:
            return new_input if x is old_input else x

        self._update_args_kwargs(map_arg(self._args, other), map_arg(self._kwargs, other))

    # ------------------------------------------------------------------------------------------------ what it says

    @property
    def stack_trace(self) -> str | None:
        """Where in the program the node comes from, if the tracer recorded that."""
        return self.meta.get("stack_trace")  # type: ignore[no-any-return]

    @stack_trace.setter
    def stack_trace(self, trace: str | None) -> None:
        self.meta["stack_trace"] = trace

    def __repr__(self) -> str:
        return self._repr_fn(self) if self._repr_fn else self.name

    @staticmethod
    def _pretty_print_target(target: Any) -> str:
        if isinstance(target, str):
            return target
        module, name = getattr(target, "__module__", None), getattr(target, "__name__", None)
        if name is not None and module == "builtins":
            return f"builtins.{name}"
        if name is not None and module == "_operator":
            return f"operator.{name}"
        return qualified_name(target)

    def format_node(
        self,
        placeholder_names: list[str] | None = None,
        maybe_return_typename: list[str] | None = None,
        *,
        include_tensor_metadata: bool = False,
    ) -> str | None:
        """One line about the node.  With a list of `placeholder_names` a placeholder adds its own and gives None."""
        kind = f"{type_name(self.type)} " if self.type is not None else ""
        head = f"%{self.name} : {kind}[num_users={len(self.users)}] = {self.op}"
        if self.op == "placeholder":
            if placeholder_names is not None and placeholder_names != []:
                placeholder_names.append(self.target + (f": {type_name(self.type)}" if self.type else ""))
                return None
            default = f"(default={self.args[0]})" if self.args else ""
            return f"{head}[target={self.target}]{default}"
        if self.op == "get_attr":
            return f"{head}[target={self._pretty_print_target(self.target)}]"
        if self.op == "output":
            if self.type and maybe_return_typename:
                maybe_return_typename[0] = f" -> {type_name(self.type)}"
            return f"return {self.args[0]}"
        target = self._pretty_print_target(self.target)
        return f"{head}[target={target}](args = {_shown(self.args)}, kwargs = {_shown(self.kwargs)})"

    # ------------------------------------------------------------------------------------------------------- others

    def is_impure(self, impure_random: bool = True) -> bool:
        """Whether the node does more than to compute its value, so must stay where nobody uses that."""
        if self.op in ("placeholder", "output"):
            return True
        if self.op == "call_module":
            if self.graph.owning_module is None:
                raise AssertionError("self.graph.owning_module not set for purity check")
            return bool(getattr(self.graph.owning_module.get_submodule(self.target), "_is_impure", False))
        return self.op == "call_function" and _has_effects(self.target, impure_random)

    def normalized_arguments(
        self,
        root: Any,
        arg_types: tuple[Any, ...] | None = None,
        kwarg_types: dict[str, Any] | None = None,
        normalize_to_only_use_kwargs: bool = False,
    ) -> Any:
        """(args, kwargs) put into the order of the target's parameters, with defaults; None where that is not possible."""
        from .operator_schemas import normalize_function, normalize_module

        only = normalize_to_only_use_kwargs
        if self.op == "call_function":
            return normalize_function(self.target, self.args, self.kwargs, arg_types, kwarg_types, only)
        if self.op == "call_module":
            return normalize_module(root, self.target, self.args, self.kwargs, only)
        return None

    def _rename(self, candidate: str) -> None:
        if candidate != self.name:
            self.name = self.graph._graph_namespace.create_name(candidate, None)
            self.graph._graph_namespace.rename(self, self.name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "name":
            for hook in getattr(self.graph.owning_module, "_replace_hooks", None) or ():
                for user in self.users:
                    hook(old=self, new=value, user=user)
        table = self.graph._find_nodes_lookup_table if name in ("op", "target") else None
        listed = table is not None and self in table
        if table is not None and listed:
            table.remove(self)
        object.__setattr__(self, name, value)
        if table is not None and listed:
            table.insert(self)

    def __getattr__(self, name: str) -> Any:  # for type checkers: what `__init__` puts into the dict
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
