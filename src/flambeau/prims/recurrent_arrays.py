"""A recurrent layer over a whole sequence of arrays, forward and back: by a kernel, or step by step by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.families import NUMPY
from ..runtime import pool
from .products import matmul
from .row_kernels import in_order, kernels

__all__ = ["backward", "forward"]

FEW = 4  # rows of a batch, whose products read the weights once: BLAS does as well
CALLS = 100  # of NumPy, about, that a step is worth


class _Arrays:
    """The functions that steps are written in, over arrays."""

    tanh = np.tanh
    select = staticmethod(np.where)

    @staticmethod
    def sigmoid(x: Any) -> Any:
        return NUMPY.expit(x)


def _generated(out: Any) -> Any:
    """`compiler.recurrent` where a kernel pays for arrays like `out`, else None."""
    if out.shape[1] < FEW or kernels(out, CALLS * out.shape[0]) is None:
        return None
    from ..compiler import recurrent

    return recurrent


def _steps(mode: str) -> Any:
    from ..compiler import recurrent_steps

    return recurrent_steps, recurrent_steps.GATES[mode]


def forward(
    mode: str, reverse: bool, x: Any, w_ih: Any, b_ih: Any, w_hh: Any, b_hh: Any, h0: Any, c0: Any
) -> tuple[Any, Any, Any]:
    """Outputs, what is kept beside them, and gates (the last two are empty for a plain RNN)."""
    steps, count = _steps(mode)
    (length, batch, inputs), size, dtype = x.shape, h0.shape[-1], x.dtype
    wide = count * size
    bias, own = b_ih, np.zeros(size, dtype)
    if b_ih is not None:
        bias = b_ih + b_hh
        if mode == "GRU":
            bias[2 * size :] = b_ih[2 * size :]
            own = in_order(b_hh[2 * size :])
    gates = pool.empty((length, batch, wide), dtype)
    matmul(in_order(x).reshape(-1, inputs), w_ih.T, out=gates.reshape(-1, wide), bias=bias)
    out = pool.empty((length, batch, size), dtype)
    more = steps.keeps_gates(mode)
    kept = pool.empty(out.shape, dtype) if more else np.empty((0,), dtype)
    h0 = in_order(h0)
    c0 = h0 if c0 is None else in_order(c0)  # an LSTM's alone is read
    found = _generated(out)
    if found is not None:
        found.run_forward(mode, gates, found.panels(w_hh.T), own, h0, c0, out, kept, reverse)
    else:
        weights, h, c = np.ascontiguousarray(w_hh.T), h0, c0
        for t in range(length - 1, -1, -1) if reverse else range(length):
            shares = [
                [part[:, i * size : (i + 1) * size] for i in range(count)]
                for part in (gates[t], matmul(h, weights))
            ]
            own_gates, beside, h = steps.forward_step(mode, _Arrays, *shares, own, h, c)
            for share, gate in zip(shares[0], own_gates):
                share[...] = gate
            out[t] = h
            if more:
                kept[t] = c = beside
    return out, kept, gates if more else np.empty((0,), dtype)


def backward(
    mode: str,
    reverse: bool,
    grads: tuple[Any, Any, Any],
    arrays: tuple[Any, ...],
    saved: tuple[Any, Any, Any],
    needs: tuple[bool, ...],
) -> list[Any]:
    """The gradients in x, w_ih, b_ih, w_hh, b_hh, h0 and c0, from those in the outputs, the last h and the last c."""
    steps, count = _steps(mode)
    x, w_ih, _, w_hh, _, h0, c0 = arrays
    out, kept, gates = saved
    (length, batch, inputs), size, dtype = x.shape, h0.shape[-1], x.dtype
    wide, gru, more = count * size, mode == "GRU", steps.keeps_gates(mode)
    grad, h0 = in_order(grads[0]), in_order(h0)
    c0 = h0 if c0 is None else in_order(c0)
    state = np.array(grads[1], order="C")
    carry = np.array(grads[2], order="C") if mode == "LSTM" else np.zeros((batch, size), dtype)
    dx = pool.empty((length, batch, wide), dtype)
    dh = pool.empty(dx.shape, dtype) if gru else np.empty((0,), dtype)
    found = _generated(out)
    if found is not None:
        found.run_back(
            mode, grad, gates, out, kept, found.panels(w_hh), h0, c0, dx, dh, state, carry, reverse
        )
    else:
        at = -1 if not reverse else 1
        for t in range(length) if reverse else range(length - 1, -1, -1):
            first = t == (length - 1 if reverse else 0)
            g = grad[t] + state
            if gru:
                g = g + carry
            own = [gates[t][:, i * size : (i + 1) * size] for i in range(count)] if more else []
            h = h0 if first else out[t + at]
            c = None if mode != "LSTM" else c0 if first else kept[t + at]
            parts, others, carry = steps.backward_step(
                mode, _Arrays, own, kept[t] if more else None, out[t], h, c, g, carry
            )
            np.concatenate(parts, 1, out=dx[t])
            if gru:
                np.concatenate(others, 1, out=dh[t])
            state = matmul((dh if gru else dx)[t], w_hh)
    if gru:
        state = state + carry
    if not gru:
        dh = dx
    rows, hidden_rows = dx.reshape(-1, wide), dh.reshape(-1, wide)
    results: list[Any] = [None] * 7
    if needs[0]:
        results[0] = matmul(rows, w_ih).reshape(x.shape)
    if needs[1]:
        results[1] = matmul(rows.T, in_order(x).reshape(-1, inputs))
    if needs[2]:
        results[2] = np.add.reduce(rows, axis=0)
    if needs[3]:
        after, before = (dh[:-1], out[1:]) if reverse else (dh[1:], out[:-1])
        results[3] = matmul(dh[-1 if reverse else 0].T, h0)
        if length > 1:
            results[3] += matmul(after.reshape(-1, wide).T, before.reshape(-1, size))
    if needs[4]:
        results[4] = results[2].copy() if not gru and needs[2] else np.add.reduce(hidden_rows, axis=0)
    if needs[5]:
        results[5] = state
    if needs[6]:
        results[6] = carry
    return results
