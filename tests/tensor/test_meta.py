"""Tensors on the meta device: shapes without data, and PyTorch's errors where values are asked for."""

from __future__ import annotations

import copy
import io
import pickle
import resource
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn

HUGE = 10**6  # a matrix of this side has 4 TB


def meta(*shape: int, **kw: Any) -> Any:
    return torch.empty(*shape, device="meta", **kw)


def test_factories() -> None:
    for t, shape, dtype in (
        (torch.zeros(2, 3, device="meta"), (2, 3), torch.float32),
        (torch.ones((2,), device=torch.device("meta"), dtype=torch.int8), (2,), torch.int8),
        (torch.full((3,), 2, device="meta"), (3,), torch.int64),
        (torch.rand(4, device="meta"), (4,), torch.float32),
        (torch.randn(4, device="meta:0"), (4,), torch.float32),
        (torch.randint(5, (2, 2), device="meta"), (2, 2), torch.int64),
        (torch.randperm(5, device="meta"), (5,), torch.int64),
        (torch.arange(0, 10, 3, device="meta"), (4,), torch.int64),
        (torch.arange(10**12, device="meta"), (10**12,), torch.int64),
        (torch.linspace(0, 1, 7, device="meta"), (7,), torch.float32),
        (torch.logspace(0, 1, 7, device="meta"), (7,), torch.float32),
        (torch.eye(HUGE, device="meta"), (HUGE, HUGE), torch.float32),
        (torch.tensor([[1, 2]], device="meta"), (1, 2), torch.int64),
        (torch.as_tensor(np.zeros(3), device="meta"), (3,), torch.float64),
        (torch.hann_window(5, device="meta"), (5,), torch.float32),
        (torch.tril_indices(3, 3, device="meta"), (2, 6), torch.int64),
        (torch.normal(0, 1, (3,), device="meta"), (3,), torch.float32),
        (torch.zeros_like(torch.ones(2, 2), device="meta"), (2, 2), torch.float32),
        (torch.empty_strided((2, 3), (1, 2), device="meta"), (2, 3), torch.float32),
        (torch.scalar_tensor(1.0, device="meta"), (), torch.float32),
        (meta(3).new_zeros(2), (2,), torch.float32),
        (torch.randn_like(meta(3)), (3,), torch.float32),
    ):
        assert t.is_meta and not t.is_cpu and t.device == torch.device("meta")
        assert (tuple(t.shape), t.dtype) == (shape, dtype)
    assert torch.empty_strided((2, 3), (1, 2), device="meta").stride() == (1, 2)
    assert not torch.zeros_like(meta(2), device="cpu").is_meta
    assert meta(2).new_ones(2, device="cpu").tolist() == [1, 1]


def test_nothing_is_drawn() -> None:
    torch.manual_seed(3)
    want = torch.rand(4)
    torch.manual_seed(3)
    torch.rand(100, device="meta"), meta(5).normal_(), torch.randn_like(meta(3)), torch.bernoulli(meta(2))
    nn.Linear(3, 4, device="meta"), nn.functional.dropout(meta(3))
    assert torch.equal(torch.rand(4), want)


