"""The recurrences behind RNN, LSTM and GRU, as functions of tensors.

A cell takes the input's share of the gates, already multiplied by weight_ih for all steps at once, and the
hidden state (a tuple), and gives the next state, whose first tensor is the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import ops
from ...core.public import overridable
from ...core.tensor import Tensor
from .. import functional as F

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
            gates = F.linear(input, w_ih, b_ih)
            steps = gates.unbind(0) if batch_sizes is None else gates.split(batch_sizes)
            run = _backward if direction else _forward
            outputs, final = run(cell, steps, tuple(s[at] for s in state), hidden)
            directions.append(ops.stack(outputs) if batch_sizes is None else ops.cat(outputs))
            finals.append(final)
            at += 1
        input = directions[0] if len(directions) == 1 else ops.cat(directions, -1)
        if dropout and number < len(layers) - 1:
            input = F.dropout(input, dropout, training)
    return input, tuple(ops.stack(parts) for parts in zip(*finals, strict=True))
