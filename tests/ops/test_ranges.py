"""`arange`, `linspace`, `logspace` and `range`, to the last bit."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import flambeau

FLOATING = ["float32", "float64", "float16", "bfloat16"]
DTYPES = [*FLOATING, "int64", "int32", "int8", "uint8", "complex64", "complex128"]
SIZES = [0, 1, 2, 3, 5, 8, 9, 16, 17, 31, 33, 64, 101, 1000, 4097]


def bits(t: Any, lib: Any) -> Any:
    return t.to(lib.complex128).numpy()


def same(call: Any) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine, theirs = call(flambeau), call(torch)
    assert str(mine.dtype) == str(theirs.dtype)
    np.testing.assert_array_equal(bits(mine, flambeau), bits(theirs, torch))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_linspace(dtype: str, n: int) -> None:
    for start, end in ((0, 1), (-1, 7.3), (3.3, -0.1), (0.1, 0.7), (5, 120)):
        if dtype == "uint8" and min(start, end) < 0:
            continue
        same(lambda lib, a=start, b=end: lib.linspace(a, b, n, dtype=getattr(lib, dtype)))


@pytest.mark.parametrize("dtype", DTYPES[:-2])
def test_arange(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for start, end in ((0, 1), (-1, 1), (0.1, 100), (-3.3, 50.7), (0, 3000)):
        if dtype in ("uint8", "int8") and (start < 0 or end > 100):
            continue
        steps = (1, 2, 3) if "int" in dtype else (0.1, 1 / 3, 0.5, 0.7, *rng.uniform(0.05, 3, 5))
        for step in steps:
            same(lambda lib, a=start, b=end, s=step: lib.arange(a, b, s, dtype=getattr(lib, dtype)))
            if dtype in FLOATING:
                same(lambda lib, a=start, b=end, s=step: lib.arange(b, a, -s, dtype=getattr(lib, dtype)))
                same(lambda lib, a=start, b=end, s=step: lib.range(a, b, s, dtype=getattr(lib, dtype)))


@pytest.mark.parametrize("n", [n for n in SIZES if n < 2000])
@pytest.mark.parametrize("dtype", DTYPES[:-2])
def test_logspace(dtype: str, n: int) -> None:
    for base, start, end in ((10.0, 0, 2), (2.0, 0.3, 3), (2.718281828, 0.1, 2.2), (0.5, 3, 0)):
        if "int" in dtype and base != 2:
            continue
        same(lambda lib, a=start, b=end, c=base: lib.logspace(a, b, n, base=c, dtype=getattr(lib, dtype)))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", FLOATING)
def test_long_ranges_in_parts(dtype: str, threads: int) -> None:
    torch = pytest.importorskip("torch")
    before = flambeau.get_num_threads(), torch.get_num_threads()
    for _ in range(3):  # with and without kernels
        try:
            flambeau.set_num_threads(threads)
            torch.set_num_threads(threads)
            same(lambda lib: lib.arange(-3, 70000 * 0.7, 0.7, dtype=getattr(lib, dtype)))
            if dtype != "float16":
                same(lambda lib: lib.linspace(-1, 7.3, 70001, dtype=getattr(lib, dtype)))
        finally:
            flambeau.set_num_threads(before[0])
            torch.set_num_threads(before[1])


def test_one_rounding_for_each_number() -> None:
    start, end, n = 0.1, 0.7, 101
    step = (end - start) / (n - 1)
    y = flambeau.linspace(start, end, n, dtype=flambeau.float64).tolist()
    for i in range(n):
        at = (
            (Fraction(start) + Fraction(step) * i)
            if i < n // 2
            else Fraction(end) - Fraction(step) * (n - 1 - i)
        )
        assert y[i] == float(at)
    z = flambeau.arange(0, 1, 0.1, dtype=flambeau.float64).tolist()
    assert z[8:] == [float(Fraction(0.1) * 8), float(Fraction(0.1) * 9)]
    third = flambeau.arange(-1, 1, 1 / 3)  # -1 + 3 / 3 is not zero: a third is rounded
    assert third[3].item() == float(np.float32(float(Fraction(1 / 3) * 3 - 1)))
