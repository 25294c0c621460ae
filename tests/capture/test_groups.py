"""Which instructions become one kernel: random graphs against their reference, and the conditions of fusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.capture.graph import Graph, Scalar, Value
from flambeau.capture.lower import compile_graph
from flambeau.capture.lower.expand import expand
from flambeau.capture.lower.groups import Group, make_groups
from flambeau.capture.lower.simplify import simplify
from flambeau.core.op import REGISTRY

UNARY = "tanh exp neg abs sigmoid square sin relu".split()
BINARY = "add sub mul maximum minimum".split()


class Random:
    """A random graph of products, reductions over rows and elementwise operations over an (n, n) matrix."""

    def __init__(self, seed: int, dtype: str, steps: bool) -> None:
        self.steps = steps  # with functions that make a large difference of a small one
        self.rng = np.random.default_rng(seed)
        self.n = int(self.rng.choice([1, 3, 8, 40, 130]))
        self.dtype = np.dtype(dtype)
        self.graph = Graph()
        n = self.n
        shapes = [(n, n), (n, n), (n, 1), (1, n), (n,)]
        self.arrays = [self.rng.uniform(-1, 1, s).astype(dtype) for s in shapes]
        self.values = [self.graph.input(a.shape, a.dtype, a.strides) for a in self.arrays]
        self.numbers = [0.5, -1.25]
        self.scalars = [self.graph.scalar(float) for _ in self.numbers]
        self.matrices = self.values[:2]
        for _ in range(int(self.rng.integers(4, 40))):
            self.step()
        made = [v for v in self.values if v.producer is not None]
        chosen = self.rng.choice(len(made), min(3, len(made)), replace=False)
        self.graph.outputs = [made[i] for i in chosen] + [self.matrices[-1]]
        self.graph.verify()

    def add(
        self, name: str, args: tuple[Any, ...], meta: tuple[int, ...], dtype: Any = None, /, **params: Any
    ) -> Value:
        dtype = np.dtype(dtype or self.dtype)
        v = self.graph.add(REGISTRY[name], args, params, [(meta, dtype, np.empty(meta, dtype).strides)]).out
        if dtype == self.dtype:
            self.values.append(v)
            if meta == (self.n, self.n):
                self.matrices.append(v)
        return v

    def pick(self, values: list[Value]) -> Value:
        """Recent values more often: longer chains; any value at times: diamonds."""
        recent = values[-4:] if self.rng.random() < 0.6 else values
        return recent[int(self.rng.integers(len(recent)))]

    def step(self) -> None:
        n, x = self.n, self.pick(self.matrices)
        kind = self.rng.random()
        if kind < 0.35:
            self.add(str(self.rng.choice([*UNARY, "floor"] if self.steps else UNARY)), (x,), x.shape)
        elif kind < 0.65:
            y: Any = self.pick(self.values)
            args = (x, y) if self.rng.random() < 0.5 else (y, x)
            self.add(str(self.rng.choice(BINARY)), args, (n, n))
        elif kind < 0.75:
            s: Scalar = self.scalars[int(self.rng.integers(len(self.scalars)))]
            self.add("mul", (x, s), x.shape)
        elif kind < 0.82 and self.steps:
            mask = self.add("lt", (x, self.pick(self.matrices)), (n, n), "bool")
            self.add("where", (mask, self.pick(self.matrices), x), (n, n))
        elif kind < 0.84:
            self.add("sum", (x,), (n,), dims=(0,))
        elif kind < 0.87:
            y = self.add("softmax", (x,), x.shape, dim=1)
            self.add("softmax_grad", (self.pick(self.matrices), y), x.shape, dim=1)
        elif kind < 0.93:
            name = str(self.rng.choice(["sum", "amax", "amin", "prod"]))
            y = self.add(name, (x,), (n,), dims=(1,))
            self.add("view", (y,), (n, 1), shape=(n, 1))
        else:
            y = self.add("matmul", (x, self.pick(self.matrices)), (n, n))
            self.add("tanh", (y,), (n, n))


def check_order(graph: Graph, groups: list[Group]) -> None:
    """Every value is made once, what is computed again included, and every group runs after those that it reads from."""
    made = [v for g in groups for i in g.instrs for v in i.outs]
    assert len(set(made)) == len(made)
    assert {v for i in graph.instrs for v in i.outs} <= set(made)
    assert {i.op.name for g in groups for i in g.instrs} <= {i.op.name for i in graph.instrs}
    done: set[Value] = set(graph.inputs)
    for g in groups:
        inside = set(done)
        for i in g.instrs:
            assert all(v in inside for v in i.values())
            inside.update(i.outs)
        done = inside


def outcome(case: Random) -> list[Any]:
    """What the program gives, twice; it has written none of its inputs."""
    graph = simplify(expand(simplify(case.graph.copy())))
    check_order(graph, make_groups(graph))
    copies = [a.copy() for a in case.arrays]
    program = compile_graph(case.graph)
    first, second = (program.run(case.arrays, case.numbers) for _ in range(2))
    for a, b in zip([*case.arrays, *first], [*copies, *second]):
        np.testing.assert_array_equal(a, b)
    for v, a in zip(case.graph.outputs, first):
        assert (a.dtype, a.shape, a.strides) == (v.dtype, v.shape, v.strides)
    return first


@pytest.mark.parametrize("part", range(3))
def test_random_graphs(part: int) -> None:
    for seed in range(part * 15, part * 15 + 15):
        case = Random(seed, "float64", True)
        with np.errstate(all="ignore"):
            for got, want in zip(outcome(case), case.graph.run(case.arrays, case.numbers)):
                scale = np.max(np.abs(want), initial=1.0, where=np.isfinite(want))
                np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-10 * scale, err_msg=f"seed {seed}")


@pytest.mark.parametrize("part", range(3))
def test_random_graphs_in_single_precision(part: int) -> None:
    """Double precision says how far NumPy's results are off: the program's may be off as far."""
    for seed in range(part * 15, part * 15 + 15):
        case, referee = Random(seed, "float32", False), Random(seed, "float64", False)
        with np.errstate(all="ignore"):
            found = outcome(case)
            plain = case.graph.run(case.arrays, case.numbers)
            exact = referee.graph.run([a.astype(np.float64) for a in case.arrays], case.numbers)
            for got, other, want in zip(found, plain, exact):
                usual = np.isfinite(other)
                assert (np.isfinite(got) == usual).all(), f"seed {seed}"
                scale = np.max(np.abs(want), initial=1.0, where=usual)
                off = np.max(np.abs(other - want), initial=0.0, where=usual)
                assert np.max(np.abs(got - want), initial=0.0, where=usual) <= 8 * off + 1e-6 * scale, seed


def fused(fn: Any, *args: Any) -> list[str]:
    """The kinds and sizes of the groups of a compiled function, without calls."""
    text = torch.compile(fn).explain(*args)
    return [line for line in text.splitlines() if " kernel [" in line]


def test_two_branches_are_one_kernel() -> None:
    x = torch.randn(50)
    body = lambda x: (x * 2 + 1).tanh() * x.exp() - x.abs().sqrt() + x.sin() * 0.5  # noqa: E731
    (kernel,) = fused(body, x)
    assert "mul add tanh exp mul abs sqrt sub sin mul add; reads 1 arrays, writes 1" in kernel
    np.testing.assert_allclose(torch.compile(body)(x).numpy(), body(x).numpy(), rtol=1e-5, atol=1e-6)


def test_branches_join_the_rows_that_read_them() -> None:
    x, y = torch.randn(20, 30), torch.randn(20, 30)
    (kernel,) = fused(lambda x, y: (x * 2).sum(-1, keepdim=True) * (y.exp() + 1), x, y)
    assert kernel.startswith("rows kernel") and "exp" in kernel


def test_branches_around_a_product_stay_apart() -> None:
    x = torch.randn(20, 20)

    def f(x: Any) -> Any:
        a = x * 2
        b = (a @ x).tanh()
        return a.exp() * b + b

    compiled = torch.compile(f)
    for _ in range(3):
        np.testing.assert_allclose(compiled(x).numpy(), f(x).numpy(), rtol=1e-4, atol=1e-5)


def test_wide_branches_stay_within_a_kernel_s_limits() -> None:
    x = torch.randn(30)

    def f(x: Any) -> Any:
        parts = [(x * (0.1 * i)).tanh() for i in range(60)]
        while len(parts) > 1:
            parts = [a + b for a, b in zip(parts[::2], parts[1::2])] + parts[len(parts) & ~1 :]
        return parts[0]

    compiled = torch.compile(f)
    for _ in range(3):
        np.testing.assert_allclose(compiled(x).numpy(), f(x).numpy(), rtol=1e-4, atol=1e-4)


EXPONENTS = [
    0,
    0.5,
    -0.5,
    1,
    -1,
    2,
    -2,
    3,
    4,
    5,
    1.5,
    -3,
    0.1,
    -0.3,
    7.25,
    100,
    float("inf"),
    float("nan"),
    2**31 + 1,
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers(dtype: str) -> None:
    special = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e38, -3.5]
    x = np.concatenate([special, np.random.default_rng(0).standard_normal(500) * 3]).astype(dtype)
    meta = [(x.shape, x.dtype, x.strides)]
    info = np.finfo(dtype)
    for exponent in [*EXPONENTS, x[::-1].copy(), x.copy()]:
        for swap in (False, True):
            graph = Graph()
            a = graph.input(*meta[0])
            arrays, b = [x], exponent
            if isinstance(exponent, np.ndarray):
                arrays, b = [x, exponent], graph.input(*meta[0])
            v = graph.add(REGISTRY["pow"], (b, a) if swap else (a, b), {}, meta).out
            graph.outputs = [graph.add(REGISTRY["mul"], (v, 1.0), {}, meta).out]
            with np.errstate(all="ignore"):
                (got,), (want,) = compile_graph(graph).run(arrays, []), graph.run(arrays)
                pair = [np.asarray(exponent, dtype), x] if swap else [x, np.asarray(exponent, dtype)]
                exact = np.power(*[p.astype(np.longdouble) for p in pair])
            np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
            normal = np.isfinite(want) & (np.abs(exact) > info.tiny) & (np.abs(exact) < info.max)
            np.testing.assert_array_equal(np.signbit(got)[normal], np.signbit(want)[normal])
            np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
            off = np.abs(got[normal] - exact[normal]) / np.abs(exact[normal])
            assert np.max(off, initial=0.0) <= 2 * info.eps, (exponent, swap)
