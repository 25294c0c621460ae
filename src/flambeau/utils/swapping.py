"""`swap_tensors`: two tensors change places, in everything that refers to them."""

from __future__ import annotations

import weakref
from typing import Any

from ..core.tape import AccumulateGrad
from ..core.tensor import Tensor

__all__ = ["swap_tensors"]

_SLOTS = ("_a", "_node", "_st", "_base", "_how", "_grad")
_UNSET = object()


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Exchange the two tensors: values, class, attributes, history and gradient.

    Raises: RuntimeError for views and for tensors that have views, which would be views of the other one then.

    >>> import flambeau as torch
    >>> a, b = torch.ones(2), torch.nn.Parameter(torch.zeros(3))
    >>> torch.utils.swap_tensors(a, b)
    >>> type(a).__name__, b
    ('Parameter', tensor([1., 1.]))
    """
    for t, name in ((t1, "t1"), (t2, "t2")):
        if not isinstance(t, Tensor):
            raise TypeError(f"swap_tensors(): {name} must be a Tensor, not {type(t).__name__}")
    for t, name in ((t1, "t1"), (t2, "t2")):
        views: Any = () if t._st is None or t._st.views is None else t._st.views
        if t._base is not None or any(r() is not None for r in views):
            raise RuntimeError(
                f"Cannot swap {name} because it is a view, or has views: swap what they are views of"
            )
    one, other = ({n: getattr(t, n, _UNSET) for n in _SLOTS} for t in (t1, t2))
    attributes = dict(t1.__dict__), dict(t2.__dict__)
    t1.__class__, t2.__class__ = type(t2), type(t1)
    for t, values, attributes_ in ((t1, other, attributes[1]), (t2, one, attributes[0])):
        for n, v in values.items():
            if v is not _UNSET:
                setattr(t, n, v)
            elif hasattr(t, n):
                delattr(t, n)
        t.__dict__.clear()
        t.__dict__.update(attributes_)
        if isinstance(t._node, AccumulateGrad):
            t._node.ref = weakref.ref(t)
