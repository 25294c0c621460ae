"""NumPy's files: the same arrays both ways, and nothing believed that damaged or hostile files say."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.serialization import CorruptFileError, UnsafeFileError, load_npz, save_npz


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def archive(path: Path, entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as z:
        for name, content in entries:
            z.writestr(name, content)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_round_trip_and_numpy(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    x = torch.arange(12.0).reshape(3, 4)
    tensors = {"x": x, "t": x.t(), "part/s": torch.tensor(2.5), "empty": torch.zeros(0, 3), "file": x > 3}
    for name in ("uint8", "int16", "uint64", "float16", "float64", "complex64", "complex128"):
        tensors[name] = torch.arange(4).to(getattr(torch, name))
    tensors["p"] = torch.nn.Parameter(torch.ones(2))
    save_npz(tensors, path, compressed=compressed)
    back = load_npz(path)
    with np.load(path) as numpys:
        assert list(back) == list(tensors) == list(numpys)
        for name, t in tensors.items():
            assert back[name].dtype is t.dtype
            assert type(back[name]) is torch.Tensor
            np.testing.assert_array_equal(back[name].numpy(), t.detach().numpy())
            np.testing.assert_array_equal(numpys[name], t.detach().numpy())
    back["t"].add_(1)  # memory of its own
    assert x[0, 0] == 0


def test_what_numpy_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    arrays = {
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(3, dtype=">f4"),
        "s": np.float32(1),
    }
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    for name, t in load_npz(str(path)).items():
        np.testing.assert_array_equal(t.numpy(), arrays[name])
    assert load_npz(path)["f"].stride() == (1, 2)


def test_bad_arguments(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for tensors, error, reason in (
        ([torch.ones(1)], TypeError, "dict"),
        ({"a": 3}, TypeError, "values tensors"),
        ({"": torch.ones(1)}, ValueError, "name"),
        ({"h": torch.ones(1).bfloat16()}, TypeError, "bfloat16"),
    ):
        with pytest.raises(error, match=reason):
            save_npz(tensors, path)  # type: ignore[arg-type]
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        load_npz(path)


def test_every_truncation_and_every_flipped_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_npz({"a": torch.arange(3.0), "b": torch.ones(2, dtype=torch.bool)}, path, compressed=True)
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(CorruptFileError, match="a.npz"):
            load_npz(path)
    for i in range(len(good)):
        path.write_bytes(good[:i] + bytes([good[i] ^ 0x41]) + good[i + 1 :])
        try:
            load_npz(path)  # a name or a date, which no check sum covers
        except (CorruptFileError, UnsafeFileError) as e:
            assert "a.npz" in str(e)


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header("(3,)") + b"\0" * 8, "does not fit its 8 bytes"),
        (header("(1,)") + b"\0" * 8, "does not fit"),
        (header("(1 << 62, 8)") + b"\0" * 8, "Cannot parse|malformed|shape"),
        (header("(4611686018427387904, 4)") + b"\0" * 8, "does not fit"),
        (header("(-1, -2)") + b"\0" * 8, "does not fit|shape"),
        (header("(2,)", "'<U1'") + b"\0" * 8, "dtype <U1"),
        (header("(1,)", "[('a', '<f4'), ('b', '<f4')]") + b"\0" * 8, "dtype"),
        (header("__import__('os').abort()") + b"\0" * 8, "a.npy"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 100, "version|magic"),
        (b"garbage", "a.npy"),
        (b"", "a.npy"),
    ],
)
def test_hostile_headers(tmp_path: Path, content: bytes, reason: str) -> None:
    path = archive(tmp_path / "bad.npz", [("a.npy", content)])
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match=reason) as caught:
            load_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert "bad.npz" in str(caught.value) and "a.npy" in str(caught.value)


def test_pickles_are_refused(tmp_path: Path) -> None:
    content = npy(np.array([print], object), allow_pickle=True)
    with pytest.raises(UnsafeFileError, match="Python objects"):
        load_npz(archive(tmp_path / "a.npz", [("a.npy", content)]))


def test_bombs(tmp_path: Path) -> None:
    content = npy(np.zeros(9_000_000, np.float64))
    path = archive(tmp_path / "bomb.npz", [("a.npy", content)], zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match="unpacks to 72000128 bytes.*max_bytes"):
            load_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert load_npz(path, max_bytes=len(content))["a"].shape == (9_000_000,)


def test_names(tmp_path: Path) -> None:
    one = npy(np.ones(1))
    with pytest.warns(UserWarning, match="Duplicate"):
        path = archive(tmp_path / "a.npz", [("a.npy", one), ("a.npy", one)])
    with pytest.raises(CorruptFileError, match="twice"):
        load_npz(path)
    with pytest.raises(CorruptFileError, match="twice"):
        load_npz(archive(tmp_path / "a.npz", [("a.npy", one), ("a", one)]))
    path = archive(tmp_path / "a.npz", [("../../etc/passwd.npy", one), ("/root.npy", one)])
    assert list(load_npz(path)) == ["../../etc/passwd", "/root"]  # names only: nothing is written anywhere
    with pytest.raises(CorruptFileError, match="method 14"):
        load_npz(archive(tmp_path / "a.npz", [("a.npy", one)], zipfile.ZIP_LZMA))
    (tmp_path / "a.npz").write_bytes(one)
    with pytest.raises(CorruptFileError, match="no .npz file"):
        load_npz(tmp_path / "a.npz")
