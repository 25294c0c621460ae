"""Limited-memory BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import ops
from ..autograd.grad_mode import enable_grad, no_grad
from ..core.tensor import Tensor
from .elementwise import check_at_least_zero, check_one_element, number
from .optimizer import Optimizer

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """Limited-memory BFGS (J. Nocedal and S. J. Wright, *Numerical Optimization*, 2006, algorithm 7.4), with
    a fixed step or with a line search for the strong Wolfe conditions (algorithms 3.5 and 3.6).

    A step evaluates the `closure` several times, which has to clear the gradients, compute the loss, call
    ``backward`` and return the loss.

    Raises: ValueError for a negative learning rate and several parameter groups; RuntimeError for a line
    search other than "strong_wolfe".

    >>> import flambeau as torch
    >>> x = torch.tensor([3.0, -2.0], requires_grad=True)
    >>> opt = torch.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = ((x - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = opt.step(closure)
    >>> torch.allclose(x, torch.ones(2))
    True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_one_element(lr)
        check_at_least_zero("learning rate", lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]  # type: ignore[no-any-return]

    def _flat_grad(self) -> Tensor:
        parts = []
        for p in self._params:
            grad = ops.zeros_like(p.detach()) if p.grad is None else p.grad.to_dense()
            parts.append(_real(grad).reshape(-1))
        return ops.cat(parts, 0)  # type: ignore[no-any-return]

    def _move(self, t: Any, direction: Tensor) -> None:
        """Add t times the direction to the parameters."""
        offset = 0
        for p in self._params:
            real = _real(p)
            n = real.numel()
            real.add_(direction[offset : offset + n].reshape(real.shape), alpha=t)
            offset += n

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Make up to `max_iter` iterations; returns the loss at the start."""
        with no_grad():
            return self._step(enable_grad()(closure))

    def _step(self, evaluate: Callable[[], Any]) -> Any:
        if len(self.param_groups) != 1:
            raise AssertionError(f"Expected exactly one param_group, but got {len(self.param_groups)}")
        group = self.param_groups[0]
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"only 'strong_wolfe' is supported, got {group['line_search_fn']!r}")
        lr = float(number(group["lr"]))
        max_iter, max_eval = group["max_iter"], group["max_eval"]
        small_grad, small_change = group["tolerance_grad"], group["tolerance_change"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = evaluate()
        loss = float(first_loss)
        evaluations = 1
        state["func_evals"] += 1
        grad = self._flat_grad()
        if _largest(grad) <= small_grad:
            return first_loss

        memory = _Memory(state, group["history_size"])
        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            direction = memory.direction(grad, restart=state["n_iter"] == 1)
            memory.prev_grad = grad.clone()
            memory.prev_loss = previous = loss
            steepness = float(grad.abs().sum())  # zero where tolerance_grad is negative
            first = min(1.0, 1.0 / steepness) if steepness else 1.0
            t: Any = first * lr if state["n_iter"] == 1 else lr
            memory.t = t
            slope = float(grad.dot(direction))
            if slope > -small_change:
                break
            used = 0
            if group["line_search_fn"] is not None:
                start = [p.clone() for p in self._params]

                def at(t: float, start: list[Tensor] = start, d: Tensor = direction) -> tuple[float, Tensor]:
                    self._move(t, d)
                    value, g = float(evaluate()), self._flat_grad()
                    for p, x in zip(self._params, start, strict=True):
                        p.copy_(x)
                    return value, g

                best, used = _strong_wolfe(at, t, direction, loss, grad, slope, max_ls=max_eval - evaluations)
                loss, grad, t = best.f, best.g, best.t
                memory.t = t
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration != max_iter:  # the last iteration needs no new gradient
                    loss = float(evaluate())
                    grad = self._flat_grad()
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if iteration == max_iter or evaluations >= max_eval or _largest(grad) <= small_grad:
                break
            if t * _largest(direction) <= small_change or abs(loss - previous) < small_change:
                break
        memory.save(state)
        return first_loss


def _real(x: Tensor) -> Any:
    return ops.view_as_real(x) if x.is_complex() else x


def _largest(x: Tensor) -> float:
    return float(x.abs().max())


class _Memory:
    """The last changes of the gradient (y) and of the parameters (s), which stand for the inverse Hessian."""

    def __init__(self, state: dict[str, Any], size: int) -> None:
        self.size = size
        self.d: Any = state.get("d")
        self.t: Any = state.get("t")
        self.y: list[Tensor] = state.get("old_dirs") or []
        self.s: list[Tensor] = state.get("old_stps") or []
        self.ro: list[Any] = state.get("ro") or []
        self.diagonal: Any = state.get("H_diag")
        self.prev_grad: Any = state.get("prev_flat_grad")
        self.prev_loss: Any = state.get("prev_loss")
        self.weights: list[Any] | None = state.get("al")

    def direction(self, grad: Tensor, restart: bool) -> Tensor:
        """Where to go: minus the inverse Hessian times the gradient (the two-loop recursion)."""
        if restart:
            self.y, self.s, self.ro, self.diagonal = [], [], [], 1
            self.d = grad.neg()
            return self.d  # type: ignore[no-any-return]
        self._remember(grad.sub(self.prev_grad), self.d.mul(self.t))
        q = grad.neg()
        weights = []
        for y, s, ro in zip(reversed(self.y), reversed(self.s), reversed(self.ro), strict=True):
            weight = float(s.dot(q)) * float(ro)
            weights.append(weight)
            q.add_(y, alpha=-weight)
        self.d = r = q.mul(self.diagonal)
        self.weights = [*reversed(weights), *[None] * (self.size - len(weights))]
        for y, s, ro, weight in zip(self.y, self.s, self.ro, reversed(weights), strict=True):
            r.add_(s, alpha=weight - float(y.dot(r)) * float(ro))
        return r  # type: ignore[no-any-return]

    def _remember(self, y: Tensor, s: Tensor) -> None:
        curvature = y.dot(s)
        if float(curvature) <= 1e-10:  # the update would not stay positive definite
            return
        if len(self.y) == self.size:
            del self.y[0], self.s[0], self.ro[0]
        self.y.append(y)
        self.s.append(s)
        self.ro.append(1.0 / curvature)
        self.diagonal = curvature / y.dot(y)

    def save(self, state: dict[str, Any]) -> None:
        """Keep everything for the next step, under PyTorch's names."""
        if self.weights is not None:
            state["al"] = self.weights
        state["d"] = self.d
        state["t"] = self.t
        state["old_dirs"] = self.y
        state["old_stps"] = self.s
        state["ro"] = self.ro
        state["H_diag"] = self.diagonal
        state["prev_flat_grad"] = self.prev_grad
        state["prev_loss"] = self.prev_loss


class _Point(NamedTuple):
    """A point of the line: step, loss, gradient, and slope of the loss along the line."""

    t: float
    f: float
    g: Tensor
    slope: float


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum of the cubic through two points with their slopes (Nocedal and Wright, equation 3.59)."""
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square**0.5
    left, right = (a, b) if a.t <= b.t else (b, a)
    t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2))
    return float(min(max(t, low), high))


def _strong_wolfe(
    evaluate: Callable[[float], tuple[float, Tensor]],
    t: float,
    direction: Tensor,
    f: float,
    g: Tensor,
    slope: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_ls: int = 25,
) -> tuple[_Point, int]:
    """A point that satisfies the strong Wolfe conditions, or the best one found, and the evaluations."""
    scale = _largest(direction)

    def point(t: float) -> _Point:
        f_new, g_new = evaluate(t)
        return _Point(t, f_new, g_new, float(g_new.dot(direction)))

    def too_high(p: _Point) -> bool:
        return p.f > f + c1 * p.t * slope

    def flat(p: _Point) -> bool:
        return abs(p.slope) <= -c2 * slope

    start = previous = _Point(0.0, f, g.clone(), slope)
    current = point(t)
    evaluations = 1
    tries = 0
    bracket = [start, current]
    done = False
    while tries < max_ls:  # go on until a minimum lies behind
        if too_high(current) or (tries > 1 and current.f >= previous.f):
            bracket = [previous, current]
            break
        if flat(current):
            bracket = [current]
            done = True
            break
        if current.slope >= 0:
            bracket = [previous, current]
            break
        bounds = current.t + 0.01 * (current.t - previous.t), current.t * 10
        t = _cubic_minimum(previous, current, bounds)
        previous, current = current, point(t)
        evaluations += 1
        tries += 1
    if tries == max_ls:
        bracket = [start, current]

    low, high = (0, 1) if bracket[0].f <= bracket[-1].f else (1, 0)
    stuck = False
    while not done and tries < max_ls:  # close in
        left, right = sorted(p.t for p in bracket)
        if (right - left) * scale < tolerance_change:
            break
        t = _cubic_minimum(bracket[0], bracket[1])
        # Twice close to the same end: move a tenth of the width away from it.
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        current = point(t)
        evaluations += 1
        tries += 1
        if too_high(current) or current.f >= bracket[low].f:
            bracket[high] = current
            low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
            continue
        if flat(current):
            done = True
        elif current.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = current
    return bracket[low if len(bracket) > 1 else 0], evaluations
