"""The strides of ``.grad``: those of a leaf that fills its memory, else contiguous; as PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau

LEAVES: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda lib: lib.ones(2, 3, 4, 5),
    "transposed": lambda lib: lib.ones(2, 3, 5, 4).transpose(-1, -2),
    "channels last": lambda lib: lib.ones(2, 3, 4, 5).contiguous(memory_format=lib.channels_last),
    "permuted": lambda lib: lib.ones(5, 4, 2, 3).permute(2, 3, 1, 0),
    "with gaps": lambda lib: lib.ones(2, 3, 4, 10)[..., ::2],
    "expanded": lambda lib: lib.ones(2, 3, 1, 5).expand(2, 3, 4, 5),
    "one column": lambda lib: lib.ones(5, 4, 3, 2).permute(3, 2, 1, 0)[:, :, :1],
}
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda lib, x: x.sum(),
    "product": lambda lib, x: (x * x).sum(),
    "matmul": lambda lib, x: (x @ lib.ones(5, 2)).sum(),
    "pool": lambda lib, x: lib.nn.functional.max_pool2d(x, 1).sum(),
    "contiguous": lambda lib, x: (x.contiguous() * 2).sum(),
}
EXPECTED = {
    "contiguous": (60, 20, 5, 1),
    "transposed": (60, 20, 1, 4),
    "channels last": (60, 1, 15, 3),
    "permuted": (3, 1, 6, 24),
    "with gaps": (60, 20, 5, 1),
    "expanded": (60, 20, 5, 1),
    "one column": (15, 5, 5, 1),
}


def strides(lib: Any, leaf: str, call: str) -> list[tuple[int, ...]]:
    x = LEAVES[leaf](lib).detach().requires_grad_()
    found = []
    for _ in range(2):
        CALLS[call](lib, x).backward()
        found.append(tuple(x.grad.stride()))
    assert (x.grad == x.grad.contiguous()).all()
    return found


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("call", CALLS)
def test_strides(leaf: str, call: str) -> None:
    assert strides(flambeau, leaf, call) == [EXPECTED[leaf]] * 2


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("call", CALLS)
def test_strides_are_those_of_pytorch(leaf: str, call: str) -> None:
    assert strides(flambeau, leaf, call) == strides(pytest.importorskip("torch"), leaf, call)
