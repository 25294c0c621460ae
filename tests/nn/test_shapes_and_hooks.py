"""What modules do with inputs and hooks that do not fit, and what stays as it was given."""

import collections

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn

Pair = collections.namedtuple("Pair", "first second")


def test_a_named_tuple_stays_one_under_backward_hooks():
    class Two(nn.Module):
        def forward(self, x):
            return Pair(x * 2, x * 3)

    m, seen = Two(), []
    m.register_full_backward_hook(lambda module, given, out: seen.append(len(out)))
    out = m(torch.ones(2, requires_grad=True))
    assert type(out) is Pair
    (out.first + out.second).sum().backward()
    assert seen == [2]


@pytest.mark.parametrize("change, got", [(lambda g: g[:-1], 0), (lambda g: (*g, torch.ones(2)), 2)])
def test_hooks_of_nodes_return_as_many_gradients_as_they_get(change, got):
    m = nn.Sigmoid()
    m.register_backward_hook(lambda module, given, out: change(given))
    with pytest.raises(RuntimeError, match=f"got {got}, but expected 1"):
        m(torch.ones(3, requires_grad=True)).sum().backward()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_spectral_norm_of_a_diagonal(dtype):
    torch.manual_seed(0)
    m = nn.Linear(2, 2, dtype=dtype)
    x = torch.tensor([1.0, 3.0], dtype=dtype) * (1 if dtype is torch.float64 else 0.6 + 0.8j)
    with torch.no_grad():
        m.weight = nn.Parameter(torch.diag(x))
        nn.utils.parametrizations.spectral_norm(m, n_power_iterations=10)
        assert torch.allclose(m.weight, torch.diag(x / 3), atol=1e-6)


@pytest.mark.parametrize(
    "name, shape", [("2d", (2, 3)), ("2d", (1, 2, 3)), ("2d", (1,) * 5), ("3d", (2, 3, 4))]
)
def test_channel_dropout_warns_of_other_shapes(name, shape):
    with pytest.warns(UserWarning, match=f"Received a {len(shape)}-D input to dropout{name}"):
        getattr(F, f"dropout{name}")(torch.ones(shape), 0.5)


@pytest.mark.parametrize(
    "key, value, options, message",
    [
        ((4, 4), (4, 4, 4), {}, "but found 2-D and 3-D"),
        ((4, 4, 4), (4, 4), {}, "but found 3-D and 2-D"),
        ((4, 4, 4), (4, 4, 4), {"key_padding_mask": torch.zeros(4)}, "or 2-D but found 1-D"),
        ((4, 4, 4), (4, 4, 4), {"attn_mask": torch.zeros(4)}, "2-D or 3-D but found 1-D"),
    ],
)
def test_attention_needs_shapes_that_go_together(key, value, options, message):
    m = nn.MultiheadAttention(4, 4)
    with pytest.raises(AssertionError, match=message):
        m(torch.ones(4, 4, 4), torch.ones(key), torch.ones(value), **options)


def test_attention_does_not_add_biases_to_keys_that_are_given():
    m = nn.MultiheadAttention(4, 2, add_bias_kv=True)
    x = torch.ones(3, 1, 4)
    with pytest.raises(AssertionError, match="static key"):
        F.multi_head_attention_forward(
            x, x, x, 4, 2, m.in_proj_weight, m.in_proj_bias, m.bias_k, m.bias_v, False, 0.0, m.out_proj.weight,
            m.out_proj.bias, static_k=torch.ones(2, 3, 2), static_v=torch.ones(2, 3, 2),
        )  # fmt: skip


def test_a_uint8_of_no_dimensions_is_a_mask():
    one, zero = torch.tensor(1, dtype=torch.uint8), torch.tensor(0, dtype=torch.uint8)
    for x in (torch.arange(6).reshape(2, 3), torch.tensor(3.0)):
        assert x[one].equal(x[None]) and x[zero].shape == (0, *x.shape)
    mask = torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=torch.uint8)
    y = torch.arange(12).reshape(2, 3, 2)
    assert y[mask, ...].tolist() == y[mask.bool()].tolist() == [[0, 1], [4, 5], [10, 11]]


def test_functional_call_of_modules_that_hold_each_other():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.inner = nn.Linear(1, 1)

        def forward(self, x):
            return self.inner(x) * self.weight

    m = Scale()
    m.inner.owner = m
    given = {
        "inner.owner.weight": torch.tensor([2.0]),
        "inner.weight": torch.ones(1, 1),
        "inner.bias": torch.ones(1),
    }
    assert torch.func.functional_call(m, given, torch.ones(1, 1), tie_weights=False).item() == 4.0
    assert m.weight.item() == 1.0
