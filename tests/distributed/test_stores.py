"""Stores of `flambeau.distributed`, beside PyTorch's where it is installed."""

from __future__ import annotations

import copy
import pickle
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
        return d.HashStore() if kind == "HashStore" else d.FileStore(str(tmp_path / "store"), 1)

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
    del master, other
    dist.TCPStore("127.0.0.1", port, 1, True)  # free again
    with pytest.raises(dist.DistNetworkError, match="no TCPStore in this process"):
        dist.TCPStore("127.0.0.1", port)
    files = [dist.FileStore(str(tmp_path / "f"), 1), dist.FileStore(str(tmp_path / "." / "f"))]
    files[0].set("a", "2")
    assert files[1].get("a") == b"2" and list(tmp_path.iterdir()) == []
    inner = dist.PrefixStore("b", dist.PrefixStore("a", files[0]))
    inner.set("k", "3")
    assert files[1].get("a/b/k") == b"3" and inner.list_keys() == ["a/b/k"]


def test_several_processes_and_wrong_types_are_refused() -> None:
    for make in (lambda: dist.TCPStore("localhost", 0, 2, True), lambda: dist.FileStore("x", 3)):
        with pytest.raises(RuntimeError, match="groups of one process only"):
            make()
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
