"""Causal masks that know their form: `nn.attention.bias`."""

import numpy as np
import pytest

import flambeau
from flambeau.nn.attention.bias import CausalBias, causal_lower_right, causal_upper_left


@pytest.mark.parametrize("name", ["causal_upper_left", "causal_lower_right"])
@pytest.mark.parametrize("sizes", [(3, 5), (4, 4)])
def test_attention_with_a_causal_bias_is_pytorchs(name, sizes):
    torch = pytest.importorskip("torch")
    from torch.nn.attention import bias as reference

    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, n, 4)) for n in (sizes[0], sizes[1], sizes[1]))
    got, want = (
        lib.nn.functional.scaled_dot_product_attention(
            *(lib.tensor(a) for a in (q, k, v)), attn_mask=getattr(masks, name)(*sizes), scale=0.3
        )
        for lib, masks in ((flambeau, flambeau.nn.attention.bias), (torch, reference))
    )
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12)
    assert repr(getattr(flambeau.nn.attention.bias, name)(*sizes)) == repr(getattr(reference, name)(*sizes))


def test_what_does_not_fit_is_an_error():
    x = flambeau.ones(1, 3, 2)
    attend = flambeau.nn.functional.scaled_dot_product_attention
    with pytest.raises(ValueError, match="causal=True"):
        attend(x, x, x, attn_mask=causal_upper_left(3, 3), is_causal=True)
    with pytest.raises(AssertionError, match="2D"):
        causal_lower_right(3)
    with pytest.raises(AssertionError, match="CausalVariant"):
        CausalBias(1, 2, 3)
    with pytest.warns(UserWarning, match="NaN"):
        causal_lower_right(5, 3)
    with pytest.raises(AssertionError, match="got str"), flambeau.nn.attention.sdpa_kernel("math"):
        pass
