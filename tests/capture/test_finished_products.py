"""Products of matrices with what is computed from them: values, gradients, and that there is one kernel."""

import numpy as np
import pytest

pytest.importorskip("llvmlite")
import flambeau as torch
from flambeau.compiler.engine import CompileError, watching
from flambeau.core import acceleration

F = torch.nn.functional


@pytest.fixture(autouse=True)
def _kernels():
    acceleration.load()


def run(f, *args, mode="default"):
    """The third call, when the program exists, and its explanation."""
    compiled = torch.compile(f, mode=mode)
    for _ in range(3):
        result = compiled(*args)
    return result, str(compiled.explain(*args))


def kernels(text):
    """The kernels and calls of all programs, by their first words."""
    return [
        line.split(" [")[0]
        for line in text.splitlines()
        if " kernel [" in line or " alone: " in line or line.startswith("no kernel")
    ]


def reference(x):
    return x.detach().numpy().astype(np.float64)


ACTIVATIONS = {
    "relu": (F.relu, lambda x: np.maximum(x, 0)),
    "tanh": (torch.tanh, np.tanh),
    "silu": (F.silu, lambda x: x / (1 + np.exp(-x))),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "gelu": (lambda x: F.gelu(x, approximate="tanh"), None),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(40, 30, 50), (1, 64, 48), (257, 129, 65), (3, 1000, 7)], ids=str)
def test_bias_activation_and_residual_are_one_kernel(name, shape):
    m, k, n = shape
    f, exact = ACTIVATIONS[name]
    torch.manual_seed(0)
    x, w, b, r = torch.randn(m, k), torch.randn(n, k) * k**-0.5, torch.randn(n), torch.randn(m, n)
    got, text = run(lambda x, w, b, r: f(F.linear(x, w, b)) + r, x, w, b, r)
    assert kernels(text) == ["product kernel"], text
    y = reference(x) @ reference(w).T + reference(b)
    if exact is None:
        want = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    else:
        want = exact(y)
    np.testing.assert_allclose(got.numpy(), want + reference(r), atol=1e-5)


def test_exact_gelu_of_a_module_over_three_dims():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(24, 72), torch.randn(4, 9, 24)
    with torch.no_grad():
        got, text = run(lambda x: F.gelu(layer(x)), x)
    assert kernels(text) == ["product kernel"], text
    torch.testing.assert_close(got, F.gelu(layer(x)).detach(), rtol=1e-5, atol=1e-6)


LAYOUTS = {
    "transposed": lambda x: x.transpose(-2, -1).contiguous().transpose(-2, -1),
    "sliced": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "strided": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "expanded": lambda x: x[..., :1, :].expand(x.shape),
}


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_layouts_of_the_factors(left, right):
    torch.manual_seed(0)
    a, b = LAYOUTS[left](torch.randn(37, 41)), LAYOUTS[right](torch.randn(41, 53))
    got, text = run(lambda a, b: (a @ b).relu() * 2, a, b)
    assert "product kernel" in kernels(text), text
    np.testing.assert_allclose(got.numpy(), np.maximum(reference(a) @ reference(b), 0) * 2, atol=1e-4)


