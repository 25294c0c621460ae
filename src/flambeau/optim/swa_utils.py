"""Averages of models: stochastic weight averaging and exponential moving averages.

P. Izmailov et al., *Averaging Weights Leads to Wider Optima and Better Generalization* (2018).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from .. import ops
from ..autograd.grad_mode import no_grad
from ..core.tensor import Tensor
from ..nn import Module
from ..nn.modules.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from ..runtime import dtypes
from .lr_base import LRScheduler, per_group
from .optimizer import Optimizer

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """A function for `AveragedModel`: an exponential moving average.

    Raises: ValueError for a decay outside [0, 1].
    """
    _check_decay(decay)

    def average(averaged: Any, current: Any, num_averaged: Any) -> Tensor:
        with no_grad():
            return decay * averaged + (1 - decay) * current  # type: ignore[no-any-return]

    return average


def get_swa_avg_fn() -> Average:
    """A function for `AveragedModel`: the mean of all models."""

    def average(averaged: Any, current: Any, num_averaged: Any) -> Tensor:
        with no_grad():
            return averaged + (current - averaged) / (num_averaged + 1)  # type: ignore[no-any-return]

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """`get_ema_avg_fn` for lists of tensors, in place.

    Raises: ValueError for a decay outside [0, 1].
    """
    _check_decay(decay)

    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        with no_grad():
            for a, c in zip(averaged, current, strict=True):
                _approach(a, c, 1 - decay)

    return update


def get_swa_multi_avg_fn() -> MultiAverage:
    """`get_swa_avg_fn` for lists of tensors, in place."""

    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        with no_grad():
            for a, c in zip(averaged, current, strict=True):
                _approach(a, c, 1 / (float(num_averaged) + 1))

    return update


def _approach(a: Any, c: Any, weight: float) -> None:
    if a.is_floating_point() or a.is_complex():
        a.lerp_(c, weight)
    else:
        a.copy_(a + (c - a) * weight)


class AveragedModel(Module):
    """A copy of a model that holds an average of its parameters; it is called like the model.

    `avg_fn` of two tensors, or `multi_avg_fn` of two lists in place, say how a further model is averaged in;
    the default is the mean. With `use_buffers` buffers are averaged too, otherwise copied.

    Raises: AssertionError for both functions at once.

    >>> import flambeau as torch
    >>> model = torch.nn.Linear(1, 1)
    >>> averaged = torch.optim.swa_utils.AveragedModel(model)
    >>> averaged.update_parameters(model)
    >>> averaged.n_averaged
    tensor(1)
    """

    n_averaged: Any

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", ops.tensor(0, dtype=dtypes.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The averaged model's result."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Average in the parameters that `model` has now; the first time they are copied."""
        pairs = [(a.detach(), b.detach()) for a, b in self._pairs(model)]
        count = int(self.n_averaged)
        with no_grad():
            if count == 0:
                for a, b in pairs:
                    a.copy_(b)
            elif self.multi_avg_fn is not None:
                for dtype in dict.fromkeys(a.dtype for a, _ in pairs):
                    same = [pair for pair in pairs if pair[0].dtype is dtype]
                    self.multi_avg_fn([a for a, _ in same], [b for _, b in same], self.n_averaged)
            else:
                average = self.avg_fn or get_swa_avg_fn()
                for a, b in pairs:
                    a.copy_(average(a, b, self.n_averaged))
            if not self.use_buffers:
                for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                    a.detach().copy_(b.detach())
            self.n_averaged += 1

    def _pairs(self, model: Module) -> list[tuple[Any, Any]]:
        if not self.use_buffers:
            return list(zip(self.module.parameters(), model.parameters(), strict=True))
        ours = chain(self.module.parameters(), self.module.buffers())
        return list(zip(ours, chain(model.parameters(), model.buffers()), strict=True))


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of the batch norms anew, as means over the batches of `loader`.

    Of batches that are lists or tuples the first element is the input.
    """
    norms = [m for m in model.modules() if isinstance(m, (BatchNorm1d, BatchNorm2d, BatchNorm3d))]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    was_training = model.training
    model.train()
    try:
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # the mean of all batches
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else x.to(device))
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From the present learning rate to `swa_lr` in `anneal_epochs` steps, then constant.

    Raises: ValueError for an unknown `anneal_strategy` and a negative or fractional `anneal_epochs`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for lr, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = lr
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        """Which part of the way is behind after a number of steps."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._part(step - 1), self._part(step)
        lrs = []
        for group in self.optimizer.param_groups:
            end = group["swa_lr"]
            start = end if before == 1 else (group["lr"] - before * end) / (1 - before)
            lrs.append(end * now + start * (1 - now))
        return lrs
