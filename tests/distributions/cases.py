"""One or more instances of every distribution, built with any library that has PyTorch's interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

A = np.array
SPD = A([[2.0, 0.3, 0.1], [0.3, 1.5, -0.2], [0.1, -0.2, 0.8]])
PROBS = A([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])

# name of the class, tensor arguments (made with requires_grad), other arguments
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "bernoulli": ("Bernoulli", {"probs": A([0.2, 0.5, 0.9])}, {}),
    "bernoulli logits": ("Bernoulli", {"logits": A([-1.0, 0.3])}, {}),
    "beta": ("Beta", {"concentration1": A([0.5, 2.0, 7.0]), "concentration0": A([0.7, 3.0, 1.0])}, {}),
    "binomial": ("Binomial", {"probs": A([0.2, 0.7])}, {"total_count": 12}),
    "binomial logits": ("Binomial", {"logits": A([-0.4, 0.7])}, {"total_count": 40}),
    "categorical": ("Categorical", {"probs": PROBS}, {}),
    "categorical logits": ("Categorical", {"logits": A([0.1, -2.0, 1.0, 0.0])}, {}),
    "cauchy": ("Cauchy", {"loc": A([0.0, 1.0]), "scale": A([1.0, 2.5])}, {}),
    "chi2": ("Chi2", {"df": A([0.7, 3.0, 20.0])}, {}),
    "continuous_bernoulli": ("ContinuousBernoulli", {"probs": A([0.2, 0.5, 0.4995, 0.9])}, {}),
    "dirichlet": ("Dirichlet", {"concentration": A([[0.5, 1.0, 2.0], [3.0, 0.2, 4.0]])}, {}),
    "exponential": ("Exponential", {"rate": A([0.5, 2.0])}, {}),
    "fisher": ("FisherSnedecor", {"df1": A([3.0, 8.0]), "df2": A([6.0, 3.5])}, {}),
    "gamma": ("Gamma", {"concentration": A([0.3, 1.0, 9.0]), "rate": A([1.0, 0.5, 3.0])}, {}),
    "generalized_pareto": (
        "GeneralizedPareto",
        {"loc": A([0.0, 1.0, 0.5]), "scale": A([1.0, 2.0, 0.7]), "concentration": A([0.2, 0.0, -0.3])},
        {},
    ),
    "geometric": ("Geometric", {"probs": A([0.2, 0.7])}, {}),
    "geometric logits": ("Geometric", {"logits": A([-0.2, 0.7])}, {}),
    "gumbel": ("Gumbel", {"loc": A([0.0, -1.0]), "scale": A([1.0, 0.3])}, {}),
    "half_cauchy": ("HalfCauchy", {"scale": A([1.0, 0.3])}, {}),
    "half_normal": ("HalfNormal", {"scale": A([1.0, 0.3])}, {}),
    "inverse_gamma": ("InverseGamma", {"concentration": A([2.5, 6.0]), "rate": A([1.0, 0.3])}, {}),
    "kumaraswamy": ("Kumaraswamy", {"concentration1": A([2.0, 1.5]), "concentration0": A([3.0, 1.2])}, {}),
    "laplace": ("Laplace", {"loc": A([0.0, -1.0]), "scale": A([1.0, 0.3])}, {}),
    "lkj": ("LKJCholesky", {"concentration": A([0.5, 2.0])}, {"dim": 4}),
    "logistic_normal": ("LogisticNormal", {"loc": A([[0.0, 0.5], [1.0, -1.0]]), "scale": A([1.0, 0.3])}, {}),
    "log_normal": ("LogNormal", {"loc": A([0.0, -1.0]), "scale": A([1.0, 0.3])}, {}),
    "lowrank": (
        "LowRankMultivariateNormal",
        {
            "loc": A([[0.0, 1.0, 2.0]] * 2),
            "cov_factor": A([[1.0, 0.2], [0.3, -1.0], [0.5, 0.5]]),
            "cov_diag": A([0.5, 1.0, 2.0]),
        },
        {},
    ),
    "multinomial": ("Multinomial", {"probs": PROBS}, {"total_count": 7}),
    "mvn": ("MultivariateNormal", {"loc": A([[0.0, 1.0, 2.0]] * 2), "covariance_matrix": SPD}, {}),
    "mvn precision": ("MultivariateNormal", {"loc": A([0.0, 1.0, 2.0]), "precision_matrix": SPD}, {}),
    "mvn tril": (
        "MultivariateNormal",
        {"loc": A([0.0, 1.0, 2.0]), "scale_tril": np.stack([np.linalg.cholesky(SPD)] * 2)},
        {},
    ),
    "negative_binomial": ("NegativeBinomial", {"probs": A([0.2, 0.7])}, {"total_count": 5}),
    "normal": ("Normal", {"loc": A([0.0, -1.0]), "scale": A([1.0, 0.3])}, {}),
    "one_hot": ("OneHotCategorical", {"probs": PROBS}, {}),
    "straight_through": ("OneHotCategoricalStraightThrough", {"logits": np.log(PROBS)}, {}),
    "pareto": ("Pareto", {"scale": A([1.0, 0.3]), "alpha": A([2.5, 1.5])}, {}),
    "poisson": ("Poisson", {"rate": A([0.5, 20.0])}, {}),
    "relaxed_bernoulli": ("RelaxedBernoulli", {"temperature": A([0.7]), "probs": A([0.2, 0.6])}, {}),
    "relaxed_categorical": ("RelaxedOneHotCategorical", {"temperature": A([0.7]), "probs": PROBS}, {}),
    "student_t": ("StudentT", {"df": A([0.8, 1.5, 5.0]), "loc": A(0.5), "scale": A([1.0, 2.0, 0.4])}, {}),
    "uniform": ("Uniform", {"low": A([0.0, -1.0]), "high": A([1.0, 0.5])}, {}),
    "von_mises": ("VonMises", {"loc": A([0.0, -1.0, 3.0]), "concentration": A([0.2, 4.0, 30.0])}, {}),
    "weibull": ("Weibull", {"scale": A([1.0, 0.3]), "concentration": A([1.5, 3.0])}, {}),
    "wishart": ("Wishart", {"df": A([4.0, 9.0]), "covariance_matrix": SPD}, {}),
    "wishart tril": ("Wishart", {"df": A(5.0), "scale_tril": np.linalg.cholesky(SPD)}, {}),
}


def make(
    lib: Any, name: str, grad: bool = False, dtype: str = "float64", **more: Any
) -> tuple[Any, list[Any]]:
    """The distribution of a case in library `lib`, and its parameters as leaves."""
    cls, tensors, others = CASES[name]
    leaves = {
        k: lib.tensor(v.tolist(), dtype=getattr(lib, dtype), requires_grad=grad) for k, v in tensors.items()
    }
    return getattr(lib.distributions, cls)(**leaves, **others, **more), list(leaves.values())


COMPOSED: dict[str, Callable[[Any], Any]] = {
    "independent": lambda t: t.distributions.Independent(
        t.distributions.Normal(t.zeros(2, 3), t.tensor([1.0, 2.0, 3.0])), 1
    ),
    "mixture": lambda t: t.distributions.MixtureSameFamily(
        t.distributions.Categorical(t.tensor([[0.2, 0.8], [0.5, 0.5], [0.1, 0.9]])),
        t.distributions.Normal(t.tensor([0.0, 2.0]).expand(3, 2), t.tensor([1.0, 0.5])),
    ),
    "mixture of vectors": lambda t: t.distributions.MixtureSameFamily(
        t.distributions.Categorical(t.tensor([0.2, 0.8])),
        t.distributions.Independent(t.distributions.Normal(t.tensor([[0.0, 1.0], [2.0, 3.0]]), 1.0), 1),
    ),
    "sigmoid of normal": lambda t: t.distributions.TransformedDistribution(
        t.distributions.Normal(t.zeros(3), 1.0),
        [
            t.distributions.AffineTransform(1.0, t.tensor([-1.0, 2.0, 0.5])),
            t.distributions.SigmoidTransform(),
        ],
    ),
    "stick breaking": lambda t: t.distributions.TransformedDistribution(
        t.distributions.Normal(t.zeros(2, 3), 1.0), t.distributions.StickBreakingTransform()
    ),
    "reshaped": lambda t: t.distributions.TransformedDistribution(
        t.distributions.Normal(t.zeros(4, 6), 1.0),
        [t.distributions.ReshapeTransform((6,), (2, 3)), t.distributions.ExpTransform()],
    ),
}
