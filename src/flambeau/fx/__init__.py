"""Programs as graphs that other programs read and change: PyTorch's ``torch.fx``.

`symbolic_trace` runs a module or function on values without numbers (`Proxy`) that write down what is done with them. The
`Graph` can be changed, and a `GraphModule` runs it: by Python text that is generated from it and can be read (`code`).
`Interpreter` runs it node by node, `replace_pattern` rewrites it. To make a function fast: `flambeau.compile`.
"""

from __future__ import annotations

from ..runtime.absent import names_of as _names_of
from ._symbolic_trace import PH, ProxyableClassMeta, Tracer, symbolic_trace
from .graph import CodeGen, Graph
from .graph_module import GraphModule
from .immutable_collections import immutable_dict, immutable_list
from .interpreter import Interpreter, Transformer
from .node import Node, has_side_effect, map_arg
from .proxy import Proxy, TraceError
from .subgraph_rewriter import replace_pattern
from .wrapping import wrap

__all__ = [
    *(
        "CodeGen",
        "Graph",
        "GraphModule",
        "Interpreter",
        "Node",
        "PH",
        "Proxy",
        "ProxyableClassMeta",
        "TraceError",
    ),
    *(
        "Tracer",
        "Transformer",
        "has_side_effect",
        "immutable_dict",
        "immutable_list",
        "map_arg",
        "replace_pattern",
    ),
    *("symbolic_trace", "wrap"),
]

__getattr__ = _names_of(__name__)
