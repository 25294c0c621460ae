"""`TCPStore`: the keys are in the memory of one process, which others ask over the network.

What goes over the wire are lengths and bytes, never pickles.  The server listens on the address that it was given,
and on no other.
"""

from __future__ import annotations

import datetime
import errno
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Sequence

from .errors import DistNetworkError, DistStoreError, QueueEmptyError
from .stores import FIVE_MINUTES, Store, span, text
from .tables import Table

__all__ = ["TCPStore"]

_GREETING = b"flambeau-store-1"
_LENGTH = struct.Struct("<I")
_PARTS_LIMIT, _BYTES_LIMIT = 1 << 20, 1 << 30
_INIT = "init/"  # counts the processes that have come
# What a server is asked, by number.
_SET, _GET, _ADD, _APPEND, _COMPARE, _DELETE, _CHECK, _WAIT, _REACH, _COUNT, _NAMES, _PUSH, _POP, _LEN = (
    range(14)
)
# How an answer begins.
_FINE, _LATE, _EMPTY, _VALUE = range(4)
_ERRORS: dict[int, type[Exception]] = {_LATE: DistStoreError, _EMPTY: QueueEmptyError, _VALUE: ValueError}


def _pack(kind: int, parts: Sequence[bytes]) -> bytes:
    lengths = b"".join(_LENGTH.pack(len(p)) for p in parts)
    return b"".join((bytes((kind,)), _LENGTH.pack(len(parts)), lengths, *parts))


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise ConnectionError("the connection was closed")
        view = view[count:]
    return bytes(data)


def _unpack(sock: socket.socket) -> tuple[int, list[bytes]]:
    head = _exactly(sock, 5)
    (count,) = _LENGTH.unpack_from(head, 1)
    if count > _PARTS_LIMIT:
        raise ConnectionError(f"a message of {count} parts")
    lengths = struct.unpack(f"<{count}I", _exactly(sock, 4 * count))
    if sum(lengths) > _BYTES_LIMIT:
        raise ConnectionError(f"a message of {sum(lengths)} bytes")
    data, at, parts = _exactly(sock, sum(lengths)), 0, []
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    return head[0], parts


def _seconds(part: bytes) -> float:
    return float(part)


def _answer(table: Table, kind: int, parts: list[bytes]) -> list[bytes]:
    """What a server answers."""
    if kind == _SET:
        half = len(parts) // 2
        table.set([p.decode() for p in parts[:half]], parts[half:])
    elif kind == _GET:
        return table.get([p.decode() for p in parts[1:]], _seconds(parts[0]))
    elif kind == _ADD:
        return [b"%d" % table.add(parts[0].decode(), int(parts[1]))]
    elif kind == _APPEND:
        table.append(parts[0].decode(), parts[1])
    elif kind == _COMPARE:
        return [table.compare_set(parts[0].decode(), parts[1], parts[2])]
    elif kind == _DELETE:
        return [b"%d" % table.delete(parts[0].decode())]
    elif kind == _CHECK:
        return [b"%d" % table.check([p.decode() for p in parts])]
    elif kind == _WAIT:
        table.wait([p.decode() for p in parts[1:]], _seconds(parts[0]))
    elif kind == _REACH:
        table.reach(parts[1].decode(), int(parts[2]), _seconds(parts[0]))
    elif kind == _COUNT:
        return [b"%d" % table.count()]
    elif kind == _NAMES:
        return [n.encode() for n in table.names()]
    elif kind == _PUSH:
        table.push(parts[0].decode(), parts[1])
    elif kind == _POP:
        return [table.pop(parts[0].decode(), _seconds(parts[1]) if len(parts) > 1 else None)]
    elif kind == _LEN:
        return [b"%d" % table.length(parts[0].decode())]
    else:
        raise ConnectionError(f"a question of kind {kind}")
    return []


def _serve(table: Table, sock: socket.socket) -> None:
    """Answer one connection until it ends."""
    with sock:
        try:
            sock.settimeout(60)
            if _exactly(sock, len(_GREETING)) != _GREETING:
                return
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                kind, parts = _unpack(sock)
                try:
                    reply = _pack(_FINE, _answer(table, kind, parts))
                except QueueEmptyError as error:
                    reply = _pack(_EMPTY, [str(error).encode()])
                except DistStoreError as error:
                    reply = _pack(_LATE, [str(error).encode()])
                except ValueError as error:
                    reply = _pack(_VALUE, [str(error).encode()])
                sock.sendall(reply)
        except (OSError, IndexError, UnicodeDecodeError):
            return  # the other side has gone, or does not speak this language


