"""Views taken in place: ``t_``, ``transpose_``, ``squeeze_`` and others change how this tensor sees its own memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core import inplace
from ..core.grad_names import rename
from ..core.public import FUNCTIONS, METHODS
from ..core.state import tls
from ..core.tape import AccumulateGrad
from ..core.tensor import Tensor, snapshot

IN_PLACE = {
    "TBackward0": "TBackward1",
    "TransposeBackward0": "TransposeBackward1",
    "SqueezeBackward0": "SqueezeBackward3",
    "SqueezeBackward1": "SqueezeBackward4",
    "SqueezeBackward2": "SqueezeBackward5",
    "UnsqueezeBackward0": "UnsqueezeBackward1",
    "AsStridedBackward0": "AsStridedBackward1",
}


def become(self: Tensor, view: Callable[[Tensor], Tensor], name: str) -> Tensor:
    """Re-bind the handle to a view of what it was.

    The former tensor lives on as the hidden base, so that its other views keep their meaning.  Under ``no_grad`` a leaf
    stays a leaf, of the new shape, and a result keeps its history.
    """
    if not tls.stack:
        inplace.check_history(self, name)  # no memory is written to: that may be shared or read-only
    return _become(self, view, name)


def _become(self: Tensor, view: Callable[[Tensor], Tensor], name: str) -> Tensor:
    node = self._node
    if node is not None and not tls.grad and not tls.stack:
        leaf = type(node) is AccumulateGrad
        if leaf:
            self._node = None
        else:
            tls.set_grad(True)
        try:
            return _become(self, view, name)
        finally:
            if leaf:
                self._node = node
            else:
                tls.set_grad(False)
    if self._base is None:
        root = snapshot(self)
        v = view(root)
        if v is root or v._base is None:  # nothing to change
            return self
        for ref in list(root._st.views or ()):  # type: ignore[union-attr]
            other = ref()
            if other is not None and other._base is self:
                other._base = root
    else:
        v = view(self)
        if v is self or v._base is None:
            return self
    self._a, self._node, self._base, self._how, self._st = v._a, v._node, v._base, v._how, v._st
    assert self._st is not None
    self._st.add_view(self)
    self._st.written(name, 4)
    return self


def _define(name: str, of: str) -> None:
    fn = FUNCTIONS[of]

    def view(x: Tensor, args: Any, kwargs: Any) -> Tensor:
        y: Tensor = fn(x, *args, **kwargs)
        if y._node is not None and not tls.stack:  # each view has a number for its form in place
            shown = y._node.name()
            rename(y, IN_PLACE.get(shown, shown), (x,))
        return y

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return become(self, lambda x: view(x, args, kwargs), name)

    method.__name__, method.__qualname__ = name, f"Tensor.{name}"
    method.__doc__ = f"In-place version of :func:`flambeau.{of}`; returns the tensor itself."
    METHODS[name] = method
    setattr(Tensor, name, method)


for _name in ("t", "transpose", "swapaxes", "swapdims", "squeeze", "unsqueeze", "as_strided"):
    _define(_name + "_", _name)
FUNCTIONS["as_strided_"] = METHODS["as_strided_"]
