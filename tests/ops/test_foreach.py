"""``_foreach_*``: operations on lists of tensors, beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.ops.foreach import FUNCTIONS_OF_LISTS


def _arguments(torch: Any, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Forms of the other arguments of an operation."""
    rng = np.random.default_rng(len(name))

    def tensors() -> list[Any]:
        return [torch.tensor(rng.uniform(0.2, 0.9, s)) for s in ((2, 3), (4,), ())]

    bare = name.removeprefix("_foreach_").removesuffix("_")
    if bare in ("add", "sub", "mul", "div", "maximum", "minimum", "clamp_min", "clamp_max", "pow"):
        forms: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
            ((tensors(),), {}),
            ((2.0,), {}),
            (([1.0, 2.0, 3.0],), {}),
        ]
        if bare in ("add", "mul", "div"):
            forms.append(((torch.tensor(3.0, dtype=torch.float64),), {}))
        if bare in ("add", "sub"):
            forms.append(((tensors(),), {"alpha": 2}))
        return forms
    if bare in ("addcmul", "addcdiv"):
        more = [(), (0.5,), ([1.0, 2.0, 3.0],), (torch.tensor([1.0, 2.0, 3.0]),)]
        return [((tensors(), tensors(), *m), {}) for m in more] + [((tensors(), tensors()), {"value": 3})]
    if bare == "lerp":
        return [((tensors(), 0.25), {}), ((tensors(), tensors()), {}), ((tensors(),), {"weight": 0.5})]
    if bare == "norm":
        return [((), {}), ((1,), {}), ((float("inf"),), {"dtype": torch.float64})]
    if bare == "powsum":
        return [((), {}), ((3,), {})]
    return [((tensors(),), {})] if bare == "copy" else [((), {})]


def _answers(torch: Any, name: str) -> list[Any]:
    found: list[Any] = []
    for args, options in _arguments(torch, name):
        rng = np.random.default_rng(1)
        xs = [torch.tensor(rng.uniform(0.1, 0.9, s)) for s in ((2, 3), (4,), ())]
        result = getattr(torch, name)(xs, *args, **options)
        assert result is xs if name.endswith("_") else type(result) is tuple
        found.append([x.tolist() for x in result])
    return found


def _close(ours: Any, theirs: Any) -> None:
    for a, b in zip(ours, theirs, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12)


def test_every_name_beside_pytorch() -> None:
    torch = pytest.importorskip("torch")
    names = {n for n in dir(torch) if n.startswith("_foreach_")}
    assert names == set(FUNCTIONS_OF_LISTS)
    for name in sorted(names - {"_foreach_mm"}):
        _close(_answers(flambeau, name), _answers(torch, name))
    a = np.arange(6.0).reshape(2, 3)
    for module in (flambeau, torch):
        (product,) = module._foreach_mm([module.tensor(a)], [module.tensor(a.T)])
        np.testing.assert_array_equal(product.numpy(), a @ a.T)
        (powers,) = module._foreach_pow(2.0, [module.tensor(a)])
        np.testing.assert_array_equal(powers.numpy(), 2.0**a)


@pytest.mark.parametrize(
    "call",
    [
        lambda torch, x: torch._foreach_add([], 1),
        lambda torch, x: torch._foreach_add([x], [x, x]),
        lambda torch, x: torch._foreach_add([x], [1, 2]),
        lambda torch, x: torch._foreach_add(x, 1),
        lambda torch, x: torch._foreach_add([x], torch.ones(2)),
        lambda torch, x: torch._foreach_add([x], 2, alpha=2),
        lambda torch, x: torch._foreach_abs([x, 3]),
        lambda torch, x: torch._foreach_mul([x], "2"),
        lambda torch, x: torch._foreach_copy_([x], [x, x]),
        lambda torch, x: torch._foreach_add_([x.int()], 1.5),
    ],
)
def test_errors_beside_pytorch(call: Any) -> None:
    torch = pytest.importorskip("torch")
    kinds = []
    for module in (flambeau, torch):
        with pytest.raises((TypeError, RuntimeError)) as e:
            call(module, module.ones(3))
        kinds.append(e.type)
    assert kinds[0] is kinds[1]


def test_gradients_flow() -> None:
    x, y = flambeau.ones(2, requires_grad=True), flambeau.full((2,), 3.0, requires_grad=True)
    (z,) = flambeau._foreach_mul([x], [y])
    z.sum().backward()
    assert x.grad.tolist() == [3, 3] and y.grad.tolist() == [1, 1]