def test_no_memory_is_taken() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    x = meta(HUGE, HUGE, requires_grad=True)
    y = torch.softmax((x @ x.T + 1).relu(), -1).to(torch.float16)
    z = torch.cat([y, y.transpose(0, 1)]).float().sort(-1)[0].cumsum(0)[::2, 1:].contiguous()
    nn.functional.layer_norm(z.exp(), (HUGE - 1,)).mean(0).sum().backward()
    image = nn.functional.conv2d(meta(1000, 3, 10**4, 10**4), meta(64, 3, 7, 7), stride=2, padding=3)
    image = nn.functional.max_pool2d(image, 3, 2, 1)
    rows = nn.functional.embedding(meta(HUGE, 1000, dtype=torch.int64), meta(HUGE, 5120))
    heads = rows.view(HUGE, 1000, 40, 128).transpose(1, 2)
    out = nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
    assert z.shape == (HUGE, HUGE - 1) and x.grad.shape == x.shape and x.grad.is_meta
    assert image.shape == (1000, 64, 2500, 2500) and out.shape == (HUGE, 40, 1000, 128)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_values_are_refused() -> None:
    x, one = meta(2, 3), meta(())
    for call in (one.item, lambda: bool(one), lambda: float(one), lambda: int(one)):
        with pytest.raises(RuntimeError, match=r"Tensor.item\(\) cannot be called on meta tensors"):
            call()
    with pytest.raises(RuntimeError, match="a Tensor with 6 elements cannot be converted to Scalar"):
        x.item()
    for call in (x.cpu, x.tolist, lambda: x.to("cpu"), lambda: torch.ones(2, 3).copy_(x)):
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor; no data!"):
            call()
    with pytest.raises(TypeError, match="can't convert meta device type tensor to numpy"):
        x.numpy()
    for call in (x.nonzero, x.unique, lambda: x[x > 0], lambda: torch.ones(2, 3).add_(x)):
        with pytest.raises(NotImplementedError):
            call()
    assert x.data_ptr() == 0 and x.untyped_storage().nbytes() == 24 and x.get_device() == -1


def test_printing() -> None:
    assert repr(meta(2, 3)) == "tensor(..., device='meta', size=(2, 3))"
    assert repr(meta((), dtype=torch.int64)) == "tensor(..., device='meta', size=(), dtype=torch.int64)"
    assert "requires_grad=True" in repr(meta(1, requires_grad=True))
    assert repr(meta(1, requires_grad=True) * 2).endswith("grad_fn=<MulBackward0>)")
    assert repr(nn.Parameter(meta(1))).startswith("Parameter containing:\ntensor(...")


def test_views_share_and_know_their_place() -> None:
    x = meta(4, 6)
    y = x[1:, 2::2].T
    assert (tuple(y.shape), y.stride(), y.storage_offset()) == ((2, 3), (2, 6), 8)
    assert y._base is x and y._is_view()
    before = x._version
    y.add_(1)
    assert x._version == before + 1
    with pytest.raises(RuntimeError):
        x.T.view(24)
    assert x.T.reshape(24).stride() == (1,)


def test_writes_check_shapes() -> None:
    x = meta(2, 3)
    x.copy_(torch.ones(2, 3)), x.fill_(1), x.zero_(), x.uniform_(), x.add_(1)
    x[0] = 1
    x[:, torch.tensor([0, 2])] = 5.0
    with pytest.raises(RuntimeError):
        x.copy_(torch.ones(4))
    assert x.is_meta


def test_a_device_as_context() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(HUGE, HUGE), nn.BatchNorm1d(3), nn.MultiheadAttention(8, 2))
        assert torch.get_default_device() == torch.device("meta")
        with torch.device("cpu"):
            assert not torch.zeros(1).is_meta
        assert torch.zeros(1).is_meta and not torch.zeros(1, device="cpu").is_meta
    assert all(t.is_meta for t in (*module.parameters(), *module.buffers()))
    assert not torch.zeros(1).is_meta and torch.get_default_device() == torch.device("cpu")
    from flambeau.utils._device import DeviceContext

    with DeviceContext("meta"):
        assert torch.ones(1).is_meta
    torch.set_default_device("meta")
    try:
        assert torch.ones(1).is_meta
    finally:
        torch.set_default_device(None)
    assert not torch.ones(1).is_meta


