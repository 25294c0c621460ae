"""``mode="max-autotune"``: searches are kept and found again, and no choice changes what a function means."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.capture import tune
from flambeau.capture.graph import Graph
from flambeau.capture.lower import choices, compile_graph
from flambeau.capture.tune import USUAL, Choice, Tuner
from flambeau.compiler import engine, gemm
from flambeau.compiler.gemm import Schedule
from flambeau.compiler.object_cache import ObjectCache
from flambeau.core.op import REGISTRY
from flambeau.runtime.threads import get_num_threads, set_num_threads

F = torch.nn.functional


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, nothing known, and short searches."""
    monkeypatch.setattr(engine, "object_cache", ObjectCache(tmp_path / "cache"))
    monkeypatch.setattr(tune, "_known", {})
    monkeypatch.setattr(tune, "DECISION", 0.002)
    monkeypatch.setattr(tune, "LONGEST", 0.004)
    threads = get_num_threads()
    yield tmp_path / "cache"
    set_num_threads(threads)


def tuned(fn: Any) -> Any:
    return torch.compile(fn, mode="max-autotune")


def searches() -> int:
    return tune.COUNTS["searches"]


def forget() -> None:
    """As in a new process: what is known is what the folder has."""
    tune._known.clear()


def chain(x: Any) -> Any:
    return (x * 2 + 1).tanh() * x.exp() - x.abs().sqrt()


def twice(fn: Any, *args: Any) -> Any:
    """A call that learns and one that makes the program."""
    fn(*args)
    return fn(*args)


def test_choices_are_kept_and_found_again(folder: Path) -> None:
    x, w = torch.randn(64, 256), torch.randn(256, 64)

    def fn(x: Any) -> Any:
        return (chain(x).softmax(-1) @ w).sum()

    before = searches()
    want = twice(tuned(fn), x)
    done = searches() - before
    assert done >= 2
    kept = sorted(p.name for p in folder.glob("choice-*"))
    assert len(kept) == done
    twice(tuned(fn), x)  # another function of the same process
    forget()
    found = tune.COUNTS["found"]
    got = twice(tuned(fn), x)  # another process
    assert searches() == before + done and tune.COUNTS["found"] == found + done
    torch.testing.assert_close(got, want)


def test_a_number_of_threads_has_its_own_choices() -> None:
    x = torch.randn(5000)
    for threads in (1, 2):
        set_num_threads(threads)
        before = searches()
        twice(tuned(chain), x)
        assert searches() == before + 1


@pytest.mark.parametrize(
    "body", [b"", b"garbage", b"[]", b'["calls", 3, 1.0, 8192, ["", 256, 12, 4]]', b'{"a": 1}']
)
def test_what_means_nothing_is_searched_for_again(folder: Path, body: bytes) -> None:
    x = torch.randn(5000)
    twice(tuned(chain), x)
    (file,) = folder.glob("choice-*")
    forget()
    engine.object_cache.put(file.stem, body)  # with a checksum that is right
    before = searches()
    torch.testing.assert_close(twice(tuned(chain), x), chain(x))
    assert searches() == before + 1
    assert tune._read(engine.object_cache.get(file.stem) or b"") is not None  # mended


def test_a_damaged_file_is_ignored(folder: Path) -> None:
    x = torch.randn(5000)
    twice(tuned(chain), x)
    (file,) = folder.glob("choice-*")
    forget()
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    before = searches()
    torch.testing.assert_close(twice(tuned(chain), x), chain(x))
    assert searches() == before + 1


def test_every_choice_survives_writing() -> None:
    for choice in (
        USUAL,
        Choice("calls"),
        Choice("", 8, 0.1, 1 << 15),
        Choice(schedule=Schedule("packed", 384, 8, 0)),
    ):
        assert tune._read(tune._written(choice)) == choice


def test_without_a_folder_there_is_one_warning_and_memory_serves(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(engine, "object_cache", ObjectCache(tmp_path / "file" / "below"))
    x = torch.randn(5000)
    before = searches()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2):
            torch.testing.assert_close(twice(tuned(chain), x), chain(x))
            twice(tuned(lambda x: x.cos() * 2 + x.sin()), x)
    assert len([w for w in seen if "memory only" in str(w.message)]) == 1
    assert searches() == before + 2


# ------------------------------------------------------------------------------------------------- any choice is right


