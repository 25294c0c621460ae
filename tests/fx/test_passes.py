"""Shapes, splitting, folding and fusing, beside PyTorch's."""

from __future__ import annotations

import operator
from typing import Any

import pytest

import flambeau
from flambeau import fx
from flambeau.fx.experimental import const_fold, optimization
from flambeau.fx.passes import shape_prop, split_module, tools_common
from flambeau.fx.passes.graph_drawer import FxGraphDrawer
from flambeau.fx.passes.infra import pass_manager
from flambeau.fx.passes.infra.pass_base import PassBase, PassResult
from flambeau.fx.passes.utils.matcher_utils import SubgraphMatcher
from fx_programs import filled, wave


def net(torch: Any) -> Any:
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
            self.tail = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(12, 4), nn.BatchNorm1d(4))
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Any) -> Any:
            return self.tail(torch.relu(self.norm(self.conv(x)))) * (self.scale + 1) + self.scale.exp()

    return filled(torch, Net()).eval()


def test_shapes() -> None:
    torch = pytest.importorskip("torch")
    from torch.fx.passes import shape_prop as theirs

    def described(torch: Any, fx: Any, shape_prop: Any) -> list[Any]:
        gm = fx.symbolic_trace(net(torch))
        shape_prop.ShapeProp(gm).propagate(wave(torch, 2, 2, 4, 4))
        meta = [n.meta["tensor_meta"] for n in gm.graph.nodes]
        return [
            (tuple(m.shape), str(m.dtype), m.requires_grad, m.stride, str(m.memory_format)) for m in meta
        ] + [gm.print_readable(print_output=False)]

    assert described(flambeau, fx, shape_prop) == described(torch, torch.fx, theirs)
    gm = fx.symbolic_trace(net(flambeau))
    with pytest.raises(RuntimeError, match="ShapeProp error for: node=%conv"):
        shape_prop.ShapeProp(gm).propagate(flambeau.ones(1))


