"""What a group does together, on the bytes of arrays: who sends what to whom.

Short messages go from everybody to everybody at once.  Long sums go around in a ring, in as many parts as there are
processes: each process sends and receives twice the message in all, however many they are (Patarasu and Yuan 2009,
"Bandwidth optimal all-reduce algorithms for clusters of workstations").  Every part of a sum is computed in one place,
so all processes have the same bits.

Each message begins with a head that says which call it belongs to.  Processes that disagree about what they are doing
find that out from the first message, before anything is written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .reductions import ReduceOp, combine, divide, fold
from .wire import Channels, Incoming, Outgoing, flat

__all__ = ["Call", "Mismatch"]

# Which call of the group, what it is, dtype, reduction; bytes of a rank's tensor (0 where they differ), and of the message.
_HEAD = struct.Struct("<IBBBxQQ")
_SHORT = 1 << 15  # bytes that everybody sends to everybody
_JOINED = 1 << 12  # bytes that are sent with their head
_PIECE = 1 << 18  # bytes that are combined at once: they stay in a processor's cache


class Mismatch(Exception):
    """A rank does something else: the heads that came, and that were expected."""

    def __init__(self, peer: int, came: bytes, expected: bytes) -> None:
        super().__init__(peer)
        self.peer, self.came, self.expected = peer, _HEAD.unpack(came), _HEAD.unpack(expected)


class Call:
    """One collective: the connections, what its messages begin with, and when it has to be done."""

    def __init__(
        self,
        channels: Channels,
        number: int,
        kind: int,
        dtype: int,
        op: ReduceOp | None,
        total: int,
        end: float,
    ) -> None:
        self.channels, self.rank, self.size, self.end = channels, channels.rank, channels.size, end
        self.number, self.kind, self.dtype, self.op, self.total = number & 0xFFFFFFFF, kind, dtype, op, total
        self.others = [r for r in range(self.size) if r != self.rank]

    # ------------------------------------------------------------------------------------------------ messages

    def _head(self, length: int) -> bytes:
        op = 255 if self.op is None else self.op.value
        return _HEAD.pack(self.number, self.kind, self.dtype, op, self.total, length)

    def out(self, peer: int, data: memoryview) -> Outgoing:
        """A message to `peer`."""
        head = self._head(len(data))
        if len(data) <= _JOINED:
            return Outgoing(peer, iter((memoryview(head + bytes(data)),)))
        return Outgoing(peer, iter((memoryview(head), data)))

    def into(self, peer: int, data: memoryview) -> Incoming:
        """A message from `peer`, into memory."""
        return Incoming(peer, self._taking(peer, len(data), iter((data,) if len(data) else ())))

    def _taking(self, peer: int, length: int, pieces: Iterator[memoryview]) -> Iterator[memoryview]:
        came, expected = bytearray(_HEAD.size), self._head(length)
        yield memoryview(came)
        if came != expected:
            raise Mismatch(peer, bytes(came), expected)
        yield from pieces

    def combining(self, peer: int, target: Any) -> Incoming:
        """A message from `peer` that is combined with the array `target`, piece by piece."""
        assert self.op is not None
        step = max(1, _PIECE // target.itemsize)
        scratch = np.empty(min(step, target.size), target.dtype)

        def pieces(op: ReduceOp) -> Iterator[memoryview]:
            for start in range(0, target.size, step):
                part = target[start : start + step]
                here = scratch[: part.size]
                yield flat(here)
                combine(op, part, here)

        return Incoming(peer, self._taking(peer, target.nbytes, pieces(self.op)))

    def do(self, sends: list[Outgoing], takes: list[Incoming]) -> None:
        """Send and receive all of these."""
        self.channels.exchange(sends, takes, self.end)

    # ---------------------------------------------------------------------------------------------- collectives

    def barrier(self) -> None:
        """Wait for everybody."""
        nothing = memoryview(b"")
        self.do([self.out(r, nothing) for r in self.others], [self.into(r, nothing) for r in self.others])

    def broadcast(self, x: Any, root: int) -> None:
        """The array of `root` to everybody, along a chain when it is long."""
        data = flat(x)
        if self.size <= 2 or len(data) <= _SHORT:
            if self.rank == root:
                self.do([self.out(r, data) for r in self.others], [])
            else:
                self.do([], [self.into(root, data)])
            return
        place = (self.rank - root) % self.size
        before, after = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        parts = [data[i : i + _PIECE] for i in range(0, len(data), _PIECE)]
        there = len(parts) if place == 0 else 0

        def taking() -> Iterator[memoryview]:
            nonlocal there
            for part in parts:
                yield part
                there += 1

        def giving() -> Iterator[memoryview | None]:
            yield memoryview(self._head(len(data)))
            for i, part in enumerate(parts):
                while i >= there:
                    yield None
                yield part

        self.do(
            [Outgoing(after, giving())] if place < self.size - 1 else [],
            [Incoming(before, self._taking(before, len(data), taking()))] if place else [],
        )

    def _parts(self, x: Any) -> list[Any]:
        bounds = [x.size * i // self.size for i in range(self.size + 1)]
        return [x[a:b] for a, b in zip(bounds, bounds[1:])]

    def _everybody(self, x: Any) -> list[Any]:
        """The arrays of all ranks, each sent to everybody."""
        found = [x if r == self.rank else np.empty_like(x) for r in range(self.size)]
        data = flat(x)
        self.do([self.out(r, data) for r in self.others], [self.into(r, flat(found[r])) for r in self.others])
        return found

    def all_reduce(self, x: Any) -> None:
        """Combine the arrays of all, in place."""
        assert self.op is not None
        if x.nbytes <= _SHORT:
            fold(self.op, self._everybody(x), x)
            return
        parts = self._parts(x)
        self._reduce_ring(parts)
        self._gather_ring(parts)

    def _reduce_ring(self, parts: Sequence[Any]) -> None:
        """Combine the parts of all, in place: each rank's own part is complete afterwards, the others are not."""
        assert self.op is not None
        n, rank = self.size, self.rank
        before, after = (rank - 1) % n, (rank + 1) % n
        for step in range(1, n):
            mine, theirs = parts[(rank - step) % n], parts[(rank - step - 1) % n]
            self.do([self.out(after, flat(mine))], [self.combining(before, theirs)])
        divide(self.op, parts[rank], n)

    def _gather_ring(self, parts: Sequence[Any]) -> None:
        """Give everybody each rank's own part."""
        n, rank = self.size, self.rank
        before, after = (rank - 1) % n, (rank + 1) % n
        for step in range(n - 1):
            mine, theirs = parts[(rank - step) % n], parts[(rank - step - 1) % n]
            self.do([self.out(after, flat(mine))], [self.into(before, flat(theirs))])

    def reduce(self, x: Any, root: int) -> None:
        """Combine the arrays of all at `root`; the others keep theirs."""
        assert self.op is not None
        if x.nbytes <= _SHORT or self.size == 2:
            if self.rank != root:
                self.do([self.out(root, flat(x))], [])
                return
            found = [x if r == root else np.empty_like(x) for r in range(self.size)]
            self.do([], [self.into(r, flat(found[r])) for r in self.others])
            fold(self.op, found, x)
            return
        work = x if self.rank == root else x.copy()
        parts = self._parts(work)
        self._reduce_ring(parts)
        if self.rank == root:
            self.do([], [self.into(r, flat(parts[r])) for r in self.others])
        else:
            self.do([self.out(root, flat(parts[self.rank]))], [])

    def all_gather(self, x: Any, outs: Sequence[Any]) -> None:
        """The arrays of all to everybody."""
        outs[self.rank][:] = x
        if x.nbytes <= _SHORT or any(o.nbytes != x.nbytes for o in outs):
            data = flat(x)
            self.do(
                [self.out(r, data) for r in self.others], [self.into(r, flat(outs[r])) for r in self.others]
            )
        else:
            self._gather_ring(outs)

    def gather(self, x: Any, outs: Sequence[Any], root: int) -> None:
        """The arrays of all to `root`."""
        if self.rank != root:
            self.do([self.out(root, flat(x))], [])
            return
        self.do([], [self.into(r, flat(outs[r])) for r in self.others])
        outs[root][:] = x

    def scatter(self, x: Any, ins: Sequence[Any], root: int) -> None:
        """One of the arrays of `root` to each."""
        if self.rank != root:
            self.do([], [self.into(root, flat(x))])
            return
        self.do([self.out(r, flat(ins[r])) for r in self.others], [])
        x[:] = ins[root]

    def reduce_scatter(self, x: Any, ins: Sequence[Any]) -> None:
        """Combine the lists of all; to each rank its entry."""
        assert self.op is not None
        if sum(a.nbytes for a in ins) <= _SHORT or self.size == 2:
            found = [ins[r] if r == self.rank else np.empty_like(ins[self.rank]) for r in range(self.size)]
            self.do(
                [self.out(r, flat(ins[r])) for r in self.others],
                [self.into(r, flat(found[r])) for r in self.others],
            )
            fold(self.op, found, x)
            return
        parts = [a.copy() for a in ins]
        self._reduce_ring(parts)
        x[:] = parts[self.rank]

    def all_to_all(self, outs: Sequence[Any], ins: Sequence[Any]) -> None:
        """An array from each rank to each."""
        self.do(
            [self.out(r, flat(ins[r])) for r in self.others],
            [self.into(r, flat(outs[r])) for r in self.others],
        )
        outs[self.rank][:] = ins[self.rank]
