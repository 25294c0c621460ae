"""Stores of keys and values that the threads of one process share: `HashStore`, `TCPStore`, `FileStore`, `PrefixStore`.

In PyTorch processes find each other through them.  Here there is one process, so all of them keep their keys in its
memory; what distinguishes them is how two stores come to be the same one (a port, a file's name, a prefix).
"""

from __future__ import annotations

import datetime
import os
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from ..runtime.absent import WHERE

__all__ = [
    "DistBackendError",
    "DistError",
    "DistNetworkError",
    "DistStoreError",
    "FileStore",
    "HashStore",
    "PrefixStore",
    "QueueEmptyError",
    "Store",
    "TCPStore",
]

T = TypeVar("T")


class DistError(RuntimeError):
    """What goes wrong between processes."""


class DistBackendError(DistError):
    """A collective that failed."""


class DistNetworkError(DistError):
    """An address that cannot be listened on, or where nobody answers."""


class DistStoreError(DistError):
    """A key that did not come in time."""


class QueueEmptyError(DistStoreError):
    """`Store.queue_pop` of an empty queue without waiting."""


class _Shared:
    """What several stores have in common: the keys, the queues, and who waits for them."""

    def __init__(self, listening: socket.socket | None = None) -> None:
        self.changed = threading.Condition()
        self.values: dict[str, bytes] = {}
        self.queues: dict[str, deque[bytes]] = {}
        self.listening = listening

    def __del__(self) -> None:
        if self.listening is not None:
            self.listening.close()

    def has(self, key: str) -> bool:
        return key in self.values or bool(self.queues.get(key))


_by_port: weakref.WeakValueDictionary[int, _Shared] = weakref.WeakValueDictionary()
_by_file: weakref.WeakValueDictionary[str, _Shared] = weakref.WeakValueDictionary()


def _text(who: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{who}: expected a str, but got {value!r} of type {type(value).__name__}")
    return value


def _bytes(who: str, value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, bytearray)) else _text(who, value).encode()


def _number(who: str, value: bytes) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{who}: the value {value!r} is not a whole number") from None


def _span(who: str, value: Any) -> datetime.timedelta:
    if not isinstance(value, datetime.timedelta):
        raise TypeError(f"{who}: a timeout is a datetime.timedelta, but got {value!r}")
    return value


