"""Reductions at special points."""

import flambeau as torch


def test_the_gradient_of_std_is_zero_where_all_observations_are_equal():
    """The subgradient that PyTorch takes, too; the chain rule through the root alone gives NaN there."""
    x = torch.tensor([[0.1, 0.1, 0.1], [1.0, 2.0, 4.0]], requires_grad=True)
    for std in (lambda t: t.std(1), lambda t: torch.std_mean(t, 1)[0]):
        (grad,) = torch.autograd.grad(std(x).sum(), x)
        assert grad[0].equal(torch.zeros(3)) and grad[1].abs().sum() > 0
        assert torch.func.jvp(std, (x.detach(),), (torch.arange(6.0).reshape(2, 3),))[1][0] == 0
    z = torch.ones(3, dtype=torch.complex64, requires_grad=True)
    z.std().backward()
    assert z.grad.equal(torch.zeros(3, dtype=torch.complex64))
