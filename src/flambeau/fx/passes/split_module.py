"""Cutting a graph into sub-modules: `split_module`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..graph import Graph
from ..graph_module import GraphModule, _get_attr
from ..node import Node, map_arg
from ..proxy import Proxy

__all__ = ["Partition", "split_module"]


class Partition:
    """A part of a graph: the names of its nodes, of what it needs from outside and of what others need from it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.submod_name = f"submod_{name}"
        self.node_names: list[str] = []
        self.inputs: dict[str, None] = {}
        self.outputs: dict[str, None] = {}
        self.dependencies: dict[str, None] = {}
        self.dependents: dict[str, None] = {}
        self.graph = Graph()
        self.environment: dict[Node, Node] = {}
        self.targets: dict[str, Any] = {}

    def __repr__(self) -> str:
        return (
            f"name: {self.name},\n nodes: {self.node_names},\n inputs: {self.inputs},\n outputs: {self.outputs},\n"
            f" partitions depended on: {self.dependencies},\n partition dependents: {self.dependents}"
        )


def split_module(
    m: GraphModule,
    root_m: Any,
    split_callback: Callable[[Node], int],
    qualname_map: dict[str, str] | None = None,
    keep_original_order: bool | None = False,
    keep_original_node_name: bool | None = False,
    keep_original_input_name: bool = True,
    *,
    partition_affix: str | None = None,
    tuple_return: bool = False,
) -> GraphModule:
    """A module that calls ``submod_0``, ``submod_1``, ...: `split_callback` says for each node to which it goes.

    `qualname_map` gets the old name of each sub-module by its new one. With `tuple_return` the parts return tuples also
    where there is one value.

    Raises: RuntimeError when two parts need each other.

    >>> import flambeau as torch
    >>> gm = torch.fx.symbolic_trace(lambda x: torch.relu(x + 1) * 2)
    >>> split = split_module(gm, gm, lambda node: 0 if node.name == "add" else 1)
    >>> print(split.code.strip())
    def forward(self, x):
        submod_0 = self.submod_0(x);  x = None
        submod_1 = self.submod_1(submod_0);  submod_0 = None
        return submod_1
    """
    return _Split(
        m,
        split_callback,
        {} if qualname_map is None else qualname_map,
        bool(keep_original_order),
        bool(keep_original_node_name),
        keep_original_input_name,
        partition_affix,
        tuple_return,
    ).made()


class _Split:
    def __init__(
        self,
        m: GraphModule,
        callback: Callable[[Node], int],
        names: dict[str, str],
        keep_order: bool,
        keep_node_name: bool,
        keep_input_name: bool,
        affix: str | None,
        tuples: bool,
    ) -> None:
        self.m, self.callback, self.names = m, callback, names
        self.keep_order, self.keep_node_name, self.keep_input_name = (
            keep_order,
            keep_node_name,
            keep_input_name,
        )
        self.affix, self.tuples = affix, tuples
        self.partitions: dict[str, Partition] = {}
        self.of: dict[Node, str] = {}
        self.nodes = {node.name: node for node in m.graph.nodes}
        self.base = Graph()
        self.env: dict[str, Node] = {}
        self.attributes: dict[str, Any] = {}

    def assign(self) -> None:
        for node in self.m.graph.nodes:
            if node.op in ("placeholder", "get_attr", "output"):
                continue
            name = str(self.callback(node))
            name = name if self.affix is None else f"{self.affix}_{name}"
            self.partitions.setdefault(name, Partition(name)).node_names.append(node.name)
            self.of[node] = name

    def connect(self) -> None:
        for node in self.m.graph.nodes:
            if node.op in ("placeholder", "get_attr"):
                continue
            user = self.of.get(node)
            for used in node.all_input_nodes:
                maker = self.of.get(used)
                if maker == user:
                    continue
                if maker is not None:
                    self.partitions[maker].outputs.setdefault(used.name)
                if maker is not None and user is not None:
                    self.partitions[maker].dependents.setdefault(user)
                    self.partitions[user].dependencies.setdefault(maker)
                if user is not None:
                    self.partitions[user].inputs.setdefault(used.name)

    def ordered(self) -> list[str]:
        waiting = {name: set(p.dependencies) for name, p in self.partitions.items()}
        ready = [name for name, needs in waiting.items() if not needs]
        done: list[str] = []
        while ready:
            name = ready.pop()
            done.append(name)
            for user in self.partitions[name].dependents:
                waiting[user].discard(name)
                if not waiting[user]:
                    ready.append(user)
        if len(done) != len(self.partitions):
            raise RuntimeError("cycle exists between partitions!")
        return done

    def fill(self, order: list[str]) -> None:
        for name in order:
            partition = self.partitions[name]
            for i, needed in enumerate(partition.inputs):
                node = self.nodes[needed]
                own = needed if self.keep_input_name else f"arg_{i}"
                made = partition.graph.placeholder(own, type_expr=node.type)
                made.meta = node.meta.copy()
                partition.environment[node] = made
        for node, name in self.of.items():
            partition = self.partitions[name]
            env, target = partition.environment, node.target
            if node.op == "call_module":
                target = node.target.replace(".", "_")
                partition.targets[target] = _get_attr(self.m, node.target)
                self.names[f"{partition.submod_name}.{target}"] = node.target
            made = partition.graph.create_node(
                node.op,
                target,
                map_arg(node.args, env.__getitem__),
                map_arg(node.kwargs, env.__getitem__),
                node.name if self.keep_node_name else None,
                node.type,
            )
            made.meta = node.meta.copy()
            env[node] = made

    def outside(self, node: Node) -> None:
        """A parameter or attribute, in the module that calls the parts."""
        if node.name in self.env:
            return
        if node.op == "placeholder":
            default = node.args[0] if node.args else inspect.Signature.empty
            name = node.name if self.keep_node_name else node.target
            made = self.base.placeholder(name, type_expr=node.type, default_value=default)
        elif node.op == "get_attr":
            made = self.base.get_attr(node.target)
            self.attributes[node.target] = _get_attr(self.m, node.target)
        else:
            return
        made.meta = node.meta.copy()
        self.env[node.name] = made

    def call(self, partition: Partition) -> None:
        results = tuple(partition.environment[self.nodes[name]] for name in partition.outputs)
        single = len(results) == 1 and not self.tuples
        partition.graph.output(results[0] if single else results)
        self.attributes[partition.submod_name] = GraphModule(partition.targets, partition.graph)
        args = tuple(self.env[name] for name in partition.inputs)
        called = self.base.call_module(partition.submod_name, args)
        value: Any = Proxy(called)
        for i, name in enumerate(partition.outputs):
            self.env[name] = called if single else value[i].node

    def made(self) -> GraphModule:
        self.assign()
        self.connect()
        first_seen, order = list(self.partitions), self.ordered()
        self.fill(order)
        places = [n for n in self.m.graph.nodes if n.op == "placeholder"]
        if not self.keep_order:
            for node in self.m.graph.nodes:
                self.outside(node)
        for name in first_seen if self.keep_order else order:
            partition = self.partitions[name]
            if self.keep_order:
                for node in [*places, *(self.nodes[n] for n in partition.inputs)]:
                    self.outside(node)
            self.call(partition)
        for node in self.m.graph.nodes:
            self.outside(node)
            if node.op == "output":
                self.base.output(map_arg(node.args[0], lambda n: self.env[n.name]))
        made = GraphModule(self.attributes, self.base)
        made.meta["partition_names"] = {p.submod_name for p in self.partitions.values()}
        return made
