"""The Tensor handle: what a user holds.

A handle points at a payload: a `numpy.ndarray` in eager mode, or the value an interpreter put there.  It can be
re-bound to another payload, which is how in-place operations work under every transform.  Methods that are
operations are attached by the layers above (`flambeau.ops`), so that each is defined once, next to its function.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Callable, Optional

import numpy as np

from ..runtime import dtypes
from .where import Place, user_place

if TYPE_CHECKING:
    from .op import Op
    from .tape import Node

new_object = object.__new__


class Storage:
    """Shared by all views of one piece of memory: its version counter, its last writer, its live views."""

    __slots__ = ("version", "writer", "place", "views", "prune_at", "inference", "owner")

    def __init__(self) -> None:
        self.version = 0
        self.writer: str = ""  # the operation that wrote last, and where: named by stale-tensor errors
        self.place: Place = None
        self.views: Optional[list[weakref.ref[Tensor]]] = None
        self.prune_at = 16
        self.inference = False
        self.owner: Any = None

    def add_view(self, view: Tensor) -> None:
        """Remember a view so that a write through another handle can re-point its history."""
        views = self.views
        if views is None:
            views = self.views = []
        elif len(views) >= self.prune_at:
            views[:] = [r for r in views if r() is not None]
            self.prune_at = 2 * len(views) + 16
        views.append(weakref.ref(view))

    def written(self, opname: str, depth: int = 3) -> None:
        """Count a write and note who made it."""
        self.version += 1
        self.writer = opname
        self.place = user_place(depth)


class Tensor:
    """A multi-dimensional array of one dtype that can record the operations applied to it.

    ``Tensor(2, 3)`` makes an uninitialised float tensor of that shape and ``Tensor([1, 2])`` one with that data,
    as in PyTorch; new code says `flambeau.empty` or `flambeau.tensor`.

    >>> import flambeau as torch
    >>> torch.tensor([1.0, 2.0]).shape
    torch.Size([2])
    """

    __slots__ = ("_a", "_node", "_st", "_base", "_how", "_grad", "__weakref__", "__dict__")

    _a: Any  # payload: numpy.ndarray, or an interpreter's value with .shape and .dtype
    _node: Optional[Node]  # autograd history at the bottom level; a LeafNode when this is a leaf that requires grad
    _st: Optional[Storage]  # made when first needed
    _base: Optional[Tensor]  # the handle that this one is a view of
    _how: tuple[tuple[Op, dict[str, Any]], ...]  # the view operations from _base to here (set when _base is)
    _grad: Optional[Tensor]  # unset means None

    # Comparisons give tensors, so hashing is by identity; NumPy must leave binary operations to us.
    __hash__ = object.__hash__
    __array_priority__ = 1000

    if TYPE_CHECKING:  # the attached operations

        def __getattr__(self, name: str) -> Any: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        return constructors["legacy"](cls, *args, **kwargs)  # type: ignore[no-any-return]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in subclass_hooks:
            hook(cls)

    @property
    def dtype(self) -> dtypes.dtype:
        """The element type."""
        return dtypes.OF_NUMPY[self._a.dtype]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._a.shape)

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for gradients."""
        return node_of(self) is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)


# Filled in by the layers above: "legacy" is Tensor(...) itself.
constructors: dict[str, Callable[..., Any]] = {}
# Called with each new subclass of Tensor (the __torch_function__ protocol installs itself here).
subclass_hooks: list[Callable[[type], None]] = []


def wrap(payload: Any) -> Tensor:
    """A fresh Tensor over a payload, with no history."""
    t = new_object(Tensor)
    t._a = payload
    t._node = None
    t._st = None
    t._base = None
    return t


def from_array(result: Any) -> Tensor:
    """`wrap` for whatever a NumPy function returned: scalars become 0-d arrays."""
    return wrap(result if type(result) is np.ndarray else np.asarray(result))


def snapshot(t: Tensor) -> Tensor:
    """A second handle with the same payload, history and storage, which later re-binding of `t` does not touch."""
    s = new_object(Tensor)
    s._a = t._a
    s._node = t._node
    s._st = t._st
    s._base = None
    return s


def storage(t: Tensor) -> Storage:
    """The tensor's Storage, made on first use."""
    st = t._st
    if st is None:
        st = t._st = Storage()
    return st


def node_of(t: Tensor) -> Optional[Node]:
    """The history of `t` at the innermost tape that knows it."""
    payload = t._a
    if type(payload) is np.ndarray:
        return t._node
    return payload.history()  # type: ignore[no-any-return]


def make_view(t: Tensor, base: Tensor, op: Op, params: dict[str, Any]) -> Tensor:
    """Mark `t` as the result of view operation `op` on `base`."""
    st = storage(base)
    t._st = st
    root = base._base
    if root is None:
        t._base = base
        t._how = ((op, params),)
    else:
        t._base = root
        t._how = (*base._how, (op, params))
    st.add_view(t)
    return t


def mark_written(t: Tensor, opname: str) -> None:
    """Tell autograd that the memory of `t` was written directly (optimizers, buffers, NumPy code).

    Bumps the version counter shared by all views, so that a tensor saved before the write is known to be stale.
    """
    storage(t).written(opname)
