"""Remembered ways of calls: what they must not mix up."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.core.remembered import ONE_WAY


def often(call: Any) -> Any:
    """The result of the call that is remembered by now."""
    for _ in range(4):
        result = call()
    return result


def test_the_same_tensor_twice_is_not_the_rule() -> None:
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    often(lambda: torch.mm(x, x))
    np.testing.assert_array_equal(torch.mm(x, y).numpy(), x.numpy() @ y.numpy())
    often(lambda: torch.cat((x, x)))
    np.testing.assert_array_equal(torch.cat((x, y)).numpy(), np.concatenate((x.numpy(), y.numpy())))
    c = x > 0
    often(lambda: torch.where(c, x, x))
    np.testing.assert_array_equal(torch.where(c, x, y).numpy(), np.where(c.numpy(), x.numpy(), y.numpy()))


def test_numbers_that_are_equal() -> None:
    x, mask = torch.ones(2, 2), torch.tensor([[True, False], [False, True]])
    assert math.copysign(1, often(lambda: x.masked_fill(mask, 0.0))[0, 0].item()) == 1
    assert math.copysign(1, x.masked_fill(mask, -0.0)[0, 0].item()) == -1
    often(lambda: x.sum(1))
    with pytest.raises(TypeError):
        x.sum(1.0)
    assert often(lambda: x.sum(0, True)).shape == (1, 2)
    assert often(lambda: x.sum(0, keepdim=False)).shape == (2,)


def test_layouts() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    often(lambda: x.view(-1))
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.t().view(-1) if x.shape[0] == x.shape[1] else x.t()[:2].view(-1)
    y = torch.zeros(2, 3)
    assert often(lambda: y.reshape(3, 2))._base is y
    assert often(lambda: x.t().reshape(6)).tolist() == [0, 3, 1, 4, 2, 5]


def test_views_are_views() -> None:
    x = torch.zeros(2, 3)
    view = often(lambda: x.transpose(0, 1))
    x[0, 1] = 5.0
    assert view[1, 0].item() == 5 and view._version == x._version
    x.requires_grad_()
    y = (x * 1).transpose(0, 1)
    assert y.grad_fn is not None and y.grad_fn.name() == "TransposeBackward0"


def test_gradients_transforms_and_modes_go_the_whole_way() -> None:
    x = torch.randn(3, 4)
    often(lambda: x.softmax(1))
    w = x.clone().requires_grad_()
    assert w.softmax(1).grad_fn is not None
    assert torch.vmap(lambda t: t.softmax(0))(x).allclose(x.softmax(1))
    assert torch.func.grad(lambda t: t.sum(0).square().sum())(x).allclose(2 * x.sum(0).expand(3, 4))
    with torch.inference_mode():
        assert x.softmax(1).is_inference()


def test_the_default_dtype() -> None:
    x = torch.tensor([1, 2])
    assert often(lambda: torch.logsumexp(x, 0)).dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert often(lambda: torch.logsumexp(x, 0)).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.logsumexp(x, 0).dtype is torch.float32


def test_errors_come_as_ever() -> None:
    x = torch.randn(3, 4)
    index = torch.zeros(3, 4, dtype=torch.int64)
    often(lambda: x.gather(0, index))
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.gather(0, index + 7)
    with pytest.raises(IndexError):
        often(lambda: x.sum(5))


CALLS: dict[str, Any] = {
    "max": lambda x, i: torch.max(x, 1),
    "sort": lambda x, i: torch.sort(x, 1, descending=True),
    "topk": lambda x, i: torch.topk(x, 2, 1),
    "median": lambda x, i: torch.median(x, 0),
    "roll": lambda x, i: torch.roll(x, 2),
    "repeat": lambda x, i: x.repeat(2, 1),
    "diag": lambda x, i: torch.diag(x),
    "scatter_add": lambda x, i: x.scatter_add(0, i, x),
    "index_add": lambda x, i: x.index_add(0, i[0], x),
    "index_select": lambda x, i: x.index_select(1, i[0]),
    "tril": lambda x, i: torch.tril(x, -1),
    "logsumexp": lambda x, i: torch.logsumexp(x, (0, 1)),
    "norm": lambda x, i: torch.norm(x, dim=1),
    "nonzero": lambda x, i: torch.nonzero(x > 0),
    "stack": lambda x, i: torch.stack([x, x, x.t()], 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_follow_the_arguments(name: str) -> None:
    call = CALLS[name]
    for seed, dtype in itertools.product(range(4), (torch.float32, torch.float64)):
        generator = np.random.default_rng(seed)
        x = torch.tensor(generator.normal(size=(4, 4)), dtype=dtype)
        i = torch.tensor(generator.integers(0, 4, (4, 4)))
        found = often(functools.partial(call, x, i))
        whole = call(x.clone().requires_grad_(), i)  # recorded calls are never remembered
        for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (found, whole)]):
            assert type(found) is type(whole) and a.dtype is b.dtype and a.equal(b.detach())


def test_every_name_is_that_of_a_function() -> None:
    from flambeau.core.public import FUNCTIONS, METHODS

    assert all(hasattr((FUNCTIONS | METHODS)[name], "__wrapped__") for name in ONE_WAY)
