"""What each draw does under vmap with randomness "error", "same" and "different": PyTorch's answer to the same call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

import flambeau

MODES = ("error", "same", "different")
# Where this library has an answer and PyTorch refuses.
ANSWERED = {
    ("bernoulli p", "same"),
    *(("rrelu", "different"), ("rrelu eval", "error"), ("rrelu eval", "same"), ("rrelu eval", "different")),
    (
        "dirichlet",
        "different",
    ),  # when the distribution was used before (a function of PyTorch's own is in the way)
    # a tensor made inside can hold another draw for each example
    *((name, "different") for name in ("zeros rand", "kaiming", "Linear", "rnn", "init", "rand out")),
    *(("rnn", "same"), ("rand out", "same")),
}


def draws(m: Any) -> dict[str, Callable[[Any], Any]]:
    F, nn, fn = m.func, m.nn, m.nn.functional
    return {
        "rand": lambda a: m.rand(3),
        "randn": lambda a: m.randn(3),
        "randint": lambda a: m.randint(0, 9, (3,)),
        "randperm": lambda a: m.randperm(3),
        "rand_like": lambda a: m.rand_like(a),
        "randn_like": lambda a: m.randn_like(a),
        "randint_like": lambda a: m.randint_like(a, 9),
        "bernoulli": lambda a: m.bernoulli(a),
        "bernoulli p": lambda a: m.bernoulli(a, 0.5),
        "multinomial": lambda a: m.multinomial(a + 0.1, 2),
        "poisson": lambda a: m.poisson(a * 9),
        "normal": lambda a: m.normal(a, 1.0),
        "normal2": lambda a: m.normal(0.0, a),
        "normal3": lambda a: m.normal(0.0, 1.0, (3,)),
        "normal4": lambda a: m.normal(a, a),
        "normal_": lambda a: a.clone().normal_(),
        "uniform_": lambda a: a.clone().uniform_(),
        "random_": lambda a: a.clone().random_(),
        "random_2": lambda a: a.clone().random_(5),
        "cauchy_": lambda a: a.clone().cauchy_(),
        "exponential_": lambda a: a.clone().exponential_(),
        "geometric_": lambda a: a.clone().geometric_(0.5),
        "log_normal_": lambda a: a.clone().log_normal_(),
        "bernoulli_": lambda a: a.clone().bernoulli_(0.5),
        "bernoulli_t": lambda a: a.clone().bernoulli_(a),
        "dropout": lambda a: fn.dropout(a),
        "alpha_dropout": lambda a: fn.alpha_dropout(a, training=True),
        "feature_dropout": lambda a: fn.dropout1d(a[None]),
        "feature_alpha": lambda a: fn.feature_alpha_dropout(a[None], training=True),
        "dropout eval": lambda a: fn.dropout(a, training=False),
        "rrelu": lambda a: fn.rrelu(-a, training=True),
        "rrelu eval": lambda a: fn.rrelu(-a),
        "gumbel": lambda a: fn.gumbel_softmax(a),
        "fmp": lambda a: fn.fractional_max_pool2d(a.repeat(3, 1)[None], 2, output_size=(1, 1)),
        "sdpa drop": lambda a: fn.scaled_dot_product_attention(a[None], a[None], a[None], dropout_p=0.5),
        "gamma": lambda a: m.distributions.Gamma(a + 1, a + 1).sample(),
        "dirichlet": lambda a: m.distributions.Dirichlet(a + 1).rsample(),
        "categorical": lambda a: m.distributions.Categorical(a).sample(),
        "binomial": lambda a: m.binomial(a * 0 + 5, a),
        "zeros rand": lambda a: m.zeros(3).uniform_(),
        "trunc": lambda a: nn.init.trunc_normal_(m.zeros(3)),
        "kaiming": lambda a: nn.init.kaiming_uniform_(m.zeros(3, 3)),
        "Linear": lambda a: nn.Linear(3, 3)(a),
        "shuffle": lambda a: fn.channel_shuffle(a[None, :, None, None], 3),
        "randn cplx": lambda a: m.randn(3, dtype=m.complex64).real,
        "new": lambda a: a.new_empty(3).normal_(),
        "rnn": lambda a: nn.LSTM(3, 3, 2, dropout=0.5)(a[None])[0],
        "tril_rand": lambda a: m.rand(3, 3).tril(),
        "grad rand": lambda a: F.grad(lambda x: (x * m.rand(3)).sum())(a),
        "init": lambda a: m.empty(3).normal_(),
        "rand out": lambda a: m.rand(3, out=m.empty(3)),
    }


def answer(name: str, mode: str, m: Any) -> Any:
    """The shape and whether both examples are the same, or the exception."""
    x = m.tensor([0.2, 0.5, 0.7])
    m.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y = m.func.vmap(draws(m)[name], randomness=mode)(m.stack([x, x])).detach()
        except Exception as e:
            return type(e).__name__
    return tuple(y.shape), bool((y[0] == y[1]).all())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", draws(flambeau))
def test_the_answer_is_pytorchs(name: str, mode: str) -> None:
    torch = pytest.importorskip("torch")
    got, want = answer(name, mode, flambeau), answer(name, mode, torch)
    if (name, mode) in ANSWERED:
        assert isinstance(got, tuple) and (want == "RuntimeError" or got == want)
    else:
        assert got == want


@pytest.mark.parametrize(
    "name", [k for k in draws(flambeau) if "eval" not in k and k not in ("shuffle", "trunc")]
)
def test_error_mode_refuses_and_the_others_do_what_they_say(name: str) -> None:
    assert answer(name, "error", flambeau) == "RuntimeError"
    same, different = answer(name, "same", flambeau), answer(name, "different", flambeau)
    assert same == "RuntimeError" or same[1]  # refused where the parameters differ between examples
    assert isinstance(different, tuple)
