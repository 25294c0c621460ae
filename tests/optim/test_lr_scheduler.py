"""Schedules give PyTorch's learning rates, epoch by epoch."""

import math
import pickle
import warnings

import pytest

import flambeau
from flambeau.optim import SGD, Adam, lr_scheduler

SCHEDULES = [
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9]}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 4}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 9}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "step_size_down": 2}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.1, 0.3], "step_size_up": 3, "mode": "exp_range", "gamma": 0.9}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 25}),
    (
        "OneCycleLR",
        {"max_lr": [0.3, 0.2], "epochs": 5, "steps_per_epoch": 5, "three_phase": True, "anneal_strategy": "linear"},
    ),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.9**epoch}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.9}),
    ("SWALR", {"swa_lr": 0.01, "anneal_epochs": 4}),
]  # fmt: skip


def two_groups(lib, kind="SGD", tensor_lr=False):
    a, b = lib.zeros(2, requires_grad=True), lib.zeros(3, requires_grad=True)
    options = {"momentum": 0.9} if kind == "SGD" else {}
    optimizer = getattr(lib.optim, kind)([{"params": [a]}, {"params": [b], "lr": 0.2}], lr=0.1, **options)
    if tensor_lr:
        for group in optimizer.param_groups:
            group["lr"] = lib.tensor(group["lr"])
    return optimizer


def scheduler_class(lib, name):
    return getattr(lib.optim.swa_utils if name == "SWALR" else lib.optim.lr_scheduler, name)


def plain(optimizer):
    return [
        {k: float(v) if hasattr(v, "item") else v for k, v in group.items() if k != "params"}
        for group in optimizer.param_groups
    ]


@pytest.mark.parametrize(("name", "options"), SCHEDULES)
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("tensor_lr", [False, True])
def test_rates(name, options, kind, tensor_lr):
    torch = pytest.importorskip("torch")
    histories = []
    for lib in (torch, flambeau):
        optimizer = two_groups(lib, kind, tensor_lr)
        scheduler = scheduler_class(lib, name)(optimizer, **options)
        history = [plain(optimizer)]
        for _ in range(24):
            optimizer.step()
            scheduler.step()
            history.append(plain(optimizer) + [float(lr) for lr in scheduler.get_last_lr()])
        if name not in ("OneCycleLR",):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scheduler.step(5)
            history.append(plain(optimizer))
        keys = {"_anneal_func_type"} if name == "CyclicLR" else set()
        histories.append((history, sorted(set(scheduler.state_dict()) - keys)))
    assert histories[0] == histories[1]


@pytest.mark.parametrize(("name", "options"), [s for s in SCHEDULES if "lr_lambda" not in s[1]])
def test_states_can_be_saved_and_resumed(name, options):
    optimizer = two_groups(flambeau)
    scheduler = scheduler_class(flambeau, name)(optimizer, **options)

    def go(n):
        rates = []
        for _ in range(n):
            optimizer.step()
            scheduler.step()
            rates.append(scheduler.get_last_lr())
        return rates

    go(5)
    saved = pickle.loads(pickle.dumps((scheduler.state_dict(), optimizer.state_dict())))
    expected = go(8)
    optimizer = two_groups(flambeau)
    scheduler = scheduler_class(flambeau, name)(optimizer, **options)
    scheduler.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert go(8) == expected


def composites(lib):
    schedules, found = lib.optim.lr_scheduler, []
    optimizer = two_groups(lib)
    parts = [
        schedules.ConstantLR(optimizer, factor=0.1, total_iters=2),
        schedules.ExponentialLR(optimizer, gamma=0.9),
        schedules.CosineAnnealingLR(optimizer, T_max=5),
    ]
    sequence = schedules.SequentialLR(optimizer, parts, [3, 7])
    for _ in range(15):
        found.append(sequence.get_last_lr())
        optimizer.step()
        sequence.step()
    optimizer = two_groups(lib)
    parts = [
        schedules.ConstantLR(optimizer, factor=0.1, total_iters=4),
        schedules.ExponentialLR(optimizer, gamma=0.9),
    ]
    chain = schedules.ChainedScheduler(parts)
    for _ in range(8):
        found.append(chain.get_last_lr())
        optimizer.step()
        chain.step()
    return found, sorted(sequence.state_dict()), sorted(chain.state_dict())