class Store:
    """What all stores can do.  A key is a str, a value str or bytes; reading gives bytes.

    Reading waits for a key that is not there yet, as long as `timeout`, which is five minutes unless `set_timeout`
    says otherwise, and raises DistStoreError then.
    """

    _own_keys = 0  # PyTorch's TCPStore and FileStore count a key of their own

    def __init__(self) -> None:
        raise TypeError(
            f"{type(self).__name__}: No constructor defined! Make a HashStore, TCPStore or FileStore"
        )

    def _over(self, shared: _Shared, timeout: datetime.timedelta, prefix: str = "") -> None:
        self._shared, self._timeout, self._prefix = shared, timeout, prefix

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    @property
    def timeout(self) -> datetime.timedelta:
        """How long reading waits for a key."""
        return self._timeout

    def set_timeout(self, timeout: datetime.timedelta) -> None:
        """Set how long reading waits.  Raises TypeError unless it is a timedelta."""
        self._timeout = _span("set_timeout()", timeout)

    def _key(self, who: str, key: Any) -> str:
        return self._prefix + _text(who, key)

    def _keys(self, who: str, keys: Any) -> list[str]:
        if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence):
            raise TypeError(f"{who}: expected a sequence of keys, but got {keys!r}")
        return [self._key(who, k) for k in keys]

    def _await(self, ready: Callable[[], T], keys: list[str], timeout: datetime.timedelta | None = None) -> T:
        span = self._timeout if timeout is None else timeout
        until = time.monotonic() + span.total_seconds()
        while not (found := ready()):
            left = until - time.monotonic()
            if left <= 0:
                raise DistStoreError(
                    f"Wait timeout after {span.total_seconds():g} s, keys: {', '.join(keys)}"
                )
            self._shared.changed.wait(left)
        return found

    def set(self, key: str, value: str | bytes) -> None:
        """Store `value` under `key`, in the place of what is there.  Raises TypeError for other types.

        >>> import flambeau as torch
        >>> store = torch.distributed.HashStore()
        >>> store.set("colour", "red")
        >>> store.get("colour")
        b'red'
        """
        name, new = self._key("set()", key), _bytes("set()", value)
        with self._shared.changed:
            self._shared.values[name] = new
            self._shared.changed.notify_all()

    def get(self, key: str) -> bytes:
        """The value of `key`, once there is one.  Raises DistStoreError if it does not come in time."""
        return self.multi_get([key])[0]

    def add(self, key: str, amount: int) -> int:
        """Add `amount` to the number under `key` (0 if there is none), and return the sum.

        Raises: ValueError where the value is not a number, TypeError for an amount that is no int.
        """
        name = self._key("add()", key)
        if not isinstance(amount, int):
            raise TypeError(f"add(): the amount is an int, but got {amount!r}")
        with self._shared.changed:
            total = _number("add()", self._shared.values.get(name, b"0")) + amount
            self._shared.values[name] = str(total).encode()
            self._shared.changed.notify_all()
        return total

    def append(self, key: str, value: str | bytes) -> None:
        """Put `value` behind what is stored under `key`."""
        name, more = self._key("append()", key), _bytes("append()", value)
        with self._shared.changed:
            self._shared.values[name] = self._shared.values.get(name, b"") + more
            self._shared.changed.notify_all()

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        """Store `desired_value` if the present one is `expected_value`, or if there is none and that is empty.

        Returns the value that `key` has then; for a key without one, `expected_value`.
        """
        name = self._key("compare_set()", key)
        old, new = _bytes("compare_set()", expected_value), _bytes("compare_set()", desired_value)
        with self._shared.changed:
            present = self._shared.values.get(name)
            if present != old and not (present is None and not old):
                return old if present is None else present
            self._shared.values[name] = new
            self._shared.changed.notify_all()
        return new

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """`set` for several keys at once.  Raises ValueError unless there is one value for each."""
        names, new = self._keys("multi_set()", keys), [_bytes("multi_set()", v) for v in values]
        if len(names) != len(new):
            raise ValueError(f"multi_set(): {len(names)} keys and {len(new)} values")
        with self._shared.changed:
            self._shared.values.update(zip(names, new, strict=True))
            self._shared.changed.notify_all()

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """`get` for several keys at once."""
        names = self._keys("get()", keys)
        with self._shared.changed:
            values = self._shared.values
            self._await(lambda: all(n in values for n in names), names)
            return [values[n] for n in names]

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all of `keys` have values now."""
        names = self._keys("check()", keys)
        with self._shared.changed:
            return all(self._shared.has(n) for n in names)

    def wait(self, keys: Sequence[str], timeout: datetime.timedelta | None = None) -> None:
        """Wait until all of `keys` have values.  Raises DistStoreError if they do not come in time."""
        names = self._keys("wait()", keys)
        span = None if timeout is None else _span("wait()", timeout)
        with self._shared.changed:
            self._await(lambda: all(self._shared.has(n) for n in names), names, span)

    def barrier(self, key: str, world_size: int, timeout: datetime.timedelta | None = None) -> None:
        """Wait until `world_size` callers have come here with the same `key`."""
        span = None if timeout is None else _span("barrier()", timeout)
        self.add(key, 1)
        name = self._key("barrier()", key)
        with self._shared.changed:
            self._await(lambda: int(self._shared.values[name]) >= world_size, [name], span)

    def delete_key(self, key: str) -> bool:
        """Forget `key`; whether it was there."""
        name = self._key("delete_key()", key)
        with self._shared.changed:
            return self._shared.values.pop(name, None) is not None

    def num_keys(self) -> int:
        """How many keys there are, under any prefix.  As in PyTorch, TCPStore and FileStore count one of their own."""
        with self._shared.changed:
            return len(self._shared.values) + self._own_keys

    def list_keys(self) -> list[str]:
        """The keys; of a PrefixStore those with its prefix, as the store below knows them."""
        with self._shared.changed:
            return [k for k in self._shared.values if k.startswith(self._prefix)]

    def has_extended_api(self) -> bool:
        """True: `append`, `multi_get` and `multi_set` exist."""
        return True

    def queue_push(self, key: str, value: str | bytes) -> None:
        """Put `value` at the end of the queue `key`."""
        name, new = self._key("queue_push()", key), _bytes("queue_push()", value)
        with self._shared.changed:
            self._shared.queues.setdefault(name, deque()).append(new)
            self._shared.changed.notify_all()

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        """Take the oldest value from the queue `key`, waiting for one with `block`; else QueueEmptyError."""
        name = self._key("queue_pop()", key)
        with self._shared.changed:
            queue = self._shared.queues.setdefault(name, deque())
            if not queue and not block:
                raise QueueEmptyError(f"queue is empty: {name}")
            return self._await(lambda: queue, [name]).popleft()

    def queue_len(self, key: str) -> int:
        """How many values the queue `key` holds."""
        with self._shared.changed:
            return len(self._shared.queues.get(self._key("queue_len()", key), ()))

    def clone(self) -> Store:
        """Another object for the same keys."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


