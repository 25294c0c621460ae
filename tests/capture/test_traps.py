"""Fifteen mistakes that compilers of tensor programs make, each with the test that would have caught it.

The numbers are those of reports on PyTorch ("pytorch#"), JAX, MLX and tinygrad.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample, outputs
from flambeau.capture.lower import kernels
from flambeau.func import jvp, vjp, vmap

SAMPLES = [
    s
    for s in calls.all_samples()
    if s.differentiable() and s.order > 1 and all(s.args[i].dtype.kind == "f" for i in s.differentiable())
]  # complex ones have their derivatives tested in the battery


def close(got: Any, want: Any, what: str = "", tol: float = 1e-9) -> None:
    for g, w in zip(outputs(got), outputs(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol, err_msg=what)


def test_1_effects_are_neither_dropped_nor_doubled_nor_reordered() -> None:
    """pytorch#197896, #198189, #169253."""
    log: list[Any] = []

    def f(x: Any) -> Any:
        log.append(("env", os.environ.get("HOME") is not None))
        y = x * 2
        log.append(("sum", float(y.sum())))
        log.append(("time", time.monotonic() > 0))
        z = y + len(log)
        log.append(("id", threading.get_ident()))
        return z

    compiled = torch.compile(f)
    traces = []
    for fn in (f, compiled):
        log.clear()
        results = [fn(torch.ones(2)).tolist() for _ in range(4)]
        traces.append((list(log), results))
    assert traces[0] == traces[1]


def test_2_what_was_captured_may_change() -> None:
    """pytorch#176851, #197860, #197811, #191821, #115774; jax#1426."""
    state: dict[str, Any] = {"k": 1.0}

    class A:
        k = 1.0

    a = A()
    cell = 1.0

    def f(x: Any, options: dict[str, float]) -> Any:
        return x * state["k"] * A.k * a.k * cell * options["k"]

    compiled = torch.compile(f)
    x, options = torch.ones(1), {"k": 1.0}
    for _ in range(3):
        assert compiled(x, options).item() == 1
    state["k"] = 2.0
    assert compiled(x, options).item() == 2
    A.k = 3.0
    assert compiled(x, options).item() == 2 * 3 * 3
    a.k = 5.0
    assert compiled(x, options).item() == 2 * 3 * 5
    cell = 7.0
    assert compiled(x, options).item() == 2 * 3 * 5 * 7
    options["k"] = 11.0
    assert compiled(x, options).item() == 2 * 3 * 5 * 7 * 11


def test_3_random_numbers_are_eager_s_in_every_thread() -> None:
    """mlx#4234; pytorch#192635, #143431."""

    def f(x: Any) -> Any:
        return (x + torch.randn(3)) * torch.rand(3), torch.randperm(4), torch.nn.functional.dropout(x)

    compiled = torch.compile(f)
    traces: list[Any] = []

    def run(fn: Any) -> None:
        torch.manual_seed(3)
        traces.append([[t.tolist() for t in fn(torch.ones(3))] for _ in range(4)])

    for fn in (f, compiled):
        run(fn)
        worker = threading.Thread(target=run, args=(fn,))
        worker.start()
        worker.join()
    for trace in traces[1:]:
        close(
            [np.array(v) for call in trace for v in call],
            [np.array(v) for call in traces[0] for v in call],
            tol=1e-6,
        )


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("second", range(3))
def test_4_arguments_that_overlap(first: int, second: int) -> None:
    """pytorch#139789, #198095."""

    def f(x: Any, y: Any) -> Any:
        a = x * y
        x.add_(1)
        b = x * y
        y.mul_(2)
        return a, b, x - y

    compiled = torch.compile(f)
    for i, j in ((0, 4), (first, second), (0, 4), (first, second)):
        results = []
        for fn in (f, compiled):
            base = torch.arange(8.0)
            results.append([t.tolist() for t in (*fn(base[i : i + 4], base[j : j + 4]), base)])
        assert results[0] == results[1]


def test_5_hooks_and_forward_set_after_compiling() -> None:
    """pytorch#117758, #117265, #115750."""
    m = torch.nn.Linear(2, 2)
    compiled = torch.compile(m)
    x = torch.ones(1, 2)
    for _ in range(3):
        close(compiled(x), m(x))
    handle = m.register_forward_hook(lambda module, args, out: out + 100)
    assert (compiled(x) > 50).all()
    handle.remove()
    close(compiled(x), m(x))
    m.forward = lambda x: x * 0  # type: ignore[method-assign]
    assert compiled(x).sum() == 0


