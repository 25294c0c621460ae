"""``out=``: which dtype decides, and tensors that cannot be written."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch

MAKERS: dict[str, Any] = {
    "arange": lambda **kw: torch.arange(0, 4, 2, **kw),
    "linspace": lambda **kw: torch.linspace(0, 5, 2, **kw),
    "logspace": lambda **kw: torch.logspace(0, 2, 2, **kw),
    "eye": lambda **kw: torch.eye(2, **kw),
    "zeros": lambda **kw: torch.zeros(2, **kw),
    "ones": lambda **kw: torch.ones(2, **kw),
    "full": lambda **kw: torch.full((2,), 2.5, **kw),
    "empty": lambda **kw: torch.empty(2, **kw),
}


@pytest.mark.parametrize("name", MAKERS)
def test_dtype_of_what_is_to_be_filled(name: str) -> None:
    out = torch.empty(0, dtype=torch.int32)
    assert MAKERS[name](out=out) is out
    assert out.dtype is torch.int32 and out.numel() > 0
    with pytest.raises(RuntimeError, match="does not match dtype of out"):
        MAKERS[name](out=torch.empty(0, dtype=torch.int32), dtype=torch.float32)


def test_values_are_cut_off() -> None:
    assert torch.full((2,), 2.5, out=torch.empty(0, dtype=torch.int32)).tolist() == [2, 2]
    assert torch.linspace(0, 5, 4, out=torch.empty(0, dtype=torch.int32)).tolist() == [0, 1, 3, 5]
    assert torch.arange(0, 2, 0.5, out=torch.empty(0, dtype=torch.int32)).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="step must be nonzero"):
        torch.arange(0, 64, 0.5, out=torch.empty(0, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(2, 3), (1, 3)])
def test_elements_that_share_memory(shape: tuple[int, ...]) -> None:
    out = torch.zeros(3).expand(4, 3)
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.add(torch.ones(shape), 1, out=out)
    assert out.tolist() == [[0.0] * 3] * 4


def test_multinomial_gives_int64() -> None:
    with pytest.raises(RuntimeError, match="dtype"):
        torch.multinomial(torch.ones(3), 2, out=torch.empty(2, dtype=torch.float64))


@pytest.mark.parametrize(
    "name", ["__add__", "__radd__", "__rmul__", "__rsub__", "__rand__", "__rxor__", "__eq__"]
)
def test_operators_belong_to_tensors(name: str) -> None:
    with pytest.raises(TypeError, match="Tensor"):
        getattr(torch.Tensor, name)(1, torch.tensor([1, 2]))


@pytest.mark.parametrize("shape", [(0,), (2, 0), (2, 3, 4)])
def test_shapes_without_classes(shape: tuple[int, ...]) -> None:
    with pytest.raises(RuntimeError, match="non-empty vector or a matrix"):
        torch.nn.functional.multilabel_margin_loss(torch.zeros(shape), torch.zeros(shape, dtype=torch.int64))
