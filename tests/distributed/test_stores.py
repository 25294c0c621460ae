"""Stores of `flambeau.distributed`, beside PyTorch's where it is installed."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import socket
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flambeau import distributed as dist

SHORT = timedelta(milliseconds=20)


def _calls(d: Any, store: Any) -> list[Any]:
    """What calls that both libraries answer come to: values, or the names of errors."""
    store.set_timeout(SHORT)
    got: list[Any] = [store.timeout]
    for call in (
        *(lambda: store.set("a", "x"), lambda: store.get("a"), lambda: store.get("none")),
        *(
            lambda: store.add("n", 3),
            lambda: store.add("n", -5),
            lambda: store.get("n"),
            lambda: store.add("a", 1),
        ),
        *(lambda: store.compare_set("a", "x", "y"), lambda: store.compare_set("a", "x", "z")),
        *(lambda: store.compare_set("q", "", "y"), lambda: store.compare_set("r", "w", "y")),
        *(lambda: store.check(["a", "b"]), lambda: store.check(["a"]), lambda: store.check("a")),
        *(lambda: store.delete_key("a"), lambda: store.delete_key("a"), store.num_keys),
        *(lambda: store.append("p", "1"), lambda: store.append("p", "2"), lambda: store.get("p")),
        *(lambda: store.multi_set(["m", "k"], ["1", "2"]), lambda: store.multi_get(["m", "k"])),
        *(
            lambda: store.multi_get(["m", "none"]),
            lambda: store.wait(["m"]),
            lambda: store.wait(["none"], SHORT),
        ),
        *(lambda: store.set("b", b"\x00\x01"), lambda: store.get("b"), lambda: store.set("b", 3)),
        *(lambda: store.queue_push("u", "v"), lambda: store.queue_len("u"), lambda: store.check(["u"])),
        *(lambda: store.queue_pop("u"), lambda: store.queue_len("u"), lambda: store.queue_pop("u", False)),
        *(lambda: store.queue_pop("u"), lambda: store.add("n", 1.5), lambda: sorted(store.list_keys())),
        *(lambda: store.barrier("z", 1), store.has_extended_api, lambda: store.clone().get("m")),
        *(lambda: store.add("n", "1"), lambda: store.set_timeout(3), lambda: pickle.dumps(store)),
        lambda: copy.deepcopy(store),
    ):
        try:
            got.append(call())
        except Exception as error:
            got.append(type(error).__name__)
    below = d.PrefixStore("pre", store)
    below.set("k", "v")
    return [
        *got,
        store.get("pre/k"),
        below.get("k"),
        below.timeout,
        d.PrefixStore("in", below).delete_key("k"),
    ]


@pytest.mark.parametrize("kind", ["HashStore", "TCPStore", "FileStore"])
def test_a_store_answers_as_in_pytorch(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def make(d: Any) -> Any:
        if kind == "TCPStore":
            return d.TCPStore("localhost", 0, 1, True)
        return d.HashStore() if kind == "HashStore" else d.FileStore(str(tmp_path / d.__name__), 1)

    if kind != "HashStore":  # queues and lists of keys are not in all of PyTorch's
        ours = make(dist)
        ours.set("a", "1")
        theirs = make(torch.distributed)
        theirs.set("a", "1")
        assert ours.num_keys() == theirs.num_keys() == 2 and ours.get("a") == theirs.get("a") == b"1"
        assert ours.delete_key("a") is theirs.delete_key("a") is True
        assert ours.num_keys() == theirs.num_keys() == 1
        assert ours.timeout == theirs.timeout
        return
    assert _calls(dist, make(dist)) == _calls(torch.distributed, make(torch.distributed))


def test_stores_of_one_port_file_or_prefix_are_one(tmp_path: Path) -> None:
    master = dist.TCPStore("127.0.0.1", 0, world_size=1, is_master=True)
    other = dist.TCPStore("127.0.0.1", master.port)
    other.set("a", "1")
    assert master.get("a") == b"1" and master.host == "127.0.0.1" and str(master.port) in repr(master)
    with pytest.raises(dist.DistNetworkError, match="failed to listen"):
        dist.TCPStore("127.0.0.1", master.port, 1, True)
    port = master.port
    del master
    with pytest.raises(dist.DistNetworkError, match="does not answer any more"):
        other.get("a")
    dist.TCPStore("127.0.0.1", port, 1, True)  # free again
    with pytest.raises(dist.DistNetworkError, match="timed out after 20ms while trying to connect"):
        dist.TCPStore("127.0.0.1", port, timeout=SHORT)
    with pytest.raises(dist.DistStoreError, match="1/2 clients joined"):
        dist.TCPStore("127.0.0.1", 0, 2, True, timeout=SHORT)
    files = [dist.FileStore(str(tmp_path / "f"), 2), dist.FileStore(str(tmp_path / "." / "f"), 2)]
    files[0].set("a", "2")
    assert files[1].get("a") == b"2"
    inner = dist.PrefixStore("b", dist.PrefixStore("a", files[0]))
    inner.set("k", "3")
    assert files[1].get("a/b/k") == b"3" and inner.list_keys() == ["a/b/k"]
    del inner, files
    assert list(tmp_path.iterdir()) == []  # both have let go of it


def test_wrong_types_are_refused() -> None:
    store = dist.HashStore()
    with pytest.raises(TypeError, match="No constructor"):
        dist.Store()
    with pytest.raises(TypeError, match="expected a store"):
        dist.PrefixStore("a", {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 keys and 0 values"):
        store.multi_set(["a"], [])
    with pytest.raises(TypeError, match="expected a str"):
        store.get(3)  # type: ignore[arg-type]
    assert store.num_keys() == 0


class Own(dist.Store):
    """A store that a program brings."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, bytes] = {}

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value

    def get(self, key: str) -> bytes:
        return self.values[key]

    def compare_set(self, key: str, expected_value: Any, desired_value: Any) -> bytes:
        if self.values.get(key, b"") == expected_value:
            self.values[key] = desired_value
        return self.values[key]


