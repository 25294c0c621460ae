"""Modules and helpers that few programs use: SyncBatchNorm, CrossMapLRN2d, nn.grad, LinearCrossEntropyLoss, ..."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flambeau
from parity import attempt, scenario


@scenario
def test_sync_batch_norm_of_one_process(lib: Any) -> Iterator[Any]:
    net = lib.nn.Sequential(
        lib.nn.BatchNorm2d(3, momentum=None), lib.nn.Sequential(lib.nn.BatchNorm2d(3, bias=False))
    )
    net[0].eval()
    converted = lib.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    yield converted is net, repr(net), [m.training for m in net.modules()]
    x = lib.randn(4, 3, 2, 2, requires_grad=True)
    yield net(x), net(x)
    net(x).square().sum().backward()
    yield x.grad, dict(net.state_dict())
    m = lib.nn.SyncBatchNorm(2, process_group="all")
    yield m.process_group, m(lib.randn(3, 2)), attempt(lambda: m(lib.randn(3)))
    yield attempt(lambda: m(lib.randn(3, 0))), isinstance(m, lib.nn.modules.batchnorm._BatchNorm)


@scenario
def test_cross_map_lrn(lib: Any) -> Iterator[Any]:
    x = lib.randn(2, 7, 3, 2)
    for size in (1, 2, 3, 4, 5, 9):
        m = lib.nn.CrossMapLRN2d(size, alpha=0.5, k=2)
        yield m(x), repr(m)
    yield attempt(lambda: m(x[0]))


def test_the_gradient_of_cross_map_lrn() -> None:
    flambeau.manual_seed(0)
    x = flambeau.randn(2, 6, 2, 1, dtype=flambeau.float64, requires_grad=True)
    assert flambeau.autograd.gradcheck(flambeau.nn.CrossMapLRN2d(3, alpha=0.7), (x,))


@scenario
def test_gradients_of_convolutions(lib: Any) -> Iterator[Any]:
    for n in (1, 2, 3):
        conv = getattr(lib.nn.functional, f"conv{n}d")
        for settings in (
            {},
            {"stride": 2, "padding": 1},
            {"dilation": 2, "padding": (1,) * n},
            {"groups": 2},
        ):
            x = lib.randn(2, 4, *(7, 6, 5)[:n], dtype=lib.float64, requires_grad=True)
            per_group = 4 // settings.get("groups", 1)
            w = lib.randn(6, per_group, *(3, 2, 2)[:n], dtype=lib.float64, requires_grad=True)
            g = lib.randn_like(conv(x, w, **settings)).requires_grad_()
            by_input = getattr(lib.nn.grad, f"conv{n}d_input")(x.shape, w, g, **settings)
            by_weight = getattr(lib.nn.grad, f"conv{n}d_weight")(x, w.shape, g, **settings)
            yield by_input, by_weight
            yield lib.autograd.grad(by_input.square().sum() + by_weight.square().sum(), (x, w, g))


@pytest.mark.parametrize(
    "shapes",
    [((1, 1, 5), (1, 1, 3), (1, 1, 4)), ((1, 5), (1, 1, 3), (1, 1, 3)), ((1, 2, 5), (1, 1, 3), (1, 1, 3))],
)
def test_sizes_that_no_convolution_has(shapes: tuple[Any, ...]) -> None:
    x, w, g = (flambeau.ones(s) for s in shapes)
    with pytest.raises(RuntimeError, match="size"):
        flambeau.nn.grad.conv1d_input(x.shape, w, g)
    with pytest.raises(RuntimeError, match="size"):
        flambeau.nn.grad.conv1d_weight(x, w.shape, g)
    with pytest.raises(RuntimeError, match="dtype"):
        flambeau.nn.grad.conv1d_input((1, 1, 5), flambeau.ones(1, 1, 3).double(), flambeau.ones(1, 1, 3))


@scenario
def test_linear_cross_entropy_loss(lib: Any) -> Iterator[Any]:
    options = lib.nn.LinearCrossEntropyOptions(batch_chunk_size=2, chunking_method=None)
    for kwargs in (
        {},
        {"bias": True, "reduction": "sum", "options": options},
        {"weight": lib.rand(5), "ignore_index": 1, "label_smoothing": 0.25},
    ):
        m = lib.nn.LinearCrossEntropyLoss(4, 5, **kwargs)
        x = lib.randn(6, 4, requires_grad=True)
        loss = m(x, lib.tensor([0, 1, 4, 3, 2, 1]))
        yield loss, lib.autograd.grad(loss.sum(), [x, m.linear.weight])
        yield list(m.state_dict())
    m = lib.nn.LinearCrossEntropyLoss(4, 5, out_features=(2, 3), bias=True)
    yield repr(m), m(lib.randn(2, 4), lib.randint(5, (2, 2, 3))), m(lib.randn(2, 4), lib.rand(2, 5, 2, 3))
    yield attempt(lambda: lib.nn.LinearCrossEntropyLoss(4, 5, weight=lib.rand(4)))
    yield attempt(lambda: lib.nn.LinearCrossEntropyLoss(4, 5, label_smoothing=1.5))


@scenario
def test_memory_formats_of_weights(lib: Any) -> Iterator[Any]:
    nn = lib.nn
    net = nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.Linear(2, 2), nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Conv3d(2, 3, 2))
    )
    parameters = list(net.parameters())
    before = [p.detach().clone() for p in parameters]
    yield nn.utils.convert_conv2d_weight_memory_format(net, lib.channels_last) is net
    yield nn.utils.convert_conv3d_weight_memory_format(net, lib.channels_last_3d) is net
    yield [p.stride() for p in net.parameters()], [p is q for p, q in zip(parameters, net.parameters())]
    yield [lib.equal(p, b) for p, b in zip(parameters, before)]


@scenario
def test_transfer_of_parametrizations(lib: Any) -> Iterator[Any]:
    parametrize, parametrizations = lib.nn.utils.parametrize, lib.nn.utils.parametrizations
    source = parametrizations.weight_norm(lib.nn.Linear(3, 2))
    target = parametrize.transfer_parametrizations_and_params(source, lib.nn.Linear(3, 2))
    yield target.weight, source.weight, sorted(target.state_dict())
    other = lib.nn.Module()
    yield parametrize.transfer_parametrizations_and_params(source, other, "weight") is other, other.weight
    yield parametrize.transfer_parametrizations_and_params(lib.nn.Linear(1, 1), other) is other


def test_old_names_warn() -> None:
    p = flambeau.nn.Parameter(flambeau.zeros(2))
    p.grad = flambeau.tensor([3.0, 4.0])
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        norm = flambeau.nn.utils.clip_grad_norm(p, 1.0)
    np.testing.assert_allclose(float(norm), 5.0)
    with pytest.warns(FutureWarning, match="Container"):
        m = flambeau.nn.Container(a=flambeau.nn.ReLU())
    assert list(dict(m.named_children())) == ["a"]