def _accept(table: Table, listening: socket.socket, open_: weakref.WeakSet[socket.socket]) -> None:
    while True:
        try:
            sock, _ = listening.accept()
        except OSError:
            return  # closed
        open_.add(sock)
        threading.Thread(target=_serve, args=(table, sock), name="TCPStore", daemon=True).start()


class _Server:
    """A table, and the socket at which others ask for it."""

    def __init__(self, host: str, port: int, descriptor: int | None) -> None:
        self.table = Table()
        self.pid = os.getpid()
        if descriptor is None:
            self.listening = listen(host, port)
        else:
            self.listening = socket.socket(fileno=descriptor)
            if port not in (0, self.listening.getsockname()[1]):
                found = self.listening.getsockname()[1]
                raise DistNetworkError(f"master_listen_fd is bound to port {found}, not to {port}")
            self.listening.listen(1024)
        self.port: int = self.listening.getsockname()[1]
        self.open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        threading.Thread(
            target=_accept, args=(self.table, self.listening, self.open), name="TCPStore", daemon=True
        ).start()

    def __del__(self) -> None:
        if self.pid != os.getpid() or not hasattr(self, "open"):
            return  # a fork: the server is the parent's
        for sock in [self.listening, *self.open]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listening.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on the first address of `host`.  Raises DistNetworkError where that cannot be."""
    failed = None
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as reason:
        raise DistNetworkError(f"The address of {host!r} cannot be found: {reason}") from None
    for family, kind, protocol, _, address in sorted(found, key=lambda f: f[0] != socket.AF_INET):
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(1024)
            return listening
        except OSError as reason:
            listening.close()
            failed = failed or reason
    cure = ""
    if failed is not None and failed.errno == errno.EADDRNOTAVAIL:
        cure = ": not an address of this machine, give one of those by which the other processes reach it"
    raise DistNetworkError(
        f"The server socket has failed to listen on any local network address of {host!r}. port: {port}, {failed}{cure}"
    ) from None


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """A connection, tried again until it is there.  Raises DistNetworkError after `seconds`."""
    end, pause = time.monotonic() + seconds, 0.01
    while True:
        try:
            sock = socket.create_connection((host, port), max(0.01, end - time.monotonic()))
            if sock.getsockname() == sock.getpeername():  # a port of this machine's may meet itself
                sock.close()
                raise ConnectionRefusedError("nobody listens there")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as reason:
            if time.monotonic() + pause >= end:
                raise DistNetworkError(
                    f"The client socket has timed out after {seconds * 1000:.0f}ms while trying to connect to ({host}, {port}): {reason}"
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


class _Remote:
    """The table of another process.  Each thread that asks has a connection for itself while it waits."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self.host, self.port, self.seconds, self.pid = host, port, seconds, os.getpid()
        self.free: list[socket.socket] = [self._connect()]
        self.own_address: str = self.free[0].getsockname()[0]

    def _connect(self) -> socket.socket:
        sock = connect(self.host, self.port, self.seconds)
        sock.sendall(_GREETING)
        return sock

    def _take(self) -> socket.socket:
        if self.pid != os.getpid():  # a fork must not answer for its parent
            self.free, self.pid = [], os.getpid()
        try:
            return self.free.pop()
        except IndexError:
            return self._connect()

    def ask(self, kind: int, *parts: bytes, wait: float = 60.0) -> list[bytes]:
        """An answer; the server may take `wait` seconds for it, and the network some more."""
        sock = self._take()
        try:
            sock.settimeout(min(wait + 60.0, threading.TIMEOUT_MAX))
            sock.sendall(_pack(kind, parts))
            status, answer = _unpack(sock)
        except OSError as reason:
            sock.close()
            raise DistNetworkError(
                f"The TCPStore at {self.host}:{self.port} does not answer any more: {reason}. "
                "The process that holds it may have ended"
            ) from None
        except BaseException:  # interrupted: what comes next on this connection belongs to nobody
            sock.close()
            raise
        self.free.append(sock)
        if status != _FINE:
            raise _ERRORS.get(status, DistStoreError)(answer[0].decode())
        return answer

    def set(self, names: Sequence[str], values: Sequence[bytes]) -> None:
        self.ask(_SET, *(n.encode() for n in names), *values)

    def get(self, names: Sequence[str], seconds: float) -> list[bytes]:
        return self.ask(_GET, repr(seconds).encode(), *(n.encode() for n in names), wait=seconds)

    def add(self, name: str, amount: int) -> int:
        return int(self.ask(_ADD, name.encode(), b"%d" % amount)[0])

    def append(self, name: str, value: bytes) -> None:
        self.ask(_APPEND, name.encode(), value)

    def compare_set(self, name: str, old: bytes, new: bytes) -> bytes:
        return self.ask(_COMPARE, name.encode(), old, new)[0]

    def delete(self, name: str) -> bool:
        return self.ask(_DELETE, name.encode())[0] == b"1"

    def check(self, names: Sequence[str]) -> bool:
        return self.ask(_CHECK, *(n.encode() for n in names))[0] == b"1"

    def wait(self, names: Sequence[str], seconds: float) -> None:
        self.ask(_WAIT, repr(seconds).encode(), *(n.encode() for n in names), wait=seconds)

    def reach(self, name: str, count: int, seconds: float) -> None:
        self.ask(_REACH, repr(seconds).encode(), name.encode(), b"%d" % count, wait=seconds)

    def count(self) -> int:
        return int(self.ask(_COUNT)[0])

    def names(self) -> list[str]:
        return [n.decode() for n in self.ask(_NAMES)]

    def push(self, name: str, value: bytes) -> None:
        self.ask(_PUSH, name.encode(), value)

    def pop(self, name: str, seconds: float | None) -> bytes:
        if seconds is None:
            return self.ask(_POP, name.encode())[0]
        return self.ask(_POP, name.encode(), repr(seconds).encode(), wait=seconds)[0]

    def length(self, name: str) -> int:
        return int(self.ask(_LEN, name.encode())[0])

    def __del__(self) -> None:
        for sock in getattr(self, "free", ()):
            sock.close()


