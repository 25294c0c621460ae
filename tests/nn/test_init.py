"""nn.init: for the same seed the values are PyTorch's, bit for bit where the arithmetic allows."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

CASES = [
    ("uniform_", (3, 4), {"a": -1.0, "b": 2.0}),
    ("normal_", (3, 4), {"mean": 1.0, "std": 0.5}),
    ("normal_", (64, 8), {}),
    ("constant_", (3, 4), {"val": 2.5}),
    ("ones_", (3,), {}),
    ("zeros_", (3,), {}),
    ("eye_", (3, 5), {}),
    ("dirac_", (6, 4, 3), {"groups": 2}),
    ("dirac_", (4, 4, 3, 3), {}),
    ("dirac_", (2, 4, 3, 2, 3), {}),
    ("xavier_uniform_", (5, 4, 3, 3), {"gain": 2.0}),
    ("xavier_normal_", (5, 4), {}),
    ("kaiming_uniform_", (5, 4), {"a": 0.2, "mode": "fan_out"}),
    ("kaiming_normal_", (5, 4, 3), {"nonlinearity": "relu"}),
    ("trunc_normal_", (20, 20), {"std": 0.02}),
    ("trunc_normal_", (20, 20), {}),
    ("trunc_normal_", (20, 20), {"a": 1.5, "b": 2.5}),
    ("trunc_normal_", (50, 20), {"a": 3.0, "b": 4.0, "std": 2.0}),
    ("sparse_", (10, 6), {"sparsity": 0.3}),
]


@pytest.mark.filterwarnings("ignore:mean is more than")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case, dtype):
    name, shape, kwargs = case
    out = []
    for lib in (flambeau, torch):
        lib.manual_seed(11)
        t = lib.empty(shape, dtype=getattr(lib, dtype))
        assert getattr(lib.nn.init, name)(t, **kwargs) is t
        out.append((t.numpy(), lib.rand(3).numpy()))
    np.testing.assert_array_equal(out[0][0], out[1][0])
    np.testing.assert_array_equal(out[0][1], out[1][1])  # as many numbers were drawn


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 2, 3)], ids=str)
def test_orthogonal(shape):
    out = []
    for lib in (flambeau, torch):
        lib.manual_seed(11)
        out.append(lib.nn.init.orthogonal_(lib.empty(shape, dtype=lib.float64), gain=1.5).numpy())
    np.testing.assert_allclose(out[0], out[1], atol=1e-12)


def test_gain():
    for args in [
        ("linear",),
        ("tanh",),
        ("relu",),
        ("leaky_relu",),
        ("leaky_relu", 0.3),
        ("selu",),
        ("sigmoid",),
    ]:
        assert flambeau.nn.init.calculate_gain(*args) == torch.nn.init.calculate_gain(*args)


def test_errors():
    def scenario(lib):
        init = lib.nn.init
        calls = [
            lambda: init.calculate_gain("nothing"),
            lambda: init.calculate_gain("leaky_relu", True),
            lambda: init.xavier_uniform_(lib.empty(3)),
            lambda: init.kaiming_uniform_(lib.empty(3, 3), mode="fan"),
            lambda: init.eye_(lib.empty(3)),
            lambda: init.dirac_(lib.empty(3)),
            lambda: init.dirac_(lib.empty(3, 3, 3), groups=2),
            lambda: init.orthogonal_(lib.empty(3)),
            lambda: init.sparse_(lib.empty(3), 0.1),
        ]
        out = []
        for call in calls:
            with pytest.raises(Exception) as e:
                call()
            out.append((e.type.__name__, str(e.value)))
        return out

    assert scenario(flambeau) == scenario(torch)


def test_deprecated_names_warn():
    with pytest.warns(FutureWarning, match="nn.init.uniform"):
        flambeau.nn.init.uniform(flambeau.empty(2))


def test_leaf_parameters_can_be_initialised():
    p = flambeau.nn.Parameter(flambeau.empty(2, 2))
    flambeau.nn.init.kaiming_uniform_(p)
    assert p.is_leaf and p.requires_grad
