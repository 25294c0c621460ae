"""`flambeau.futures`, beside PyTorch's."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flambeau


def _program(futures: Any) -> list[Any]:
    seen: list[Any] = []
    f = futures.Future()
    later = f.then(lambda f: f.value() + 1).then(lambda f: f.value() * 10)
    called: list[Any] = []
    f.add_done_callback(lambda f: called.append(f.value()))
    seen.append(f.done())
    setter = threading.Timer(0.01, f.set_result, [4])
    setter.start()
    seen += [f.wait(), later.wait(), f.done()]
    setter.join()  # `wait` may return before the callbacks have been called
    seen.append(called)
    with pytest.raises(RuntimeError):
        f.set_result(5)
    failed = futures.Future()
    after = failed.then(lambda f: f.wait())
    failed.set_exception(ValueError("no"))
    for g in (failed, after):
        with pytest.raises((ValueError, RuntimeError), match="no"):
            g.wait()
    with pytest.raises(RuntimeError):
        futures.Future().value()
    parts = [futures.Future() for _ in range(3)]
    both = futures.collect_all(parts)
    for i, p in enumerate(parts):
        seen.append(both.done())
        p.set_result(i)
    return [*seen, [p.value() for p in both.wait()], futures.wait_all(parts), futures.collect_all([]).wait()]


def test_futures_beside_pytorch() -> None:
    assert flambeau.Future is flambeau.futures.Future
    torch = pytest.importorskip("torch")
    assert _program(flambeau.futures) == _program(torch.futures)
