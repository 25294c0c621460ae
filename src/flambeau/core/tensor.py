"""The Tensor handle: what a user holds.

A handle points at a payload: a `numpy.ndarray` in eager mode, or the value an interpreter put there.  It can be
re-bound to another payload, which is how in-place operations work under every transform.  Methods that are
operations are attached by the layers above (`flambeau.ops`), so that each is defined once, next to its function.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime import dtypes
from .pending import Pending
from .state import everyone
from .where import Place, user_place

if TYPE_CHECKING:
    from .op import Op

new_object = object.__new__
ref = weakref.ref


DATA_REPLACED = "an assignment to .data"  # as the last writer of a storage: its memory has its values still


class Storage:
    """Shared by all views of one piece of memory: its version counter, its last writer, its live views."""

    __slots__ = ("version", "writer", "place", "views", "prune_at", "inference", "owner")

    def __init__(self) -> None:
        self.version = 0
        self.writer: str = ""  # the operation that wrote last, and where: named by stale-tensor errors
        self.place: Place = None
        self.views: list[weakref.ref[Tensor]] | None = None
        self.prune_at = 16
        self.inference = False
        self.owner: Any = None

    def __reduce__(self) -> Any:
        return Storage, ()  # a copy counts anew, and knows of no views

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
        if everyone.listener is not None:
            everyone.listener(None, (), {}, None)
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
    _node: (
        Any  # autograd history at the bottom level; a AccumulateGrad when this is a leaf that requires grad
    )
    _st: Storage | None  # made when first needed
    _base: Tensor | None  # the handle that this one is a view of
    # The view operations (an Op, and its parameters) from _base to here, set when _base is.  Not annotated as Op, which
    # is imported for type checkers only: typing.get_type_hints of a subclass evaluates this.
    _how: tuple[tuple[Any, dict[str, Any]], ...]
    _grad: Tensor | None  # unset means None

    # Comparisons give tensors, so hashing is by identity; NumPy must leave binary operations to us.
    __hash__ = object.__hash__
    __array_priority__ = 1000

    if TYPE_CHECKING:  # the attached operations

        def __getattr__(self, name: str) -> Any: ...

        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...
        def __rmatmul__(self, other: Any) -> Any: ...
        def __and__(self, other: Any) -> Any: ...
        def __rand__(self, other: Any) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __ror__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...
        def __rxor__(self, other: Any) -> Any: ...
        def __lshift__(self, other: Any) -> Any: ...
        def __rlshift__(self, other: Any) -> Any: ...
        def __rshift__(self, other: Any) -> Any: ...
        def __rrshift__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __le__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...
        def __eq__(self, other: object) -> Any: ...
        def __ne__(self, other: object) -> Any: ...
        def __neg__(self) -> Any: ...
        def __pos__(self) -> Any: ...
        def __abs__(self) -> Any: ...
        def __invert__(self) -> Any: ...
        def __getitem__(self, key: Any) -> Any: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Any: ...
        def __bool__(self) -> bool: ...
        def __float__(self) -> float: ...
        def __int__(self) -> int: ...
        def __index__(self) -> int: ...

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


def composed(x: object) -> bool:
    """Whether a tensor consists of others, as sparse ones do: it has no payload, and its values have the history."""
    return getattr(type(x), "_composed", False)


def storage(t: Tensor) -> Storage:
    """The tensor's Storage, made on first use."""
    st = t._st
    if st is None:
        st = t._st = Storage()
    return st


def node_of(t: Tensor) -> Any:
    """The history of `t` at the innermost tape that knows it."""
    payload = t._a
    if type(payload) is np.ndarray or type(payload) is Pending:
        return t._node
    return payload.history()


def make_view(t: Tensor, base: Tensor, op: Op, params: dict[str, Any]) -> Tensor:
    """Mark `t` as the result of view operation `op` on `base`."""
    st = base._st
    if st is None:
        st = base._st = Storage()
    t._st = st
    root = base._base
    if root is None:
        t._base = base
        t._how = ((op, params),)
    else:
        t._base = root
        t._how = (*base._how, (op, params))
    views = st.views
    if views is None:
        st.views = [ref(t)]
    elif len(views) < st.prune_at:
        views.append(ref(t))
    else:
        st.add_view(t)
    return t


def become_view(t: Tensor, base: Tensor, op: Op, params: dict[str, Any]) -> None:
    """Make `t`, a view of nothing so far, a view of `base`, and so its own live views."""
    st = base._st = storage(t)
    for ref in st.views or ():
        view = ref()
        if view is not None and view._base is t:
            view._base, view._how = base, ((op, params), *view._how)
    t._base, t._how = base, ((op, params),)
    st.add_view(t)


def mark_written(t: Tensor, opname: str) -> None:
    """Tell autograd that the memory of `t` was written directly (optimizers, buffers, NumPy code).

    Bumps the version counter shared by all views, so that a tensor saved before the write is known to be stale.
    """
    storage(t).written(opname)
