"""The same numbers as torch.optim, after 50 steps of random gradients."""

import numpy as np
import pytest

import flambeau
from flambeau.optim import elementwise
from optim_helpers import CASES, Draws, assert_same, train

torch = pytest.importorskip("torch")

IDS = [f"{name}-{'-'.join(options) or 'default'}" for name, options in CASES]
FACTORED = [c for c in CASES if c[0] != "Adafactor"]


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers(name, options, dtype):
    ours, reference = (train(lib, name, options, Draws(dtype)) for lib in (flambeau, torch))
    assert_same(ours, reference, ulps=32)


@pytest.mark.parametrize(("name", "options"), FACTORED)
def test_complex_parameters_are_pairs_of_real_ones(name, options):
    ours, reference = (train(lib, name, options, Draws("complex64")) for lib in (flambeau, torch))
    assert_same(ours, reference, ulps=32)


@pytest.mark.parametrize(("name", "options"), FACTORED)
@pytest.mark.parametrize("order", ["C", "F"])
def test_compiled_kernels_and_layouts(name, options, order, monkeypatch):
    """Contiguous parameters go through the fused kernel here, others through NumPy."""
    monkeypatch.setattr(elementwise, "KERNEL_MIN", 1)
    draws = [Draws("float32", scale=5, order=order) for _ in range(2)]
    ours, reference = (train(lib, name, options, d) for lib, d in zip((flambeau, torch), draws, strict=True))
    assert_same(ours, reference, ulps=128)


@pytest.mark.parametrize(("name", "options"), FACTORED)
def test_long_parameters_in_pieces(name, options, monkeypatch):
    monkeypatch.setattr(elementwise, "KERNEL_MIN", 1 << 60)
    monkeypatch.setattr(elementwise, "CHUNK", 7)
    ours, reference = (train(lib, name, options, Draws("float64", scale=2)) for lib in (flambeau, torch))
    assert_same(ours, reference, ulps=64)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_learning_rate_that_is_a_tensor(name, options):
    ours, reference = (
        train(lib, name, options, Draws("float64"), tensor_lr=True) for lib in (flambeau, torch)
    )
    assert_same(ours, reference, ulps=64)


@pytest.mark.parametrize(("name", "options"), FACTORED)
def test_differentiable_steps(name, options):
    """The gradient of the result of two steps by the initial parameters and by the gradients used."""
    if name == "Rprop" or "momentum" in options:
        pytest.skip("piecewise constant in the gradient, or PyTorch's own gradient leaves something out")

    def run(lib):
        rng = np.random.default_rng(1)
        w0 = lib.tensor(rng.normal(0, 1, 4).tolist(), dtype=lib.float64, requires_grad=True)
        gs = [lib.tensor(rng.normal(0, 1, 4).tolist(), dtype=lib.float64, requires_grad=True) for _ in "ab"]
        w = w0.clone()
        optimizer = getattr(lib.optim, name)([w], lr=0.1, differentiable=True, **options)
        for g in gs:
            w.grad = g.clone()
            optimizer.step()
        (w**2).sum().backward()
        return [t.grad.tolist() for t in (w0, *gs)]

    ours = run(flambeau)
    try:
        reference = run(torch)
    except RuntimeError:
        pytest.skip("PyTorch overwrites what its own gradient needs")
    # PyTorch computes the bias corrections of differentiable steps in float32.
    np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-7)


