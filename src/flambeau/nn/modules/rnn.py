"""RNN, LSTM, GRU, and their single-step cells."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ... import ops
from ...core.state import tls
from ...core.tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from ..sequences import PackedSequence
from .module import Module
from .recurrence import CELLS, State, recurrent

if TYPE_CHECKING:
    from typing import Self  # Python 3.11

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: their parameters, and running them over sequences."""

    # What was assigned to `_flat_weights`: replaced, never filled.
    _given_weights: dict[str, Tensor] = {}  # noqa: RUF012

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_arguments(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._flat_weights_names: list[str] = []
        self._all_weights: list[list[str]] = []
        gate_size = _GATES[mode] * hidden_size
        out_size = proj_size or hidden_size
        directions = ["", "_reverse"] if bidirectional else [""]
        for layer in range(num_layers):
            in_size = input_size if layer == 0 else out_size * len(directions)
            for suffix in directions:
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (gate_size, in_size),
                    "weight_hh": (gate_size, out_size),
                }
                if bias:
                    shapes.update(bias_ih=(gate_size,), bias_hh=(gate_size,))
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = [f"{kind}_l{layer}{suffix}" for kind in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(ops.empty(shape, device=device, dtype=dtype)))
                self._flat_weights_names += names
                self._all_weights.append(names)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew: uniform in ±1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: there is no special layout for parameters here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self) -> list[Tensor]:
        """What `forward` computes with.  Libraries assign other tensors to it, which then take the parameters' place."""
        return [self._weight(name) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: Sequence[Tensor]) -> None:
        if len(weights) != len(self._flat_weights_names):
            raise ValueError(f"expected {len(self._flat_weights_names)} weights, got {len(weights)}")
        named = zip(self._flat_weights_names, weights, strict=True)
        given = {name: w for name, w in named if w is not getattr(self, name, None)}
        self.__dict__.pop("_given_weights", None)
        if given:
            self._given_weights = given

    def _weight(self, name: str) -> Tensor:
        given = self._given_weights
        return given[name] if name in given else getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_flat_weights_names", ()):
            self.__dict__.pop(
                "_given_weights", None
            )  # a new parameter ends what was assigned to `_flat_weights`, as in PyTorch
        super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.__dict__.pop("_given_weights", None)
        return super()._apply(fn, recurse)

    def _layers(self) -> list[list[tuple[Any, ...]]]:
        """The parameters in the form that `recurrent` takes."""
        flat = []
        for names in self._all_weights:
            named = {name.partition("_l")[0]: self._weight(name) for name in names}
            kinds = ("weight_ih", "bias_ih", "weight_hh", "bias_hh", "weight_hr")
            flat.append(tuple(named.get(kind) for kind in kinds))
        per_layer = 2 if self.bidirectional else 1
        return [flat[i : i + per_layer] for i in range(0, len(flat), per_layer)]

    def check_input(self, input: Tensor, batch_sizes: Any) -> None:
        """Check dtype, dimensions and size of the input.

        Raises: ValueError for the wrong dtype, RuntimeError for wrong sizes.
        """
        weight = self._weight(self._flat_weights_names[0])
        if input.dtype != weight.dtype and tls.autocast is None:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert "
                "input: "
                f"input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 3 if batch_sizes is None else 2
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def _state_shapes(self, batch: int) -> list[tuple[int, int, int]]:
        """The shapes of the state's tensors."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        shapes = [(count, batch, self.proj_size or self.hidden_size)]
        if self.mode == "LSTM":
            shapes.append((count, batch, self.hidden_size))
        return shapes

    def _check_state(self, state: State, batch: int) -> None:
        names = ["hidden[0]", "hidden[1]"] if self.mode == "LSTM" else ["hidden"]
        for name, s, shape in zip(names, state, self._state_shapes(batch), strict=True):
            if tuple(s.shape) != shape:
                raise RuntimeError(f"Expected {name} size {shape}, got {list(s.shape)}")

    def _run(self, input: Any, state: State | None) -> tuple[Any, State]:
        """Outputs and final state, from and to whatever form the input has."""
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            self.check_input(data, batch_sizes)
            sizes = batch_sizes.tolist()
            if state is None:
                state = tuple(data.new_zeros(shape) for shape in self._state_shapes(sizes[0]))
            self._check_state(state, sizes[0])
            if sorted_indices is not None:
                state = tuple(s.index_select(1, sorted_indices) for s in state)
            output, state = recurrent(
                self.mode, data, sizes, state, self._layers(), self.dropout, self.training
            )
            if unsorted_indices is not None:
                state = tuple(s.index_select(1, unsorted_indices) for s in state)
            return PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices), state

        name = type(self).__name__
        if input.dim() not in (2, 3):
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D tensor instead")
        batched = input.dim() == 3
        if state is not None:
            self._check_dims(state, batched)
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
            state = None if state is None else tuple(s.unsqueeze(1) for s in state)
        self.check_input(input, None)
        if self.batch_first:
            input = input.transpose(0, 1)
        batch = input.size(1)
        if input.size(0) == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        if state is None:
            state = tuple(input.new_zeros(shape) for shape in self._state_shapes(batch))
        self._check_state(state, batch)
        output, state = recurrent(self.mode, input, None, state, self._layers(), self.dropout, self.training)
        if not batched:
            return output.squeeze(1), tuple(s.squeeze(1) for s in state)
        return (output.transpose(0, 1) if self.batch_first else output), state

    def _check_dims(self, state: State, batched: bool) -> None:
        dims = 3 if batched else 2
        if any(s.dim() != dims for s in state):
            kind = "batched 3-D" if batched else "unbatched 2-D"
            if len(state) == 2:
                found = f"({state[0].dim()}-D, {state[1].dim()}-D) tensors"
                raise RuntimeError(f"For {kind} input, hx and cx should also be {dims}-D but got {found}")
            raise RuntimeError(
                f"For {kind} input, hx should also be {dims}-D but got {state[0].dim()}-D tensor"
            )

    def extra_repr(self) -> str:
        s = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0),
            ("bidirectional", False),
        ):
            value = getattr(self, name)
            if value != default:
                s += f", {name}={value}"
        return s

    def __setstate__(self, state: dict[str, Any]) -> None:
        # PyTorch keeps a second list of the parameters; here it is made when asked for
        kept = {k: v for k, v in state.items() if k not in ("_flat_weights", "_flat_weight_refs")}
        super().__setstate__({"proj_size": 0, **kept})


def _check_arguments(
    input_size: Any,
    hidden_size: Any,
    num_layers: int,
    bias: Any,
    batch_first: Any,
    dropout: Any,
    proj_size: int,
) -> None:
    if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:  # type: ignore[operator]
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being "
            "zeroed, "
            f"got {dropout!r}"
        )
    for name, flag in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu with ``nonlinearity="relu"`` (Elman 1990).

    Arguments: input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False,
    dropout=0.0, bidirectional=False. Input (L, N, F) or (L, F) or packed, state (layers·directions, N, H);
    the result is (output of the last layer, final state). Dropout acts between layers.

    Raises: ValueError or TypeError for bad arguments, RuntimeError for sizes that do not fit.

    >>> import flambeau as torch
    >>> output, h = torch.nn.RNN(3, 5, num_layers=2)(torch.ones(7, 4, 3))
    >>> output.shape, h.shape
    (torch.Size([7, 4, 5]), torch.Size([2, 4, 5]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + nonlinearity.upper(), *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, state = self._run(input, None if hx is None else (hx,))
        return output, state[0]


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997); `proj_size` projects h (Sak et al. 2014).

    Arguments as for RNN, without nonlinearity. The state is a pair (h, c); the result is (output, (h, c)).

    Raises: ValueError or TypeError for bad arguments, RuntimeError for sizes that do not fit.

    >>> import flambeau as torch
    >>> output, (h, c) = torch.nn.LSTM(3, 5, batch_first=True)(torch.ones(4, 7, 3))
    >>> output.shape, h.shape
    (torch.Size([4, 7, 5]), torch.Size([1, 4, 5]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def forward(
        self, input: Any, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        output, (h, c) = self._run(input, None if hx is None else tuple(hx))
        return output, (h, c)


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014), the reset gate applied after the matrix product.

    Arguments as for RNN, without nonlinearity; state and result likewise.

    Raises: ValueError or TypeError for bad arguments, RuntimeError for sizes that do not fit.

    >>> import flambeau as torch
    >>> output, h = torch.nn.GRU(3, 5, bidirectional=True)(torch.ones(7, 3))
    >>> output.shape, h.shape
    (torch.Size([7, 10]), torch.Size([2, 5]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, state = self._run(input, None if hx is None else (hx,))
        return output, state[0]


class RNNCellBase(Module):
    """What the cells share: their parameters and checks."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        size = num_chunks * hidden_size
        self.weight_ih = Parameter(ops.empty((size, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(ops.empty((size, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(
                name, Parameter(ops.empty(size, device=device, dtype=dtype)) if bias else None
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew: uniform in ±1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _step(self, mode: str, input: Tensor, state: State | None) -> State:
        """The next state, for a batch or for a single sample."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, s in enumerate(state or ()):
            if s.dim() not in (1, 2):
                what = f"hx[{i}]" if mode == "LSTM" else "hidden"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {s.dim()}D instead")
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        if state is None:
            zeros = input.new_zeros((input.size(0), self.hidden_size))
            state = (zeros, zeros) if mode == "LSTM" else (zeros,)
        elif not batched:
            state = tuple(s.unsqueeze(0) for s in state)
        if input.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.size(1)} expected {self.input_size}"
            )
        for i, s in enumerate(state):
            if s.dim() != 2 or s.size(0) != input.size(0):
                raise RuntimeError(
                    f"Input batch size {input.size(0)} doesn't match hidden{i} batch size {s.size(0)}"
                )
            if s.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {s.size(1)}, expected {self.hidden_size}"
                )
        gates = F.linear(input, self.weight_ih, self.bias_ih)
        state = CELLS[mode](gates, state, (self.weight_hh, self.bias_hh, None))
        return state if batched else tuple(s.squeeze(0) for s in state)

    def extra_repr(self) -> str:
        s = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            s += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        if nonlinearity != "tanh":
            s += f", nonlinearity={nonlinearity}"
        return s


class RNNCell(RNNCellBase):
    """One step of an RNN: (N, input_size) and h (N, hidden_size) to the next h; N may be absent.

    Raises: ValueError or RuntimeError for sizes that do not fit; RuntimeError for an unknown nonlinearity.

    >>> import flambeau as torch
    >>> torch.nn.RNNCell(3, 5)(torch.ones(4, 3)).shape
    torch.Size([4, 5])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step("RNN_" + self.nonlinearity.upper(), input, None if hx is None else (hx,))[0]  # type: ignore[no-any-return]


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (N, input_size) and (h, c) to the next (h, c); N may be absent.

    Raises: ValueError or RuntimeError for sizes that do not fit.

    >>> import flambeau as torch
    >>> h, c = torch.nn.LSTMCell(3, 5)(torch.ones(4, 3))
    >>> h.shape
    torch.Size([4, 5])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step("LSTM", input, None if hx is None else tuple(hx))
        return h, c


class GRUCell(RNNCellBase):
    """One step of a GRU: (N, input_size) and h (N, hidden_size) to the next h; N may be absent.

    Raises: ValueError or RuntimeError for sizes that do not fit.

    >>> import flambeau as torch
    >>> torch.nn.GRUCell(3, 5)(torch.ones(3)).shape
    torch.Size([5])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, None if hx is None else (hx,))[0]  # type: ignore[no-any-return]