def graph_of(fn: Any, *args: Any) -> Graph:
    """The graph of a function."""
    compiled = torch.compile(fn)
    twice(compiled, *args)
    step: Any = compiled.compiled.root
    while step.children:
        (step,) = step.children.values()
    (program,) = step.programs.values()
    return program.graph  # type: ignore[no-any-return]


class Fixed(Tuner):
    """Takes one choice for everything that has any."""

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        self.choice, self.asked = choice, 0

    def choose(self, *args: Any) -> Choice:
        self.asked += 1
        return self.choice


PARTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "points": (chain, (torch.randn(40, 300),)),
    "broadcast": (lambda x, y: (x * y).tanh() + y, (torch.randn(40, 300), torch.randn(300))),
    "one": (lambda x: x.tanh(), (torch.randn(5000),)),
    "rows": (lambda x: x.softmax(-1) * 2, (torch.randn(50, 700),)),
    "across": (lambda x: ((x * 2).sum(0), (x * 2).sum(-1, keepdim=True) + x), (torch.randn(300, 100),)),
    "all": (lambda x: (x * x + 1).sum(), (torch.randn(90_001),)),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_choice_gives_the_same_kernels(name: str, threads: int) -> None:
    set_num_threads(threads)
    fn, args = PARTS[name]
    graph = graph_of(fn, *args)
    arrays, numbers = [a.numpy() for a in args], [2, 1][: len(graph.scalars)]
    if name == "all":
        numbers = [1]
    want = graph.run(arrays, numbers)
    for choice in (
        *[Choice(way) for way in ("calls", "kernel")],
        *[Choice("", unroll) for unroll in (1, 2, 4, 8)],
        *[Choice(factor=factor) for factor in (tune.SERIAL, 0.1, 10.0)],
        *[Choice(columns=columns) for columns in (1 << 11, 1 << 15)],
    ):
        tuner = Fixed(choice)
        got = compile_graph(graph, tuner).run(arrays, numbers)
        assert tuner.asked
        for g, w in zip(got, want, strict=True):
            assert g.dtype == w.dtype and g.strides == w.strides
            np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("a", "b"),
    [((65, 70), (70, 33)), ((3, 4, 50), (3, 50, 20)), ((2, 3, 9, 40), (40, 31)), ((1, 300), (300, 300))],
)
@pytest.mark.parametrize("turned", [False, True])
def test_every_choice_gives_the_same_product(a: Any, b: Any, turned: bool) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(a), rng.standard_normal((*b[:-2], b[-1], b[-2]) if turned else b)
    y = np.swapaxes(y, -1, -2) if turned else y
    graph = Graph()
    values = [graph.input(z.shape, z.dtype, z.strides) for z in (x, y)]
    want = x @ y
    instr = graph.add(REGISTRY["matmul"], values, {}, [(want.shape, want.dtype, want.strides)])
    assert choices.has_choice(instr)
    graph.outputs = [instr.out]
    for way in ("packed", "plain", "transposed"):
        for stretch, tile, share in ((256, 12, 4), (128, 4, 0), (512, 24, 1), (16, 1, 8)):
            choice = Choice(schedule=Schedule(way, stretch, tile, share))
            (got,) = compile_graph(graph, Fixed(choice)).run([x, y], [])
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    (got,) = compile_graph(graph, Fixed(Choice("numpy"))).run([x, y], [])
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_a_schedule_adds_the_bias() -> None:
    rng = np.random.default_rng(0)
    a, b, bias = (rng.standard_normal(s) for s in ((2, 30, 40), (1, 40, 50), (50,)))
    for way in ("", "packed", "plain"):
        got = gemm.batched_matmul(a, b, bias=bias, schedule=Schedule(way, share=0))
        np.testing.assert_allclose(got, a @ b + bias, rtol=1e-9)


