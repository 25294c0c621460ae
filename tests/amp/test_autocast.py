"""Autocast: dtypes of results and gradients against PyTorch, nesting, threads, decorators, custom functions."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.amp.casts import POLICIES
from flambeau.core.public import OVERRIDES
from flambeau.core.state import tls

BF16 = flambeau.bfloat16


def test_nothing_is_on_outside() -> None:
    assert tls.autocast is None and flambeau.amp.autocast not in OVERRIDES
    with flambeau.autocast("cpu"):
        assert flambeau.is_autocast_enabled("cpu") and not flambeau.is_autocast_enabled()
    assert tls.autocast is None and flambeau.amp.autocast not in OVERRIDES
    with pytest.raises(KeyError), flambeau.autocast("cpu"):
        raise KeyError
    assert not flambeau.is_autocast_enabled("cpu")


def test_listed_names_are_functions() -> None:
    known = {getattr(fn, "__name__", "") for fn in flambeau.core.public.FUNCTIONS.values()}
    known |= {*dir(flambeau.nn.functional), "recurrent"}
    assert not [name for name in POLICIES if name not in known]


def f(lib: Any, *shape: int) -> Any:
    n = int(np.prod(shape)) if shape else 1
    return (lib.arange(n, dtype=lib.float32).reshape(shape) * 0.7).sin() * 0.4 + 0.5


def b(lib: Any, *shape: int) -> Any:
    return f(lib, *shape).bfloat16()


def spd(lib: Any) -> Any:
    a = f(lib, 3, 3)
    return (a @ a.T + 3 * lib.eye(3)).bfloat16()


def seeded(lib: Any, module: Any) -> Any:
    for i, p in enumerate(module.parameters()):
        with lib.no_grad():
            p.copy_(f(lib, *p.shape) * 0.2 + 0.01 * i)
    return module


CASES: dict[str, Callable[[Any], Any]] = {
    "linear": lambda t: t.nn.functional.linear(f(t, 2, 3), f(t, 4, 3), f(t, 4)),
    "matmul": lambda t: f(t, 2, 3) @ f(t, 3, 2),
    "method": lambda t: f(t, 2, 3).matmul(f(t, 3, 2)),
    "mm": lambda t: t.mm(f(t, 2, 3), f(t, 3, 2)),
    "addmm": lambda t: t.addmm(f(t, 2, 2), f(t, 2, 2), f(t, 2, 2)),
    "bmm": lambda t: t.bmm(f(t, 1, 2, 2), f(t, 1, 2, 2)),
    "einsum": lambda t: t.einsum("ij,jk->ik", f(t, 2, 3), f(t, 3, 2)),
    "tensordot": lambda t: t.tensordot(f(t, 2, 3), f(t, 3, 2), 1),
    "mv": lambda t: t.mv(f(t, 2, 3), f(t, 3)),
    "dot": lambda t: t.dot(f(t, 3), f(t, 3)),
    "inner": lambda t: t.inner(f(t, 3), f(t, 3)),
    "outer": lambda t: t.outer(f(t, 3), f(t, 3)),
    "addmv": lambda t: t.addmv(f(t, 2), f(t, 2, 3), f(t, 3)),
    "addr": lambda t: t.addr(f(t, 2, 3), f(t, 2), f(t, 3)),
    "kron": lambda t: t.kron(f(t, 2), f(t, 2)),
    "multi_dot": lambda t: t.linalg.multi_dot([f(t, 2, 3), f(t, 3, 2)]),
    "vecdot": lambda t: t.linalg.vecdot(f(t, 3), f(t, 3)),
    "matrix_power": lambda t: t.linalg.matrix_power(f(t, 2, 2), 3),
    "double": lambda t: t.mm(f(t, 2, 2).double(), f(t, 2, 2).double()),
    "integers": lambda t: t.mm(t.ones(2, 2, dtype=t.int64), t.ones(2, 2, dtype=t.int64)),
    "conv2d": lambda t: t.nn.functional.conv2d(f(t, 1, 1, 3, 3), f(t, 1, 1, 2, 2)),
    "conv_transpose2d": lambda t: t.nn.functional.conv_transpose2d(f(t, 1, 1, 3, 3), f(t, 1, 1, 2, 2)),
    "prelu": lambda t: t.nn.functional.prelu(f(t, 2, 3) - 0.5, f(t, 1)),
    "sdpa": lambda t: t.nn.functional.scaled_dot_product_attention(
        f(t, 1, 1, 2, 4), f(t, 1, 1, 2, 4), f(t, 1, 1, 2, 4)
    ),
    "softmax": lambda t: b(t, 2, 3).softmax(-1),
    "layer_norm": lambda t: t.nn.functional.layer_norm(b(t, 2, 3), (3,), f(t, 3), f(t, 3)),
    "batch_norm": lambda t: t.nn.BatchNorm1d(3)(b(t, 2, 3)),
    "exp": lambda t: b(t, 2).exp(),
    "sum": lambda t: b(t, 2).sum(),
    "prod": lambda t: b(t, 3).prod(),
    "add": lambda t: b(t, 3) + f(t, 3),
    "mse": lambda t: t.nn.functional.mse_loss(b(t, 3), b(t, 3) + 1),
    "l1": lambda t: t.nn.functional.l1_loss(b(t, 3), b(t, 3) + 1),
    "smooth_l1": lambda t: t.nn.functional.smooth_l1_loss(b(t, 3), b(t, 3) + 1),
    "huber": lambda t: t.nn.functional.huber_loss(b(t, 3), b(t, 3) + 1),
    "cross_entropy": lambda t: t.nn.functional.cross_entropy(b(t, 2, 3), t.tensor([0, 1])),
    "nll": lambda t: t.nn.functional.nll_loss(b(t, 2, 3), t.tensor([0, 1])),
    "bce": lambda t: t.nn.functional.binary_cross_entropy_with_logits(b(t, 3), b(t, 3)),
    "kl_div": lambda t: t.nn.functional.kl_div(b(t, 3), b(t, 3), reduction="sum"),
    "soft_margin": lambda t: t.nn.functional.soft_margin_loss(b(t, 3), b(t, 3)),
    "triplet": lambda t: t.nn.functional.triplet_margin_loss(b(t, 2, 3), b(t, 2, 3) + 1, b(t, 2, 3) * 2),
    "gaussian": lambda t: t.nn.functional.gaussian_nll_loss(b(t, 3), b(t, 3), b(t, 3)),
    "cosine": lambda t: t.nn.functional.cosine_similarity(b(t, 2, 3), b(t, 2, 3) + 1),
    "cat": lambda t: t.cat([b(t, 2), f(t, 2)]),
    "cat alike": lambda t: t.cat([b(t, 2), b(t, 2)]),
    "stack": lambda t: t.stack([b(t, 2), f(t, 2)]),
    "index_copy": lambda t: t.index_copy(b(t, 2), 0, t.tensor([0]), f(t, 1)),
    "reflect": lambda t: t.nn.functional.pad(b(t, 1, 1, 4, 4), (1, 1, 1, 1), mode="reflect"),
    "circular": lambda t: t.nn.functional.pad(b(t, 1, 1, 4, 4), (1, 1, 1, 1), mode="circular"),
    "constant": lambda t: t.nn.functional.pad(b(t, 1, 1, 4, 4), (1, 1)),
    "avg_pool3d": lambda t: t.nn.functional.avg_pool3d(b(t, 1, 1, 4, 4, 4), 2),
    "avg_pool2d": lambda t: t.nn.functional.avg_pool2d(b(t, 1, 1, 4, 4), 2),
    "max_pool3d": lambda t: t.nn.functional.max_pool3d(b(t, 1, 1, 4, 4, 4), 2),
    "interpolate": lambda t: t.nn.functional.interpolate(b(t, 1, 1, 3, 3), scale_factor=2),
    "cdist": lambda t: t.cdist(b(t, 2, 3), b(t, 2, 3) + 1),
    "trace": lambda t: b(t, 2, 2).trace(),
    "quantile": lambda t: t.quantile(b(t, 3), 0.5),
    "inv": lambda t: t.linalg.inv(spd(t)),
    "solve": lambda t: t.linalg.solve(spd(t), b(t, 3)),
    "cholesky": lambda t: t.linalg.cholesky(spd(t)),
    "fft": lambda t: t.fft.fft(b(t, 4)),
    "attention": lambda t: seeded(t, t.nn.MultiheadAttention(4, 2))(*[f(t, 2, 1, 4)] * 3)[0],
    "lstm": lambda t: seeded(t, t.nn.LSTM(3, 4, 2))(f(t, 2, 1, 3))[0],
    "lstm state": lambda t: seeded(t, t.nn.LSTM(3, 4, 2))(b(t, 2, 1, 3))[1][1],
    "gru": lambda t: seeded(t, t.nn.GRU(3, 4))(f(t, 2, 1, 3))[0],
    "gru of half": lambda t: seeded(t, t.nn.GRU(3, 4))(b(t, 2, 1, 3))[0],
    "rnn": lambda t: seeded(t, t.nn.RNN(3, 4))(f(t, 2, 1, 3))[0],
    "lstm cell": lambda t: seeded(t, t.nn.LSTMCell(3, 4))(f(t, 1, 3))[0],
    "bilinear": lambda t: t.nn.functional.bilinear(f(t, 2, 3), f(t, 2, 4), f(t, 5, 3, 4)),
    "perceptron": lambda t: seeded(t, t.nn.Sequential(t.nn.Linear(3, 4), t.nn.ReLU(), t.nn.Linear(4, 2)))(
        f(t, 5, 3)
    ),
    "encoder": lambda t: seeded(t, t.nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0))(f(t, 2, 1, 4)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_like_pytorch(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    if dtype == "float16" and name in (
        "cat",
        "cat alike",
        "stack",
        "index_copy",
        "gru of half",
        "lstm",
        "lstm state",
    ):
        pytest.skip("PyTorch has no such kernel, or refuses to mix bfloat16 into a float16 region")
    results = []
    for lib in (flambeau, torch):
        with lib.autocast("cpu", dtype=getattr(lib, dtype)):
            r = CASES[name](lib)
        results.append(
            (str(r.dtype), np.array(r.detach().to(lib.complex64 if r.is_complex() else lib.float32).tolist()))
        )
    assert results[0][0] == results[1][0]
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=3e-2, atol=1e-2)


def test_gradients_are_float32_and_added_once() -> None:
    lin = flambeau.nn.Linear(3, 3)
    x = flambeau.ones(2, 3)
    with flambeau.autocast("cpu"):
        y = lin(lin(x))
        assert y.dtype is BF16
    y.float().sum().backward()
    assert lin.weight.grad.dtype is flambeau.float32
    with flambeau.no_grad():
        w = lin.weight.double()
    expected = flambeau.autograd.functional.jacobian(
        lambda m: ((x.double() @ m.T + lin.bias.double()) @ m.T).sum(), w.detach()
    )
    assert flambeau.allclose(lin.weight.grad.double(), expected, rtol=5e-2, atol=5e-2)


def test_cache() -> None:
    w = flambeau.ones(2, 2, requires_grad=True)
    with flambeau.autocast("cpu") as region:
        assert region.device == "cpu"
        a, b_ = flambeau.mm(w, w), flambeau.mm(w, w)
        one = {id(node) for y in (a, b_) for node, _ in y.grad_fn.next_functions}
        assert len(one) == 1  # one cast
        with flambeau.no_grad():
            w.mul_(2)
        assert flambeau.mm(w, w)[0, 0].item() == 8  # the new values
        with flambeau.no_grad():
            assert not flambeau.mm(w, w).requires_grad
        assert flambeau.mm(w, w).requires_grad
    with flambeau.autocast("cpu", cache_enabled=False):
        y = flambeau.mm(w, w)
        assert len({id(node) for node, _ in y.grad_fn.next_functions}) == 2
        assert not flambeau.is_autocast_cache_enabled()
    assert flambeau.is_autocast_cache_enabled()


def test_nesting() -> None:
    x = flambeau.ones(2, 2)
    with flambeau.autocast("cpu"):
        with flambeau.autocast("cpu", dtype=flambeau.float16):
            assert (x @ x).dtype is flambeau.float16
            with flambeau.autocast("cpu", enabled=False):
                assert (x @ x).dtype is flambeau.float32
            assert (x @ x).dtype is flambeau.float16
        assert (x @ x).dtype is BF16 and flambeau.get_autocast_dtype("cpu") is BF16
    region = flambeau.autocast("cpu")
    with region, region:
        assert (x @ x).dtype is BF16
    assert (x @ x).dtype is flambeau.float32


def test_decorator() -> None:
    @flambeau.autocast("cpu")
    def product(x: Any) -> Any:
        """Doc."""
        return x @ x

    assert product(flambeau.ones(2, 2)).dtype is BF16 and product.__doc__ == "Doc."
    with pytest.raises(TypeError, match="requires a callable"):
        flambeau.autocast("cpu")(3)  # type: ignore[type-var]


def test_out_is_left_alone() -> None:
    x, out = flambeau.ones(2, 2), flambeau.empty(2, 2)
    with flambeau.autocast("cpu"), pytest.raises(RuntimeError, match="dtype"):
        flambeau.mm(x, x, out=out)
    assert out.dtype is flambeau.float32


def test_other_threads_do_not_notice() -> None:
    seen = []
    with flambeau.autocast("cpu"):
        thread = threading.Thread(
            target=lambda: seen.append((flambeau.ones(2, 2) @ flambeau.ones(2, 2)).dtype)
        )
        thread.start()
        thread.join()
    assert seen == [flambeau.float32]


def test_under_transforms() -> None:
    x = flambeau.ones(3, 2, 2)
    with flambeau.autocast("cpu"):
        assert flambeau.vmap(lambda m: m @ m)(x).dtype is BF16
        assert flambeau.func.grad(lambda m: (m @ m).float().sum())(x[0]).dtype is flambeau.float32


def test_subclasses_go_first() -> None:
    seen = []

    class Mine(flambeau.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})

    x = flambeau.ones(2, 2).as_subclass(Mine)
    with flambeau.autocast("cpu"):
        y = flambeau.nn.functional.linear(x, flambeau.ones(2, 2))
    assert seen[0] == "linear" and y.dtype is BF16


def test_devices_and_errors() -> None:
    with pytest.warns(UserWarning, match="CUDA is not available"):
        region = flambeau.autocast("cuda")
    with region:
        assert not flambeau.is_autocast_enabled("cuda")
    with (
        pytest.warns(UserWarning, match="not supported. Disabling"),
        flambeau.autocast("cpu", dtype=flambeau.float32),
    ):
        assert not flambeau.is_autocast_enabled("cpu")
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'abacus'"):
        flambeau.autocast("abacus")
    with pytest.raises(ValueError, match="type `str`"):
        flambeau.autocast(3)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="unknown device type"):
        flambeau.is_autocast_enabled("abacus")
    with pytest.raises(TypeError, match="dtype"):
        flambeau.set_autocast_dtype("cpu", 3)
    assert flambeau.amp.is_autocast_available("xpu") and not flambeau.amp.is_autocast_available("abacus")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with flambeau.cuda.amp.autocast(enabled=False), flambeau.cpu.amp.autocast():
            assert (
                flambeau.is_autocast_cpu_enabled() and flambeau.get_autocast_gpu_dtype() is flambeau.float16
            )


def test_switches() -> None:
    x = flambeau.ones(2, 2)
    flambeau.set_autocast_enabled("cpu", True)
    flambeau.set_autocast_dtype("cpu", flambeau.float16)
    try:
        assert (x @ x).dtype is flambeau.float16
    finally:
        flambeau.set_autocast_enabled("cpu", False)
        flambeau.set_autocast_dtype("cpu", BF16)
    assert (x @ x).dtype is flambeau.float32
    assert flambeau.autocast_increment_nesting() == 1 and flambeau.autocast_decrement_nesting() == 0


@pytest.mark.parametrize("cast_inputs", [None, flambeau.float32])
def test_custom_functions(cast_inputs: Any) -> None:
    seen = []

    class Product(flambeau.autograd.Function):
        @staticmethod
        @flambeau.amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs)
        def forward(ctx: Any, a: Any, c: Any) -> Any:
            ctx.save_for_backward(a, c)
            seen.append((a.dtype, flambeau.is_autocast_enabled("cpu")))
            return a @ c

        @staticmethod
        @flambeau.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            a, c = ctx.saved_tensors
            seen.append((g.dtype, flambeau.is_autocast_enabled("cpu")))
            return (g @ c.T).to(a.dtype), (a.T @ g).to(c.dtype)

    a = flambeau.ones(2, 2, requires_grad=True)
    with flambeau.autocast("cpu"):
        y = Product.apply(a, flambeau.ones(2, 2))
    y.sum().backward()
    assert y.dtype is (BF16 if cast_inputs is None else flambeau.float32)
    assert seen[0] == (flambeau.float32, cast_inputs is None) and seen[1][1] is (cast_inputs is None)
    with pytest.raises(ValueError, match="type `str`"):
        flambeau.amp.custom_fwd(device_type=None)  # type: ignore[arg-type]
