"""Where processes find each other: ``env://``, ``tcp://host:port`` and ``file:///path`` come to a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlparse

from .constants import default_pg_timeout
from .file_store import FileStore
from .stores import Store
from .tcp_store import TCPStore

__all__ = ["register_rendezvous_handler", "rendezvous"]

Met = tuple[Store, int, int]
_handlers: dict[str, Callable[..., Iterator[Met]]] = {}


def register_rendezvous_handler(scheme: str, handler: Callable[..., Iterator[Met]]) -> None:
    """Have `rendezvous` call ``handler(url, timeout=...)`` for URLs of a scheme; it yields (store, rank, world size).

    Raises: RuntimeError for a scheme that has one.
    """
    if scheme in _handlers:
        raise RuntimeError(f"Rendezvous handler for {scheme}:// already registered")
    _handlers[scheme] = handler


def rendezvous(url: str, rank: int = -1, world_size: int = -1, **kwargs: Any) -> Iterator[Met]:
    """The store, rank and world size that a URL stands for, as an iterator.

    ``env://`` takes RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT from the environment where the URL does not say them.

    Raises: RuntimeError for an unknown scheme; ValueError where something is missing.

    >>> from flambeau.distributed.rendezvous import rendezvous
    >>> import tempfile
    >>> store, rank, size = next(rendezvous(f"file://{tempfile.mkdtemp()}/keys", rank=0, world_size=1))
    >>> rank, size
    (0, 1)
    """
    if not isinstance(url, (str, bytes)):
        raise RuntimeError(f"`url` must be a string. {type(url)}: {url}")
    for name, value in (("rank", rank), ("world_size", world_size)):
        if not isinstance(value, int):
            raise RuntimeError(f"`{name}` must be an integer. {value}")
    text = url.decode() if isinstance(url, bytes) else url
    parsed = urlparse(text)
    query = dict(parse_qsl(parsed.query))
    if world_size != -1 and not -1 <= rank < world_size:
        raise ValueError(f"rank {rank} in a world of {world_size}: ranks are 0 to {world_size - 1}")
    given = {k: v for k, v in (("rank", rank), ("world_size", world_size)) if v != -1}
    if given and ("rank" in query or "world_size" in query):
        raise AssertionError(f"The url: {url!r} has node-specific arguments(rank, world_size) already.")
    if parsed.scheme not in _handlers:
        raise RuntimeError(f"No rendezvous handler for {parsed.scheme}://")
    for name, number in given.items():
        query[name] = str(number)
    full = parsed._replace(query="&".join(f"{k}={v}" for k, v in query.items())).geturl()
    if parsed.scheme == "file" and not full.startswith("file://"):  # geturl() drops an empty host
        full = "file://" + full[len("file:") :]
    return _handlers[parsed.scheme](full, **kwargs)


def _wrong(scheme: str, message: str) -> ValueError:
    return ValueError(f"Error initializing torch.distributed using {scheme}:// rendezvous: {message}")


def _number(query: dict[str, str], name: str, scheme: str) -> int:
    if name not in query:
        raise _wrong(scheme, f"{name.replace('_', ' ')} parameter missing")
    return int(query[name])


def _tcp_store(host: str, port: int, rank: int, size: int, timeout: timedelta) -> Store:
    if not 0 <= rank < size:
        raise ValueError(f"rank {rank} in a world of {size}: ranks are 0 to {size - 1}")
    if not 0 <= port < 2**16:
        raise ValueError(f"port must have value from 0 to 65535 but was {port}.")
    # A launcher may hold the store itself; else rank 0 does.
    from_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(host, port, size, rank == 0 and not from_launcher, timeout, multi_tenant=True)


def _tcp(url: str, timeout: timedelta = default_pg_timeout, **kwargs: Any) -> Iterator[Met]:
    parsed = urlparse(url)
    if parsed.port is None or parsed.hostname is None:
        raise _wrong("tcp", "port number missing")
    query = dict(parse_qsl(parsed.query))
    rank, size = _number(query, "rank", "tcp"), _number(query, "world_size", "tcp")
    yield _tcp_store(parsed.hostname, parsed.port, rank, size, timeout), rank, size
    raise RuntimeError("Unable to perform re-rendezvous using tcp:// method")


def _env(url: str, timeout: timedelta = default_pg_timeout, **kwargs: Any) -> Iterator[Met]:
    query = dict(parse_qsl(urlparse(url).query))

    def of(name: str) -> str:
        value = query.get(name.lower()) or os.environ.get(name)
        if not value:
            raise _wrong("env", f"environment variable {name} expected, but not set")
        return value

    rank, size = int(of("RANK")), int(of("WORLD_SIZE"))
    host, port = of("MASTER_ADDR"), int(of("MASTER_PORT"))
    yield _tcp_store(host, port, rank, size, timeout), rank, size
    raise RuntimeError("Unable to perform re-rendezvous using env:// method")


def _file(url: str, **kwargs: Any) -> Iterator[Met]:
    parsed = urlparse(url)
    if not parsed.path:
        raise _wrong("file", "path missing")
    query = dict(parse_qsl(parsed.query))
    rank, size = _number(query, "rank", "file"), _number(query, "world_size", "file")
    yield FileStore(parsed.path, size), rank, size
    raise RuntimeError("Unable to perform rerendezvous using file:// method")


register_rendezvous_handler("tcp", _tcp)
register_rendezvous_handler("env", _env)
register_rendezvous_handler("file", _file)
