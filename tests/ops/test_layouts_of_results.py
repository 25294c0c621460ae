"""How results lie in memory: as PyTorch's, for operands in every order of dims."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import flambeau

SHAPES = [(3, 4), (2, 3, 4), (2, 4, 6, 6)]
Call = Callable[[Any, Any, Any], Any]  # the library, a tensor, a contiguous one of its shape

ELEMENTWISE: dict[str, Call] = {
    "x + c": lambda lib, x, c: x + c,
    "c + x": lambda lib, x, c: c + x,
    "x + row": lambda lib, x, c: x + c[..., 0].unsqueeze(-1),
    "row * x": lambda lib, x, c: c[0] * x,
    "where": lambda lib, x, c: lib.where(c > 0.5, x, c),
    "maximum": lambda lib, x, c: lib.maximum(c, x),
    "pow": lambda lib, x, c: x**c,
    "addcmul": lambda lib, x, c: lib.addcmul(x, c, c),
    "lerp": lambda lib, x, c: lib.lerp(c, x, 0.5),
    "clamp": lambda lib, x, c: x.clamp(c, c + 1),
    "x < c": lambda lib, x, c: x < c,
    "double": lambda lib, x, c: x.double() * c,
    "mse_loss": lambda lib, x, c: lib.nn.functional.mse_loss(x, c, reduction="none"),
    "huber_loss": lambda lib, x, c: lib.nn.functional.huber_loss(c, x, reduction="none"),
    "kl_div": lambda lib, x, c: lib.nn.functional.kl_div(x, c, reduction="none"),
    "soft_margin_loss": lambda lib, x, c: lib.nn.functional.soft_margin_loss(x, c, reduction="none"),
    "with_logits": lambda lib, x, c: lib.nn.functional.binary_cross_entropy_with_logits(
        x, c, reduction="none"
    ),
}
OTHERS: dict[str, Call] = {
    "sort": lambda lib, x, c: x.sort(0),
    "argsort": lambda lib, x, c: x.argsort(),
    "cummax": lambda lib, x, c: x.cummax(0),
    "logcumsumexp": lambda lib, x, c: x.logcumsumexp(0),
    "roll": lambda lib, x, c: x.roll(1, 0),
    "stack": lambda lib, x, c: lib.stack([x, x], 1),
    "x[[0, 1]]": lambda lib, x, c: x[[0, 1]],
    "x[:, [1]]": lambda lib, x, c: x[:, [1]],
    "x[..., [0, 1]]": lambda lib, x, c: x[..., [0, 1]],
    "x[[0, 1], ..., [2, 2]]": lambda lib, x, c: x[[0, 1], ..., [2, 2]],
    "x[matrix]": lambda lib, x, c: x[lib.tensor([[0, 1], [1, 0]])],
    "index_select": lambda lib, x, c: x.index_select(1, lib.tensor([0, 2])),
    "masked_fill": lambda lib, x, c: x.masked_fill(c > 0.5, 0),
    "index_put": lambda lib, x, c: x.index_put((lib.tensor([0]),), x[:1] * 0),
    "slice_scatter": lambda lib, x, c: x.slice_scatter(c[:1], 0, 0, 1),
    "fill": lambda lib, x, c: lib.fill(x, 2.0),
    "rot90": lambda lib, x, c: x.rot90(),
    "diag_embed": lambda lib, x, c: x.diag_embed(0, 0, 1),
    "renorm": lambda lib, x, c: x.renorm(2, 0, 1.0),
    "rms_norm": lambda lib, x, c: lib.nn.functional.rms_norm(x, c.shape[-1:]),
    "matmul": lambda lib, x, c: x @ x.transpose(-1, -2),
    "rfft": lambda lib, x, c: lib.fft.rfft(x, dim=0),
    "fft2": lambda lib, x, c: lib.fft.fft2(x, dim=(-1, 0)),
    "rfftn": lambda lib, x, c: lib.fft.rfftn(x),
    "logsigmoid": lambda lib, x, c: lib.nn.functional.logsigmoid(x),
}
SIGNALS: dict[str, Call] = {
    "conv1d": lambda lib, x, c: lib.nn.functional.conv1d(x, lib.ones(5, 3, 2)),
    "conv_transpose1d": lambda lib, x, c: lib.nn.functional.conv_transpose1d(x, lib.ones(3, 5, 2)),
    "max_pool1d": lambda lib, x, c: lib.nn.functional.max_pool1d(x, 2),
    "max_pool1d, indices": lambda lib, x, c: lib.nn.functional.max_pool1d(x, 2, return_indices=True),
    "avg_pool1d": lambda lib, x, c: lib.nn.functional.avg_pool1d(x, 2),
    "adaptive_avg_pool1d": lambda lib, x, c: lib.nn.functional.adaptive_avg_pool1d(x, 3),
    "adaptive_max_pool1d": lambda lib, x, c: lib.nn.functional.adaptive_max_pool1d(x, 2),
    "encoder": lambda lib, x, c: lib.nn.TransformerEncoderLayer(4, 1, 8, 0.0)(x),
    "decoder": lambda lib, x, c: lib.nn.TransformerDecoderLayer(4, 1, 8, 0.0, batch_first=True)(x, x),
}
IMAGES: dict[str, Call] = {
    "max_pool2d": lambda lib, x, c: lib.nn.functional.max_pool2d(x, 2, return_indices=True),
    "avg_pool2d": lambda lib, x, c: lib.nn.functional.avg_pool2d(x, 2),
    "adaptive_max_pool2d": lambda lib, x, c: lib.nn.functional.adaptive_max_pool2d(x, 4),
    "adaptive_max_pool2d, equal": lambda lib, x, c: lib.nn.functional.adaptive_max_pool2d(x, 3),
    "pixel_shuffle": lambda lib, x, c: lib.nn.functional.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda lib, x, c: lib.nn.functional.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda lib, x, c: lib.nn.functional.channel_shuffle(x, 2),
    "attention": lambda lib, x, c: lib.nn.functional.scaled_dot_product_attention(x, x, x),
    "local_response_norm": lambda lib, x, c: lib.nn.functional.local_response_norm(x, 2),
    "interpolate": lambda lib, x, c: lib.nn.functional.interpolate(x, scale_factor=2),
}


def laid_out(lib: Any, shape: tuple[int, ...]) -> Iterator[Any]:
    """Tensors of a shape with their dims in memory in every order, and one with gaps."""
    x = lib.rand(shape)
    for order in itertools.permutations(range(len(shape))):
        yield x.permute(order).contiguous().permute([order.index(d) for d in range(len(shape))])
    yield lib.rand((*shape, 2))[..., 0]


def strides(y: Any) -> list[tuple[int, ...]]:
    """Of the dims that have more than one element: the others lie nowhere."""
    return [
        tuple(s for s, n in zip(t.stride(), t.shape) if n != 1)
        for t in (y if isinstance(y, (tuple, list)) else (y,))
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", [*ELEMENTWISE, *OTHERS, *SIGNALS, *IMAGES])
@pytest.mark.filterwarnings("ignore")
def test_strides(name: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    if name in SIGNALS and len(shape) != 3 or name in IMAGES and len(shape) != 4:
        pytest.skip("of other shapes")
    call = {**ELEMENTWISE, **OTHERS, **SIGNALS, **IMAGES}[name]
    for mine, theirs in zip(laid_out(flambeau, shape), laid_out(torch, shape)):
        if name == "slice_scatter" and theirs.stride()[-1] == 2:
            continue  # PyTorch keeps gaps
        expected = strides(call(torch, theirs, torch.rand(shape)))
        assert strides(call(flambeau, mine, flambeau.rand(shape))) == expected, mine.stride()


def test_the_first_operand_that_can_tell_two_dims_apart_decides() -> None:
    c = flambeau.ones(2, 3, 4)
    x = c.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert x.stride() == (3, 1, 6)
    assert (x + c).stride() == (3, 1, 6)
    assert (c + x).stride() == (12, 4, 1)
    assert (c[:, :1, :1] + x).stride() == (3, 1, 6)  # says nothing
    assert (x[:1] + c[:, :1]).stride() == (12, 1, 3)  # the second says something of the first dim
    large = flambeau.ones(64, 64, 64)
    assert (large.transpose(0, 2).contiguous().transpose(0, 2).sin() * large).stride() == (1, 64, 4096)


@pytest.mark.parametrize("name", [*ELEMENTWISE, *OTHERS])
def test_the_order_in_memory_changes_no_value(name: str) -> None:
    call = {**ELEMENTWISE, **OTHERS}[name]
    flambeau.manual_seed(0)
    x, c = flambeau.rand(3, 4, 5, dtype=flambeau.float64), flambeau.rand(3, 4, 5, dtype=flambeau.float64)
    found = []
    for order in itertools.permutations(range(3)):
        y = x.permute(order).contiguous().permute([order.index(d) for d in range(3)]).requires_grad_()
        result = call(flambeau, y, c)
        first = result[0] if isinstance(result, tuple) else result
        found.append(first.detach().numpy())
        if first.requires_grad:
            (first * first.conj()).real.sum().backward()
            assert y.grad is not None
            found.append(y.grad.numpy())
    step = len(found) // 6
    for i in range(step):
        for other in found[i::step]:
            np.testing.assert_allclose(other, found[i], rtol=1e-12, atol=1e-12)


def test_a_filled_copy_can_be_written_to() -> None:
    y = flambeau.fill(flambeau.ones(3), 2.0)
    y[0] = 5
    assert y.tolist() == [5, 2, 2]