@pytest.mark.parametrize("s", SAMPLES, ids=lambda s: s.key)
def test_6_transforms_of_compiled_functions(s: Sample) -> None:
    """pytorch#91469, #181581, #187284, #136662: second derivatives, and batches of derivatives."""
    run, xs = s.of_differentiable()

    def f(*args: Any) -> Any:
        outs = run(*args)
        return [o * o for o in (outs if isinstance(outs, tuple) else (outs,)) if o.is_floating_point()]

    if not f(*xs):  # all results are complex
        return
    compiled = torch.compile(f)

    def pull(fn: Any) -> Any:
        def pulled(*args: Any) -> Any:
            outs, back = vjp(fn, *args)
            return back(type(outs)([torch.ones_like(o) for o in outs]))

        return pulled

    for _ in range(3):
        close(pull(compiled)(*xs), pull(f)(*xs), s.key, 1e-8)
        close(
            jvp(pull(compiled), tuple(xs), tuple(xs))[1], jvp(pull(f), tuple(xs), tuple(xs))[1], s.key, 1e-8
        )
        close(pull(pull(compiled))(*xs), pull(pull(f))(*xs), s.key, 1e-7)
    if s.batches and s.expandable:
        batch = [torch.stack([x, x * 0.99]) for x in xs]
        close(vmap(pull(compiled))(*batch), vmap(pull(f))(*batch), s.key, 1e-7)


def test_7_numbers_that_compare_equal() -> None:
    """pytorch PR #192604."""
    values = (0.0, -0.0, 1, 1.0, True, False, 0, float("nan"), float("-inf"), 2**53 + 1, 1e-320, -1)
    f = torch.compile(lambda x, k: (x * k, x.pow(k), torch.full((2,), k), x + k, torch.copysign(x, float(k))))
    g = f.compiled.fn
    x = torch.tensor([1.5, -2.0], dtype=torch.float64)
    for k in values * 3:
        for got, want in zip(f(x, k), g(x, k)):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(np.signbit(got.numpy()), np.signbit(want.numpy()), err_msg=str(k))
            np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-15, err_msg=str(k))


