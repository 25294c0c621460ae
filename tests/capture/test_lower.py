"""Programs of generated kernels against the graph's own reference, and what is fused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.capture.graph import Graph, GraphError
from flambeau.capture.lower import compile_graph, kernels
from flambeau.capture.lower.expand import expand
from flambeau.capture.lower.groups import make_groups
from flambeau.capture.lower.simplify import simplify
from flambeau.core.op import REGISTRY

F = torch.nn.functional


def program(fn: Any, *args: Any) -> Any:
    """The last program of a compiled function after two calls."""
    compiled = torch.compile(fn)
    compiled(*args)
    compiled(*args)
    step = next(iter(compiled.compiled.root.children.values()))
    while step.children:
        step = next(iter(step.children.values()))
    (found,) = step.programs.values()
    return found


def kinds(fn: Any, *args: Any) -> list[tuple[str, list[str]]]:
    """The groups that are not single calls."""
    groups = make_groups(simplify(program(fn, *args).graph))
    return [(g.kind, [i.op.name for i in g.instrs]) for g in groups if g.kind != "call"]


def check(fn: Any, *args: Any, tol: float = 1e-5) -> None:
    """Three calls of the compiled function against eager; sums of many terms of both signs are only so accurate."""
    tol *= max(1.0, max(a.numel() for a in args) ** 0.5 / 10)
    compiled = torch.compile(fn)
    for _ in range(3):
        got, want = compiled(*args), fn(*args)
        for g, w in zip(
            got if isinstance(got, tuple) else (got,), want if isinstance(want, tuple) else (want,)
        ):
            assert g.dtype == w.dtype and g.stride() == w.stride()
            np.testing.assert_allclose(g.detach().numpy(), w.detach().numpy(), rtol=tol, atol=tol)


SHAPES = [
    (3, 5),
    (1, 7),
    (4, 1),
    (64, 64),
    (2, 3, 17),
    (5, 4097),
    (1, 100_000),
    (200, 1000),
    (4, 4),
    (0, 3),
    (2, 70_001),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    w = torch.rand(shape[-1])
    check(
        lambda x: (
            (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt() * w + 1
        ),
        x,
    )
    check(lambda x: (x * 2).sum(-1) + 1, x)
    check(lambda x: ((x * 2).sum(), x.exp().mean(), (x + 1).sum(-1, keepdim=True) * x), x)
    if x.numel():
        check(lambda x: (x - x.amax(-1, keepdim=True)).exp().sum(-1).log(), x)
        check(lambda x: ((x * 3).amin(), (x * 3).amax()), x)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_points(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    row, column = torch.rand(shape[-1]), torch.rand(*shape[:-1], 1)
    check(lambda x: torch.where(x > 0, x * row, column - x).tanh(), x)
    check(lambda x: ((x > 0) & (x < 1), (x * 2).clamp(0, 1), torch.relu(x) + 0.5, x.square() / 3), x)
    check(lambda x: (x.double() * 2).float() + x.transpose(0, 1).transpose(0, 1), x)


def test_special_values() -> None:
    x = torch.tensor([[float("nan"), 1.0, float("inf")], [-0.0, 0.0, -float("inf")], [1e38, -1e38, 1e-40]])
    check(lambda x: ((x * 1).amax(-1), (x * 1).amin(-1), (x * 1).sum(-1), (x + 0).relu(), x.sign() * 2), x)
    got = torch.compile(lambda x: (x * 1) * 1)
    got(x)
    assert np.array_equal(np.signbit(got(x).numpy()), np.signbit(x.numpy()))


def test_sums_are_as_accurate_as_pytorch_s() -> None:
    x = torch.rand(1_000_003)
    f = torch.compile(lambda x: (x * 1.5).sum())
    f(x)
    exact = float((x.numpy().astype(np.float64) * np.float32(1.5)).sum())
    assert abs(f(x).item() - exact) / exact < 3e-7


def test_what_is_fused() -> None:
    x = torch.randn(64, 128)
    assert kinds(lambda x: ((x * 2).tanh() + 1) * x, x) == [("points", ["mul", "tanh", "add", "mul"])]
    ((kind, names),) = kinds(lambda x: (x - x.mean(-1, keepdim=True)).square().sum(-1), x)
    assert kind == "rows" and [n for n in names if n != "reshape"] == ["sum", "div", "sub", "square", "sum"]
    ((kind, names),) = kinds(lambda x: (x * 2).sum(), torch.randn(1 << 17))
    assert kind == "all" and names == ["mul", "sum"]


def test_a_circle_is_not_fused() -> None:
    """b needs a product between it and the elementwise operation that it would join."""
    x = torch.randn(8, 8)
    check(lambda x: (x * 2) + ((x * 2) @ x) * 3, x)
    check(lambda x: ((x * 2).exp() @ x).sum(-1, keepdim=True) + (x * 2).exp(), x, tol=1e-3)


def test_a_new_size_makes_no_machine_code() -> None:
    f = torch.compile(lambda x, y: ((x * y).tanh().sum(-1, keepdim=True) * x, (x + 1).exp() * 2))
    for n in (30, 30):
        f(torch.randn(n, 20), torch.randn(n, 20))
    before = kernels.COUNTS["kernels"]
    for n, m in ((50, 20), (7, 33), (300, 5), (2, 2), (1000, 100)):
        for _ in range(2):
            f(torch.randn(n, m), torch.randn(n, m))
    assert kernels.COUNTS["kernels"] == before


def test_a_new_number_makes_no_machine_code() -> None:
    f = torch.compile(lambda x, k: (x * k + 1).tanh() * k)
    x = torch.randn(10)
    for k in (1.0, 2.0):
        f(x, k)
    before = kernels.COUNTS["kernels"]
    for k in range(100):
        f(x, k * 0.1)
    assert kernels.COUNTS["kernels"] == before


def test_outputs_do_not_alias() -> None:
    f = torch.compile(lambda x: (x * 2, x * 2, (x * 2).clone(), x.clone()))
    x = torch.ones(4)
    for _ in range(3):
        outs = f(x)
        outs[0].zero_()
        outs[3].zero_()
        assert [o.tolist() for o in outs[1:3]] == [[2.0] * 4] * 2 and x.tolist() == [1.0] * 4


def test_a_graph_prints_as_python_that_runs() -> None:
    x, w = torch.randn(3, 4), torch.randn(4, 5)
    graph = program(lambda x, w: ((x @ w) * 2).softmax(-1).double().view(-1).view(3, 5).sum(0), x, w).graph
    graph.verify()
    scope: dict[str, Any] = {}
    exec(str(graph), scope)
    (got,) = scope["program"](x.numpy(), w.numpy(), 2)
    np.testing.assert_allclose(got, ((x @ w) * 2).softmax(-1).sum(0).numpy(), rtol=1e-6)


def test_the_verifier_finds_broken_graphs() -> None:
    f32 = np.dtype(np.float32)
    graph = Graph()
    a = graph.input((2,), f32, (4,))
    b = graph.add(REGISTRY["add"], (a, a), {}, [((2,), f32, (4,))]).out
    graph.outputs = [b]
    graph.verify()
    np.testing.assert_array_equal(compile_graph(graph).run([np.ones(2, np.float32)], [])[0], [2, 2])
    graph.instrs.reverse()
    graph.instrs.append(graph.instrs[0])
    with pytest.raises(GraphError, match="made twice"):
        graph.verify()
    graph.instrs = []
    with pytest.raises(GraphError, match="never made"):
        graph.verify()


def test_explain_says_what_ran() -> None:
    text = torch.compile(lambda x: (x * 2 + 1).tanh()).explain(torch.ones(4))
    assert "points kernel [4]: mul add tanh" in text and "1 flushes" in text


def test_layer_norm_with_its_gradients_is_two_kernels() -> None:
    """The weight's and the bias's gradient come with the input's, and the normalised values are not kept for them."""
    x, w, b = (torch.randn(n, requires_grad=True) for n in ((64, 128), (128,), (128,)))
    a = torch.randn(128, 128)

    def step(x: Any, w: Any, b: Any) -> Any:
        y = F.layer_norm(x, (128,), w, b) @ a  # the product separates the two
        return torch.autograd.grad(y.sin().sum(), [x, w, b])

    check(step, x, w, b, tol=1e-4)
    rows = [names for kind, names in lowered_kinds(step, x, w, b) if kind == "rows"]
    assert len(rows) == 2
    forward, backward = rows
    assert forward.count("sum") == 2 and backward.count("sum") == 4
    notes = torch.compile(step).explain(x, w, b)
    assert "reads 3 arrays, writes 3" in notes  # the result, mean and scale; not the normalised values


