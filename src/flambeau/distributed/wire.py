"""Bytes between processes: the connections of a group, and moving several messages over them at once.

Each pair of processes has two connections.  Collectives use one directly, from the thread that runs them, so that
nothing is copied and no other thread has to wake up.  The other (`letters`) has messages that come at any time: those
of `send`, and the news that a collective has failed.
"""

from __future__ import annotations

import hmac
import os
import secrets
import select
import socket
import struct
import time
import weakref
from collections.abc import Iterator
from typing import Any

from .errors import DistBackendError, DistStoreError
from .stores import Store
from .tcp_store import connect, listen

__all__ = ["Channels", "Incoming", "Outgoing", "meet", "own"]

_GREETING = struct.Struct(
    "<8s16sIB"
)  # who speaks, the secret of who is called, the caller's rank, which connection
_MAGIC = b"flambeau"
_BUFFER = 1 << 20
_owned: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def own(sock: socket.socket) -> socket.socket:
    """Note a connection of this process, which its forks (workers of a DataLoader) must not hold open."""
    _owned.add(sock)
    return sock


def _forget() -> None:
    for sock in list(_owned):
        sock.close()


os.register_at_fork(after_in_child=_forget)


def _address(store: Store) -> str:
    """The address by which others reach this process: the one by which it reaches the store."""
    while hasattr(store, "underlying_store"):
        store = store.underlying_store
    found = getattr(store, "local_address", None)
    return "127.0.0.1" if found is None else str(found())


def meet(store: Store, rank: int, size: int, seconds: float) -> tuple[Channels, dict[int, socket.socket]]:
    """Connect the processes that call this with the same `store`: the connections of collectives, and the others.

    Who connects has to know a secret that the called process has put into the store.

    Raises: DistStoreError, DistNetworkError or DistBackendError where one does not come in time.
    """
    end = time.monotonic() + seconds
    data: dict[int, socket.socket] = {}
    letters: dict[int, socket.socket] = {}
    if size == 1:
        return Channels(rank, size, data), letters
    host, secret = _address(store), secrets.token_bytes(16)
    listening = listen(host, 0)
    try:
        store.set(f"address/{rank}", f"{host} {listening.getsockname()[1]} {secret.hex()}")
        for other in range(rank):
            there, port, their = _look_up(store, other, rank, end).split()
            for which, found in enumerate((data, letters)):
                sock = connect(there, int(port), max(0.1, end - time.monotonic()))
                sock.sendall(_GREETING.pack(_MAGIC, bytes.fromhex(their), rank, which))
                found[other] = sock
        _accept(listening, secret, rank, size, (data, letters), end, seconds)
    except BaseException:
        for sock in (*data.values(), *letters.values()):
            sock.close()
        raise
    finally:
        listening.close()
    for sock in (*data.values(), *letters.values()):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        own(sock)
    for sock in data.values():
        for which in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, which, _BUFFER)
    return Channels(rank, size, data), letters


def _look_up(store: Store, other: int, rank: int, end: float) -> str:
    key = f"address/{other}"
    try:
        import datetime

        store.wait([key], datetime.timedelta(seconds=max(0.1, end - time.monotonic())))
    except DistStoreError as error:
        raise DistStoreError(f"rank {rank} waited for rank {other}, which did not come: {error}") from None
    return store.get(key).decode()


def _accept(
    listening: socket.socket,
    secret: bytes,
    rank: int,
    size: int,
    found: tuple[dict[int, socket.socket], dict[int, socket.socket]],
    end: float,
    seconds: float,
) -> None:
    """Take the connections of the higher ranks."""
    while missing := [r for r in range(rank + 1, size) if r not in found[0] or r not in found[1]]:
        listening.settimeout(max(0.01, end - time.monotonic()))
        try:
            sock, _ = listening.accept()
        except TimeoutError:
            raise DistBackendError(
                f"rank {rank} waited {seconds:g} s for {'rank' if len(missing) == 1 else 'ranks'} "
                f"{', '.join(map(str, missing))} to connect"
            ) from None
        try:
            sock.settimeout(min(10.0, max(0.01, end - time.monotonic())))
            greeting = sock.recv(_GREETING.size, socket.MSG_WAITALL)
            magic, given, other, which = _GREETING.unpack(greeting)
        except (OSError, struct.error):
            sock.close()
            continue
        if magic != _MAGIC or not hmac.compare_digest(given, secret) or which > 1 or other not in missing:
            sock.close()
            continue
        found[which][other] = sock