_FIVE_MINUTES = datetime.timedelta(seconds=300)


class HashStore(Store):
    """A store of its own."""

    def __init__(self) -> None:
        self._over(_Shared(), _FIVE_MINUTES)


class TCPStore(Store):
    """The store of this process with this port.  The one with ``is_master=True`` makes it, on a port that is free.

    Raises: RuntimeError for more than one process; DistNetworkError where the port is taken, and without a master in
    this process.

    >>> import flambeau as torch
    >>> master = torch.distributed.TCPStore("localhost", 0, world_size=1, is_master=True)
    >>> master.set("a", "1")
    >>> torch.distributed.TCPStore("localhost", master.port).get("a")
    b'1'
    """

    _own_keys = 1

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: datetime.timedelta = _FIVE_MINUTES,
        wait_for_workers: bool = True,
        multi_tenant: bool = False,
        master_listen_fd: int | None = None,
        use_libuv: bool = True,
    ) -> None:
        _check_world("TCPStore", world_size)
        self.host = _text("TCPStore", host_name)
        self.libuvBackend = use_libuv
        span = _span("TCPStore", timeout)
        if not is_master or (multi_tenant and port in _by_port):
            shared = _by_port.get(port)
            if shared is None:
                raise DistNetworkError(
                    f"no TCPStore in this process listens on {host_name}:{port}, and other processes are not asked "
                    f"({WHERE}); make the one with is_master=True first"
                )
        else:
            listening = socket.socket()  # never answered: it keeps the port for this store
            try:
                listening.bind(("", port))
            except OSError as reason:
                listening.close()
                raise DistNetworkError(
                    f"The server socket has failed to listen on any local network address. port: {port}: {reason}"
                ) from None
            port = listening.getsockname()[1]
            _by_port[port] = shared = _Shared(listening)
        self.port = port
        self._over(shared, span)

    def __repr__(self) -> str:
        return f"TCPStore(host={self.host!r}, port={self.port})"


class FileStore(Store):
    """The store of this process for this file's name; nothing is written to the file.

    Raises: RuntimeError for more than one process.
    """

    _own_keys = 1

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        _check_world("FileStore", None if world_size == -1 else world_size)
        self.path = os.fspath(file_name)
        name = os.path.realpath(self.path)
        shared = _by_file.get(name)
        if shared is None:
            _by_file[name] = shared = _Shared()
        self._over(shared, _FIVE_MINUTES)


class PrefixStore(Store):
    """Another store's keys behind ``prefix/``."""

    def __init__(self, prefix: str, store: Store) -> None:
        if not isinstance(store, Store):
            raise TypeError(f"PrefixStore: expected a store, but got {store!r}")
        self.underlying_store = store
        self._own_keys = store._own_keys
        self._over(store._shared, store._timeout, f"{store._prefix}{_text('PrefixStore', prefix)}/")

    @property
    def timeout(self) -> datetime.timedelta:
        """That of the store below."""
        return self.underlying_store.timeout


def _check_world(who: str, size: int | None) -> None:
    if size not in (None, 1):
        raise RuntimeError(
            f"{who}: a world of {size} processes: there are groups of one process only ({WHERE})"
        )
