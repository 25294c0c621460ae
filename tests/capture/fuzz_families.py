"""Expressions for random programs, of the families that take more than an element at a time.

Attention, losses of classification, modules (convolution, pooling, normalisation), indices, random draws, complex numbers
and bfloat16.  Indices come from ranges: what comes from comparing values could differ by a rounding error.
"""

from __future__ import annotations

import random
from collections.abc import Callable

__all__ = ["FAMILIES", "expression"]

_CLASSES = "torch.arange({x}.shape[0]) * 3 % {x}.shape[-1]"
_INDEX = "(torch.arange({x}.numel()).reshape({x}.shape) * 7 % {x}.shape[{d}])"
# large enough for the attention operation, with one row of the result
_LARGE = (
    "F.scaled_dot_product_attention(*[torch.arange(4096.0).to({x}.dtype).sin().reshape(1, 2, 64, 32) * t.mean() "
    "for t in ({x}, {y}, {z})]{how})[0, 0, 3, :4]"
)
_MASKS = (
    ", torch.arange(64) < 50",
    ", (torch.arange(64.0) * {y}.mean()).to({x}.dtype)",
    ", {y}.mean() * torch.ones(64, 64, dtype={x}.dtype)",
)

FAMILIES: dict[str, list[str]] = {
    "attention": [
        "F.scaled_dot_product_attention({x}, {x}, {y})",
        "F.scaled_dot_product_attention({x}, {y}, {y}, is_causal=True)",
        "F.scaled_dot_product_attention({x}, {x}, {x}, {x} @ {x}.mT > 0.4)",
        _LARGE.replace("{how}", ""),
        _LARGE.replace("{how}", ", is_causal=True"),
        _LARGE.replace("{how}", ", dropout_p=0.3"),
        *[_LARGE.replace("{how}", mask) for mask in _MASKS],
        *[_LARGE.replace("{how}", mask + ", dropout_p=0.2") for mask in _MASKS],
    ],
    "classes": [
        f"F.cross_entropy({{x}}, {_CLASSES})",
        f"F.cross_entropy({{x}}, {_CLASSES}, reduction='none')",
        f"F.cross_entropy({{x}}, {_CLASSES}, ignore_index=0, reduction='sum')",
        f"F.cross_entropy({{x}}, {_CLASSES}, weight={{y}}, label_smoothing=0.2)",
        "F.cross_entropy({x}, {y}.softmax(-1))",
        "F.cross_entropy({x}, {x}.detach().softmax(-1), label_smoothing=0.1, reduction='none')",
        f"F.nll_loss({{x}}.log_softmax(-1), {_CLASSES}, ignore_index=1)",
    ],
    "modules": [
        "F.conv1d({x}, {x}[:1, :, :2], padding=1)",
        "F.conv2d({x}[None], {x}[None, :, :2, :2], padding=1)[0]",
        "F.conv_transpose1d({x}, {x}[:, :1], stride=2)",
        "F.max_pool1d({x}, 2)",
        "F.max_pool2d({x}, 2, 1)",
        "F.avg_pool1d({x}, 2, 1, 1)",
        "F.adaptive_avg_pool1d({x}, 2)",
        "F.batch_norm({x}, None, None, training=True)",
        "F.batch_norm({x}, None, None, {y}, {y}, training=True)",
        "F.group_norm({x}, 1)",
        "F.group_norm({x}, 1, {y}, {z})",
        "F.instance_norm({x})",
        "F.rms_norm({x}, {x}.shape[-1:])",
        "F.rms_norm({x}, {x}.shape[-1:], {y})",
        "F.layer_norm({x}, {x}.shape[-1:], {y}, {z})",
        "F.layer_norm({x}, {x}.shape)",
        "F.pad({x}, (1, 1))",
        "F.unfold({x}[None], 2)[0]",
        "F.glu({x}, -1)",
        "F.mse_loss({x}, {y})",
    ],
    "indices": [
        "{x}.gather({d}, " + _INDEX + ")",
        "{x}.take_along_dim(" + _INDEX + ", {d})",
        "torch.zeros_like({x}).scatter_add({d}, " + _INDEX + ", {x})",
        "{x}.scatter_reduce({d}, " + _INDEX + ", {x} * 2, 'amax')",
        "{x}.index_put((torch.tensor([0, 0]),), {y}, accumulate=True)",
        "{x}.index_put((torch.tensor([1, 0]),), {y})",
        "{x}.index_add(0, torch.tensor([1, 1]), {x}[:2])",
        "{x}.index_select({d}, torch.tensor([1, 0, 1]))",
        "{x}[torch.tensor([0, 1, 1])]",
        "{x}[..., torch.tensor([1, 0])]",
        "{x}[torch.arange({x}.shape[0]) % 2 == 0]",
        "F.embedding(torch.tensor([[0, 1], [1, 1]]), {x})",
        "{x}.roll(1, {d})",
        "{x}.diagonal()",
        "{x}.tril()",
        "torch.cummax({x}, {d})[0]",
    ],
    "draws": [
        "torch.rand_like({x})",
        "torch.randn({x}.shape)",
        "{x} + torch.rand(4)",
        "F.dropout({x}, 0.4)",
        "torch.bernoulli({x}.sigmoid())",
        "torch.normal({x}, 0.1)",
        "torch.randperm(4) * {x}",
        "torch.randint(0, 3, {x}.shape) + {x}",
    ],
    "complex": [
        "torch.complex({x}, {x}.sin())",
        "torch.polar({x}.abs() + 0.1, {x})",
        "{x} * 1j",
        "{x}.abs()",
        "{x}.conj() * {y}",
        "{x}.real",
        "torch.view_as_real({x})",
        "torch.fft.fft({x})",
        "torch.fft.irfft({x}, dim={d})",
    ],
    "bfloat16": [
        "{x}.to(torch.bfloat16)",
        "{x}.to(torch.bfloat16).exp()",
        "({x}.to(torch.bfloat16) @ {y}.to(torch.bfloat16)).to({x}.dtype)",
        "{x}.to(torch.bfloat16).sum({d})",
        "{x}.to(torch.bfloat16).softmax({d})",
        "{x}.to(torch.float32)",
    ],
}


def expression(r: random.Random, name: Callable[[], str]) -> str:
    """One of any family; `name` gives names of tensors."""
    text = r.choice(FAMILIES[r.choice(list(FAMILIES))])
    return (
        text.replace("{x}", name())
        .replace("{y}", name())
        .replace("{z}", name())
        .replace("{d}", r.choice(["0", "-1"]))
    )
