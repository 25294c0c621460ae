"""Checks of values hold inside transforms, too: out-of-range input raises there as it does outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.func import grad, hessian, jvp, vmap

F = nn.functional
X = torch.tensor([0.5, 0.25, 0.75])
CLASSES = torch.tensor([0, 1, 7])

BAD: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "classes that are too large": (lambda x: F.one_hot(CLASSES + (x * 0).long(), 3) * x.sum(), RuntimeError),
    "negative classes": (lambda x: F.one_hot(-CLASSES + (x * 0).long(), 8) * x.sum(), RuntimeError),
    "probabilities above one": (lambda x: F.binary_cross_entropy(x * 4, torch.ones(3)), RuntimeError),
    "a negative variance": (lambda x: F.gaussian_nll_loss(x, x, x - 0.5), ValueError),
    "a target out of range": (lambda x: F.multi_margin_loss(x, CLASSES[2] + (x[0] * 0).long()), RuntimeError),
    "negative counts": (lambda x: torch.bincount(-CLASSES + (x * 0).long(), minlength=9) * x.sum(), RuntimeError),
    "negative weights": (lambda x: torch.cov(torch.ones(2, 3) * x, aweights=x - 0.5), RuntimeError),
    "a quantile above one": (lambda x: torch.quantile(x, x[0] + 1), RuntimeError),
    "too few elements": (lambda x: torch.masked_scatter(x, x > 0, x[:1]), RuntimeError),
    "a distribution's parameter": (lambda x: torch.distributions.Normal(0.0, x - 0.5).log_prob(x), ValueError),
}  # fmt: skip
TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "grad": lambda f: grad(lambda x: f(x).sum())(X),
    "jvp": lambda f: jvp(f, (X,), (X,)),
    "hessian": lambda f: hessian(lambda x: f(x).sum())(X),
    "vmap": lambda f: vmap(f)(torch.stack([X, X])),
    "vmap of grad": lambda f: vmap(grad(lambda x: f(x).sum()))(torch.stack([X, X])),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", BAD)
def test_bad_values_raise(name: str, transform: str) -> None:
    f, error = BAD[name]
    with pytest.raises(error):
        f(X)
    with pytest.raises(error) as found:
        TRANSFORMS[transform](f)
    assert len(str(found.value)) > 15


def test_what_only_one_example_does() -> None:
    """One bad example of a batch is enough."""
    rows = torch.tensor([[0.5, 0.25], [0.5, 1.25]])
    with pytest.raises(RuntimeError, match="between 0 and 1"):
        vmap(lambda x: F.binary_cross_entropy(x, torch.ones(2)))(rows)
    masks = torch.tensor([[True, False], [True, True]])
    with pytest.raises(RuntimeError, match="masked_scatter"):
        vmap(lambda x, m: torch.masked_scatter(x, m, x[:1]))(rows, masks)
    # three elements are needed in all, one by each example
    ones = torch.eye(3, dtype=torch.bool)
    assert (
        vmap(lambda m: torch.masked_scatter(torch.zeros(3), m, torch.ones(1)))(ones).tolist() == ones.tolist()
    )


def test_distinct_elements_inside_grad() -> None:
    assert grad(lambda x: (torch.unique(torch.tensor([3, 1, 3])) * x).sum())(torch.tensor(2.0)) == 4.0
    assert (
        grad(lambda x: x * torch.unique_consecutive((x * 0).long() + CLASSES).sum())(torch.tensor(2.0)) == 8.0
    )
    for f in (torch.unique, torch.unique_consecutive):
        with pytest.raises(RuntimeError, match="shape depends on the data"):
            vmap(f)(torch.ones(2, 3))
