"""Writes through views that show an element twice, under no_grad, and views taken in place of leaves."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.func import grad, jacrev, jvp, vmap

WINDOWS = {
    "expanded, then one row": lambda y: y.expand(2, *y.shape)[0],
    "a window": lambda y: y.unfold(0, 3, 1)[1],
    "a diagonal of windows": lambda y: y.expand(5, 5).diagonal(),
    "strided": lambda y: y.as_strided((2, 3), (1, 1))[1],
}


def scaled(view):
    def f(x):
        y = x * 1
        view(y).mul_(3)
        return y

    return f


@pytest.mark.parametrize("view", WINDOWS.values(), ids=WINDOWS)
def test_writes_through_a_view_of_repeated_elements(view):
    """The result is linear in x with factors 3 and 1, so value and derivatives follow from the written places."""
    x = torch.arange(1.0, 6.0, dtype=torch.float64)
    touched = np.zeros(5)
    view(torch.from_numpy(touched)).add_(1)
    factor = torch.from_numpy(np.where(touched > 0, 3.0, 1.0))
    f = scaled(view)

    leaf = x.clone().requires_grad_()
    y = f(leaf)
    assert y.equal(x * factor)
    y.sum().backward()
    assert leaf.grad.equal(factor)
    assert jacrev(f)(x).equal(torch.diag(factor))
    value, tangent = jvp(f, (x,), (torch.ones_like(x),))
    assert value.equal(x * factor) and tangent.equal(factor)
    assert vmap(f)(torch.stack([x, 2 * x])).equal(torch.stack([x, 2 * x]) * factor)


def test_expanded_tensors_are_not_written():
    x = torch.ones(3)
    for run in (scaled(lambda y: y.expand(2, 3)), lambda x: vmap(scaled(lambda y: y.expand(2, 3)))(x[None])):
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            run(x)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        jvp(scaled(lambda y: y.expand(2, 3)), (x,), (x,))
    y = torch.ones(2, 3)
    y.expand(4, 2, 3)[0] = 5.0  # a part that shows each element once
    assert y.equal(torch.full((2, 3), 5.0))


def test_writes_under_no_grad_keep_the_history_inside_transforms():
    def f(x):
        y = x * 2
        with torch.no_grad():
            y.pow_(2)
            y[0] = 7
        return (y * y).sum()

    x = torch.tensor([1.0, 3.0])
    eager = x.clone().requires_grad_()
    f(eager).backward()
    assert eager.grad.equal(torch.tensor([28.0, 144.0]))  # 2 y * 2, with y = 7 and 36
    assert grad(f)(x).equal(eager.grad)
    assert vmap(grad(f))(x[None])[0].equal(eager.grad)


def test_views_taken_in_place_under_no_grad():
    p = torch.nn.Parameter(torch.ones(2, 3))
    with torch.no_grad():
        p.unsqueeze_(0)
    assert p.requires_grad and p.is_leaf and p._version == 1
    (2 * p).sum().backward()
    assert p.grad.equal(torch.full((1, 2, 3), 2.0))

    x = torch.ones(2, 3, requires_grad=True)
    y = x * 1
    with torch.no_grad():
        y.t_()
    (y * torch.arange(2.0)).sum().backward()
    assert x.grad.equal(torch.tensor([[0.0] * 3, [1.0] * 3]))


def test_a_view_taken_in_place_counts_as_a_write():
    x = torch.ones(2, 3, requires_grad=True)
    y = x * 1
    z = y * y
    y.t_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()
