"""The recurrences behind RNN, LSTM and GRU, as functions of tensors.

A cell takes the input's share of the gates, already multiplied by weight_ih for all steps at once, and the
hidden state (a tuple), and gives the next state, whose first tensor is the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import ops
from ...compiler.recurrent_steps import GATES
from ...core.op import bind
from ...core.public import overridable
from ...core.state import tls
from ...core.tensor import Tensor
from ...prims.row_kernels import FLOATS
from .. import functional as F
from .sequence_op import sequence_op, set_definition

State = tuple[Any, ...]  # of tensors
Cell = Callable[[Any, State, Sequence[Any]], State]


def rnn_tanh_cell(gates: Any, state: State, weights: Sequence[Any]) -> State:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    return (ops.tanh(gates + F.linear(state[0], weights[0], weights[1])),)


def rnn_relu_cell(gates: Any, state: State, weights: Sequence[Any]) -> State:
    """h' = relu(W_ih x + b_ih + W_hh h + b_hh)."""
    return (F.relu(gates + F.linear(state[0], weights[0], weights[1])),)


def lstm_cell(gates: Any, state: State, weights: Sequence[Any]) -> State:
    """i, f, g, o = gates; c' = σ(f) c + σ(i) tanh(g); h' = σ(o) tanh(c'), times weight_hr if given."""
    h, c = state
    i, f, g, o = (gates + F.linear(h, weights[0], weights[1])).chunk(4, -1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    h = ops.sigmoid(o) * ops.tanh(c)
    return (h if weights[2] is None else F.linear(h, weights[2])), c


def gru_cell(gates: Any, state: State, weights: Sequence[Any]) -> State:
    """r, z, n = gates; n = tanh(n_x + σ(r) n_h); h' = (1 - σ(z)) n + σ(z) h."""
    h = state[0]
    r_x, z_x, n_x = gates.chunk(3, -1)
    r_h, z_h, n_h = F.linear(h, weights[0], weights[1]).chunk(3, -1)
    n = ops.tanh(n_x + ops.sigmoid(r_x + r_h) * n_h)
    return (n + ops.sigmoid(z_x + z_h) * (h - n),)


CELLS: dict[str, Cell] = {
    "RNN_TANH": rnn_tanh_cell,
    "RNN_RELU": rnn_relu_cell,
    "LSTM": lstm_cell,
    "GRU": gru_cell,
}


def _forward(cell: Cell, steps: Sequence[Tensor], state: State, weights: Any) -> tuple[list[Tensor], State]:
    """Outputs and last state of one direction, first step first; sequences end as the batches get smaller."""
    outputs = []
    ended: list[State] = []
    for gates in steps:
        n = gates.size(0)
        if n < state[0].size(0):
            ended.append(tuple(s[n:] for s in state))
            state = tuple(s[:n] for s in state)
        state = cell(gates, state, weights)
        outputs.append(state[0])
    if ended:
        state = tuple(ops.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return outputs, state


def _backward(cell: Cell, steps: Sequence[Tensor], state: State, weights: Any) -> tuple[list[Tensor], State]:
    """As `_forward`, last step first; sequences begin as the batches get larger."""
    outputs = []
    initial = state
    state = tuple(s[:0] for s in initial)
    for gates in reversed(steps):
        n, now = gates.size(0), state[0].size(0)
        if n > now:
            new = tuple(s[now:n] for s in initial)
            state = tuple(ops.cat(pair) for pair in zip(state, new, strict=True)) if now else new
        state = cell(gates, state, weights)
        outputs.append(state[0])
    return outputs[::-1], state


def _steps(
    mode: str, reverse: bool, x: Any, w_ih: Any, b_ih: Any, w_hh: Any, b_hh: Any, h0: Any, c0: Any
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One direction of a layer over (T, B, F), step by step: the outputs, and the last h and, of an LSTM, c."""
    run = _backward if reverse else _forward
    state = (h0, c0) if mode == "LSTM" else (h0,)
    outputs, final = run(CELLS[mode], F.linear(x, w_ih, b_ih).unbind(0), state, (w_hh, b_hh, None))
    return ops.stack(outputs), final[0], final[-1] if mode == "LSTM" else None


set_definition(_steps)


def _at_once(mode: str, reverse: bool, x: Any, weights: Sequence[Any], state: State) -> Any:
    """The outputs and the last state from one operation; None for what takes steps."""
    w_ih, b_ih, w_hh, b_hh, w_hr = weights
    h0, c0 = state if mode == "LSTM" else (state[0], None)
    given = [t for t in (x, w_ih, b_ih, w_hh, b_hh, h0, c0) if t is not None]
    dtype = x._a.dtype
    if w_hr is not None or tls.stack or tls.autocast is not None or dtype not in FLOATS:
        return None
    if 0 in x._a.shape or any(t._a.dtype != dtype for t in given) or (b_ih is None) != (b_hh is None):
        return None
    batch, size = x._a.shape[-2], h0._a.shape[-1]
    wide = GATES[mode] * size
    shapes = [(wide, x._a.shape[-1]), (wide,), (wide, size), (wide,), (batch, size), (batch, size)]
    if len(x._a.shape) != 3 or any(
        t is not None and t._a.shape != s for t, s in zip((w_ih, b_ih, w_hh, b_hh, h0, c0), shapes)
    ):
        return None  # the steps say what does not fit
    op = sequence_op if mode == "LSTM" else sequence_op.shown_as("StackBackward0")
    out, h, c, _, _ = bind(op, (x, w_ih, b_ih, w_hh, b_hh, h0, c0), {"mode": mode, "reverse": reverse})
    return out, (h, c) if mode == "LSTM" else (h,)


def _segments(batch_sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """(first row, steps, rows of a step) of each run of steps with as many rows."""
    found: list[tuple[int, int, int]] = []
    row = 0
    for n in batch_sizes:
        if found and found[-1][2] == n:
            found[-1] = (found[-1][0], found[-1][1] + 1, n)
        else:
            found.append((row, 1, n))
        row += n
    return found


LONG = 2  # steps of a segment, on average, from which one operation for each is worth its call


def _packed_at_once(
    mode: str, reverse: bool, x: Any, weights: Sequence[Any], state: State, batch_sizes: list[int]
) -> Any:
    """As `_at_once` for packed sequences: an operation for each run of steps in which no sequence ends or begins."""
    segments = _segments(batch_sizes)
    if len(batch_sizes) < LONG * len(segments) or len(x._a.shape) != 2:
        return None
    initial, outputs, ended = state, [], []
    if reverse:
        state = tuple(s[:0] for s in initial)
    for row, steps, n in reversed(segments) if reverse else segments:
        now = state[0].size(0)
        if n < now:
            ended.append(tuple(s[n:] for s in state))
            state = tuple(s[:n] for s in state)
        elif n > now:
            new = tuple(s[now:n] for s in initial)
            state = tuple(ops.cat(pair) for pair in zip(state, new, strict=True)) if now else new
        part = x[row : row + steps * n].reshape(steps, n, x.size(1))
        found = _at_once(mode, reverse, part, weights, state)
        if found is None:
            return None
        outputs.append(found[0].reshape(steps * n, -1))
        state = found[1]
    if ended:
        state = tuple(ops.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
    return ops.cat(outputs[::-1] if reverse else outputs), state


@overridable
def recurrent(
    mode: str,
    input: Tensor,
    batch_sizes: list[int] | None,
    state: State,
    layers: Sequence[Sequence[Sequence[Any]]],
    dropout: float,
    training: bool,
) -> tuple[Tensor, State]:
    """Run stacked layers over (T, B, F), or over packed (sum of batch_sizes, F).

    `layers[l][direction]` is (weight_ih, bias_ih, weight_hh, bias_hh, weight_hr or None); `state` holds
    tensors (layers·directions, B, H). Gives the last layer's outputs and the final states, stacked likewise.
    """
    cell = CELLS[mode]
    finals: list[State] = []
    at = 0
    for number, layer in enumerate(layers):
        directions = []
        for direction, (w_ih, b_ih, *hidden) in enumerate(layer):
            first = tuple(s[at] for s in state)
            at += 1
            weights = (w_ih, b_ih, *hidden)
            if batch_sizes is None:
                found = _at_once(mode, direction == 1, input, weights, first)
            else:
                found = _packed_at_once(mode, direction == 1, input, weights, first, batch_sizes)
            if found is not None:
                directions.append(found[0])
                finals.append(found[1])
                continue
            gates = F.linear(input, w_ih, b_ih)
            steps = gates.unbind(0) if batch_sizes is None else gates.split(batch_sizes)
            run = _backward if direction else _forward
            outputs, final = run(cell, steps, first, hidden)
            directions.append(ops.stack(outputs) if batch_sizes is None else ops.cat(outputs))
            finals.append(final)
        input = directions[0] if len(directions) == 1 else ops.cat(directions, -1)
        if dropout and number < len(layers) - 1:
            input = F.dropout(input, dropout, training)
    return input, tuple(ops.stack(parts) for parts in zip(*finals, strict=True))
