"""Derivatives for which PyTorch 2.13 cannot be the reference, each with the true value from elsewhere.

`test_pytorch_errors.py` checks both sides of each entry, and that `docs/compatibility.md` has the table made from them
(`python tests/func/pytorch_errors.py` writes it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BEGIN, END = "<!-- errors: made by tests/func/pytorch_errors.py -->", "<!-- errors: end -->"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"


@dataclass
class Error:
    """`run(lib)` is compared with `truth()`: here to 1e-6 (or `tolerance`), while PyTorch misses it by `miss` or more.

    `miss` is None where PyTorch's answer is NaN, or an error.
    """

    op: str
    mode: str
    what: str
    source: str
    run: Callable[[Any], Any]
    truth: Callable[[], Any]
    miss: float | None = 1e-2
    tolerance: float = 1e-6


ERRORS: list[Error] = []


def random(*shape: int, seed: int = 0, complex_: bool = False) -> Any:
    r = np.random.default_rng(seed)
    x = r.standard_normal(shape)
    return x + 1j * r.standard_normal(shape) if complex_ else x


def central(f: Callable[..., Any], x: Any, t: Any, h: float = 1e-5) -> Any:
    return (f(x + h * t) - f(x - h * t)) / (2 * h)


def twice(f: Callable[..., Any], x: Any, t: Any, u: Any) -> Any:
    """The second derivative in two directions, by differences."""
    return central(lambda y: central(f, y, u, 1e-4), x, t, 1e-4)


# ------------------------------------------------------------------------------------------------ first derivatives


def _slope_in_target(m: Any, name: str, input: float, target: float, **settings: Any) -> Any:
    """The gradient of a loss of two numbers in the second."""
    x, t = m.tensor([input]), m.tensor([target], requires_grad=True)
    getattr(m.nn.functional, name)(x, t, **settings).backward()
    return t.grad


ERRORS.append(
    Error(
        "nn.functional.poisson_nll_loss", "backward", "NaN in the target, where it is 0 and `full`",
        "Stirling's term is zero there",
        lambda m: _slope_in_target(m, "poisson_nll_loss", 0.5, 0.0, full=True), lambda: np.array([-0.5]), None,
    )
)  # fmt: skip
ERRORS.append(
    Error(
        "nn.functional.binary_cross_entropy", "backward", "infinite in the target, where the input is 0 or 1",
        "the logarithm is no smaller than -100",
        lambda m: _slope_in_target(m, "binary_cross_entropy", 0.0, 0.25), lambda: np.array([100.0]), None,
    )
)  # fmt: skip

FACTOR = np.tril(random(3, 3)) + 2 * np.eye(3)
FACTOR_DIRECTION = np.tril(random(3, 3, seed=1))


def _cholesky_inverse() -> Any:
    inverse = np.linalg.inv(FACTOR @ FACTOR.T)
    change = FACTOR_DIRECTION @ FACTOR.T
    return -inverse @ (change + change.T) @ inverse


ERRORS.append(
    Error(
        "cholesky_inverse", "jvp", "another derivative than its reverse mode", "closed form",
        lambda m: m.func.jvp(m.cholesky_inverse, (m.tensor(FACTOR),), (m.tensor(FACTOR_DIRECTION),))[1],
        _cholesky_inverse,
    )
)  # fmt: skip
ERRORS.append(
    Error(
        "as_strided_scatter", "backward, gradgrad", "the gradient of `input` is zero where it should be one, and one elsewhere",
        "what is overwritten has no gradient",
        lambda m: m.func.grad(lambda x: m.as_strided_scatter(x, m.zeros(2), (2,), (2,), 1).sum())(m.ones(5)),
        lambda: np.array([1.0, 0, 1, 0, 1]),
    )
)  # fmt: skip
RANGE = np.array([-8.87, -1.59, -1.46, -1.35, 7.32])


def _running_mean(x: Any, t: Any) -> Any:
    weights = np.exp(x.astype(np.clongdouble if x.dtype.kind == "c" else np.longdouble))
    return np.cumsum(weights * t) / np.cumsum(weights)


def _logcumsumexp(x: Any) -> Callable[[Any], Any]:
    return lambda m: m.func.jvp(
        lambda v: m.logcumsumexp(v, 0), (m.tensor(x),), (m.tensor(np.arange(1, 6).astype(x.dtype)),)
    )[1]


ERRORS.append(
    Error(
        "logcumsumexp", "jvp", "half of the digits are lost", "extended precision",
        _logcumsumexp(RANGE), lambda: _running_mean(RANGE, np.arange(1, 6)), 1e-7, 1e-13,
    )
)  # fmt: skip
STEEP = np.array([1e4, 0.5, 1e4, 3.0, 2.0]) + 1j
ERRORS.append(
    Error(
        "logcumsumexp", "jvp, complex", "NaN where an exponential overflows", "the largest of equal terms share the weight",
        _logcumsumexp(STEEP), lambda: np.array([1, 1, 2, 2, 2]) + 0j, None,
    )
)  # fmt: skip
ROWS = np.array([[1.0 + 2j, 2.0], [3.0, 1.0 - 1j]])


def _renorm() -> Any:
    """The gradient of the sum of the real parts, coordinate by coordinate."""

    def total(x: Any) -> Any:
        return (0.5 * x / np.abs(x).max(1, keepdims=True)).real.sum()

    out = np.zeros_like(ROWS)
    for place in np.ndindex(*ROWS.shape):
        for unit in (1, 1j):
            step = np.zeros_like(ROWS)
            step[place] = unit
            out[place] += unit * central(total, ROWS, step)
    return out


ERRORS.append(
    Error(
        "renorm", "backward, gradgrad, complex64", "NaN for p = inf", "differences",
        lambda m: m.func.grad(lambda x: m.renorm(x, float("inf"), 0, 0.5).real.sum())(m.tensor(ROWS, dtype=m.complex64)),
        _renorm, None,
    )
)  # fmt: skip

# ----------------------------------------------------------------------------------------------- second derivatives

LOGITS, HEAD, LABELS = random(4, 3), random(5, 3, seed=1), np.array([0, 3, 1, 1])
LOGITS_DIRECTION = random(4, 3, seed=2)


def _entropy_slope(x: Any) -> Any:
    z = np.exp(x @ HEAD.T)
    return (z / z.sum(1, keepdims=True) - np.eye(5)[LABELS]) @ HEAD / 4


def _chunked(m: Any) -> Any:
    x = m.tensor(LOGITS, requires_grad=True)
    options = m.nn.LinearCrossEntropyOptions(batch_chunk_size=2, allow_retain_graph=True)
    loss = m.nn.functional.linear_cross_entropy(x, m.tensor(HEAD), m.tensor(LABELS), options=options)
    (first,) = m.autograd.grad(loss, x, create_graph=True)
    return m.autograd.grad((first * m.tensor(LOGITS_DIRECTION)).sum(), x)[0]


ERRORS.append(
    Error(
        "nn.functional.linear_cross_entropy, in chunks", "gradgrad", "the gradient is a constant: no second derivative",
        "differences", _chunked, lambda: central(_entropy_slope, LOGITS, LOGITS_DIRECTION), None,
    )
)  # fmt: skip
ERRORS.append(
    Error(
        "linalg.norm", "gradgrad", "NaN at zero, where the gradient is the subgradient 0", "the subgradient stays 0",
        lambda m: m.func.vjp(m.func.grad(m.linalg.norm), m.zeros(2, dtype=m.float64))[1](m.ones(2, dtype=m.float64))[0],
        lambda: np.zeros(2), None,
    )
)  # fmt: skip

SAMPLE, FIRST, SECOND = random(4, 3), random(4, 3, seed=1), random(4, 3, seed=2)

ZERO_ROW = np.where(np.arange(3)[:, None] == 1, SAMPLE[:3, :3], 0)


def _layer_norm(x: Any) -> Any:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


def _forward_over_forward(
    f: Callable[[Any], Callable[[Any], Any]], n: int | None = None
) -> Callable[[Any], Any]:
    def run(m: Any) -> Any:
        x, t, u = (m.tensor(v[:n, :n]) for v in (SAMPLE, FIRST, SECOND))
        return m.func.jvp(lambda y: m.func.jvp(f(m), (y,), (u,))[1], (x,), (t,))[1]

    return run


def _square(f: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: twice(f, SAMPLE[:3, :3], FIRST[:3, :3], SECOND[:3, :3])


for _op, _f, _truth, _n in (
    (
        "nn.functional.layer_norm",
        lambda m: lambda x: m.nn.functional.layer_norm(x, (3,)),
        lambda: twice(_layer_norm, SAMPLE, FIRST, SECOND),
        None,
    ),
    (
        "nn.functional.batch_norm, instance_norm",
        lambda m: lambda x: m.nn.functional.batch_norm(x, None, None, training=True),
        lambda: twice(lambda x: _layer_norm(x.T).T, SAMPLE, FIRST, SECOND),
        None,
    ),
    ("linalg.det, slogdet, logdet", lambda m: m.linalg.det, _square(np.linalg.det), 3),
    (
        "linalg.solve, tensorsolve",
        lambda m: lambda x: m.linalg.solve(x, m.eye(3, dtype=m.float64)),
        _square(np.linalg.inv),
        3,
    ),
    (
        "cumprod",
        lambda m: lambda x: (x - m.tensor(ZERO_ROW)).cumprod(0),
        _square(lambda x: np.cumprod(x - ZERO_ROW, 0)),
        3,
    ),
):
    ERRORS.append(
        Error(
            _op, "jvp of jvp", "another value than that of jvp of vjp" if _op != "cumprod" else "wrong where elements are zero",
            "differences", _forward_over_forward(_f, _n), _truth, 1e-3, 1e-4,
        )
    )  # fmt: skip

SIGNS = np.float32(0.02) * random(1, 20, seed=3).astype(np.float32)  # small: the terms grow with 1 / x**2
SIGNS_DIRECTION = random(1, 20, seed=4).astype(np.float32)


def _normalize(m: Any) -> Any:
    x = m.tensor(SIGNS, requires_grad=True)
    y = m.nn.functional.normalize(x, p=0.5, dim=0)
    (first,) = m.autograd.grad((y * m.tensor(SIGNS_DIRECTION)).sum(), x, create_graph=True)
    return m.autograd.grad((first * m.tensor(SIGNS_DIRECTION)).sum(), x)[0]


ERRORS.append(
    Error(
        "nn.functional.normalize", "gradgrad, float32", "rounding: large terms cancel (here, too)",
        "along a dim of size 1 the result is a sign", _normalize, lambda: np.zeros((1, 20)), 1e-4, 1.0,
    )
)  # fmt: skip


def _uniform(seed: int, *shape: int) -> Any:
    r = np.random.default_rng(seed)
    return r.uniform(-9, 9, shape) + 1j * r.uniform(-9, 9, shape)


THIN, OFFSET, COTANGENT = _uniform(0, 4, 2), _uniform(1, 4, 4), _uniform(2, 4, 4) / 9


def _low_rank(m: Any, thin: Any) -> Any:
    """Second derivatives of what svd_lowrank finds of a matrix of rank two, less a matrix."""
    m.manual_seed(0)
    x = m.tensor(thin, requires_grad=True)
    u, values, v = m.svd_lowrank(x @ x.mH, q=2, M=m.tensor(OFFSET))
    approximation = (u * values) @ v.mH
    (first,) = m.autograd.grad((approximation * m.tensor(COTANGENT)).sum().real, x, create_graph=True)
    return m.autograd.grad((first * m.tensor(COTANGENT[:, :2])).sum().real, x)[0].detach()


def _moved(m: Any) -> Any:
    """How far they move when the input moves by one unit in the last place."""
    base = _low_rank(m, THIN)
    signs = [np.random.default_rng(k).choice([-1, 0, 1], THIN.shape) for k in range(4)]
    return max((_low_rank(m, THIN + np.spacing(np.abs(THIN)) * sign) - base).abs().max() for sign in signs)


ERRORS.append(
    Error(
        "svd_lowrank, pca_lowrank", "gradgrad",
        "noise: a unit in the last place of the input moves it in the sixth digit",
        "the same for such a neighbour", _moved, lambda: np.zeros(()), 1e-7, 1e-9,
    )
)  # fmt: skip

# ----------------------------------------------------------------------------------------- values, in double precision

POSITIVE = np.linspace(0.5, 12, 47)
ARGUMENTS = {"airy": np.linspace(-12, 3, 47)}
for _name, _function in (
    ("bessel_j0", "j0"), ("bessel_j1", "j1"), ("bessel_y0", "y0"), ("bessel_y1", "y1"), ("airy_ai", "airy"),
):  # fmt: skip

    def _special(function: str = _function) -> Any:
        import scipy.special

        y = getattr(scipy.special, function)(ARGUMENTS.get(function, POSITIVE))
        return y[0] if function == "airy" else y

    ERRORS.append(
        Error(
            f"special.{_name}", "values, vmap", "seven digits in double precision", "SciPy",
            lambda m, name=_name, function=_function: getattr(m.special, name)(m.tensor(ARGUMENTS.get(function, POSITIVE))), _special, 1e-9, 1e-11,
        )
    )  # fmt: skip


def table() -> str:
    """The part of the page that lists the errors."""
    rows = {(e.op, e.mode): f"| `{e.op}` | {e.mode} | {e.what} | {e.source} |" for e in ERRORS}
    return "\n".join(
        [
            BEGIN,
            "",
            "| operation | where | PyTorch's answer | the true value from |",
            "| --- | --- | --- | --- |",
        ]
        + [*rows.values(), "", END]
    )


if __name__ == "__main__":
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + table() + rest.split(END)[1])
