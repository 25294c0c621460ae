"""nn.utils against PyTorch."""

import copy
import pickle

import numpy as np
import pytest

import flambeau
from flambeau.nn.utils import stateless as flambeau_stateless

torch = pytest.importorskip("torch")


def model(lib):
    lib.manual_seed(0)
    m = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Linear(4, 2), lib.nn.Linear(2, 2))
    m[1](m[0](lib.ones(5, 3))).square().sum().backward()  # the last layer has no gradients
    return m


def same(scenario, rtol=1e-5, atol=1e-7):
    for a, b in zip(scenario(flambeau), scenario(torch), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=atol)


def grads(m):
    return [p.grad.numpy() for p in m.parameters() if p.grad is not None]


@pytest.mark.parametrize("norm_type", [2, 2.0, 1, 3.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1000.0])
def test_clip_grad_norm(norm_type, max_norm):
    def scenario(lib):
        m = model(lib)
        total = lib.nn.utils.clip_grad_norm_(m.parameters(), max_norm, norm_type)
        return [total.numpy(), *grads(m)]

    same(scenario)


def test_clip_one_tensor_and_nothing():
    def scenario(lib):
        m = model(lib)
        one = lib.nn.utils.clip_grad_norm_(m[0].weight, 0.5)
        none = lib.nn.utils.clip_grad_norm_([], 0.5)
        return [one.numpy(), none.numpy(), *grads(m)]

    same(scenario)


def test_clip_non_finite():
    def scenario(lib):
        m = model(lib)
        m[0].weight.grad[0, 0] = float("inf")
        with pytest.raises(RuntimeError, match="non-finite"):
            lib.nn.utils.clip_grad_norm_(m.parameters(), 1.0, error_if_nonfinite=True)
        untouched = grads(m)[1].copy()
        total = lib.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        return [untouched, total.numpy(), *grads(m)]

    same(scenario)


def test_clip_grad_value():
    def scenario(lib):
        m = model(lib)
        lib.nn.utils.clip_grad_value_(m.parameters(), 0.3)
        return grads(m)

    same(scenario)


def test_parameters_to_vector_and_back():
    def scenario(lib):
        m = model(lib)
        v = lib.nn.utils.parameters_to_vector(m.parameters())
        lib.nn.utils.vector_to_parameters(v.detach() * 2, m.parameters())
        return [v.detach().numpy(), *[p.detach().numpy() for p in m.parameters()]]

    same(scenario)


def test_vector_too_short_changes_nothing():
    m = model(flambeau)
    before = [p.detach().numpy().copy() for p in m.parameters()]
    with pytest.raises(RuntimeError):
        flambeau.nn.utils.vector_to_parameters(flambeau.zeros(5), m.parameters())
    for p, b in zip(m.parameters(), before, strict=False):
        np.testing.assert_array_equal(p.detach().numpy(), b)


# ------------------------------------------------------------------------------------- parametrizations


