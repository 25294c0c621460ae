"""Graphs of programs, beside PyTorch's: kinds, names, targets, generated text, printed tables, and results."""

from __future__ import annotations

import contextlib
import copy
import io
import pickle
from typing import Any

import pytest

import flambeau
from flambeau import fx
from flambeau.stand_in import standing_in
from fx_programs import PROGRAMS


def listed(graph: Any) -> list[str]:
    return [n.format_node() for n in graph.nodes]


def shown(x: Any) -> Any:
    """A result as plain Python, whichever library it comes from."""
    if hasattr(x, "tolist"):
        values = x.tolist() if not getattr(x, "requires_grad", False) else x.detach().tolist()
        return rounded(values)
    if isinstance(x, (list, tuple)):
        return [shown(v) for v in x]
    return {k: shown(v) for k, v in x.items()} if isinstance(x, dict) else str(x)


def rounded(values: Any) -> Any:
    if isinstance(values, bool):
        return values
    return (
        [rounded(v) for v in values]
        if isinstance(values, list)
        else pytest.approx(values, rel=1e-4, abs=1e-5)
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    import torch.fx as theirs

    want_program, want_args = PROGRAMS[name](torch)
    want = theirs.symbolic_trace(want_program)
    want_lines, want_code = listed(want.graph), want.code
    program, args = PROGRAMS[name](flambeau)
    got = fx.symbolic_trace(program)
    assert listed(got.graph) == want_lines
    assert got.code == want_code
    if args:
        first = shown(got(*args))
        assert shown(program(*args)) == first
        assert shown(want(*want_args)) == first
    got.graph.lint()


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "containers"])
def test_runs_again(name: str) -> None:
    """Copies, pickles and interpreters compute what the program does."""
    program, args = PROGRAMS[name](flambeau)
    traced = fx.symbolic_trace(program)
    want = shown(program(*args))
    copied = copy.deepcopy(traced)
    assert copied.code == traced.code and shown(copied(*args)) == want
    assert shown(fx.Interpreter(traced).run(*args)) == want
    assert shown(fx.Transformer(traced).transform()(*args)) == want
    again = pickle.loads(pickle.dumps(traced))
    assert shown(again(*args)) == want and len(again.graph.nodes) >= len(traced.graph.nodes)


def test_what_cannot_be_traced() -> None:
    def branches(x: Any) -> Any:
        return x if x.sum() > 0 else -x

    def loops(x: Any) -> Any:
        return [y + 1 for y in x]

    def spreads(x: Any) -> Any:
        return max(*x)

    for bad, words in ((branches, "control flow"), (loops, "cannot be iterated"), (spreads, "iterated")):
        with pytest.raises(fx.proxy.TraceError, match=words):
            fx.symbolic_trace(bad)
    assert issubclass(fx.proxy.TraceError, ValueError)
    with pytest.raises(RuntimeError, match="'len' is not supported in symbolic tracing by default"):
        fx.symbolic_trace(lambda x: len(x))
    with pytest.raises(AssertionError, match="Expected FunctionType"):
        fx.symbolic_trace(print)
    with pytest.raises(NameError, match="not a member"):
        other = flambeau.nn.Parameter(flambeau.ones(1))
        fx.symbolic_trace(lambda x: x + other)
    # a failed trace leaves nothing behind
    layer = flambeau.nn.Linear(2, 2)
    assert type(layer.weight) is flambeau.nn.Parameter and layer(flambeau.ones(2)).shape == (2,)
    assert not fx._symbolic_trace.is_fx_tracing()


def test_functions_look_for_proxies_only_while_there_are_some() -> None:
    from flambeau.core.public import OVERRIDES

    before = list(OVERRIDES)
    graph = fx.symbolic_trace(lambda x: flambeau.relu(x) + 1).graph
    assert before == OVERRIDES
    proxy = fx.Proxy(next(iter(graph.nodes)))
    assert fx.Proxy in OVERRIDES and isinstance(flambeau.nn.functional.softsign(proxy), fx.Proxy)
    del proxy
    assert before == OVERRIDES


def test_concrete_args() -> None:
    def f(x: Any, flag: bool, names: Any) -> Any:
        return x * 2 if flag else names["a"] + names["b"][0]

    gm = fx.symbolic_trace(f, concrete_args={"flag": False, "names": {"a": fx.PH, "b": [fx.PH]}})
    x = flambeau.ones(2)
    assert gm(x, False, {"a": x, "b": [x + 1]}).tolist() == [3, 3]
    with pytest.raises(AssertionError, match="flag has been specialized to have value False"):
        gm(x, True, {"a": x, "b": [x + 1]})


