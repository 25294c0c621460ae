"""`utils.swap_tensors`, `torch.functional`, and `nn.parallel` on the one device."""

from __future__ import annotations

import pytest

import flambeau
from flambeau.nn import parallel


def test_swapped_tensors_change_places_everywhere() -> None:
    layer = flambeau.nn.Linear(2, 1, bias=False)
    weight, new = layer.weight, flambeau.full((1, 2), 3.0)
    new.note = "kept"  # type: ignore[attr-defined]
    values = weight.detach().clone()
    flambeau.utils.swap_tensors(weight, new)
    assert layer.weight is weight and type(weight) is flambeau.Tensor and weight.tolist() == [[3, 3]]
    assert weight.note == "kept" and not hasattr(new, "note")  # type: ignore[attr-defined]
    assert type(new) is flambeau.nn.Parameter and new.equal(values)
    (new * 2).sum().backward()
    assert new.grad is not None and new.grad.tolist() == [[2, 2]] and weight.grad is None
    flambeau.utils.swap_tensors(weight, new)
    assert type(weight) is flambeau.nn.Parameter and weight.grad is not None


def test_views_are_not_swapped() -> None:
    x = flambeau.ones(4)
    view = x[1:]
    for pair in ((x, flambeau.ones(1)), (flambeau.ones(1), view)):
        with pytest.raises(RuntimeError, match="view"):
            flambeau.utils.swap_tensors(*pair)
    with pytest.raises(TypeError, match="must be a Tensor"):
        flambeau.utils.swap_tensors(x, 1)  # type: ignore[arg-type]
    assert x.tolist() == [1] * 4


def test_functional_has_the_functions_of_torch() -> None:
    assert flambeau.functional.einsum is flambeau.einsum
    with pytest.raises(AttributeError, match="nothing"):
        _ = flambeau.functional.nothing


def test_one_device() -> None:
    layer = flambeau.nn.Linear(2, 1)
    x = flambeau.ones(3, 2)
    (copy,) = parallel.replicate(layer, ["cpu"])
    (part,) = parallel.scatter(x, ["cpu"])
    results = parallel.parallel_apply([copy], [part])
    assert parallel.gather(results, "cpu").equal(layer(x))
    with pytest.raises(AssertionError, match="CUDA"):
        parallel.replicate(layer, [0])
    with pytest.raises(AssertionError, match="1 modules"):
        parallel.parallel_apply([layer], [])