def test_composites():
    torch = pytest.importorskip("torch")
    assert composites(flambeau) == composites(torch)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateaus(mode, threshold_mode):
    torch = pytest.importorskip("torch")
    metrics = [1, 0.9, 0.9, 0.9, 1.2, 0.95, 0.8, 0.9, math.nan, 0.9, 0.9, 0.9, 1.5, 0.9, 0.9]
    found = []
    for lib in (torch, flambeau):
        optimizer = two_groups(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode, patience=1, cooldown=1, min_lr=[1e-3, 0.01], threshold_mode=threshold_mode
        )
        rates = []
        for m in metrics:
            scheduler.step(m)
            rates.append(scheduler.get_last_lr())
        found.append((rates, scheduler.best, sorted(scheduler.state_dict())))
    assert found[0] == found[1]


def test_the_order_of_steps_is_checked():
    scheduler = lr_scheduler.StepLR(two_groups(flambeau), 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    optimizer = two_groups(flambeau)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match="has been overridden"):
        scheduler.step()


def test_get_lr_outside_of_a_step_warns():
    scheduler = lr_scheduler.StepLR(two_groups(flambeau), 1)
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()


def test_a_rate_that_is_a_tensor_is_filled_in_place():
    lr = flambeau.tensor(1.0)
    optimizer = Adam([flambeau.zeros(2, requires_grad=True)], lr=lr)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda s, o: s.StepLR(3, 1),
        lambda s, o: s.LambdaLR(o, [abs]),
        lambda s, o: s.MultiplicativeLR(o, [1, 2]),
        lambda s, o: s.ConstantLR(o, factor=2.0),
        lambda s, o: s.LinearLR(o, start_factor=0.0),
        lambda s, o: s.LinearLR(o, end_factor=2.0),
        lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"),
        lambda s, o: s.CyclicLR(o, [0.1], 0.2),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=0),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=1, T_mult=0),
        lambda s, o: s.OneCycleLR(o, 0.1),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, pct_start=2.0),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, anneal_strategy="x"),
        lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
        lambda s, o: s.ReduceLROnPlateau(o, mode="x"),
        lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
        lambda s, o: s.SequentialLR(o, [], []),
        lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]),
        lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
        lambda s, o: s.ChainedScheduler([]),
        lambda s, o: s.StepLR(o, 1, last_epoch=3),
    ],
)
def test_bad_arguments(make):
    torch = pytest.importorskip("torch")
    kinds = []
    for lib in (torch, flambeau):
        with pytest.raises((ValueError, TypeError, KeyError)) as found:
            make(lib.optim.lr_scheduler, two_groups(lib))
        kinds.append(found.type)
    assert kinds[0] is kinds[1]


def test_a_bad_cycle_leaves_the_optimizer_alone():
    optimizer = two_groups(flambeau)
    before = plain(optimizer)
    with pytest.raises(ValueError, match="mode is invalid"):
        lr_scheduler.CyclicLR(optimizer, 0.5, 0.6, mode="square")
    rmsprop_like = flambeau.optim.Adagrad([flambeau.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match="momentum"):
        lr_scheduler.OneCycleLR(rmsprop_like, 0.5, total_steps=3)
    assert plain(optimizer) == before and "max_lr" not in rmsprop_like.param_groups[0]


def test_optimizers_are_freed_with_their_schedules():
    import gc
    import weakref

    optimizer = SGD([flambeau.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    gone = weakref.ref(optimizer)
    gc.disable()
    try:
        del optimizer, scheduler
        assert gone() is None
    finally:
        gc.enable()
