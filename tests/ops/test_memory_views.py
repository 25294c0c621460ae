"""Views of memory around a tensor, resizing inside transforms, and other forms that PyTorch's database asks for."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.core.op import REGISTRY


def test_as_strided_of_a_leaf_that_is_a_part() -> None:
    """The elements of the leaf have gradients, those around it are constants."""
    x = torch.arange(6.0)[2:5].requires_grad_()
    y = torch.as_strided(x, (2, 2), (1, 1), 1)
    assert y.tolist() == [[1, 2], [2, 3]]
    (y * torch.tensor([[1.0, 10.0], [100.0, 1000.0]])).sum().backward()
    assert x.grad.tolist() == [110, 1000, 0]


def test_resize_inside_vmap() -> None:
    rows = torch.arange(8.0).reshape(2, 4)
    assert torch.vmap(lambda t: t.clone().resize_(2, 2))(rows).tolist() == rows.reshape(2, 2, 2).tolist()
    assert torch.vmap(lambda t: t.clone().resize_(3))(rows).tolist() == rows[:, :3].tolist()
    with pytest.raises(RuntimeError, match="cannot enlarge"):
        torch.vmap(lambda t: t.clone().resize_(5))(rows)


def test_integers_sum_to_a_size_as_int64() -> None:
    x = torch.ones(2, 3, dtype=torch.int32)
    assert x.sum_to_size(1, 3).dtype is torch.int64
    assert x.sum_to_size(2, 3).dtype is torch.int32


def test_a_number_over_a_tensor_is_a_multiple_of_the_reciprocal() -> None:
    x = torch.tensor([3.0, 7.0, 0.1])
    want = (np.float32(1) / x.numpy()) * np.float32(5)
    assert (5 / x).numpy().tobytes() == want.tobytes()
    assert (5 / torch.tensor([2, 4])).tolist() == [2.5, 1.25]
    with pytest.raises(TypeError):
        "5" / x


@pytest.mark.parametrize("exponent", [2, 3, 0.5, 1, -1, 0, 1.5])
def test_a_number_to_the_power_of_a_tensor_without_dims(exponent: float) -> None:
    for dtype in (torch.float32, torch.float64, torch.int64):
        e = torch.tensor(exponent, dtype=dtype)
        y = 2.0**e
        assert y.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
        assert float(y) == pytest.approx(2.0 ** float(e), rel=1e-6)
    assert torch.ldexp(torch.tensor(3), torch.tensor(2)).dtype is torch.float32


def test_running_log_of_sums() -> None:
    """Complex terms of any size, and tangents of real ones, against plain sums in wider numbers."""
    z = np.array([200 + 1j, -300 + 2j, 201 - 3j, 0.5 + 0.25j])
    got = torch.logcumsumexp(torch.from_numpy(z), 0).numpy()
    top = 201.0
    want = np.log(np.cumsum(np.exp(z - top))) + top
    np.testing.assert_allclose(np.exp(1j * got.imag), np.exp(1j * want.imag), rtol=1e-10)
    np.testing.assert_allclose(got.real, want.real, rtol=1e-12)
    x, t = np.array([1.0, -800.0, 2.0, 700.0]), np.array([1.0, -2.0, 3.0, 0.5])
    y, dy = torch.func.jvp(lambda v: torch.logcumsumexp(v, 0), (torch.from_numpy(x),), (torch.from_numpy(t),))
    weights = np.exp(x[:3] - 2)
    expected = [*(np.cumsum(weights * t[:3]) / np.cumsum(weights)), 0.5]
    np.testing.assert_allclose(dy.numpy(), expected, rtol=1e-10)
    assert math.isclose(float(y[-1]), 700)


def test_attention_in_half_precision_rounds_once() -> None:
    r = np.random.default_rng(3)
    q, k, v = (torch.from_numpy(r.normal(0, 2, (2, 5, 8))).half() for _ in range(3))
    got = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    want = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double())
    assert got.dtype is torch.float16
    np.testing.assert_allclose(got.double().numpy(), want.numpy(), rtol=2e-3, atol=1e-4)


def test_names_cost_no_extras() -> None:
    """A renamed node is as light as another: the name is its operation's, of which there is one for each name."""
    x = torch.ones(3, requires_grad=True)
    a, b = (torch.nn.functional.mse_loss(x, torch.zeros(3)) for _ in range(2))
    assert a.grad_fn.name() == "MseLossBackward0"
    assert a.grad_fn.extra is None and a.grad_fn.op is b.grad_fn.op
    assert REGISTRY["mul"].grad_name == "MulBackward0"
    y = x * 2
    assert torch.nn.functional.dropout(y, 0.5, training=False) is y and y.grad_fn.name() == "MulBackward0"
