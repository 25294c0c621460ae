"""One launch for the update of all parameters of an optimizer.

Formulas and the order of operations are those of `torch.optim`; states and parameters are changed in place.
D. P. Kingma and J. Ba, *Adam* (2015), algorithm 1; I. Loshchilov and F. Hutter, *Decoupled Weight Decay
Regularization* (2019), algorithm 2; S. J. Reddi et al., *On the Convergence of Adam and Beyond* (2018);
I. Sutskever et al., *On the importance of initialization and momentum in deep learning* (2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy.typing as npt

from .dialect import Dialect, Value
from .pointwise import PointwiseKernel, pointwise_kernel

__all__ = ["adam_update", "sgd_update"]

Array = npt.NDArray[Any]


@cache
def _adam_kernel(
    dtype: str, amsgrad: bool, decay: str, maximize: bool, small_weight: bool
) -> PointwiseKernel:
    def body(k: Dialect, *values: Value) -> tuple[Value, ...]:
        param, average, square, *rest = values
        maximum = rest.pop(0) if amsgrad else None
        grad, shrink, one_minus_beta1, beta2, one_minus_beta2, step_size, root, eps = rest
        if maximize:
            grad = -grad
        if decay == "decoupled":
            param = param * shrink
        elif decay == "coupled":
            grad = k.fma(param, shrink, grad)
        # Both forms of linear interpolation are exact at their nearer end, as in torch.lerp.
        if small_weight:
            average = k.fma(one_minus_beta1, grad - average, average)
        else:
            average = k.fma(one_minus_beta1 - 1.0, grad - average, grad)
        square = square * beta2 + one_minus_beta2 * grad * grad
        largest = square
        if maximum is not None:
            largest = maximum = k.max(maximum, square)
        param = param + step_size * average / (k.sqrt(largest) / root + eps)
        return (param, average, square) if maximum is None else (param, average, square, maximum)

    states = 4 if amsgrad else 3
    return pointwise_kernel(body, [dtype] * (states + 1), [dtype] * states, 7)


@cache
def _sgd_kernel(
    dtype: str, momentum: bool, first: bool, nesterov: bool, decay: bool, maximize: bool
) -> PointwiseKernel:
    def body(k: Dialect, *values: Value) -> tuple[Value, ...] | Value:
        param, *rest = values
        buffer = rest.pop(0) if momentum and not first else None
        grad, minus_lr, keep, take, weight_decay = rest
        if maximize:
            grad = -grad
        if decay:
            grad = k.fma(param, weight_decay, grad)
        if not momentum:
            return k.fma(grad, minus_lr, param)
        buffer = grad if buffer is None else k.fma(grad, take, buffer * keep)
        step = k.fma(buffer, keep, grad) if nesterov else buffer
        return k.fma(step, minus_lr, param), buffer

    inputs = 3 if momentum and not first else 2
    return pointwise_kernel(body, [dtype] * inputs, [dtype] * (2 if momentum else 1), 4)


def _groups(params: Sequence[Array], steps: float | Sequence[float]) -> dict[tuple[str, float], list[int]]:
    """Positions of parameters by dtype and step.

    Raises: TypeError for parameters that are not float32 or float64 arrays.
    """
    each = [float(steps)] * len(params) if isinstance(steps, (int, float)) else [float(s) for s in steps]
    groups: dict[tuple[str, float], list[int]] = {}
    for i, (param, step) in enumerate(zip(params, each, strict=True)):
        name = param.dtype.name
        if name not in ("float32", "float64"):
            raise TypeError(f"parameter {i} has dtype {name}; fused updates are for float32 and float64")
        groups.setdefault((name, step), []).append(i)
    return groups


def _check_columns(columns: Sequence[Sequence[Array]]) -> None:
    """Everything that could stop a later group, before the first is changed."""
    count = len(columns[0])
    for number, column in enumerate(columns):
        if len(column) != count:
            raise ValueError(f"list {number} has {len(column)} arrays for {count} parameters")
    for i, row in enumerate(zip(*columns, strict=True)):
        for number, a in enumerate(row):
            if a.dtype != row[0].dtype or a.shape != row[0].shape:
                raise ValueError(
                    f"parameter {i} has shape {row[0].shape} and dtype {row[0].dtype}, but array {number} of "
                    f"its set has shape {a.shape} and dtype {a.dtype}"
                )


def _uniform(params: Sequence[Array], steps: float | Sequence[float]) -> bool:
    return isinstance(steps, (int, float)) and len({p.dtype for p in params}) <= 1


def adam_update(
    params: Sequence[Array],
    grads: Sequence[Array],
    exp_avgs: Sequence[Array],
    exp_avg_sqs: Sequence[Array],
    max_exp_avg_sqs: Sequence[Array] = (),
    *,
    step: float | Sequence[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
) -> None:
    """One step of Adam, or with `decoupled` of AdamW, in place; `max_exp_avg_sqs` given means AMSGrad.

    All lists hold C-contiguous float32 or float64 arrays, those of one parameter of equal shape and dtype; no
    array may occur twice. `step` counts this step (the first is 1), for all parameters or one by one.

    Raises: TypeError, ValueError; nothing has been changed then.

    >>> import numpy as np
    >>> from flambeau.compiler.optim_kernels import adam_update
    >>> p, g, m, v = (np.full(2, x) for x in (1.0, 0.5, 0.0, 0.0))
    >>> adam_update([p], [g], [m], [v], step=1, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8)
    >>> p.round(6)
    array([0.9, 0.9])
    """
    amsgrad = bool(max_exp_avg_sqs)
    states = [params, exp_avgs, exp_avg_sqs, *([max_exp_avg_sqs] if amsgrad else [])]
    columns = [*states, grads]
    groups = None
    if not _uniform(params, step):
        groups = _groups(params, step)
        _check_columns(columns)
    if not params:
        return
    decay = "" if weight_decay == 0 else "decoupled" if decoupled else "coupled"
    shrink = 1 - lr * weight_decay if decoupled else weight_decay
    small = abs(1 - beta1) < 0.5

    def launch(dtype: str, now: float, chosen: list[Sequence[Array]]) -> None:
        kernel = _adam_kernel(dtype, amsgrad, decay, maximize, small)
        correction1, correction2 = 1 - beta1**now, 1 - beta2**now
        scalars = (shrink, 1 - beta1, beta2, 1 - beta2, -(lr / correction1), correction2**0.5, eps)
        kernel.table(*chosen[:-1], *chosen, *scalars)

    if groups is None:
        ((name, now),) = _groups(params[:1], step)
        launch(name, now, columns)
        return
    for (dtype, now), where in groups.items():
        launch(dtype, now, [[column[i] for i in where] for column in columns])


def sgd_update(
    params: Sequence[Array],
    grads: Sequence[Array],
    momentum_buffers: Sequence[Array] = (),
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    first: bool = False,
) -> None:
    """One step of gradient descent in place. `momentum_buffers` are needed when `momentum` is not 0.

    With `first` the buffers are only written: they become the gradients. Arrays as for `adam_update`.

    Raises: TypeError, ValueError; nothing has been changed then.

    >>> import numpy as np
    >>> from flambeau.compiler.optim_kernels import sgd_update
    >>> p = np.ones(2)
    >>> sgd_update([p], [np.full(2, 0.5)], lr=0.1)
    >>> p
    array([0.95, 0.95])
    """
    with_momentum = momentum != 0
    states = [params, *([momentum_buffers] if with_momentum else [])]
    groups = None
    if not _uniform(params, 0.0):
        groups = _groups(params, 0.0)
        _check_columns([*states, grads])
    if not params:
        return

    def launch(dtype: str, outs: list[Sequence[Array]], gradients: Sequence[Array]) -> None:
        kernel = _sgd_kernel(
            dtype, with_momentum, first and with_momentum, nesterov, weight_decay != 0, maximize
        )
        inputs = outs[:1] if first else outs
        kernel.table(*outs, *inputs, gradients, -lr, momentum, 1 - dampening, weight_decay)

    if groups is None:
        ((name, _),) = _groups(params[:1], 0.0)
        launch(name, list(states), grads)
        return
    for (dtype, _), where in groups.items():
        launch(dtype, [[column[i] for i in where] for column in states], [grads[i] for i in where])
