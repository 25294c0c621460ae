"""Remembered ways of calls: what they must not mix up."""

from __future__ import annotations

import functools
import itertools
import math
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample, outputs, vary
from flambeau.core.remembered import ONE_WAY, forget
from golden.calls import CALLS as GOLDEN
from golden.calls import INPUTS

SAMPLES = calls.all_samples()


def often(call: Any) -> Any:
    """The result of the call that is remembered by now."""
    for _ in range(6):
        result = call()
    return result


def test_the_same_tensor_twice_is_not_the_rule() -> None:
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    often(lambda: torch.mm(x, x))
    np.testing.assert_array_equal(torch.mm(x, y).numpy(), x.numpy() @ y.numpy())
    often(lambda: torch.cat((x, x)))
    np.testing.assert_array_equal(torch.cat((x, y)).numpy(), np.concatenate((x.numpy(), y.numpy())))
    c = x > 0
    often(lambda: torch.where(c, x, x))
    np.testing.assert_array_equal(torch.where(c, x, y).numpy(), np.where(c.numpy(), x.numpy(), y.numpy()))


def test_numbers_that_are_equal() -> None:
    x, mask = torch.ones(2, 2), torch.tensor([[True, False], [False, True]])
    assert math.copysign(1, often(lambda: x.masked_fill(mask, 0.0))[0, 0].item()) == 1
    assert math.copysign(1, x.masked_fill(mask, -0.0)[0, 0].item()) == -1
    often(lambda: x.sum(1))
    with pytest.raises(TypeError):
        x.sum(1.0)
    assert often(lambda: x.sum(0, True)).shape == (1, 2)
    assert often(lambda: x.sum(0, keepdim=False)).shape == (2,)


def test_zeros_with_and_without_a_sign() -> None:
    x = torch.tensor([-1.0, 1.0])
    for low in (0.0, -0.0, 0):
        assert often(lambda: x.clamp(low, 2)).tolist() == [0, 1]  # noqa: B023
    assert math.copysign(1, torch.nn.functional.hardtanh(x, -0.0, 2.0)[0].item()) == -1
    assert math.copysign(1, often(lambda: torch.nn.functional.hardtanh(x, 0.0, 2.0))[0].item()) == 1
    assert math.copysign(1, torch.nn.functional.hardtanh(x, -0.0, 2.0)[0].item()) == -1


def test_what_writes_or_draws_does_so_once() -> None:
    F = torch.nn.functional
    for _ in range(7):
        x = torch.tensor([-1.0, 2.0])
        assert F.leaky_relu(x, 0.5, True) is x and x.tolist() == [-0.5, 2.0]
        assert F.elu_(torch.tensor([1.0])).tolist() == [1.0]
    q = torch.ones(1, 4, 4)
    draws = []
    for remembers in (True, False):
        torch.manual_seed(0)
        calls = []
        for _ in range(7):
            calls.append(F.scaled_dot_product_attention(q, q, q, None, 0.5).tolist())
            if not remembers:
                forget()
        draws.append([*calls, torch.rand(2).tolist()])
    assert draws[0] == draws[1]


def test_every_call_warns() -> None:
    x, y = torch.ones(2, 3), torch.ones(3)
    for _ in range(7):
        with pytest.warns(UserWarning, match="Using a target size"):
            torch.nn.functional.mse_loss(x, y)
        with pytest.warns(UserWarning, match="Implicit dimension choice"):
            torch.nn.functional.softmax(x)
        with pytest.warns(UserWarning, match="deprecated"):
            torch.addmm(2.0, torch.ones(2, 2), torch.ones(2, 2), torch.ones(2, 2))


