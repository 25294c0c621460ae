"""Forms of calls that libraries over PyTorch use, beside PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import flambeau


def _row_pointers(torch: Any) -> list[Any]:
    rows, columns = torch.tensor([0, 0, 2, 3, 3, 3]), torch.tensor([1, 4, 0, 2, 3, 4])
    begins = torch._convert_indices_from_coo_to_csr(rows, 5)
    small = torch._convert_indices_from_coo_to_csr(rows.int(), 4, out_int32=True)
    back = torch._convert_indices_from_csr_to_coo(begins, columns)
    turned = torch._convert_indices_from_csr_to_coo(begins, columns, transpose=True)
    nothing = torch._convert_indices_from_coo_to_csr(rows[:0], 3)
    return [(x.tolist(), str(x.dtype)) for x in (begins, small, back, turned, nothing)]


def test_row_pointers_beside_pytorch() -> None:
    assert _row_pointers(flambeau) == _row_pointers(pytest.importorskip("torch"))
    with pytest.raises(RuntimeError, match="sorted"):
        flambeau._convert_indices_from_coo_to_csr(flambeau.tensor([1, 0]), 2)
    with pytest.raises(RuntimeError, match="number of entries"):
        flambeau._convert_indices_from_csr_to_coo(flambeau.tensor([0, 3]), flambeau.tensor([1]))


def test_python_types_for_dtypes_beside_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for kind in (float, int, bool, complex):
        seen = []
        for module in (flambeau, torch):
            x = module.arange(3)
            found = [x.to(kind).dtype, x.to("cpu", kind).dtype, module.promote_types(kind, module.float32)]
            if kind is not complex:
                found.append(
                    module.zeros(2, dtype=module.float64 if kind is not bool else kind).view(kind).dtype
                )
            if kind in (float, complex):
                found += [module.finfo(kind).dtype, module.nn.Linear(1, 1).to(float).weight.dtype]
            seen.append([str(f) for f in found] + [module.can_cast(kind, module.float32)])
        assert seen[0] == seen[1]
    with pytest.raises(TypeError):
        flambeau.finfo("float32")  # type: ignore[arg-type]
    assert flambeau.tensor([True, False]).type(flambeau.Tensor).dtype is flambeau.float32


class _Foreign:
    def __rfloordiv__(self, other: Any) -> str:
        return "theirs"


def test_reflected_floor_division() -> None:
    x = flambeau.tensor([5, 7])
    assert x // _Foreign() == "theirs" and flambeau.tensor(3.0) // _Foreign() == "theirs"
    x //= 2
    assert x.tolist() == [2, 3] and (7 // x).tolist() == [3, 2] and (x // np.int64(2)).tolist() == [1, 1]
    with pytest.raises(TypeError):
        x // "2"


def test_segment_reduce_by_the_other_names() -> None:
    x, lengths = flambeau.tensor([1.0, 3.0, 2.0]), flambeau.tensor([2, 1])
    assert flambeau.segment_reduce(x, "amax", lengths=lengths).tolist() == [3, 2]
    assert flambeau.segment_reduce(x, "amin", lengths=lengths).tolist() == [1, 2]


def test_sizes_that_are_tensors() -> None:
    n = flambeau.tensor(512, dtype=flambeau.int32)
    assert flambeau.eye(n, n).shape == flambeau.eye(n).shape == flambeau.zeros(n, n).shape == (512, 512)


def test_handles_of_hooks_for_tables_of_others() -> None:
    for torch in (flambeau, pytest.importorskip("torch")):
        table: dict[int, Any] = OrderedDict()  # PyTorch needs one that can be referred to weakly
        more: dict[int, Any] = OrderedDict()
        handle = torch.utils.hooks.RemovableHandle(table, extra_dict=more)
        table[handle.id] = more[handle.id] = "hook"
        handle.remove()
        assert table == more == {}


def test_optimizers_that_wrap_others() -> None:
    for torch in (flambeau, pytest.importorskip("torch")):

        class Wrapper(torch.optim.Optimizer):  # type: ignore[name-defined, misc]
            def __init__(self, inner: Any) -> None:
                self.inner = inner

            def step(self, closure: Any = None) -> Any:
                return self.inner.step(closure)

        p = torch.nn.Parameter(torch.ones(1))
        p.grad = torch.ones(1)
        Wrapper(torch.optim.SGD([p], lr=0.5)).step()
        assert p.item() == 0.5


def test_loading_of_lazy_parameters_into_lazy_parameters() -> None:
    for torch in (flambeau, pytest.importorskip("torch")):
        model, other = torch.nn.LazyLinear(3), torch.nn.LazyLinear(3)
        other.load_state_dict(model.state_dict())
        assert other.has_uninitialized_params()


def test_functions_as_attributes_of_classes() -> None:
    for torch in (flambeau, pytest.importorskip("torch")):

        class Layer(torch.nn.Module):  # type: ignore[name-defined, misc]
            conv, fold, join, act, linear = (
                torch.conv2d,
                torch.sum,
                torch.cat,
                torch.relu,
                torch.nn.functional.linear,
            )

            def forward(self, x: Any, weight: Any) -> Any:
                return self.conv(x, weight=weight, padding=1)

        layer = Layer()
        x = torch.ones(1, 1, 3, 3)
        assert layer(x, torch.ones(1, 1, 3, 3))[0, 0, 1].tolist() == [6, 9, 6]
        assert layer.fold(x).item() == 9 and layer.fold(x, dim=(0, 1, 2)).tolist() == [3, 3, 3]
        assert layer.act(-x).sum() == 0 and layer.linear(x, x[0, 0]).shape == (1, 1, 3, 3)
        assert layer.join([x, x]).shape == (2, 1, 3, 3)
        with pytest.raises(TypeError):
            layer.conv("x")
        with pytest.raises(TypeError):
            torch.conv2d(layer, x, x)


def test_assertions_on_tensors() -> None:
    for torch in (flambeau, pytest.importorskip("torch")):
        assert torch._assert_async(torch.tensor(True)) is None
        with pytest.raises(RuntimeError, match="hey"):
            torch._assert_async(torch.tensor([0]), "hey")
        with pytest.raises(RuntimeError, match="more than one value"):
            torch._assert_async(torch.tensor([1, 0]))
        with pytest.raises(TypeError):
            torch._assert_async(True)