class Outgoing:
    """A message to a rank: pieces of memory, some of which may not be known yet (the iterator gives None)."""

    __slots__ = ("peer", "pieces", "left")

    def __init__(self, peer: int, pieces: Iterator[memoryview | None]) -> None:
        self.peer, self.pieces = peer, pieces
        self.left: memoryview | None = None


class Incoming:
    """A message from a rank: the memory that it goes to.  The iterator goes on when a piece is full."""

    __slots__ = ("peer", "pieces", "left")

    def __init__(self, peer: int, pieces: Iterator[memoryview]) -> None:
        self.peer, self.pieces = peer, pieces
        self.left: memoryview | None = None


class Gone(Exception):
    """A connection has ended: that of the rank `peer`."""

    def __init__(self, peer: int) -> None:
        super().__init__(peer)
        self.peer = peer


class Late(Exception):
    """Nothing came from the ranks `peers` in time."""

    def __init__(self, peers: list[int]) -> None:
        super().__init__(peers)
        self.peers = peers


class Channels:
    """The connections over which the collectives of a group go."""

    def __init__(self, rank: int, size: int, socks: dict[int, socket.socket]) -> None:
        self.rank, self.size, self.socks = rank, size, socks

    def exchange(self, sends: list[Outgoing], takes: list[Incoming], end: float) -> None:
        """Send and receive all of these, in whatever order the network allows.

        Raises: Gone for a connection that ends, Late at the time `end`.
        """
        socks = self.socks
        sends = [s for s in sends if not self._send(s)]
        takes = [t for t in takes if not self._take(t)]
        sends = [s for s in sends if s.left is not None or not self._send(s)]  # what waited for these
        while sends or takes:
            poll = select.poll()
            wanted: dict[int, int] = {}
            for t in takes:
                wanted[t.peer] = select.POLLIN
            for s in sends:
                if s.left is not None:  # else it waits for what is taken
                    wanted[s.peer] = wanted.get(s.peer, 0) | select.POLLOUT
            of = {}
            for peer, events in wanted.items():
                handle = socks[peer].fileno()
                if handle < 0:
                    raise Gone(peer)
                of[handle] = peer
                poll.register(handle, events)
            wait = end - time.monotonic()
            ready = poll.poll(min(wait, 3600.0) * 1000) if wait > 0 else []
            if not ready and time.monotonic() >= end:
                raise Late(sorted({t.peer for t in takes} or {s.peer for s in sends}))
            can = {of[handle] for handle, _ in ready}
            takes = [t for t in takes if t.peer not in can or not self._take(t)]
            sends = [s for s in sends if (s.left is not None and s.peer not in can) or not self._send(s)]

    def _send(self, s: Outgoing) -> bool:
        """Send what goes at once; whether that was all."""
        sock = self.socks[s.peer]
        try:
            while True:
                left = s.left
                if left is None:
                    try:
                        left = next(s.pieces)
                    except StopIteration:
                        return True
                    if left is None:
                        return False
                while left:
                    s.left = left
                    left = left[sock.send(left) :]
                s.left = None
        except BlockingIOError:
            return False
        except (OSError, ValueError):
            raise Gone(s.peer) from None

    def _take(self, t: Incoming) -> bool:
        """Receive what is there; whether the message is complete."""
        sock = self.socks[t.peer]
        try:
            while True:
                left = t.left
                if left is None:
                    try:
                        left = next(t.pieces)
                    except StopIteration:
                        return True
                while left:
                    t.left = left
                    count = sock.recv_into(left)
                    if not count:
                        raise Gone(t.peer)
                    left = left[count:]
                t.left = None
        except BlockingIOError:
            return False
        except (OSError, ValueError):
            raise Gone(t.peer) from None

    def stop(self) -> None:
        """End the connections; whoever waits at one, here or there, is told."""
        for sock in self.socks.values():
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        """`stop`, and give the connections back to the system."""
        self.stop()
        for sock in self.socks.values():
            sock.close()


def flat(array: Any) -> memoryview:
    """The bytes of a contiguous array."""
    import numpy as np

    return memoryview(array.reshape(-1).view(np.uint8)) if array.size else memoryview(b"")
