"""Transforms: inverses, Jacobians against automatic differentiation, caches, shapes, registry."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import flambeau
from flambeau.distributions import constraints

D = flambeau.distributions
F64 = flambeau.float64


def t(*xs: Any) -> Any:
    return flambeau.tensor(xs, dtype=F64)


TRANSFORMS = {
    "exp": D.ExpTransform(),
    "log": D.ExpTransform().inv,
    "sigmoid": D.SigmoidTransform(),
    "softplus": D.SoftplusTransform(),
    "tanh": D.TanhTransform(),
    "affine": D.AffineTransform(t(1.0, -1.0, 2.0), t(0.5, -2.0, 3.0)),
    "affine number": D.AffineTransform(1.0, -2.0),
    "affine event": D.AffineTransform(0.0, t(0.5, -2.0, 3.0), event_dim=1),
    "power": D.PowerTransform(t(0.5, -1.0, 2.0)),
    "stick": D.StickBreakingTransform(),
    "corr": D.CorrCholeskyTransform(),
    "cdf": D.CumulativeDistributionTransform(D.Normal(t(0.0), t(1.5))),
    "compose": D.ComposeTransform(
        [D.AffineTransform(0.0, 0.3), D.SigmoidTransform(), D.AffineTransform(1.0, 2.0)]
    ),
    "compose vector": D.ComposeTransform(
        [D.ExpTransform(), D.ExpTransform().inv, D.StickBreakingTransform()]
    ),
    "independent": D.IndependentTransform(D.ExpTransform(), 1),
    "reshape": D.ReshapeTransform((3,), (3, 1)),
    "cat": D.CatTransform([D.ExpTransform(), D.TanhTransform()], dim=-1, lengths=[1, 2]),
    "stack": D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.SigmoidTransform()], dim=-1),
}
X = t(0.7, 0.2, 1.4)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_inverse_and_jacobian(name: str) -> None:
    f = TRANSFORMS[name]
    y = f(X)
    assert flambeau.allclose(f.inv(y), X, atol=1e-9)
    assert tuple(f.forward_shape(X.shape)) == tuple(y.shape)
    assert tuple(f.inverse_shape(y.shape)) == tuple(X.shape)
    found = f.log_abs_det_jacobian(X, y)
    assert flambeau.allclose(f.inv.log_abs_det_jacobian(y, X), -found)

    jacobian = flambeau.func.jacrev(f)(X)
    if name.startswith("stick") or name == "compose vector":
        jacobian = jacobian[:-1]  # the last element is what is left
    elif name == "corr":
        jacobian = jacobian[flambeau.ones(3, 3).tril(-1).bool()]
    expected = jacobian.reshape(3, 3)
    if found.dim():
        assert flambeau.allclose(found, expected.diagonal().abs().log(), atol=1e-9)
    else:
        assert flambeau.allclose(found, flambeau.linalg.slogdet(expected)[1], atol=1e-9)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_like_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    f = TRANSFORMS[name]
    by_name = {
        "exp": lambda T: T.ExpTransform(),
        "stick": lambda T: T.StickBreakingTransform(),
        "corr": lambda T: T.CorrCholeskyTransform(),
        "independent": lambda T: T.IndependentTransform(T.ExpTransform(), 1),
        "reshape": lambda T: T.ReshapeTransform((3,), (3, 1)),
        "log": lambda T: T.ExpTransform().inv,
        "compose vector": lambda T: T.ComposeTransform(
            [T.ExpTransform(), T.ExpTransform().inv, T.StickBreakingTransform()]
        ),
    }
    if name not in by_name:
        return
    g = by_name[name](torch.distributions)
    x = torch.tensor(X.tolist(), dtype=torch.float64)
    assert f(X).tolist() == pytest.approx(g(x).tolist()) if f(X).dim() == 1 else True
    assert repr(f) == repr(g) and repr(f.domain) == repr(g.domain) and repr(f.codomain) == repr(g.codomain)
    assert f.bijective == g.bijective and f.domain.event_dim == g.domain.event_dim


def test_cache() -> None:
    f = D.ExpTransform(cache_size=1)
    x = t(1.0)
    y = f(x)
    assert f.inv(y) is x and f(x) is y
    assert f.with_cache(1) is f and f.with_cache(0)._cache_size == 0
    both = D.ComposeTransform([D.AffineTransform(1.0, 2.0), D.ExpTransform()], cache_size=1)
    assert both.inv(both(x)) is x
    assert pickle.loads(pickle.dumps(D.ExpTransform())) == D.ExpTransform()


def test_equality() -> None:
    assert D.ExpTransform() == D.ExpTransform() and D.ExpTransform() != D.TanhTransform()
    assert D.AffineTransform(0, 1) == D.AffineTransform(0, 1) and D.AffineTransform(
        0, 1
    ) != D.AffineTransform(0, 2)
    assert D.ExpTransform().inv == D.ExpTransform().inv and D.ExpTransform().inv != D.ExpTransform()
    assert D.PowerTransform(2.0) == D.PowerTransform(2.0) and D.PowerTransform(2.0) != D.PowerTransform(3.0)


REGIONS = {
    "real": constraints.real,
    "positive": constraints.positive,
    "nonnegative": constraints.nonnegative,
    "greater": constraints.greater_than(2.0),
    "less": constraints.less_than(-1.0),
    "unit": constraints.unit_interval,
    "interval": constraints.interval(-1.0, 3.0),
    "half open": constraints.half_open_interval(-1.0, 3.0),
    "simplex": constraints.simplex,
    "vector": constraints.real_vector,
    "independent": constraints.independent(constraints.positive, 1),
    "correlation": constraints.corr_cholesky,
    "cat": constraints.cat([constraints.positive, constraints.real], dim=-1, lengths=[2, 1]),
    "stack": constraints.stack([constraints.positive, constraints.real, constraints.unit_interval], dim=-1),
    "lower": constraints.lower_cholesky,
    "definite": constraints.positive_definite,
}


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_registry(name: str, registry: str) -> None:
    region = REGIONS[name]
    if name in ("lower", "definite"):
        if registry == "biject_to":
            with pytest.raises(NotImplementedError, match="Cannot transform"):
                D.biject_to(region)
            return
        x = flambeau.tensor([[0.3, 0.7], [-1.0, 0.2]], dtype=F64)
    else:
        x = t([-1.3, 0.2, 0.8], [0.1, -2.0, 1.0])
    f = getattr(D, registry)(region)
    y = f(x)
    assert region.check(y).all()
    if f.bijective and registry == "biject_to":
        assert flambeau.allclose(f.inv(y), x)


def test_registering() -> None:
    class Odd(constraints.Constraint):
        def check(self, value: Any) -> Any:
            return value % 2 == 1

    D.transform_to.register(Odd, lambda c: D.AffineTransform(1.0, 2.0))
    assert D.transform_to(Odd()) == D.AffineTransform(1.0, 2.0)
    with pytest.raises(TypeError, match="Constraint subclass"):
        D.transform_to.register(3, lambda c: c)


CHECKS = [
    (constraints.boolean, [0.0, 1.0, 0.5], [True, True, False]),
    (constraints.nonnegative_integer, [0.0, -1.0, 2.5], [True, False, False]),
    (constraints.positive_integer, [0.0, 1.0], [False, True]),
    (constraints.integer_interval(-1, 2), [-1.0, 2.0, 3.0, 0.5], [True, True, False, False]),
    (constraints.real, [float("nan"), 1.0], [False, True]),
    (constraints.half_open_interval(0, 1), [0.0, 1.0], [True, False]),
    (constraints.one_hot, [[0.0, 1.0], [1.0, 1.0], [0.5, 0.5]], [True, False, False]),
    (constraints.simplex, [[0.5, 0.5], [0.5, 0.6], [1.5, -0.5]], [True, False, False]),
    (constraints.multinomial(3), [[1.0, 2.0], [2.0, 2.0], [-1.0, 1.0]], [True, False, False]),
    (constraints.lower_triangular, [[[1.0, 0.0], [2.0, 3.0]], [[1.0, 1.0], [2.0, 3.0]]], [True, False]),
    (constraints.lower_cholesky, [[[1.0, 0.0], [2.0, 3.0]], [[-1.0, 0.0], [2.0, 3.0]]], [True, False]),
    (constraints.corr_cholesky, [[[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.6, 0.9]]], [True, False]),
    (constraints.symmetric, [[[1.0, 2.0], [2.0, 1.0]]], [True]),
    (constraints.square, [[[1.0, 2.0]]], [False]),
    (constraints.positive_semidefinite, [[[1.0, 1.0], [1.0, 1.0]]], [True]),
    (constraints.positive_definite, [[[1.0, 0.0], [0.0, 1.0]]], [True]),
    (constraints.positive_definite, [[[1.0, 2.0], [2.0, 1.0]]], [False]),
]


@pytest.mark.parametrize("region,values,expected", CHECKS, ids=lambda v: repr(v)[:30])
def test_checks(region: Any, values: Any, expected: Any) -> None:
    assert region.check(flambeau.tensor(values)).tolist() == expected


def test_dependent() -> None:
    assert constraints.is_dependent(constraints.dependent) and not constraints.is_dependent(constraints.real)
    with pytest.raises(ValueError, match="dependent"):
        constraints.dependent.check(t(1.0))
    with pytest.raises(NotImplementedError):
        _ = constraints.dependent.event_dim
    assert constraints.dependent(event_dim=2).event_dim == 2
    assert D.Uniform.support.event_dim == 0 and not D.Uniform.support.is_discrete