def test_no_call_is_made_twice() -> None:
    from flambeau.core.remembered import remembering

    calls = []

    def inner(x: torch.Tensor, n: int) -> torch.Tensor:
        calls.append(n)
        return torch.exp(x).sum(n)

    quick = remembering(inner, [], "inner")
    for i in range(8):
        assert quick(torch.full((2, 3), float(i)), 1).equal(inner(torch.full((2, 3), float(i)), 1))
        assert calls == [1] * min(2 * i + 2, 8 + i - 3), "each call once, and none from the fifth on"


def test_what_the_values_decide_is_tried_before_it_is_believed() -> None:
    """Code that reads an array without saying so is found out when its ways differ."""
    from flambeau.core.remembered import remembering

    def inner(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x) if x._a[0] > 0 else torch.neg(x)

    quick = remembering(inner, [], "inner")
    for i in range(8):
        x = torch.full((2,), 1.0 if i % 2 else -1.0)
        assert quick(x).equal(inner(x))


def test_large_copies_are_not_made_again() -> None:
    import tracemalloc

    x = torch.zeros(1000, 1000).t()
    often(lambda: torch.zeros(1000, 1000).reshape(-1))  # a view, at any size
    forget()
    tracemalloc.start()
    try:
        for _ in range(6):
            assert x.reshape(-1).shape == (10**6,)
        assert tracemalloc.get_traced_memory()[1] < 1e6, "nothing of 4 MB is made for a comparison"
    finally:
        tracemalloc.stop()


