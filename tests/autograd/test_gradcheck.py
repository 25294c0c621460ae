"""gradcheck finds what is wrong: each rule that it checks, broken once."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from flambeau.autograd import Function, gradcheck, gradgradcheck


def doubles(*shape: int, **options: Any) -> Any:
    return torch.rand(*shape, dtype=torch.float64, **options).requires_grad_()


def altered(backward: Any, jvp: Any = None) -> Any:
    class Altered(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    Altered.backward = staticmethod(lambda ctx, g: backward(g))
    if jvp is not None:
        Altered.jvp = staticmethod(lambda ctx, t: jvp(t))
    return Altered.apply


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (altered(lambda g: g * 2.1), "Jacobian mismatch for output 0 with respect to input 0"),
        (altered(lambda g: g * 2 + 1e-7), "backward not multiplied by grad_output"),
        (altered(lambda g: g * (2 + 1e-6 * torch.rand_like(g))), "Backward is not reentrant"),
    ],
)
def test_backward_rules_that_are_wrong(fn: Any, message: str, fast_mode: bool) -> None:
    x = doubles(3)
    with pytest.raises(torch.autograd.GradcheckError, match=message):
        gradcheck(fn, (x,), fast_mode=fast_mode)
    assert not gradcheck(fn, (x,), fast_mode=fast_mode, raise_exception=False)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_forward_rules_that_are_wrong(fast_mode: bool) -> None:
    right = altered(lambda g: g * 2, lambda t: t * 2)
    wrong = altered(lambda g: g * 2, lambda t: t * 3)
    x = doubles(3)
    assert gradcheck(right, x, check_forward_ad=True, fast_mode=fast_mode)
    assert gradcheck(wrong, x, fast_mode=fast_mode)
    with pytest.raises(
        RuntimeError, match="computed with forward mode mismatch for output 0 with respect to input 0"
    ):
        gradcheck(wrong, x, check_forward_ad=True, fast_mode=fast_mode)
    with pytest.raises(RuntimeError, match="computed with forward mode"):
        gradcheck(wrong, x, check_forward_ad=True, check_backward_ad=False, fast_mode=fast_mode)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_right_ones(fast_mode: bool) -> None:
    options = dict(
        fast_mode=fast_mode, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    x, y, z = doubles(2, 3), doubles(3), torch.rand(2, 3, dtype=torch.complex128).requires_grad_()
    assert gradcheck(lambda x, y: (x * y, x.sum()), (x, y), **options)
    assert gradcheck(lambda z, y: (z * y, z.abs(), z.real), (z, y), **options)
    assert gradcheck(lambda x, n: x**n, (x, 3), **options)
    assert gradgradcheck(lambda x, y: (x * y).exp(), (x, y), fast_mode=fast_mode, check_fwd_over_rev=True)
    assert gradgradcheck(lambda z: z * z, (z,), gen_non_contig_grad_outputs=True, fast_mode=fast_mode)
    assert gradcheck(lambda x: torch.ones(2, dtype=torch.float64), (x,), fast_mode=fast_mode)
    with pytest.raises(RuntimeError, match="expected to be zero"):
        gradcheck(lambda x: x.detach() * 2, (x,), fast_mode=fast_mode)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_sparse_inputs(layout: Any) -> None:
    dense = torch.tensor([[0.5, 0.0, 2.0], [0.0, 1.5, 0.0]], dtype=torch.float64)
    x = dense.to_sparse(layout=layout).requires_grad_()
    for fast_mode in (False, True):
        assert gradcheck(lambda x: x.to_dense(), (x,), masked=True, fast_mode=fast_mode)
        assert gradcheck(lambda x: x.to_dense() ** 2, (x,), masked=True, fast_mode=fast_mode)
    with pytest.raises(ValueError, match="Sparse output is not supported"):
        gradcheck(lambda x: x * 2, (x,), masked=True)


def test_bad_arguments() -> None:
    x = doubles(2)
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(torch.sin, (x.detach(),), raise_exception=False)
    with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
        gradcheck(torch.sin, (doubles(1).expand(3),), raise_exception=False)
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
        gradcheck(torch.sin, (torch.rand(2, requires_grad=True),), atol=1e-1)
    with pytest.raises(AssertionError, match="at least one of"):
        gradcheck(torch.sin, (x,), check_backward_ad=False)
    with pytest.raises(AssertionError, match="requires check_forward_ad"):
        gradcheck(torch.sin, (x,), check_batched_forward_grad=True)

    def changes_shape(x: Any) -> Any:
        return torch.cat([x, x]) if bool((x >= 1).all()) else x

    with pytest.raises(AssertionError, match="same shape when inputs are perturbed"):
        gradcheck(changes_shape, (torch.ones(1, dtype=torch.float64, requires_grad=True),))
    with pytest.raises(ValueError, match="mine"):
        gradcheck(lambda x: (_ for _ in ()).throw(ValueError("mine")), (x,), raise_exception=False)
