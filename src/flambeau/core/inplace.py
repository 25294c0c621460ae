"""In-place operations: write memory and re-point history (eager), or re-bind the handle (under an interpreter)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .eager import raw
from .grad_names import rename
from .interpreters import Taped, VMap
from .op import Op, bind
from .pending import NO_DATA, Pending
from .state import tls
from .tape import AccumulateGrad, helpers, record
from .tensor import Tensor, snapshot, storage, wrap
from .where import describe, user_place

ONE_VALUE = ("fill_", "zero_")  # write the same to all elements


def check_history(t: Tensor, opname: str) -> None:
    """Raise where what autograd knows of `t` forbids that it changes here in place."""
    if tls.stack:
        return
    st = t._st
    if st is not None and st.inference and not tls.inference:
        raise RuntimeError(
            f"Inplace update to inference tensor outside InferenceMode is not allowed ({opname}). "
            "You can make a clone to get a normal tensor before doing inplace update."
        )
    if tls.grad:
        if type(t._node) is AccumulateGrad:
            raise RuntimeError(
                f"a leaf Variable that requires grad is being used in an in-place operation ({opname} at "
                f"{describe(user_place(3))}). Use the out-of-place form, or wrap the update in torch.no_grad()."
            )
        base = t._base
        if base is not None and type(base._node) is AccumulateGrad:
            raise RuntimeError(
                f"a view of a leaf Variable that requires grad is being used in an in-place operation ({opname} at "
                f"{describe(user_place(3))}). Use the out-of-place form, or wrap the update in torch.no_grad()."
            )
        if base is not None and base._node is not None and t._node is None:
            raise RuntimeError(
                f"A view was created in no_grad mode and is being modified inplace with grad mode enabled ({opname} at "
                f"{describe(user_place(3))}). Its base has a history that the view does not share: make the view with grad "
                "mode enabled, or write under torch.no_grad()."
            )


def check_writable(t: Tensor, opname: str) -> None:
    """Raise, before anything is changed, when PyTorch forbids writing to `t` here."""
    if tls.stack:
        return
    check_history(t, opname)
    a = t._a
    if (not a.flags.writeable or 0 in a.strides) and a.size:
        same = opname in ONE_VALUE and t._node is None  # whichever of the writes to an element comes last
        if any(stride == 0 and n > 1 for stride, n in zip(a.strides, a.shape)) and not same:
            raise RuntimeError(
                f"unsupported operation ({opname}): more than one element of the written-to tensor refers to a single "
                "memory location. Please clone() the tensor before performing the operation."
            )
        if not a.flags.writeable and a.size:
            raise RuntimeError(
                f"{opname}: the tensor's memory is read-only (it shares a non-writable NumPy array or buffer); "
                "write to a .clone() of it"
            )
    if tls.before_write is not None:
        tls.before_write(storage(t))


def write(t: Tensor, new: Tensor, opname: str, alone: bool | None = None) -> Tensor:
    """Give `t` the values (and history) of `new`, in place.

    `alone`, inside compiled functions: that nothing else saw the memory of `t` before `new` was made.

    Raises: RuntimeError when shapes differ or `t` must not be written.
    """
    if tuple(new._a.shape) != tuple(t._a.shape):
        raise RuntimeError(
            f"output with shape {list(t._a.shape)} doesn't match the broadcast shape {list(new._a.shape)} ({opname})"
        )
    if tls.stack:
        return functional_write(t, new, opname)
    check_writable(t, opname)
    if new._a.dtype != t._a.dtype:
        new = helpers["convert"](new, t._a.dtype)
    tracked = tls.grad and (new._node is not None or t._node is not None)
    if tracked and (new._node is None or type(new._node) is AccumulateGrad):
        # the old values no longer matter: their gradient is zero; and where a leaf is written, `t` is a copy of it
        new = helpers["overwrite"](snapshot(t), new)
    if tls.capture is not None:
        write_captured(t, new, alone)
    elif type(t._a) is Pending and t._a.owner is NO_DATA:
        pass  # nothing to write to
    elif new._a is not t._a:
        np.copyto(raw(t), raw(new), casting="unsafe")
    storage(t).written(opname, 4)
    if tracked:
        rebase(t, new)
    return t


def write_captured(t: Tensor, new: Tensor, alone: bool | None) -> None:
    """Inside a compiled function: a tensor that nothing else sees gets new memory, other memory is written at once."""
    recorder = tls.capture
    if t._a is new._a:
        return
    if recorder.alone(t) if alone is None else alone:
        # an in-place operation has just made `new`; elsewhere (copy_) it may be the user's own tensor
        recorder.rebind(t, new, copy=alone is None)
        return
    recorder.flush_to_write()
    target, source = raw(t), raw(new)
    if target is not source:
        np.copyto(target, source, casting="unsafe")


def rebase(t: Tensor, new: Tensor) -> None:
    """`t` now has the history of `new`; if `t` is a view, so has its base, and every other view of it."""
    base = t._base
    if base is None:
        move_retained(t, new)
        t._node = new._node
        root = t
    else:
        root = base
        whole = put_history(snapshot(root), t._how, new)
        move_retained(root, whole)
        root._node = whole._node
    refresh_views(root)


def move_retained(t: Tensor, new: Tensor) -> None:
    """A gradient that `t` retains is from now on the one of its new value."""
    old = t._node
    if old is not None and old.extra is not None and old.extra.retain is not None and new._node is not None:
        new._node.extras().retain = old.extra.retain
        old.extra.retain = None


def put_history(base: Tensor, how: tuple[tuple[Op, dict[str, Any]], ...], y: Tensor) -> Tensor:
    """A handle over the base's memory whose history is "base with y written through the view"."""
    chosen = put_elements(base, how, y)
    if chosen is not None:
        out = wrap(base._a)
        out._node = rename(chosen, "torch::autograd::CopySlices")._node
        return out
    op, params = how[0]
    if len(how) > 1:
        y = put_history(op(base, **params), how[1:], y)
    out = wrap(base._a)
    put = op.put
    record(put, (base, y), put_params(op, base, params), out)
    return out