@pytest.mark.parametrize("keep", [False, True])
def test_splitting(keep: bool) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("sympy")
    from torch.fx.passes.split_module import split_module as theirs

    def split(torch: Any, fx: Any, split_module: Any) -> tuple[Any, ...]:
        model = net(torch)
        gm = fx.symbolic_trace(model)
        place = {n: i // 3 for i, n in enumerate(gm.graph.nodes)}
        names: dict[str, str] = {}
        parts = split_module(
            gm, model, lambda n: place[n], names, keep_original_order=keep, keep_original_node_name=keep
        )
        x = wave(torch, 2, 2, 4, 4)
        assert torch.allclose(parts(x), model(x))
        return parts.code, [c.code for _, c in parts.named_children() if hasattr(c, "code")], names

    assert split(flambeau, fx, split_module.split_module) == split(torch, torch.fx, theirs)


def test_parts_that_need_each_other() -> None:
    gm = fx.symbolic_trace(lambda x: (x + 1) * 2 - 1)
    with pytest.raises(RuntimeError, match="cycle"):
        split_module.split_module(gm, gm, lambda n: 0 if n.name in ("add", "sub") else 1)


def test_fusing_and_dropping() -> None:
    model, x = net(flambeau), wave(flambeau, 2, 2, 4, 4)
    fused = optimization.fuse(model)
    assert [n.target for n in fused.graph.find_nodes(op="call_module")] == [
        "conv",
        "tail.0",
        "tail.1",
        "tail.2",
    ]
    assert flambeau.allclose(fused(x), model(x), rtol=1e-4)
    assert any(isinstance(m, flambeau.nn.BatchNorm2d) for m in model.modules())
    without = optimization.remove_dropout(model)
    assert len(without.graph.nodes) == len(fx.symbolic_trace(model).graph.nodes) - 1
    assert flambeau.allclose(without.train(False)(x), model(x))
    both = optimization.optimize_for_inference(model)
    assert (
        flambeau.allclose(both(x), model(x), rtol=1e-4)
        and len(both.graph.nodes) == len(without.graph.nodes) - 2
    )


def test_folding_constants() -> None:
    model, x = net(flambeau), wave(flambeau, 2, 2, 4, 4)
    folded = const_fold.split_const_subgraphs(model)
    targets = [n.target for n in folded.graph.find_nodes(op="get_attr")]
    assert (
        targets == ["_FX_CONST_FOLDED_ATTRS"]
        and not folded.graph.find_nodes(op="call_function", target=operator.add)[1:]
    )
    assert flambeau.allclose(folded(x), model(x)) and flambeau.allclose(folded(x), model(x))
    with pytest.raises(AssertionError, match="already been run"):
        folded.run_folding()
    plain = const_fold.split_const_subgraphs(model, skip_folding_node_fn=lambda n: True)
    assert len(plain.graph.nodes) == len(fx.symbolic_trace(model).graph.nodes)


def test_order() -> None:
    gm = fx.symbolic_trace(lambda x: (x + 1) * (x - 1))
    names = [n.name for n in gm.graph.nodes]
    add, mul = (
        gm.graph.find_nodes(op="call_function", target=operator.add)[0],
        next(iter(gm.graph.nodes)).next,
    )
    assert add is mul
    gm.graph.output_node().prepend(add)
    with pytest.raises(RuntimeError):
        gm.graph.lint()
    tools_common.legalize_graph(gm)
    gm.graph.lint()
    assert sorted(n.name for n in gm.graph.nodes) == sorted(names) and gm(flambeau.tensor(3.0)).item() == 8


def test_pass_manager() -> None:
    class Swap(PassBase):
        def call(self, graph_module: Any) -> PassResult:
            found = graph_module.graph.find_nodes(op="call_function", target=flambeau.add)
            for node in found:
                node.target = flambeau.mul
            return PassResult(graph_module, bool(found))

    gm = fx.symbolic_trace(lambda x: flambeau.add(x, 3))
    manager = pass_manager.PassManager([Swap(), pass_manager.pass_result_wrapper(lambda gm: None)])
    result = manager(gm)
    assert result.modified and result.graph_module(flambeau.tensor(2.0)).item() == 6
    with pytest.raises(TypeError, match="one variable"):
        manager.add_checks(lambda a, b: None)  # type: ignore[misc,arg-type]
    first, second = (lambda x: x), (lambda x: x)
    ordered = pass_manager.PassManager(
        [first, second], [pass_manager.this_before_that_pass_constraint(second, first)]
    )
    with pytest.raises(RuntimeError, match="constraint violated"):
        ordered.validate_constraints()
    ordered.solve_constraints()
    assert ordered.passes == [second, first]


def test_finding_patterns() -> None:
    pattern = fx.symbolic_trace(lambda x, y: flambeau.relu(x + y)).graph
    graph = fx.symbolic_trace(lambda a: (flambeau.relu(a + 1), flambeau.relu(a + a), a + 2)).graph
    matches = SubgraphMatcher(pattern).match(graph)
    assert [[str(n) for n in m.returning_nodes] for m in matches] == [
        ["relu"]
    ]  # two parameters stand for two values
    assert [str(p) for p in matches[0].placeholder_nodes] == ["a", "1"]
    # somebody else uses what is inside
    leaking = fx.symbolic_trace(lambda a: (lambda s: (flambeau.relu(s), s * 2))(a + 1)).graph
    assert SubgraphMatcher(pattern).match(leaking) == []
    three = fx.symbolic_trace(lambda x: x + 3).graph
    assert len(SubgraphMatcher(three).match(fx.symbolic_trace(lambda x: x + 4).graph)) == 0
    assert (
        len(SubgraphMatcher(three, ignore_literals=True).match(fx.symbolic_trace(lambda x: x + 4).graph)) == 1
    )


def test_drawing() -> None:
    try:
        import pydot  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(RuntimeError, match="requires the pydot package"):
            FxGraphDrawer(fx.symbolic_trace(net(flambeau)), "net")
    else:
        assert "conv" in FxGraphDrawer(fx.symbolic_trace(net(flambeau)), "net").get_dot_graph().to_string()
