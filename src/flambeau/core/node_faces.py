"""Nodes as users meet them: of a class that bears PyTorch's name for the operation, with the tensors it saved."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from .tape import AccumulateGrad, BaseNode, Node, OutNode, Packed, PlainNode, raise_freed
from .tensor import Tensor, storage

__all__ = ["SavedTensor", "face"]

# PyTorch's names of an operation's first inputs, where ours differ.
POSITIONS = {"self": 0, "input": 0, "other": 1, "mat2": 1, "exponent": 1, "weight": 1}


def face(node: BaseNode | None) -> BaseNode | None:
    """`node`, once its class is the one of its name: ``type(node).__name__`` reads ``AddBackward0``.

    Nodes are recorded by the million and looked at by the dozen, so the class is changed when a user gets hold of one.
    """
    kind = type(node)
    if kind is OutNode:
        return face(node.parent)  # type: ignore[union-attr]
    if kind is Node or kind is PlainNode or isinstance(node, NodeFace):
        assert node is not None
        name = node.name().rpartition(":")[2]
        if kind.__name__ != name:
            node.__class__ = _class_of(Node if isinstance(node, Node) else PlainNode, name)
    return node


@functools.lru_cache(maxsize=4096)
def _class_of(base: type[BaseNode], name: str) -> type[BaseNode]:
    return type(name, (NodeFace, base), {"__slots__": (), "__module__": "flambeau.autograd.graph"})


class NodeFace:
    """What a node shows beyond what backward needs: ``_saved_self``, ``_saved_result``, ``_raw_saved_self``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        for prefix, fetch in (("_saved_", _saved), ("_raw_saved_", SavedTensor)):
            if name.startswith(prefix):
                found = _find(self, name.removeprefix(prefix))
                if found is not None:
                    return fetch(self, *found)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> Iterable[str]:
        node: Any = self
        kept = [node.op.inputs[i] for i in node.plan.inputs if i < len(node.op.inputs)]
        first = {i: n for n, i in reversed(POSITIONS.items())}
        names = [first.get(node.op.inputs.index(n), n) for n in kept] + ["result"] * node.plan.output
        return [*object.__dir__(self), *(f"_saved_{n}" for n in names), *(f"_raw_saved_{n}" for n in names)]


def _find(node: Any, name: str) -> tuple[Any] | None:
    """Where the node keeps the value of this name: a position in `saved`, or the name of a parameter."""
    kept, inputs = node.plan.inputs, node.op.inputs
    if name == "result":
        return (len(kept),) if node.plan.output else None
    at = inputs.index(name) if name in inputs else POSITIONS.get(name)
    if at is not None and at in kept:
        return (kept.index(at),)
    return (name,) if name in node.params else None


def _saved(node: Any, key: Any) -> Any:
    if type(key) is str:
        return node.params[key]
    if node.saved is None:
        raise_freed(node.freed)
    if key == len(node.plan.inputs):
        return node.unpack_output()
    leaf = node.next[node.plan.inputs[key]]
    value = node.unpack(key)
    if (
        type(leaf) is AccumulateGrad
        and (own := leaf.ref()) is not None
        and own._a is getattr(value, "_a", None)
    ):
        return own
    return value


class SavedTensor:
    """A tensor that a node keeps for backward, before it is unpacked (``node._raw_saved_self``)."""

    __slots__ = ("_node", "_key")

    def __init__(self, node: Any, key: Any) -> None:
        if type(key) is str or node.saved is None:
            raise RuntimeError("there is no saved tensor of this name, or backward has freed it")
        self._node, self._key = node, key

    def register_hooks(
        self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]
    ) -> None:
        """Replace what is kept by ``pack_hook(tensor)``; backward uses ``unpack_hook`` of that.

        Raises:
            RuntimeError: hooks are already there, backward has freed the tensor, or `pack_hook` writes to it.
        """
        node, key = self._node, self._key
        if node.saved is None:
            raise_freed(node.freed)
        if type(node.saved[key]) is Packed:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor with existing hooks is not supported"
            )
        value = _saved(node, key).detach()
        st = storage(value)
        version = st.version
        packed = pack_hook(value)
        if st.version != version:
            raise RuntimeError("A saved tensor pack hook is modifying its input in place. It must not")
        saved, stores = list(node.saved), list(node.stores)
        saved[key], stores[key] = Packed(packed, unpack_hook), None
        node.saved, node.stores = saved, tuple(stores)
