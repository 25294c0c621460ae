"""What looks at values that are the promises of a compiled function: checks of arguments, and backward passes outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch

F = torch.nn.functional

CALLS: dict[str, tuple[Callable[..., Any], Callable[[], list[Any]], type[Exception]]] = {
    "cross_entropy": (
        lambda x, t: F.cross_entropy(x, t + 1),
        lambda: [torch.arange(15.0).reshape(5, 3).sin(), torch.tensor([0, 1, -1, 1, 0])],
        IndexError,
    ),
    "nll_loss": (
        lambda x, t: F.nll_loss(x, t + 1),
        lambda: [torch.arange(15.0).reshape(5, 3).sin(), torch.tensor([0, 1, -1, 1, 0])],
        IndexError,
    ),
    "embedding": (
        lambda w, i: F.embedding(i + 1, w),
        lambda: [torch.arange(6.0).reshape(3, 2), torch.tensor([1, -1, 0])],
        IndexError,
    ),
    "embedding_bag": (
        lambda w, i: F.embedding_bag(i + 1, w, torch.arange(2) * 2),
        lambda: [torch.arange(6.0).reshape(3, 2), torch.tensor([1, -1, 0])],
        (RuntimeError, IndexError),  # type: ignore[dict-item]
    ),
    "max_unpool1d": (
        lambda x, i: F.max_unpool1d(x, i + 1, 2),
        lambda: [torch.ones(1, 2, 2), torch.tensor([[[0, 1], [-1, 2]]])],
        RuntimeError,
    ),
    "ctc_loss": (
        lambda x, t: F.ctc_loss(x.log_softmax(-1), t + 1, torch.tensor([4, 4]), torch.tensor([2, 2])),
        lambda: [torch.arange(24.0).reshape(4, 2, 3).sin(), torch.tensor([[0, 1], [1, 0]])],
        RuntimeError,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_check_reads_what_the_program_computes(name: str) -> None:
    fn, arguments, error = CALLS[name]
    compiled = torch.compile(fn)
    for _ in range(3):
        torch.testing.assert_close(compiled(*arguments()), fn(*arguments()))
    for _ in range(2):
        x, indices = arguments()
        with pytest.raises(error):
            compiled(x, indices + 40)


def test_values_kept_for_a_backward_pass_outside() -> None:
    """They are promises of the program before, whose numbers mean other things in the program that begins anew."""
    w = torch.arange(1.0, 4.0).requires_grad_()
    x = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)

    def forward(x: Any) -> Any:
        narrow = x.to(torch.float32)  # the first operation, as in the backward pass
        kept = narrow * (narrow * narrow).mean(-1, True)  # the second is a product of the first by itself
        return (kept * w).to(torch.float64)

    compiled = torch.compile(forward)
    for _ in range(3):
        (want,) = torch.autograd.grad(forward(x), w, torch.ones_like(x))
        (got,) = torch.autograd.grad(compiled(x), w, torch.ones_like(x))
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_numbers_beside_16_bit_promises_are_rounded_first(dtype: str) -> None:
    x = torch.tensor([0.7, 0.3, 0.1, 2.3, 1.0]).to(getattr(torch, dtype))

    def numbers(x: Any) -> list[Any]:
        y = x * 1
        compared = [y < 0.7, y >= 0.7, y > 0.3, y == 0.1]
        return [*compared, y + 0.1, 0.3 - y, 0.3 / y, y * 0.7, y % 0.1, y // 0.1, torch.fmod(y, 0.1), y**0.7]

    compiled = torch.compile(numbers)
    for _ in range(3):
        for i, (got, want) in enumerate(zip(compiled(x), numbers(x))):
            assert torch.equal(got, want), i


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_targets_are_checked_where_the_loss_is_called(loss: Any) -> None:
    def careful(x: Any, t: Any) -> Any:
        try:
            return loss(x * 2, t)
        except IndexError:
            return x.sum()

    compiled = torch.compile(careful)
    x = torch.arange(6.0).reshape(2, 3)
    for t in (torch.tensor([0, 2]), torch.tensor([0, 3]), torch.tensor([1, -1])) * 3:
        torch.testing.assert_close(compiled(x, t), careful(x, t))


@pytest.mark.parametrize("loss", [F.cross_entropy, lambda x, t: F.nll_loss(x.log_softmax(-1), t)])
def test_a_step_with_a_loss_of_classes_is_one_program(loss: Any) -> None:
    w = torch.ones(4, 3).requires_grad_()

    @torch.compile
    def step(x: Any, t: Any) -> Any:
        w.grad = None
        loss(x @ w, t).backward()
        return w.grad

    x, t = torch.arange(8.0).reshape(2, 4).sin(), torch.tensor([0, 2])
    step(x, t), step(x, t)
    before = step.compiled.statistics.flushes
    step(x, t)
    assert step.compiled.statistics.flushes == before + 1
