"""Transforms of transforms of the recorded calls: vmap of vmap, vmap of vjp, jvp of vjp and vjp of vjp.

Here are the public functions, composites among them; `tests/battery` does the same to every operation under them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.func import jvp, vjp, vmap
from golden.calls import CALLS, INPUTS

# As in PyTorch, these have no second derivative, or none in one of their inputs.
ONCE = ("torch.special.zeta", "F.ctc_loss", "torch.special.gammainc")
ROUNDING = (
    ".float()",
    ".half()",
    "float16",
)  # steps of single precision are larger than those of the differences
NAMES = [k for k, (_, dtype, grad) in INPUTS.items() if grad and dtype not in ("float16", "bfloat16")]


def used(call: str) -> list[str]:
    """The inputs that the call depends on differentiably."""
    return [k for k in NAMES if re.search(rf"(?<![\w.'\"]){k}(?!\w|=|\.(abs\(\)\.)?detach)", call)]


def function(call: str) -> Callable[..., tuple[Any, ...]]:
    """The call, in double precision, as a function of the inputs that it uses."""
    code = compile(call, call, "eval")
    wide = {"float32": "float64"}
    fixed = {
        k: torch.tensor(np.asarray(v), dtype=getattr(torch, wide.get(d, d)))
        for k, (v, d, _) in INPUTS.items()
    }

    def run(*xs: Any) -> tuple[Any, ...]:
        given = dict(zip(used(call), xs))
        if "q" in given:  # symmetric, as its users expect
            given["q"] = (given["q"] + given["q"].T) / 2
        scope = {"torch": torch, "F": torch.nn.functional, **fixed, **given}
        torch.manual_seed(0)
        outs = flat(eval(code, scope))
        return tuple(o for o in outs if o.is_floating_point() or o.is_complex())

    return run


def flat(x: Any) -> list[Any]:
    if isinstance(x, (tuple, list)):
        return [t for v in x for t in flat(v)]
    return [x] if isinstance(x, torch.Tensor) else []


def arguments(call: str) -> list[Any]:
    """The inputs, each scaled a little differently: as they are, some lie on kinks."""
    found = []
    for k in used(call):
        values, dtype, _ = INPUTS[k]
        wide = torch.complex128 if dtype.startswith("complex") else torch.float64
        found.append(torch.tensor(np.asarray(values) * (1 + 0.003 * (1 + NAMES.index(k))), dtype=wide))
    return found


def like(x: Any, seed: int) -> Any:
    r = np.random.default_rng(seed)
    a = r.standard_normal(tuple(x.shape))
    return torch.tensor(a + 1j * r.standard_normal(tuple(x.shape)) if x.is_complex() else a, dtype=x.dtype)


def differentiable() -> list[str]:
    """Calls with a derivative for their inputs, of any order."""
    found = []
    for call in CALLS:
        if not used(call) or any(name in call for name in (*ONCE, *ROUNDING)):
            continue
        if any(f"{k}.detach()" in call for k in used(call)):  # a constant that differences would move
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                outs = function(call)(*[x.requires_grad_() for x in arguments(call)])
            except Exception:
                found.append(call)
                continue
        if any(o.requires_grad for o in outs):
            found.append(call)
    return found


DIFFERENTIABLE = differentiable()
each = pytest.mark.parametrize("call", DIFFERENTIABLE)


def arrays(xs: Any) -> list[Any]:
    return [x.detach().numpy() for x in flat(xs)]


def pullback(call: str) -> tuple[Callable[..., Any], list[Any], int]:
    f, xs = function(call), arguments(call)
    cts = [like(o, 5 + i) for i, o in enumerate(f(*xs))]
    n = len(xs)
    return (lambda *both: vjp(f, *both[:n])[1](tuple(both[n:]))), [*xs, *cts], n


def difference(f: Callable[..., Any], xs: list[Any], ts: list[Any], h: float = 1e-6) -> list[Any]:
    up, down = (arrays(f(*[x + k * h * t for x, t in zip(xs, ts)])) for k in (1, -1))
    return [(u - d) / (2 * h) for u, d in zip(up, down)]


def close(got: list[Any], want: list[Any], tol: float) -> None:
    assert len(got) == len(want)
    for g, w in zip(got, want):
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol)


def batches(xs: list[Any]) -> list[Any]:
    return [torch.stack([x, 0.97 * x]) for x in xs]


def loop(f: Callable[..., Any], xs: list[Any]) -> list[Any]:
    return [np.stack(pair) for pair in zip(*[arrays(f(*[x[i] for x in xs])) for i in range(2)])]


@each
def test_jvp_of_vjp(call: str) -> None:
    pull, both, _ = pullback(call)
    ts = [like(x, i) for i, x in enumerate(both)]
    close(arrays(jvp(pull, tuple(both), tuple(ts))[1]), difference(pull, both, ts), 2e-5)


@each
def test_vjp_of_vjp(call: str) -> None:
    pull, both, _ = pullback(call)
    value, back = vjp(pull, *both)
    ws = [like(v, 11 + i) for i, v in enumerate(value)]
    ts = [like(x, i) for i, x in enumerate(both)]
    got = sum((np.conj(g) * t).real.sum() for g, t in zip(arrays(back(tuple(ws))), arrays(ts)))
    want = sum((np.conj(w) * d).real.sum() for w, d in zip(arrays(ws), difference(pull, both, ts)))
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@each
def test_vmap_of_vjp(call: str) -> None:
    pull, both, n = pullback(call)
    xs = [*batches(both[:n]), *[torch.stack([c, -2 * c]) for c in both[n:]]]
    close(arrays(vmap(pull, randomness="same")(*xs)), loop(pull, xs), 1e-9)


@each
def test_vmap_of_vmap(call: str) -> None:
    f, xs = function(call), batches(arguments(call))
    rows = [torch.stack([x, x.flip(0)]) for x in xs]
    inner = vmap(f, randomness="same")
    want = [np.stack(pair) for pair in zip(*[loop(f, [x[i] for x in rows]) for i in range(2)])]
    close(arrays(vmap(inner, randomness="same")(*rows)), want, 1e-9)
