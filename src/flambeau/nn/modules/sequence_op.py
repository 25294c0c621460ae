"""A recurrent layer's whole sequence as one operation with its own gradient.

The definition is the composite of steps (`recurrence`): derivatives of the gradient, and everything under a transform,
are taken from it. Values and gradients of plain training come from `prims/recurrent_arrays.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import ops
from ...core import families as fam
from ...core.interpreters import InputNode, Tape, Taped
from ...core.op import bind
from ...core.state import tls
from ...core.tensor import Tensor, wrap
from ...core.walk import run_backward
from ...prims import recurrent_arrays as arrays

__all__ = ["sequence_grad_op", "sequence_op", "set_definition"]

Definition = Callable[..., Sequence[Tensor | None]]
_definition: list[Definition] = []


def set_definition(fn: Definition) -> None:
    """``fn(mode, reverse, x, w_ih, b_ih, w_hh, b_hh, h0, c0)`` gives the outputs, the last h and, of an LSTM, c."""
    _definition[:] = [fn]


def _sequence(
    x: Any, w_ih: Any, b_ih: Any, w_hh: Any, b_hh: Any, h0: Any, c0: Any, *, mode: str, reverse: bool
) -> Any:
    out, kept, gates = arrays.forward(mode, reverse, x, w_ih, b_ih, w_hh, b_hh, h0, c0)
    last = 0 if reverse else -1
    c = kept[last].copy() if mode == "LSTM" else np.empty((0,), x.dtype)
    return out, out[last].copy(), c, kept, gates


def _sequence_grad(
    g: Any,
    gh: Any,
    gc: Any,
    x: Any,
    w_ih: Any,
    b_ih: Any,
    w_hh: Any,
    b_hh: Any,
    h0: Any,
    c0: Any,
    out: Any,
    kept: Any,
    gates: Any,
    *,
    mode: str,
    reverse: bool,
    wanted: tuple[bool, ...],
) -> Any:
    inputs = (x, w_ih, b_ih, w_hh, b_hh, h0, c0)
    found = arrays.backward(mode, reverse, (g, gh, gc), inputs, (out, kept, gates), wanted)
    return tuple([np.empty((0,), x.dtype) if r is None else r for r in found])


def _one_by_one(op: Any, size: int, batched: Sequence[bool], args: Sequence[Any], params: Any) -> Any:
    """A batch of calls: under `vmap` modules run step by step, so this is for calls of the operation itself."""
    found = [bind(op, tuple([a[i] if b else a for a, b in zip(args, batched)]), params) for i in range(size)]
    return tuple([ops.stack(parts) for parts in zip(*found, strict=True)]), True


def _reverse(
    fn: Callable[..., Sequence[Any]], inputs: Sequence[Any], needs: Sequence[bool], cotangents: Sequence[Any]
) -> list[Any]:
    """The gradients of a function by reverse mode: under any interpreter, and differentiable themselves."""
    tape = Tape()
    nodes = [InputNode() if n else None for n in needs]
    inside = [wrap(Taped(x, n, tape)) if n is not None else x for x, n in zip(inputs, nodes)]
    with tape:
        results = fn(*inside)
    roots: list[Any] = []
    for y, ct in zip(results, cotangents):
        node = y._a.node if y is not None and tape.owns(y) else None
        if node is not None:
            roots.append((node, ct))
    targets = [n for n in nodes if n is not None]
    found = run_backward(roots, keep_graph=False, targets=targets, accumulate=False, create_graph=True)
    return [None if n is None else found.get(n) for n in nodes]


def _through_steps(
    g: Sequence[Any], inputs: Sequence[Any], needs: Sequence[bool], mode: str, reverse: bool
) -> list[Any]:
    return _reverse(lambda *xs: _definition[0](mode, reverse, *xs), inputs, needs, g)


def _grad_vjp(h: Any, inputs: Any, needs: Any, mode: str, reverse: bool, wanted: Any) -> list[Any]:
    def gradients(*xs: Any) -> Sequence[Any]:
        return _through_steps(xs[:3], xs[3:], wanted, mode, reverse)

    return [*_reverse(gradients, inputs[:10], needs[:10], h), None, None, None]


sequence_grad_op: Any = fam.opaque_op(
    _sequence_grad,
    _grad_vjp,
    name="recurrent_sequence_grad",
    batch=lambda *a: _one_by_one(sequence_grad_op, *a),
    n_out=7,
    grad_name="MkldnnRnnLayerBackwardBackward0",
)


def _vjp(
    g: Any,
    x: Any,
    w_ih: Any,
    b_ih: Any,
    w_hh: Any,
    b_hh: Any,
    h0: Any,
    c0: Any,
    y: Any,
    needs: Any,
    mode: str,
    reverse: bool,
) -> list[Any]:
    inputs = (x, w_ih, b_ih, w_hh, b_hh, h0, c0)
    if tls.grad or tls.stack:
        return _through_steps(g[:3], inputs, needs, mode, reverse)
    saved = [y[i].detach() for i in (0, 3, 4)]
    found = sequence_grad_op(*g[:3], *inputs, *saved, mode=mode, reverse=reverse, wanted=tuple(needs))
    return [r if n else None for r, n in zip(found, needs)]


sequence_op: Any = fam.opaque_op(
    _sequence,
    _vjp,
    name="recurrent_sequence",
    batch=lambda *a: _one_by_one(sequence_op, *a),
    n_out=5,
    grad_name="MkldnnRnnLayerBackward0",
)
sequence_op.info["outputs_read"] = (0, 3, 4)