def test_gradients() -> None:
    m = nn.Sequential(
        nn.Conv2d(3, 4, 3, device="meta"), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5, device="meta")
    )
    nn.functional.cross_entropy(m(meta(7, 3, 8, 8)), meta(7, dtype=torch.int64)).backward()
    assert all(p.grad.is_meta and p.grad.shape == p.shape for p in m.parameters())
    torch.optim.SGD(m.parameters(), 0.1, momentum=0.9).step()
    torch.optim.AdamW(m.parameters()).step()
    assert all(p.is_meta for p in m.parameters())
    m(meta(7, 3, 8, 8)).sum().backward()  # accumulates
    x = meta(3, requires_grad=True)
    (g,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    assert torch.autograd.grad(g.sum(), x)[0].is_meta


def test_transforms() -> None:
    w, x = meta(4, 3), meta(5, 3)
    assert torch.func.vmap(lambda row: w @ row)(x).shape == (5, 4)
    assert torch.func.grad(lambda v: (w @ v).sum())(x[0]).shape == (3,)
    assert torch.func.jacrev(lambda v: w @ v)(x[0]).is_meta


def test_modules_move_and_load() -> None:
    source = nn.Linear(2, 3)
    m = nn.Linear(2, 3, device="meta")
    with pytest.raises(NotImplementedError, match="to_empty"):
        m.to("cpu")
    with pytest.warns(UserWarning, match="which is a no-op"):
        m.load_state_dict(source.state_dict())
    assert m.weight.is_meta
    m.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(m.weight, source.weight) and isinstance(m.weight, nn.Parameter)
    m = nn.Linear(2, 3).to("meta")
    assert m.weight.is_meta and m.weight.requires_grad
    m.to_empty(device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m.load_state_dict(source.state_dict())
    assert torch.equal(m(torch.ones(2)), source(torch.ones(2)))
    skipped = nn.utils.skip_init(nn.Linear, 2, 3)
    assert not skipped.weight.is_meta and skipped.weight.shape == (3, 2)


def test_copies_and_files() -> None:
    x = meta(3, 4).T
    x.requires_grad_()
    module = nn.Linear(HUGE, HUGE, device="meta")
    for again in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), _saved(x)):
        assert again.is_meta and again.stride() == (1, 4) and again.requires_grad
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other.weight.is_meta and isinstance(other.weight, nn.Parameter)
    assert _saved(module.state_dict())["weight"].shape == (HUGE, HUGE)
    file = io.BytesIO()
    torch.save(nn.Linear(2, 3).state_dict(), file)
    file.seek(0)
    assert all(t.is_meta for t in torch.load(file, map_location="meta").values())


def _saved(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file)


def test_integers_are_counted_on_other_devices_than_the_cpu() -> None:
    counts = torch.histc(meta(5, dtype=torch.int32), bins=4, min=0, max=3)
    assert counts.is_meta and (tuple(counts.shape), counts.dtype) == ((4,), torch.int32)


def test_swapping() -> None:
    a, b = nn.Parameter(torch.ones(2)), meta(3, requires_grad=True)
    a.grad = torch.zeros(2)
    torch.utils.swap_tensors(a, b)
    assert type(a) is torch.Tensor and a.is_meta and a.requires_grad and a.grad is None
    assert type(b) is nn.Parameter and b.tolist() == [1, 1] and b.grad.tolist() == [0, 0]
    (b * 2).sum().backward()  # the history knows its new owner
    assert b.grad.tolist() == [2, 2]
    view = b.detach()[0:1]
    with pytest.raises(RuntimeError, match="view"):
        torch.utils.swap_tensors(view, torch.ones(1))


def test_conversions_can_make_new_parameters() -> None:
    m = nn.Linear(2, 2)
    before = m.weight
    assert m.double().weight is before
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        assert m.float().weight is not before and isinstance(m.weight, nn.Parameter)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def test_state_of_a_module_in_a_world_of_one() -> None:
    from flambeau.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        set_model_state_dict,
    )

    source, m = nn.Linear(2, 3), nn.Linear(2, 3, device="meta")
    set_model_state_dict(m, get_model_state_dict(source))
    assert torch.equal(m.weight, source.weight)
    with pytest.raises(RuntimeError, match="Missing"):
        set_model_state_dict(m, {"weight": source.weight})
    found = set_model_state_dict(m, {"weight": source.weight}, options=StateDictOptions(strict=False))
    assert found.missing_keys == ["bias"]