def test_a_store_in_python_is_asked_through_its_methods() -> None:
    store = Own()
    below = dist.PrefixStore("p", store)
    below.set("k", b"\x00")
    below.append("k", b"1")
    below.multi_set(["a", "b"], [b"2", b"3"])
    assert store.values == {"p/k": b"\x001", "p/a": b"2", "p/b": b"3"}
    assert below.multi_get(["a", "b"]) == [b"2", b"3"] and not below.has_extended_api()
    with pytest.raises(NotImplementedError, match="Not implemented"):
        store.append("k", b"1")


@pytest.mark.parametrize("kind", ["tcp", "file"])
def test_a_store_between_connections_answers_as_a_table(kind: str, tmp_path: Path) -> None:
    """Everything that `HashStore` answers, through sockets and through a file."""
    if kind == "tcp":
        master = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        far: Any = dist.TCPStore("127.0.0.1", master.port)
    else:
        master = dist.FileStore(str(tmp_path / "f"))  # type: ignore[assignment]
        far = dist.FileStore(str(tmp_path / "f"))
    assert master.timeout == far.timeout
    keys = 2 if kind == "tcp" else 1
    near = _calls(dist, dist.HashStore())
    got = _calls(dist, far)
    counted = [i for i, (a, b) in enumerate(zip(near, got, strict=True)) if a != b]
    assert all(isinstance(near[i], int) and got[i] - near[i] in (1, keys) for i in counted), counted
    far.set("large", b"x" * 3_000_000)
    assert master.get("large") == b"x" * 3_000_000


def test_a_stranger_at_the_port_does_no_harm() -> None:
    master = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"flambeau-store-1" + b"\xff" * 64, b""):
        with socket.create_connection(("127.0.0.1", master.port), 10) as stranger:
            stranger.sendall(greeting)
    other = dist.TCPStore("127.0.0.1", master.port)
    other.set("a", "1")
    assert master.get("a") == b"1"


def _count(port: int, path: str, n: int) -> None:
    tcp = dist.TCPStore("127.0.0.1", port, timeout=timedelta(seconds=60))
    file = dist.FileStore(path)
    for i in range(n):
        tcp.add("n", 1)
        file.add("n", 1)
        file.append("text", "ab")
        tcp.queue_push("queue", str(i))
    tcp.barrier("end", 3)


def test_processes_share_a_store(tmp_path: Path) -> None:
    master = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    path = str(tmp_path / "f")
    file = dist.FileStore(path)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count, args=(master.port, path, 50)) for _ in range(2)]
    for process in processes:
        process.start()
    try:
        master.barrier("end", 3, timedelta(seconds=60))
        assert master.get("n") == file.get("n") == b"100"
        assert file.get("text") == b"ab" * 100 and master.queue_len("queue") == 100
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def test_reading_waits_for_another_thread() -> None:
    store = dist.HashStore()
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(store.get("late"))),
        threading.Thread(target=lambda: got.append(store.queue_pop("queue"))),
        threading.Thread(target=lambda: store.barrier("meet", 2)),
    ]
    for thread in threads:
        thread.start()
    store.queue_push("queue", "q")
    store.set("late", "l")
    store.barrier("meet", 2)
    for thread in threads:
        thread.join(10)
    assert sorted(got) == [b"l", b"q"]
