"""Every operation on meta tensors: shape, dtype and strides of what it gives on tensors with data."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from battery import calls
from battery.sample import Sample
from flambeau.core import meta_shapes

SAMPLES = [s for s in calls.all_samples() if s.arrays]
# Their results depend on values.
BY_VALUES = {"nonzero", "argwhere", "bincount", "weighted_bincount", "if_full_rank"}
# They run on zeros and ones while these are small, and are refused else.
SMALL_ONLY = {"ctc_loss", "ctc_loss_grad", "histogram"}


def layouts(result: Any) -> list[Any]:
    found = result if isinstance(result, tuple) else (result,)
    return [(tuple(t.shape), t.dtype, t.stride()) for t in found]


@pytest.mark.parametrize("s", SAMPLES, ids=lambda s: s.key)
def test_layouts_are_those_with_data(s: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_shapes, "_learnt", {})
    if s.op not in SMALL_ONLY:
        monkeypatch.setattr(meta_shapes, "SMALL", -1)  # every size is cut, and nothing runs as it is
    real = s.tensors() if s.prepare is None else list(s.prepare(*s.tensors()))
    meta = [t.to("meta") if isinstance(t, torch.Tensor) else t for t in real]
    if s.op in BY_VALUES:
        with pytest.raises(NotImplementedError, match=s.op):
            s.definition(*meta, **s.parameters())
        return
    got = s.definition(*meta, **s.parameters())
    assert all(t.is_meta for t in (got if isinstance(got, tuple) else (got,)))
    assert layouts(got) == layouts(s.definition(*real, **s.parameters()))


@pytest.mark.parametrize("name", sorted(SMALL_ONLY))
def test_what_has_no_rule_is_refused_when_large(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_shapes, "SMALL", -1)
    monkeypatch.setattr(meta_shapes, "_learnt", {})
    s = next(s for s in SAMPLES if s.op == name)
    real = s.tensors() if s.prepare is None else list(s.prepare(*s.tensors()))
    meta = [t.to("meta") if isinstance(t, torch.Tensor) else t for t in real]
    with pytest.raises(NotImplementedError, match=rf"{name}: attempted to run.*device='cpu'"):
        s.definition(*meta, **s.parameters())