_servers: weakref.WeakValueDictionary[int, _Server] = weakref.WeakValueDictionary()


class TCPStore(Store):
    """Keys in the memory of the process that says ``is_master=True``; others ask it at `host_name` and `port`.

    The master listens on the address of `host_name` only (``""`` means all), on a free port for port 0; `port` says
    which.  Anybody who reaches the address can read and write: use an address that only the job's machines reach.
    With `world_size` and `wait_for_workers` the master returns when so many have come.  `timeout` is for connecting,
    and for reading keys.

    Raises: DistNetworkError where the port is taken or nobody answers; DistStoreError where too few come.

    >>> import flambeau as torch
    >>> master = torch.distributed.TCPStore("localhost", 0, world_size=1, is_master=True)
    >>> master.set("a", "1")
    >>> torch.distributed.TCPStore("localhost", master.port).get("a")
    b'1'
    """

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: datetime.timedelta = FIVE_MINUTES,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
    ) -> None:
        self.host = text("TCPStore", host_name)
        self.libuvBackend = use_libuv
        seconds = span("TCPStore", timeout).total_seconds()
        self._server = None
        if is_master:
            self._server = _servers.get(port) if multi_tenant else None
            if self._server is None:
                self._server = _Server(self.host, port, master_listen_fd)
                if multi_tenant:
                    _servers[self._server.port] = self._server
            self.port = self._server.port
            self._over(self._server.table, timeout)
        else:
            if not isinstance(port, int) or not 0 < port < 65536:
                raise ValueError(f"TCPStore: {port!r} is not a port that can be connected to")
            self.port = port
            self._over(_Remote(self.host, port, seconds), timeout)
        self._keys.add(_INIT, 1)
        if is_master and wait_for_workers and world_size is not None and world_size > 0:
            try:
                self._keys.reach(_INIT, world_size, seconds)
            except DistStoreError:
                came = self._keys.add(_INIT, 0)
                raise DistStoreError(
                    f"Timed out after {seconds:.0f} seconds waiting for clients. {came}/{world_size} clients joined."
                ) from None

    def local_address(self) -> str:
        """The address of this machine by which the others of the store reach it."""
        if self._server is None:
            assert isinstance(self._keys, _Remote)
            return self._keys.own_address
        found: str = self._server.listening.getsockname()[0]
        if found in ("0.0.0.0", "::"):
            found = socket.gethostbyname(socket.gethostname())
        return found

    def list_keys(self) -> list[str]:
        """The keys that were set."""
        return [k for k in self._keys.names() if k != _INIT]

    def __repr__(self) -> str:
        return f"TCPStore(host={self.host!r}, port={self.port})"