def test_gradients_by_the_learning_rate():
    def run(lib):
        lr = lib.tensor(0.1, dtype=lib.float64, requires_grad=True)
        w = lib.tensor([1.0, -2.0], dtype=lib.float64, requires_grad=True).clone()
        optimizer = lib.optim.SGD([w], lr=lr, differentiable=True)
        w.grad = lib.tensor([1.0, 2.0], dtype=lib.float64)
        optimizer.step()
        (w**3).sum().backward()
        return lr.grad.item()

    assert run(flambeau) == pytest.approx(run(torch), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop"])
def test_16_bit_parameters(name, dtype):
    def run(lib):
        w = lib.tensor([1.0, -2.0, 0.5], dtype=getattr(lib, dtype), requires_grad=True)
        optimizer = getattr(lib.optim, name)([w], lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            (w**2).sum().backward()
            optimizer.step()
        return w.detach().float().tolist()

    np.testing.assert_allclose(run(flambeau), run(torch), rtol=0.03, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.01},
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7},
    ],
)
def test_lbfgs(options):
    def run(lib):
        rng = np.random.default_rng(0)
        x = lib.tensor(rng.normal(0, 1, 5).tolist(), dtype=lib.float64, requires_grad=True)
        y = lib.tensor([[1.5]], dtype=lib.float64, requires_grad=True)
        a = lib.tensor(rng.normal(0, 1, (6, 5)).tolist(), dtype=lib.float64)
        optimizer = lib.optim.LBFGS([x, y], **options)
        calls = []

        def closure():
            optimizer.zero_grad()
            loss = (a @ x - 1).pow(2).sum() + 10 * (x[1:] - x[:-1] ** 2).pow(2).sum() + y.pow(4).sum()
            loss.backward()
            calls.append(float(loss.detach()))
            return loss

        for _ in range(5):
            optimizer.step(closure)
        return calls, x.tolist(), optimizer.state[x]["n_iter"]

    (calls, x, n), (torch_calls, torch_x, torch_n) = run(flambeau), run(torch)
    assert n == torch_n and len(calls) == len(torch_calls)
    np.testing.assert_allclose(calls, torch_calls, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(x, torch_x, rtol=1e-7)


@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"}])
def test_muon(options):
    def run(lib):
        rng = np.random.default_rng(0)
        params = [
            lib.tensor(rng.normal(0, 1, s).tolist(), dtype=lib.float32, requires_grad=True)
            for s in ((4, 3), (3, 5))
        ]
        optimizer = lib.optim.Muon(params, lr=0.05, **options)
        for _ in range(10):
            for p in params:
                p.grad = lib.tensor(rng.normal(0, 1, tuple(p.shape)).tolist(), dtype=lib.float32)
            optimizer.step()
        return [p.tolist() for p in params]

    for a, b in zip(run(flambeau), run(torch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4)  # the iteration is done in bfloat16


@pytest.mark.parametrize(("name", "options"), CASES)
def test_states_go_over_from_pytorch_and_back(name, options):
    """Five steps there, the state carried over, and five more with each."""
    draws = Draws("float64")
    twins, torch_optimizer = train(torch, name, options, draws, steps=5)
    params = [flambeau.from_numpy(t.detach().numpy().copy()).requires_grad_(True) for t in twins]
    optimizer = getattr(flambeau.optim, name)(params, lr=1.0)
    saved = torch_optimizer.state_dict()
    saved["state"] = _converted(saved["state"], flambeau)
    optimizer.load_state_dict(saved)
    resumed = getattr(torch.optim, name)(twins, lr=1.0)
    resumed.load_state_dict(torch_optimizer.state_dict())
    for _ in range(5):
        for p, t, g in zip(params, twins, draws.arrays(), strict=True):
            p.grad, t.grad = flambeau.from_numpy(g), torch.from_numpy(g)
        optimizer.step()
        resumed.step()
    assert_same((params, optimizer), (twins, resumed), ulps=64)
    back = getattr(torch.optim, name)(twins, lr=1.0)
    state = optimizer.state_dict()
    back.load_state_dict({**state, "state": _converted(state["state"], torch)})
    assert back.param_groups[0]["lr"] == 0.05
    assert str(back) == str(torch_optimizer)


def _converted(states, library):
    return {
        i: {k: library.from_numpy(np.array(v.numpy())) for k, v in state.items()}
        for i, state in states.items()
    }


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES} | {"LBFGS"}))
def test_repr(name):
    def text(lib):
        kind = getattr(lib.optim, name)
        groups = [{"params": [lib.zeros(2, 2, requires_grad=True)]} for _ in "abc"]
        texts = [repr(kind([lib.zeros(2, 2, requires_grad=True)]))]
        return texts if name == "LBFGS" else [*texts, repr(kind(groups))]

    assert text(flambeau) == text(torch)


BAD = [
    ("SGD", {"lr": -1.0}),
    ("SGD", {"momentum": -0.1}),
    ("SGD", {"weight_decay": -0.1}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"fused": True, "foreach": True}),
    ("SGD", {"fused": True, "differentiable": True}),
    ("Adam", {"lr": -1.0}),
    ("Adam", {"lr": float("nan")}),
    ("Adam", {"eps": -1e-9}),
    ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"betas": (0.9, -0.1)}),
    ("Adam", {"betas": (0, 0.9)}),
    ("Adam", {"weight_decay": -1}),
    ("RMSprop", {"alpha": -1}),
    ("RMSprop", {"momentum": -1}),
    ("Adagrad", {"lr_decay": -1}),
    ("Adagrad", {"initial_accumulator_value": -1}),
    ("Adadelta", {"rho": 1.5}),
    ("NAdam", {"momentum_decay": -1}),
    ("Rprop", {"etas": (1.5, 0.5)}),
    ("ASGD", {"weight_decay": -1}),
    ("LBFGS", {"lr": -1}),
    ("Muon", {"lr": -1}),
    ("Muon", {"adjust_lr_fn": "x"}),
    ("Adafactor", {"beta2_decay": 1.0}),
    ("Adafactor", {"d": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), BAD)
def test_bad_hyperparameters(name, options):
    errors = []
    for lib in (torch, flambeau):
        with pytest.raises((ValueError, RuntimeError)) as found:
            getattr(lib.optim, name)([lib.zeros(2, 2, requires_grad=True)], **options)
        errors.append((found.type, str(found.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda t: [],
        lambda t: t.zeros(2, requires_grad=True),
        lambda t: [1, 2],
        lambda t: [t.zeros(2, requires_grad=True) * 2],
        lambda t: [{"params": {t.zeros(2, requires_grad=True)}}],
        lambda t: [{"params": [w := t.zeros(2, requires_grad=True)]}, {"params": [w]}],
        lambda t: [("a", t.zeros(2, requires_grad=True)), t.zeros(2, requires_grad=True)],
        lambda t: [
            {"params": [("a", t.zeros(2, requires_grad=True))]},
            {"params": [t.zeros(2, requires_grad=True)]},
        ],
    ],
)
def test_bad_parameters(make):
    errors = []
    for lib in (torch, flambeau):
        with pytest.raises((ValueError, TypeError)) as found:
            lib.optim.SGD(make(lib), lr=0.1)
        errors.append((found.type, str(found.value)))
    assert errors[0] == errors[1]
