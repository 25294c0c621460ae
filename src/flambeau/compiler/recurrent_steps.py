"""One step of a recurrent layer, element by element, forward and back.

The functions are written over a dialect `k` (`sigmoid`, `tanh`, `select`), so that they serve the registers of a kernel
and whole arrays.  Formulas: Hochreiter and Schmidhuber (1997) for the LSTM, Cho et al. (2014) for the GRU with the reset
gate after the product, Elman (1990) for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["GATES", "backward_step", "forward_step", "keeps_gates"]

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


def keeps_gates(mode: str) -> bool:
    """Whether the way back reads more than the outputs."""
    return mode in ("GRU", "LSTM")


def forward_step(
    mode: str, k: Any, x: Sequence[Any], r: Sequence[Any], bias: Any, h: Any, c: Any
) -> tuple[list[Any], Any, Any]:
    """The gates, what is kept beside them (the cell; a GRU's share of the state in its candidate), and the output.

    `x` and `r` are the shares of the input and of the state in the gates, `bias` what only a GRU adds to the latter,
    `h` and `c` the output and the cell of the step before.
    """
    if mode == "LSTM":
        i, f, o = (k.sigmoid(x[n] + r[n]) for n in (0, 1, 3))
        g = k.tanh(x[2] + r[2])
        c = f * c + i * g
        return [i, f, g, o], c, o * k.tanh(c)
    if mode == "GRU":
        reset, z = (k.sigmoid(x[n] + r[n]) for n in (0, 1))
        own = r[2] + bias
        n = k.tanh(x[2] + reset * own)
        return [reset, z, n], own, n + z * (h - n)
    total = x[0] + r[0]
    return [], None, k.tanh(total) if mode == "RNN_TANH" else k.select(total <= 0.0, 0.0, total)  # NaN stays


def backward_step(
    mode: str, k: Any, gates: Sequence[Any], kept: Any, y: Any, h: Any, c: Any, g: Any, carry: Any
) -> tuple[list[Any], list[Any], Any]:
    """The gradients in the shares of the input and of the state, and what goes to the step before beside the latter.

    `g` is the gradient in the output `y`; `carry` that in the cell, of an LSTM.
    """
    if mode == "LSTM":
        i, f, n, o = gates
        t = k.tanh(kept)
        dc = carry + g * o * (1.0 - t * t)
        parts = [
            dc * n * (1.0 - i) * i,
            dc * c * (1.0 - f) * f,
            dc * i * (1.0 - n * n),
            g * t * (1.0 - o) * o,
        ]
        return parts, parts, dc * f
    if mode == "GRU":
        reset, z, n = gates
        dn = g * (1.0 - z) * (1.0 - n * n)
        both = [dn * kept * (1.0 - reset) * reset, g * (h - n) * (1.0 - z) * z]
        return [*both, dn], [*both, dn * reset], g * z
    part = g * (1.0 - y * y) if mode == "RNN_TANH" else k.select(y <= 0.0, 0.0, g)
    return [part], [part], None
