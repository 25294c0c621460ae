"""Initial value problems: the Dormand-Prince method of order 5(4), with adaptive steps and a choice of gradients.

Dormand and Prince, "A family of embedded Runge-Kutta formulae", J. Comput. Appl. Math. 6 (1980), table 2; step size
control as in Hairer, Norsett and Wanner, "Solving Ordinary Differential Equations I" (2nd ed.), section II.4; the
adjoint as in Chen et al., "Neural ordinary differential equations", arXiv:1806.07366, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import func
from ..autograd.function import Function
from ..autograd.grad_mode import no_grad
from ..core.tensor import Tensor
from ..ops.creation import zeros
from ..ops.shape import cat, stack
from .decisions import largest

__all__ = ["odeint"]

Field = Callable[..., Any]

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
FOURTH = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
ERROR = tuple([a - b for a, b in zip((*STAGES[6], 0.0), FOURTH)])


def _weighted(ks: list[Any], weights: tuple[float, ...]) -> Any:
    total = None
    for k, w in zip(ks, weights):
        if w != 0:
            total = k * w if total is None else total + k * w
    return total


def _step(f: Callable[[float, Any], Any], t: float, y: Any, h: float, first: Any) -> tuple[Any, Any, Any]:
    """(y after a step of h, its last slope, the error estimate)."""
    ks = [first]
    for c, weights in zip(NODES[1:], STAGES[1:]):
        inner = y + _weighted(ks, weights) * h
        ks.append(f(t + c * h, inner))
    return inner, ks[-1], _weighted(ks, ERROR) * h


def _size(x: Any, scale: Any) -> float:
    """The root mean square of x / scale (of the worst example), as a number for step size control."""
    return largest((x.detach() / scale).square().mean().sqrt())


def _first_step(
    f: Callable[[float, Any], Any], t: float, y: Any, slope: Any, rtol: float, atol: float, sign: float
) -> float:
    """Hairer, Norsett and Wanner, algorithm II.4.14."""
    scale = atol + y.detach().abs() * rtol
    d0, d1 = _size(y, scale), _size(slope, scale)
    h = 0.01 * d0 / d1 if d0 > 1e-5 and d1 > 1e-5 else 1e-6
    with no_grad():
        after = f(t + sign * h, y + slope * (sign * h))
    d2 = _size(after - slope, scale) / h
    other = max(1e-6, h * 1e-3) if max(d1, d2) <= 1e-15 else (0.01 / max(d1, d2)) ** 0.2
    return min(100 * h, other)


def _solve(
    f: Callable[[float, Any], Any], y: Any, times: list[float], rtol: float, atol: float, steps: int
) -> list[Any]:
    """The solution at each time; a step ends at every one of them."""
    found = [y]
    t = times[0]
    sign = 1.0 if times[-1] >= t else -1.0
    slope = f(t, y)
    h = _first_step(f, t, y, slope, rtol, atol, sign)
    count = 0
    for end in times[1:]:
        while (end - t) * sign > 0:
            count += 1
            if count > steps:
                raise RuntimeError(
                    f"odeint(): {steps} steps were not enough to come from t = {times[0]} to t = {end}"
                )
            last = h >= abs(end - t)
            size = abs(end - t) if last else h
            if t + sign * size == t:
                raise RuntimeError(
                    f"odeint(): the step size has become {size:.3g} at t = {t}: the problem is too stiff"
                )
            after, after_slope, error = _step(f, t, y, sign * size, slope)
            scale = atol + rtol * y.detach().abs().maximum(after.detach().abs())
            ratio = _size(error, scale)
            if ratio <= 1:
                y, slope = after, after_slope
                t = end if last else t + sign * size
            grow = 10.0 if ratio == 0 else min(10.0, max(0.2, 0.9 * ratio**-0.2))
            # a step cut short by an output time says nothing against the larger one
            h = (
                max(h, size * grow)
                if last and ratio <= 1
                else size * (grow if ratio <= 1 else min(grow, 1.0))
            )
        found.append(y)
    return found


def odeint(
    field: Field,
    y0: Tensor,
    t: Tensor,
    *params: Tensor,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    steps: int = 10_000,
    adjoint: bool = False,
) -> Tensor:
    """The solution of ``dy/dt = field(t, y, *params)``, ``y(t[0]) = y0``, at the times `t` (n,): a tensor (n, *y0.shape).

    `field` gets t as a Python number.  Steps are chosen such that the local error is below ``atol + rtol * |y|``.
    Gradients flow to `y0` and `params`: through the steps that were taken (also through tensors that `field` takes from
    around it, and at any order), or with ``adjoint=True`` from a second problem solved backwards in time, which needs
    no memory for the steps. Under `vmap` all examples take the same steps, short enough for the worst.

    Raises: ValueError unless `t` is one-dimensional with at least two strictly monotonic times; RuntimeError when
    `steps` are not enough or the step size vanishes.

    >>> import flambeau as torch
    >>> decay = torch.scientific.odeint(lambda t, y: -y, torch.ones(1), torch.tensor([0.0, 1.0]))
    >>> decay.flatten()
    tensor([1.0000, 0.3679])
    """
    if t.dim() != 1 or len(t) < 2:
        raise ValueError(
            f"odeint(): t must have one dimension and at least two times, not shape {list(t.shape)}"
        )
    times = [float(v) for v in t.tolist()]
    rising = [b > a for a, b in zip(times, times[1:])]
    if any(a == b for a, b in zip(times, times[1:])) or (True in rising and False in rising):
        raise ValueError(f"odeint(): the times must rise or fall strictly, got {times}")
    if not adjoint:
        return stack(_solve(lambda s, y: field(s, y, *params), y0, times, rtol, atol, steps))
    return _Adjoint.apply(field, times, (rtol, atol, steps), y0, *params)  # type: ignore[no-any-return]


class _Adjoint(Function):
    """``a = dL/dy`` obeys ``da/dt = -a df/dy``, solved backwards together with y and the parameters' gradients."""

    generate_vmap_rule = True

    @staticmethod
    def forward(field: Field, times: list[float], options: Any, y0: Tensor, *params: Tensor) -> Tensor:
        with no_grad():
            return stack(_solve(lambda s, y: field(s, y, *params), y0, times, *options))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.field, ctx.times, ctx.options, y0, *params = inputs
        ctx.save_for_backward(output, *params)
        ctx.save_for_forward(y0, *params)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        ys, *params = ctx.saved_tensors
        shape, n = ys.shape[1:], ys[0].numel()
        moving = [i for i, p in enumerate(params) if p.is_floating_point() or p.is_complex()]
        sizes = [params[i].numel() for i in moving]

        def backwards(s: float, z: Any) -> Any:
            def slope(y: Any, *values: Any) -> Any:
                full = list(params)
                for i, v in zip(moving, values):
                    full[i] = v
                return ctx.field(s, y, *full)

            value, pull = func.vjp(slope, z[:n].reshape(shape), *[params[i] for i in moving])
            grads = pull(-z[n : 2 * n].reshape(shape))
            return cat([value.reshape(-1), *[v.reshape(-1) for v in grads]])

        a = g[-1].reshape(-1)
        totals = zeros(sum(sizes), dtype=ys.dtype)
        for i in range(len(ctx.times) - 1, 0, -1):
            z = cat([ys[i].reshape(-1), a, totals])
            z = _solve(backwards, z, [ctx.times[i], ctx.times[i - 1]], *ctx.options)[-1]
            a, totals = z[n : 2 * n] + g[i - 1].reshape(-1), z[2 * n :]
        grads: list[Any] = [None] * len(params)
        for i, v in zip(moving, totals.split(sizes) if sizes else []):
            grads[i] = v.reshape(params[i].shape)
        return (None, None, None, a.reshape(shape), *grads)

    @staticmethod
    def jvp(ctx: Any, _field: Any, _times: Any, _options: Any, *tangents: Any) -> Tensor:
        """Forward mode keeps no steps in any case: the solution once more, with tangents."""
        y0, *params = ctx.saved_tensors
        start = [y0, *params]
        moving = [i for i, t in enumerate(tangents) if t is not None]

        def solution(*values: Any) -> Any:
            full = list(start)
            for i, v in zip(moving, values):
                full[i] = v
            return stack(_solve(lambda s, y: ctx.field(s, y, *full[1:]), full[0], ctx.times, *ctx.options))

        return func.jvp(solution, tuple([start[i] for i in moving]), tuple([tangents[i] for i in moving]))[1]  # type: ignore[no-any-return]
