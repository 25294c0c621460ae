"""``pickle.load`` of what PyTorch pickled, with flambeau standing in for torch."""

from __future__ import annotations

import base64
import io
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

import flambeau
from flambeau.serialization import plain
from flambeau.stand_in import standing_in

# pickle.dumps(torch.arange(4.)[1:], protocol=2) of PyTorch 2.13, compressed
WRITTEN = (
    "eNptUE1PAjEQ3S9AqxCv3DziZSNkhXjSg+Gy8Wu99GKapVuhZt0ybZcEExIuGPU3+AP0J5h4Wv6YbSDxYjPpTN+8vOmbpUe1kHQS"
    "klLzXCEi2ajkeUY0K5SQZNZD4HS2HGVSOmaI5CLNyIMUT2Q010whcCmhImNUIVbYAoGH267jVEuvekf5+qf6GK6/Dx+rz5t2aMDL"
    "9Zdv88KI4wPHcaZSaEFFTmZMKi4KcC0FN00r51rnjLAi42kBXvWKkUH1fMqI4s9Mgb+AoINrBlQTITXUYg/75sULDfU4wIEVEcUY"
    "GnFQlnZsBzcse2MHnI09NDS29N3WI7i4ZTin0SDqnkSDXrd/3I9gI0ynJfhxcKUhuLVy9+D8R3bT0I7+O9XyzNznJs7Bx3X7rVTz"
    "ogvBC9QSqK+gkcBO7Mb+CnZjdwXojZqd5IxqsxKFrmXGJMsuONUI9o4S2NfQTKAV/gJTnIZe"
)


def read(data: bytes) -> Any:
    with standing_in():
        return pickle.loads(data)


def test_a_pickle_of_pytorch() -> None:
    x = read(zlib.decompress(base64.b64decode(WRITTEN)))
    assert type(x) is flambeau.Tensor and x.dtype == flambeau.float32 and x.tolist() == [1.0, 2.0, 3.0]
    assert x.storage_offset() == 1 and x.untyped_storage().nbytes() == 16
    x.add_(1)
    assert x.tolist() == [2.0, 3.0, 4.0]


def test_pickles_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tagged = torch.arange(3)
    tagged.tag = "a"
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    values = {
        "transposed": torch.arange(6.0).reshape(2, 3).t(),
        **{
            "half": torch.ones(2, dtype=torch.bfloat16),
            "complex": torch.full((2,), 1 + 2j),
            "empty": torch.empty(0, 2),
        },
        **{
            "conjugated": torch.tensor([1 + 2j]).conj(),
            "tagged": tagged,
            "bool": torch.tensor([True, False]),
        },
        "parameter": torch.nn.Parameter(torch.ones(2), requires_grad=False),
    }
    for protocol in (2, 5):
        got = read(pickle.dumps(values, protocol))
        assert all(type(v) in (flambeau.Tensor, flambeau.nn.Parameter) for v in got.values())
        for name, x in values.items():
            y = got[name]
            assert y.tolist() == x.tolist() and str(y.dtype) == str(x.dtype) and y.stride() == x.stride(), (
                name
            )
            assert y.requires_grad is x.requires_grad
        assert got["tagged"].tag == "a" and type(got["parameter"]) is flambeau.nn.Parameter
        inputs = [[1.0, 2.0, 3.0], [0.0, 1.0, 5.0]]
        ours = read(pickle.dumps(model.eval(), protocol))(flambeau.tensor(inputs))
        assert ours.flatten().tolist() == pytest.approx(model(torch.tensor(inputs)).flatten().tolist())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.25)
    assert read(pickle.dumps(optimizer)).param_groups[0]["lr"] == 0.25
    for storage in (torch.ones(2).untyped_storage(), torch.ones(2).storage()):
        assert read(pickle.dumps(storage)).tolist() == storage.tolist()
        for legacy in (False, True):
            torch.save(storage, tmp_path / "s.pt", _use_new_zipfile_serialization=not legacy)
            kinds = [type(flambeau.load(tmp_path / "s.pt", weights_only=w)).__name__ for w in (True, False)]
            assert kinds == [type(storage).__name__] * 2
            assert flambeau.load(tmp_path / "s.pt").tolist() == storage.tolist()


def test_damaged_pieces_are_refused() -> None:
    storage = flambeau.arange(4.0).storage()
    x = plain.rebuild_tensor(storage, 1, (2,), (2,))
    assert x.tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match="require a storage of 20 bytes"):
        plain.rebuild_tensor(storage, 2, (2,), (2,))
    with pytest.raises(ValueError, match="must be ints >= 0"):
        plain.rebuild_tensor(storage, -1, (2,), (2,))
    with pytest.raises(TypeError, match="a storage was expected, not list"):
        plain.rebuild_tensor([1.0], 0, (1,), (1,))
    with pytest.raises(ValueError, match="hooks"):
        plain.rebuild_tensor_v2(storage, 0, (1,), (1,), False, {"a": 1})
    with pytest.raises(EOFError):
        plain.load_from_bytes(b"")
    file = io.BytesIO()
    flambeau.save({"a": 1}, file)
    assert plain.load_from_bytes(file.getvalue()) == {"a": 1}
