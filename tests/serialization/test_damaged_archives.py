"""Archives that are truncated, altered, inconsistent, or meant to confuse."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serialization_files import archive, array, loaded, saved, tensor

import flambeau as torch
from flambeau.runtime import pool
from flambeau.serialization import CorruptFileError
from flambeau.serialization import archive as container

ERRORS = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError)
CONTENT = {"x": torch.arange(100.0), "y": [1, "two"], "z": torch.ones(3, dtype=torch.int64)}
FILE = saved(CONTENT)
FLOATS = np.arange(6, dtype=np.float32).tobytes()
HONEST = archive(tensor(6, 0, (6,), (1,)), {"data/0": FLOATS})


def test_every_truncation() -> None:
    for length in range(len(FILE)):
        with pytest.raises(ERRORS):
            loaded(FILE[:length])
    with pytest.raises(EOFError, match="empty"):
        loaded(b"")
    with pytest.raises(CorruptFileError, match="central directory"):
        loaded(FILE[: len(FILE) // 2])


def test_every_flipped_byte_is_noticed_or_harmless() -> None:
    """The check sums cover the data; a change elsewhere gives an error or the same content."""
    for position in range(len(FILE)):
        damaged = bytearray(FILE)
        damaged[position] ^= 0x41
        try:
            back = loaded(bytes(damaged))
        except ERRORS:
            continue
        assert back["y"] == CONTENT["y"] and list(back) == list(CONTENT)
        for key in ("x", "z"):
            np.testing.assert_array_equal(array(back[key]), array(CONTENT[key]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_damage(data: Any) -> None:
    damaged = bytearray(FILE)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 4))
        damaged[at : at + 4] = data.draw(st.binary(min_size=0, max_size=8))
    pool.empty_cache()
    pool.reset_peak_memory_stats()
    try:
        loaded(bytes(damaged))
    except ERRORS:
        pass
    assert pool.memory_stats()["reserved_bytes.all.peak"] <= 1 << 20


def test_check_sums(tmp_path: Path) -> None:
    at = FILE.index(np.arange(100, dtype=np.float32).tobytes()[8:])
    damaged = bytearray(FILE)
    damaged[at + 50] ^= 1
    with pytest.raises(CorruptFileError, match="entry 'data/0': the data are damaged"):
        loaded(bytes(damaged))


def test_messages_name_file_and_entry(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(archive(tensor(6, 0, (6,), (1,))))
    with pytest.raises(RuntimeError, match=r"model\.pt: entry 'data/0': it is missing"):
        torch.serialization.load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entries_are_refused(method: int) -> None:
    bomb = archive(tensor(1 << 24, 0, (1,), (1,)), {"data/0": bytes(1 << 26)}, method)
    assert len(bomb) < 1 << 20
    with pytest.raises(CorruptFileError, match="compressed"):
        loaded(bomb)


def patched(data: bytes, entry: str, field: str, value: int) -> bytes:
    """Change a field in the central directory's record of an entry."""
    offset, layout = {
        **{"flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<I"), "packed": (20, "<I")},
        **{"full": (24, "<I"), "header": (42, "<I")},
    }[field]
    start = 0
    while True:
        start = data.index(b"PK\x01\x02", start)
        length = struct.unpack_from("<H", data, start + 28)[0]
        if data[start + 46 : start + 46 + length].endswith(entry.encode()):
            changed = bytearray(data)
            struct.pack_into(layout, changed, start + offset, value)
            return bytes(changed)
        start += 4


def header_of(data: bytes, entry: str) -> int:
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        return z.getinfo(f"archive/{entry}").header_offset


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("flags", 1, "encrypted"),
        ("method", 8, "compressed"),
        ("crc", 12345, "damaged"),
        ("packed", 23, "differs"),
        ("full", 25, "differs"),
        ("header", 0xFFFFFFF0, "overlap"),
        ("header", 0, "overlap"),
        ("header", 0xFFFFFFFF, "ZIP64"),
        ("full", 0xFFFFFFFF, "ZIP64"),
    ],
)
def test_inconsistent_directory(field: str, value: int, reason: str) -> None:
    assert array(loaded(HONEST)).tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(CorruptFileError, match=reason):
        loaded(patched(HONEST, "data/0", field, value))


def test_sizes_beyond_the_file() -> None:
    big = patched(patched(HONEST, "data/0", "packed", 1 << 31), "data/0", "full", 1 << 31)
    with pytest.raises(CorruptFileError, match="overlap"):
        loaded(big)


def test_entries_may_not_share_data() -> None:
    """The trick of non-recursive ZIP bombs: many directory records for one piece of data."""
    data = archive(tensor(6, 0, (6,), (1,)), {"data/0": FLOATS, "data/1": FLOATS})
    with pytest.raises(CorruptFileError, match="overlap"):
        loaded(patched(data, "data/1", "header", header_of(data, "data/0")))


