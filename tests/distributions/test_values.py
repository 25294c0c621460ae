"""Distributions without PyTorch at hand: SciPy's densities, moments of draws, implicit gradients, transforms."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.stats as st

import flambeau
from distributions.cases import CASES, make
from flambeau.func import grad, jvp, vmap

D = flambeau.distributions


def tensor(x: Any) -> Any:
    return flambeau.tensor(np.asarray(x, np.float64).tolist(), dtype=flambeau.float64)


SCIPY = {
    "beta": lambda p: st.beta(p["concentration1"], p["concentration0"]),
    "cauchy": lambda p: st.cauchy(p["loc"], p["scale"]),
    "chi2": lambda p: st.chi2(p["df"]),
    "exponential": lambda p: st.expon(0, 1 / p["rate"]),
    "fisher": lambda p: st.f(p["df1"], p["df2"]),
    "gamma": lambda p: st.gamma(p["concentration"], scale=1 / p["rate"]),
    "generalized_pareto": lambda p: st.genpareto(p["concentration"], p["loc"], p["scale"]),
    "gumbel": lambda p: st.gumbel_r(p["loc"], p["scale"]),
    "half_cauchy": lambda p: st.halfcauchy(0, p["scale"]),
    "half_normal": lambda p: st.halfnorm(0, p["scale"]),
    "inverse_gamma": lambda p: st.invgamma(p["concentration"], scale=p["rate"]),
    "laplace": lambda p: st.laplace(p["loc"], p["scale"]),
    "log_normal": lambda p: st.lognorm(p["scale"], scale=np.exp(p["loc"])),
    "normal": lambda p: st.norm(p["loc"], p["scale"]),
    "pareto": lambda p: st.pareto(p["alpha"], scale=p["scale"]),
    "student_t": lambda p: st.t(p["df"], p["loc"], p["scale"]),
    "uniform": lambda p: st.uniform(p["low"], p["high"] - p["low"]),
    "von_mises": lambda p: st.vonmises(p["concentration"], p["loc"]),
    "weibull": lambda p: st.weibull_min(p["concentration"], scale=p["scale"]),
    "bernoulli": lambda p: st.bernoulli(p["probs"]),
    "binomial": lambda p: st.binom(12, p["probs"]),
    "geometric": lambda p: st.geom(p["probs"], -1),
    "negative_binomial": lambda p: st.nbinom(5, 1 - p["probs"]),
    "poisson": lambda p: st.poisson(p["rate"]),
}
DISCRETE = ("bernoulli", "binomial", "geometric", "negative_binomial", "poisson")


@pytest.mark.parametrize("name", SCIPY)
def test_scipy(name: str) -> None:
    d, _ = make(flambeau, name)
    frozen = SCIPY[name](CASES[name][1])  # type: ignore[no-untyped-call]
    at = frozen.ppf(np.array([[0.1], [0.4], [0.8]]))
    density = frozen.logpmf(at) if name in DISCRETE else frozen.logpdf(at)
    np.testing.assert_allclose(d.log_prob(tensor(at)).numpy(), density, rtol=1e-9, atol=1e-9)
    if name not in DISCRETE and name != "von_mises":
        for method, want in (("cdf", frozen.cdf(at)), ("icdf", None)):
            try:
                got = getattr(d, method)(tensor(at if method == "cdf" else frozen.cdf(at))).numpy()
            except NotImplementedError:
                continue
            np.testing.assert_allclose(got, at if want is None else want, rtol=1e-8)
    if name in ("von_mises", "cauchy", "half_cauchy"):
        return
    for method, want in (("mean", frozen.mean()), ("variance", frozen.var())):
        got = getattr(d, method).numpy()
        known = np.isfinite(want) & np.isfinite(got)
        np.testing.assert_allclose(got[known], want[known], rtol=1e-8, err_msg=method)


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_moments(name: str) -> None:
    d, _ = make(flambeau, name)
    flambeau.manual_seed(5)
    n = 400 if name.startswith("wishart") else 4000
    try:
        mean, std = d.mean.numpy(), d.stddev.numpy()
    except NotImplementedError:
        return
    x = d.sample((n,)).numpy()
    if name == "von_mises":
        return  # circular moments
    reliable = np.isfinite(mean) & np.isfinite(std) & (name not in ("student_t", "pareto", "fisher"))
    error = np.abs(x.mean(0) - mean)[reliable]
    assert np.all(error < 5 * std[reliable] / n**0.5 + 1e-12)


def test_modes_are_maxima() -> None:
    for name in (
        "kumaraswamy",
        "gamma",
        "beta",
        "inverse_gamma",
        "weibull",
        "fisher",
        "log_normal",
        "gumbel",
    ):
        d, _ = make(flambeau, name)
        mode = d.mode
        known = (
            mode.isfinite() & (mode > 0) & (mode < 1)
            if name in ("kumaraswamy", "beta")
            else mode.isfinite() & (mode != 0)
        )
        assert known.any(), name
        inside = flambeau.where(known, mode, 0.5)
        for step in (0.99, 1.01):
            higher = d.log_prob(inside) >= d.log_prob(inside * step)
            assert higher[known].all(), name


@pytest.mark.parametrize("alpha", [1e-3, 0.3, 1.0, 5.0, 80.0, 1e4])
def test_implicit_gradient_of_gamma(alpha: float) -> None:
    """d/dalpha of E x = alpha is 1, over many draws; and the slope itself against the distribution function."""
    flambeau.manual_seed(0)
    a = tensor([alpha] * 2000).requires_grad_()
    x = flambeau._standard_gamma(a)
    x.sum().backward()
    slope = a.grad.numpy()
    assert np.all(slope >= 0)
    assert abs(slope.mean() - 1) < 5 * slope.std() / 2000**0.5 + 1e-9
    value = x.detach().numpy()
    h = 1e-4 * alpha
    known = value > 1e-100
    moved = (st.gamma.cdf(value, alpha + h) - st.gamma.cdf(value, alpha - h)) / (2 * h)
    expected = -moved / st.gamma.pdf(value, alpha)
    middle = known & (np.abs(st.gamma.cdf(value, alpha) - 0.5) < 0.45)
    np.testing.assert_allclose(slope[middle], expected[middle], rtol=1e-4)


@pytest.mark.parametrize("a,b", [(0.02, 0.05), (0.5, 3.0), (40.0, 2.0), (300.0, 500.0)])
def test_implicit_gradient_of_beta(a: float, b: float) -> None:
    flambeau.manual_seed(1)
    one, zero = tensor([a] * 3000).requires_grad_(), tensor([b] * 3000).requires_grad_()
    D.Beta(one, zero).rsample().sum().backward()
    for got, want in ((one.grad, b / (a + b) ** 2), (zero.grad, -a / (a + b) ** 2)):
        g = got.numpy()
        assert np.isfinite(g).all()
        assert abs(g.mean() - want) < 5 * g.std() / 3000**0.5


def test_implicit_gradient_at_the_borders() -> None:
    a = tensor([1e-3, 1e-3, 2.0])
    x = tensor([1e-300, 1e-20, 0.0])
    assert flambeau._standard_gamma_grad(a, x).isfinite().all()
    x = tensor([1e-300, 1e-20, 1 - 1e-16, 1 - 1e-12])
    a, total = tensor([0.01, 0.3, 0.3, 20.0]), tensor([0.5, 0.5, 0.4, 20.3])
    assert flambeau._dirichlet_grad(x, a, total).isfinite().all()


def test_second_derivative_of_a_draw_raises() -> None:
    a = flambeau.ones(3, requires_grad=True)
    (g,) = flambeau.autograd.grad(flambeau._standard_gamma(a).sum(), a, create_graph=True)
    with pytest.raises(NotImplementedError, match="can be differentiated once"):
        flambeau.autograd.grad(g.sum(), a)


def test_wishart_draws_follow_the_factor() -> None:
    lower = tensor([[1.2, 0.0], [0.3, 0.8]])

    def draw(factor: Any) -> Any:
        flambeau.manual_seed(4)
        return D.Wishart(tensor(5.0), scale_tril=factor).rsample((3,)).sum()

    leaf = lower.clone().requires_grad_()
    draw(leaf).backward()
    step = 1e-6
    for i, j in ((0, 0), (1, 0), (1, 1)):
        moved = [lower.clone(), lower.clone()]
        moved[0][i, j] += step
        moved[1][i, j] -= step
        slope = (draw(moved[0]) - draw(moved[1])).item() / (2 * step)
        assert leaf.grad[i, j].item() == pytest.approx(slope, rel=1e-5)


def test_transforms_of_functions() -> None:
    scale = tensor([0.5, 1.0, 2.0])

    def density(s: Any) -> Any:
        return D.Normal(0.0, s, validate_args=False).log_prob(flambeau.tensor(1.0, dtype=flambeau.float64))

    expected = -1 / scale + 1 / scale**3
    assert flambeau.allclose(vmap(grad(density))(scale), expected)
    assert flambeau.allclose(jvp(density, (scale,), (flambeau.ones_like(scale),))[1], expected)

    def draw(a: Any) -> Any:
        return D.Gamma(a, tensor(1.0), validate_args=False).rsample()

    alpha = tensor([0.5, 1.0, 2.0])
    flambeau.manual_seed(3)
    x = vmap(draw, randomness="different")(alpha)
    flambeau.manual_seed(3)
    assert flambeau.equal(x, D.Gamma(alpha, 1.0).sample())
    flambeau.manual_seed(3)
    _, tangent = jvp(draw, (alpha,), (flambeau.ones_like(alpha),))
    assert flambeau.allclose(tangent, flambeau._standard_gamma_grad(alpha, x))

    concentration = tensor([[1.0, 2.0, 3.0], [0.5, 0.5, 4.0]])

    def mix(c: Any) -> Any:
        flambeau.manual_seed(2)
        return D.Dirichlet(c, validate_args=False).rsample()

    reverse = flambeau.func.jacrev(mix)(concentration)
    forward = flambeau.func.jacfwd(mix, randomness="same")(concentration)
    assert flambeau.allclose(reverse, forward)


@pytest.mark.parametrize("name", CASES)
def test_copies(name: str) -> None:
    d, _ = make(flambeau, name)
    flambeau.manual_seed(1)
    x = d.sample()
    for other in (copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        assert flambeau.allclose(other.log_prob(x), d.log_prob(x))


def test_validation_can_be_turned_off() -> None:
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Normal(0.0, -1.0).scale.item() == -1
    finally:
        D.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="True or False"):
        D.Distribution.set_default_validate_args(3)  # type: ignore[arg-type]


def test_a_distribution_of_ones_own() -> None:
    class Die(D.Distribution):
        arg_constraints: Any = {}
        support = D.constraints.integer_interval(1, 6)

        def sample(self, sample_shape: Any = ()) -> Any:
            return flambeau.randint(1, 7, self._extended_shape(sample_shape))

        def log_prob(self, value: Any) -> Any:
            if self._validate_args:
                self._validate_sample(value)
            return flambeau.full(value.shape, -np.log(6.0))

    die = Die()
    assert die.sample((100,)).float().mean().item() == pytest.approx(3.5, abs=1)
    assert die.log_prob(flambeau.tensor(3)).item() == pytest.approx(-1.7918, abs=1e-4)
    with pytest.raises(ValueError, match="within the support"):
        die.log_prob(flambeau.tensor(7))
    with pytest.raises(NotImplementedError):
        die.expand((2,))
