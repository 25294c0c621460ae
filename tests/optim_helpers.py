"""Runs one optimizer on the same parameters and gradients with two libraries."""

import numpy as np

import flambeau

SHAPES = [(3, 4), (5,), (), (2, 3, 2)]

CASES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    ("Adam", {"betas": (0.3, 0.99), "eps": 1e-4}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.5, "maximize": True, "alpha": 0.8}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"weight_decay": 0.1, "maximize": True, "betas": (0.3, 0.9)}),
    ("NAdam", {}),
    ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"weight_decay": 0.1, "betas": (0.8, 0.9)}),
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"etas": (0.3, 1.5), "step_sizes": (1e-3, 0.5), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"t0": 5, "lambd": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {"weight_decay": 0.1}),
]


class Draws:
    """Reproducible arrays of the shapes of `SHAPES`, their sizes multiplied by `scale`."""

    def __init__(self, dtype, scale=1, order="C"):
        self.rng = np.random.default_rng(0)
        self.dtype, self.scale, self.order = np.dtype(dtype), scale, order

    def arrays(self):
        found = []
        for shape in SHAPES:
            a = self.rng.normal(0, 1, tuple(n * self.scale for n in shape))
            if self.dtype.kind == "c":
                a = a + 1j * self.rng.normal(0, 1, a.shape)
            found.append(np.asarray(a, dtype=self.dtype, order=self.order))
        return found


def train(library, name, options, draws, steps=50, lr=0.05, tensor_lr=False):
    """The parameters and the optimizer after some steps."""
    params = [library.from_numpy(a.copy(order="K")).requires_grad_(True) for a in draws.arrays()]
    rate = library.tensor(lr) if tensor_lr else lr
    optimizer = getattr(library.optim, name)(params, lr=rate, **options)
    for _ in range(steps):
        for p, g in zip(params, draws.arrays(), strict=True):
            p.grad = library.from_numpy(g.copy(order="K"))
        optimizer.step()
    return params, optimizer


def assert_same(ours, reference, ulps):
    """Parameters and states agree to a number of units in the last place (of 1, for smaller numbers)."""
    (params, optimizer), (twins, torch_optimizer) = ours, reference
    for p, t in zip(params, twins, strict=True):
        pairs = {"parameter": (p.detach(), t.detach())}
        mine, theirs = optimizer.state[p], torch_optimizer.state[t]
        assert sorted(mine) == sorted(theirs)
        pairs |= {key: (mine[key], theirs[key]) for key in mine}
        for what, (a, b) in pairs.items():
            a, b = a.numpy(), b.numpy()
            assert a.dtype == b.dtype and a.shape == b.shape
            tolerance = ulps * np.finfo(a.dtype).eps
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=what)


def quadratic(optimizer, w, steps):
    """Minimise the sum of squares."""
    for _ in range(steps):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()


def numbers(seed=0, shape=(3,)):
    return flambeau.tensor(np.random.default_rng(seed).normal(0, 1, shape), requires_grad=True)
