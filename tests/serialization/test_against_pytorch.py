"""Files go both ways between this library and PyTorch."""

from __future__ import annotations

import collections
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serialization_files import array, loaded, saved

import flambeau
from flambeau import serialization
from flambeau.runtime import dtypes

pytorch = pytest.importorskip("torch")


def theirs(obj: Any, **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    pytorch.save(obj, stream, **kwargs)
    return stream.getvalue()


def read_by_them(data: bytes, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pytorch.load(io.BytesIO(data), weights_only=True, **kwargs)


def raw(t: Any) -> bytes:
    """The bytes of a PyTorch tensor's values."""
    return t.contiguous().view(-1).view(pytorch.uint8).numpy().tobytes() if t.numel() else b""


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_every_dtype_both_ways(dtype: Any) -> None:
    data = np.arange(6 * dtype.itemsize, dtype=np.uint8)
    values = (data % 2 if dtype is flambeau.bool else data).view(dtype.numpy).reshape(2, 3)
    there = read_by_them(saved({"t": flambeau.from_numpy(values), "v": flambeau.from_numpy(values)[1]}))
    assert str(there["t"].dtype) == str(dtype) and tuple(there["t"].shape) == (2, 3)
    assert raw(there["t"]) == values.tobytes() and raw(there["v"]) == values[1].tobytes()
    back = loaded(theirs(there))
    assert back["t"].dtype is dtype and back["t"]._a.tobytes() == values.tobytes()
    assert back["v"]._a.tobytes() == values[1].tobytes()


CONTENT: dict[str, Any] = {
    "numbers": [0, -1, 1 << 40, 1 << 200, 1.5, float("inf"), 2 - 3j, True, False, None],
    "text": ("", "Ä\u2603\U0001f600", "x" * 300, b"", b"\x00\xff", bytearray(b"ab"), bytearray()),
    "sets": ({1, 2}, set()),
    3: [[], {}, (), ((),)],
    (1, "a"): collections.OrderedDict(b=1, a=2),
    "counter": collections.Counter("hello"),
}


def test_containers_both_ways() -> None:
    assert read_by_them(saved(CONTENT)) == CONTENT
    assert loaded(theirs(CONTENT)) == CONTENT


def test_torch_values_both_ways() -> None:
    ours = [
        flambeau.Size([2, 3]),
        flambeau.float16,
        flambeau.bool,
        flambeau.device("cpu"),
        flambeau.device("cuda", 1),
    ]
    ours += [flambeau.strided]
    others = [
        pytorch.Size([2, 3]),
        pytorch.float16,
        pytorch.bool,
        pytorch.device("cpu"),
        pytorch.device("cuda", 1),
    ]
    others += [pytorch.strided]
    assert read_by_them(saved(ours)) == others
    back = loaded(theirs(others))
    assert back == ours and type(back[0]) is flambeau.Size


def test_sharing_strides_and_offsets_both_ways() -> None:
    x = flambeau.arange(24.0).view(4, 6)
    there = read_by_them(saved({"x": x, "t": x.t(), "v": x[1:3, ::2]}))
    assert (
        there["t"].stride() == (1, 6) and there["v"].storage_offset() == 6 and there["v"].stride() == (6, 2)
    )
    there["x"].add_(100)
    np.testing.assert_array_equal(there["v"].numpy(), array(x)[1:3, ::2] + 100)
    back = loaded(theirs(there))
    back["x"].add_(1)
    np.testing.assert_array_equal(array(back["v"]), array(x)[1:3, ::2] + 101)
    np.testing.assert_array_equal(array(back["t"]), array(x).T + 101)
    assert tuple(back["v"].stride()) == (6, 2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_strided_views_from_pytorch(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
    t = (
        pytorch.arange(int(np.prod(shape)))
        .reshape(shape)
        .permute(data.draw(st.permutations(range(len(shape)))))
    )
    for dim in range(t.dim()):
        t = t[
            (slice(None),) * dim + (slice(data.draw(st.integers(0, 2)), None, data.draw(st.integers(1, 3))),)
        ]
    if data.draw(st.booleans()):
        t = t.unsqueeze(0).expand(3, *t.shape)
    back = loaded(theirs({"t": t}))["t"]
    assert tuple(back.shape) == tuple(t.shape)
    np.testing.assert_array_equal(array(back), t.numpy())
    again = read_by_them(saved(back))
    assert again.shape == t.shape and bool((again == t).all())


def test_conjugate_and_negative_views() -> None:
    z = pytorch.tensor([1 + 2j, 3 - 4j])
    back = loaded(theirs({"z": z, "c": z.conj(), "i": z.clone().conj().imag}))
    assert array(back["c"]).tolist() == [1 - 2j, 3 + 4j] and array(back["i"]).tolist() == [-2, 4]
    assert back["c"].dtype is flambeau.complex64


def test_gradients_attributes_and_parameters() -> None:
    x = pytorch.ones(2, requires_grad=True)
    x.note = "kept"
    back = loaded(theirs({"x": x, "y": x * 2}))
    assert (
        back["x"].requires_grad and back["x"].is_leaf and back["x"].note == "kept" and back["y"].requires_grad
    )
    there = read_by_them(saved(back))
    assert there["x"].requires_grad and there["x"].note == "kept"


def test_parameters() -> None:
    from flambeau.nn import Parameter

    p = pytorch.nn.Parameter(pytorch.ones(2), requires_grad=False)
    q = pytorch.nn.Parameter(pytorch.ones(2))
    q.tag = 7
    back = loaded(theirs([p, q]))
    assert all(type(b) is Parameter for b in back)
    assert [b.requires_grad for b in back] == [False, True] and back[1].tag == 7
    there = read_by_them(saved(back))
    assert all(type(t) is pytorch.nn.Parameter for t in there)
    assert [t.requires_grad for t in there] == [False, True] and there[1].tag == 7


def test_state_dicts_and_training_state() -> None:
    pytorch.manual_seed(0)
    model = pytorch.nn.Sequential(
        pytorch.nn.Conv2d(1, 2, 3), pytorch.nn.BatchNorm2d(2), pytorch.nn.Linear(2, 2)
    )
    optimizer = pytorch.optim.Adam(model.parameters(), lr=0.1)
    model(pytorch.randn(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": pytorch.get_rng_state(),
    }
    back = loaded(theirs(checkpoint))
    assert back["model"]._metadata == checkpoint["model"]._metadata
    assert back["optimizer"]["param_groups"] == checkpoint["optimizer"]["param_groups"]
    there = read_by_them(saved(back))
    model.load_state_dict(there["model"])
    optimizer.load_state_dict(there["optimizer"])
    pytorch.set_rng_state(there["rng"])
    for key, value in checkpoint["model"].items():
        np.testing.assert_array_equal(array(back["model"][key]), value.numpy())


def test_numpy_values() -> None:
    values = {"a": np.arange(6.0).reshape(2, 3).T, "s": np.float32(1.5), "i": np.int64(3)}
    back = loaded(theirs(values))
    np.testing.assert_array_equal(back["a"], values["a"])
    assert back["s"] == 1.5 and type(back["i"]) is np.int64
    multiarray: Any = np._core.multiarray  # type: ignore[attr-defined]
    allowed = [np.ndarray, np.dtype, multiarray._reconstruct, multiarray.scalar]
    allowed += [np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]
    with pytorch.serialization.safe_globals(allowed):
        there = read_by_them(saved(values))
    np.testing.assert_array_equal(there["a"], values["a"])


def test_one_memory_as_two_dtypes_which_pytorch_itself_refuses_to_write() -> None:
    x = flambeau.arange(4.0)
    there = read_by_them(saved([x, x.view(flambeau.int32)]))
    there[0].zero_()
    assert not there[1].any()


def test_memory_maps_both_ways(tmp_path: Path) -> None:
    x = flambeau.arange(1000.0)
    serialization.save({"x": x}, tmp_path / "ours.pt")
    there = pytorch.load(tmp_path / "ours.pt", mmap=True)
    assert there["x"].tolist() == list(range(1000))
    pytorch.save(there, tmp_path / "theirs.pt")
    back = serialization.load(tmp_path / "theirs.pt", mmap=True)
    assert array(back["x"]).tolist() == list(range(1000))


def test_files_without_check_sums() -> None:
    pytorch.serialization.set_crc32_options(False)
    try:
        data = theirs([pytorch.ones(3)])
    finally:
        pytorch.serialization.set_crc32_options(True)
    assert array(loaded(data)[0]).tolist() == [1, 1, 1]


@pytest.mark.parametrize("weights_only", [True, False])
def test_the_format_before_1_6(weights_only: bool) -> None:
    x = pytorch.arange(12.0).view(3, 4)
    content = {
        "x": x,
        "v": x[1],
        "b": pytorch.tensor([True, False]),
        "h": pytorch.ones(2).half(),
        "n": [1, "a"],
    }
    content["p"] = x.clone().requires_grad_()
    data = theirs(content, _use_new_zipfile_serialization=False)
    back = loaded(data, weights_only=weights_only)
    back["x"].add_(1)
    assert array(back["v"]).tolist() == [5, 6, 7, 8] and back["n"] == [1, "a"] and back["p"].requires_grad
    assert array(back["b"]).tolist() == [True, False] and back["h"].dtype is flambeau.float16


def test_damaged_files_of_the_format_before_1_6() -> None:
    data = theirs({"x": pytorch.arange(12.0), "y": pytorch.ones(3)[1:]}, _use_new_zipfile_serialization=False)
    for length in range(1, len(data)):
        with pytest.raises((RuntimeError, EOFError, ValueError, serialization.UnsafeFileError)):
            loaded(data[:length])
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        try:
            loaded(bytes(damaged))
        except (RuntimeError, EOFError, ValueError, serialization.UnsafeFileError):
            pass


def test_lazily_conjugated_tensors_of_the_format_before_1_6() -> None:
    z = pytorch.tensor([1 + 2j, 3j])
    content = [z, z.conj(), pytorch.nn.Parameter(z)]
    back = loaded(theirs(content, _use_new_zipfile_serialization=False))
    assert [t.tolist() for t in back] == [[1 + 2j, 3j], [1 - 2j, -3j], [1 + 2j, 3j]]
    negative = theirs(z.conj().imag, _use_new_zipfile_serialization=False)
    assert loaded(negative).tolist() == [-2, -3]
    with pytest.raises(serialization.UnsafeFileError, match="conjugated"):
        loaded(theirs(pytorch.nn.Parameter(z.conj()), _use_new_zipfile_serialization=False))


@pytest.mark.parametrize("weights_only", [True, False])
def test_writing_the_format_before_1_6(weights_only: bool) -> None:
    x = flambeau.arange(12.0).view(3, 4)
    content = {
        **{"x": x, "v": x[1], "t": x.t(), "b": flambeau.ones(3).bool(), "h": flambeau.ones(2).bfloat16()},
        **{"p": flambeau.nn.Parameter(flambeau.ones(2)), "n": [1, "a"], "e": flambeau.zeros(0, 2)},
        "od": collections.OrderedDict(a=flambeau.ones(1)),
    }
    stream = io.BytesIO()
    flambeau.save(content, stream, _use_new_zipfile_serialization=False)
    assert stream.getvalue()[:2] != b"PK"
    back = pytorch.load(io.BytesIO(stream.getvalue()), weights_only=weights_only)
    assert list(back) == list(content)
    back["v"].fill_(-1)
    assert back["x"][1].tolist() == [-1] * 4 and back["t"].stride() == (1, 4)
    assert back["b"].tolist() == [True] * 3 and back["h"].dtype is pytorch.bfloat16
    assert isinstance(back["p"], pytorch.nn.Parameter) and back["e"].shape == (0, 2)
    own = loaded(stream.getvalue(), weights_only=weights_only)
    own["v"].fill_(-1)
    assert array(own["x"])[1].tolist() == [-1] * 4


def test_same_exception_types() -> None:
    """For the mistakes that users make, the type is the one that PyTorch raises."""
    good = theirs({"a": pytorch.ones(3)})
    model = theirs(pytorch.nn.Linear(1, 1))
    cases: list[tuple[Any, dict[str, Any]]] = [
        *((lambda d=d: io.BytesIO(d), {}) for d in (b"", b"garbage data", good[:300], good[:-30], model)),
        (lambda: "/nonexistent/x.pt", {}),
        (lambda: good, {}),
        (lambda: io.BytesIO(good), {"map_location": "cuda"}),
        (lambda: io.BytesIO(good), {"mmap": True}),
        (lambda: io.BytesIO(good), {"pickle_module": __import__("pickle"), "weights_only": True}),
    ]
    for make, kwargs in cases:
        with pytest.raises(Exception) as expected:
            pytorch.load(make(), **kwargs)
        with pytest.raises(expected.type):
            serialization.load(make(), **kwargs)
