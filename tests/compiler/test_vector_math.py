"""Accuracy over the whole range, against mpmath, and against float64 for many more float32 numbers."""

import math

import mpmath as mp
import numpy as np
import pytest
from scipy import special

pytest.importorskip("llvmlite")
from flambeau.compiler.pointwise import pointwise_kernel

UNARY = {
    "exp": (np.exp, mp.exp),
    "expm1": (np.expm1, mp.expm1),
    "log": (np.log, mp.log),
    "log1p": (np.log1p, mp.log1p),
    "sin": (np.sin, mp.sin),
    "cos": (np.cos, mp.cos),
    "tanh": (np.tanh, mp.tanh),
    "erf": (special.erf, mp.erf),
}
SPECIAL = [
    0.0,
    -0.0,
    math.inf,
    -math.inf,
    math.nan,
    1.0,
    -1.0,
    1e-45,
    -1e-45,
    1e-38,
    3e38,
    -3e38,
    88.72,
    -103.9,
]
SPECIAL += [
    5e-324,
    1e308,
    -1e308,
    709.78,
    -745.1,
    0.6249999,
    0.625,
    0.925,
    2.0**-24,
    -0.99999994,
    math.pi / 2,
]
SPECIAL += [math.pi, 1e5, 99999.99, 1e6, 1e22, math.log(2) / 2, math.sqrt(2), math.sqrt(0.5), 4.0, 6.0, 2.0]


def unary(name, dtype):
    return pointwise_kernel(lambda k, x: getattr(k, name)(x), [dtype], [dtype])


def samples(dtype, count, seed=0):
    """Every exponent alike, then the range in which the functions bend."""
    rng = np.random.default_rng(seed)
    bits = np.uint32 if dtype == np.float32 else np.uint64
    anywhere = rng.integers(0, np.iinfo(bits).max, count, dtype=bits, endpoint=True).view(dtype)
    middle = np.concatenate([rng.normal(0, s, count) for s in (0.5, 3.0, 60.0)]).astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.concatenate([anywhere, middle, np.array(SPECIAL).astype(dtype)])


def ulps(result, exact):
    """Distance in units of the last place of the rounded exact value; equal infinities and NaN count as 0."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(result.dtype)
        spacing = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1))).astype(exact.dtype)
        error = np.abs(result.astype(exact.dtype) - exact) / spacing
    same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    return np.where(same, 0.0, error)


@pytest.mark.parametrize("name", UNARY)
def test_float32_functions_are_within_two_ulp(name):
    x = samples(np.float32, 100_000)
    out = np.empty_like(x)
    unary(name, np.float32)(out, x)
    with np.errstate(all="ignore"):
        exact = UNARY[name][0](x.astype(np.float64))
    error = ulps(out, exact)
    worst = int(np.nanargmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= 2, (x[worst], out[worst], exact[worst])
    zeros = np.array([0.0, -0.0], np.float32)
    unary(name, np.float32)(out[:2], zeros)
    with np.errstate(divide="ignore"):
        assert (np.signbit(out[:2]) == np.signbit(UNARY[name][0](zeros))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_functions_are_within_two_ulp_of_mpmath(name, dtype):
    x = samples(dtype, 400)
    out = np.empty_like(x)
    unary(name, dtype)(out, x)
    numpy_function, exact_function = UNARY[name]
    for value, result in zip(x, out, strict=True):
        with np.errstate(all="ignore"):
            rough = dtype(numpy_function(np.float64(value)))
        if not math.isfinite(rough) or rough == 0 or abs(value) > 1e300:
            if name in ("sin", "cos") and math.isfinite(value):
                assert abs(result - rough) < 1e-15
            else:
                assert result == rough or (math.isnan(result) and math.isnan(rough)), (value, result, rough)
            continue
        with mp.workprec(400):
            exact = exact_function(mp.mpf(float(value)))
            error = abs(mp.mpf(float(result)) - exact) / mp.mpf(float(np.spacing(abs(rough))))
            assert error <= 2, (value, result, float(exact), float(error))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_are_within_two_ulp_of_mpmath(dtype):
    rng = np.random.default_rng(2)
    x = np.exp(rng.normal(0, 10, 500)).astype(dtype)
    y = rng.normal(0, 3, 500).astype(dtype)
    out = np.empty_like(x)
    pointwise_kernel(lambda k, p, q: k.pow(p, q), [dtype] * 2, [dtype])(out, x, y)
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    for base, power, result in zip(x, y, out, strict=True):
        with mp.workprec(400):
            exact = mp.mpf(float(base)) ** mp.mpf(float(power))
            if tiny < exact < huge:
                error = abs(mp.mpf(float(result)) - exact) / mp.mpf(float(np.spacing(dtype(float(exact)))))
                assert error <= 2, (base, power, result, float(exact), float(error))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_power(dtype):
    rng = np.random.default_rng(1)
    n = 50_000
    x = np.concatenate([np.exp(rng.normal(0, 20, n)), -np.exp(rng.normal(0, 3, n)), rng.uniform(0.5, 2, n)])
    y = np.concatenate([rng.normal(0, 3, n), np.round(rng.normal(0, 4, n)), rng.normal(0, 60, n)])
    edge = np.array(
        [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, math.inf, -math.inf, math.nan, 1e-40, 3e7]
    )
    a, b = np.meshgrid(edge, edge)
    x, y = (np.concatenate([u, v.ravel()]).astype(dtype) for u, v in ((x, a), (y, b)))
    out = np.empty_like(x)
    pointwise_kernel(lambda k, p, q: k.pow(p, q), [dtype] * 2, [dtype])(out, x, y)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y.astype(np.float64))
    error = ulps(out, exact)
    worst = int(np.nanargmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= 2, (x[worst], y[worst], out[worst], exact[worst])
    rows = slice(-len(a.ravel()), None)
    finite = ~np.isnan(exact[rows])
    assert (np.signbit(out[rows]) == np.signbit(exact[rows]))[finite].all()