def test_a_candidate_with_other_results_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Correctness never depends on the choice: here everything but the usual way is wrong, and fast."""

    def wrong(instr: Any, choice: Choice) -> Any:
        return lambda a, b: np.zeros((64, 64), np.float32)

    monkeypatch.setattr(choices, "implementation", wrong)
    x = torch.randn(64, 64)
    before = searches()
    torch.testing.assert_close(twice(tuned(lambda x: x @ x), x), x @ x)
    assert searches() == before + 1 and set(tune._known.values()) == {USUAL}


def test_alike() -> None:
    x = np.array([1.0, np.nan, np.inf, 1e-30], np.float32)
    assert tune.alike([x], [x.copy()])
    assert not tune.alike([x], [np.where(np.isnan(x), 0, x).astype(np.float32)])
    assert not tune.alike([x * np.float32(1.01)], [x])
    assert not tune.alike([x.astype(np.float64)], [x])
    assert not tune.alike([np.ones((2, 3)).T], [np.ones((3, 2))])
    assert not tune.alike([np.array([1, 2])], [np.array([1, 3])])


def test_samples_have_the_layout() -> None:
    base = np.zeros((4, 6, 5), np.float32)
    for a in (
        base,
        base.transpose(2, 0, 1),
        base[:, ::-1, 1:3],
        np.broadcast_to(base[:1], (7, 6, 5)),
        base[:0],
    ):
        made = tune.sample(Graph().input(a.shape, a.dtype, a.strides), 0)
        assert (made.shape, made.dtype, made.strides) == (a.shape, a.dtype, a.strides)
        assert np.isfinite(made).all()
    assert tune.sample(Graph().input((2,), np.dtype(np.complex64), (8,)), 0) is None


# -------------------------------------------------------------------------------------------------------- programs


def test_modules_and_training_steps() -> None:
    def losses(wrap: Any) -> tuple[list[float], Any]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(40, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        x, t = torch.randn(64, 40), torch.randint(0, 10, (64,))
        found = []

        def step() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
            return loss

        run = wrap(step)
        found = [run().item() for _ in range(6)]
        compiled = torch.compile(model, mode="max-autotune") if wrap is tuned else model
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(compiled(x), t).backward()  # the backward pass from outside
        return found, [p.grad for p in model.parameters()]

    (want, grads), (got, own) = losses(lambda f: f), losses(tuned)
    np.testing.assert_allclose(got, want, rtol=1e-4)
    for g, w in zip(own, grads, strict=True):
        torch.testing.assert_close(g, w, rtol=1e-3, atol=1e-5)


def test_transforms_inside_and_around() -> None:
    w = torch.randn(48, 48)

    def loss(x: Any) -> Any:
        return ((x @ w).tanh() ** 2).sum()

    x, xs = torch.randn(48, 48), torch.randn(3, 48, 48)
    for make in (torch.func.grad, lambda f: lambda x: torch.func.jvp(f, (x,), (x,))[1]):
        inside, around, want = tuned(make(loss)), make(tuned(loss)), make(loss)(x)
        for _ in range(3):
            torch.testing.assert_close(inside(x), want, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(around(x), want, rtol=1e-4, atol=1e-4)
    each, want = torch.vmap(torch.func.grad(loss)), torch.vmap(torch.func.grad(loss))(xs)
    mapped = tuned(each)
    for _ in range(3):
        torch.testing.assert_close(mapped(xs), want, rtol=1e-4, atol=1e-4)


def test_a_search_leaves_random_numbers_alone() -> None:
    f = tuned(lambda x: chain(x) + torch.rand(5000))
    x = torch.zeros(5000)
    torch.manual_seed(3)
    got = [f(x) for _ in range(3)]
    torch.manual_seed(3)
    for g in got:
        torch.testing.assert_close(g, chain(x) + torch.rand(5000))


def test_a_program_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "PROGRAM", 0.0)
    x, w, v = torch.randn(64, 64), torch.randn(64, 65), torch.randn(65, 66)
    before, skipped = searches(), tune.COUNTS["skipped"]
    f = tuned(lambda x: ((x @ w) @ v).tanh() * 2)
    torch.testing.assert_close(twice(f, x), ((x @ w) @ v).tanh() * 2, rtol=1e-4, atol=1e-3)
    assert searches() == before + 1 and tune.COUNTS["skipped"] == skipped + 1


def test_a_long_search_says_so_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    x = torch.randn(5000)
    for patience, terminal, shown in ((0.0, True, True), (60.0, True, False), (0.0, False, False)):
        forget()
        monkeypatch.setattr(engine, "object_cache", ObjectCache(Path("/nonexistent")))
        monkeypatch.setattr(engine.object_cache, "_ready", True)
        monkeypatch.setattr(tune, "PATIENCE", patience)
        out = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", out)
        twice(tuned(chain), x)
        assert ("max-autotune" in out.getvalue()) is shown
        assert not shown or out.getvalue().endswith("\r")  # and takes its line away


def test_explain_says_what_was_found() -> None:
    x = torch.randn(5000)
    assert "searched: " in tuned(chain).explain(x)
    assert "kept from an earlier search: " in tuned(chain).explain(x)


def test_a_second_process_searches_nothing(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import flambeau as torch
        from flambeau.capture import tune
        torch.manual_seed(0)
        x = torch.randn(64, 128)
        f = torch.compile(lambda x: (x @ x.T).softmax(-1), mode="max-autotune")
        f(x), f(x)
        print(tune.COUNTS["searches"], tune.COUNTS["found"])
    """)
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    (first, _), (second, found) = (map(int, r.stdout.split()) for r in runs)
    assert first > 0 and second == 0 and found == first


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune"])
def test_a_process_without_a_cache_folder_warns_once(mode: str, tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import flambeau as torch
        f = torch.compile(lambda x, y: (x @ y).softmax(-1) * x.tanh() + x.sum(), mode={mode!r})
        for n in (5, 70, 200):
            x, y = torch.rand(n, n), torch.rand(n, n)
            want = (x @ y).softmax(-1) * x.tanh() + x.sum()
            for _ in range(4):
                torch.testing.assert_close(f(x, y), want, rtol=1e-4, atol=1e-4)
    """)
    file = tmp_path / "program.py"  # a folder cannot be made below it; replays are proved from source
    file.write_text(program)
    environment = {"XDG_CACHE_HOME": str(file), "PYTHONPATH": ":".join(sys.path)}
    ran = subprocess.run(
        [sys.executable, str(file)], env=environment, capture_output=True, text=True, check=True
    )
    assert "program.py:" in ran.stderr.splitlines()[0]
    assert ran.stderr.count("RuntimeWarning: compiled kernels are kept in memory only") == 1
    assert ran.stderr.count("Warning") == 1


# ---------------------------------------------------------------------------------------------------- sizes and code


def batch(n: int) -> Any:
    """Numbers whose drawing makes no machine code."""
    return torch.from_numpy(np.random.default_rng(n).standard_normal((n, 64)).astype(np.float32))


@pytest.mark.parametrize("mode", [None, "reduce-overhead"])
@pytest.mark.parametrize("dynamic", [None, True, False])
def test_a_new_size_makes_no_machine_code(
    dynamic: bool | None, mode: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where LLVM assembly is compiled or loaded; replays have code for sizes unless they are dynamic."""
    built: list[Any] = []
    build = engine.build
    monkeypatch.setattr(engine, "build", lambda *args: built.append(args) or build(*args))
    w = torch.randn(64, 64)

    def fn(x: Any) -> Any:
        y = (x * 0.37).tanh().softmax(-1) @ w
        return y, (y**2).mean(), y.sum(0)

    compiled = torch.compile(fn, mode=mode, dynamic=dynamic)

    def check(n: int) -> None:
        x = batch(n)
        for _ in range(4):
            for g, v in zip(compiled(x), fn(x), strict=True):
                torch.testing.assert_close(g, v, rtol=1e-4, atol=1e-4)

    for n in (40, 300, 1000, 1200):  # small arrays are NumPy's, large ones are reduced in chunks
        check(n)
    before = len(built)
    for n in (50, 7, 301, 2, 33, 129, 999, 1500):
        check(n)
    if mode is None or dynamic:
        assert built[before:] == []


def test_gradients_for_a_new_size_make_no_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []
    build = engine.build
    monkeypatch.setattr(engine, "build", lambda *args: built.append(args) or build(*args))
    w = torch.randn(64, 64, requires_grad=True)

    def fn(x: Any) -> Any:
        # a chain that no other test has: kernels of one text are made once in a process
        loss = ((x * 0.41).tanh().cos().erf().softmax(-1) @ w).pow(2).mean()
        return loss, *torch.autograd.grad(loss, w)

    compiled = torch.compile(fn, dynamic=True)
    for n in (40, 300, 1000, 1200):
        twice(compiled, batch(n))
    assert built
    before = len(built)
    for n in (50, 7, 301, 2, 999, 1500):
        x = batch(n)
        for g, v in zip(twice(compiled, x), fn(x), strict=True):
            torch.testing.assert_close(g, v, rtol=1e-3, atol=1e-5)
    assert built[before:] == []
