"""Lazy modules: the same weights and results as PyTorch's, errors before the first call."""

import copy
import pickle

import numpy as np
import pytest

import flambeau
from flambeau import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:Lazy modules")

CASES = [
    ("LazyLinear", (4,), {}, (2, 3)),
    ("LazyLinear", (4, False), {}, (2, 5, 3)),
    ("LazyConv1d", (4, 3), {}, (2, 3, 7)),
    ("LazyConv2d", (4, 3, 1, 1), {"bias": False}, (2, 3, 7, 7)),
    ("LazyConv2d", (4, 3), {"groups": 2}, (2, 7, 7)),
    ("LazyConv3d", (4, 2), {}, (1, 3, 4, 4, 4)),
    ("LazyConvTranspose1d", (4, 3), {"stride": 2}, (2, 3, 7)),
    ("LazyConvTranspose2d", (4, 3, 2, 0, 1, 1, False), {}, (2, 3, 5, 5)),
    ("LazyConvTranspose3d", (4, 2), {}, (1, 3, 2, 2, 2)),
    ("LazyBatchNorm1d", (), {}, (4, 3)),
    ("LazyBatchNorm2d", (), {"affine": False}, (4, 3, 2, 2)),
    ("LazyBatchNorm3d", (), {"track_running_stats": False}, (4, 3, 2, 2, 2)),
    ("LazyInstanceNorm1d", (), {"bias": False}, (4, 3, 5)),
    ("LazyInstanceNorm2d", (), {}, (4, 3, 2, 2)),
    ("LazyInstanceNorm3d", (), {}, (4, 3, 2, 2, 2)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_first_call_makes_an_ordinary_module(case):
    name, args, kwargs, shape = case
    results = []
    for lib in (flambeau, torch):
        lib.manual_seed(0)
        m = getattr(lib.nn, name)(*args, **kwargs)
        lazy = (repr(m), list(m.state_dict()), len(list(m.parameters())))
        m.double().float()
        x = lib.ones(shape)
        m.initialize_parameters(x)
        results.append((lazy, repr(m), {k: v.numpy() for k, v in m.state_dict().items()}))
    (lazy, text, state), (their_lazy, their_text, their_state) = results
    assert (lazy, text) == (their_lazy, their_text)
    assert list(state) == list(their_state)
    for key in state:
        np.testing.assert_array_equal(state[key], their_state[key])


def test_call():
    def run(lib):
        lib.manual_seed(0)
        m = lib.nn.Sequential(lib.nn.LazyLinear(4), lib.nn.LazyLinear(2))
        y = m(lib.ones(3, 5))
        y.sum().backward()
        assert type(m[0]) is lib.nn.Linear and not m[0]._forward_pre_hooks
        assert type(m[0].weight) is lib.nn.Parameter
        return repr(m), y.detach().numpy(), m[0].weight.grad.numpy()

    for ours, theirs in zip(run(flambeau), run(torch), strict=True):
        if isinstance(ours, str):
            assert ours == theirs
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_loading_gives_the_shapes():
    m = nn.LazyLinear(4)
    m.load_state_dict(nn.Linear(3, 4).state_dict())
    assert m.weight.shape == (4, 3) and isinstance(m.weight, nn.Parameter)
    with pytest.raises(RuntimeError, match="uninitialized"):
        nn.Linear(3, 4).load_state_dict(nn.LazyLinear(4).state_dict())


def test_nothing_can_be_asked_of_an_uninitialized_parameter():
    p = nn.UninitializedParameter(dtype=flambeau.float64)
    assert repr(p) == "<UninitializedParameter>"
    assert p.dtype == flambeau.float64 and p.requires_grad and p.is_leaf and p.grad is None
    for use in (
        lambda: p + 1,
        lambda: p.sum(),
        lambda: flambeau.stack([p]),
        lambda: p.tolist(),
        lambda: p.zero_(),
    ):
        with pytest.raises(ValueError, match="uninitialized"):
            use()
    with pytest.raises(RuntimeError, match="shape"):
        p.shape  # noqa: B018
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        q.materialize((2, 3))
        assert q.shape == (2, 3) and q.dtype == flambeau.float64 and q.requires_grad


def test_wrong_input():
    with pytest.raises(RuntimeError, match="Expected 3D"):
        nn.LazyConv2d(4, 3)(flambeau.ones(2, 3))


def test_lazy_parameters_take_initialisations_that_do_nothing() -> None:
    layer = flambeau.nn.LazyLinear(2)
    layer.weight.data.normal_(0, 0.01)
    layer.bias.data.fill_(0)
    assert layer.weight.data.shape == (0,) and not layer.weight.data.requires_grad
    flambeau.manual_seed(0)
    out = layer(flambeau.ones(2, 3))
    flambeau.manual_seed(0)
    assert (out == flambeau.nn.Linear(3, 2)(flambeau.ones(2, 3))).all()


def test_lazy_linear_learns_its_size_after_loading() -> None:
    source, other = flambeau.nn.LazyLinear(4), flambeau.nn.LazyLinear(4)
    source(flambeau.ones(1, 3))
    other.load_state_dict(source.state_dict())
    assert (other(flambeau.ones(1, 3)) == source(flambeau.ones(1, 3))).all()
    assert repr(other) == "Linear(in_features=3, out_features=4, bias=True)"


def test_parameters_without_a_shape_can_be_frozen():
    p = flambeau.nn.parameter.UninitializedParameter()
    p.requires_grad = False
    assert not p.requires_grad
    p.materialize((2,))
    assert not p.requires_grad
    layer = flambeau.nn.LazyLinear(3).requires_grad_(False)
    assert not layer.weight.requires_grad
    layer(flambeau.ones(1, 2))
    assert not layer.weight.requires_grad and not layer.bias.requires_grad
