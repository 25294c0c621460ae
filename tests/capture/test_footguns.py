"""What other compilers freeze, drop or reorder: a compiled function does what eager does, on every call.

Each scenario makes a function and yields the trace of what it does; it runs once with the function as it is and once
compiled, with printed text and random numbers part of the trace.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn

F = nn.functional
Trace = Iterator[Any]


def plain(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return str(x.dtype), x.requires_grad, x.stride(), x.tolist()
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return x


def run(scenario: Callable[[Any], Trace], wrap: Any) -> list[Any]:
    torch.manual_seed(0)
    random.seed(0)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        trace = [plain(v) for v in scenario(wrap)]
    return [*trace, out.getvalue()]


def same(got: Any, want: Any) -> None:
    """Equal, floats to the rounding of float32."""
    if isinstance(want, (list, tuple)):
        assert isinstance(got, (list, tuple)) and len(got) == len(want), (got, want)
        for g, w in zip(got, want):
            same(g, w)
    elif isinstance(want, dict):
        assert list(got) == list(want)
        same(list(got.values()), list(want.values()))
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=1e-5, abs=1e-6, nan_ok=True), (got, want)
    else:
        assert got == want


def footgun(scenario: Callable[[Any], Trace]) -> Callable[[], None]:
    @functools.wraps(scenario)
    def test() -> None:
        same(run(scenario, torch.compile), run(scenario, lambda f: f))

    del test.__wrapped__
    return test


def ones(*shape: int) -> Any:
    return torch.ones(*shape)


SCALE = 2.0


@footgun
def test_a_global(wrap: Any) -> Trace:
    global SCALE
    f = wrap(lambda x: x * SCALE + 1)
    for SCALE in (2.0, 3.0, -0.0, 2.0):  # noqa: B007 - read by f, as a global
        yield f(ones(2))


@footgun
def test_a_closure_cell(wrap: Any) -> Trace:
    k = 1

    @wrap
    def f(x: Any) -> Any:
        return x * k

    for k in (1, 2, 1.5, True):  # noqa: B007 - read by f, as a closure
        yield f(ones(2))


@footgun
def test_a_class_attribute(wrap: Any) -> Trace:
    class A:
        k = 2

    f = wrap(lambda x: x.exp() * A.k)
    yield f(ones(2))
    A.k = 5
    yield f(ones(2)), f(ones(2))


@footgun
def test_an_instance_attribute(wrap: Any) -> Trace:
    class M(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = 1.0

        def forward(self, x: Any) -> Any:
            return x.sin() * self.k

    m = M()
    f = wrap(m)
    for m.k in (1.0, 2.0, 3.0):
        yield f(ones(2))


@footgun
def test_a_method_that_is_replaced(wrap: Any) -> Trace:
    class A:
        def op(self, x: Any) -> Any:
            return x + 1

    a = A()
    f = wrap(lambda x: a.op(x) * 2)
    yield f(ones(2)), f(ones(2))
    A.op = lambda self, x: x - 1  # type: ignore[method-assign]
    yield f(ones(2))
    a.op = lambda x: x * 10  # type: ignore[method-assign]
    yield f(ones(2))


@footgun
def test_forward_that_is_replaced(wrap: Any) -> Trace:
    m = nn.Linear(2, 2)
    f = wrap(m)
    yield f(ones(1, 2)), f(ones(1, 2))
    m.forward = lambda x: x * 3  # type: ignore[method-assign]
    yield f(ones(1, 2))


@footgun
def test_the_code_of_a_function_is_replaced(wrap: Any) -> Trace:
    def g(x: Any) -> Any:
        return x + 1

    def h(x: Any) -> Any:
        return x * 7

    f = wrap(lambda x: g(x))
    yield f(ones(2)), f(ones(2))
    g.__code__ = h.__code__
    yield f(ones(2))


@footgun
def test_default_arguments_that_change(wrap: Any) -> Trace:
    def f(x: Any, k: float = 1.0) -> Any:
        return x * k

    c = wrap(f)
    yield c(ones(2)), c(ones(2))
    f.__defaults__ = (4.0,)
    yield c(ones(2))


@footgun
def test_a_list_argument_that_grows(wrap: Any) -> Trace:
    f = wrap(lambda xs: sum(x * 2 for x in xs))
    xs = []
    for i in range(5):
        xs.append(torch.full((2,), float(i)))
        yield f(xs)


@footgun
def test_a_list_that_the_function_appends_to(wrap: Any) -> Trace:
    log: list[Any] = []

    @wrap
    def f(x: Any) -> Any:
        y = x * len(log)
        log.append(y)
        return y + 1

    for _ in range(4):
        yield f(ones(2))
    yield log


@footgun
def test_a_cache_in_self(wrap: Any) -> Trace:
    class M(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cache: Any = None

        def forward(self, x: Any) -> Any:
            if self.cache is None or self.cache.shape != x.shape:
                self.cache = x.exp()
            return self.cache + x

    m = wrap(M())
    for n in (2, 2, 3, 2):
        yield m(ones(n))
        yield m.cache


@footgun
def test_a_counter_and_a_branch_on_it(wrap: Any) -> Trace:
    state = {"n": 0}

    @wrap
    def f(x: Any) -> Any:
        state["n"] += 1
        return x * 2 if state["n"] % 2 else x.exp()

    for _ in range(6):
        yield f(ones(2))
    yield state["n"]


@footgun
def test_printing(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        print("y is", y, y.sum().item(), f"{y.sum()}", y.shape)
        return y + 1

    for i in range(4):
        yield f(ones(2) * i)


@footgun
def test_random_numbers(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        a = x + torch.randn(2)
        b = F.dropout(x, 0.5)
        c = torch.rand(2) * random.random()
        return a * 2, b, c, torch.empty(2).uniform_()

    for _ in range(4):
        yield f(ones(2))
    yield torch.rand(2), torch.get_rng_state().sum()


@footgun
def test_numpy_random_numbers(wrap: Any) -> Trace:
    r = np.random.default_rng(0)
    f = wrap(lambda x: x * float(r.random()) + torch.from_numpy(r.random(2)))
    for _ in range(4):
        yield f(ones(2))


def test_time() -> None:
    @torch.compile
    def f(x: Any) -> Any:
        return x * 0 + time.perf_counter()

    x = torch.zeros(1, dtype=torch.float64)
    times = [f(x).item() for _ in range(4)]
    assert times == sorted(times) and len(set(times)) == 4


@footgun
def test_branches_on_data(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        if y.sum() > 3:
            return y + 10
        while y.max() < 4:
            y = y * 2
        return y - 1

    for k in (0.1, 1.0, 5.0, 0.1, 2.0, 5.0):
        yield f(ones(2) * k)


@footgun
def test_a_loop_of_a_changing_length(wrap: Any) -> Trace:
    @wrap
    def f(x: Any, n: int) -> Any:
        for i in range(n):
            x = x * 1.5 + i
        return x

    for n in (0, 1, 5, 3, 5, 8):
        yield f(ones(2), n)


@footgun
def test_numbers_that_are_equal_and_differ(wrap: Any) -> Trace:
    f = wrap(lambda x, k: (x * k, x / k if k else x, torch.full((2,), k), x + k))
    for k in (0.0, -0.0, 1, 1.0, True, False, 0, float("nan"), float("inf"), 1, -0.0):
        yield str(f(ones(2), k))


@footgun
def test_strings_and_none(wrap: Any) -> Trace:
    f = wrap(lambda x, how: F.gelu(x, approximate=how) if how else x)
    for how in ("none", "tanh", None, "none"):
        yield f(ones(2) * 0.3, how)


@footgun
def test_dtypes_shapes_and_strides_that_change(wrap: Any) -> Trace:
    f = wrap(lambda x: (x * 2 + x.sum(0), x.t().reshape(-1), x.stride()))
    for x in (
        ones(2, 3),
        ones(3, 2).t(),
        torch.ones(2, 3, dtype=torch.float64),
        torch.ones(2, 3, dtype=torch.int32),
        ones(4, 1),
        ones(1, 4),
        ones(0, 4),
        ones(2, 3),
        ones(2, 6)[:, ::2],
        ones(1, 3).expand(2, 3),
    ):
        yield f(x)


@footgun
def test_default_dtype_and_grad_mode_outside(wrap: Any) -> Trace:
    f = wrap(lambda x: torch.ones(2) * 2 + x * 0.5)
    x = torch.ones(2, requires_grad=True)
    i = torch.ones(2, dtype=torch.int64)
    yield f(x), f(i)
    torch.set_default_dtype(torch.float64)
    try:
        yield f(x), f(i)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        yield f(x)
    with torch.inference_mode():
        yield f(x).is_inference()
    yield f(x), f(i)


@footgun
def test_grad_modes_inside(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        with torch.no_grad():
            a = x * 2
        b = a * x
        with torch.enable_grad():
            c = (x * 3).detach() + b
        return a, b, c

    x = torch.ones(2, requires_grad=True)
    for _ in range(3):
        a, b, c = f(x)
        yield a, b, c, torch.autograd.grad((b + c).sum(), x)


@footgun
def test_requires_grad_that_changes(wrap: Any) -> Trace:
    f = wrap(lambda x: (x * x).sum())
    x = ones(3)
    for flag in (False, True, False, True):
        x.requires_grad_(flag)
        y = f(x)
        yield y
        if flag:
            y.backward()
            yield x.grad
            x.grad = None


@footgun
def test_train_and_eval(wrap: Any) -> Trace:
    m = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.ReLU(inplace=True))
    f = wrap(m)
    x = torch.randn(5, 3)
    for mode in (True, True, False, True, False):
        m.train(mode)
        yield f(x), {k: v.clone() for k, v in m.state_dict().items()}


@footgun
def test_hooks_added_and_removed(wrap: Any) -> Trace:
    m = nn.Linear(2, 2)
    f = wrap(m)
    x = ones(1, 2)
    log: list[Any] = []
    yield f(x), f(x), f(x)
    handles = [
        m.register_forward_hook(lambda mod, i, o: o * 2),
        m.register_forward_pre_hook(lambda mod, i: (i[0] + 1,)),
        m.register_full_backward_hook(lambda mod, gi, go: log.append(go[0].sum().item())),
        m.weight.register_hook(lambda g: g * 3),
    ]
    for _ in range(3):
        y = f(x)
        m.zero_grad()
        y.sum().backward()
        yield y, m.weight.grad
    for h in handles:
        h.remove()
    y = f(x)
    m.zero_grad()
    y.sum().backward()
    yield y, m.weight.grad, log


@footgun
def test_tensor_hooks_inside(wrap: Any) -> Trace:
    log: list[Any] = []

    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        y.register_hook(lambda g: log.append(g.sum().item()) or g * 5)
        y.retain_grad()
        (y * y).sum().backward()
        return y.grad

    x = torch.ones(2, requires_grad=True)
    for _ in range(3):
        yield f(x), x.grad
    yield log


@footgun
def test_saved_tensor_hooks(wrap: Any) -> Trace:
    log: list[Any] = []

    @wrap
    def f(x: Any) -> Any:
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: (log.append(tuple(t.shape)), t * 1)[1], lambda t: t * 2
        ):
            y = (x * x).exp()
        return torch.autograd.grad(y.sum(), x)

    x = torch.ones(2, requires_grad=True)
    for _ in range(3):
        yield f(x)
    yield log


@footgun
def test_in_place_on_arguments(wrap: Any) -> Trace:
    @wrap
    def f(x: Any, y: Any) -> Any:
        a = x * 2
        x.add_(1)
        b = x * 3
        y[0] = b[1]
        x.mul_(y)
        return a, b

    for _ in range(4):
        x, y = ones(2), ones(2)
        yield f(x, y), x, y, x._version, y._version


@footgun
def test_arguments_that_are_views_of_each_other(wrap: Any) -> Trace:
    @wrap
    def f(x: Any, y: Any) -> Any:
        z = x + y
        x.add_(1)
        w = y * 2
        y.mul_(3)
        return z, w, x + y

    for make in (
        lambda b: (b[:2], b[2:]),
        lambda b: (b, b),
        lambda b: (b[:3], b[1:]),
        lambda b: (b[:2], b[2:]),
        lambda b: (b[1:], b[:3]),
        lambda b: (b.view(2, 2), b),
    ):
        b = torch.arange(4.0)
        x, y = make(b)
        if x.shape == y.shape:
            yield f(x, y), b


@footgun
def test_memory_shared_with_numpy(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        a = x.numpy()
        a[0] = 10
        z = x * 2
        z.numpy()[1] = 7
        return y, z, x

    for _ in range(3):
        yield f(ones(3))


@footgun
def test_outputs_that_alias(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        return y, y[0], y.view(-1), x, x[1], y.detach()

    for _ in range(3):
        x = ones(2, 2)
        outs = f(x)
        outs[0].add_(5)
        x.mul_(10)
        yield outs
        yield [o.data_ptr() == outs[0].data_ptr() for o in outs], outs[3] is x


@footgun
def test_in_place_on_views_of_intermediates(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 1
        v = y[0]
        d = y.detach()
        v.add_(3)
        y.view(-1)[1:].mul_(2)
        w = y.t()
        w[0, 1] = -1
        d[1] += 100
        return y, v, w, d

    for _ in range(3):
        yield f(ones(2, 2))


@footgun
def test_gradients_through_in_place_and_views(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        y[0] *= x[1]
        v = y[1:]
        v.mul_(x[1:])
        return y

    for _ in range(3):
        x = torch.arange(1.0, 5.0).requires_grad_()
        y = f(x)
        yield y, torch.autograd.grad((y * y).sum(), x)


@footgun
def test_stale_saved_tensors_are_errors(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 1
        z = y * y
        y.add_(1)
        try:
            z.sum().backward()
        except RuntimeError as e:
            return "modified by an inplace operation" in str(e)

    for _ in range(3):
        yield f(torch.ones(2, requires_grad=True))


@footgun
def test_exceptions_half_way(wrap: Any) -> Trace:
    seen: list[Any] = []

    @wrap
    def f(x: Any, bad: bool) -> Any:
        y = x * 2
        seen.append(y)
        x.add_(1)
        try:
            y @ torch.ones(5, 5)
        except RuntimeError:
            y = y + 1
        if bad:
            raise ValueError("half way")
        return y

    for bad in (False, True, False, True, True, False):
        x = ones(3)
        try:
            yield f(x, bad)
        except ValueError as e:
            yield str(e)
        yield x
    yield seen


@footgun
def test_errors_that_depend_on_values(wrap: Any) -> Trace:
    @wrap
    def f(x: Any, i: Any) -> Any:
        y = x * 2
        try:
            a = torch.linalg.cholesky(y)
        except RuntimeError:
            a = y - 1
        try:
            b = y[i]
        except IndexError:
            b = y * 0
        try:
            c = y.long() // i
        except RuntimeError as e:
            c = str(type(e))
        return a, b, c

    for x, i in (
        (torch.eye(2), 0),
        (-torch.eye(2), 1),
        (torch.eye(2), 5),
        (torch.eye(2), 0),
        (-torch.eye(2), -7),
    ):
        yield f(x, torch.tensor(i))


@footgun
def test_shapes_that_depend_on_values(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        kept = y[y > 1]
        return kept * 2, y.nonzero(), torch.unique(y), kept.shape[0]

    for x in (ones(3), torch.tensor([0.0, 1.0, 2.0]), torch.zeros(3), ones(3), torch.tensor([0.0, 1.0, 2.0])):
        yield f(x)


@footgun
def test_recursion(wrap: Any) -> Trace:
    f: Any = None

    def body(x: Any, n: int) -> Any:
        return x if n == 0 else f(x * 2, n - 1) + n

    f = wrap(body)
    for n in (0, 1, 3, 3, 5):
        yield f(ones(2), n)


@footgun
def test_compiled_functions_that_call_each_other(wrap: Any) -> Trace:
    g = wrap(lambda x: x.exp() + 1)
    f = wrap(lambda x: g(x) * g(x * 2))
    for _ in range(3):
        yield f(ones(2)), g(ones(2))


@footgun
def test_generators(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        for i in range(3):
            x = x * 2 + i
            yield x

    for _ in range(2):
        yield list(f(ones(2)))


@footgun
def test_a_generator_kept_across_calls(wrap: Any) -> Trace:
    counter = itertools.count()
    f = wrap(lambda x: x * next(counter))
    for _ in range(5):
        yield f(ones(2))


@footgun
def test_a_tensor_kept_from_the_last_call(wrap: Any) -> Trace:
    last: list[Any] = [torch.zeros(2)]

    @wrap
    def f(x: Any) -> Any:
        y = x * 2 + last[0]
        last[0] = y * 0.5
        return y

    for i in range(5):
        yield f(ones(2) * i)


@footgun
def test_context_managers_and_finally(wrap: Any) -> Trace:
    log: list[str] = []

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        log.append("in")
        try:
            yield
        finally:
            log.append("out")

    @wrap
    def f(x: Any) -> Any:
        with scope():
            y = x * 2
        try:
            return y + 1
        finally:
            log.append(str((y * 2).sum().item()))

    for _ in range(3):
        yield f(ones(2))
    yield log


@footgun
def test_kinds_of_arguments(wrap: Any) -> Trace:
    @dataclasses.dataclass
    class Pair:
        a: Any
        b: Any

    @wrap
    def f(p: Any, *rest: Any, key: Any = None, **more: Any) -> Any:
        total = p.a * p.b
        for r in rest:
            total = total + r["x"]
        if key is not None:
            total = total * key
        return Pair(total, sorted(more)), {"t": total, "n": [total * 2]}

    for _ in range(3):
        pair, rest = f(Pair(ones(2), ones(2) * 3), {"x": ones(2)}, {"x": ones(2)}, key=ones(2) * 2, z=1, y=2)
        yield pair.a, pair.b, rest


@footgun
def test_autograd_functions(wrap: Any) -> Trace:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            ctx.calls = 1
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * x.cos() * 100

    f = wrap(lambda x: Double.apply(x.sin()).sum())
    x = torch.ones(2, requires_grad=True)
    for _ in range(3):
        y = f(x)
        yield y, torch.autograd.grad(y, x)


@footgun
def test_whole_training_steps(wrap: Any) -> Trace:
    m = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
    o = torch.optim.AdamW(m.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(o, 10)

    @wrap
    def step(x: Any, t: Any) -> Any:
        o.zero_grad()
        loss = F.cross_entropy(m(x), t)
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 0.5)
        o.step()
        return loss

    for _ in range(6):
        yield round(step(torch.randn(5, 4), torch.randint(3, (5,))).item(), 5)
        schedule.step()


@footgun
def test_accumulated_gradients(wrap: Any) -> Trace:
    w = torch.ones(3, requires_grad=True)
    f = wrap(lambda x: (w * x).pow(2).sum().backward())
    for i in range(4):
        f(ones(3) * i)
        yield w.grad
    kept = w.grad
    f(ones(3))
    yield kept is w.grad, kept, w.grad


@footgun
def test_gradients_shared_by_leaves(wrap: Any) -> Trace:
    @wrap
    def f(a: Any, b: Any) -> None:
        (a + b + a.view(-1)).sum().backward()

    for _ in range(3):
        a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        f(a, b)
        a.grad.mul_(7)
        yield a.grad, b.grad


@footgun
def test_double_backward(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = (x**3).sum()
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        return y, g

    x = torch.arange(1.0, 4.0).requires_grad_()
    for _ in range(3):
        y, g = f(x)
        yield y, g, torch.autograd.grad((g * g).sum(), x)


@footgun
def test_transforms_around_and_inside(wrap: Any) -> Trace:
    f = wrap(lambda x: (x.sin() * x).sum())
    g = wrap(lambda x: torch.func.grad(lambda v: (v**3).sum())(x) + torch.vmap(torch.cos)(x))
    x = torch.arange(3.0)
    for _ in range(3):
        yield torch.func.grad(f)(x), torch.func.hessian(f)(x), torch.vmap(f)(x.view(3, 1)), g(x)
        yield (
            torch.func.jvp(f, (x,), (x,)),
            torch.func.jacrev(g)(x),
            torch.vmap(torch.func.grad(f))(x.view(3, 1)),
        )


@footgun
def test_parameters_that_are_replaced(wrap: Any) -> Trace:
    m = nn.Linear(2, 2)
    f = wrap(m)
    x = ones(1, 2)
    yield f(x), f(x)
    m.weight = nn.Parameter(torch.zeros(2, 2))
    yield f(x)
    m.weight.data = torch.full((2, 2), 3.0)
    yield f(x)
    with torch.no_grad():
        m.weight[0] = 9
    yield f(x)
    m.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    yield f(x)
    m.double()
    yield f(x.double())


@footgun
def test_types_and_isinstance(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        return (
            isinstance(y, torch.Tensor),
            type(y) is torch.Tensor,
            y.is_contiguous(),
            y.dim(),
            y.numel(),
            y.element_size(),
            y.storage_offset(),
            y.is_leaf,
            y.grad_fn is None,
            len(y),
            y.size(0),
            repr(y),
        )

    for _ in range(3):
        yield f(ones(2, 3)), f(torch.ones(2, 3, requires_grad=True))


@footgun
def test_python_protocols_of_intermediates(wrap: Any) -> Trace:
    @wrap
    def f(x: Any) -> Any:
        y = x * 2
        return (
            float(y[0]), int(y[1]), bool(y[0]), [v.item() for v in y], y.tolist(), y.numpy().copy(), np.asarray(y).sum(),
            y[0] in y, list(reversed(y.tolist())), y.sum().__index__() if y.sum() == 2 else 0, (y == y).all().item(),
            hash(y) == id(y), max(y).item(),
        )  # fmt: skip

    for _ in range(3):
        yield str(f(ones(2))), str(f(torch.tensor([2.0, 3.0])))


def test_threads() -> None:
    f = torch.compile(lambda x, k: ((x * k).exp() + x).sum(-1))
    errors: list[Any] = []

    def work(i: int) -> None:
        for n in (3, 5, 3, 8):
            for k in range(20):
                x = torch.full((n, n), float(i))
                got, want = f(x, k * 0.01), ((x * (k * 0.01)).exp() + x).sum(-1)
                if not torch.allclose(got, want, rtol=1e-5):
                    errors.append((i, n, k))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors


def test_a_promise_read_by_another_thread() -> None:
    found: list[Any] = []

    @torch.compile
    def f(x: Any) -> Any:
        y = x * 2
        t = threading.Thread(target=lambda: found.append((y + 1).tolist()))
        t.start()
        t.join()
        return y

    for _ in range(3):
        f(torch.ones(2))
    assert found == [[3.0, 3.0]] * 3


def test_nothing_is_kept_alive() -> None:
    f = torch.compile(lambda x: (x * 2).exp() + 1)
    for _ in range(3):
        x = torch.ones(1000)
        y = f(x)
        refs = weakref.ref(x), weakref.ref(y)
        del x, y
        assert refs[0]() is None and refs[1]() is None


def test_memory_does_not_grow_with_the_collector_off() -> None:
    import gc
    import tracemalloc

    w = torch.ones(64, requires_grad=True)

    @torch.compile
    def step(x: Any) -> Any:
        w.grad = None
        (w * x).exp().mean().backward()
        return w.grad.sum()

    x = torch.ones(64)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            step(x)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            step(x)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    finally:
        gc.enable()
    assert grown < 20_000, grown


def test_fullgraph_names_the_line() -> None:
    @torch.compile(fullgraph=True)
    def f(x: Any) -> Any:
        y = x * 2
        return y + y.sum().item()  # here

    with pytest.raises(RuntimeError, match=r"(?s)fullgraph.*# here"):
        for _ in range(2):
            f(torch.ones(2))
    assert torch.compile(lambda x: x * 2, fullgraph=True)(torch.ones(2)).tolist() == [2.0, 2.0]


def test_fullgraph_allows_indexing_and_writes() -> None:
    w = torch.ones(3)

    @torch.compile(fullgraph=True)
    def f(x: Any) -> Any:
        y = torch.einsum("ij,jk->ik", x, x)
        y += w
        x.add_(1)
        return y[0] * 2 + y[1][2]

    for _ in range(3):
        x = torch.eye(3)
        assert f(x).tolist() == [5.0, 3.0, 3.0] and x[0, 1] == 1
