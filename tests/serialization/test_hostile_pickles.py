"""Pickles made to do harm: each is refused with a clear error, nothing runs, nothing large is allocated."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serialization_files import archive, array, loaded, name, number, numbers, saved, storage, tensor, text

import flambeau as torch
from flambeau.runtime import pool
from flambeau.serialization import CorruptFileError, UnsafeFileError

P = b"\x80\x02"
ERRORS = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError)


class Runs:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("echo pwned > {marker}",)),
        (exec, ("open(r'{marker}', 'w').close()",)),
        (eval, ("open(r'{marker}', 'w')",)),
        (open, ("{marker}", "w")),
        (subprocess.call, ("touch {marker}",)),
        (__import__, ("antigravity",)),
        (getattr, ("text", "upper")),
        (os.mkdir, ("{marker}",)),
        (Path.touch, (Path("{marker}"),)),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_calls_are_refused(tmp_path: Path, protocol: int, function: Any, arguments: Any) -> None:
    marker = tmp_path / "marker"
    arguments = [type(a)(str(a).format(marker=marker)) if isinstance(a, str | Path) else a for a in arguments]
    data = archive(pickle.dumps({"x": Runs(function, *arguments)}, protocol))
    with pytest.raises(UnsafeFileError, match="not allowed by default|blocked module"):
        loaded(data)
    assert not marker.exists()


def test_calls_run_only_with_weights_only_false(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = archive(pickle.dumps(Runs(os.mkdir, str(marker)), 2))
    loaded(data, weights_only=False)
    assert marker.exists()


REFUSED = {
    "builtins by another way": name("__builtin__", "getattr") + b")R.",
    "attribute path": name("torch", "serialization.pickle.loads") + b")R.",
    "private module": name("torch._utils", "os.system") + text("id") + b"\x85R.",
    "our own internals": name("flambeau.serialization.pickles", "importlib") + b".",
    "call a string": text("print") + text("x") + b"\x85R.",
    "call a dtype": name("torch", "float32") + b")R.",
    "call the memo of a set": b"\x8f)R.",
    "call with arguments that are no tuple": name("collections", "OrderedDict") + b"]R.",
    "instantiate the tensor class": name("torch", "Tensor") + b")\x81.",
    "state of a list": b"]}b.",
    "state replaces a method": name("collections", "OrderedDict") + b")R}" + text("items") + b"Nsb.",
    "state replaces a special name": name("collections", "OrderedDict")
    + b")R}"
    + text("__class__")
    + b"Nsb.",
    "state is a list": name("collections", "OrderedDict") + b")R]b.",
    "INST opcode": b"(ios\nsystem\n.",
    "OBJ opcode": b"(" + name("os", "getcwd") + b"o.",
    "EXT opcode": b"\x82\x01.",
    "NEWOBJ_EX": name("collections", "OrderedDict") + b")}\x92.",
    "text PERSID": b"Pabc\n.",
    "out-of-band buffer": b"\x97.",
    "persistent id of another kind": text("module") + b"\x85Q.",
    "persistent id that is no tuple": b"]Q.",
    "persistent id with a foreign type": b"("
    + text("storage")
    + text("F")
    + text("0")
    + text("cpu")
    + b"K\x01tQ.",
    "constructor as a value": b"]" + name("builtins", "set") + b"a.",
    "constructor as a key": b"}" + name("builtins", "set") + b"Ns.",
    "storage type as a value": name("torch", "FloatStorage") + b".",
    "unhashable key": b"}]Ns.",
    "unhashable member": b"\x8f(]\x90.",
    "append to a dict": b"}Na.",
    "items of a list": b"]NNs.",
    "odd items": b"}(Nu.",
    "empty stack": b".",
    "pop nothing": b"0.",
    "no mark": b"t.",
    "item beyond the mark": b"](a.",
    "memo that was never set": b"h\x07.",
    "long memo that was never set": b"j\xff\xff\xff\xff.",
    "put without a value": b"q\x01.",
    "bad utf-8": b"X\x01\x00\x00\x00\xff.",
    "protocol from the future": b"\x80\x7f.",
    "unknown opcode": b"\xff.",
    "stack global of numbers": b"K\x01K\x01\x93.",
    "bytearray of a size": name("builtins", "bytearray") + number(1 << 40) + b"\x85R.",
    "bytes of a size": name("builtins", "bytes") + number(1 << 40) + b"\x85R.",
    "set of a string": name("builtins", "set") + text("abc") + b"\x85R.",
    "complex of text": name("builtins", "complex") + text("1") + b"\x85R.",
    "codec": name("_codecs", "encode") + text("a") + text("zip") + b"\x86R.",
    "Size of text": name("torch", "Size") + text("ab") + b"\x85R.",
    "Size of bools": name("torch", "Size") + b"\x88\x85\x85R.",
    "unknown device": name("torch", "device") + text("toaster") + b"\x85R.",
    "sparse tensor": name("torch._utils", "_rebuild_sparse_tensor") + b")R.",
    "Counter of pairs": name("collections", "Counter") + b"]\x85R.",
    "OrderedDict of singles": name("collections", "OrderedDict") + b"]]a\x85R.",
    "too many arguments": name("torch", "Size") + b")))\x87R.",
}


@pytest.mark.parametrize("how", REFUSED, ids=str)
def test_malformed_and_disallowed_pickles(how: str) -> None:
    with pytest.raises(UnsafeFileError, match="Weights only load failed for <BytesIO>: .{5}"):
        loaded(archive(P + REFUSED[how]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"]",
        b"X\x05\x00\x00\x00ab",
        b"K",
        b"cos",
        b"\x8a\x05a",
        b"X\xff\xff\xff\xffab.",
        b"\x8e" + b"\xff" * 8,
        b"\x95ab",
    ],
)
def test_truncated_pickles(body: bytes) -> None:
    with pytest.raises(EOFError, match="<BytesIO>"):
        loaded(archive(P + body))


# -- bombs


def peak_of(data: bytes) -> int:
    """Bytes allocated at most while the file is refused."""
    pool.empty_cache()
    pool.reset_peak_memory_stats()
    before = pool.memory_stats()["reserved_bytes.all.current"]
    tracemalloc.start()
    try:
        with pytest.raises(ERRORS):
            loaded(data)
        traced = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return traced + pool.memory_stats()["reserved_bytes.all.peak"] - before


def test_copies_cannot_add_up() -> None:
    many = 20_000
    long_tuple = b"(" + b"K\x01" * many + b"tq\x000"
    copies = name("torch", "Size") + b"q\x010(" + b"h\x01h\x00\x85R" * 5_000 + b"t."
    data = archive(P + long_tuple + copies)
    assert peak_of(data) < 64 * len(data)


@pytest.mark.parametrize("wrap", [b"\x85", b"\x86", b"\x87"])
def test_shared_tuples_as_keys_take_bounded_time(wrap: bytes) -> None:
    """Hashing (t, t) with shared parts 60 levels deep would take 2**60 steps."""
    repeat = {b"\x85": 1, b"\x86": 2, b"\x87": 3}[wrap]
    level = b"q\x000" + b"h\x00" * repeat + wrap
    with pytest.raises(UnsafeFileError, match="deep|copies"):
        loaded(archive(P + b"}K\x01\x85" + level * 60 + b"Ns."))


def test_messages_about_shared_values_stay_short() -> None:
    dag = b"K\x01\x85" + b"q\x000h\x00h\x00\x86" * 80
    for use in (b"Q.", b"}b.", name("torch", "float32") + b"\x86R."):
        with pytest.raises(UnsafeFileError) as caught:
            loaded(archive(P + dag + use))
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("item", [b"\x85", b"q\x000]h\x00a", b"q\x000}Nh\x00s"])
def test_deep_nesting(item: bytes) -> None:
    with pytest.raises(UnsafeFileError, match="nested more than 1000 levels"):
        loaded(archive(P + b")" + item * 200_000 + b"."))
    assert loaded(archive(P + b")" + item * 500 + b".")) is not None


def test_recursive_structures_are_fine() -> None:
    back = loaded(archive(P + b"]q\x00h\x00a."))
    assert back[0] is back


# -- tensors that do not fit their storage

FLOATS = np.arange(6, dtype=np.float32).tobytes()


def test_the_honest_tensor_loads() -> None:
    t = loaded(archive(tensor(6, 1, (2, 2), (2, 1)), {"data/0": FLOATS}))
    assert array(t).tolist() == [[1, 2], [3, 4]]
    t = loaded(archive(tensor(6, 5, (1000, 1000), (0, 0), grad=True), {"data/0": FLOATS}))
    assert t.requires_grad and float(array(t)[999, 999]) == 5


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (6, (1,), (1,)),
        (0, (2, 4), (3, 1)),
        (0, (2,), (6,)),
        (0, (2,), (1 << 62,)),
        (0, (1 << 62,), (0,)),
        (1 << 62, (1,), (1,)),
        (-1, (1,), (1,)),
        (5, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (2, 2), (1,)),
        (0, (1,) * 65, (1,) * 65),
        (0, (1 << 100,), (1,)),
        (0, (1 << 62, 0, 1 << 62), (1, 1, 1)),
    ],
)
def test_bad_geometry(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    data = archive(tensor(6, offset, size, stride), {"data/0": FLOATS})
    with pytest.raises(UnsafeFileError, match="storage|stride|dimension|too big|array size"):
        loaded(data)
    assert peak_of(data) < 1 << 20


@given(st.integers(-2, 8), st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 7)), max_size=3))
@settings(max_examples=150, deadline=None)
def test_no_element_outside_the_storage_is_ever_reachable(offset: int, dims: list[tuple[int, int]]) -> None:
    size, stride = tuple(n for n, _ in dims), tuple(s for _, s in dims)
    legal = offset >= 0 and all(n >= 0 and s >= 0 for n, s in dims)
    last = offset + sum((n - 1) * s for n, s in dims)
    data = archive(tensor(6, offset, size, stride), {"data/0": FLOATS})
    if legal and (0 in size or last < 6):
        values = array(loaded(data))
        assert values.shape == size
        for index in np.ndindex(*size):
            assert values[index] == offset + sum(i * s for i, s in zip(index, stride, strict=True))
    else:
        with pytest.raises(UnsafeFileError):
            loaded(data)


@pytest.mark.parametrize(
    ("count", "entries", "reason"),
    [
        (6, {}, "missing"),
        (6, {"data/0": FLOATS[:-1]}, "23 bytes"),
        (5, {"data/0": FLOATS}, "24 bytes"),
        (1 << 60, {"data/0": FLOATS}, "24 bytes"),
        (1 << 200, {"data/0": FLOATS}, "24 bytes"),
        (-6, {"data/0": FLOATS}, "impossible size"),
    ],
)
def test_storage_sizes_are_checked_before_allocation(
    count: int, entries: dict[str, bytes], reason: str
) -> None:
    data = archive(tensor(count, 0, (1,), (1,)), entries)
    with pytest.raises((CorruptFileError, UnsafeFileError), match=reason):
        loaded(data)
    assert peak_of(data) < 1 << 20


def test_one_storage_with_two_sizes() -> None:
    both = b"(" + storage(6) + storage(3) + b"t."
    with pytest.raises(CorruptFileError, match="24 bytes where 3 x 4"):
        loaded(archive(P + both, {"data/0": FLOATS}))


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "0/../0", "", "data.pkl", "\0", "C:\\x"])
def test_storage_keys_name_entries_only(key: str) -> None:
    with pytest.raises(CorruptFileError, match="missing"):
        loaded(archive(tensor(6, 0, (1,), (1,), key=key), {"data/0": FLOATS}))


def test_bools_are_made_clean() -> None:
    t = loaded(archive(tensor(4, 0, (4,), (1,), kind="BoolStorage"), {"data/0": b"\x00\x01\x02\xff"}))
    assert array(t).view(np.uint8).tolist() == [0, 1, 1, 1]


def test_integers_cannot_require_grad() -> None:
    with pytest.raises(UnsafeFileError, match="cannot require gradients"):
        loaded(archive(tensor(3, 0, (1,), (1,), grad=True, kind="LongStorage"), {"data/0": FLOATS}))


def test_another_byte_order() -> None:
    big = np.arange(6, dtype=">f4").tobytes()
    entries = {"data/0": big, "byteorder": b"big"}
    assert array(loaded(archive(tensor(6, 0, (6,), (1,)), entries))).tolist() == [0, 1, 2, 3, 4, 5]
    pairs = np.array([1 + 2j, 3 - 4j], ">c8").tobytes()
    entries = {"data/0": pairs, "byteorder": b"big"}
    data = archive(tensor(2, 0, (2,), (1,), kind="ComplexFloatStorage"), entries)
    assert array(loaded(data)).tolist() == [1 + 2j, 3 - 4j]
    with pytest.raises(ValueError, match="endianness"):
        loaded(archive(tensor(6, 0, (6,), (1,)), {"data/0": big, "byteorder": b"middle"}))


# -- NumPy values

SCALAR = name("numpy._core.multiarray", "scalar")
DTYPE = name("numpy", "dtype")
EMPTY = (
    name("numpy._core.multiarray", "_reconstruct")
    + name("numpy", "ndarray")
    + numbers(0)
    + name("_codecs", "encode")
    + text("b")
    + text("latin1")
    + b"\x86R\x87R"
)


def dtype(code: str) -> bytes:
    return DTYPE + text(code) + b"\x89\x88\x87R"


def state(shape: tuple[int, ...], code: str, data: bytes) -> bytes:
    return (
        b"(K\x01"
        + numbers(*shape)
        + dtype(code)
        + b"\x89"
        + b"B"
        + len(data).to_bytes(4, "little")
        + data
        + b"tb."
    )


def test_the_honest_array_loads() -> None:
    assert loaded(archive(P + EMPTY + state((2, 3), "f4", FLOATS))).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "body",
    [
        dtype("O") + b".",
        dtype("O8") + b".",
        dtype("V8") + b".",
        dtype("M8[ns]") + b".",
        dtype("f4,i4") + b".",
        dtype("(1000000000,)f8") + b".",
        dtype("S99999999999") + b".",
        dtype("f3") + b".",
        DTYPE + b"]\x89\x88\x87R.",
        dtype("f8") + b"(K\x03" + text("<") + b"NNN" + number(-1) + number(-1) + b"K?tb.",
        dtype("f8") + b"(K\x03" + text("<") + numbers(1) + b"NN" + number(-1) + number(-1) + b"K\x00tb.",
        dtype("f8") + b"(K\x03" + text("<") + b"NNN" + number(1 << 30) + number(-1) + b"K\x00tb.",
        SCALAR + dtype("f8") + text("x") + b"\x86R.",
        SCALAR + dtype("S10") + b"C\x02ab" + b"\x86R.",
        EMPTY + state((2, 4), "f4", FLOATS),
        EMPTY + state((1 << 40, 1 << 40), "f4", FLOATS),
        EMPTY + state((-2, -3), "f4", FLOATS),
        EMPTY + state((0, 1 << 62), "f4", b""),
        EMPTY + state((0,) * 40, "f4", b""),
        EMPTY + b"]b.",
        name("numpy", "ndarray") + numbers(1 << 40) + b"\x85R.",
        name("numpy", "memmap") + text("/etc/passwd") + b"\x85R.",
        name("numpy", "load") + text("/etc/passwd") + b"\x85R.",
    ],
)
def test_hostile_numpy_values(body: bytes) -> None:
    data = archive(P + body)
    with pytest.raises(UnsafeFileError):
        loaded(data)
    assert peak_of(data) < 1 << 20


def test_arrays_where_text_or_numbers_are_expected() -> None:
    with pytest.raises(UnsafeFileError, match="persistent"):
        loaded(archive(P + b"(" + EMPTY + b"NNNNtQ."))
    with pytest.raises(CorruptFileError, match="magic"):
        loaded(P + EMPTY + b".")


def test_object_arrays_are_refused() -> None:
    data = saved({"a": np.array([print], dtype=object)})
    with pytest.raises(UnsafeFileError):
        loaded(data)


def test_errors_of_the_users_own_functions_come_through() -> None:
    def fail(storage: Any, location: str) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        loaded(saved(torch.ones(1)), map_location=fail)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_as_pickle(body: bytes) -> None:
    try:
        loaded(archive(P + body + b"."))
    except ERRORS:
        pass


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_pickles(data: Any) -> None:
    """Any change of a real pickle gives a value or one of the documented errors."""
    body = bytearray(TEMPLATE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        action = data.draw(st.sampled_from(["set", "delete", "insert", "copy"]))
        if action == "set":
            body[at] = data.draw(st.integers(0, 255))
        elif action == "delete":
            del body[at]
        elif action == "insert":
            body.insert(at, data.draw(st.integers(0, 255)))
        else:
            body[at:at] = body[at : at + 20]
    try:
        loaded(archive(bytes(body), {"data/0": FLOATS, "data/1": FLOATS}))
    except ERRORS:
        pass


def _template() -> bytes:
    x = torch.arange(6.0)
    content = {"x": x, "v": x[1:], "n": np.arange(3), "s": torch.Size([1]), "d": torch.float16, "k": {1, 2}}
    with zipfile.ZipFile(io.BytesIO(saved(content))) as z:
        return z.read("archive/data.pkl")


TEMPLATE = _template()
