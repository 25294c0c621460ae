"""Graphs made and changed by hand, and the modules that run them."""

from __future__ import annotations

import copy
import operator
import pickle
import warnings
from typing import Any

import pytest

import flambeau
from flambeau import fx
from flambeau.fx.immutable_collections import immutable_dict, immutable_list


class Net(flambeau.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = flambeau.nn.Linear(2, 3)
        self.second = flambeau.nn.Sequential(flambeau.nn.ReLU(), flambeau.nn.Linear(3, 1))

    def forward(self, x):  # without annotations, which would be names in the text
        return self.second(self.first(x)) + 1


def both(make: Any) -> tuple[Any, Any]:
    """What `make` gives for flambeau and for PyTorch."""
    torch = pytest.importorskip("torch")
    import torch.fx as theirs

    return make(flambeau, fx), make(torch, theirs)


def test_made_by_hand() -> None:
    def make(torch: Any, fx: Any) -> tuple[str, str, list[float]]:
        g = fx.Graph()
        x, y = g.placeholder("x"), g.placeholder("y", default_value=2)
        a = g.call_function(torch.add, (x, y))
        with g.inserting_before(a):
            b = g.call_method("abs", (x,))
        with g.inserting_after(b):
            c = g.call_function(operator.mul, (b, 3), name="thrice")
        a.args = (c, y)
        w = g.get_attr("w")
        d = g.call_module("layer.relu", (a,))
        g.output({"d": (d, [w]), "n": None})
        g.lint()
        gm = fx.GraphModule({"w": torch.ones(1), "layer.relu": torch.nn.ReLU()}, g)
        return str(g), gm.code, gm(torch.tensor([-1.0]))["d"][0].tolist()

    ours, theirs = both(make)
    assert ours == theirs and ours[2] == [5.0]


def test_names() -> None:
    """Names are apart from each other, from Python's words and built-ins, and from what the text needs."""

    def make(torch: Any, fx: Any) -> tuple[list[str], str]:
        g = fx.Graph()
        x = g.placeholder("input")
        for name in (
            "x",
            "x",
            "x_3",
            "x",
            "for",
            "sum",
            "torch",
            "inf",
            "1a",
            "a b",
            "CamelCase",
            "_3",
            "getattr",
        ):
            g.call_function(operator.add, (x, 1), name=name)
        g.call_function(len, (x,))
        g.output(g.call_method("__call__", (x,)))
        return [n.name for n in g.nodes], g.python_code("self").src

    ours, theirs = both(make)
    assert ours == theirs


def test_order_and_uses() -> None:
    g = fx.Graph()
    x = g.placeholder("x")
    a = g.call_function(flambeau.relu, (x,))
    b = g.call_function(flambeau.add, (a, a), {"alpha": 2})
    out = g.output([b, {"k": a}])
    assert a < b and out > x and sorted([out, b, x, a]) == [x, a, b, out] and a <= a
    assert list(a.users) == [b, out] and b.all_input_nodes == [a] and (x.next, a.prev, out.prev) == (a, x, b)
    assert a.replace_all_uses_with(x, delete_user_cb=lambda user: user is b) == [b]
    assert b.args == (x, x) and list(a.users) == [out]
    b.update_arg(1, a)
    b.insert_arg(0, 5)
    b.update_kwarg("alpha", a)
    assert b.args == (5, x, a) and b.kwargs == {"alpha": a}
    with pytest.raises(RuntimeError, match="still had 2 users"):
        g.erase_node(a)
    with pytest.raises(RuntimeError, match="wrong graph"):
        fx.Graph().erase_node(out)
    x.append(b)
    with pytest.raises(RuntimeError, match="'relu' of Node 'add' was used before it has been defined"):
        g.lint()
    assert [n.name for n in g.nodes] == ["x", "add", "relu", "output"]
    assert [n.name for n in reversed(g.nodes)] == ["output", "relu", "add", "x"] and len(g.nodes) == 4
    g.erase_node(out)
    with pytest.warns(UserWarning, match="already erased"):
        g.erase_node(out)


def test_going_through_nodes_while_they_change() -> None:
    g = fx.symbolic_trace(lambda x: ((x + 1) + 2) + 3).graph
    for node in g.nodes:
        if node.target is operator.add:
            with g.inserting_after(node):
                new = g.call_function(flambeau.mul, node.args)
            node.replace_all_uses_with(new)
            g.erase_node(node)
    assert [n.name for n in g.nodes] == ["x", "mul", "mul_1", "mul_2", "output"]
    assert fx.GraphModule({}, g)(flambeau.ones(1)).item() == 6


def test_bad_nodes() -> None:
    g = fx.Graph()
    with pytest.raises(ValueError, match="a Callable is expected"):
        g.create_node("call_function", "add")
    with pytest.raises(ValueError, match="a str is expected"):
        g.create_node("call_method", flambeau.add)
    with pytest.raises(AssertionError):
        g.create_node("nonsense", "x")
    with pytest.raises(AssertionError, match="must be a tuple"):
        g.create_node("placeholder", "x", args=[1])
    x = g.placeholder("x")
    node = g.call_function(flambeau.cat, ([x, x],))
    assert type(node.args[0]) is immutable_list
    with pytest.raises(TypeError, match="does not support mutation"):
        node.args[0].append(x)
    with pytest.raises(TypeError, match="does not support mutation"):
        node.kwargs["dim"] = 0
    assert type(node.kwargs) is immutable_dict and hash(node.args[0]) == hash((x, x))
    with pytest.raises(RuntimeError, match="target nowhere but that target was not provided"):
        g.get_attr("nowhere")
        fx.GraphModule({}, g)


def test_dead_code() -> None:
    def make(torch: Any, fx: Any) -> tuple[bool, list[str], bool]:
        def f(x: Any) -> Any:
            x + 1
            torch._assert(x.sum() != 0, "zero")
            torch.rand(3)
            y = x.clone()
            unused = (y * 2) * 2  # noqa: F841
            return y

        g = fx.symbolic_trace(f).graph
        with g.inserting_before(g.output_node()):
            g.call_function(operator.setitem, (g.output_node().args[0], 0, 3))
        return g.eliminate_dead_code(), [n.name for n in g.nodes], g.eliminate_dead_code()

    ours, theirs = both(make)
    assert ours == theirs and ours[0] and not ours[2] and "mul" not in ours[1]


def test_modules() -> None:
    def make(torch: Any, fx: Any) -> Any:
        class Net(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = torch.nn.Linear(2, 3)
                self.second = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(3, 1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.second(self.first(x)) + 1

        gm = fx.symbolic_trace(Net())
        names = [n for n, _ in gm.named_modules()], list(gm.state_dict())
        texts = [gm.code, gm.print_readable(print_output=False), str(gm).splitlines()[0]]
        added = (
            gm.add_submodule("extra.deep.relu", torch.nn.ReLU()),
            gm.add_submodule("first.weight.x", torch.nn.ReLU()),
        )
        before = len(list(gm.modules()))
        gm.delete_all_unused_submodules()
        after = len(list(gm.modules()))
        return (
            *texts,
            names,
            added,
            before,
            after,
            gm.delete_submodule("first"),
            gm.delete_submodule("nothing"),
        )

    ours, theirs = both(make)
    assert ours == theirs


def test_copies_are_apart() -> None:
    gm = fx.symbolic_trace(Net())
    x = flambeau.ones(1, 2)
    other = copy.deepcopy(gm)
    next(n for n in other.graph.nodes if n.target is operator.add).target = operator.sub
    other.recompile()
    assert flambeau.allclose(gm(x) - 2, other(x)) and type(gm) is not type(other)
    assert other.first.weight is not gm.first.weight and other.graph.owning_module is other
    shallow = copy.copy(gm)
    assert shallow.first is gm.first
    other.graph = gm.graph
    assert other.code == gm.code


def test_failing_in_generated_code(capfd: pytest.CaptureFixture[str]) -> None:
    gm = fx.symbolic_trace(lambda x, y: flambeau.matmul(x, y))
    with pytest.raises(RuntimeError):
        gm(flambeau.ones(2, 3), flambeau.ones(2, 3))
    assert "line 5 of the traced Module's generated forward function" in capfd.readouterr().err


def test_to_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gm = fx.symbolic_trace(Net())
    with pytest.warns(UserWarning, match="pickled files instead"):
        gm.to_folder(tmp_path / "saved_module", "Saved")
    monkeypatch.syspath_prepend(tmp_path)
    from saved_module import Saved  # type: ignore[import-not-found]

    x = flambeau.ones(1, 2)
    assert Saved()(x).tolist() == gm(x).tolist()


def test_wrapped_functions() -> None:
    names: dict[str, Any] = {"__name__": "wrapping_module", "fx": fx, "flambeau": flambeau}
    source = (
        "@fx.wrap\ndef leaf(x, n):\n    return x + n if x.sum() > 0 else x\n"
        "fx.wrap('len')\n"
        "def program(x):\n    return leaf(x, 3) + len(x)\n"
    )
    exec(compile(source, "wrapping_module", "exec"), names)
    gm = fx.symbolic_trace(names["program"])
    assert [n.target for n in gm.graph.nodes][1:3] == [names["leaf"], len]
    assert gm(flambeau.ones(2)).tolist() == [6, 6] and names["leaf"](flambeau.ones(1), 1).item() == 2
    with pytest.raises(NotImplementedError, match="top level"):
        fx.wrap("len")
    with pytest.raises(RuntimeError, match="callable or string"):
        fx.wrap(3)  # type: ignore[type-var]


def test_replacing_patterns() -> None:
    def make(torch: Any, fx: Any) -> tuple[int, str, list[str]]:
        def program(x: Any, w1: Any, w2: Any) -> Any:
            a = torch.cat([w1, w2]).sum()
            b = torch.cat([w2, w1]).sum()
            return x + torch.max(a) + torch.max(b), torch.cat([x, x])

        gm = fx.symbolic_trace(program)
        found = fx.replace_pattern(
            gm, lambda a, b: torch.cat([a, b]).sum(), lambda a, b: torch.stack([b, a]).mean()
        )
        again = fx.symbolic_trace(lambda x: torch.add(torch.relu(torch.relu(x)), torch.relu(x)))
        more = fx.replace_pattern(again, lambda x: torch.relu(x), lambda x: torch.abs(torch.neg(x)))
        return len(found), gm.code, [str(m.anchor) for m in found] + [again.code, str(len(more))]

    ours, theirs = both(make)
    assert ours == theirs and ours[0] == 2


def test_replacing_with_modules() -> None:
    class Pattern(flambeau.nn.Module):
        def forward(self, x: Any) -> Any:
            return flambeau.relu(x) * 2

    class Other(flambeau.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = flambeau.nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.scale(x)

    gm = fx.symbolic_trace(lambda x: flambeau.relu(x + 1) * 2 - 1)
    assert len(fx.replace_pattern(gm, Pattern(), fx.symbolic_trace(Other()))) == 1
    assert isinstance(gm.scale, flambeau.nn.Linear) and gm(flambeau.ones(1, 2)).shape == (1, 2)
    with pytest.raises(AssertionError, match="dead code"):
        fx.replace_pattern(gm, lambda x: (x + 1, x * 2)[0], lambda x: x)


def test_interpreters_say_where_they_failed() -> None:
    gm = fx.symbolic_trace(lambda x, y: flambeau.matmul(x, y))
    with pytest.raises(RuntimeError, match=r"While executing %matmul"):
        fx.Interpreter(gm).run(flambeau.ones(2, 3), flambeau.ones(2, 3))
    with pytest.raises(RuntimeError, match="parameter y, but one was not passed in"):
        fx.Interpreter(gm).run(flambeau.ones(2, 3))
    kept = fx.Interpreter(gm, garbage_collect_values=False)
    args = [flambeau.ones(2, 2), flambeau.ones(2, 2)]
    assert kept.boxed_run(args).tolist() == [[2, 2], [2, 2]] and args == [] and len(kept.env) == 4


def test_get_attr_of_what_is_not_there() -> None:
    gm = fx.symbolic_trace(Net())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with gm.graph.inserting_before(gm.graph.output_node()):
            gm.graph.get_attr("missing")
            gm.graph.get_attr("first.weight")
    assert len(seen) == 1 and "missing" in str(seen[0].message)
    with pytest.raises(RuntimeError, match="references nonexistent attribute missing"):
        gm.graph.lint()


def test_a_failed_assertion() -> None:
    """Python's error to all who look, and that of scripted programs, too, as these are run as they are."""
    gm = fx.symbolic_trace(lambda x: (flambeau._assert(x.shape[0] == 2, "two rows"), x)[1])
    assert gm(flambeau.ones(2)).tolist() == [1, 1]
    for error in (AssertionError, flambeau.jit.Error):
        with pytest.raises(error, match="two rows") as caught:
            flambeau.jit.script(gm)(flambeau.ones(3))
    assert (
        caught.typename == "AssertionError"
        and type(pickle.loads(pickle.dumps(caught.value))) is AssertionError
    )