def test_threads() -> None:
    """Many threads that learn the same layouts at once get what one gets, and leave nothing behind."""
    from flambeau.core.state import everyone

    forget()
    wrong: list[Any] = []

    def work(seed: int) -> None:
        for i in range(60):
            x = np.random.default_rng(seed + i).normal(size=(2, 1 + i // 8)).astype(np.float32)
            with torch.set_grad_enabled(seed % 2 == 0):
                found = torch.softmax(torch.cat((torch.tensor(x), torch.tensor(x)), 1).transpose(0, 1), 0)
            x = np.concatenate((x, x), 1).T
            due = np.exp(x - x.max(0)) / np.exp(x - x.max(0)).sum(0)
            if not np.allclose(found.numpy(), due, 1e-5):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and everyone.listener is None


def test_whoever_asks_to_see_calls_sees_them() -> None:
    class Counts(torch.overrides.TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    x, y = torch.randn(3, 4), torch.randn(3, 4)
    often(lambda: torch.cat((x, y)).softmax(1))
    with Counts() as mode:
        torch.cat((x, y)).softmax(1)
    assert mode.names == ["cat", "softmax"]
    with torch.profiler.profile() as p:
        torch.cat((x, y)).softmax(1)
    assert {e.key for e in p.key_averages()} >= {"aten::cat", "aten::softmax"}
    often(lambda: torch.mm(x, y.t()))
    with torch.autocast("cpu"):
        assert torch.mm(x, y.t()).dtype is torch.bfloat16


def test_the_mode_is_what_it_was() -> None:
    """Noting a call that changes the grad mode inside leaves no thread counted twice."""
    from flambeau.core.remembered import remembering
    from flambeau.core.state import RECORD, everyone, tls

    def inner(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = torch.exp(x)
        with torch.enable_grad():
            return y + 1

    special = everyone.special
    quick = remembering(inner, [], "inner")
    x = torch.ones(3)
    assert often(lambda: quick(x)).equal(inner(x))
    assert (everyone.special, tls.mode) == (special, RECORD)
    with torch.no_grad():
        often(lambda: quick(torch.ones(4)))
    assert (everyone.special, tls.mode) == (special, RECORD)


def test_layouts() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    often(lambda: x.view(-1))
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.t().view(-1) if x.shape[0] == x.shape[1] else x.t()[:2].view(-1)
    y = torch.zeros(2, 3)
    assert often(lambda: y.reshape(3, 2))._base is y
    assert often(lambda: x.t().reshape(6)).tolist() == [0, 3, 1, 4, 2, 5]


def test_views_are_views() -> None:
    x = torch.zeros(2, 3)
    view = often(lambda: x.transpose(0, 1))
    x[0, 1] = 5.0
    assert view[1, 0].item() == 5 and view._version == x._version
    x.requires_grad_()
    y = (x * 1).transpose(0, 1)
    assert y.grad_fn is not None and y.grad_fn.name() == "TransposeBackward0"


def test_gradients_transforms_and_modes_go_the_whole_way() -> None:
    x = torch.randn(3, 4)
    often(lambda: x.softmax(1))
    w = x.clone().requires_grad_()
    assert w.softmax(1).grad_fn is not None
    assert torch.vmap(lambda t: t.softmax(0))(x).allclose(x.softmax(1))
    assert torch.func.grad(lambda t: t.sum(0).square().sum())(x).allclose(2 * x.sum(0).expand(3, 4))
    with torch.inference_mode():
        assert x.softmax(1).is_inference()


def test_parameters_without_gradients() -> None:
    layer, x = torch.nn.Linear(4, 3), torch.randn(2, 4)
    with torch.no_grad():
        y = often(lambda: layer(x))
        assert y.grad_fn is None and not y.requires_grad and type(y) is torch.Tensor
        view = often(lambda: layer.weight.t())
        assert view._base is layer.weight
    np.testing.assert_allclose(
        y.numpy(), x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 1e-6
    )
    z = often(lambda: layer(x))
    assert z.grad_fn is not None
    z.sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        layer.weight.zero_()
        assert layer(x).equal(layer.bias.detach().expand(2, 3))
    t = layer.weight.t()
    assert t.grad_fn is not None and t.requires_grad


def test_the_default_dtype() -> None:
    x = torch.tensor([1, 2])
    assert often(lambda: torch.logsumexp(x, 0)).dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert often(lambda: torch.logsumexp(x, 0)).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.logsumexp(x, 0).dtype is torch.float32


def test_errors_come_as_ever() -> None:
    x = torch.randn(3, 4)
    index = torch.zeros(3, 4, dtype=torch.int64)
    often(lambda: x.gather(0, index))
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.gather(0, index + 7)
    with pytest.raises(IndexError):
        often(lambda: x.sum(5))


CALLS: dict[str, Any] = {
    "max": lambda x, i: torch.max(x, 1),
    "sort": lambda x, i: torch.sort(x, 1, descending=True),
    "topk": lambda x, i: torch.topk(x, 2, 1),
    "median": lambda x, i: torch.median(x, 0),
    "roll": lambda x, i: torch.roll(x, 2),
    "repeat": lambda x, i: x.repeat(2, 1),
    "diag": lambda x, i: torch.diag(x),
    "scatter_add": lambda x, i: x.scatter_add(0, i, x),
    "index_add": lambda x, i: x.index_add(0, i[0], x),
    "index_select": lambda x, i: x.index_select(1, i[0]),
    "tril": lambda x, i: torch.tril(x, -1),
    "logsumexp": lambda x, i: torch.logsumexp(x, (0, 1)),
    "norm": lambda x, i: torch.norm(x, dim=1),
    "nonzero": lambda x, i: torch.nonzero(x > 0),
    "stack": lambda x, i: torch.stack([x, x, x.t()], 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_follow_the_arguments(name: str) -> None:
    call = CALLS[name]
    for seed, dtype in itertools.product(range(4), (torch.float32, torch.float64)):
        generator = np.random.default_rng(seed)
        x = torch.tensor(generator.normal(size=(4, 4)), dtype=dtype)
        i = torch.tensor(generator.integers(0, 4, (4, 4)))
        found = often(functools.partial(call, x, i))
        whole = call(x.clone().requires_grad_(), i)  # recorded calls are never remembered
        for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (found, whole)]):
            assert type(found) is type(whole) and a.dtype is b.dtype and a.equal(b.detach())


def test_every_name_is_that_of_a_function() -> None:
    from flambeau.core.public import FUNCTIONS, METHODS

    found = METHODS | FUNCTIONS | vars(torch.nn.functional)
    assert all("pairs" in found[name].__code__.co_freevars for name in ONE_WAY)


@pytest.mark.parametrize("s", SAMPLES, ids=lambda s: s.key)
def test_nothing_depends_on_the_values_met_first(s: Sample) -> None:
    """After calls with some values, others give what they give to a function that remembers nothing."""
    for _ in range(6):
        s.run(*s.tensors(s.args))
    for change in (vary, rougher):
        args = tuple([change(a) for a in s.args])
        found = result_of(s, args)
        forget()
        fresh = result_of(s, args)
        assert type(found) is type(fresh), f"{found!r} where {fresh!r} was due"
        if not isinstance(fresh, Exception):
            for a, b in zip(outputs(found), outputs(fresh)):
                np.testing.assert_array_equal(a, b)


def result_of(s: Sample, args: Any) -> Any:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        try:
            return s.run(*s.tensors(args))
        except Exception as e:
            return e


def rougher(a: Any) -> Any:
    """The same layout with zeros, and NaN or infinity in floats."""
    if not isinstance(a, np.ndarray):
        return a
    b = np.zeros_like(a)
    if b.size and a.dtype.kind == "f":
        b.reshape(-1)[0] = np.nan
        b.reshape(-1)[-1] = np.inf
    return b


def inputs(seed: int) -> dict[str, Any]:
    """The inputs of the golden calls, from the second seed on with their values shuffled and negated, then rougher."""
    found = {}
    for name, (values, dtype, _) in INPUTS.items():
        a = np.array(values)
        if seed:
            a = np.random.default_rng(seed).permutation(a.reshape(-1)).reshape(a.shape)
        if seed == 2 and dtype == "bool":
            a = np.zeros_like(a)
        if seed == 3 and "float" in dtype:
            a = rougher(np.asarray(a, np.float64))
        found[name] = torch.tensor(a.tolist(), dtype=getattr(torch, dtype))
    return found


@pytest.mark.parametrize("expression", list(dict.fromkeys(GOLDEN)))
def test_calls_without_gradients(expression: str) -> None:
    code = compile(expression, expression, "eval")

    def evaluated(seed: int) -> Any:
        torch.manual_seed(0)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return eval(code, {"torch": torch, "F": torch.nn.functional, **inputs(seed)})
            except Exception as e:
                return e

    forget()
    for _ in range(6):
        evaluated(0)
    for seed in (1, 2, 3):
        found = evaluated(seed)
        forget()
        fresh = evaluated(seed)
        assert type(found) is type(fresh), f"{found!r} where {fresh!r} was due"
        for a, b in zip(flat(found), flat(fresh)):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        for _ in range(5):
            evaluated(0)


def flat(x: Any) -> list[Any]:
    if isinstance(x, (tuple, list)):
        return [t for y in x for t in flat(y)]
    return [x.to(torch.float32) if x.dtype is torch.bfloat16 else x] if isinstance(x, torch.Tensor) else []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [4, 64])  # by its parts, and as one operation
def test_a_call_that_draws_draws_once(size: int, dtype: torch.dtype) -> None:
    q = torch.arange(2.0 * size * 32).sin().reshape(1, 2, size, 32).to(dtype)
    found = []
    for _ in range(6):
        torch.manual_seed(1)
        y = torch.nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=0.2)
        found.append((y.tolist(), torch.rand(3).tolist()))
    assert found == found[:1] * 6


def test_a_call_that_raises_runs_once():
    """Hooks on what is saved may stop a call by an exception, as checkpoints do."""
    packed = []

    def pack(x):
        packed.append(x)
        raise KeyError("stop")

    layer = torch.nn.Linear(3, 3)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        for _ in range(3):
            with pytest.raises(KeyError):
                layer(torch.ones(4, 3, requires_grad=True))
    assert len(packed) == 3
