"""What is saved comes back: values, types, sharing, layout."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serialization_files import array, loaded, saved

import flambeau as torch
from flambeau import serialization
from flambeau.runtime import dtypes


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_every_dtype(dtype: Any, shape: tuple[int, ...]) -> None:
    raw = np.arange(int(np.prod(shape)) * dtype.itemsize, dtype=np.uint8)
    values = (raw % 2 if dtype is torch.bool else raw).view(dtype.numpy).reshape(shape)
    back = loaded(saved(torch.from_numpy(values) if shape else torch.tensor(0).to(dtype)))
    assert type(back) is torch.Tensor and back.dtype is dtype and tuple(back.shape) == shape
    if shape:
        assert back._a.tobytes() == values.tobytes()


def test_containers_and_values() -> None:
    original = {
        "numbers": [0, -1, 1 << 40, 1 << 200, 1.5, float("inf"), 2 - 3j, True, False, None],
        "text": ("", "Ä\u2603\U0001f600", "x" * 300, b"", b"\x00\xff", bytearray(b"ab")),
        "sets": ({1, 2}, frozenset({3}), set()),
        3: [[], {}, (), ((),)],
        (1, "a"): collections.OrderedDict(b=1, a=2),
        "counter": collections.Counter("hello"),
        "torch": (
            torch.Size([2, 3]),
            torch.float16,
            torch.bool,
            torch.device("cpu"),
            torch.device("cuda", 1),
        ),
        "numpy": (np.float32(1.5), np.int64(-3), np.bool_(True), np.complex64(1j)),
    }
    back = loaded(saved(original))
    assert back == original and list(back) == list(original)
    assert [type(v) for v in back["numbers"]] == [type(v) for v in original["numbers"]]
    assert [type(v) for v in back["text"]] == [type(v) for v in original["text"]]
    assert type(back["torch"][0]) is torch.Size and back["torch"][1] is torch.float16
    assert [type(v) for v in back["numpy"]] == [type(v) for v in original["numpy"]]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6).reshape(2, 3),
        np.float32(range(6)).reshape(2, 3).T,
        np.array(["ab", "c"]),
        np.array([b"x"]),
    ]
    + [np.arange(3, dtype=">i4"), np.zeros((0, 2)), np.array(3.5), np.array([True])],
)
def test_numpy_arrays(values: Any) -> None:
    back = loaded(saved({"a": values}))["a"]
    assert (
        type(back) is np.ndarray
        and back.dtype == values.dtype.newbyteorder("=")
        and back.shape == values.shape
    )
    np.testing.assert_array_equal(back, values)


def test_shared_and_recursive_structure() -> None:
    inner = [1]
    outer: Any = {"a": inner, "b": inner}
    outer["self"] = outer
    x = torch.ones(3)
    outer["x"], outer["y"] = x, x
    back = loaded(saved(outer))
    assert back["a"] is back["b"] and back["self"] is back and back["x"] is back["y"]


def test_views_share_storage_and_version_counter() -> None:
    x = torch.arange(12.0).view(3, 4)
    back = loaded(saved({"x": x, "t": x.t(), "row": x[1], "step": x[:, ::2]}))
    assert tuple(back["t"].stride()) == (1, 4) and tuple(back["step"].stride()) == (4, 2)
    back["x"].add_(100)
    for name, view in {"t": x.t(), "row": x[1], "step": x[:, ::2]}.items():
        np.testing.assert_array_equal(array(back[name]), array(view) + 100)
    assert back["row"]._version == back["x"]._version == 1


def test_the_whole_storage_is_written_once(tmp_path: Path) -> None:
    x = torch.zeros(1000)
    with zipfile.ZipFile(io.BytesIO(saved([x[i : i + 3] for i in range(50)]))) as z:
        sizes = [i.file_size for i in z.infolist() if i.filename.startswith("archive/data/")]
    assert sizes == [4000]


def test_same_memory_as_two_dtypes() -> None:
    x = torch.arange(4.0)
    back = loaded(saved([x, x.view(torch.int32), x.view(torch.uint8)]))
    back[0].zero_()
    assert [t.dtype for t in back] == [torch.float32, torch.int32, torch.uint8]
    assert not array(back[1]).any() and not array(back[2]).any()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_strided_view(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(0, 4), max_size=4))
    base = np.arange(
        int(np.prod(shape)), dtype=data.draw(st.sampled_from([np.int16, np.float64, np.complex64]))
    )
    view = base.reshape(shape).transpose(data.draw(st.permutations(range(len(shape)))))
    view = view[
        (..., *(slice(data.draw(st.integers(0, 2)), None, data.draw(st.integers(1, 3))) for _ in view.shape))
    ]
    t = torch.from_numpy(view) if view.size else torch.from_numpy(view.copy())
    back = loaded(saved({"t": t}))["t"]
    assert back.dtype is t.dtype
    np.testing.assert_array_equal(array(back), view)


def test_layouts_that_have_no_strides_in_elements_are_copied() -> None:
    raw = np.zeros(41, np.uint8)
    odd = raw[1:].view(np.float32)  # misaligned within its storage
    odd[:] = range(10)
    t = torch.from_numpy(np.zeros(10, np.float32))
    t._a = odd[::-1]
    np.testing.assert_array_equal(array(loaded(saved(t))), np.arange(9.0, -1, -1))


def test_requires_grad_and_leaves() -> None:
    x = torch.ones(2, requires_grad=True)
    back = loaded(saved([x, x.detach(), x * 2]))
    assert [t.requires_grad for t in back] == [True, False, True]
    assert all(t.is_leaf for t in back)


def test_python_attributes_of_tensors() -> None:
    x = torch.ones(2)
    x.note = {"a": [1, 2]}
    assert loaded(saved(x)).note == {"a": [1, 2]}


def test_state_dict_with_metadata() -> None:
    state: Any = collections.OrderedDict(weight=torch.ones(2, 2), bias=torch.zeros(2))
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    back = loaded(saved(state))
    assert type(back) is collections.OrderedDict and back._metadata == state._metadata
    assert list(back) == ["weight", "bias"]


def test_parameters_modules_and_optimizers() -> None:
    from flambeau import nn, optim

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 3)).pow(2).mean().backward()
        optimizer.step()
    checkpoint = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "p": model[0].weight,
        "epoch": 3,
    }
    back = loaded(saved(checkpoint))
    assert type(back["p"]) is nn.Parameter and back["p"].requires_grad and back["epoch"] == 3
    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    twin.load_state_dict(back["model"])
    twin_optimizer = optim.Adam(twin.parameters(), lr=0.5)
    twin_optimizer.load_state_dict(back["optimizer"])
    x = torch.randn(8, 3)
    for net, opt in ((model, optimizer), (twin, twin_optimizer)):
        opt.zero_grad()
        net(x).pow(2).mean().backward()
        opt.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(array(a), array(b))


def test_whole_modules_need_trust() -> None:
    from flambeau import nn

    data = saved(nn.Linear(2, 2))
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.nn\.modules\.linear\.Linear"):
        loaded(data)
    assert type(loaded(data, weights_only=False)) is nn.Linear
    assert serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol: int) -> None:
    original = {
        "x": torch.arange(3),
        "b": b"ab",
        "s": {1},
        "f": frozenset({2}),
        "a": bytearray(b"q"),
        "t": "text" * 99,
    }
    back = loaded(saved(original, pickle_protocol=protocol))
    assert array(back.pop("x")).tolist() == [0, 1, 2]
    del original["x"]
    assert back == original


# -- files and streams


@pytest.mark.parametrize("kind", [str, Path])
def test_paths(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "my model (1).pt"
    torch.serialization.save({"x": torch.ones(2)}, path)
    assert array(torch.serialization.load(kind(str(path)))["x"]).tolist() == [1, 1]
    with zipfile.ZipFile(path) as z:
        assert z.testzip() is None
        assert z.namelist() == [f"my model 1/{n}" for n in ("data.pkl", "byteorder", "data/0", "version")]


def test_storages_are_aligned_and_equal_content_gives_equal_files() -> None:
    content = {"a": torch.ones(3), "b": torch.zeros(5, dtype=torch.uint8), "c": torch.ones(70)}
    data = saved(content)
    assert data == saved(content)
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        for info in z.infolist():
            lengths = data[info.header_offset + 26 : info.header_offset + 30]
            start = (
                info.header_offset
                + 30
                + int.from_bytes(lengths[:2], "little")
                + int.from_bytes(lengths[2:], "little")
            )
            assert start % 64 == 0


def test_mmap_is_private(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    x = torch.arange(1000.0)
    torch.serialization.save({"x": x, "y": x[10:20]}, path)
    before = path.read_bytes()
    back = torch.serialization.load(path, mmap=True)
    back["x"].add_(1)
    assert array(back["y"]).tolist() == list(range(11, 21))
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="file path"):
        loaded(before, mmap=True)


def test_streams(tmp_path: Path) -> None:
    class Minimal:
        """Only what the documentation asks for."""

        def __init__(self, data: bytes) -> None:
            self.inner = io.BytesIO(data)
            self.read, self.seek, self.tell = self.inner.read, self.inner.seek, self.inner.tell

    data = saved([torch.arange(5)])
    assert array(torch.serialization.load(Minimal(data))[0]).tolist() == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    stream = io.BytesIO(b"prefix" + data)
    stream.seek(6)
    assert array(torch.serialization.load(stream)[0]).tolist() == [0, 1, 2, 3, 4]
    with open(tmp_path / "x.pt", "wb") as f:
        torch.serialization.save(torch.ones(1), f)
    with open(tmp_path / "x.pt", "rb") as f:
        assert array(torch.serialization.load(f)).tolist() == [1]


def test_bad_targets_and_arguments(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="write"):
        torch.serialization.save({}, 3)
    with pytest.raises(AttributeError, match="BytesIO"):
        torch.serialization.load(b"PK")
    with pytest.raises(TypeError, match="'wb'"):
        torch.serialization.save({}, io.StringIO())
    with pytest.raises(TypeError, match="'rb'"):
        torch.serialization.load(io.StringIO())
    with pytest.raises(FileNotFoundError):
        torch.serialization.load(tmp_path / "absent.pt")
    with pytest.raises(RuntimeError, match="pickle_module"):
        loaded(saved({}), pickle_module=pickle)
    with pytest.raises(TypeError, match="map_location"):
        loaded(saved({}), map_location=3)
    assert loaded(saved({}), pickle_module=pickle, weights_only=False) == {}


def test_what_cannot_be_pickled_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.serialization.save([1], path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        torch.serialization.save([lambda: 0], path)
    assert torch.serialization.load(path) == [1]


def test_map_location() -> None:
    data = saved({"x": torch.ones(2)})
    calls = []

    def keep(storage: Any, location: str) -> Any:
        calls.append((storage.nbytes(), location))
        return storage

    for where in ("cpu", torch.device("cpu"), {"cpu": "cpu"}, keep, lambda s, location: None):
        assert array(loaded(data, map_location=where)["x"]).tolist() == [1, 1]
    assert calls == [(8, "cpu")]
    for where in ("cuda", torch.device("cuda:1"), {"cpu": "cuda:0"}):
        with pytest.raises(RuntimeError, match="CUDA device"):
            loaded(data, map_location=where)
    with pytest.raises(RuntimeError, match="nowhere"):
        loaded(data, map_location="nowhere")
    with pytest.raises(RuntimeError, match="map_location must return"):
        loaded(data, map_location=lambda s, location: 3)


def test_user_allowed_classes() -> None:
    data = saved({"p": Point(1, 2), "d": collections.defaultdict(list, a=[1])})
    with pytest.raises(serialization.UnsafeFileError, match="add_safe_globals"):
        loaded(data)
    assert set(serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))) == {
        f"{__name__}.Point",
        "collections.defaultdict",
        "__builtin__.list",
    }
    with serialization.safe_globals([Point, collections.defaultdict, list]):
        back = loaded(data)
        assert len(serialization.get_safe_globals()) == 3
    assert (back["p"].x, back["p"].y) == (1, 2) and back["d"]["a"] == [1] and back["d"]["new"] == []
    assert serialization.get_safe_globals() == []
    with pytest.raises(ValueError, match="length 1"):
        serialization.add_safe_globals([(Point,)])  # type: ignore[list-item]
    with serialization.safe_globals([(Point, "elsewhere.Renamed")]):
        assert loaded(saved({"a": 1})) == {"a": 1}
        assert serialization.get_safe_globals() == [(Point, "elsewhere.Renamed")]


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y


def test_byte_order_setting() -> None:
    assert serialization.get_default_load_endianness() is None
    serialization.set_default_load_endianness(serialization.LoadEndianness.BIG)
    try:
        assert serialization.get_default_load_endianness() is serialization.LoadEndianness.BIG
        assert array(loaded(saved(torch.ones(2)))).tolist() == [
            1,
            1,
        ]  # files that state theirs are not affected
    finally:
        serialization.set_default_load_endianness(None)
    with pytest.raises(TypeError):
        serialization.set_default_load_endianness("big")  # type: ignore[arg-type]
