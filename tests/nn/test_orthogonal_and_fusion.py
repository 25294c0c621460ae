"""Orthogonal parametrizations and fused layers against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from parity import scenario


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("kind", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivialized", [True, False])
def test_orthogonal(shape: tuple[int, int], kind: Any, trivialized: bool) -> None:
    @scenario
    def test(lib: Any) -> Any:
        lib.manual_seed(1)
        make = lib.nn.utils.parametrizations.orthogonal
        m = make(lib.nn.Linear(*reversed(shape)), orthogonal_map=kind, use_trivialization=trivialized)
        w = m.weight
        gram = w @ w.T if shape[0] < shape[1] else w.T @ w
        yield bool((gram - lib.eye(min(shape))).abs().max() < 1e-4)
        (w * lib.arange(float(w.numel())).reshape(shape)).sum().backward()
        yield w, m.parametrizations.weight.original.grad, sorted(m.state_dict())
        try:
            m.weight = lib.nn.init.orthogonal_(lib.empty(shape))
            yield m.weight, m.parametrizations.weight.original
        except NotImplementedError:
            yield "not assigned"

    test()


def test_orthogonal_errors() -> None:
    make = flambeau.nn.utils.parametrizations.orthogonal
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        make(flambeau.nn.Linear(2, 2), orthogonal_map="qr")
    with pytest.raises(ValueError, match="of 1 dimensions"):
        make(flambeau.nn.Linear(2, 2), "bias")
    with pytest.raises(ValueError, match="no parameter or buffer"):
        make(flambeau.nn.Linear(2, 2), "width")


def settled(lib: Any, bn: Any) -> Any:
    bn.running_mean.copy_(lib.linspace(-1, 1, bn.num_features))
    bn.running_var.copy_(lib.linspace(0.5, 2, bn.num_features))
    return bn.eval()


@scenario
def test_fusion(lib: Any) -> Any:
    nn = lib.nn
    x = lib.randn(2, 3, 6, 6)
    for bias in (True, False):
        for conv, flag in (
            (nn.Conv2d(3, 4, 3, bias=bias), False),
            (nn.ConvTranspose2d(3, 4, 3, bias=bias), True),
        ):
            conv.eval()
            bn = settled(lib, nn.BatchNorm2d(4))
            fused = nn.utils.fusion.fuse_conv_bn_eval(conv, bn, flag)
            yield fused.weight, fused.bias, bool(lib.allclose(fused(x), bn(conv(x)), atol=1e-5))
        linear = nn.Linear(3, 4, bias=bias).eval()
        bn = settled(lib, nn.BatchNorm1d(4))
        fused = nn.utils.fusion.fuse_linear_bn_eval(linear, bn)
        yield (
            fused.weight,
            fused.bias,
            bool(lib.allclose(fused(x[0, :, 0].T), bn(linear(x[0, :, 0].T)), atol=1e-5)),
        )
    plain = nn.BatchNorm2d(4, affine=False)
    yield nn.utils.fusion.fuse_conv_bn_eval(nn.Conv2d(3, 4, 3).eval(), settled(lib, plain)).weight


def test_fusion_errors() -> None:
    nn = flambeau.nn
    fuse = nn.utils.fusion
    with pytest.raises(AssertionError, match="only for eval"):
        fuse.fuse_conv_bn_eval(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    with pytest.raises(AssertionError, match="out_features"):
        fuse.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), nn.BatchNorm1d(2).eval())
    with pytest.raises(AssertionError, match="must not be None"):
        fuse.fuse_conv_bn_eval(nn.Conv2d(1, 1, 1).eval(), nn.BatchNorm2d(1, track_running_stats=False).eval())
