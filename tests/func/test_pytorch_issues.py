"""What users of PyTorch have reported about its transforms, each report a test: it works here, with the right numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from flambeau.nn.functional import scaled_dot_product_attention

RNG = np.random.default_rng(3)


def numbers(*shape: int) -> Any:
    return torch.tensor(RNG.standard_normal(shape))


def close(a: Any, b: Any, tol: float = 1e-9) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tol, atol=tol)


def slope(f: Callable[[Any], Any], x: Any, t: Any, h: float = 1e-6) -> Any:
    return (f(x + h * t) - f(x - h * t)) / (2 * h)


# ------------------------------------------------------------------------------------------------- batching rules


def test_122432_jacobians_of_a_network_with_dropout() -> None:
    """jacrev under vmap through dropout's backward: without a warning, and with the mask of the forward pass."""
    model = nn.Sequential(
        nn.Linear(3, 4, dtype=torch.float64), nn.Dropout(0.5), nn.Linear(4, 2, dtype=torch.float64)
    )
    x = numbers(5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jacobians, values = vmap(jacrev(lambda v: (model(v),) * 2, has_aux=True), randomness="different")(x)
    # the network is affine where the mask stands still: f(x) = J x + what f gives without an input's part
    assert jacobians.shape == (5, 2, 3)
    w1, w2 = model[0].weight, model[2].weight
    masks = [2 * torch.tensor([(k >> i) & 1 for i in range(4)], dtype=torch.float64) for k in range(16)]
    for jacobian, value, row in zip(jacobians, values, x):
        found = [m for m in masks if torch.allclose(w2 @ (m[:, None] * w1), jacobian, atol=1e-12)]
        assert found
        close(value, w2 @ (found[0] * (w1 @ row + model[0].bias)) + model[2].bias)


@pytest.mark.parametrize("in_dims", [(0, 0, 0), (0, None, None), (None, 0, 0), (1, 2, 0)])
def test_110525_attention_under_vmap(in_dims: Any) -> None:
    q, k, v = (numbers(3, 3, 3, 4) for _ in range(3))

    def row(x: Any, d: int | None, i: int) -> Any:
        return x if d is None else x.select(d, i)

    want = [
        scaled_dot_product_attention(*[row(x, d, i) for x, d in zip((q, k, v), in_dims)]) for i in range(3)
    ]
    close(vmap(scaled_dot_product_attention, in_dims=in_dims)(q, k, v), torch.stack(want))


def test_views_as_another_dtype_and_lstm_cells_under_vmap() -> None:
    """pytorch#180727, #100801."""
    x = torch.tensor([[1.5, -2.0], [0.25, 3.0]])
    assert vmap(lambda t: t.view(torch.int32))(x).tolist() == x.view(torch.int32).tolist()
    cell = nn.LSTM(3, 4, dtype=torch.float64)
    xs = numbers(5, 2, 3)
    got = vmap(grad(lambda s: cell(s)[0].square().sum()))(xs)
    close(got, torch.stack([grad(lambda s: cell(s)[0].square().sum())(s) for s in xs]))


# ------------------------------------------------------------------------------------------------- in-place writes


def test_103329_elements_of_a_tensor_made_inside() -> None:
    def f(x: Any, y: Any) -> Any:
        mat = torch.zeros(x.shape)
        mat[0, 0] = mat[0, 1] + x[0, 0]
        return mat

    ones = torch.ones(4, 2, 3)
    got = vmap(f)(ones, ones)
    assert got.shape == (4, 2, 3) and (got[:, 0, 0] == 1).all() and got.sum() == 4


def test_97248_copies_into_a_tensor_made_inside() -> None:
    def f(x: Any, y: Any) -> Any:
        z = torch.empty(x.shape, dtype=torch.float64)
        z.copy_(x)
        z.copy_(y)
        return z

    one, many = numbers(3), numbers(2, 3)
    close(vmap(f, (0, None))(many, one), torch.stack([one, one]))
    close(vmap(f, (None, 0))(one, many), many)


# --------------------------------------------------------------------------------- attention: forward mode, twice


@pytest.mark.parametrize("causal", [False, True])
def test_98164_117629_attention_in_forward_mode(causal: bool) -> None:
    q, k, v = (numbers(2, 3, 4) for _ in range(3))
    ts = tuple(numbers(2, 3, 4) for _ in range(3))

    def f(*xs: Any) -> Any:
        return scaled_dot_product_attention(*xs, is_causal=causal)

    value, tangent = jvp(f, (q, k, v), ts)
    close(value, f(q, k, v))
    h = 1e-6
    up, down = (f(*[x + s * h * t for x, t in zip((q, k, v), ts)]) for s in (1, -1))
    close(tangent, (up - down) / (2 * h), 1e-7)
    import flambeau.autograd.forward_ad as fwd

    with fwd.dual_level():
        close(fwd.unpack_dual(f(*[fwd.make_dual(x, t) for x, t in zip((q, k, v), ts)])).tangent, tangent)


def test_116350_gradient_penalty_of_attention() -> None:
    """The norm of a gradient through attention, differentiated."""
    q, k, v = (numbers(2, 2, 3, 4).requires_grad_() for _ in range(3))

    def penalty(query: Any) -> Any:
        out = scaled_dot_product_attention(query, k, v)
        (g,) = torch.autograd.grad(out, query, torch.ones_like(out), create_graph=True)
        return (g.reshape(2, -1).norm(p=2, dim=1) ** 2).mean()

    penalty(q).backward()
    t = numbers(2, 2, 3, 4)
    steps = [penalty((q.detach() + s * 1e-6 * t).requires_grad_()).item() for s in (1, -1)]
    assert (q.grad * t).sum().item() == pytest.approx((steps[0] - steps[1]) / 2e-6, rel=1e-5)
    assert k.grad is not None and v.grad is not None


# ------------------------------------------------------------------------------------------- one through another


def test_182842_jvp_through_vmap() -> None:
    w, x, t = numbers(3, 3), numbers(5, 3), numbers(5, 3)

    def f(row: Any) -> Any:
        return torch.tanh(w @ row).prod() * row

    value, tangent = jvp(vmap(f), (x,), (t,))
    close(value, torch.stack([f(row) for row in x]))
    close(tangent, torch.stack([slope(f, row, d) for row, d in zip(x, t)]), 1e-7)
    close(vmap(lambda row, d: jvp(f, (row,), (d,))[1])(x, t), tangent)
    close(jvp(vmap(vmap(torch.sin)), (x[None],), (t[None],))[1], (x.cos() * t)[None])
    # a tangent that is the same for all examples, and an argument that is not mapped
    close(
        jvp(lambda a: vmap(lambda row, b: (row * b).sum(), (0, None))(x, a), (w[0],), (w[1],))[1],
        (x * w[1]).sum(1),
    )


# ------------------------------------------------------------------------------------------------- with compile

TRANSFORMED: dict[str, Callable[[Any], Any]] = {
    "vmap": lambda f: vmap(f),
    "vmap of grad": lambda f: vmap(grad(lambda x: f(x).sum())),
    "grad of vmap": lambda f: grad(lambda x: vmap(f)(x).sum()),
    "jacrev": lambda f: jacrev(f),
    "jacfwd": lambda f: jacfwd(f),
    "hessian": lambda f: hessian(lambda x: f(x).sum()),
    "jvp": lambda f: lambda x: jvp(f, (x,), (torch.ones_like(x),))[1],
    "vjp": lambda f: lambda x: vjp(f, x)[1](torch.ones_like(x))[0],
    "vmap of jacfwd": lambda f: vmap(jacfwd(f)),  # pytorch#151196, #160508
    "vmap of jacrev with aux": lambda f: lambda x: vmap(jacrev(lambda r: (f(r), f(r)), has_aux=True))(x)[0],  # #154036
    "vmap of jvp": lambda f: vmap(lambda r: jvp(f, (r,), (torch.ones_like(r),))[1]),  # #176077
}  # fmt: skip


@pytest.mark.parametrize("where", ["inside", "outside", "both"])
@pytest.mark.parametrize("name", TRANSFORMED)
def test_98822_transforms_and_compile_in_either_order(name: str, where: str) -> None:
    def f(x: Any) -> Any:
        return torch.sin(x) * x.exp()

    x = numbers(2, 3)
    want = TRANSFORMED[name](f)(x)
    inner = f if where == "outside" else torch.compile(f)
    got = TRANSFORMED[name](inner)
    got = got if where == "inside" else torch.compile(got)
    for _ in range(3):  # traced, compiled, replayed
        close(got(x), want)


def test_138422_batched_autograd_grad_of_a_compiled_function() -> None:
    x = numbers(4).requires_grad_()
    basis = torch.eye(4, dtype=torch.float64)
    for f in (lambda v: v**2, torch.compile(lambda v: v**2)):
        for _ in range(3):
            y = f(x)
            rows = vmap(lambda v, y=y: torch.autograd.grad(y, x, v, retain_graph=True))(basis)[0]
            close(rows, torch.diag(2 * x))
            close(torch.autograd.grad(y, x, basis, is_grads_batched=True)[0], torch.diag(2 * x))


def test_129845_custom_functions_with_vmap_and_compile() -> None:
    class Double(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any) -> Any:
            return torch.tanh(x) * 2

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (y,) = ctx.saved_tensors
            return g * (2 - y * y / 2)

    x = numbers(3, 2).requires_grad_()
    f = torch.compile(vmap(Double.apply))
    for _ in range(3):
        x.grad = None
        f(x).sum().backward()
        close(x.grad, 2 / torch.cosh(x) ** 2)


def test_98825_a_compiled_step_of_maml() -> None:
    model = nn.Linear(3, 1, dtype=torch.float64)
    params = dict(model.named_parameters())
    x, y = numbers(4, 5, 3), numbers(4, 5, 1)

    def loss(p: Any, x: Any, y: Any) -> Any:
        return (functional_call(model, p, (x,)) - y).square().mean()

    def adapted(p: Any, x: Any, y: Any) -> Any:
        g = grad(loss)(p, x, y)
        return loss({k: v - 0.1 * g[k] for k, v in p.items()}, x, y)

    def meta(p: Any) -> Any:
        return vmap(adapted, (None, 0, 0))(p, x, y).mean()

    want = grad(meta)(params)
    step = torch.compile(grad(meta))
    for _ in range(3):
        got = step(params)
        close(got["weight"], want["weight"])
        close(got["bias"], want["bias"])
