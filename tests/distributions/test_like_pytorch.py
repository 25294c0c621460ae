"""Every distribution against PyTorch: shapes, moments, densities, seeded draws, gradients, repr, errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from distributions.cases import CASES, COMPOSED, make

torch = pytest.importorskip("torch")

MOMENTS = ("mean", "mode", "variance", "stddev", "entropy", "perplexity", "batch_shape", "event_shape")


@pytest.fixture(autouse=True)
def double() -> Any:
    """PyTorch's GeneralizedPareto takes only the default dtype."""
    for lib in (flambeau, torch):
        lib.set_default_dtype(lib.float64)
    yield
    for lib in (flambeau, torch):
        lib.set_default_dtype(lib.float32)


def attempt(fn: Callable[[], Any]) -> Any:
    """The result as NumPy, or the type of the exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            r = fn()
        except Exception as e:
            return type(e).__name__
    if hasattr(r, "detach"):
        return np.array(r.detach().tolist()), tuple(r.shape), str(r.dtype)
    return tuple(r) if isinstance(r, (list, tuple)) else r


def same(got: Any, want: Any, rtol: float = 1e-9) -> None:
    if isinstance(want, tuple) and want and isinstance(want[0], np.ndarray):
        assert isinstance(got, tuple), got
        assert got[1:] == want[1:]
        np.testing.assert_allclose(got[0], want[0], rtol=rtol, atol=rtol)
    else:
        assert got == want


def both(fn: Callable[[Any], Any], rtol: float = 1e-9) -> None:
    same(attempt(lambda: fn(flambeau)), attempt(lambda: fn(torch)), rtol)


# PyTorch evaluates Bessel functions by polynomials of seven digits
TOLERANCE = {"von_mises": 1e-6}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("what", MOMENTS)
def test_moments(name: str, what: str) -> None:
    if (name, what) == ("kumaraswamy", "mode"):
        pytest.skip("PyTorch gives NaN; test_values.py finds the maximum")
    if name == "multinomial" and what in ("entropy", "perplexity"):
        return both(lambda lib: getattr(make(lib, name)[0], what)(), 1e-6)  # PyTorch takes lgamma in float32

    def value(lib: Any) -> Any:
        v = getattr(make(lib, name)[0], what)
        return v() if callable(v) else v

    both(value, TOLERANCE.get(name, 1e-9))


@pytest.mark.parametrize("name", CASES)
def test_description(name: str) -> None:
    def text(lib: Any) -> Any:
        d, _ = make(lib, name)
        return (
            repr(d),
            repr(d.support),
            d.has_rsample,
            d.has_enumerate_support,
            sorted((k, repr(v)) for k, v in d.arg_constraints.items()),
        )

    both(text)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_seeded_draws(name: str, dtype: str) -> None:
    def draw(lib: Any, shape: Any) -> Any:
        d, _ = make(lib, name, dtype=dtype)
        lib.manual_seed(7)
        return d.sample(shape)

    for shape in ((), (5,), (2, 3)):
        both(lambda lib, shape=shape: draw(lib, shape), 1e-4 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("name", CASES)
def test_densities(name: str) -> None:
    d, _ = make(torch, name)
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = d.sample((4,)).numpy()
    uniform = np.random.default_rng(0).uniform(0.05, 0.95, points.shape)
    for method, at in (("log_prob", points), ("cdf", points), ("icdf", uniform)):

        def value(lib: Any, method: str = method, at: Any = at) -> Any:
            d, _ = make(lib, name)
            x = lib.tensor(at.tolist(), dtype=lib.int64 if at.dtype.kind == "i" else lib.float64)
            return getattr(d, method)(x)

        both(value, TOLERANCE.get(name, 1e-9))


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_the_density(name: str) -> None:
    d, _ = make(torch, name)
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = d.sample((4,)).numpy()

    def grads(lib: Any) -> Any:
        d, leaves = make(lib, name, grad=True)
        x = lib.tensor(points.tolist(), dtype=lib.int64 if points.dtype.kind == "i" else lib.float64)
        d.log_prob(x).sum().backward()
        if name == "wishart tril":  # the factor's upper triangle is never read, and PyTorch differentiates it
            leaves[1].grad.tril_()
        return lib.cat([leaf.grad.reshape(-1) for leaf in leaves if leaf.grad is not None])

    both(grads, max(TOLERANCE.get(name, 0), 1e-8))


# PyTorch's implicit gradients of gamma draws are approximations of three digits
IMPLICIT = ("beta", "chi2", "dirichlet", "fisher", "gamma", "inverse_gamma", "student_t")


@pytest.mark.parametrize("name", [n for n in CASES if "wishart" not in n])  # PyTorch's cannot run backward
def test_gradients_of_draws(name: str) -> None:
    def grads(lib: Any) -> Any:
        d, leaves = make(lib, name, grad=True)
        lib.manual_seed(11)
        x = d.rsample((6,))
        weights = lib.linspace(0.5, 1.5, x.numel(), dtype=x.dtype).reshape(x.shape)
        (x * weights).sum().backward()
        return lib.cat([leaf.grad.reshape(-1) for leaf in leaves if leaf.grad is not None])

    both(grads, 2e-3 if name in IMPLICIT else 1e-8)


@pytest.mark.parametrize("name", CASES)
def test_expand(name: str) -> None:
    def value(lib: Any) -> Any:
        d, _ = make(lib, name)
        e = d.expand((3, *d.batch_shape))
        lib.manual_seed(1)
        x = e.sample((2,))
        return lib.cat([x.double().reshape(-1), e.log_prob(x).reshape(-1)])

    def shapes(lib: Any) -> Any:
        d, _ = make(lib, name)
        e = d.expand((3, *d.batch_shape))
        return tuple(e.batch_shape), tuple(e.event_shape), type(e).__name__

    both(shapes)
    both(value, max(TOLERANCE.get(name, 0), 1e-9))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("expand", [True, False])
def test_enumerate_support(name: str, expand: bool) -> None:
    both(lambda lib: make(lib, name)[0].enumerate_support(expand))


@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name: str) -> None:
    def text(lib: Any) -> Any:
        d = COMPOSED[name](lib)
        return repr(d), repr(d.support), tuple(d.batch_shape), tuple(d.event_shape), d.has_rsample

    both(text)
    for what in ("mean", "variance", "stddev", "entropy"):

        def value(lib: Any, what: str = what) -> Any:
            v = getattr(COMPOSED[name](lib), what)
            return v() if callable(v) else v

        both(value, 1e-5)
    torch.manual_seed(2)
    point = COMPOSED[name](torch).sample((3,)).numpy().tolist()
    for method in ("log_prob", "cdf"):
        both(lambda lib, m=method: getattr(COMPOSED[name](lib), m)(lib.tensor(point)), 1e-4)  # type: ignore[misc]

    def draw(lib: Any, expand: bool) -> Any:
        d = COMPOSED[name](lib)
        lib.manual_seed(9)
        return (d.expand((2, *d.batch_shape)) if expand else d).sample((3,))

    both(lambda lib: draw(lib, False), 1e-5)
    both(lambda lib: draw(lib, True), 1e-5)


BAD: dict[str, Callable[[Any], Any]] = {
    "scale": lambda t: t.distributions.Normal(0.0, t.tensor([1.0, -1.0])),
    "nan": lambda t: t.distributions.Normal(float("nan"), 1.0),
    "unchecked": lambda t: t.distributions.Normal(0.0, -1.0, validate_args=False).scale,
    "interval": lambda t: t.distributions.Uniform(1.0, 0.0),
    "simplex": lambda t: t.distributions.Categorical(t.tensor([-0.5, 1.5])),
    "no dims": lambda t: t.distributions.Categorical(t.tensor(1.0)),
    "both": lambda t: t.distributions.Bernoulli(0.5, 0.5),
    "neither": lambda t: t.distributions.Bernoulli(),
    "string": lambda t: t.distributions.Normal("a", 1.0),
    "value": lambda t: t.distributions.Bernoulli(0.5).log_prob(t.tensor(0.5)),
    "not a tensor": lambda t: t.distributions.Normal(0.0, 1.0).log_prob(0.5),
    "event": lambda t: t.distributions.Dirichlet(t.ones(3)).log_prob(t.ones(2) / 2),
    "batch": lambda t: t.distributions.Normal(t.zeros(3), 1.0).log_prob(t.zeros(2)),
    "covariance": lambda t: t.distributions.MultivariateNormal(t.zeros(2), -t.eye(2)),
    "two matrices": lambda t: t.distributions.MultivariateNormal(t.zeros(2), t.eye(2), t.eye(2)),
    "df": lambda t: t.distributions.Wishart(1.0, t.eye(3)),
    "count": lambda t: t.distributions.Multinomial(t.tensor([1, 2]), t.ones(2, 3)),
    "independent": lambda t: t.distributions.Independent(t.distributions.Normal(0.0, 1.0), 1),
    "mixture": lambda t: t.distributions.MixtureSameFamily(
        t.distributions.Categorical(t.ones(3)), t.distributions.Normal(t.zeros(2), 1.0)
    ),
    "no kl": lambda t: t.distributions.kl_divergence(
        t.distributions.Normal(0.0, 1.0), t.distributions.VonMises(t.tensor(0.0), t.tensor(1.0))
    ),
    "no rsample": lambda t: t.distributions.Poisson(1.0).rsample(),
    "no cdf": lambda t: t.distributions.Beta(1.0, 1.0).cdf(t.tensor(0.5)),
    "lkj": lambda t: t.distributions.LKJCholesky(1),
    "cache": lambda t: t.distributions.ExpTransform(cache_size=2),
    "transform": lambda t: t.distributions.TransformedDistribution(t.distributions.Normal(0.0, 1.0), [1]),
    "constraint": lambda t: t.distributions.biject_to(t.distributions.constraints.boolean),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name: str) -> None:
    both(BAD[name])


def test_an_error_says_what_is_wrong() -> None:
    messages = []
    for lib in (flambeau, torch):
        with pytest.raises(ValueError) as e:
            lib.distributions.Normal(lib.zeros(2), lib.tensor([1.0, -1.0]))
        messages.append(str(e.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("lib", [flambeau, torch])
def test_subclasses(lib: Any) -> None:
    class Shifted(lib.distributions.Normal):  # type: ignore[misc]
        def __init__(self, shift: float) -> None:
            super().__init__(lib.tensor(shift), lib.tensor(1.0))

    with pytest.raises(NotImplementedError, match="custom .expand"):
        Shifted(2.0).expand((3,))

    class Plain(lib.distributions.Normal):  # type: ignore[misc]
        pass

    assert type(Plain(0.0, 1.0).expand((3,))) is Plain
    assert lib.distributions.kl_divergence(Plain(0.0, 1.0), Plain(0.0, 1.0)).item() == 0
