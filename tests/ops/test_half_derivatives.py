"""16-bit derivatives, digit for digit those of PyTorch: rounded in the same steps, added in the same order."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau

torch = pytest.importorskip("torch")


def _derivatives(lib: Any, f: Any, arrays: list[Any]) -> list[list[float]]:
    """The gradients, and the gradients of a projection of them, of what `f` makes of the tensors but the last ones."""
    inputs = [t.clone().requires_grad_() for t in arrays[: len(arrays) // 2]]
    y = f(lib, *inputs)
    first = lib.autograd.grad(y, inputs, y.detach() * 0.75, create_graph=True)
    second = lib.autograd.grad(first, inputs, arrays[len(arrays) // 2 :])
    return [t.detach().to(lib.float32).flatten().tolist() for t in (*first, *second)]


def _cross_entropy(lib: Any, x: Any, smoothing: float) -> Any:
    classes = lib.tensor([0, 3, 6, 2, 2, 1, 5, 4, 3])
    return lib.nn.functional.cross_entropy(x, classes, label_smoothing=smoothing, reduction="none")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_samples_of_images(padding: str, dims: int, dtype: str) -> None:
    torch.manual_seed(4)
    shapes = [(2, 3, *(4, 5, 3)[:dims]), (2, *(7, 6, 2)[:dims], dims)]
    theirs = [torch.randn(s).to(getattr(torch, dtype)) for s in shapes]
    ours = [flambeau.tensor(t.float().numpy()).to(getattr(flambeau, dtype)) for t in theirs]
    found = []
    for lib, tensors in ((torch, theirs), (flambeau, ours)):
        inputs = [t.requires_grad_() for t in tensors]
        y = lib.nn.functional.grid_sample(*inputs, padding_mode=padding, align_corners=False)
        grads = lib.autograd.grad(y, inputs, y.detach())
        found.append([t.detach().to(lib.float32).flatten().tolist() for t in (y, *grads)])
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "f", "shapes"),
    [
        ("rsqrt", lambda lib, x: (x.abs() + 0.1).rsqrt(), [(70,)]),
        ("asin", lambda lib, x: lib.asin(x.clamp(-0.9, 0.9)), [(9,)]),
        ("asinh", lambda lib, x: lib.asinh(x), [(45,)]),
        ("gelu", lambda lib, x: lib.nn.functional.gelu(x, approximate="tanh"), [(64,)]),
        ("mse_loss", lambda lib, x, t: lib.nn.functional.mse_loss(x, t), [(40,), (40,)]),
        ("dist", lambda lib, a, b: lib.dist(a, b), [(20,), (20,)]),
        ("dist of a number", lambda lib, a, b: lib.dist(a, b, 3), [(), (4, 5)]),
        (
            "addcdiv",
            lambda lib, x, a: lib.addcdiv(x.square(), a.square(), a.detach().abs() + 0.5, value=0.4),
            [(40,), (40,)],
        ),
        ("cross_entropy", lambda lib, x: _cross_entropy(lib, x, 0.0), [(9, 7)]),
        ("cross_entropy, smooth", lambda lib, x: _cross_entropy(lib, x, 0.3), [(9, 7)]),
        ("cumprod with zeros", lambda lib, x: lib.cumprod(lib.where(x < 0.3, 0 * x, x), 0), [(6, 3)]),
        ("combinations", lambda lib, x: lib.combinations(x, 2).square(), [(6,)]),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_rounded_as_pytorch(name: str, f: Any, shapes: list[Any], dtype: str) -> None:
    torch.manual_seed(3)
    theirs = [torch.randn(s).to(getattr(torch, dtype)) for s in (*shapes, *shapes)]
    ours = [flambeau.tensor(t.float().numpy()).to(getattr(flambeau, dtype)) for t in theirs]
    assert _derivatives(flambeau, f, ours) == _derivatives(torch, f, theirs)
