"""Groups, hooks, states and errors of the base class; formulas written out in NumPy."""

import copy
import pickle

import numpy as np
import pytest

import flambeau
from flambeau.optim import SGD, Adam, AdamW, RMSprop, elementwise
from optim_helpers import numbers, quadratic


def test_adam_is_the_papers_algorithm():
    w = numbers()
    theta = w.detach().numpy().copy()
    m, v = np.zeros(3), np.zeros(3)
    optimizer = Adam([w], lr=0.1, betas=(0.8, 0.95), eps=1e-3)
    for t in range(1, 20):
        g = 2 * theta
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        theta -= 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-3)
        quadratic(optimizer, w, 1)
    np.testing.assert_allclose(w.detach().numpy(), theta, rtol=1e-12)
    assert optimizer.state[w]["step"].item() == 19


def test_adamw_shrinks_the_parameters_and_not_the_moments():
    w = flambeau.ones(2, requires_grad=True)
    optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
    w.grad = flambeau.zeros(2)
    optimizer.step()
    np.testing.assert_allclose(w.detach().numpy(), 0.95, rtol=1e-6)
    assert float(optimizer.state[w]["exp_avg"].abs().sum()) == 0


def test_momentum_starts_with_the_gradient():
    w = flambeau.tensor([1.0], requires_grad=True)
    optimizer = SGD([w], lr=0.1, momentum=0.9, dampening=0.5)
    for expected in (0.9, 0.9 - 0.1 * (0.9 * 1 + 0.5 * 1)):
        w.grad = flambeau.ones(1)
        optimizer.step()
        assert w.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (SGD, {"momentum": 0.9, "nesterov": True}),
        (SGD, {"momentum": 0.9, "weight_decay": 0.1}),
        (RMSprop, {"momentum": 0.9, "centered": True}),
        (Adam, {"amsgrad": True}),
    ],
)
def test_gradients_flow_through_differentiable_steps(kind, options):
    """Three steps down a quartic: the derivative of the final loss by the start, against finite differences."""

    def final_loss(w0):
        w = w0.clone()
        optimizer = kind([w], lr=0.05, differentiable=True, **options)
        for _ in range(3):
            w.grad = 4 * w.clone() ** 3
            optimizer.step()
        return (w**2).sum()

    w0 = flambeau.tensor([0.7, -1.1], dtype=flambeau.float64, requires_grad=True)
    final_loss(w0).backward()
    h = 1e-6
    for i in range(2):
        e = np.eye(2)[i] * h
        up, down = (final_loss(flambeau.tensor(w0.detach().numpy() + s)).item() for s in (e, -e))
        assert w0.grad[i].item() == pytest.approx((up - down) / (2 * h), rel=1e-6)


def test_parameters_without_gradient_are_left_alone():
    a, b = numbers(0), numbers(1)
    before = b.tolist()
    optimizer = SGD([a, b], lr=0.1, weight_decay=0.5)
    quadratic(optimizer, a, 2)
    assert b.tolist() == before and b not in optimizer.state


def test_groups_have_options_of_their_own():
    a, b = (flambeau.ones(1, requires_grad=True) for _ in "ab")
    optimizer = SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.1)
    (a + b).sum().backward()
    optimizer.step()
    assert (a.item(), b.item()) == pytest.approx((0.9, 0.5))
    c = flambeau.ones(1, requires_grad=True)
    optimizer.add_param_group({"params": [c]})
    assert optimizer.param_groups[2]["lr"] == 0.1


def test_a_refused_group_changes_nothing():
    w = numbers()
    optimizer = SGD([w], lr=0.1)
    group = {"params": [w]}
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1 and group == {"params": [w]}


def test_names():
    optimizer = SGD([("weight", numbers(0)), ("bias", numbers(1))], lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    other = SGD([("w", numbers(0)), ("b", numbers(1))], lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["param_names"] == ["weight", "bias"]


def test_duplicate_parameters_warn_and_are_stepped_twice():
    w = flambeau.ones(1, requires_grad=True)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = SGD([w, w], lr=0.1)
    w.grad = flambeau.ones(1)
    optimizer.step()
    assert w.item() == pytest.approx(0.8)


def test_parameters_that_share_memory_are_updated_one_after_the_other(monkeypatch):
    monkeypatch.setattr(elementwise, "KERNEL_MIN", 1)
    flat = flambeau.ones(6)
    a, b = (flat[s].detach().requires_grad_() for s in (slice(0, 4), slice(2, 6)))
    optimizer = SGD([a, b], lr=0.1)
    a.grad, b.grad = flambeau.ones(4), flambeau.ones(4)
    optimizer.step()
    np.testing.assert_allclose(flat.numpy(), [0.9, 0.9, 0.8, 0.8, 0.9, 0.9], rtol=1e-6)


def test_zero_grad():
    w = numbers()
    optimizer = SGD([w], lr=0.1)
    (w**2).sum().backward()
    grad = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad is grad and grad.tolist() == [0, 0, 0]
    optimizer.zero_grad()
    assert w.grad is None


def test_closure_runs_with_gradients_and_its_loss_is_returned():
    w = numbers()
    optimizer = Adam([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    with flambeau.no_grad():
        loss = optimizer.step(closure)
    assert loss.requires_grad


def test_a_step_makes_saved_tensors_stale():
    w = flambeau.ones(3, requires_grad=True)
    y = (w * w).sum()
    optimizer = SGD([w], lr=0.1)
    w.grad = flambeau.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match="(?s)modified by an inplace operation.*SGD.step"):
        y.backward()


def test_hooks():
    w = numbers()
    optimizer, calls = SGD([w], lr=0.1), []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append(("pre", o is optimizer)))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append(("post", args, kwargs)))
    optimizer.step()
    assert calls == [("pre", True), ("post", (optimizer,), {})]
    handle.remove()
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        optimizer.step()


def test_global_hooks_and_nested_steps_run_once():
    from flambeau.optim import optimizer as base

    class Twice(SGD):
        def step(self, closure=None):
            super().step(closure)
            return super().step(closure)

    calls = []
    handle = base.register_optimizer_step_post_hook(lambda *a: calls.append(1))
    try:
        Twice([numbers()], lr=0.1).step()
    finally:
        handle.remove()
    assert calls == [1]


def test_state_dict_hooks():
    optimizer = SGD([numbers()], lr=0.1)
    optimizer.register_state_dict_pre_hook(lambda o: o.param_groups[0].update(lr=0.2))
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "extra": 1})
    saved = optimizer.state_dict()
    assert saved["extra"] == 1 and saved["param_groups"][0]["lr"] == 0.2
    seen = []
    optimizer.register_load_state_dict_pre_hook(lambda o, d: seen.append(d.pop("extra")))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    optimizer.load_state_dict(saved)
    assert seen == [1, "loaded"] and "extra" in saved  # the caller's dict is not the one that hooks see


