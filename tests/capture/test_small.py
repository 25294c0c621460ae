"""Programs over small arrays as one function, against the graph run by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.capture.lower.small import compile_small
from flambeau.compiler.types import UnsupportedError


def program_of(f: Any, *args: Any) -> Any:
    """The replayed program of a function."""
    g = torch.compile(f, mode="reduce-overhead")
    for _ in range(3):
        g(*args)
    return g.compiled.replayed.entries[0].program


def check(f: Any, *shapes: tuple[int, ...], dtype: Any = np.float64, tol: float = 1e-12) -> None:
    rng = np.random.default_rng(0)
    args = [torch.from_numpy(rng.uniform(0.2, 1.5, s).astype(dtype)) for s in shapes]
    program = program_of(f, *args)
    assert "one function" in program.lowered.explain(), program.lowered.explain()
    arrays = [rng.uniform(0.2, 1.5, v.shape).astype(v.dtype) for v in program.graph.inputs]
    numbers = [0.5 + i for i in range(len(program.graph.scalars))]
    for got, want in zip(program.run(arrays, numbers), program.graph.run(arrays, numbers)):
        assert got.shape == want.shape and got.dtype == want.dtype and got.strides == want.strides
        np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 17, 100])
@pytest.mark.parametrize("dtype, tol", [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_sizes_around_the_vectors(n: int, dtype: Any, tol: float) -> None:
    check(
        lambda x, y: ((x * 2 + y).tanh() * x.exp(), (x - y).sum(), x.amax() * y),
        (n,),
        (n,),
        dtype=dtype,
        tol=tol,
    )
    check(
        lambda x, y: (x @ y + x.sum(0), (x * y.t()).sum(1)), (n, 3), (3, n), dtype=dtype, tol=tol
    ) if n == 3 else None
    check(lambda x, y: x @ y * 2, (3, n), (n, 5), dtype=dtype, tol=tol)


def test_movements_cost_nothing() -> None:
    check(lambda x: torch.cat([x[1:], x[:1]]).flip(0).reshape(2, -1).t() * 2, (12,))
    check(lambda x: (x[:, None] * x[None, :])[1:, ::2].t().reshape(-1) + 1, (5,))
    check(lambda x: torch.stack([x, x * 2], -1).permute(2, 1, 0) - x.t()[None], (3, 4))


def test_broadcasting_comparisons_and_masks() -> None:
    check(lambda x, y: torch.where(x > y, x, y * 2) + (x <= y), (3, 4), (4,))
    check(lambda x, y: (x.clamp(0.4, 1.1) - y[:, None]).abs().sqrt(), (3, 4), (3,))
    check(lambda x, y: (x == x).logical_and(y > 1.0), (3, 4), (3, 4))


@pytest.mark.parametrize("dims", [0, 1, 2, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("keep", [False, True])
def test_reductions_over_any_dims(dims: Any, keep: bool) -> None:
    check(lambda x: (x * 2).sum(dims, keepdim=keep), (3, 4, 5))
    check(lambda x: (x * 2).amax(dims, keepdim=keep) - 1, (3, 4, 5))
    check(lambda x: (x * 2).amin(dims, keepdim=keep) - 1, (3, 4, 5))


def test_sums_are_kept_in_double() -> None:
    x = torch.from_numpy(np.r_[1e8, np.full(1000, 0.5), -1e8].astype(np.float32))
    f = torch.compile(lambda x: x.sum() * 1, mode="reduce-overhead")
    for _ in range(3):
        y = f(x)
    assert y.item() == 500.0


def test_batched_products_and_derivatives() -> None:
    check(lambda a, b: torch.matmul(a, b) + 1, (2, 3, 4), (2, 4, 5))
    check(lambda a, b: torch.matmul(a, b) + 1, (2, 3, 4), (4, 5))
    energy = lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()  # noqa: E731
    check(torch.func.hessian(energy), (10,))
    check(torch.func.jacrev(lambda x: (x.outer(x) @ x).sin()), (6,))


def test_nan_and_infinities() -> None:
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0])
    f = lambda x: (x.amax(), x.sum(), x * 0, 1 / x, torch.maximum(x, -x))  # noqa: E731
    g = torch.compile(f, mode="reduce-overhead")
    for _ in range(3):
        got = g(x)
    for a, b in zip(got, f(x)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        np.testing.assert_array_equal(np.signbit(a.numpy()), np.signbit(b.numpy()))


def test_what_is_not_small_is_compiled_as_ever() -> None:
    for f, x in (
        (lambda x: x * 2 + 1, torch.ones(5000)),
        (lambda x: x.cumsum(0) * 2, torch.ones(5)),
        (lambda x: x * 2 + 1, torch.ones(5, dtype=torch.int64)),
        (lambda x: x * 2 + 1, torch.ones(0)),
    ):
        program = program_of(f, x)
        assert "one function" not in program.lowered.explain()
        with pytest.raises((UnsupportedError, TypeError)):
            compile_small(program.graph)
