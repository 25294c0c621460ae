"""Storages over files."""

from __future__ import annotations

from pathlib import Path

import pytest

import flambeau as torch


def test_private_and_shared(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(8)))
    private = torch.UntypedStorage.from_file(path, False, 8)
    assert private.filename == str(path)
    t = torch.asarray(private[4:8], dtype=torch.uint8)
    assert t.tolist() == [4, 5, 6, 7]
    t.fill_(9)
    assert private.tolist() == [0, 1, 2, 3, 9, 9, 9, 9]
    assert path.read_bytes() == bytes(range(8))
    shared = torch.UntypedStorage.from_file(str(path), True, 12)
    torch.from_dlpack(shared).fill_(1)
    assert path.read_bytes() == b"\1" * 12
    made = torch.UntypedStorage.from_file(tmp_path / "new", True, 4)
    assert made.tolist() == [0] * 4


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"abc")
    with pytest.raises(RuntimeError, match="has 3 bytes, fewer than 4"):
        torch.UntypedStorage.from_file(path, False, 4)
    with pytest.raises(ValueError, match="negative"):
        torch.UntypedStorage.from_file(path, False, -1)
    with pytest.raises(FileNotFoundError):
        torch.UntypedStorage.from_file(tmp_path / "absent", False, 1)
    assert len(torch.UntypedStorage.from_file(path)) == 0