def test_load_state_dict_copies_and_converts():
    a, b = numbers(), numbers().detach().float().requires_grad_()
    first, second = Adam([a], lr=0.1), Adam([b], lr=0.3)
    quadratic(first, a, 3)
    second.load_state_dict(first.state_dict())
    state = second.state[b]
    assert state["exp_avg"].dtype is flambeau.float32 and state["step"].item() == 3
    assert second.param_groups[0]["lr"] == 0.1
    third = Adam([numbers()], lr=0.1)
    third.load_state_dict(first.state_dict())
    quadratic(first, a, 1)
    assert third.state[third.param_groups[0]["params"][0]]["step"].item() == 3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([{"params": [0]}, {"params": [1]}], "different number of parameter groups"),
        ([{"params": [0, 1]}], "doesn't match the size"),
    ],
)
def test_load_state_dict_refuses_other_groups(params, message):
    optimizer = SGD([numbers()], lr=0.1)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict({"state": {}, "param_groups": params})
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("kind", [SGD, Adam, RMSprop])
def test_a_gradient_that_does_not_fit_changes_nothing(kind):
    a, b = numbers(0), numbers(1)
    optimizer = kind([a, b], lr=0.1, momentum=0.9) if kind is SGD else kind([a, b], lr=0.1)
    (a.sum() + b.sum()).backward()
    optimizer.step()
    before = a.tolist(), pickle.dumps(optimizer.state_dict())
    b.data = flambeau.zeros(4, dtype=flambeau.float64)
    with pytest.raises(RuntimeError, match=r"shape \[4\].*gradient has shape \[3\]"):
        optimizer.step()
    assert (a.tolist(), pickle.dumps(optimizer.state_dict())) == before


def test_read_only_parameters_are_refused():
    array = np.ones(3)
    array.flags.writeable = False
    w = flambeau.core.tensor.wrap(array).requires_grad_()
    v = numbers()
    before = v.tolist()
    optimizer = Adam([v, w], lr=0.1)
    v.grad, w.grad = flambeau.ones(3, dtype=flambeau.float64), flambeau.ones(3, dtype=flambeau.float64)
    with pytest.raises(RuntimeError, match="read-only"):
        optimizer.step()
    assert v.tolist() == before


def test_capturable_needs_an_accelerator():
    w = numbers()
    optimizer = Adam([w], capturable=True)
    w.grad = w.detach().clone()
    with pytest.raises(AssertionError, match="capturable=True"):
        optimizer.step()


def test_copies_and_pickles_are_independent():
    w = numbers()
    optimizer = Adam([w], lr=0.1)
    quadratic(optimizer, w, 2)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (v,) = twin.param_groups[0]["params"]
        assert v is not w and v.tolist() == w.tolist()
        assert twin.state[v]["step"].item() == 2
        quadratic(twin, v, 1)
        assert twin.state[v]["step"].item() == 3 and optimizer.state[w]["step"].item() == 2


def test_old_checkpoints_count_steps_with_numbers():
    w = numbers()
    optimizer = Adam([w], lr=0.1)
    quadratic(optimizer, w, 1)
    saved = optimizer.state_dict()
    saved["state"][0]["step"] = 1
    del saved["param_groups"][0]["maximize"]
    other = Adam([w], lr=0.1)
    other.load_state_dict(saved)
    assert other.param_groups[0]["maximize"] is False
    quadratic(other, w, 1)
    assert other.state[w]["step"].item() == 2


def test_lbfgs_with_a_negative_tolerance_where_the_gradient_is_zero():
    p = flambeau.ones(2, requires_grad=True)
    optimizer = flambeau.optim.LBFGS([p], tolerance_grad=-1.0)

    def closure():
        optimizer.zero_grad()
        loss = (p * 0).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 0.0
    assert p.tolist() == [1.0, 1.0]


def test_adafactor_goes_on_from_a_step_that_is_a_number():
    p = flambeau.ones(2, requires_grad=True)
    optimizer = flambeau.optim.Adafactor([p])
    for _ in range(2):
        p.grad = flambeau.ones(2)
        optimizer.step()
        optimizer.state[p]["step"] = float(optimizer.state[p]["step"])
    assert optimizer.state[p]["step"] == 2.0
