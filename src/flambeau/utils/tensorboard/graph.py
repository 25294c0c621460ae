"""The graph of a model: the operations that a call records, grouped by the modules that made them."""

from __future__ import annotations

from typing import Any

from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.versions_pb2 import VersionDef

from ...autograd.grad_mode import enable_grad
from ...core.tensor import Tensor


def _tensors(x: Any) -> list[Any]:
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, dict):
        return [t for v in x.values() for t in _tensors(v)]
    if isinstance(x, (list, tuple)):
        return [t for v in x for t in _tensors(v)]
    return []


class _Recorder:
    """Gives each node of the recorded graph the path of the innermost module that made it."""

    def __init__(self) -> None:
        self.scope: dict[Any, str] = {}
        self.order: list[Any] = []

    def claim(self, outputs: Any, path: str) -> None:
        """Everything reachable from `outputs` that has no place yet is at `path`."""
        stack = [t.grad_fn for t in _tensors(outputs) if t.grad_fn is not None]
        while stack:
            node = stack.pop()
            if node in self.scope:
                continue
            self.scope[node] = path
            self.order.append(node)
            stack.extend(n for n, _ in node.next_functions if n is not None)


def graph_of(model: Any, inputs: Any) -> Any:
    """The GraphDef of ``model(*inputs)``; operations that gradients do not pass through are not seen.

    Raises: ValueError when nothing is recorded.
    """
    args = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
    args = [
        x.detach().clone().requires_grad_() if isinstance(x, Tensor) and x.is_floating_point() else x
        for x in args
    ]
    recorder = _Recorder()
    handles = []
    paths = (
        {module: name for name, module in model.named_modules()} if hasattr(model, "named_modules") else {}
    )
    for module, path in paths.items():

        def after(module: Any, args: Any, output: Any, path: str = path) -> None:
            recorder.claim(output, path)

        handles.append(module.register_forward_hook(after))
    try:
        with enable_grad():
            outputs = model(*args)
    finally:
        for handle in handles:
            handle.remove()
    recorder.claim(outputs, "")
    if not recorder.order:
        raise ValueError(
            "add_graph: the model recorded no operation (do its parameters or inputs require grad?)"
        )
    return _definition(recorder, model, args, outputs)


def _definition(recorder: _Recorder, model: Any, args: list[Any], outputs: Any) -> Any:
    root = type(model).__name__
    leaves = {id(x): f"input/{i}" for i, x in enumerate(args) if isinstance(x, Tensor)}
    if hasattr(model, "named_parameters"):
        leaves.update({id(p): f"{root}/{name.replace('.', '/')}" for name, p in model.named_parameters()})
    names: dict[Any, str] = {}
    used: dict[str, int] = {}
    for node in reversed(recorder.order):
        variable = getattr(node, "variable", None)
        if variable is not None:
            names[node] = leaves.get(id(variable), f"{root}/constant")
            continue
        kind = node.name().removesuffix("0").removesuffix("Backward")
        stem = "/".join(part for part in (root, recorder.scope[node].replace(".", "/"), kind) if part)
        used[stem] = used.get(stem, -1) + 1
        names[node] = stem if not used[stem] else f"{stem}_{used[stem]}"
    nodes = []
    for node in reversed(recorder.order):
        variable = getattr(node, "variable", None)
        kind = (
            "IO Node"
            if names[node].startswith("input/")
            else "Parameter"
            if variable is not None
            else node.name()
        )
        sources = [names[n] for n, _ in node.next_functions if n is not None]
        nodes.append(NodeDef(name=names[node], op=kind, input=sources))
    for i, t in enumerate(_tensors(outputs)):
        if t.grad_fn is not None:
            nodes.append(NodeDef(name=f"output/{i}", op="IO Node", input=[names[t.grad_fn]]))
    return GraphDef(node=nodes, versions=VersionDef(producer=22))
