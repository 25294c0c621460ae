"""Computing ahead what depends on attributes alone: `split_const_subgraphs`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ...core.tensor import Tensor
from ...nn import Parameter, ParameterList
from .._symbolic_trace import symbolic_trace
from ..graph import Graph
from ..graph_module import GraphModule, _copy_attr, _has_attr
from ..naming import torch
from ..node import Node, map_arg
from ..passes.split_module import split_module

__all__ = ["FoldedGraphModule", "get_unique_attr_name_in_module", "split_const_subgraphs"]


class FoldedGraphModule(GraphModule):
    """A graph module some of whose attributes are computed by `run_folding`, which the first call does."""

    def __init__(
        self,
        root: Any,
        graph: Graph,
        const_subgraph: Graph | None = None,
        fx_const_folded_attrs_name: str | None = None,
        device_for_folded_attrs: str = "cpu",
    ) -> None:
        super().__init__(root, graph)
        self.const_subgraph_module = None if const_subgraph is None else GraphModule(root, const_subgraph)
        self.has_folding_been_run = False
        self.fx_const_folded_attrs_name = fx_const_folded_attrs_name
        self.device_for_folded_attrs = device_for_folded_attrs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.has_folding_been_run:
            self.run_folding()
        return super().__call__(*args, **kwargs)

    def run_folding(self) -> None:
        """Compute the attributes.

        Raises: AssertionError the second time.
        """
        if self.const_subgraph_module is None or self.fx_const_folded_attrs_name is None:
            return
        if self.has_folding_been_run:
            raise AssertionError("Folding has already been run")
        self.has_folding_been_run = True
        values = self.const_subgraph_module()

        def kept(v: Any) -> Parameter:
            if isinstance(v, Tensor):
                return Parameter(v.detach().clone(), requires_grad=v.requires_grad)
            return Parameter(torch.tensor([float(v)]), requires_grad=False)

        made = ParameterList([kept(v) for v in values]) if isinstance(values, tuple) else kept(values)
        setattr(self, self.fx_const_folded_attrs_name, made)


def get_unique_attr_name_in_module(mod_traced: Any, name: str) -> str:
    """A name like `name` that the module has no attribute of."""
    name = re.sub("[^0-9a-zA-Z_]+", "_", name)
    name = f"_{name}" if name[0].isdigit() else name
    while hasattr(mod_traced, name):
        numbered = re.match(r"(.*)_(\d+)$", name)
        name = f"{name}_1" if numbered is None else f"{numbered[1]}_{int(numbered[2]) + 1}"
    return name


def _inline_module(gm: GraphModule, inline_mod_name: str, run_dce: bool = True) -> dict[Node, Any]:
    """Put the nodes of a sub-module in the place of the node that calls it; the new node for each of them."""
    inner = gm.get_submodule(inline_mod_name)
    if not isinstance(inner, GraphModule):
        raise AssertionError(f"Expected GraphModule, got {type(inner)}")
    call = next((n for n in gm.graph.nodes if n.op == "call_module" and n.target == inline_mod_name), None)
    if call is None:
        raise AssertionError(f"Could not find call_module node for {inline_mod_name}")
    made: dict[Node, Any] = {}
    given = iter(call.args)
    for node in inner.graph.nodes:
        if node.op == "placeholder":
            made[node] = call.kwargs[node.name] if node.name in call.kwargs else next(given)
        elif node.op == "output":
            result = map_arg(node.args[0], lambda n: made[n])
            if isinstance(result, (list, tuple)):
                for user in list(call.users):
                    if isinstance(user.args[1], int) and getattr(user.target, "__name__", "") == "getitem":
                        user.replace_all_uses_with(result[user.args[1]])
                        gm.graph.erase_node(user)
            else:
                call.replace_all_uses_with(result)
        else:
            if node.op in ("call_module", "get_attr") and not _has_attr(gm, node.target):
                _copy_attr(inner, gm, node.target)
            with gm.graph.inserting_before(call):
                made[node] = gm.graph.node_copy(node, lambda n: made[n])
    gm.graph.erase_node(call)
    if run_dce:
        gm.graph.eliminate_dead_code()
    return made


def split_const_subgraphs(
    module: Any,
    skip_folding_node_fn: Callable[[Node], bool] | None = None,
    device_for_folded_attrs: str = "cpu",
) -> FoldedGraphModule:
    """`module` as a graph module that computes what depends on attributes alone once, not in each call.

    Nodes for which `skip_folding_node_fn` holds are not computed ahead.

    >>> import flambeau as torch
    >>> class M(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = torch.nn.Parameter(torch.ones(2))
    ...     def forward(self, x):
    ...         return x * (self.w + 1)
    >>> folded = split_const_subgraphs(M())
    >>> [n.op for n in folded.graph.nodes], folded(torch.ones(2)).tolist()
    (['placeholder', 'get_attr', 'call_function', 'output'], [2.0, 2.0])
    """
    traced = module if isinstance(module, GraphModule) else symbolic_trace(module)
    constant: set[Node] = set()
    found = False
    for node in traced.graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        if node.op != "get_attr" and not set(node.all_input_nodes).issubset(constant):
            continue
        if (skip_folding_node_fn and skip_folding_node_fn(node)) or node.is_impure():
            continue
        if node.op != "get_attr" and not node.all_input_nodes:
            continue  # nothing of the module is in it
        constant.add(node)
        found = found or node.op != "get_attr"
    if not found:
        return FoldedGraphModule(traced, traced.graph)
    split = split_module(traced, module, lambda node: 0 if node in constant else 1)
    first, second = split.submod_0, getattr(split, "submod_1", None)
    # What the first part takes from outside are attributes: it asks for them itself.
    call = next(n for n in split.graph.nodes if n.op == "call_module" and n.target == "submod_0")
    places = [n for n in first.graph.nodes if n.op == "placeholder"]
    for place, given in zip(places, call.args):
        with first.graph.inserting_before(place):
            asked = first.graph.create_node("get_attr", given.target)
        asked.meta = place.meta.copy()
        place.replace_all_uses_with(asked)
        first.graph.erase_node(place)
    for node in first.graph.nodes:
        if node.op == "call_module":
            name = get_unique_attr_name_in_module(split, node.target)
            setattr(split, name, first.get_submodule(node.target))
            node.target = name
    folded_name = get_unique_attr_name_in_module(split, "_FX_CONST_FOLDED_ATTRS")
    results = first.graph.output_node().args[0]
    several = isinstance(results, tuple)
    setattr(split, folded_name, ParameterList() if several else Parameter(torch.zeros(1)))
    with split.graph.inserting_before(call):
        value = split.graph.get_attr(folded_name)
    if not several:
        value.meta = results.meta.copy()
    for user in call.users if several else ():
        user.meta = results[user.args[1]].meta.copy()
    call.replace_all_uses_with(value)
    split.graph.erase_node(call)
    if second is not None:
        _inline_module(split, "submod_1")
    split.graph.eliminate_dead_code()
    split.recompile()
    return FoldedGraphModule(split, split.graph, first.graph, folded_name, device_for_folded_attrs)
