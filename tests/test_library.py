"""`flambeau.library`: operations made of functions, beside PyTorch's."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau


def _program(torch: Any) -> list[Any]:
    """What a program sees of an operation of its own."""

    def scale(x: Any, factor: float) -> Any:
        return torch.as_tensor(x.detach().numpy() * factor)

    scale.__annotations__ = {"x": torch.Tensor, "factor": float, "return": torch.Tensor}
    op = torch.library.custom_op("flambeau_tests::scale", scale, mutates_args=())
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="autograd formula"):
        op(x, 2.0).sum().backward()

    def setup(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = inputs[1]

    torch.library.register_autograd(
        "flambeau_tests::scale", lambda ctx, g: (g * ctx.factor, None), setup_context=setup
    )
    y = torch.ops.flambeau_tests.scale(x, 3.0)
    y.sum().backward()
    with pytest.raises((ValueError, RuntimeError)):
        torch.library.custom_op("no_namespace", scale, mutates_args=())
    return [y.tolist(), x.grad.tolist(), op(torch.ones(1), 0.5).tolist()]


def test_operations_of_users_beside_pytorch() -> None:
    torch = pytest.importorskip("torch")
    assert _program(flambeau) == _program(torch)
