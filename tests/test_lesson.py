"""What a first lesson on tensors and autograd does, run with flambeau in PyTorch's place.

The tests below make the calls of the 15 code blocks of such a lesson and check what comes out. Where the
environment variable FLAMBEAU_LESSON names a Markdown file, its Python blocks are run too, as they stand.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.func import grad, jacrev, vmap

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(1, 2)


def test_creation() -> None:
    counts = torch.tensor([1, 2, 3])
    zeros = torch.zeros(3, 4)
    noise = torch.randn(3, 4)
    assert counts.dtype == torch.int64 and counts.tolist() == [1, 2, 3]
    assert zeros.dtype == noise.dtype == torch.float32
    assert zeros.shape == noise.shape == (3, 4) and not zeros.any()


def test_conversion_shares_memory() -> None:
    array = np.array([1, 2, 3])
    tensor = torch.from_numpy(array)
    array[0] = 10
    assert tensor.tolist() == [10, 2, 3]
    tensor[1] = 20
    assert tensor.numpy().tolist() == array.tolist() == [10, 20, 3]


def test_backward_and_printing() -> None:
    x = torch.tensor([2.0], requires_grad=True)
    y = x**2 + 3 * x + 1
    y.backward()
    assert y.item() == 11.0
    assert repr(x.grad) == "tensor([7.])"


def test_gradients_accumulate_until_zeroed() -> None:
    x = torch.tensor([2.0], requires_grad=True)
    for expected in (7.0, 14.0):
        (x**2 + 3 * x + 1).backward()
        assert x.grad.item() == expected
    x.grad.zero_()
    assert x.grad.item() == 0.0


def test_arithmetic_and_broadcasting() -> None:
    a = torch.tensor([[1, 2], [3, 4]], dtype=torch.float32)
    b = torch.tensor([[5, 6], [7, 8]], dtype=torch.float32)
    assert (a + b).tolist() == [[6, 8], [10, 12]]
    assert (a * b).tolist() == [[5, 12], [21, 32]]
    assert (a @ b).tolist() == torch.matmul(a, b).tolist() == [[19, 22], [43, 50]]
    column, row = torch.tensor([[1], [2], [3]]), torch.tensor([10, 20, 30])
    assert (column + row).tolist() == [[11, 21, 31], [12, 22, 32], [13, 23, 33]]


def test_the_device_that_there_is() -> None:
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    x = torch.randn(50, 50).to(device)
    y = (x @ x).cpu()
    assert y.device == torch.device("cpu")
    np.testing.assert_allclose(y.numpy(), x.cpu().numpy() @ x.cpu().numpy(), rtol=1e-5, atol=1e-5)


@no_gpu
@pytest.mark.parametrize("move", [lambda x: x.cuda(), lambda x: x.to("cuda")], ids=["cuda()", "to"])
def test_cuda_without_a_gpu_says_what_to_do(move: Any) -> None:
    x = torch.randn(10, 10)
    with pytest.raises((AssertionError, RuntimeError), match=r"(?s)CUDA.*(cpu|is_available)"):
        move(x)
    assert x.device == torch.device("cpu")


def test_numpy_and_autograd_agree() -> None:
    def f(x: Any) -> Any:
        return x**3 + 2 * x**2 - 5 * x + 3

    x = torch.tensor([2.0], requires_grad=True)
    y = f(x)
    y.backward()
    assert (y.item(), x.grad.item()) == (f(2.0), 3 * 2.0**2 + 4 * 2.0 - 5) == (9.0, 15.0)


def test_in_place_on_a_leaf_is_refused() -> None:
    x = torch.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x += 1
    assert x.item() == 1.0
    x = x + 1
    assert not x.is_leaf and x.requires_grad


def test_no_grad_and_requires_grad(model: nn.Module) -> None:
    x = torch.tensor([1.0], requires_grad=True)
    assert model(x).requires_grad
    with torch.no_grad():
        assert not model(x).requires_grad
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_detach_shares_the_values() -> None:
    x = torch.tensor([1.0], requires_grad=True) * 2
    y = x.detach()
    assert not y.requires_grad and y.grad_fn is None
    assert y.data_ptr() == x.data_ptr()


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "max-autotune"}, {"mode": "reduce-overhead"}, {"dynamic": True}],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_compile(model: nn.Module, options: dict[str, Any]) -> None:
    compiled = torch.compile(model, **options)
    x = torch.randn(5, 1)
    for _ in range(3):
        np.testing.assert_allclose(compiled(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-6)


def test_function_transforms() -> None:
    batch = torch.randn(10, 3)
    np.testing.assert_array_equal(vmap(lambda x: x**2)(batch).numpy(), batch.numpy() ** 2)
    x = torch.randn(3)
    np.testing.assert_array_equal(grad(lambda x: (x**2).sum())(x).numpy(), 2 * x.numpy())
    np.testing.assert_array_equal(jacrev(lambda x: x**2)(x).numpy(), np.diag(2 * x.numpy()))


LESSON = os.environ.get("FLAMBEAU_LESSON", "")


@pytest.mark.skipif(not LESSON, reason="FLAMBEAU_LESSON names no file")
def test_a_lesson_as_it_stands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", Path(LESSON).read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    monkeypatch.setitem(sys.modules, "torch", torch)
    for name in ("func", "nn", "optim"):
        monkeypatch.setitem(sys.modules, f"torch.{name}", getattr(torch, name))
    # What a lesson leaves to the reader's imagination.
    names: dict[str, Any] = {
        "MyModel": lambda: nn.Linear(1, 1),
        "model": nn.Linear(1, 1),
        "input_data": torch.randn(4, 1),
    }
    for number, block in enumerate(blocks, 1):
        if "x.requires_grad = False" in block:
            names["x"] = torch.tensor([1.0], requires_grad=True)  # it has to be a leaf
        code = compile(block, f"{LESSON}, block {number}", "exec")
        if ".cuda()" in block and not torch.cuda.is_available():
            with pytest.raises((AssertionError, RuntimeError), match="CUDA"):
                exec(code, names)
        else:
            exec(code, names)
    assert "tensor([7.])" in capsys.readouterr().out
