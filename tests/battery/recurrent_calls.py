"""Sample calls of recurrent layers, step by step in NumPy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.nn.modules.sequence_op import sequence_op

STEPS, BATCH, INPUTS, SIZE = 2, 2, 2, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _run(x: Any, w: Any, b: Any, u: Any, v: Any, h: Any, c: Any, mode: str, reverse: bool) -> tuple[Any, ...]:
    outs: list[Any] = []
    kept: list[Any] = []
    gates: list[Any] = []
    for row in x[::-1] if reverse else x:
        a, r = (np.split(m, GATES[mode], 1) for m in (row @ w.T + b, h @ u.T + v))
        if mode == "LSTM":
            i, f, o = (_sigmoid(a[n] + r[n]) for n in (0, 1, 3))
            g = np.tanh(a[2] + r[2])
            c = f * c + i * g
            h = o * np.tanh(c)
            kept.append(c)
            gates.append(np.concatenate([i, f, g, o], 1))
        elif mode == "GRU":
            s, z = (_sigmoid(a[n] + r[n]) for n in (0, 1))
            n = np.tanh(a[2] + s * r[2])
            h = (1 - z) * n + z * h
            kept.append(r[2])
            gates.append(np.concatenate([s, z, n], 1))
        else:
            h = np.tanh(a[0] + r[0]) if mode == "RNN_TANH" else np.maximum(a[0] + r[0], 0)
        outs.append(h)
    c = c if mode == "LSTM" else np.empty((0,))
    order = slice(None, None, -1 if reverse else 1)
    rest = [np.stack(k[order]) if k else np.empty((0,)) for k in (kept, gates)]
    return np.stack(outs[order]), h, c, *rest


def _slopes(g: Any, gh: Any, gc: Any, *inputs: Any, mode: str, reverse: bool) -> tuple[Any, ...]:
    """The gradients of all inputs, by differences."""
    found = []
    for i, x in enumerate(inputs):
        if x is None:
            found.append(np.empty((0,)))
            continue
        slope = np.empty_like(x)
        for place in np.ndindex(x.shape):
            near = []
            for step in (1e-6, -1e-6):
                args = list(inputs)
                args[i] = x.copy()
                args[i][place] += step
                y = _run(*args, mode, reverse)
                near.append(sum((a * b).sum() for a, b in zip(y, (g, gh, gc))))
            slope[place] = (near[0] - near[1]) / 2e-6
        found.append(slope)
    return tuple(found)


def _with_results(mode: str, reverse: bool) -> Callable[..., Any]:
    def prepare(g: Any, gh: Any, gc: Any, *inputs: Any) -> Any:
        y = sequence_op(*inputs, mode=mode, reverse=reverse)
        return g, gh, gc, *inputs, y[0], y[3], y[4]

    return prepare


def fill(row: Callable[..., None], real: Callable[..., Any]) -> None:
    for mode, reverse in (
        ("LSTM", False),
        ("LSTM", True),
        ("GRU", True),
        ("RNN_TANH", False),
        ("RNN_RELU", False),
    ):
        n, is_lstm = GATES[mode], mode == "LSTM"
        shapes = [(STEPS, BATCH, INPUTS), (n * SIZE, INPUTS), (n * SIZE,), (n * SIZE, SIZE), (n * SIZE,)]
        shapes += [(BATCH, SIZE)] * 2
        inputs = [0.6 * real(*s, seed=k) for k, s in enumerate(shapes)]
        grads = [real(STEPS, BATCH, SIZE, seed=8), real(BATCH, SIZE, seed=9), real(BATCH, SIZE, seed=10)]
        if not is_lstm:
            inputs[-1], grads[-1] = None, np.empty((0,))
        how = {"mode": mode, "reverse": reverse, "note": f"{mode}{reverse}", "expandable": False}
        row("recurrent_sequence", *inputs, **how, reference=functools.partial(_run, mode=mode, reverse=reverse),
            observe=lambda out, h, c, *rest, is_lstm=is_lstm: (out, h, c) if is_lstm else (out, h))  # fmt: skip
        if is_lstm and reverse:
            continue  # the third derivatives of one LSTM take long enough
        row("recurrent_sequence_grad", *grads, *inputs, **how, wanted=(*(True,) * 6, is_lstm), tol=1e-7, order=2 if mode == "RNN_TANH" else 1,
            observe=lambda *found, is_lstm=is_lstm: found if is_lstm else found[:6],
            prepare=_with_results(mode, reverse), wrt=None if is_lstm else (0, 1, *range(3, 9)),
            reference=functools.partial(_slopes, mode=mode, reverse=reverse))  # fmt: skip
