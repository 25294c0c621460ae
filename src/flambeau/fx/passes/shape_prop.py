"""Noting the shapes and dtypes of a graph's values: `ShapeProp`."""

from __future__ import annotations

import traceback
from typing import Any, NamedTuple

from ...core.tensor import Tensor
from ...runtime.types import Size, channels_last, channels_last_3d, contiguous_format, strided
from ..interpreter import Interpreter
from ..node import Node, map_aggregate

__all__ = ["ShapeProp", "TensorMetadata"]


class TensorMetadata(NamedTuple):
    """What is to be known about a tensor, without its elements."""

    shape: Size
    dtype: Any
    requires_grad: bool
    stride: tuple[int, ...]
    memory_format: Any
    is_quantized: bool
    qparams: dict[str, Any]


def _extract_tensor_metadata(result: Tensor, include_contiguity: bool = True) -> TensorMetadata:
    """The `TensorMetadata` of a tensor."""
    dense = result.layout is strided
    formats = (contiguous_format, channels_last, channels_last_3d) if include_contiguity and dense else ()
    memory_format = next((f for f in formats if _has_format(result, f)), None)
    stride = tuple(result.stride()) if dense else ()
    return TensorMetadata(result.shape, result.dtype, result.requires_grad, stride, memory_format, False, {})


def _has_format(t: Tensor, memory_format: Any) -> bool:
    dims = {channels_last: 4, channels_last_3d: 5}.get(memory_format)
    return dims in (None, t.dim()) and bool(t.is_contiguous(memory_format=memory_format))


class ShapeProp(Interpreter):
    """Runs a graph, and leaves in each node's ``meta`` what its value was: "tensor_meta", and the "type".

    Raises: RuntimeError when a node fails, with the node.

    >>> import flambeau as torch
    >>> gm = torch.fx.symbolic_trace(lambda x: torch.relu(x).sum(0))
    >>> _ = ShapeProp(gm).propagate(torch.ones(2, 3))
    >>> [tuple(n.meta["tensor_meta"].shape) for n in gm.graph.nodes]
    [(2, 3), (2, 3), (3,), (3,)]
    """

    def __init__(self, gm: Any, fake_mode: Any = None) -> None:
        super().__init__(gm)
        self.fake_mode = fake_mode

    def run_node(self, n: Node) -> Any:
        """The node's value, after noting what it is."""
        try:
            result = super().run_node(n)
        except Exception as e:
            traceback.print_exc()
            raise RuntimeError(f"ShapeProp error for: node={n.format_node()} with meta={n.meta}") from e
        found = False

        def described(x: Any) -> Any:
            nonlocal found
            if not isinstance(x, Tensor):
                return x
            found = True
            return _extract_tensor_metadata(x)

        meta = map_aggregate(result, described)
        if found:
            n.meta["tensor_meta"] = meta
        n.meta["type"] = type(result)
        return result

    def propagate(self, *args: Any) -> Any:
        """What the graph gives for these arguments."""
        return self.run(*args)
