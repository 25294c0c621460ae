"""Divergences: every registered pair against PyTorch, and against integration."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import scipy.integrate

import flambeau
from distributions.cases import CASES, make

D = flambeau.distributions

# other parameters for the second distribution of a pair
SCALED = {
    "bernoulli": {"probs": [0.3, 0.4, 0.2]},
    "beta": {"concentration1": [1.5, 0.8, 2.0], "concentration0": [1.7, 2.0, 3.0]},
    "binomial": {"probs": [0.4, 0.1]},
    "categorical": {"probs": [[0.3, 0.3, 0.4], [0.1, 0.5, 0.4]]},
    "cauchy": {"loc": [1.0, 0.0], "scale": [2.0, 0.5]},
    "continuous_bernoulli": {"probs": [0.5, 0.2, 0.7, 0.4]},
    "dirichlet": {"concentration": [[1.5, 2.0, 0.7], [1.0, 1.2, 2.0]]},
    "exponential": {"rate": [1.5, 0.7]},
    "gamma": {"concentration": [1.3, 2.0, 4.0], "rate": [2.0, 0.7, 1.0]},
    "geometric": {"probs": [0.4, 0.5]},
    "gumbel": {"loc": [0.5, 0.0], "scale": [1.5, 0.7]},
    "half_normal": {"scale": [2.0, 0.7]},
    "laplace": {"loc": [0.5, 0.0], "scale": [1.5, 0.7]},
    "log_normal": {"loc": [0.5, 0.0], "scale": [1.5, 0.7]},
    "lowrank": {
        "loc": [[1.0, 0.0, 0.5]] * 2,
        "cov_factor": [[0.5, 0.1], [0.2, -0.3], [0.1, 0.4]],
        "cov_diag": [1.0, 0.4, 0.8],
    },
    "mvn": {
        "loc": [[1.0, 0.0, 0.5]] * 2,
        "covariance_matrix": [[1.0, 0.2, 0.0], [0.2, 2.0, 0.1], [0.0, 0.1, 1.5]],
    },
    "normal": {"loc": [0.5, 0.0], "scale": [1.5, 0.7]},
    "one_hot": {"probs": [[0.3, 0.3, 0.4], [0.1, 0.5, 0.4]]},
    "pareto": {"scale": [0.8, 0.2], "alpha": [1.5, 3.0]},
    "poisson": {"rate": [1.5, 7.0]},
    "uniform": {"low": [-1.0, -2.0], "high": [2.0, 0.7]},
    "wishart": {"df": [5.0, 7.0], "covariance_matrix": [[1.0, 0.2, 0.0], [0.2, 2.0, 0.1], [0.0, 0.1, 1.5]]},
}
PAIRS = [
    (p, q)
    for p in SCALED
    for q in SCALED
    if D.kl._find(getattr(D, CASES[p][0]), getattr(D, CASES[q][0])) is not None
    and ("wishart" not in (p, q) or p == q)
]


def second(lib: Any, name: str, grad: bool = False) -> Any:
    cls, _, others = CASES[name]
    tensors = {k: lib.tensor(v, dtype=lib.float64, requires_grad=grad) for k, v in SCALED[name].items()}
    return getattr(lib.distributions, cls)(**tensors, **others), list(tensors.values())


def fitting(lib: Any, p: str, q: str) -> Any:
    """A pair whose batches broadcast: the first element where they would not."""
    a, b = make(lib, p)[0], second(lib, q)[0]
    try:
        np.broadcast_shapes(tuple(a.batch_shape), tuple(b.batch_shape))
    except ValueError:
        names = {k: v[:1] for k, v in SCALED[q].items()}
        tensors = {k: lib.tensor(v, dtype=lib.float64) for k, v in names.items()}
        b = getattr(lib.distributions, CASES[q][0])(**tensors, **CASES[q][2])
    return a, b


# PyTorch gives infinity for the unit interval itself; its formula with a mask does not broadcast
OTHERWISE = {("uniform", "continuous_bernoulli"), ("beta", "uniform")}


@pytest.mark.parametrize("p,q", [pair for pair in PAIRS if pair not in OTHERWISE])
def test_every_pair_is_pytorchs(p: str, q: str) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for lib in (flambeau, torch):
        try:
            kl = lib.distributions.kl_divergence(*fitting(lib, p, q))
            results.append(np.array(kl.detach().tolist()))
        except NotImplementedError:
            results.append("NotImplementedError")
    if isinstance(results[1], str):
        assert results[0] == results[1]
    else:
        np.testing.assert_allclose(
            np.broadcast_to(results[0], results[1].shape), results[1], rtol=1e-8, atol=1e-9
        )


RANGES = {
    "exponential": (0, 60), "gamma": (0, 60), "normal": (-30, 30), "laplace": (-40, 40), "gumbel": (-12, 60),
    "uniform": (0, 1), "beta": (0, 1), "continuous_bernoulli": (0, 1), "cauchy": (-1e7, 1e7),
}  # fmt: skip
INTEGRATED = [
    ("gamma", "exponential"), ("gamma", "gumbel"), ("gamma", "normal"), ("exponential", "gumbel"),
    ("exponential", "gamma"), ("normal", "laplace"), ("normal", "gumbel"), ("laplace", "normal"), ("gumbel", "normal"),
    ("gumbel", "gumbel"), ("uniform", "beta"), ("uniform", "gamma"), ("uniform", "gumbel"), ("uniform", "continuous_bernoulli"), ("beta", "uniform"), ("beta", "normal"),
    ("beta", "gamma"), ("beta", "continuous_bernoulli"),
]  # fmt: skip


@pytest.mark.parametrize("p,q", INTEGRATED)
def test_by_integration(p: str, q: str) -> None:
    a, b = fitting(flambeau, p, q)
    low, high = RANGES[p]
    row = 1 if p == "gamma" else 0
    a._validate_args = b._validate_args = False  # the points are for one row only

    def integrand(x: float) -> float:
        with flambeau.no_grad():
            t = flambeau.tensor(x, dtype=flambeau.float64)
            log_p = a.log_prob(t).reshape(-1)[row].item()
            log_q = b.log_prob(t).expand(a.batch_shape).reshape(-1)[row].item()
        return math.exp(log_p) * (log_p - log_q)

    edge = 1e-12 if low == 0 else 0.0
    points = [0.0, 1.0, -1.0] if low < 0 else None
    found = scipy.integrate.quad(
        integrand, low + edge, high - (edge if high == 1 else 0), points=points, limit=400
    )[0]
    expected = D.kl_divergence(a, b).reshape(-1)[row].item()
    assert abs(found - expected) < 2e-4 * max(1.0, abs(expected))


def test_gradients_reach_both() -> None:
    for name in SCALED:
        p, leaves_p = make(flambeau, name, grad=True)
        q, leaves_q = second(flambeau, name, grad=True)
        D.kl_divergence(p, q).sum().backward()
        assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in (*leaves_p, *leaves_q)), (
            name
        )


def test_dispatch() -> None:
    class A(D.Normal):
        pass

    class B(D.Normal):
        pass

    @D.register_kl(A, D.Normal)
    def left(p: Any, q: Any) -> Any:
        return flambeau.tensor(1.0)

    assert D.kl_divergence(A(0.0, 1.0), B(0.0, 1.0)).item() == 1

    @D.register_kl(D.Normal, B)
    def right(p: Any, q: Any) -> Any:
        return flambeau.tensor(2.0)

    with pytest.warns(RuntimeWarning, match="Ambiguous"):
        assert D.kl_divergence(A(0.0, 1.0), B(0.0, 1.0)).item() == 1
    with pytest.raises(TypeError, match="Distribution subclass"):
        D.register_kl(cast(Any, 3), D.Normal)
    for pair in ((A, D.Normal), (D.Normal, B)):
        del D.kl._KL_REGISTRY[pair]
    D.kl._KL_MEMOIZE.clear()
