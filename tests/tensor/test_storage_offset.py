"""Where views begin in their storage, and that all ways to the memory agree on it: beside PyTorch."""

from __future__ import annotations

import copy
import io
import pickle
import sys
from typing import Any

import numpy as np
import pytest

import flambeau


def _geometry(t: Any) -> tuple[Any, ...]:
    return t.storage_offset(), tuple(t.stride()), t.untyped_storage().nbytes(), t.tolist()


def _through_a_file(torch: Any, x: Any) -> Any:
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file)


def _views(torch: Any) -> list[Any]:
    x = torch.arange(12.0).view(3, 4)
    v = x[1:, 1:]
    p = torch.nn.Parameter(v)
    z = (torch.ones(4, requires_grad=True) * 2)[1:]
    found = [v, v.detach(), v.data, p, p.data, v.detach()[:, 1:], v.view_as(v), z, z.detach(), z.data]
    found += [copy.deepcopy(v), copy.deepcopy(p), pickle.loads(pickle.dumps(v)), _through_a_file(torch, v)]
    found += [*copy.deepcopy((x, v)), *_through_a_file(torch, (x, v)), *x.detach().unbind(1)]
    a = np.arange(12.0).reshape(3, 4)
    found += [torch.from_numpy(a[1:]), torch.from_numpy(a[1:, 1]), torch.from_numpy(a)[1:].detach()]
    return [_geometry(t) for t in found]


def test_offsets_beside_pytorch() -> None:
    assert _views(flambeau) == _views(pytest.importorskip("torch"))


def _as_strided(torch: Any) -> list[Any]:
    """Views by geometry of views that know no base: they reach all of the storage, and write to it."""
    x = torch.arange(12.0).view(3, 4)
    v = x[1:, 1:].detach()
    w = v.as_strided((2, 2), (1, 1))
    seen = [w.storage_offset(), w.tolist()]
    w.zero_()
    seen.append(x.tolist())
    u = v.as_strided((3,), (2,), 0)
    u.fill_(7)
    seen += [u.storage_offset(), x.tolist(), v._version == x._version]
    (y,) = copy.deepcopy((v,))
    y.as_strided((4,), (1,), 1).add_(1)
    seen += [y.tolist(), y.as_strided((12,), (1,), 0).tolist()]
    part = torch.from_numpy(np.arange(6.0)[2:])
    seen += [part.as_strided((2,), (2,)).tolist()]
    for bad in ((13, 0), (1, 12)):
        with pytest.raises(RuntimeError):
            v.as_strided((bad[0],), (1,), bad[1])
    with pytest.raises(RuntimeError):
        part.as_strided((5,), (1,))
    return seen


def test_views_by_geometry_beside_pytorch() -> None:
    assert _as_strided(flambeau) == _as_strided(pytest.importorskip("torch"))


def test_writes_are_noticed_through_views_by_geometry() -> None:
    x = flambeau.ones(4, requires_grad=True)
    y = x * 1
    z = y.sin()
    y[1:].detach().as_strided((2,), (1,), 0).zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_views_in_place_of_memory_that_cannot_be_written() -> None:
    x = flambeau.zeros(3).expand(2, 3)
    assert x.unsqueeze_(0).shape == (1, 2, 3) and x.squeeze_(0).t_().shape == (3, 2)
    with pytest.raises(RuntimeError, match="single memory location"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        flambeau.zeros(3, requires_grad=True).unsqueeze_(0)


def test_size_of_storages() -> None:
    x, empty = flambeau.ones(10), flambeau.ones(0)
    assert sys.getsizeof(x.untyped_storage()) - sys.getsizeof(empty.untyped_storage()) == 40
    assert sys.getsizeof(x.storage()) - sys.getsizeof(empty.storage()) == 40
