"""What other people's programs and test suites tripped on."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from parity import scenario


@scenario
def test_old_constructors_take_arrays(torch: Any) -> Any:
    yield torch.Tensor(np.arange(4.0).reshape(2, 2)), torch.Tensor(np.array([1, 2]))
    yield torch.FloatTensor(np.arange(3)), torch.LongTensor(np.arange(4).reshape(2, 2))
    yield torch.Tensor(2, 3).shape, torch.Tensor([2, 3]), torch.Tensor(torch.Size([2])).shape
    yield torch.Tensor().shape


@scenario
def test_files_that_wait_for_flush(torch: Any) -> Any:
    class Uploader(io.BytesIO):
        flushed = b""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    file = Uploader()
    torch.save({"w": torch.ones(2)}, file)
    yield len(file.flushed) == len(file.getvalue()) > 0
    yield torch.load(io.BytesIO(file.flushed))


@scenario
def test_batched_gradients_with_unused_inputs(torch: Any) -> Any:
    x, z = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    rows = torch.autograd.grad((x * 2,), (x, z), (torch.eye(2),), is_grads_batched=True, allow_unused=True)
    yield rows[0], rows[1] is None
