"""Keys and values that processes share, through which they find each other: `HashStore`, `PrefixStore`, and the class
of all stores.  `tcp_store` and `file_store` have those of several processes."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from .tables import Keys, Table

__all__ = ["HashStore", "PrefixStore", "Store"]

FIVE_MINUTES = datetime.timedelta(seconds=300)


def text(who: str, value: Any) -> str:
    """`value`, which has to be a str; TypeError otherwise."""
    if not isinstance(value, str):
        raise TypeError(f"{who}: expected a str, but got {value!r} of type {type(value).__name__}")
    return value


def span(who: str, value: Any) -> datetime.timedelta:
    """`value`, which has to be a timedelta; TypeError otherwise."""
    if not isinstance(value, datetime.timedelta):
        raise TypeError(f"{who}: a timeout is a datetime.timedelta, but got {value!r}")
    return value


def _bytes(who: str, value: Any) -> bytes:
    return bytes(value) if isinstance(value, (bytes, bytearray)) else text(who, value).encode()


def _names(who: str, keys: Any) -> list[str]:
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence):
        raise TypeError(f"{who}: expected a sequence of keys, but got {keys!r}")
    return [text(who, k) for k in keys]


class Store:
    """What all stores can do.  A key is a str, a value str or bytes; reading gives bytes.

    Reading waits for a key that is not there yet, as long as `timeout`, which is five minutes unless `set_timeout`
    says otherwise, and raises DistStoreError then.

    A subclass in Python brings its own `set`, `get`, `add` and so on; what it leaves out raises NotImplementedError.
    """

    _own_keys = 0  # PyTorch's TCPStore and FileStore count a key of their own
    if TYPE_CHECKING:
        _keys: Keys

    def __init__(self) -> None:
        if type(self) is Store:
            raise TypeError("Store: No constructor defined! Make a HashStore, TCPStore or FileStore")

    def __getattr__(self, name: str) -> Any:
        if name == "_keys":
            raise NotImplementedError("Not implemented. A store in Python has to bring this method itself")
        if name == "_timeout":
            return FIVE_MINUTES
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name)

    def _over(self, keys: Keys, timeout: datetime.timedelta = FIVE_MINUTES) -> None:
        self._keys, self._timeout = keys, timeout

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    @property
    def timeout(self) -> datetime.timedelta:
        """How long reading waits for a key."""
        return self._timeout

    def set_timeout(self, timeout: datetime.timedelta) -> None:
        """Set how long reading waits.  Raises TypeError unless it is a timedelta."""
        self._timeout = span("set_timeout()", timeout)

    def _seconds(self, who: str, timeout: datetime.timedelta | None) -> float:
        return (self.timeout if timeout is None else span(who, timeout)).total_seconds()

    def set(self, key: str, value: str | bytes) -> None:
        """Store `value` under `key`, in the place of what is there.  Raises TypeError for other types.

        >>> import flambeau as torch
        >>> store = torch.distributed.HashStore()
        >>> store.set("colour", "red")
        >>> store.get("colour")
        b'red'
        """
        self._keys.set([text("set()", key)], [_bytes("set()", value)])

    def get(self, key: str) -> bytes:
        """The value of `key`, once there is one.  Raises DistStoreError if it does not come in time."""
        return self._keys.get([text("get()", key)], self._seconds("get()", None))[0]

    def add(self, key: str, amount: int) -> int:
        """Add `amount` to the number under `key` (0 if there is none), and return the sum.

        Raises: ValueError where the value is not a number, TypeError for an amount that is no int.
        """
        name = text("add()", key)
        if not isinstance(amount, int):
            raise TypeError(f"add(): the amount is an int, but got {amount!r}")
        return self._keys.add(name, amount)

    def append(self, key: str, value: str | bytes) -> None:
        """Put `value` behind what is stored under `key`."""
        self._keys.append(text("append()", key), _bytes("append()", value))

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        """Store `desired_value` if the present one is `expected_value`, or if there is none and that is empty.

        Returns the value that `key` has then; for a key without one, `expected_value`.
        """
        name = text("compare_set()", key)
        old, new = _bytes("compare_set()", expected_value), _bytes("compare_set()", desired_value)
        return self._keys.compare_set(name, old, new)

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """`set` for several keys at once.  Raises ValueError unless there is one value for each."""
        names, new = _names("multi_set()", keys), [_bytes("multi_set()", v) for v in values]
        if len(names) != len(new):
            raise ValueError(f"multi_set(): {len(names)} keys and {len(new)} values")
        self._keys.set(names, new)

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """`get` for several keys at once."""
        return self._keys.get(_names("multi_get()", keys), self._seconds("multi_get()", None))

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all of `keys` have values now."""
        return self._keys.check(_names("check()", keys))

    def wait(self, keys: Sequence[str], timeout: datetime.timedelta | None = None) -> None:
        """Wait until all of `keys` have values.  Raises DistStoreError if they do not come in time."""
        self._keys.wait(_names("wait()", keys), self._seconds("wait()", timeout))

    def barrier(self, key: str, world_size: int, timeout: datetime.timedelta | None = None) -> None:
        """Wait until `world_size` callers have come here with the same `key`."""
        name, seconds = text("barrier()", key), self._seconds("barrier()", timeout)
        self._keys.add(name, 1)
        self._keys.reach(name, world_size, seconds)

    def delete_key(self, key: str) -> bool:
        """Forget `key`; whether it was there."""
        return self._keys.delete(text("delete_key()", key))

    def num_keys(self) -> int:
        """How many keys there are, under any prefix.  As in PyTorch, TCPStore and FileStore count one of their own."""
        return self._keys.count() + self._own_keys

    def list_keys(self) -> list[str]:
        """The keys; of a PrefixStore those with its prefix, as the store below knows them."""
        return self._keys.names()

    def has_extended_api(self) -> bool:
        """Whether `append`, `multi_get` and `multi_set` exist."""
        return "_keys" in self.__dict__

    def queue_push(self, key: str, value: str | bytes) -> None:
        """Put `value` at the end of the queue `key`."""
        self._keys.push(text("queue_push()", key), _bytes("queue_push()", value))

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        """Take the oldest value from the queue `key`, waiting for one with `block`; else QueueEmptyError."""
        seconds = self._seconds("queue_pop()", None) if block else None
        return self._keys.pop(text("queue_pop()", key), seconds)

    def queue_len(self, key: str) -> int:
        """How many values the queue `key` holds."""
        return self._keys.length(text("queue_len()", key))

    def clone(self) -> Store:
        """Another object for the same keys."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


class HashStore(Store):
    """A store of its own, for the threads of one process."""

    def __init__(self) -> None:
        self._over(Table())


class _Prefixed:
    """The keys of a store that begin with a prefix, reached by its public methods: it may be a program's own class."""

    def __init__(self, prefix: str, store: Store) -> None:
        self.prefix, self.store = prefix, store
        below = store._keys if isinstance(store, PrefixStore) else None
        self.whole: str = (below.whole if isinstance(below, _Prefixed) else "") + prefix

    def _all(self, names: Sequence[str]) -> list[str]:
        return [self.prefix + n for n in names]

    def set(self, names: Sequence[str], values: Sequence[bytes]) -> None:
        if len(names) > 1 and self.store.has_extended_api():
            self.store.multi_set(self._all(names), values)
            return
        for name, value in zip(names, values, strict=True):
            self.store.set(self.prefix + name, value)

    def get(self, names: Sequence[str], seconds: float) -> list[bytes]:
        if len(names) > 1 and self.store.has_extended_api():
            return self.store.multi_get(self._all(names))
        return [self.store.get(self.prefix + n) for n in names]

    def add(self, name: str, amount: int) -> int:
        return self.store.add(self.prefix + name, amount)

    def append(self, name: str, value: bytes) -> None:
        key = self.prefix + name
        if self.store.has_extended_api():
            self.store.append(key, value)
            return
        old = b""
        while (found := bytes(self.store.compare_set(key, old, old + value))) != old + value:
            old = found  # another value came in between

    def compare_set(self, name: str, old: bytes, new: bytes) -> bytes:
        return self.store.compare_set(self.prefix + name, old, new)

    def delete(self, name: str) -> bool:
        return self.store.delete_key(self.prefix + name)

    def check(self, names: Sequence[str]) -> bool:
        return self.store.check(self._all(names))

    def wait(self, names: Sequence[str], seconds: float) -> None:
        self.store.wait(self._all(names), datetime.timedelta(seconds=seconds))

    def reach(self, name: str, count: int, seconds: float) -> None:
        self.store._keys.reach(self.prefix + name, count, seconds)

    def count(self) -> int:
        return self.store.num_keys()

    def names(self) -> list[str]:
        return [k for k in self.store.list_keys() if k.startswith(self.whole)]

    def push(self, name: str, value: bytes) -> None:
        self.store.queue_push(self.prefix + name, value)

    def pop(self, name: str, seconds: float | None) -> bytes:
        return self.store.queue_pop(self.prefix + name, seconds is not None)

    def length(self, name: str) -> int:
        return self.store.queue_len(self.prefix + name)


class PrefixStore(Store):
    """Another store's keys behind ``prefix/``."""

    def __init__(self, prefix: str, store: Store) -> None:
        if not isinstance(store, Store):
            raise TypeError(f"PrefixStore: expected a store, but got {store!r}")
        self.prefix = text("PrefixStore", prefix)
        self.underlying_store = store
        self._keys = _Prefixed(f"{prefix}/", store)

    @property
    def timeout(self) -> datetime.timedelta:
        """That of the store below."""
        return self.underlying_store.timeout

    def set_timeout(self, timeout: datetime.timedelta) -> None:
        """Set that of the store below."""
        self.underlying_store.set_timeout(timeout)

    def has_extended_api(self) -> bool:
        """Whether the store below has it."""
        return self.underlying_store.has_extended_api()

    @property
    def _underlying_non_prefix_store(self) -> Store:
        below = self.underlying_store
        return below._underlying_non_prefix_store if isinstance(below, PrefixStore) else below

    def clone(self) -> Store:
        """Another object for the same keys."""
        return PrefixStore(self.prefix, self.underlying_store.clone())
