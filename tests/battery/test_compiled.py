"""Every operation inside a compiled function: the first call learns, later ones run as programs, all equal eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample, outputs, vary
from flambeau.core.tensor import Tensor

SAMPLES = calls.all_samples()


def around(s: Sample) -> Any:
    """The operation between other operations, so that its inputs and outputs are promises."""

    def fn(*args: Any) -> Any:
        inside = [torch.clone(a) if isinstance(a, Tensor) else a for a in args]
        out = s.run(*inside)
        outs = out if isinstance(out, tuple) else (out,)
        return tuple(o if o.dtype == torch.bool else o + o for o in outs)

    return fn


def close(got: Any, want: Any, what: str) -> None:
    got, want = outputs(got), outputs(want)
    assert len(got) == len(want), what
    for g, w in zip(got, want):
        assert g.shape == w.shape and g.dtype == w.dtype, (
            f"{what}: {g.dtype}{g.shape}, eager {w.dtype}{w.shape}"
        )
        np.testing.assert_allclose(g, w, rtol=1e-11, atol=1e-11, err_msg=what)


@pytest.mark.parametrize("s", SAMPLES, ids=lambda s: s.key)
def test_values(s: Sample) -> None:
    fn = around(s)
    compiled = torch.compile(fn)
    for call in range(3):
        args = s.args if call < 2 else tuple(vary(a) for a in s.args) if s.other is None else s.other
        close(compiled(*s.tensors(args)), fn(*s.tensors(args)), f"{s.key}, call {call}")


@pytest.mark.parametrize("s", [s for s in SAMPLES if s.differentiable()], ids=lambda s: s.key)
def test_gradients(s: Sample) -> None:
    run, _ = s.of_differentiable()

    def gradients(*xs: Any) -> Any:
        inside = [torch.clone(x) for x in xs]
        outs = run(*inside)
        outs = [o for o in (outs if isinstance(outs, tuple) else (outs,)) if o.requires_grad]
        return torch.autograd.grad(outs, xs, [o.detach() * 0.5 + 0.1 for o in outs], allow_unused=True)

    compiled = torch.compile(gradients)
    for call in range(3):
        xs = [x.requires_grad_() for x in s.of_differentiable()[1]]
        got = [g for g in compiled(*xs) if g is not None]
        close(got, [g for g in gradients(*xs) if g is not None], f"{s.key}, call {call}")


def larger(a: Any) -> Any:
    """An argument with its first dim repeated."""
    return np.concatenate([a, a]) if isinstance(a, np.ndarray) and a.ndim else a


def shapes_of(s: Sample) -> list[tuple[Any, ...]]:
    """The arguments of a sample, and larger ones where it is known what those mean."""
    return [s.args] + (
        [tuple(larger(a) for a in s.args)]
        if s.expandable and s.batches and s.prepare is None and s.order
        else []
    )


@pytest.mark.parametrize("name", calls.operations())
def test_one_function_for_all_shapes(name: str) -> None:
    """Shapes, dtypes and parameters in turns, through one compiled function, as ``dynamic=True`` has them."""
    samples = calls.samples_of(name)
    compiled = torch.compile(lambda s, *args: around(s)(*args), dynamic=True)
    for call in range(3):
        for s in samples:
            for args in shapes_of(s):
                try:
                    want = around(s)(*s.tensors(args))
                except (RuntimeError, IndexError, ValueError):  # the larger sizes do not fit together
                    continue
                close(compiled(s, *s.tensors(args)), want, f"{s.key}, call {call}")


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize(
    "name", [n for n in calls.operations() if any(s.differentiable() for s in calls.samples_of(n))]
)
def test_gradients_in_one_function_for_all_shapes(name: str, where: str) -> None:
    """As above with gradients, made in the compiled function or outside, where its backward pass is compiled, too."""

    def forward(s: Sample, args: tuple[Any, ...], *xs: Any) -> list[Any]:
        inside = s.tensors(args)
        for i, x in zip(s.differentiable(), xs):
            inside[i] = torch.clone(x)
        outs = s.run(*inside)
        return [o for o in (outs if isinstance(outs, tuple) else (outs,)) if o.requires_grad]

    def backward(outs: list[Any], xs: Any) -> Any:
        found = torch.autograd.grad(outs, xs, [o.detach() * 0.5 + 0.1 for o in outs], allow_unused=True)
        return [g for g in found if g is not None]

    def both(s: Sample, args: tuple[Any, ...], *xs: Any) -> Any:
        return backward(forward(s, args, *xs), xs)

    def alone(s: Sample, args: tuple[Any, ...], *xs: Any) -> Any:
        return backward(compiled(s, args, *xs), xs)

    compiled = torch.compile(both if where == "inside" else forward, dynamic=True)
    for call in range(3):
        for s in calls.samples_of(name):
            for args in shapes_of(s) if s.differentiable() else []:
                xs = [s.tensors(args)[i].requires_grad_() for i in s.differentiable()]
                try:
                    want = both(s, args, *xs)
                except (RuntimeError, IndexError, ValueError):  # the larger sizes do not fit together
                    continue
                got = (compiled if where == "inside" else alone)(s, args, *xs)
                close(got, want, f"{s.key}, call {call}")
