"""Hooks on saved tensors, graph nodes, and what can be asked of a graph."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..core.node_faces import face
from ..core.state import tls
from ..core.tape import BaseNode as Node
from ..core.tape import OutNode, RemovableHandle
from ..core.tensor import Tensor, node_of
from ..runtime.absent import no_such_name
from .differentiate import GradientEdge

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",  # noqa: F822  lazy: __getattr__
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class saved_tensors_hooks:
    """Within the block, every tensor saved for backward goes through `pack_hook`, and comes back through `unpack_hook`.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(force=True), torch.from_numpy):
    ...     y = (x * x).sum()
    >>> y.backward(); x.grad
    tensor([2., 2.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if tls.__dict__.get("hooks_disabled") is not None:
            raise RuntimeError(tls.hooks_disabled)
        before = [*tls.saved_hooks]
        try:
            tls.saved_hooks.append((self.pack_hook, self.unpack_hook))
            tls.refresh()
        except BaseException:
            tls.saved_hooks[:] = before
            tls.refresh()
            raise

    def __exit__(self, *exc: Any) -> None:
        left = tls.saved_hooks[:-1]
        try:
            tls.saved_hooks[:] = left
            tls.refresh()
        except BaseException:
            tls.saved_hooks[:] = left
            tls.refresh()
            raise


class save_on_cpu(saved_tensors_hooks):
    """Keep saved tensors in CPU memory; here they are there already."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: t, lambda t: t)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Within the block, entering saved_tensors_hooks is an error with this message."""
    prev = tls.__dict__.get("hooks_disabled")
    tls.hooks_disabled = error_message
    try:
        yield
    finally:
        tls.hooks_disabled = prev


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge along which the gradient of `tensor` arrives.

    Raises: RuntimeError when the tensor does not require grad.
    """
    node = node_of(tensor)
    if node is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require gradients"
        )
    shown: Any = face(node)
    if isinstance(node, OutNode):
        return GradientEdge(shown, node.index, node)
    return GradientEdge(shown, 0)


def increment_version(tensor: Any) -> None:
    """Count an in-place change that autograd could not see."""
    from ..core.tensor import storage

    for t in [tensor] if isinstance(tensor, Tensor) else tensor:
        storage(t).written("increment_version")


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: str = "all") -> Any:
    """Call `fn` with the gradients of several tensors once all that a backward brings (or the first) are there.

    Tensors that this backward does not reach have None.

    Raises: ValueError for other modes.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    nodes = [node_of(t) for t in tensors]
    # for each backward that is running (threads may run several): what it brought, and how many it will bring
    walks: weakref.WeakKeyDictionary[Any, tuple[dict[int, Any], int]] = weakref.WeakKeyDictionary()

    def hook(i: int) -> Callable[[Tensor], None]:
        def receive(g: Tensor) -> None:
            walk = tls.walk()
            found = walks.get(walk)
            if found is None:
                visited = walk.visits() if mode == "all" else ()
                found = walks[walk] = ({}, sum(n in visited for n in nodes))
            got, expected = found
            got[i] = g
            if mode == "any":
                if len(got) == 1:
                    fn(g)
            elif len(got) == expected:
                fn([got.get(k) for k in range(len(nodes))])

        return receive

    handles = [RemovableHandle(n.extras().tensor_hooks, hook(i)) for i, n in enumerate(nodes)]

    class Handles:
        def remove(self) -> None:
            for h in handles:
                h.remove()

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *exc: Any) -> None:
            self.remove()

    return Handles()


def __getattr__(name: str) -> Any:
    if name == "allow_mutation_on_saved_tensors":
        from .mutation import allow_mutation_on_saved_tensors

        return allow_mutation_on_saved_tensors
    raise no_such_name(__name__, name)
