"""Making trained models simpler: batch norms folded into the layers before them, dropout taken out."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from ... import nn
from ...nn import Module
from ...nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from .._symbolic_trace import symbolic_trace
from ..graph import Graph
from ..graph_module import GraphModule
from ..interpreter import Transformer
from ..node import Node

__all__ = [
    "extract_subgraph",
    "fuse",
    "matches_module_pattern",
    "optimize_for_inference",
    "remove_dropout",
    "replace_node_module",
]


def _parent_name(target: str) -> tuple[str, str]:
    way, _, name = target.rpartition(".")
    return way, name


def matches_module_pattern(pattern: Iterable[type], node: Node, modules: dict[str, Any]) -> bool:
    """Whether a node calls a module of the second class on what one of the first class gave."""
    if not node.args:
        return False
    for kind, at in zip(pattern, (node.args[0], node)):
        if not isinstance(at, Node) or at.op != "call_module" or type(modules.get(at.target)) is not kind:
            return False
    return True


def replace_node_module(node: Node, modules: dict[str, Any], new_module: Module) -> None:
    """Put another module where the one is that a node calls."""
    way, name = _parent_name(node.target)
    modules[node.target] = new_module
    setattr(modules[way], name, new_module)


def fuse(model: Module, inplace: bool = False, no_trace: bool = False) -> GraphModule:
    """`model`, which is in eval mode, with batch norms folded into the convolutions and linear layers before them.

    A copy unless `inplace`; with `no_trace` a graph module is taken as it is.

    >>> import flambeau as torch
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)).eval()
    >>> fused, x = fuse(model), torch.ones(1, 1, 2, 2)
    >>> torch.allclose(fused(x), model(x)), [n.op for n in fused.graph.nodes]
    (True, ['placeholder', 'call_module', 'output'])
    """
    if not inplace:
        model = copy.deepcopy(model)
    traced = model if no_trace and isinstance(model, GraphModule) else symbolic_trace(model)
    modules, graph = dict(traced.named_modules()), copy.deepcopy(traced.graph)
    convolutions = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))
    for pattern in (*convolutions, (nn.Linear, nn.BatchNorm1d)):
        for node in graph.nodes:
            if not matches_module_pattern(pattern, node, modules) or len(node.args[0].users) > 1:
                continue
            first, norm = modules[node.args[0].target], modules[node.target]
            if not norm.track_running_stats:
                continue
            folded = (fuse_linear_bn_eval if pattern[0] is nn.Linear else fuse_conv_bn_eval)(first, norm)
            replace_node_module(node.args[0], modules, folded)
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    return GraphModule(traced, graph)


def remove_dropout(model: Module) -> GraphModule:
    """`model` as a graph module without its dropout layers."""

    class Without(Transformer):
        def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if isinstance(self.submodules[target], nn.Dropout):
                return args[0]
            return super().call_module(target, args, kwargs)

    return Without(symbolic_trace(model)).transform()


def extract_subgraph(
    orig_module: Module, nodes: list[Node], inputs: list[Node], outputs: list[Node]
) -> GraphModule:
    """The nodes alone, as a module from `inputs` to `outputs`."""
    graph, env = Graph(), {}
    for needed in inputs:
        env[needed] = graph.placeholder(needed.name)
    for node in nodes:
        env[node] = graph.node_copy(node, lambda n: env[n])
    graph.output([env[o] for o in outputs])
    graph.lint()
    return GraphModule(orig_module, graph)


def optimize_for_inference(
    model: Module, pass_config: dict[str, Any] | None = None, tracer: Any = None
) -> GraphModule:
    """`fuse` and `remove_dropout`, unless `pass_config` says False for "conv_bn_fuse" or "remove_dropout"."""
    wanted = pass_config or {}
    made: Any = model
    if wanted.get("conv_bn_fuse", True):
        made = fuse(made)
    if wanted.get("remove_dropout", True):
        made = remove_dropout(made)
    return made if isinstance(made, GraphModule) else symbolic_trace(made)
