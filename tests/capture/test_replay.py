"""``mode="reduce-overhead"``: eager's answer whatever changes outside, or a refusal that says why and where."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from capture import test_footguns as footguns
from flambeau import nn

F = nn.functional
compiled = functools.partial(torch.compile, mode="reduce-overhead")


def replays(f: Any) -> int:
    return int(f.compiled.replayed.replays)


def settled(f: Any, *args: Any) -> Any:
    """`f` compiled and called until it is replayed."""
    g = compiled(f)
    for _ in range(5):  # the fourth call looks whether the Python agrees
        g(*args)
    assert replays(g) >= 2
    return g


def agree(g: Any, f: Any, *args: Any) -> None:
    for got, want in zip(flat(g(*args)), flat(f(*args)), strict=True):
        if isinstance(want, torch.Tensor):
            assert got.shape == want.shape and got.dtype == want.dtype and got.stride() == want.stride()
            np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-6, atol=1e-6)
        else:
            assert got == want


def flat(x: Any) -> list[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    return [v for part in x for v in flat(part)] if isinstance(x, (list, tuple)) else [x]


# ---------------------------------------------------------------------------------------- what other compilers freeze

SCENARIOS = [n for n in vars(footguns) if n.startswith("test_") and "fullgraph" not in n]


@pytest.mark.parametrize("name", SCENARIOS)
def test_footguns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every scenario of the default mode: the same trace, or a refusal."""
    monkeypatch.setattr(torch, "compile", compiled)
    try:
        getattr(footguns, name)()
    except RuntimeError as e:
        assert "cannot replay" in str(e)


SCALE = 2.0
TABLE = {"gain": 3.0}
NUMBERS = [1.0, 2.0]


class Settings:
    factor = 2.0

    def __init__(self) -> None:
        self.gain = 3.0
        self.inner = types.SimpleNamespace(shift=1.0)


settings = Settings()


def helper(x: Any) -> Any:
    return x * SCALE


def other_helper(x: Any) -> Any:
    return x + 100.0


CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[[pytest.MonkeyPatch], None]]] = {
    "a global": (lambda x: x * SCALE, lambda m: m.setitem(globals(), "SCALE", 5.0)),
    "a global in a function that is called": (
        lambda x: helper(x),
        lambda m: m.setitem(globals(), "SCALE", 5.0),
    ),
    "a function that is called": (
        lambda x: helper(x),
        lambda m: m.setitem(globals(), "helper", other_helper),
    ),
    "the code of a function": (
        lambda x: helper(x),
        lambda m: m.setattr(helper, "__code__", other_helper.__code__),
    ),
    "an attribute": (lambda x: x * settings.gain, lambda m: m.setattr(settings, "gain", 7.0)),
    "an attribute of an attribute": (
        lambda x: x + settings.inner.shift,
        lambda m: m.setattr(settings.inner, "shift", 9.0),
    ),
    "an attribute of a class": (lambda x: x * settings.factor, lambda m: m.setattr(Settings, "factor", 9.0)),
    "an attribute that hides one of the class": (
        lambda x: x * settings.factor,
        lambda m: m.setattr(settings, "factor", 9.0, raising=False),
    ),
    "an entry of a dictionary": (lambda x: x * TABLE["gain"], lambda m: m.setitem(TABLE, "gain", 8.0)),
    "an element of a list": (lambda x: x * NUMBERS[1], lambda m: NUMBERS.__setitem__(1, 8.0)),
    "a list that grows": (
        lambda x: sum([x * n for n in NUMBERS]),
        lambda m: m.setattr(test_module(), "NUMBERS", [1.0, 2.0, 3.0]),
    ),
    "the sign of a zero": (
        lambda x: x * 0 + math.copysign(1.0, settings.gain),
        lambda m: m.setattr(settings, "gain", -0.0),
    ),
    "an operation of the package": (lambda x: torch.exp(x), lambda m: m.setattr(torch, "exp", torch.sin)),
    "a function of a module": (lambda x: F.relu(x), lambda m: m.setattr(F, "relu", F.gelu)),
    "the default dtype": (lambda x: x * torch.ones(3), lambda m: torch.set_default_dtype(torch.float64)),
}


def test_module() -> Any:
    import sys

    return sys.modules[__name__]


