"""MultiheadAttention and the Transformer against PyTorch: values and gradients."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def both(scenario):
    for a, b in zip(scenario(flambeau), scenario(torch), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_first": True},
        {"bias": False},
        {"add_bias_kv": True, "add_zero_attn": True},
        {"kdim": 6, "vdim": 5},
        {"dropout": 0.3},
    ],
    ids=str,
)
def test_attention(settings):
    def scenario(lib):
        lib.manual_seed(0)
        m = lib.nn.MultiheadAttention(8, 2, **settings)
        q, k, v = (lib.randn(4, 4, n) for n in (8, settings.get("kdim", 8), settings.get("vdim", 8)))
        q.requires_grad_()
        y, w = m(q, k, v)
        (y * y).sum().backward()
        _, heads = m(q, k, v, average_attn_weights=False)
        y2, none = m(q, k, v, need_weights=False)
        return [y, w, heads, y2, none, q.grad, *[p.grad for p in m.parameters()]]

    both(scenario)


def test_masks():
    def scenario(lib):
        lib.manual_seed(0)
        m = lib.nn.MultiheadAttention(8, 2)
        x = lib.randn(4, 3, 8)
        causal = lib.nn.Transformer.generate_square_subsequent_mask(4)
        padding = lib.tensor([[False, False, False, True], [False] * 4, [False, False, True, True]])
        out = []
        for mask in (None, causal, causal < 0):
            for key_padding in (None, padding):
                y, w = m(x, x, x, attn_mask=mask, key_padding_mask=key_padding)
                out += [y, w]
        y, _ = m(x, x, x, attn_mask=causal, is_causal=True, need_weights=False)
        single, _ = m(x[:, 0], x[:, 0], x[:, 0])
        return [causal, *out, y, single]

    both(scenario)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_first": True, "norm_first": True, "dropout": 0.0},
        {"activation": "gelu", "bias": False},
        {"dropout": 0.0},
    ],
    ids=str,
)
def test_transformer(settings):
    def scenario(lib):
        lib.manual_seed(0)
        m = lib.nn.Transformer(8, 2, 2, 2, 16, **settings)
        src, tgt = lib.randn(3, 3, 8), lib.randn(3, 3, 8)
        mask = m.generate_square_subsequent_mask(3)
        lib.manual_seed(1)
        y = m(src, tgt, tgt_mask=mask)
        (y * y).sum().backward()
        m.eval()
        return [y, *[p.grad for p in m.parameters()], m(src, tgt, src_mask=mask, tgt_mask=mask)]

    both(scenario)


def test_errors():
    def scenario(lib):
        m = lib.nn.Transformer(8, 2, 1, 1, 16)
        out = []
        for call in (
            lambda: lib.nn.MultiheadAttention(8, 3),
            lambda: lib.nn.MultiheadAttention(0, 1),
            lambda: lib.nn.TransformerEncoderLayer(8, 2, activation="x"),
            lambda: m(lib.zeros(3, 2, 8), lib.zeros(3, 1, 8)),
            lambda: m(lib.zeros(3, 2, 8), lib.zeros(3, 2, 4)),
        ):
            with pytest.raises(Exception) as e:
                call()
            out.append(e.type.__name__)
        return out

    assert scenario(flambeau) == scenario(torch)