def lowered_kinds(fn: Any, *args: Any) -> list[tuple[str, list[str]]]:
    graph = simplify(expand(simplify(program(fn, *args).graph.copy())))
    return [(g.kind, [i.op.name for i in g.instrs]) for g in make_groups(graph) if g.kind != "call"]


@pytest.mark.parametrize("shape", [(40, 33), (2, 70, 64), (5000, 40), (9000, 32)], ids=str)
def test_sums_over_the_rows(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    dims = tuple(range(len(shape) - 1))
    check(lambda x: ((x * 2).sum(dims), (x * 2 + 1).sum(-1), (x * 2).sum(dims) + 1), x)
    f = torch.compile(lambda x: (x * x).sum(dims))
    f(x)
    exact = (x.numpy().astype(np.float64) ** 2).sum(dims)
    np.testing.assert_allclose(f(x).numpy(), exact, rtol=2e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_joins_its_neighbours(name: str) -> None:
    x = torch.randn(64, 65)
    ((kind, names),) = lowered_kinds(lambda x: getattr(x * 2, name)(-1) + 1, x)
    assert kind == "rows" and names[0] == "mul" and names[-1] == "add"
    special = torch.tensor(
        [[float("nan"), 1.0], [float("inf"), 0.0], [-float("inf"), -float("inf")], [1e4, -1e4]]
    )
    check(lambda x: getattr(x * 2, name)(-1) * 3, special)


def test_a_known_number_serves_all_sizes() -> None:
    """The number of columns is no part of the machine code."""
    f = torch.compile(lambda x: F.layer_norm(x * 2, x.shape[-1:]))
    for _ in range(2):
        f(torch.randn(8, 16))
    before = dict(kernels.COUNTS)
    for _ in range(2):
        f(torch.randn(9, 48))
    assert kernels.COUNTS["kernels"] == before["kernels"] and kernels.COUNTS["found"] > before["found"]


@pytest.mark.parametrize("shape", [(3, 5), (64, 65), (2, 70_001), (1, 200_000)], ids=str)
def test_other_reductions(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(shape)
    check(lambda x: ((x > 0.5).any(-1), (x > 0.01).all(-1), (x > -1).all(), (x > 2).any()), x)
    near = 1 + (x - 0.5) / shape[-1]
    check(lambda x: ((x * 1.0).prod(-1), (x * 1.0).prod()), near, tol=1e-4)
    check(lambda x: (torch.linalg.vector_norm(x * 2, dim=-1), torch.linalg.vector_norm(x * 2)), x)
    check(lambda x: ((x * 2).logsumexp(-1), (x * 2).logsumexp(-1, keepdim=True) + 1), x)


def test_the_variance_of_rows_is_one_kernel() -> None:
    x = torch.randn(64, 128)
    ((kind, names),) = lowered_kinds(lambda x: (x * 2).var(-1, keepdim=True) + 1, x)
    assert kind == "rows" and names.count("sum") == 2
    check(lambda x: ((x * 2).var(-1), (x * 2).std((0, 1)), (x * 2).var(-1, correction=200)), x)


def test_reductions_of_special_values() -> None:
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([[nan, 1.0], [inf, 0.0], [-inf, -inf], [-inf, 3.0], [0.0, -0.0]])
    check(lambda x: ((x * 2).logsumexp(-1), torch.linalg.vector_norm(x * 2, dim=-1), (x * 2).prod(-1)), x)
    check(lambda x: ((x * 2).isnan().any(-1), (x > 0).all(-1), (x * 2).isnan().any(), (x > 0).any()), x)


def test_masks_and_products_are_reduced_in_kernels() -> None:
    x = torch.rand(64, 128)
    for fn, last in (
        (lambda x: (x > 0.5).any(-1), "any"),
        (lambda x: (x * 2 > 0.5).all(), "all"),
        (lambda x: (x * 2).prod(-1), "prod"),
        (lambda x: torch.linalg.vector_norm(x * 2, dim=-1), "sqrt"),
    ):
        ((kind, names),) = lowered_kinds(fn, x)
        assert kind == "rows" and names[-1] == last


def test_explain_has_the_machine_code() -> None:
    found = torch.compile(lambda x: (x * 2 + 1).tanh() / x.exp()).explain(torch.ones(40, 40))
    assert isinstance(found, str) and "modules of machine code" in found and found.modules
    assert "define" in found.llvm and "@kernel" in found.llvm
    assert "kernel:" in found.assembly and "ret" in found.assembly
    assert torch.compile(lambda x: x * 2, backend="eager").explain(torch.ones(2)).modules == []
