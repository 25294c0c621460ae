"""Run a call in flambeau or PyTorch and lower what it gives to plain values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from golden.calls import INPUTS

DIGITS = 5


def tensors(x: Any, kind: type) -> list[Any]:
    """The tensors in nested tuples and lists, in order."""
    if isinstance(x, (tuple, list)):
        return [t for v in x for t in tensors(v, kind)]
    return [x] if isinstance(x, kind) else []


def weights(n: int) -> Any:
    """Fixed cotangents that differ from element to element."""
    return np.round(np.sin(1.0 + 0.7 * np.arange(n)), 3)


def numbers(t: Any) -> list[Any]:
    """The elements, rounded to `DIGITS` significant digits; complex ones as two in a row."""
    t = t.detach()
    if getattr(t, "_is_zerotensor", bool)():  # PyTorch's autograd makes these, without memory
        t = t.new_zeros(t.shape)
    for step in ("resolve_conj", "resolve_neg"):
        t = getattr(t, step)()
    a = np.array(
        t.tolist(), complex if t.dtype.is_complex else float if t.dtype.is_floating_point else int
    ).reshape(-1)
    if a.dtype.kind == "c":
        a = np.stack([a.real, a.imag], -1).reshape(-1)
    if a.dtype.kind != "f":
        return [int(v) for v in a]
    return [float(f"%.{DIGITS}g" % v) if math.isfinite(v) else str(v) for v in a]


def run(torch: Any, call: str) -> dict[str, Any]:
    """Outputs as [dtype, shape, numbers, name of the node], and the gradients of their weighted sum by input.

    The name of the exception stands for gradients that do not exist.
    """
    scope: dict[str, Any] = {"torch": torch, "F": torch.nn.functional}
    for name, (values, dtype, grad) in INPUTS.items():
        t = torch.tensor(np.asarray(values), dtype=getattr(torch, dtype))
        scope[name] = t.requires_grad_() if grad else t
    outs = tensors(eval(call, scope), torch.Tensor)
    result: dict[str, Any] = {"out": []}
    total = None
    for t in outs:
        node = t.grad_fn.name() if t.grad_fn is not None else None
        result["out"].append([str(t.dtype).removeprefix("torch."), list(t.shape), numbers(t), node])
        if t.requires_grad and t.numel():
            real = torch.view_as_real(t.resolve_conj()) if t.dtype.is_complex else t
            w = torch.tensor(weights(real.numel()).reshape(tuple(real.shape)), dtype=real.dtype)
            part = (real * w).sum().double()
            total = part if total is None else total + part
    if total is not None:
        try:
            total.backward()
        except RuntimeError as e:  # no derivative
            result["grad"] = type(e).__name__
            return result
        grads = {k: scope[k].grad for k, (_, _, grad) in INPUTS.items() if grad}
        result["grad"] = {k: numbers(g) for k, g in grads.items() if g is not None}
    return result
