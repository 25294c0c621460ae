"""The strides of results: contiguous for contiguous inputs, and PyTorch's for images with the channels innermost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import flambeau


def modules(nn: Any, n: int) -> Iterator[Any]:
    """Calls over (N, 4, ...) with `n` spatial dims."""
    for name, *args in (
        *(("Conv", 4, 6, 3), ("Conv", 4, 6, 1), ("ConvTranspose", 4, 6, 3), ("MaxPool", 2), ("AvgPool", 2)),
        *(("AdaptiveAvgPool", 3), ("AdaptiveAvgPool", 4), ("AdaptiveMaxPool", 3), ("LPPool", 2, 2)),
        *(
            ("BatchNorm", 4),
            ("InstanceNorm", 4),
            ("ReflectionPad", 1),
            ("ReplicationPad", 1),
            ("CircularPad", 1),
        ),
        *(("ZeroPad", 1), ("ConstantPad", 1, 2.5), ("Dropout", 0.5)),
    ):
        yield getattr(nn, f"{name}{n}d")(*args)
    yield getattr(nn, f"MaxPool{n}d")(2, return_indices=True)
    yield from (nn.GroupNorm(2, 4), nn.LocalResponseNorm(2), nn.RMSNorm(8), nn.LayerNorm(8), nn.LogSigmoid())
    for mode in ("nearest", "nearest-exact", {1: "linear", 2: "bilinear", 3: "trilinear"}[n]):
        yield nn.Upsample(scale_factor=2, mode=mode)
    if n == 2:
        yield from (nn.Upsample(size=5, mode="bicubic"), nn.Upsample(size=5, mode="area"))


def indexing(lib: Any) -> Iterator[Callable[[Any], Any]]:
    yield from (
        lambda x: x[:, [0, 1]],
        lambda x: x.index_select(1, lib.tensor([1, 0])),
        lambda x: x[..., [0, 1]],
    )


def strides(y: Any) -> list[tuple[int, ...]]:
    return [t.stride() for t in (y if isinstance(y, tuple) else (y,))]


@pytest.mark.parametrize("innermost", [False, True], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.filterwarnings("ignore")
def test_strides_of_results(n: int, innermost: bool) -> None:
    torch = pytest.importorskip("torch")
    if innermost and n == 1:
        pytest.skip("channels_last is for images and volumes")
    found: list[list[Any]] = []
    for lib in (flambeau, torch):
        x = lib.rand(2, 4, *(8, 8, 8)[:n])
        if innermost:
            x = x.contiguous(memory_format=(lib.channels_last, lib.channels_last_3d)[n - 2])
        found.append([(repr(m), strides(m(x))) for m in modules(lib.nn, n)])
        if not innermost:
            found[-1] += [("indexing", strides(fn(x))) for fn in indexing(lib)]
    assert found[0] == found[1]


def test_values_and_gradients_of_images_with_the_channels_innermost() -> None:
    flambeau.manual_seed(0)
    plain = flambeau.rand(2, 4, 8, 8, dtype=flambeau.float64)
    images = plain.contiguous(memory_format=flambeau.channels_last)
    for module in modules(flambeau.nn, 2):
        module = module.double().eval()
        results = []
        for x in (plain, images):
            x = x.detach().clone().requires_grad_()
            y = module(x)
            y = y[0] if isinstance(y, tuple) else y
            z = y * 1
            z.mul_(2).sum().backward()
            results.append((y.detach().numpy(), x.grad.numpy()))
        for a, b in zip(*results):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_selection_can_be_viewed() -> None:
    assert flambeau.rand(2, 4, 8)[:, [0, 2]].view(2, 16).shape == (2, 16)
    assert flambeau.nn.functional.pad(flambeau.rand(1, 2, 4), (1, 1), mode="reflect").view(-1).shape == (12,)
