"""DLPack with NumPy, and with PyTorch and JAX where they are installed: memory is shared, whatever the dtype."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import flambeau as torch

DTYPES = [
    *(
        "bool",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "bfloat16",
    ),
    *("float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
]


def views(dtype: Any) -> list[Any]:
    t = torch.arange(6).reshape(2, 3).to(dtype)
    return [t, t.t(), t[:, ::2], t[1], t[0, 0], t[:0], t[:, :1].expand(2, 4)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 2)])
def test_capsules_come_back_as_they_were(dtype: str, version: Any) -> None:
    for view in views(getattr(torch, dtype)):
        back = torch.from_dlpack(view.__dlpack__(max_version=version))
        assert back.dtype is view.dtype
        assert back.shape == view.shape
        assert back.tolist() == view.tolist()
        assert back.data_ptr() == view.data_ptr()
        if 0 not in view.stride():
            back.zero_()
            assert not view.to(torch.complex64).abs().any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_pytorch_both_ways(dtype: str) -> None:
    other = pytest.importorskip("torch", reason="PyTorch is not installed")
    for view in views(getattr(torch, dtype)):
        theirs = other.from_dlpack(view)
        assert theirs.dtype is getattr(other, dtype)
        assert tuple(theirs.shape) == view.shape
        if theirs.numel() > 1 and 0 not in theirs.shape and 1 not in theirs.shape:
            assert theirs.stride() == view.stride()
        ours = torch.from_dlpack(theirs)
        assert ours.data_ptr() == view.data_ptr()
        assert ours.dtype is view.dtype
        assert ours.tolist() == view.tolist()
        assert ours.to(torch.complex64).tolist() == theirs.to(other.complex64).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_jax_both_ways(dtype: str) -> None:
    jnp = pytest.importorskip("jax.numpy", reason="JAX is not installed")
    if dtype in ("int64", "uint64", "float64", "complex128"):
        pytest.skip("JAX holds 64-bit numbers only when told to at its start")
    ours = torch.arange(6).to(getattr(torch, dtype)).reshape(2, 3)
    theirs = jnp.from_dlpack(ours)
    assert str(theirs.dtype) == dtype
    back = torch.from_dlpack(theirs)
    assert back.dtype is ours.dtype
    assert back.tolist() == ours.tolist()
    assert torch.asarray(theirs).tolist() == ours.tolist()


def test_numpy_both_ways() -> None:
    t = torch.arange(3.0)
    a = np.from_dlpack(t)
    a[0] = 9
    assert t.tolist() == [9, 1, 2]
    torch.from_dlpack(a).add_(1)
    assert t.tolist() == [10, 2, 3]
    assert not np.shares_memory(np.from_dlpack(t, copy=True), a)
    assert np.shares_memory(np.from_dlpack(t, copy=False), a)
    assert not np.shares_memory(torch.from_dlpack(a, copy=True).numpy(), a)
    assert np.shares_memory(torch.from_dlpack(a, copy=False, device="cpu").numpy(), a)


def test_memory_outlives_its_owner() -> None:
    for version in (None, (1, 0)):
        back = torch.from_dlpack(torch.arange(100_000).to(torch.bfloat16).__dlpack__(max_version=version))
        gc.collect()
        _ = [torch.zeros(100_000, dtype=torch.bfloat16) for _ in range(4)]
        assert back[-1].item() == torch.tensor(99_999).to(torch.bfloat16).item()
    t = torch.arange(3)
    capsule = t.__dlpack__()
    del t, capsule  # never used: freed with the capsule


def test_read_only_memory() -> None:
    a = np.arange(3.0)
    a.flags.writeable = False
    t = torch.from_dlpack(a)
    with pytest.raises(RuntimeError, match="read-only"):
        t.add_(1)
    assert np.from_dlpack(t).flags.writeable is False
    with pytest.raises(BufferError, match="readonly"):
        t.__dlpack__()  # a consumer without versions would write
    assert torch.from_dlpack(a, copy=True).add_(1).tolist() == [1, 2, 3]


def test_producers_of_an_older_protocol() -> None:
    class Old:
        def __dlpack__(self, stream: Any = None) -> Any:
            return torch.arange(3).__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    t = torch.from_dlpack(Old())
    assert t.add_(1).tolist() == [1, 2, 3]
    assert torch.from_dlpack(Old(), copy=True).tolist() == [0, 1, 2]
    assert torch.as_tensor(Old()).tolist() == [0, 1, 2]


def test_refusals() -> None:
    with pytest.raises(BufferError, match="gradient"):
        torch.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="gradient"):
        torch.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(BufferError, match=r"\(2, 0\)"):
        torch.ones(2).__dlpack__(dl_device=(2, 0))
    with pytest.raises(AssertionError, match="stream"):
        torch.ones(2).__dlpack__(stream=5)
    with pytest.raises(TypeError, match="stream"):
        torch.ones(2).__dlpack__(stream="main")
    capsule = torch.ones(2).__dlpack__()
    torch.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="only once"):
        torch.from_dlpack(capsule)
    with pytest.raises(TypeError, match="list"):
        torch.from_dlpack([1, 2])

    class Elsewhere:
        def __dlpack__(self, **options: Any) -> Any:
            raise AssertionError("not to be asked")

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 1)

    with pytest.raises(BufferError, match=r"\(2, 1\)"):
        torch.from_dlpack(Elsewhere())
    assert torch.ones(2).__dlpack_device__() == (1, 0)


def test_inside_a_transform() -> None:
    with pytest.raises(RuntimeError, match="vmap"):
        torch.vmap(lambda r: torch.from_dlpack(r))(torch.ones(2, 2))


def test_the_buffer_protocol_is_numpys() -> None:
    """As in PyTorch: ``memoryview(t)`` is refused, ``memoryview(t.numpy())`` shares the memory."""
    t = torch.zeros(2)
    with pytest.raises(TypeError):
        memoryview(t)  # type: ignore[arg-type]
    memoryview(t.numpy())[0] = 5.0
    assert t.tolist() == [5, 0]


def test_capsules_by_hand() -> None:
    t = torch.zeros(2)
    capsule = torch.utils.dlpack.to_dlpack(t)
    torch.utils.dlpack.from_dlpack(capsule).fill_(3)
    assert t.tolist() == [3, 3]
    assert t.__dlpack_device__()[0] == torch.utils.dlpack.DLDeviceType.kDLCPU
    assert type(torch.to_dlpack(t)) is type(capsule)