class Tiny(flambeau.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = flambeau.nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        return self.layer(x) if self.layer.weight.shape[0] == 3 else x


def test_tracers_of_ones_own() -> None:
    class Known(fx.Tracer):
        def is_leaf_module(self, m: Any, module_qualified_name: str) -> bool:
            return False

        def to_bool(self, obj: Any) -> bool:
            return True

    tracer = Known(param_shapes_constant=True)
    graph = tracer.trace(Tiny())
    assert [n.op for n in graph.nodes] == ["placeholder", "get_attr", "get_attr", "call_function", "output"]
    assert [n.target for n in graph.find_nodes(op="get_attr")] == ["layer.weight", "layer.bias"]
    gm = fx.GraphModule(tracer.root, graph)
    assert gm(flambeau.ones(1, 2)).shape == (1, 3)
    assert [n.name for n in Known().trace(lambda x: x + 1 if x > 0 else x).nodes] == [
        "x",
        "gt",
        "add",
        "output",
    ]


def test_parameters_are_asked_for_once() -> None:
    class Twice(flambeau.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = flambeau.nn.Parameter(flambeau.ones(2))

        def forward(self, x: Any) -> Any:
            return x * self.w + self.w

    graph = fx.symbolic_trace(Twice()).graph
    assert len(graph.find_nodes(op="get_attr", target="w")) == 1


def test_table() -> None:
    pytest.importorskip("tabulate")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        fx.symbolic_trace(lambda x: flambeau.relu(x)).graph.print_tabular()
    assert "call_function  relu" in out.getvalue()


def test_for_programs_that_import_torch() -> None:
    """The text says torch; that flambeau is meant does not depend on what stands in for it."""
    with standing_in():
        import torch
        import torch.fx

        gm = torch.fx.symbolic_trace(lambda x: torch.nn.functional.linear(torch.relu(x), x))
    assert "torch._C._nn.linear(relu, x)" in gm.code
    x = flambeau.eye(2)
    assert gm(x).tolist() == [[1, 0], [0, 1]]


def test_targets_are_what_programs_compare_with() -> None:
    F = flambeau.nn.functional
    graph = fx.symbolic_trace(lambda x, w: F.relu(F.conv2d(x, w)) + flambeau.relu(x)).graph
    assert len(graph.find_nodes(op="call_function", target=flambeau.conv2d)) == 1
    assert len(graph.find_nodes(op="call_function", target=F.relu)) == 1
    assert len(graph.find_nodes(op="call_function", target=flambeau.relu)) == 1
    aten = flambeau.ops.aten
    gm = fx.symbolic_trace(lambda x: aten.add.Tensor(aten.relu(x), 1))
    assert [n.target for n in gm.graph.nodes][1:3] == [aten.relu, aten.add.Tensor]
    assert gm(flambeau.ones(1)).item() == 2 and "torch.ops.aten.add.Tensor(relu, 1)" in gm.code


def test_tracers_with_a_loop_of_their_own() -> None:
    """Libraries that write `trace` anew use the parts of PyTorch's."""
    parts = fx._symbolic_trace

    class Own(fx.Tracer):
        def trace(self, root: Any, concrete_args: Any = None) -> Any:
            self.root, fn = root, type(root).forward
            self.submodule_paths = {m: name for name, m in root.named_modules()}
            self.graph = fx.Graph(tracer_cls=type(self))
            self.tensor_attrs = {}
            fn, args = self.create_args_for_root(fn, True, concrete_args)

            def call(module: Any, *args: Any, **kwargs: Any) -> Any:
                def forward(*args: Any, **kwargs: Any) -> Any:
                    return parts._orig_module_call(module, *args, **kwargs)

                return self.call_module(module, forward, args, kwargs)

            with parts._Patcher() as patcher:
                patcher.patch_method(flambeau.nn.Module, "__call__", call, deduplicate=False)
                parts._patch_wrapped_functions(patcher)
                parts._autowrap_check(patcher, fn.__globals__, self._autowrap_function_ids)
                self.create_node("output", "output", (self.create_arg(fn(*args)),), {})
            return self.graph

    model = flambeau.nn.Sequential(flambeau.nn.Linear(2, 2), flambeau.nn.ReLU())
    gm = fx.GraphModule(model, Own().trace(model))
    x = flambeau.ones(1, 2)
    assert [n.op for n in gm.graph.nodes] == ["placeholder", "call_module", "call_module", "output"]
    assert gm(x).tolist() == model(x).tolist()


def test_stack_traces_and_modules_of_nodes() -> None:
    class Traced(fx.Tracer):
        record_stack_traces = True

    graph = Traced().trace(Outer())
    node = graph.find_nodes(op="call_function", target=flambeau.relu)[0]
    assert "flambeau.relu(x)" in node.stack_trace and list(node.meta["nn_module_stack"]) == ["inner"]
    assert "code: return flambeau.relu(x)" in fx.GraphModule(Outer(), graph).print_readable(
        print_output=False
    )


class Inner(flambeau.nn.Module):
    def forward(self, x):
        return flambeau.relu(x)


class Outer(flambeau.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        return self.inner(x)


def test_nothing_takes_a_traced_value_for_a_number() -> None:
    """What computes with numbers at once would give one that has nothing to do with the program's."""

    def f(x, y):
        padded = flambeau.nn.utils.rnn.pad_sequence([x, y])
        return (
            padded.to(flambeau.result_type(x, y)),
            flambeau.zeros(x.size(0), 2),
            flambeau.full((x.size(0),), 3.0),
        )

    gm = fx.symbolic_trace(f)
    padded, zeros, full = gm(flambeau.ones(3), flambeau.ones(2, dtype=flambeau.float64))
    assert padded.dtype is flambeau.float64 and padded.tolist() == [[1, 1], [1, 1], [1, 0]]
    assert zeros.shape == (3, 2) and full.tolist() == [3, 3, 3]
    proxy = fx.Proxy(next(iter(gm.graph.nodes)))
    for use in (int, float, range, lambda p: [1, 2][p], lambda p: flambeau.Size([p])):
        with pytest.raises((TypeError, fx.proxy.TraceError)):
            use(proxy)


def test_assertions_of_programs() -> None:
    """Traced where the tracer says so; in a text of its own, as pytest rewrites those in tests."""
    names: dict[str, Any] = {}
    exec(
        "def f(x):\n    assert x.sum() > 0\n    return x + 1\n\ndef g(x):\n    if x > 0:\n        return x\n    return -x",
        names,
    )

    class Asserting(fx.Tracer):
        trace_asserts = True

    gm = fx.GraphModule({}, Asserting().trace(names["f"]))
    assert [n.name for n in gm.graph.nodes] == ["x", "sum_1", "gt", "assert_fn", "add", "output"]
    assert gm(flambeau.ones(1)).item() == 2
    with pytest.raises(AssertionError):
        gm(-flambeau.ones(1))
    for tracer, program in ((fx.Tracer(), "f"), (Asserting(), "g")):
        with pytest.raises(fx.proxy.TraceError):
            tracer.trace(names[program])


def test_lazily_compiled_modules_are_ordinary_ones() -> None:
    from flambeau.fx._lazy_graph_module import _LazyGraphModule, _make_graph_module, _use_lazy_graph_module

    gm = fx.symbolic_trace(lambda x: x + 1)
    with _use_lazy_graph_module(True):
        made = _make_graph_module(gm, gm.graph)
    lazy = _LazyGraphModule.from_graphmodule(made)
    _LazyGraphModule.force_recompile(lazy)
    assert lazy(flambeau.ones(1)).item() == 2 and isinstance(lazy, _LazyGraphModule)


def test_operations_of_programs_are_not_traced_through() -> None:
    @flambeau.library.custom_op("fxtests::clipped", mutates_args=())
    def clipped(x: flambeau.Tensor, top: float) -> flambeau.Tensor:
        return flambeau.from_numpy(x.detach().numpy().clip(max=top))

    gm = fx.symbolic_trace(lambda x: clipped(x, 1.0) + flambeau.ops.fxtests.clipped(x, top=2.0))
    assert "clipped = torch.ops.fxtests.clipped(x, 1.0)" in gm.code
    assert gm(flambeau.tensor([0.5, 3.0])).tolist() == [1, 3]
    assert pickle.loads(pickle.dumps(gm))(flambeau.tensor([3.0])).tolist() == [3]
