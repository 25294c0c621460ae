"""Sequences of different lengths: padded tensors, packed sequences, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..core.public import overridable
from ..core.tensor import Tensor
from ..runtime import dtypes
from . import functional as F

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences of different lengths without padding, as the recurrent modules take them.

    `data` holds the first elements of all sequences, then the second ones, and so on, longest sequence first;
    `batch_sizes[t]` says how many sequences have an element t. Made by `pack_padded_sequence` and
    `pack_sequence`.
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise TypeError(f"PackedSequence needs data and batch_sizes, got {type(data).__name__} alone")
            data, batch_sizes = data
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created "
                "manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequence in "
                "nn.utils.rnn."
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same sequences with `data` converted as by ``Tensor.to``."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with_data(data)

    def _with_data(self, data: Tensor) -> PackedSequence:
        return type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def cpu(self) -> PackedSequence:
        """The same sequences on the CPU."""
        return self.to(device="cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same sequences on a GPU.

        Raises: AssertionError where there is none.
        """
        return self._with_data(self.data.cuda(*args, **kwargs))

    def double(self) -> PackedSequence:
        """The same sequences in float64."""
        return self.to(dtype=dtypes.float64)

    def float(self) -> PackedSequence:
        """The same sequences in float32."""
        return self.to(dtype=dtypes.float32)

    def half(self) -> PackedSequence:
        """The same sequences in float16."""
        return self.to(dtype=dtypes.float16)

    def long(self) -> PackedSequence:
        """The same sequences in int64."""
        return self.to(dtype=dtypes.int64)

    def int(self) -> PackedSequence:
        """The same sequences in int32."""
        return self.to(dtype=dtypes.int32)

    def pin_memory(self) -> PackedSequence:
        """The same sequences in pinned memory."""
        return self._with_data(self.data.pin_memory())

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a GPU."""
        return bool(self.data.device.type == "cuda")

    def is_pinned(self) -> bool:
        """Whether the data is in pinned memory."""
        return bool(self.data.is_pinned())


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one; None for None.

    >>> import flambeau as torch
    >>> torch.nn.utils.rnn.invert_permutation(torch.tensor([2, 0, 1])).tolist()
    [1, 2, 0]
    """
    return None if permutation is None else ops.argsort(permutation)


def _lengths(lengths: Any) -> np.ndarray[Any, Any]:
    return np.asarray(lengths.tolist() if isinstance(lengths, Tensor) else list(lengths), dtype=np.int64)


def _positions(batch_sizes: np.ndarray[Any, Any], batch: int) -> Tensor:
    """Where in a flattened (T, B) each packed element lies."""
    rows = [t * batch + np.arange(n) for t, n in enumerate(batch_sizes)]
    return ops.tensor(np.concatenate(rows).tolist(), dtype=dtypes.int64)  # type: ignore[no-any-return]


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch (T, B, *), or (B, T, *) with `batch_first`, of sequences with these lengths.

    With `enforce_sorted` the sequences must come longest first; otherwise they are sorted here, and the order
    is kept in the result so that it can be undone.

    Raises: RuntimeError for lengths that are not positive, not sorted, too many or larger than T.

    >>> import flambeau as torch
    >>> x = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    >>> packed = torch.nn.utils.rnn.pack_padded_sequence(x, [2, 1, 3], batch_first=True, enforce_sorted=False)
    >>> packed.data.tolist(), packed.batch_sizes.tolist()
    ([4, 1, 3, 5, 2, 6], [3, 2, 1])
    """
    n = _lengths(lengths)
    if batch_first:
        input = input.transpose(0, 1)
    steps, batch = input.size(0), input.size(1)
    if len(n) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(n)} (batch_size={batch})"
        )
    if batch == 0 or n.min() <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if n.max() > steps:
        raise RuntimeError(f"lengths go up to {n.max()}, but the padded sequences have only {steps} steps")
    sorted_indices = None
    if enforce_sorted:
        if (np.diff(n) > 0).any():
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can "
                "pass "
                "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this "
                "requirement."
            )
    else:
        order = np.argsort(-n, kind="stable")
        n = n[order]
        sorted_indices = ops.tensor(order.tolist(), dtype=dtypes.int64)
        input = input.index_select(1, sorted_indices)
    batch_sizes = np.array([(n > t).sum() for t in range(n[0])])
    data = input.reshape(steps * batch, *input.shape[2:]).index_select(0, _positions(batch_sizes, batch))
    return PackedSequence(data, ops.tensor(batch_sizes.tolist(), dtype=dtypes.int64), sorted_indices)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The inverse of `pack_padded_sequence`: (padded, lengths), in the original order.

    Raises: ValueError when total_length is smaller than the longest sequence.
    """
    sizes = _lengths(sequence.batch_sizes)
    steps, batch = len(sizes), int(sizes[0])
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data = sequence.data
    rest = data.shape[1:]
    padded = data.new_full((steps * batch, *rest), padding_value)
    padded = padded.index_copy(0, _positions(sizes, batch), data).reshape(steps, batch, *rest)
    lengths = ops.tensor([int((sizes > b).sum()) for b in range(batch)], dtype=dtypes.int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths.index_select(0, sequence.unsorted_indices)
    return (padded.transpose(0, 1) if batch_first else padded), lengths


@overridable
def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (L, *) of different lengths into (T, B, *), or (B, T, *) with `batch_first`.

    Raises: RuntimeError when there are none or padding_side is neither left nor right.

    >>> import flambeau as torch
    >>> torch.nn.utils.rnn.pad_sequence([torch.ones(2), torch.ones(1)], batch_first=True)
    tensor([[1., 1.],
            [1., 0.]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    parts = list(sequences)
    if not parts:
        raise RuntimeError("received an empty list of sequences")
    longest = max(s.size(0) for s in parts)
    padded = []
    for s in parts:
        missing = longest - s.size(0)
        amounts = (missing, 0) if padding_side == "left" else (0, missing)
        padded.append(F.pad(s, (0, 0) * (s.dim() - 1) + amounts, value=padding_value) if missing else s)
    return ops.stack(padded, 0 if batch_first else 1)  # type: ignore[no-any-return]


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch without their padding (views)."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [padded_sequences[i][:n] for i, n in enumerate(_lengths(lengths).tolist())]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (L, *).

    Raises: RuntimeError when they are not sorted by length, longest first, and `enforce_sorted` is on.
    """
    lengths = [s.size(0) for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The list of sequences in a packed sequence."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