@pytest.mark.parametrize(
    "names",
    [
        ["archive/data.pkl", "archive/../evil"],
        ["archive/data.pkl", "archive//x"],
        ["archive/data.pkl", "/etc/passwd"],
        ["archive/data.pkl", "archive/a\\b"],
        ["archive/data.pkl", "other/x"],
        ["archive/data.pkl", "./x"],
        ["data.pkl"],
        ["../data.pkl"],
    ],
)
def test_names_must_be_plain(names: list[str]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as z:
        for entry in names:
            z.writestr(entry, b"\x80\x02N.")
    with pytest.raises(CorruptFileError, match="name|folder"):
        loaded(stream.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_must_be_unique() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as z:
        z.writestr("archive/data.pkl", b"\x80\x02N.")
        z.writestr("archive/data.pkl", b"\x80\x02K\x01.")
    with pytest.raises(CorruptFileError, match="twice"):
        loaded(stream.getvalue())


@pytest.mark.parametrize(("offset", "value"), [(0, b"XX"), (8, b"\x08"), (18, b"\x07"), (30, b"Z")])
def test_local_headers_must_agree(offset: int, value: bytes) -> None:
    at = header_of(HONEST, "data/0") + offset
    with pytest.raises(CorruptFileError, match="entry 'data/0': its local header"):
        loaded(HONEST[:at] + value + HONEST[at + len(value) :])


def test_extra_field_may_not_move_the_data_into_the_next_entry() -> None:
    at = header_of(HONEST, "data/0") + 28
    with pytest.raises(CorruptFileError, match="reach"):
        loaded(HONEST[:at] + b"\x10\x00" + HONEST[at + 2 :])


@pytest.mark.parametrize(
    ("version", "good"), [(b"1\n", True), (b"10", True), (b"11", False), (b"0", False), (b"x", False)]
)
def test_versions(version: bytes, good: bool) -> None:
    stream = io.BytesIO()
    container.write_archive(stream, "archive", [("data.pkl", b"\x80\x02N."), ("version", version)])
    if good:
        assert loaded(stream.getvalue()) is None
    else:
        with pytest.raises(CorruptFileError, match="version"):
            loaded(stream.getvalue())


def test_other_archives() -> None:
    stream = io.BytesIO()
    container.write_archive(
        stream, "archive", [("data.pkl", b"\x80\x02N."), ("constants.pkl", b"\x80\x02N.")]
    )
    with pytest.raises(RuntimeError, match="TorchScript"):
        loaded(stream.getvalue())
    stream = io.BytesIO()
    container.write_archive(stream, "archive", [("other", b"")])
    with pytest.raises(CorruptFileError, match=r"data\.pkl"):
        loaded(stream.getvalue())


def test_foreign_files() -> None:
    with pytest.raises(pickle.UnpicklingError, match="Unsupported operand"):
        loaded(b"garbage data")
    with pytest.raises(RuntimeError, match="magic number"):
        loaded(pickle.dumps({"a": 1}, 2))
    with pytest.raises(ERRORS):
        loaded(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ERRORS):
        loaded(b"\x80\x02")


def test_files_without_check_sums_load() -> None:
    """PyTorch's set_crc32_options(False) writes zeros."""
    data = HONEST
    for entry in ("data.pkl", "version", "data/0"):
        data = patched(data, entry, "crc", 0)
    assert array(loaded(data)).tolist() == [0, 1, 2, 3, 4, 5]


def test_folders_listed_by_other_tools_are_ignored() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as z:
        z.writestr("archive/", b"")
        z.writestr("archive/data.pkl", b"\x80\x02K\x07.")
    assert loaded(stream.getvalue()) == 7


def test_zip64_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for files beyond 4 GiB, with the boundary moved so that the test stays small."""
    monkeypatch.setattr(container, "_U32", 150)
    stream = io.BytesIO()
    entries = [("data.pkl", b"\x80\x02N."), ("data/0", bytes(range(200))), ("data/1", b"tail")]
    container.write_archive(stream, "archive", entries)
    reader = container.ArchiveReader(stream, "test")
    assert [reader.read(n) for n, _ in entries] == [d for _, d in entries]


def test_more_entries_than_16_bits_count() -> None:
    stream = io.BytesIO()
    container.write_archive(stream, "a", ((f"d/{i}", b"") for i in range(70_000)))
    assert len(container.ArchiveReader(stream, "test").entries) == 70_000
    with zipfile.ZipFile(stream) as z:
        assert len(z.namelist()) == 70_000


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("abc/é", min_size=1, max_size=8), st.binary(max_size=200), max_size=6))
def test_written_archives_are_plain_zip_files(content: dict[str, bytes]) -> None:
    names = {n for n in content if all(n.split("/"))}
    stream = io.BytesIO()
    container.write_archive(stream, "top", ((n, content[n]) for n in names))
    with zipfile.ZipFile(stream) as z:
        assert z.testzip() is None
        assert {n: z.read(f"top/{n}") for n in names} == {n: content[n] for n in names}
    reader = container.ArchiveReader(stream, "test")
    assert {n: reader.read(n) for n in reader.entries} == {n: content[n] for n in names}
    assert {n: reader.data(n).tobytes() for n in names} == {n: content[n] for n in names}


def test_memory_stays_within_the_files_size() -> None:
    """Whatever sizes a damaged file announces, what is asked for stays in proportion to the file."""
    rng = np.random.default_rng(0)
    for legacy in (False, True):
        stream = io.BytesIO()
        content = {"a": torch.arange(1000.0), "b": [torch.ones(300).bool(), torch.arange(9)[2:]], "n": "text"}
        torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
        good = stream.getvalue()
        torch.load(io.BytesIO(good))
        tracemalloc.start()
        try:
            for _ in range(400):
                damaged = bytearray(good)
                for _ in range(rng.integers(1, 4)):
                    at = int(rng.integers(0, min(len(good), 700)))
                    damaged[at : at + 4] = rng.bytes(4)
                data = bytes(damaged)
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                try:
                    torch.load(io.BytesIO(data))
                except (RuntimeError, EOFError, pickle.UnpicklingError):
                    pass
                assert tracemalloc.get_traced_memory()[1] - before < 8 * len(good) + 100_000
        finally:
            tracemalloc.stop()
