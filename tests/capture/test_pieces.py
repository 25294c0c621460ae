"""Gradients of slices written into one array, and memory that programs give back as they go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.capture.graph import Graph
from flambeau.capture.lower import compile_graph
from flambeau.capture.lower.groups import make_groups
from flambeau.capture.lower.pieces import apart, box
from flambeau.core.op import REGISTRY
from flambeau.runtime import pool

F32 = np.dtype(np.float32)


def strides(shape: tuple[int, ...], itemsize: int = 4) -> tuple[int, ...]:
    return np.empty(shape, f"V{itemsize}").strides


def sum_of_slices(shape: tuple[int, ...], indices: list[Any], dtype: Any = F32) -> tuple[Graph, list[Any]]:
    """The graph of adjoints added one after the other, with the parts to run it with."""
    rng = np.random.default_rng(0)
    graph = Graph()
    meta = [(shape, dtype, strides(shape, dtype.itemsize))]
    total = None
    parts = []
    for index in indices:
        part = np.asarray(rng.standard_normal(np.empty(shape)[index].shape)).astype(dtype)
        part.reshape(-1)[::3] = -0.0
        parts.append(part)
        y = graph.input(part.shape, dtype, part.strides)
        params = {"index": index, "base_shape": shape}
        adjoint = graph.add(REGISTRY["slice_adjoint"], (y,), params, meta).out
        total = adjoint if total is None else graph.add(REGISTRY["add"], (total, adjoint), {}, meta).out
    assert total is not None
    graph.outputs = [total]
    graph.verify()
    return graph, parts


ALL = slice(None)
SEPARATE: list[tuple[tuple[int, ...], list[Any]]] = [
    ((6, 12), [(ALL, slice(8, 12)), (ALL, slice(4, 8)), (ALL, slice(0, 4))]),
    ((6, 12), [(ALL, slice(8, 12)), (ALL, slice(0, 4))]),
    ((7,), [(slice(0, None, 2),), (slice(1, None, 2),)]),
    ((4, 5), [(0,), (3,), (slice(1, 3),)]),
    ((4, 5), [(-1, 2), (0, 2), (-1, 3)]),
    ((4, 5), [(slice(2, 2),), (slice(0, 4),)]),
    ((3, 4, 5), [(0, ALL, 1), (0, ALL, 2), (1,)]),
    ((300, 400), [(ALL, slice(0, 150)), (ALL, slice(150, 400))]),
]
TOGETHER: list[tuple[tuple[int, ...], list[Any]]] = [
    ((6, 12), [(ALL, slice(0, 5)), (ALL, slice(4, 12))]),
    ((7,), [(slice(0, None, 2),), (slice(0, None, 3),)]),
    ((4, 5), [(0,), (0,)]),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "float16", "int64"])
@pytest.mark.parametrize(("shape", "indices"), [*SEPARATE, *TOGETHER], ids=str)
def test_values(shape: tuple[int, ...], indices: list[Any], dtype: str) -> None:
    graph, parts = sum_of_slices(shape, indices, np.dtype(dtype))
    (got,) = compile_graph(graph).run(parts, [])
    (want,) = graph.run(parts)
    assert got.dtype == want.dtype and got.strides == want.strides
    np.testing.assert_array_equal(got, want)
    if dtype != "int64":
        np.testing.assert_array_equal(np.signbit(got.real), np.signbit(want.real))


def test_what_becomes_one_array() -> None:
    for cases, expected in ((SEPARATE, 1), (TOGETHER, 0)):
        for shape, indices in cases:
            groups = make_groups(sum_of_slices(shape, indices)[0])
            assert sum(g.kind == "pieces" for g in groups) == expected, indices


def test_boxes() -> None:
    """Whether boxes are apart, against sets of elements."""
    rng = np.random.default_rng(1)
    places = np.arange(30).reshape(5, 6)
    for _ in range(300):
        pair = []
        for _ in range(2):
            index = []
            for n in places.shape:
                if rng.random() < 0.3:
                    index.append(int(rng.integers(-n, n)))
                else:
                    a, b = sorted(rng.integers(0, n + 1, 2).tolist())
                    index.append(slice(a, b, int(rng.integers(1, 4))))
            pair.append(tuple(index[: int(rng.integers(1, 3))]))
        graph, _ = sum_of_slices(places.shape, pair)
        a, b = (box(i) for i in graph.instrs[:2])
        assert a is not None and b is not None
        shared = set(np.ravel(places[pair[0]])) & set(np.ravel(places[pair[1]]))
        assert not (apart(a, b) and shared)


def test_a_partial_sum_that_is_read_elsewhere_is_made() -> None:
    graph, parts = sum_of_slices((4, 6), [(ALL, slice(0, 2)), (ALL, slice(2, 4)), (ALL, slice(4, 6))])
    graph.outputs = [graph.instrs[2].out, graph.outputs[0]]
    got, want = compile_graph(graph).run(parts, []), graph.run(parts)
    for g, w in zip(got, want):
        np.testing.assert_array_equal(g, w)
    assert not np.shares_memory(got[0], got[1])


STEPS: list[Callable[[Any], Any]] = [
    lambda x: sum(p.sin() * i for i, p in enumerate(x.split(3, 1), 1)),
    lambda x: torch.stack([p.exp() for p in x.unbind(0)]).prod(0),
    lambda x: x[:, ::2] * x[:, 1::2],
    lambda x: (x[:, 1:] - x[:, :-1]) ** 2,
    lambda x: x[0] * x[-1] + x[1:3].sum(0),
]


@pytest.mark.parametrize("step", STEPS)
def test_gradients_of_slices(step: Callable[[Any], Any]) -> None:
    torch.manual_seed(0)
    values = torch.randn(5, 12)

    def gradient(x: Any) -> Any:
        return torch.autograd.grad(step(x).sum(), x)[0]

    compiled = torch.compile(gradient)
    want = gradient(values.clone().requires_grad_())
    for _ in range(3):
        got = compiled(values.clone().requires_grad_())
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=2e-6, atol=1e-6)


def products(count: int, n: int) -> tuple[Graph, list[Any]]:
    """x @ x @ ... with a sum of each on the way."""
    graph = Graph()
    rng = np.random.default_rng(0)
    x = v = graph.input((n, n), F32, strides((n, n)))
    for _ in range(count):
        v = graph.add(REGISTRY["matmul"], (v, x), {}, [((n, n), F32, strides((n, n)))]).out
        v = graph.add(REGISTRY["mul"], (v, 0.05), {}, [((n, n), F32, strides((n, n)))]).out
        v = graph.add(REGISTRY["tanh"], (v,), {}, [((n, n), F32, strides((n, n)))]).out
    graph.outputs = [v]
    return graph, [rng.standard_normal((n, n), np.float32)]


def test_memory_is_given_back_during_a_program() -> None:
    graph, arrays = products(12, 600)  # 1.4 MB each
    program = compile_graph(graph)
    want = graph.run(arrays)[0]
    np.testing.assert_allclose(program.run(arrays, [])[0], want, rtol=1e-3, atol=1e-4)
    pool.reset_peak_memory_stats()
    before = pool.memory_stats()["active_bytes.all.current"]
    program.run(arrays, [])
    peak = pool.memory_stats()["active_bytes.all.peak"]
    assert peak - before <= 4 * arrays[0].nbytes


def test_threads_share_a_program() -> None:
    graph, arrays = products(4, 200)
    program = compile_graph(graph)
    want = program.run(arrays, [])[0].copy()
    wrong: list[int] = []

    def work() -> None:
        for i in range(20):
            if not np.array_equal(program.run(arrays, [])[0], want):
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
