"""What other people's programs and test suites tripped on."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from parity import attempt, scenario


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


@scenario
def test_entropy_of_saturated_probabilities(torch: Any) -> Any:
    """A discriminator that is sure of itself gets a finite gradient, not NaN."""
    p = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.3, 0.0, 1.0, 1e-20], requires_grad=True)
    t = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.6, 0.5, 0.5, 1.0])
    for weight in (None, torch.arange(8.0)):
        loss = torch.nn.functional.binary_cross_entropy(p, t, weight, reduction="none")
        yield loss, torch.autograd.grad(loss.sum(), p)[0]
    x = torch.tensor([200.0, -200.0], requires_grad=True)
    torch.nn.BCELoss()(x.sigmoid(), torch.tensor([1.0, 0.0])).backward()
    yield x.grad


@scenario
def test_a_subclass_that_prints_itself(torch: Any) -> Any:
    class Boxes(torch.Tensor):
        def __repr__(self) -> str:
            return f"Boxes of {self.shape[0]}"

    boxes = torch.ones(2, 4).as_subclass(Boxes)
    yield repr(boxes), str(boxes), f"{boxes}"


@scenario
def test_writing_to_a_result_that_no_derivative_reads(torch: Any) -> Any:
    """``x = norm(x); x += positions``, and the like."""
    F = torch.nn.functional
    w = torch.linspace(0.5, 2.0, 6)
    for call in (
        lambda x: F.layer_norm(x, (6,)),
        lambda x: F.layer_norm(x, (6,), w, w),
        lambda x: F.group_norm(x, 2, w[:4], w[:4]),
        lambda x: F.rms_norm(x, (6,), w),
        lambda x: F.batch_norm(x, None, None, w[:4], w[:4], training=True),
        lambda x: F.instance_norm(x),
        lambda x: F.max_pool1d(x, 2),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 2, return_indices=True)[0],
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.gelu(x),
        lambda x: F.linear(x, torch.outer(w, w), w),
        lambda x: torch.erfinv(x / 7),
    ):
        x = torch.arange(72.0).reshape(3, 4, 6).sin().requires_grad_()
        y = call(x)
        y += 1
        (y * torch.arange(y.numel()).reshape(y.shape).cos()).sum().backward()
        yield y, x.grad


@scenario
def test_writing_to_a_bias_after_its_use(torch: Any) -> Any:
    x, w, b = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3), torch.zeros(4)
    y = torch.nn.functional.linear(x, w, b)
    b += 1
    y.sum().backward()
    yield x.grad


@scenario
def test_variables(torch: Any) -> Any:
    """What tensors with gradients were made of in early programs."""
    Variable = torch.autograd.Variable
    x = torch.ones(2, 3)
    y = Variable(x.type(torch.FloatTensor), requires_grad=True)
    yield y.requires_grad, y.is_leaf, x.requires_grad, y.data_ptr() == x.data_ptr()
    (y * 3).sum().backward()
    yield y.grad, x.grad is None
    for z in (
        Variable(y),
        Variable(y * 2),
        Variable(y * 2, requires_grad=True),
        Variable(x, False),
        Variable(),
    ):
        yield z.requires_grad, z.grad_fn is None, z.shape
    yield isinstance(x, Variable), isinstance(3, Variable), type(Variable(x)) is torch.Tensor
    yield attempt(lambda: Variable([1.0])), Variable(x, volatile=True).requires_grad


@scenario
def test_the_dimension_that_does_not_fit(torch: Any) -> Any:
    for a, b in (((2, 16, 32), (17, 16)), ((2, 3), (3, 2)), ((4, 2, 3), (5, 1, 2)), ((4, 2, 1), (5, 1, 2))):
        try:
            torch.ones(a) + torch.ones(b)
        except RuntimeError as e:
            yield str(e).partition(" (shapes")[0]


@scenario
def test_flags_of_attention_kernels(torch: Any) -> Any:
    cuda = torch.backends.cuda
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        enabled, enable = getattr(cuda, f"{name}_sdp_enabled"), getattr(cuda, f"enable_{name}_sdp")
        before = enabled()
        enable(not before)
        yield before, enabled()
        enable(before)
    yield cuda.fp16_bf16_reduction_math_sdp_allowed()
