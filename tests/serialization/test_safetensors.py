"""The safetensors format."""

from __future__ import annotations

import importlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serialization_files import array

import flambeau as torch
from flambeau.runtime import dtypes
from flambeau.serialization import CorruptFileError, load_safetensors, save_safetensors


def test_message_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ImportError, match="pip install safetensors"):
        load_safetensors(tmp_path / "x")


class TestWithTheLibrary:
    @pytest.fixture(autouse=True)
    def library(self) -> Any:
        return pytest.importorskip("safetensors")

    def test_round_trip(self, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        x = torch.arange(6.0).view(2, 3)
        tensors = {"x": x, "t": x.t(), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3)}
        for d in dtypes.ALL:
            if d is not dtypes.complex128:
                tensors[d.name] = torch.from_numpy(np.ones(3).astype(d.numpy))
        save_safetensors(tensors, path, {"author": "us"})
        back = load_safetensors(str(path))
        assert set(back) == set(tensors)
        for name, t in tensors.items():
            assert back[name].dtype is t.dtype and back[name].shape == t.shape
            np.testing.assert_array_equal(back[name]._a, t._a)
        back["x"].add_(1)  # memory of its own
        assert array(x)[0, 0] == 0

    def test_agrees_with_the_library(self, tmp_path: Path) -> None:
        numpy = pytest.importorskip("safetensors.numpy")
        values = np.arange(6, dtype=np.float32).reshape(2, 3)
        save_safetensors({"a": torch.from_numpy(values).t()}, tmp_path / "a")
        np.testing.assert_array_equal(numpy.load_file(tmp_path / "a")["a"], values.T)
        numpy.save_file({"a": values}, tmp_path / "b")
        np.testing.assert_array_equal(array(load_safetensors(tmp_path / "b")["a"]), values)

    def test_bad_input(self, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        with pytest.raises(TypeError, match="dict"):
            save_safetensors([torch.ones(1)], path)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="values tensors"):
            save_safetensors({"a": 3}, path)
        with pytest.raises(TypeError, match="metadata"):
            save_safetensors({}, path, {"a": 1})  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="complex128"):
            save_safetensors({"a": torch.ones(1, dtype=torch.complex128)}, path)
        assert not path.exists()
        with pytest.raises(FileNotFoundError):
            load_safetensors(path)

    def test_damaged_files(self, tmp_path: Path) -> None:
        path = tmp_path / "x.safetensors"
        save_safetensors({"a": torch.ones(3)}, path)
        good = path.read_bytes()
        for length in range(len(good)):
            path.write_bytes(good[:length])
            with pytest.raises(CorruptFileError, match="x.safetensors"):
                load_safetensors(path)

    @pytest.mark.parametrize(
        "header",
        [
            '{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}',
            '{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,12]}}',
            '{"a":{"dtype":"F32","shape":[-3],"data_offsets":[0,12]}}',
            '{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,99999999999]}}',
            '{"a":{"dtype":"F32","shape":[3],"data_offsets":[12,0]}}',
            '{"a":{"dtype":"F99","shape":[3],"data_offsets":[0,12]}}',
            '{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}',
            '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            "[1, 2]",
            "{" * 1000,
            "",
        ],
    )
    def test_hostile_headers(self, tmp_path: Path, header: str) -> None:
        path = tmp_path / "x.safetensors"
        for length in (len(header), 1 << 40, (1 << 64) - 1):
            path.write_bytes(length.to_bytes(8, "little") + header.encode() + bytes(12))
            tracemalloc.start()
            try:
                with pytest.raises(CorruptFileError, match="x.safetensors"):
                    load_safetensors(path)
                assert tracemalloc.get_traced_memory()[1] < 100_000
            finally:
                tracemalloc.stop()
