"""`autograd.Function` under transforms: what its rules are given, as PyTorch gives it."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from parity import scenario


def scaled(m: Any, materialize: bool, seen: list[Any]) -> Any:
    """x * k + y with integer k, which notes the types that its rules get."""

    class Scaled(m.autograd.Function):  # type: ignore[misc, name-defined]
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Any, k: Any, y: Any) -> Any:
            return x * k + y

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.set_materialize_grads(materialize)
            ctx.save_for_backward(inputs[1])
            ctx.save_for_forward(inputs[1])

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            seen.append(["backward", type(g).__name__, list(ctx.needs_input_grad)])
            return g * ctx.saved_tensors[0], None, g

        @staticmethod
        def jvp(ctx: Any, x: Any, k: Any, y: Any) -> Any:
            seen.append(["jvp", type(x).__name__, type(k).__name__, type(y).__name__])
            return x * ctx.saved_tensors[0] + (0 if y is None else y)

    return Scaled.apply


@pytest.mark.parametrize("materialize", [True, False])
def test_what_the_rules_are_given(materialize: bool) -> None:
    def run(m: Any) -> Any:
        seen: list[Any] = []
        f = scaled(m, materialize, seen)
        one, k = m.ones(2), m.tensor(3)
        yield m.func.jvp(lambda x: f(x, k, one), (one,), (one,))
        yield m.func.grad(lambda x: f(x, k, one).sum())(one)
        yield m.func.vjp(lambda x, y: f(x, k, y), one, one)[1](one)
        yield seen

    scenario(run)()


def test_integers_may_be_batched() -> None:
    f = scaled(flambeau, True, [])
    xs, ks = flambeau.ones(3, 2), flambeau.tensor([1, 2, 3])
    one = flambeau.ones(2)
    for transformed in (
        lambda x, k: flambeau.func.jvp(lambda x: f(x, k, one), (x,), (one,))[1],
        flambeau.func.grad(lambda x, k: f(x, k, one).sum()),
    ):
        assert flambeau.vmap(transformed)(xs, ks).tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    tangents = flambeau.func.jvp(lambda x: flambeau.vmap(lambda x, k: f(x, k, one))(x, ks), (xs,), (xs,))[1]
    assert tangents.tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