@pytest.mark.parametrize(
    "shapes", [((6, 20, 30), (6, 30, 40)), ((2, 3, 8, 16), (2, 3, 16, 24)), ((5, 20, 30), (30, 40))]
)
def test_batches(shapes):
    torch.manual_seed(0)
    a, b = (torch.randn(*s) for s in shapes)
    scale = torch.rand(*shapes[0][:-1], 1)
    got, text = run(lambda a, b, s: (a @ b * s).tanh(), a, b, scale)
    assert kernels(text) == ["product kernel"], text
    np.testing.assert_allclose(
        got.numpy(), np.tanh(reference(a) @ reference(b) * reference(scale)), atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_numbers_and_several_results(dtype):
    torch.manual_seed(0)
    a, b = torch.randn(33, 40, dtype=dtype), torch.randn(40, 29, dtype=dtype)

    def f(a, b, low):
        y = a @ b
        return y, torch.where(y > low, y, y * 0.1), y > low

    (y, z, mask), text = run(f, a, b, 0.25)
    assert kernels(text) == ["product kernel"], text
    exact = reference(a) @ reference(b)
    np.testing.assert_allclose(y.numpy(), exact, atol=1e-4)
    np.testing.assert_allclose(z.numpy(), np.where(exact > 0.25, exact, exact * 0.1), atol=1e-4)
    np.testing.assert_array_equal(mask.numpy(), y.numpy() > 0.25)


def test_gradients_of_a_step_and_what_is_kept_for_them():
    def grads(f, w, v, x):
        loss = f(x, w, v)
        return torch.autograd.grad(loss, (w, v, x))

    torch.manual_seed(0)
    x, w, v = (torch.randn(*s, requires_grad=True) for s in ((30, 20), (40, 20), (10, 40)))

    def loss(x, w, v):
        return (F.gelu(F.linear(x, w)) @ v.T).pow(2).sum()

    got, text = run(lambda x, w, v: grads(loss, w, v, x), x, w, v)
    assert (
        "product kernel [30, 40]: linear over 20, then gelu_erf in the cache, the product is kept" in text
    ), text
    wide = [t.detach().double().requires_grad_() for t in (w, v, x)]
    for g, want in zip(got, grads(loss, *wide), strict=True):
        torch.testing.assert_close(g.double(), want, rtol=1e-4, atol=1e-3)


def test_other_readers_stay_apart():
    torch.manual_seed(0)
    x, w = torch.randn(32, 40), torch.randn(40, 48)
    got, text = run(lambda x, w: (x @ w).softmax(-1), x, w)
    assert "matmul [32, 48] alone: the kernel that reads it needs whole rows" in text
    torch.testing.assert_close(got, (x @ w).softmax(-1))
    turned = torch.randn(48, 32).T
    got, text = run(lambda x, w, t: (x @ w) * 2 + t, x, w, turned)
    assert "alone: the kernel that reads it reads float32[32, 48] strides" in text
    torch.testing.assert_close(got, (x @ w) * 2 + turned)
    got, text = run(lambda x: (x @ x).tanh() * 2, torch.ones(3, 3))
    assert "it is small: BLAS's call is as short as any" in text
    assert torch.equal(got, (torch.full((3, 3), 3.0)).tanh() * 2)

    def between(x, w):  # what multiplies the product depends on a reduction of it
        y = x @ w
        return y * 2 + (y.sum(-1, keepdim=True) @ torch.ones(1, 48)).relu()

    got, _ = run(between, x, w)
    torch.testing.assert_close(got, between(x, w))


@pytest.mark.parametrize("shape", [(0, 8, 9), (8, 0, 9), (8, 9, 0)], ids=str)
def test_empty_factors(shape):
    m, k, n = shape
    got, _ = run(lambda a, b: (a @ b + 1).relu() * 3, torch.ones(m, k), torch.ones(k, n))
    assert got.shape == (m, n) and (got == 3).all()


def test_another_size_makes_no_machine_code():
    f = torch.compile(lambda x, w: (x @ w).sigmoid() * 3, dynamic=True)
    w = torch.randn(64, 80)
    for m in (48, 256):
        for _ in range(3):
            f(torch.randn(m, 64), w)
    with watching() as built:
        x = torch.randn(130, 64)
        for _ in range(3):
            got = f(x, w)
    assert not built
    torch.testing.assert_close(got, (x @ w).sigmoid() * 3)


def test_the_number_of_threads_may_change():
    before = torch.get_num_threads()
    x, w = torch.randn(300, 200), torch.randn(200, 100)
    f = torch.compile(lambda x, w: (x @ w).relu() + 1)
    try:
        for threads in (1, 1, 1, 2, 3):
            torch.set_num_threads(threads)
            torch.testing.assert_close(f(x, w), (x @ w).relu() + 1, rtol=1e-5, atol=1e-4)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("turned", [False, True])
def test_max_autotune_chooses_between_the_ways(turned):
    torch.manual_seed(0)
    x, w, b = torch.randn(70, 90), torch.randn(50, 90) if turned else torch.randn(90, 50), torch.randn(50)
    f = lambda x, w, b: (x @ (w.T if turned else w) + b).tanh() * 2  # noqa: E731
    got, text = run(f, x, w, b, mode="max-autotune")
    assert "earlier search" in text or "searched: " in text, text
    want = np.tanh(reference(x) @ (reference(w).T if turned else reference(w)) + reference(b)) * 2
    np.testing.assert_allclose(got.numpy(), want, atol=1e-5)


def test_where_no_kernel_can_be_made_the_parts_run(monkeypatch):
    def fail(*_):
        raise CompileError("no")

    from flambeau.capture.lower import products

    monkeypatch.setattr(products, "_ways", fail)
    x, w = torch.randn(64, 96), torch.randn(96, 50)
    got, text = run(lambda x, w: (x @ w).cos() * 7 + 1, x, w)
    assert "matmul [64, 50] alone: CompileError: no" in text
    assert kernels(text)[-1] == "points kernel"
    monkeypatch.undo()
    torch.testing.assert_close(got, (x @ w).cos() * 7 + 1, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(40, 30, 50), (257, 1100, 9), (30, 600, 7)], ids=str)
