"""Derivatives and values where formulas divide by zero, tie, or overflow; the reference values are PyTorch 2.13's."""

import functools
import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.nn import functional as F

INF = math.inf


def slope(fn, *values, wrt=0):
    xs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    return torch.autograd.grad(fn(*xs).sum(), xs[wrt])[0].tolist()


def test_binary_cross_entropy_of_certain_answers():
    assert slope(F.binary_cross_entropy, [0.0, 1.0], [0.0, 1.0]) == [0.0, 0.0]
    assert slope(F.binary_cross_entropy, [0.0], [1.0]) == [-1e12]
    with pytest.raises(RuntimeError, match="target should be between 0 and 1"):
        F.binary_cross_entropy(torch.tensor([0.5]), torch.tensor([1.5]))


def test_infinite_errors_have_the_slope_of_the_linear_part():
    for loss in (F.smooth_l1_loss, F.huber_loss):
        each = functools.partial(loss, reduction="none")
        assert slope(each, [0.0, 0.0, 0.5], [INF, -INF, 0.0]) == [-1, 1, 0.5]
        assert math.isnan(slope(each, [math.nan], [0.0])[0])


def test_angles_at_the_origin():
    for wrt in (0, 1):
        assert slope(torch.atan2, [0.0], [0.0], wrt=wrt) == [0.0]
    assert torch.angle(torch.tensor([-0.0, 0.0, -1.0, 1.0])).tolist() == [0, 0, np.float32(math.pi), 0]


def test_equal_elements_share_the_gradient_of_the_median():
    assert slope(torch.median, [1.0, 2.0, 2.0, 3.0, 0.0]) == [0, 0.5, 0.5, 0, 0]
    assert slope(torch.nanmedian, [1.0, math.nan, 1.0, 1.0]) == [1 / 3, 0, 1 / 3, 1 / 3]


def test_margins_that_are_met_exactly_have_no_slope():
    x = [[2.0, 1.0, 0.0]]
    assert slope(lambda t: F.multi_margin_loss(t, torch.tensor([0])), x) == [[0, 0, 0]]
    assert slope(lambda t: F.multilabel_margin_loss(t, torch.tensor([[0, -1, -1]])), x) == [[0, 0, 0]]


def test_small_and_negative_arguments():
    assert slope(lambda b: torch.pow(0.0, b), [-1.0, 2.0]) == [-INF, 0]
    x = torch.tensor([1e-30], requires_grad=True)  # its square is zero in single precision
    torch.sinc(x).backward()
    assert x.grad.item() == 0


def test_what_has_no_derivative_says_so():
    a, x = torch.tensor([0.5], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    for fn in (torch.special.gammainc, torch.special.gammaincc, torch.special.zeta):
        for second in (x, x.detach()):
            with pytest.raises(NotImplementedError, match="the derivative for"):
                fn(a + 1, second).backward()
        fn(a.detach() + 1, x).backward()


def test_numbers_of_numpy_count_as_numbers():
    x = torch.tensor([1, 2], dtype=torch.uint8)
    for y in (x + np.int64(3), np.int64(3) * x, torch.add(x, np.int32(2)), x & np.int64(1)):
        assert y.dtype is torch.uint8
    assert (x.int() * np.int64(2)).dtype is torch.int32


def test_zero_dim_complex_tensors_keep_the_precision_of_the_others():
    z = torch.tensor(1j, dtype=torch.complex128)
    for op in (torch.add, torch.div, torch.pow):
        assert op(torch.ones(2), z).dtype is torch.complex64
        assert op(torch.ones(2, dtype=torch.float64), z).dtype is torch.complex128


def test_powers_and_differences_that_pytorch_refuses():
    n = torch.tensor([1, 2])
    for power in (lambda: n**-1, lambda: torch.pow(n, -2), lambda: n.clone().pow_(-1)):
        with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed"):
            power()
    mask = torch.tensor([True, False])
    for difference in (
        lambda: 1 - mask,
        lambda: mask - 1,
        lambda: n - True,
        lambda: mask - mask,
        lambda: n.sub_(True),
    ):
        with pytest.raises(RuntimeError, match="Subtraction, the `-` operator"):
            difference()
    assert (mask**True).equal(mask)


def test_values_of_another_dtype_are_not_put_under_indices():
    x = torch.zeros(3)
    with pytest.raises(RuntimeError, match="source and destination dtypes match"):
        x[torch.tensor([0, 1])] = torch.ones(2, dtype=torch.float64)
    x[torch.tensor([True, False, True])] = torch.tensor(2)  # one number under a mask: converted
    x[1:2] = torch.ones(1, dtype=torch.float64)  # a slice: converted
    assert x.tolist() == [2, 1, 2]


def test_conversions_at_the_ends_of_the_range():
    big = torch.tensor([1e5, -INF, 449.0, 1.0, math.nan])
    assert big.to(torch.float8_e4m3fn).float().tolist()[:4] == [448, -448, 448, 1]
    assert big.to(torch.float8_e4m3fn).isnan().tolist()[4]
    assert torch.tensor([-1, 3], dtype=torch.uint8).tolist() == [255, 3]
    with pytest.raises(RuntimeError, match="without overflow"):
        torch.tensor([-256], dtype=torch.uint8)
    assert torch.ones(1, dtype=torch.uint16).type() == "torch.UInt16Tensor"


def test_searching_converts_to_a_common_dtype():
    edges = torch.tensor([1, 3, 5])
    assert torch.searchsorted(edges, torch.tensor([2.5, 3.0])).tolist() == [1, 1]
    assert torch.bucketize(torch.tensor([3.5], dtype=torch.float64), torch.tensor([1.0, 3.0])).tolist() == [2]


def test_results_lie_forward_in_memory():
    assert torch.multinomial(torch.ones(3, 5), 2).stride() == (2, 1)


def test_tensors_without_dims():
    x = torch.tensor(1.0)
    assert x.movedim(0, -1).shape == ()
    with pytest.raises(IndexError, match="no dimensions"):
        x.unflatten(0, (1, 1))
    assert torch.combinations(torch.ones(4), 0).shape == (0,)
    assert torch.ones(0, dtype=torch.bool).median().item() is True


def test_resolution_is_a_power_of_ten():
    dtypes = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2)
    assert [torch.finfo(d).resolution for d in dtypes] == [1e-3, 1e-2, 1e-6, 1e-15, 1]