test_module.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_read_may_change(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f, change = CHANGES[what]
    if what == "the sign of a zero":
        monkeypatch.setattr(settings, "gain", 0.0)
    x = torch.tensor([-1.0, 0.5, 2.0])
    g = settled(f, x)
    try:
        change(monkeypatch)
        for _ in range(5):
            agree(g, f, x)
    finally:
        torch.set_default_dtype(torch.float32)
        NUMBERS[:] = [1.0, 2.0]


def test_values_of_arguments_are_inputs_and_their_layouts_are_checked() -> None:
    def f(x: Any, n: Any = 2.0) -> Any:
        return (x * n).tanh()

    g = settled(f, torch.ones(3))
    for x in (
        torch.zeros(3),
        torch.ones(4),
        torch.ones(3, dtype=torch.float64),
        torch.ones(3, 3).t(),
        torch.ones(()),
    ):
        agree(g, f, x)
    for n in (2, 2.0, True, -0.0, 0.0, float("nan")):
        assert torch.equal(g(torch.ones(3), n).nan_to_num(5.0), f(torch.ones(3), n).nan_to_num(5.0))
    agree(g, f, nn.Parameter(torch.ones(3)).detach())


def test_a_tensor_from_outside_is_an_input() -> None:
    w = torch.ones(3)
    f = lambda x: x * w  # noqa: E731
    g = settled(f, torch.ones(3))
    w.add_(4.0)
    agree(g, f, torch.ones(3))
    w.data = torch.full((3,), 9.0)
    agree(g, f, torch.ones(3))
    w = torch.full((3,), -1.0)
    agree(g, f, torch.ones(3))


def test_the_same_tensor_twice_and_two_tensors() -> None:
    f = lambda a, b: a * 2 + b  # noqa: E731
    x, y = torch.ones(3), torch.full((3,), 5.0)
    g = settled(f, x, x)
    agree(g, f, x, y)
    agree(g, f, y, x)
    g = settled(f, x, y)
    agree(g, f, x, x)


def test_results_are_new_each_time() -> None:
    g = settled(lambda x: (x + 1, [x * 2], {"a": x - 1, "n": 3}), torch.ones(3))
    first = g(torch.ones(3))
    first[0].zero_()
    second = g(torch.ones(3))
    assert second[0].tolist() == [2.0] * 3 and first[0].tolist() == [0.0] * 3
    assert second[1][0] is not first[1][0] and second[2]["n"] == 3


def test_modules() -> None:
    model = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 2)
    ).eval()
    x = torch.randn(3, 4)
    with torch.no_grad():
        g = compiled(model)
        for _ in range(5):
            g(x)
        assert g.compiled.replayed.replays >= 2
        agree(g, model, x)
        model[0].weight.mul_(2.0)
        agree(g, model, x)
        model[4] = nn.Linear(8, 2)
        agree(g, model, x)
        model[1] = nn.GELU()
        agree(g, model, x)
        handle = model[0].register_forward_hook(lambda m, a, y: y + 1)
        with pytest.raises(RuntimeError, match="has hooks"):
            g(x)
        handle.remove()
        agree(g, model, x)
    with pytest.warns(UserWarning, match="has a history"):
        y = g(x)
    y.sum().backward()
    assert model[0].weight.grad is not None
    count = g.compiled.replayed.replays
    for _ in range(3):
        agree(g, model, x)
    assert g.compiled.replayed.replays == count
    with torch.no_grad():
        g(x)
        g(x)
    assert g.compiled.replayed.replays > count


def test_transforms_inside() -> None:
    def energy(x: Any) -> Any:
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    for f in (
        lambda x: torch.func.hessian(energy)(x),
        torch.func.jacfwd(torch.func.grad(energy)),
        lambda x: torch.func.vmap(torch.func.grad(energy))(torch.stack([x, x * 2])),
        lambda x: torch.func.vjp(lambda y: y.sin(), x)[1](x)[0],
    ):
        g = settled(f, torch.rand(5))
        agree(g, f, torch.rand(5))


def test_gradients_of_leaves() -> None:
    def f(x: Any) -> Any:
        x.grad = None
        y = (x**2 + 3 * x + 1).sum()
        y.backward()
        return x.grad

    x = torch.tensor([2.0, 3.0], requires_grad=True)
    g = settled(f, x)
    assert g(x) is x.grad and x.grad.tolist() == [7.0, 9.0]
    z = torch.tensor([1.0, 0.0], requires_grad=True)
    assert g(z).tolist() == [5.0, 3.0] and z.grad.tolist() == [5.0, 3.0] and x.grad.tolist() == [7.0, 9.0]
    seen: list[Any] = []
    z.register_hook(lambda v: seen.append(v) or v * 2)
    with pytest.warns(UserWarning, match="hooks"):
        assert g(z).tolist() == [10.0, 6.0] and len(seen) == 1


def test_gradients_that_add_up_are_refused() -> None:
    def f(x: Any) -> Any:
        (x * x).sum().backward()
        return x * 1.0 if False else 0

    x = torch.ones(2, requires_grad=True)
    g = compiled(f)
    g(x)
    with pytest.raises(RuntimeError, match="memory from outside is written"):
        g(x)


def prints(x: Any) -> Any:
    print("hello")
    return x


def counts(x: Any) -> Any:
    settings.gain += 1
    return x


def appends(x: Any) -> Any:
    NUMBERS.append(3.0)
    return x


def draws(x: Any) -> Any:
    return x + torch.rand(3)


def reads(x: Any) -> Any:
    return x * x.sum().item()


