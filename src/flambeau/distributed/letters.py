"""Messages of one process to another that come at any time: `send` and `recv`, and news of failures.

A thread for each group moves them.  A long message is announced, and its bytes are sent when the other side has said
where they go: so a process that sends much faster than another receives does not fill the other's memory.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .errors import DistBackendError
from .wire import flat, own
from .work import Work

__all__ = ["Post"]

_HEAD = struct.Struct("<BBqQQ")  # kind, dtype, tag, length, number
_SHORT, _OFFER, _READY, _BYTES, _FAILED = range(5)
_SHORT_LIMIT = 1 << 16
_TEXT_LIMIT = 1 << 16


class _Line:
    """One connection: what is to be sent, and the message that is arriving."""

    def __init__(self, peer: int, sock: socket.socket) -> None:
        self.peer, self.sock = peer, sock
        self.out: deque[tuple[memoryview, Callable[[], None] | None]] = deque()
        self.head = bytearray(_HEAD.size)
        self.body: bytearray | None = None
        self.inside = False  # past a head
        self.into = memoryview(self.head)  # what is still to come
        self.what: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)


class _Wanted:
    """A `recv` that waits."""

    def __init__(self, peer: int | None, tag: int, array: Any, code: int, work: Work) -> None:
        self.peer, self.tag, self.array, self.code, self.work = peer, tag, array, code, work


class Post:
    """The messages of one group."""

    def __init__(
        self, rank: int, ranks: list[int], socks: dict[int, socket.socket], on_failure: Callable[[str], None]
    ) -> None:
        self.rank, self.ranks, self.on_failure = rank, ranks, on_failure  # `ranks`: as the world counts them
        self.lock = threading.RLock()
        self.lines = {peer: _Line(peer, sock) for peer, sock in socks.items()}
        self.wanted: list[_Wanted] = []
        self.early: deque[tuple[int, int, int, int, int, bytes]] = (
            deque()
        )  # peer, kind, dtype, tag, number, bytes
        self.offered: dict[int, tuple[int, memoryview, Work]] = {}
        self.arriving: dict[tuple[int, int], _Wanted] = {}
        self.number = 0
        self.dead: dict[int, str] = {}
        self.news = threading.Condition(self.lock)
        self.closing = False
        self.selector = selectors.DefaultSelector()
        self.bell, self.listening = (own(s) for s in socket.socketpair())
        self.listening.setblocking(False)
        self.bell.setblocking(False)
        self.selector.register(self.listening, selectors.EVENT_READ, None)
        for line in self.lines.values():
            self.selector.register(line.sock, selectors.EVENT_READ, line)
        self.pid = os.getpid()
        self.thread: threading.Thread | None = None
        if socks:
            self.thread = threading.Thread(target=self._run, name=f"letters of rank {rank}", daemon=True)
            self.thread.start()

    # ----------------------------------------------------------------------------------------- what callers do

    def send(self, peer: int, tag: int, array: Any, code: int, work: Work) -> None:
        """Send a contiguous array; `work` is done when its memory may be written again."""
        data = flat(array)
        with self.lock:
            if self._failed(peer, work):
                return
            if len(data) <= _SHORT_LIMIT:
                head = _HEAD.pack(_SHORT, code, tag, len(data), 0)
                self._post(peer, memoryview(head + bytes(data)), work.finish)
            else:
                self.number += 1
                self.offered[self.number] = (peer, data, work)
                self._post(peer, memoryview(_HEAD.pack(_OFFER, code, tag, len(data), self.number)), None)

    def receive(self, peer: int | None, tag: int, array: Any, code: int, work: Work) -> None:
        """Receive into a contiguous array, from `peer` or from anybody; `work.source` will say from whom."""
        wanted = _Wanted(peer, tag, array, code, work)
        with self.lock:
            for i, (source, kind, given, label, number, data) in enumerate(self.early):
                if label == tag and peer in (None, source):
                    del self.early[i]
                    self._give(wanted, source, kind, given, number, data)
                    return
            if peer is None:
                if not self.closing and len(self.dead) < len(self.lines):
                    self.wanted.append(wanted)
                else:
                    work.fail(DistBackendError("all other ranks have closed their connections"))
            elif not self._failed(peer, work):
                self.wanted.append(wanted)

    def forget(self, work: Work) -> None:
        """Take back a `recv` that nobody waits for any more."""
        with self.lock:
            self.wanted = [w for w in self.wanted if w.work is not work]

    def tell_failure(self, message: str) -> None:
        """Tell all others that this process can go on with no collective of the group."""
        text = message.encode()[:_TEXT_LIMIT]
        with self.lock:
            for peer in self.lines:
                if peer not in self.dead:
                    self._post(peer, memoryview(_HEAD.pack(_FAILED, 0, 0, len(text), 0) + text), None)

    def wait_for_news(self, peer: int, known: Callable[[], bool], seconds: float) -> None:
        """Wait until it is known whether `peer` has ended, or `known()`."""
        with self.news:
            self.news.wait_for(lambda: peer in self.dead or known(), seconds)

    def close(self) -> None:
        """Send what is to be sent, and end the connections."""
        with self.lock:
            self.closing = True
            self._ring()
        if (
            self.thread is not None
            and self.thread is not threading.current_thread()
            and self.pid == os.getpid()
        ):
            self.thread.join(5)

    # ------------------------------------------------------------------------------------------- under the lock

    def _failed(self, peer: int, work: Work) -> bool:
        if self.closing:
            work.fail(DistBackendError("the process group was destroyed"))
        elif peer in self.dead:
            work.fail(DistBackendError(self.dead[peer]))
        else:
            return False
        return True

    def _post(self, peer: int, data: memoryview, done: Callable[[], None] | None) -> None:
        line = self.lines[peer]
        if not line.out:  # usually it goes at once, and no other thread has to wake up
            try:
                data = data[line.sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                if done is not None:
                    self._lost(line)
                return
            if not data:
                if done is not None:
                    done()
                return
        line.out.append((data, done))
        self._ring()

    def _ring(self) -> None:
        try:
            self.bell.send(b"\0")
        except OSError:
            pass  # it is ringing already, or nobody is there

    def _give(self, wanted: _Wanted, source: int, kind: int, code: int, number: int, data: bytes) -> None:
        """A message has met the `recv` that it is for."""
        wanted.work.source = source
        length = len(data) if kind == _SHORT else int.from_bytes(data, "little")
        target = flat(wanted.array)
        if code != wanted.code or length != len(target):
            from .dtypes import described

            message = (
                f"rank {self.ranks[source]} sent {described(code, length)} and rank {self.ranks[self.rank]} receives "
                f"{described(wanted.code, len(target))} (tag {wanted.tag})"
            )
            wanted.work.fail(DistBackendError(message))
            if kind == _OFFER:
                self._post(source, memoryview(_HEAD.pack(_READY, 0, 0, 1, number)), None)
        elif kind == _SHORT:
            if data:
                target[:] = data
            wanted.work.finish()
        else:
            self.arriving[source, number] = wanted
            self._post(source, memoryview(_HEAD.pack(_READY, 0, 0, 0, number)), None)

    def _lost(self, line: _Line) -> None:
        """A connection has ended."""
        peer = line.peer
        if peer in self.dead:
            return
        message = (
            f"rank {self.ranks[peer]} has closed its connection to rank {self.ranks[self.rank]}: "
            "its process has ended, or left the group"
        )
        self.dead[peer] = message
        try:
            self.selector.unregister(line.sock)
        except (KeyError, ValueError):
            pass
        line.out.clear()
        last = len(self.dead) == len(self.lines)
        gone = [w for w in self.wanted if w.peer == peer or (last and w.peer is None)]
        self.wanted = [w for w in self.wanted if w not in gone]
        works = [w.work for w in gone]
        works += [w for n, (p, _, w) in self.offered.items() if p == peer]
        self.offered = {n: o for n, o in self.offered.items() if o[0] != peer}
        works += [w.work for (p, _), w in self.arriving.items() if p == peer]
        self.arriving = {k: w for k, w in self.arriving.items() if k[0] != peer}
        for work in works:
            work.fail(DistBackendError(message))
        self.news.notify_all()

    # ----------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        while True:
            for key, events in self.selector.select():
                line = key.data
                if line is None:
                    try:
                        self.listening.recv(4096)
                    except OSError:
                        pass
                    continue
                if events & selectors.EVENT_WRITE:
                    with self.lock:
                        self._write(line)
                if events & selectors.EVENT_READ:
                    self._read(line)
            with self.lock:
                for line in self.lines.values():
                    if line.peer not in self.dead:
                        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.out else 0)
                        if self.selector.get_key(line.sock).events != wanted:
                            self.selector.modify(line.sock, wanted, line)
                if self.closing and not any(line.out for line in self.lines.values()):
                    self._end()
                    return

    def _end(self) -> None:
        for wanted in self.wanted:
            wanted.work.fail(DistBackendError("the process group was destroyed"))
        for _, _, work in self.offered.values():
            work.fail(DistBackendError("the process group was destroyed"))
        for line in self.lines.values():
            line.sock.close()
        self.selector.close()
        self.bell.close()
        self.listening.close()

    def _write(self, line: _Line) -> None:
        while line.out:
            data, done = line.out[0]
            try:
                data = data[line.sock.send(data) :]
            except BlockingIOError:
                return
            except OSError:
                self._lost(line)
                return
            if data:
                line.out[0] = (data, done)
                return
            line.out.popleft()
            if done is not None:
                done()

    def _read(self, line: _Line) -> None:
        while line.peer not in self.dead:
            while line.into:
                try:
                    count = line.sock.recv_into(line.into)
                except BlockingIOError:
                    return
                except OSError:
                    count = 0
                if not count:
                    with self.lock:
                        self._lost(line)
                    return
                line.into = line.into[count:]
            with self.lock:
                self._arrived(line)

    def _arrived(self, line: _Line) -> None:
        """The head of a message is there, or what follows it."""
        if not line.inside:
            line.what = _HEAD.unpack(line.head)
            kind, _, _, length, number = line.what
            if kind in (_SHORT, _FAILED) and 0 < length <= max(_SHORT_LIMIT, _TEXT_LIMIT):
                line.body = bytearray(length)
                line.into, line.inside = memoryview(line.body), True
                return
            if kind == _BYTES and (line.peer, number) in self.arriving:
                line.into, line.inside = flat(self.arriving[line.peer, number].array), True
                return
        body, line.body = line.body, None
        line.into, line.inside = memoryview(line.head), False
        self._message(line.peer, line.what, bytes(body or b""))

    def _message(self, peer: int, what: tuple[int, int, int, int, int], body: bytes) -> None:
        kind, code, tag, length, number = what
        if kind in (_SHORT, _OFFER):
            data = body if kind == _SHORT else length.to_bytes(8, "little")
            for i, wanted in enumerate(self.wanted):
                if wanted.tag == tag and wanted.peer in (None, peer):
                    del self.wanted[i]
                    self._give(wanted, peer, kind, code, number, data)
                    return
            self.early.append((peer, kind, code, tag, number, data))
        elif kind == _READY:
            found = self.offered.pop(number, None)
            if found is None or found[0] != peer:
                return
            _, data_out, work = found
            if length:  # it was refused
                work.fail(
                    DistBackendError(f"rank {self.ranks[peer]} receives a tensor of another size or dtype")
                )
                return
            self._post(peer, memoryview(_HEAD.pack(_BYTES, 0, 0, len(data_out), number)), None)
            self._post(peer, data_out, work.finish)
        elif kind == _BYTES:
            wanted = self.arriving.pop((peer, number))
            wanted.work.finish()
        elif kind == _FAILED:
            self.on_failure(body.decode(errors="replace"))
            self.news.notify_all()