def put_params(op: Op, base: Tensor, params: dict[str, Any]) -> dict[str, Any]:
    return params


def refresh_views(root: Tensor) -> None:
    """Give the live views of `root` the history of the same views of its new value."""
    st = root._st
    if st is None or st.views is None:
        return
    for ref in list(st.views):
        view = ref()
        if view is not None and view._base is root:
            again: Any = snapshot(root)
            for op, params in view._how:
                again = bind(op, (again,), params)
            move_retained(view, again)
            view._node = again._node


def functional_write(t: Tensor, new: Tensor, opname: str) -> Tensor:
    """In-place under an interpreter: a functional result, then re-binding of the handles that see it."""
    top = tls.stack[-1]
    root = t._base if t._base is not None else t
    if not top.owns(root):
        if isinstance(top, VMap) and not (top.owns(new) and new._a.batched):
            with top.lowered():
                write(t, top.inner(new), opname)
            return t
        if isinstance(top, VMap):
            raise RuntimeError(
                f"vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor in "
                f"extra_args that is batched while self was made outside the mapped function ({opname} at "
                f"{describe(user_place(3))}); the result would differ between examples. Use the out-of-place form."
            )
        raise RuntimeError(
            "During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation "
            f"({opname} at {describe(user_place(3))}) that would mutate a captured Tensor. This is not supported; please "
            "rewrite the function being transformed to explicitly accept the mutated Tensor(s) as inputs."
        )
    if new._a.dtype != t._a.dtype:
        new = helpers["convert"](new, t._a.dtype)
    if not top.owns(new):
        new = top.lift(new)
    if t._base is not None:
        new = put(snapshot(root), t._how, new)
    rebind(root, new)
    storage(root).written(opname, 4)
    derive_views(root)
    return t


def rebind(t: Tensor, new: Tensor) -> None:
    """Give the handle `t` the payload of `new`; under ``no_grad`` the history of `t` stays, as in eager mode."""
    old, a = t._a, new._a
    if type(old) is Taped and type(a) is Taped and not tls.grad:
        a = Taped(a.inner, old.node, old.interp)  # type: ignore[arg-type]
    t._a = a


def derive_views(root: Tensor) -> None:
    """Make the live views of `root` anew from what it is now."""
    for ref in list(storage(root).views or ()):
        view = ref()
        if view is not None and view._base is root:
            again: Any = snapshot(root)
            for op, params in view._how:
                again = bind(op, (again,), params)
            rebind(view, again)


def put(base: Tensor, how: tuple[tuple[Op, dict[str, Any]], ...], y: Tensor) -> Tensor:
    """`base` with `y` written through a chain of views."""
    chosen = put_elements(base, how, y)
    if chosen is not None:
        return chosen
    op, params = how[0]
    if len(how) > 1:
        y = put(bind(op, (base,), params), how[1:], y)
    return bind(op.put, (base, y), params)  # type: ignore[no-any-return]


def put_elements(base: Tensor, how: tuple[tuple[Op, dict[str, Any]], ...], y: Tensor) -> Tensor | None:
    """`put` where a view on the way repeats elements (expand, unfold): only the places that `y` covers are written.

    Writing back the repeating view as a whole would undo this where it shows an element a second time.  None where no
    view repeats, and where `y` itself shows an element twice: then the last of the values written there stays.

    Raises: RuntimeError under a transform when `y` is an expanded tensor, as eager mode does.
    """
    if not any(op.repeats for op, _ in how):
        return None
    shape = tuple(base._a.shape)
    places = np.arange(math.prod(shape)).reshape(shape)
    for op, params in how:
        places = op.impl(places, **params)
    if places.size > 1 and any(s == 0 and n > 1 for s, n in zip(places.strides, places.shape)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    if y._a.dtype != base._a.dtype or np.unique(places).size != places.size:
        return None
    return helpers["put_flat"](base, np.array(places).reshape(-1), y)  # type: ignore[no-any-return]