def symmetric(lib):
    class Symmetric(lib.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T

        def right_inverse(self, x):
            return x.triu()

    return Symmetric()


def test_parametrization():
    def scenario(lib):
        lib.manual_seed(0)
        p = lib.nn.utils.parametrize
        m = lib.nn.Linear(3, 3)
        original = m.weight
        assert p.register_parametrization(m, "weight", symmetric(lib)) is m
        assert p.is_parametrized(m) and p.is_parametrized(m, "weight") and not p.is_parametrized(m, "bias")
        assert p.type_before_parametrizations(m) is lib.nn.Linear
        assert type(m).__name__ == "ParametrizedLinear" and isinstance(m, lib.nn.Linear)
        assert [n for n, _ in m.named_parameters()] == ["bias", "parametrizations.weight.original"]
        assert m.parametrizations.weight.original is original
        out = [m.weight.detach().numpy(), m(lib.ones(2, 3)).detach().numpy()]
        m(lib.ones(2, 3)).sum().backward()
        out.append(original.grad.numpy())
        m.weight = lib.eye(3) * 5
        out += [m.weight.detach().numpy(), original.detach().numpy().copy()]
        with p.cached():
            assert m.weight is m.weight
        assert m.weight is not m.weight
        twin = copy.deepcopy(m)
        with lib.no_grad():
            twin.parametrizations.weight.original.zero_()
        out += [m.weight.detach().numpy(), twin.weight.detach().numpy()]
        with pytest.raises(RuntimeError):
            pickle.dumps(m)
        p.remove_parametrizations(m, "weight")
        assert type(m) is lib.nn.Linear and m.weight is original
        assert sorted(n for n, _ in m.named_parameters()) == ["bias", "weight"]
        return [*out, m.weight.detach().numpy()]

    same(scenario)


def test_parametrizations_in_a_row_and_removal():
    def scenario(lib):
        lib.manual_seed(0)
        p = lib.nn.utils.parametrize

        class Double(lib.nn.Module):
            def forward(self, x):
                return 2 * x

        m = lib.nn.Linear(3, 3)
        p.register_parametrization(m, "weight", symmetric(lib))
        p.register_parametrization(m, "weight", Double())
        p.register_parametrization(m, "bias", Double())
        out = [m.weight.detach().numpy(), m.bias.detach().numpy()]
        with pytest.raises(RuntimeError, match="does not implement"):
            m.weight = lib.zeros(3, 3)
        p.remove_parametrizations(m, "weight", leave_parametrized=False)
        p.remove_parametrizations(m, "bias")
        return [*out, m.weight.detach().numpy(), m.bias.detach().numpy()]

    same(scenario)


def test_parametrization_errors():
    def scenario(lib):
        p = lib.nn.utils.parametrize

        def make(fn):
            class Bad(lib.nn.Module):
                def forward(self, x):
                    return fn(x)

            return Bad()

        out = []
        for call in (
            lambda m: p.register_parametrization(m, "nothing", symmetric(lib)),
            lambda m: p.register_parametrization(m, "weight", make(lambda x: x.double())),
            lambda m: p.register_parametrization(m, "weight", make(lambda x: x[0])),
            lambda m: p.register_parametrization(m, "weight", make(lambda x: 3)),
            lambda m: p.remove_parametrizations(m, "weight"),
        ):
            m = lib.nn.Linear(3, 3)
            with pytest.raises(Exception) as e:
                call(m)
            out.append(e.type.__name__)
            assert type(m) is lib.nn.Linear and "weight" in m._parameters
        return out

    assert scenario(flambeau) == scenario(torch)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    def scenario(lib):
        lib.manual_seed(0)
        m = lib.nn.utils.parametrizations.weight_norm(lib.nn.Linear(3, 4), dim=dim)
        m(lib.ones(2, 3)).square().sum().backward()
        out = [p.detach().numpy() for p in m.parameters()] + grads(m) + [m.weight.detach().numpy()]
        m.load_state_dict(
            {
                "bias": m.bias,
                "weight_g": m.parametrizations.weight.original0 * 2,
                "weight_v": m.parametrizations.weight.original1,
            }
        )
        out.append(m.weight.detach().numpy())
        lib.nn.utils.parametrize.remove_parametrizations(m, "weight")
        return [*out, m.weight.detach().numpy()]

    same(scenario)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_old_weight_norm():
    def scenario(lib):
        lib.manual_seed(0)
        m = lib.nn.utils.weight_norm(lib.nn.Linear(3, 4))
        assert list(m.state_dict()) == ["bias", "weight_g", "weight_v"]
        with lib.no_grad():
            m.weight_g.mul_(2)
        y = m(lib.ones(2, 3))
        y.square().sum().backward()
        out = [y.detach().numpy(), *grads(m)]
        lib.nn.utils.remove_weight_norm(m)
        assert not m._forward_pre_hooks
        return [*out, m.weight.detach().numpy(), m(lib.ones(2, 3)).detach().numpy()]

    same(scenario)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("layer", [("Linear", (5, 4)), ("ConvTranspose2d", (2, 3, 3))], ids=str)
def test_spectral_norm(old, layer):
    def scenario(lib):
        lib.manual_seed(0)
        utils = lib.nn.utils if old else lib.nn.utils.parametrizations
        m = utils.spectral_norm(getattr(lib.nn, layer[0])(*layer[1]), n_power_iterations=2)
        state = list(m.state_dict())
        x = lib.ones(2, 5) if layer[0] == "Linear" else lib.ones(1, 2, 3, 3)
        y = m(x)
        y.square().sum().backward()
        m.eval()
        out = [y.detach().numpy(), *grads(m), m(x).detach().numpy()]
        if old:
            lib.nn.utils.remove_spectral_norm(m)
        else:
            lib.nn.utils.parametrize.remove_parametrizations(m, "weight")
        names.append(state)
        return [*out, m.weight.detach().numpy()]

    names = []
    same(scenario, rtol=1e-4, atol=1e-5)
    assert names[0] == names[1]


# ------------------------------------------------------------------------------------- functional calls


def functional_call(lib):
    return flambeau_stateless.functional_call if lib is flambeau else torch.func.functional_call


def test_functional_call():
    def scenario(lib):
        call = functional_call(lib)
        m = model(lib)
        x = lib.ones(2, 3)
        before = {k: v.detach().clone() for k, v in m.state_dict().items()}
        given = {k: (v * 2).detach().requires_grad_() for k, v in before.items()}
        y = call(m, given, (x,))
        y.sum().backward()
        z = call(m, [{"0.weight": given["0.weight"]}, {"1.bias": given["1.bias"]}], x)
        for k, v in m.state_dict().items():
            np.testing.assert_array_equal(v.numpy(), before[k].numpy())
        assert isinstance(m[0].weight, lib.nn.Parameter)
        return [y.detach().numpy(), z.detach().numpy(), *[g.grad.numpy() for g in given.values()]]

    same(scenario)


def test_functional_call_tied_weights_and_buffers():
    def scenario(lib):
        call = functional_call(lib)
        a = lib.nn.Linear(2, 2, bias=False)
        b = lib.nn.Linear(2, 2, bias=False)
        b.weight = a.weight
        m = lib.nn.Sequential(a, b)
        w = lib.tensor([[1.0, 2.0], [3.0, 4.0]])
        tied = call(m, {"0.weight": w}, lib.ones(1, 2))
        with pytest.raises(ValueError, match="tied"):
            call(m, {"0.weight": w, "1.weight": w + 1}, lib.ones(1, 2))
        loose = call(m, {"0.weight": w, "1.weight": w + 1}, lib.ones(1, 2), tie_weights=False)
        bn = lib.nn.BatchNorm1d(2)
        given = {k: v.clone() for k, v in bn.state_dict().items()}
        call(bn, given, lib.tensor([[1.0, 2.0], [5.0, 4.0]]))
        return [tied.numpy(), loose.detach().numpy(), given["running_mean"].numpy(), bn.running_mean.numpy()]

    same(scenario)


def test_functional_call_errors():
    def scenario(lib):
        call = functional_call(lib)
        m = lib.nn.Linear(2, 2)
        x, w = lib.ones(1, 2), lib.ones(2, 2)
        out = []
        for attempt in (
            lambda: call(m, {"weight": w}, x, strict=True),
            lambda: call(m, {"weight": w, "bias": lib.ones(2), "z": w}, x, strict=True),
            lambda: call(m, {"weight": 3}, x),
            lambda: call(m, {"a.b": w}, x),
            lambda: call(m, [{"weight": w}, {"weight": w}], x),
            lambda: call(m, 3, x),
            lambda: call(m, {"weight": lib.ones(3, 3)}, x),
        ):
            with pytest.raises(Exception) as e:
                attempt()
            out.append(e.type.__name__)
            assert isinstance(m.weight, lib.nn.Parameter)
        return out

    assert scenario(flambeau) == scenario(torch)


def test_stack_module_state():
    def scenario(lib):
        lib.manual_seed(0)
        stack = flambeau_stateless.stack_module_state if lib is flambeau else torch.func.stack_module_state
        models = [lib.nn.BatchNorm1d(2) for _ in range(3)]
        params, buffers = stack(models)
        assert params["weight"].is_leaf and params["weight"].requires_grad
        return [*[p.detach().numpy() for p in params.values()], *[b.numpy() for b in buffers.values()]]

    same(scenario)


def test_skip_init():
    flambeau.manual_seed(0)
    layer = flambeau.nn.utils.skip_init(flambeau.nn.Linear, 2, 3)
    after = flambeau.rand(1)
    flambeau.manual_seed(0)
    assert layer.weight.shape == (3, 2) and after.equal(flambeau.rand(1))
    with pytest.raises(RuntimeError, match="Expected a Module"):
        flambeau.nn.utils.skip_init(int)
    with pytest.raises(RuntimeError, match="'device'"):
        flambeau.nn.utils.skip_init(flambeau.nn.ReLU)


def test_clipping_of_a_generator_without_parameters_warns():
    with pytest.warns(UserWarning, match="empty generator"):
        flambeau.nn.utils.clip_grad_norm_((p for p in []), 1.0)