def branches(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    return x


def writes(x: Any) -> Any:
    x += 1
    return x * 2


def writes_a_view(x: Any) -> Any:
    x[0] = 1.0
    return x * 2


def hands_back_a_view(x: Any) -> Any:
    return x[1:]


def iterates(x: Any) -> Any:
    return x * next(ITERATOR)


def catches(x: Any) -> Any:
    try:
        return x * 2
    except ValueError:
        return x


ITERATOR = iter([1.0] * 100)


@pytest.mark.parametrize(
    "f, reason",
    [
        (prints, "print is called"),
        (counts, "'gain' of an object from outside is written"),
        (appends, "append"),
        (draws, "random_uniform runs at once"),
        (reads, "a value was read"),
        (branches, "a value was read"),
        (writes, "memory from outside is written"),
        (writes_a_view, "memory from outside is written"),
        (hands_back_a_view, "shares its memory"),
        (iterates, "next is called"),
        (catches, "a try statement"),
        (lambda x: np.float32(2.0) * x, "float32 is made"),
        (lambda x: x * float(np.random.rand()), "rand is called"),
        (lambda x: torch.manual_seed(0) and x, "manual_seed is called"),
    ],
)
def test_refusals_name_the_reason_and_the_line(f: Any, reason: str) -> None:
    g = compiled(f)
    before = settings.gain, list(NUMBERS)
    with pytest.raises(RuntimeError, match="cannot replay") as e:
        for _ in range(3):
            g(torch.ones(3))
    assert reason in str(e.value) and "default mode" in str(e.value)
    if "shares" not in reason:
        assert "test_replay.py" in str(e.value)
    assert (settings.gain, NUMBERS) == before, "refused before it ran"


def test_hidden_state_is_found_by_running_the_python_again() -> None:
    """What the proof cannot know is looked for again at the 4th, 16th, 64th call."""

    class Odd:
        def __init__(self) -> None:
            self.calls = 0

        def __len__(self) -> int:
            self.calls += 1
            return 1 + self.calls // 3

    odd = Odd()
    g = compiled(lambda x: x * len(odd))
    with pytest.raises(RuntimeError, match="cannot replay"):
        g(torch.ones(3))


def test_under_a_transform_the_python_runs() -> None:
    f = lambda x: (x * x).sum()  # noqa: E731
    g = settled(f, torch.ones(3))
    assert torch.func.grad(g)(torch.ones(3)).tolist() == [2.0] * 3
    assert torch.func.vmap(g)(torch.ones(2, 3)).tolist() == [3.0, 3.0]


def test_many_variants_end_in_a_warning_and_the_python() -> None:
    f = lambda x, n: x * n  # noqa: E731
    g = compiled(f)
    with pytest.warns(UserWarning, match="comes with another one"):
        for n in range(20):
            for _ in range(3):
                agree(g, f, torch.ones(2), n)
    agree(g, f, torch.ones(2), 77)


def test_errors_are_those_of_the_function() -> None:
    f = lambda x, y: x @ y  # noqa: E731
    g = settled(f, torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        g(torch.ones(2, 3), torch.ones(2, 3))
    agree(g, f, torch.ones(2, 3), torch.ones(3, 2))


def test_operations_that_may_fail_on_values() -> None:
    table = torch.randn(5, 3)
    f = lambda i: table[i] * 2  # noqa: E731
    g = settled(f, torch.tensor([0, 4]))
    agree(g, f, torch.tensor([1, 2]))
    with pytest.raises(IndexError, match="out of"):
        g(torch.tensor([0, 7]))
    agree(g, f, torch.tensor([3, 3]))
    h = compiled(lambda a: torch.linalg.cholesky(a) * 2)
    for _ in range(5):
        h(torch.eye(3))
    with pytest.raises(torch.linalg.LinAlgError):
        h(-torch.eye(3))


def test_embeddings_recurrence_and_attention() -> None:
    models = [
        (nn.Embedding(7, 4), torch.tensor([[1, 2, 6]])),
        (nn.LSTM(4, 8, batch_first=True), torch.randn(2, 3, 4)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 3, 8)),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)),
            torch.randn(1, 1, 8, 8),
        ),
    ]
    with torch.no_grad():
        for model, x in models:
            g = compiled(model.eval())
            for _ in range(5):
                g(x)
            assert g.compiled.replayed.replays >= 2
            agree(g, model, x)


def test_under_a_profiler_or_autocast_the_python_runs() -> None:
    f = lambda x: x @ x + 1  # noqa: E731
    x = torch.ones(3, 3)
    g = settled(f, x)
    count = replays(g)
    with torch.profiler.profile() as p:
        for _ in range(20):
            agree(g, f, x)
    assert any("matmul" in e.key for e in p.key_averages()) and replays(g) == count
    with torch.autocast("cpu"):
        assert g(x).dtype == f(x).dtype
    g(x)
    assert replays(g) > count