def test_what_gives_the_first_factor_is_computed_while_it_is_read(shape, turned):
    m, k, n = shape
    torch.manual_seed(0)
    x, mean, scale = torch.randn(m, k), torch.randn(m, 1), torch.randn(k)
    w, b, r = (
        (torch.randn(n, k) if turned else torch.randn(k, n)) * k**-0.5,
        torch.randn(n),
        torch.randn(m, n),
    )

    def f(x, mean, scale, w, b, r):
        y = ((x - mean) * scale).relu() * 2
        if turned:
            return F.linear(y, w, b).sigmoid() + r
        return (y @ w + b).sigmoid() + r

    got, text = run(f, x, mean, scale, w, b, r)
    assert kernels(text) == ["product kernel"] and "while it is read" in text, text
    a = np.maximum((reference(x) - reference(mean)) * reference(scale), 0) * 2
    want = a @ (reference(w).T if turned else reference(w)) + reference(b)
    np.testing.assert_allclose(got.numpy(), 1 / (1 + np.exp(-want)) + reference(r), atol=1e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_nothing_but_a_first_factor_is_computed(bias):
    torch.manual_seed(0)
    x, w, b = torch.randn(4, 20, 30), torch.randn(50, 30), torch.randn(50) if bias else None
    got, text = run(lambda x, w: F.linear(x.cos() + 1, w, b), x, w)
    assert kernels(text) == ["product kernel"], text
    want = (np.cos(reference(x)) + 1) @ reference(w).T + (reference(b) if bias else 0)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-4)
    a, c = torch.randn(5, 16, 24), torch.randn(5, 24, 17)
    got, text = run(lambda a, c: (a > 0.5).to(a.dtype) * a @ c, a, c)
    assert kernels(text) == ["product kernel"], text
    np.testing.assert_allclose(
        got.numpy(), np.where(reference(a) > 0.5, reference(a), 0) @ reference(c), atol=1e-4
    )


def test_a_first_factor_that_others_read_is_written():
    torch.manual_seed(0)
    x, w = torch.randn(40, 40, requires_grad=True), torch.randn(40, 40, requires_grad=True)

    def grads(x, w):  # the gradient of w needs what the product reads
        return torch.autograd.grad((x.sigmoid() @ w).tanh().sum(), (x, w))

    got, text = run(grads, x, w)
    assert "the kernel that makes its first factor is read elsewhere, too" in text
    wide = [t.detach().double().requires_grad_() for t in (x, w)]
    for g, want in zip(got, grads(*wide), strict=True):
        torch.testing.assert_close(g.double(), want, rtol=1e-4, atol=1e-4)
    for f in (
        lambda x, w: (lambda y: y @ w + y)(x * 2),
        lambda x, w: (lambda y: (y, y @ w))(x * 2),
        lambda x, w: (lambda y: y @ y)(x * 2),
        lambda x, w: (lambda y: (y.exp() + 1) @ w + y)(x * 2),
        lambda x, w: (x * 2).T @ w,
        lambda x, w: (x * 2)[:, ::2] @ w[::2],
    ):
        with torch.no_grad():
            got, _ = run(f, x, w)
            torch.testing.assert_close(got, f(x, w), rtol=1e-5, atol=1e-4)


def test_few_rows_keep_vectors_along_the_inner_dimension():
    torch.manual_seed(0)
    x, w = torch.randn(8, 300), torch.randn(64, 300)
    got, text = run(lambda x, w: F.linear(x.relu() * 2, w).tanh(), x, w)
    assert "it has few rows" in text
    np.testing.assert_allclose(
        got.numpy(), np.tanh(np.maximum(reference(x), 0) * 2 @ reference(w).T), atol=1e-4
    )


def test_max_autotune_of_a_product_with_both():
    torch.manual_seed(0)
    x, w = torch.randn(60, 70), torch.randn(70, 80)
    got, _ = run(lambda x, w: ((x.sin() * 2) @ w).tanh() + 1, x, w, mode="max-autotune")
    np.testing.assert_allclose(got.numpy(), np.tanh(np.sin(reference(x)) * 2 @ reference(w)) + 1, atol=1e-4)


def test_both_parts_run_where_no_kernel_can_be_made(monkeypatch):
    def fail(*_):
        raise CompileError("no")

    from flambeau.capture.lower import products

    monkeypatch.setattr(products, "_ways", fail)
    x, w = torch.randn(64, 96), torch.randn(96, 50)
    got, text = run(lambda x, w: ((x * 3 - 1) @ w).cos() * 7 + 1, x, w)
    assert kernels(text) == ["matmul", "points kernel", "points kernel"], text
    monkeypatch.undo()
    torch.testing.assert_close(got, ((x * 3 - 1) @ w).cos() * 7 + 1, rtol=1e-3, atol=1e-3)
