"""`range`, whose end is in it, against PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau

ARGUMENTS: list[tuple[Any, ...]] = [(1, 4), (1, 4, 0.5), (4, 1, -1), (0, 1, 0.1), (2, 2), (0.5, 3)]


@pytest.mark.parametrize("args", ARGUMENTS)
@pytest.mark.parametrize("dtype", [None, "int64", "float64"])
@pytest.mark.filterwarnings("ignore:torch.range is deprecated")
def test_values(args: Any, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    if dtype == "int64" and len(args) == 3 and isinstance(args[2], float):
        pytest.skip("a step of no integer")
    x, y = (lib.range(*args, dtype=dtype and getattr(lib, dtype)) for lib in (flambeau, torch))
    assert x.tolist() == y.tolist()
    assert str(x.dtype).replace("flambeau", "torch") == str(y.dtype)


def test_it_warns() -> None:
    with pytest.warns(UserWarning, match="use torch.arange"):
        assert flambeau.range(1, 3).tolist() == [1, 2, 3]


@pytest.mark.filterwarnings("ignore:torch.range is deprecated")
@pytest.mark.parametrize("args", [(1, 0), (0, 1, 0), (0, float("inf"))])
def test_bad_bounds(args: Any) -> None:
    with pytest.raises(RuntimeError, match="range|bound|step"):
        flambeau.range(*args)