def test_8_schedules_and_shapes_compile_once() -> None:
    """pytorch#107076, #149406, #135458, #186537."""
    w = torch.ones(4, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1)

    @torch.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = ((w * x).tanh() ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    for n in (2, 2):
        step(torch.ones(n, 4))
    before = kernels.COUNTS["kernels"]
    for i in range(100):
        optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
        step(torch.ones(2 + i % 7, 4))
    assert kernels.COUNTS["kernels"] == before


def test_9_sizes_are_python_integers() -> None:
    """Sizes that only look like integers escape the guards when C code reads them: ours are the integers."""
    seen: list[Any] = []

    @torch.compile
    def f(x: Any) -> Any:
        y = x * 2
        n = y.shape[0]
        seen.append(
            (type(n), range(n), f"{n}", [0] * n, np.zeros(n).shape, n in {2, 3}, y.stride()[0].bit_length())
        )
        return y.reshape(n, 1).expand(n, n)[: n - 1]

    for n in (2, 2, 3, 3, 4):
        assert f(torch.ones(n)).shape == (n - 1, n)
    assert all(kind is int for kind, *_ in seen)


def test_10_casts_and_roundings_stay() -> None:
    """pytorch PR #179572, PR #195223, #159239: a cast down and up again rounds; products and sums round one by one."""

    def f(x: Any) -> Any:
        y = x * 1.1
        return (
            y.to(torch.float16).to(torch.float32),
            y.to(torch.bfloat16).float() + 1,
            y.double().float() * 3 + y,
            (y.bfloat16() > x.bfloat16()),
            y.half() + y.half() * y.half(),
            y.to(torch.int32) / 2,
        )

    compiled = torch.compile(f)
    x = torch.linspace(-3, 3, 1001)
    for _ in range(3):
        for got, want in zip(compiled(x), f(x)):
            assert got.dtype == want.dtype
            assert torch.equal(got, want)


def test_11_bad_indices_are_errors_where_they_are_used() -> None:
    """pytorch#185885, #111952."""
    cases = [
        (lambda x, i: (x * 2)[i], IndexError),
        (lambda x, i: (x * 2).gather(0, i), RuntimeError),
        (lambda x, i: torch.nn.functional.embedding(i, x.view(-1, 1) * 2), IndexError),
        (lambda x, i: (x * 2).index_select(0, i), (IndexError, RuntimeError)),
        (lambda x, i: torch.nn.functional.cross_entropy((x * 2).view(1, -1), i), IndexError),
    ]
    for fn, kind in cases:
        compiled = torch.compile(fn)
        x = torch.ones(4)
        for i in (1, 1, 9, 1, -9):
            index = torch.tensor([i])
            if i == 1:
                close(compiled(x, index), fn(x, index))
            else:
                for run in (fn, compiled):
                    with pytest.raises(kind):  # type: ignore[arg-type]
                        run(x, index)


def test_12_gradients_of_any_layout_or_none() -> None:
    """pytorch#134644, #130736, #185669."""

    def f(x: Any, y: Any) -> Any:
        return (x * 2).t(), (y * 3).expand(4, 3), x * y

    compiled = torch.compile(f)
    for which in ((0, 1, 2), (0,), (1,), (2,), (0, 2)):
        results = []
        for fn in (f, compiled, compiled, compiled):
            x, y = torch.ones(4, 3, requires_grad=True), torch.ones(3, requires_grad=True)
            outs = [fn(x, y)[i] for i in which]
            seeds = [torch.arange(12.0).view(o.shape[1], o.shape[0]).t() for o in outs]
            grads = torch.autograd.grad(outs, (x, y), seeds, allow_unused=True)
            results.append([None if g is None else g.tolist() for g in grads])
        assert all(r == results[0] for r in results)


def test_13_the_cache_key_has_everything_that_matters(tmp_path: Any) -> None:
    """pytorch PR #184444, PR #101027: another instruction set, and damaged entries, must not be loaded."""
    program = (
        "import flambeau as torch; f = torch.compile(lambda x: (x * 2 + 1).tanh() * x); x = torch.linspace(-2, 2, 1000)\n"
        "f(x); r = f(x); print(torch.allclose(r, (x * 2 + 1).tanh() * x, atol=1e-6))"
    )
    base = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }

    def run(**more: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program], env={**base, **more}, capture_output=True, text=True, check=True
        ).stdout.strip()

    def entries() -> set[Any]:
        return {p for p in tmp_path.rglob("*") if p.is_file()}

    assert run() == "True"
    first = entries()
    assert first and run() == "True" and entries() == first
    assert run(FLAMBEAU_VECTOR_BITS="128") == "True" and len(entries()) > len(first)
    for path in entries():
        path.write_bytes(path.read_bytes()[:-7] + b"garbage")
    assert run() == "True"


def test_14_results_outlive_the_next_call() -> None:
    """pytorch#148439, #158551."""
    f = torch.compile(lambda x: (x * 2).tanh() + 1, mode="reduce-overhead")
    kept = [f(torch.full((1000,), float(i))) for i in range(6)]
    for i, y in enumerate(kept):
        close(y, (torch.full((1000,), float(i)) * 2).tanh() + 1, tol=1e-6)


def _in_child(queue: Any) -> None:
    f = torch.compile(lambda x: (x * 3).exp().sum())
    queue.put([f(torch.ones(5)).item() for _ in range(3)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_15_threads_forks_and_leaks() -> None:
    """pytorch#118260, #168042, #112090."""
    f = torch.compile(lambda x: (x * 2).sin() + x)
    errors: list[Any] = []

    def work(n: int) -> None:
        for i in range(30):
            x = torch.full((n + i % 2,), float(i))
            if not torch.allclose(f(x), (x * 2).sin() + x, atol=1e-5):
                errors.append((n, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    values = queue.get(timeout=60)
    child.join()
    np.testing.assert_allclose(values, [5 * np.exp(3)] * 3, rtol=1e-6)
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(o, torch.Tensor) for o in gc.get_objects())
        for _ in range(50):
            f(torch.ones(10))
        after = sum(isinstance(o, torch.Tensor) for o in gc.get_objects())
    finally:
        gc.enable()
    assert after <= before + 2
