"""``torch.lstm``, ``torch.gru_cell`` and the like: the recurrences with the weights given as arguments.

A layer's weights are, for each direction, weight_ih, weight_hh, and with biases bias_ih and bias_hh; an LSTM with
projections has weight_hr behind them.  Packed sequences give their data, and their batch sizes in front of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...core.tensor import Tensor
from .. import functional as F
from .recurrence import CELLS, recurrent

__all__ = [
    *("gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"),
]


def _layers(
    params: Sequence[Tensor], has_biases: bool, num_layers: int, directions: int, projected: bool
) -> list[list[tuple[Any, ...]]]:
    """Raises: RuntimeError when the number of weights is not that of so many layers."""
    each = 2 + 2 * has_biases + projected
    if len(params) != each * num_layers * directions:
        raise RuntimeError(
            f"expected {each * num_layers * directions} weights for {num_layers} layers of {directions} directions "
            f"with{'' if has_biases else 'out'} biases, but got {len(params)}"
        )
    found = []
    for start in range(0, len(params), each):
        w_ih, w_hh, *rest = params[start : start + each]
        b_ih, b_hh = rest[:2] if has_biases else (None, None)
        found.append((w_ih, b_ih, w_hh, b_hh, rest[-1] if projected else None))
    return [found[i : i + directions] for i in range(0, len(found), directions)]


def _run(mode: str, args: tuple[Any, ...]) -> tuple[Tensor, ...]:
    if len(args) not in (8, 9):
        raise TypeError(
            "expected (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first), or "
            f"(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional); got {len(args)} "
            "arguments"
        )
    packed = isinstance(args[2], Tensor) or mode == "LSTM" and isinstance(args[1], Tensor)
    batch_sizes, batch_first = None, False
    if packed:
        input, sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional = args
        batch_sizes = [int(n) for n in sizes]
    else:
        input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first = args
    state = tuple(hx) if mode == "LSTM" else (hx,)
    directions = 2 if bidirectional else 1
    projected = mode == "LSTM" and state[0].size(-1) != state[1].size(-1)
    layers = _layers(params, has_biases, num_layers, directions, projected)
    if batch_first:
        input = input.transpose(0, 1)
    output, final = recurrent(mode, input, batch_sizes, state, layers, dropout, train)
    return output.transpose(0, 1) if batch_first else output, *final


def lstm(*args: Any) -> tuple[Tensor, ...]:
    """Layers of an LSTM, as `nn.LSTM` runs them: gives the outputs, h and c.

    ``lstm(input, (h, c), params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``, or for a
    packed sequence ``lstm(data, batch_sizes, (h, c), params, has_biases, num_layers, dropout, train, bidirectional)``.

    Raises: RuntimeError for a number of weights that does not fit, TypeError for other numbers of arguments.

    >>> import flambeau as torch
    >>> net = torch.nn.LSTM(2, 3)
    >>> h = torch.zeros(1, 1, 3)
    >>> output, h, c = torch.lstm(torch.ones(4, 1, 2), (h, h), list(net.parameters()), True, 1, 0.0, False, False, False)
    >>> output.shape
    torch.Size([4, 1, 3])
    """
    return _run("LSTM", args)


def gru(*args: Any) -> tuple[Tensor, ...]:
    """As `lstm`, with one tensor as the state: gives the outputs and h."""
    return _run("GRU", args)


def rnn_tanh(*args: Any) -> tuple[Tensor, ...]:
    """As `gru`, for `nn.RNN`."""
    return _run("RNN_TANH", args)


def rnn_relu(*args: Any) -> tuple[Tensor, ...]:
    """As `gru`, for ``nn.RNN(nonlinearity="relu")``."""
    return _run("RNN_RELU", args)


def _cell(mode: str, input: Tensor, state: tuple[Any, ...], weights: Sequence[Any]) -> tuple[Any, ...]:
    w_ih, w_hh, b_ih, b_hh = weights
    return CELLS[mode](F.linear(input, w_ih, b_ih), state, (w_hh, b_hh, None))


def lstm_cell(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | list[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: input (N, I), `hx` = (h, c) of (N, H), weights (4H, I) and (4H, H); gives (h, c)."""
    h, c = _cell("LSTM", input, tuple(hx), (w_ih, w_hh, b_ih, b_hh))
    return h, c


def _simple(name: str, mode: str, rows: str) -> Callable[..., Tensor]:
    def cell(
        input: Tensor,
        hx: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Tensor:
        return _cell(mode, input, (hx,), (w_ih, w_hh, b_ih, b_hh))[0]  # type: ignore[no-any-return]

    cell.__name__ = cell.__qualname__ = name
    cell.__doc__ = (
        f"One step: input (N, I), `hx` (N, H), weights ({rows}, I) and ({rows}, H); gives the new state."
    )
    return cell


gru_cell = _simple("gru_cell", "GRU", "3H")
rnn_tanh_cell = _simple("rnn_tanh_cell", "RNN_TANH", "H")
rnn_relu_cell = _simple("rnn_relu_cell", "RNN_RELU", "H")
