"""Private names of PyTorch that libraries import or call: those of ``torch._C._nn``, of its compiler, of its containers."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.stand_in import standing_in


def test_names_inside_import() -> None:
    with standing_in():
        import torch
        from torch._C._nn import gelu
        from torch._dynamo.eval_frame import is_dynamo_supported
        from torch._dynamo.utils import warn_once
        from torch.ao.quantization import FakeQuantizeBase, ObserverBase
        from torch.distributions.transforms import _clipped_sigmoid
        from torch.utils._pytree import _namedtuple_flatten, _namedtuple_unflatten
        from torch.utils.checkpoint import get_device_states, set_device_states

        assert gelu is torch.nn.functional.gelu and is_dynamo_supported()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for _ in range(2):
                warn_once("said once")
        assert [str(w.message) for w in seen] == ["said once"]
        for cls in (FakeQuantizeBase, ObserverBase):
            assert not isinstance(torch.nn.Linear(1, 1), cls)
            with pytest.raises(RuntimeError, match="absent"):
                cls()
        point = collections.namedtuple("point", "x y")(1, 2)
        assert _namedtuple_unflatten(*_namedtuple_flatten(point)) == point
        states = get_device_states(torch.ones(2))
        set_device_states(*states)
        with pytest.raises(RuntimeError, match="accelerators"):
            set_device_states([0], [torch.get_rng_state()])
        ends = _clipped_sigmoid(torch.tensor([-1e4, 1e4]))
        assert ends[0] > 0 and ends[1] < 1


@pytest.mark.parametrize(
    "name, args, kwargs",
    [
        ("upsample_nearest2d", ([8, 8],), {}),
        ("upsample_nearest2d", (None, [2.0, 2.0]), {}),
        ("upsample_nearest2d", ([8, 12], 2.0, 3.0), {}),
        ("upsample_bilinear2d", ([7, 5], True), {}),
        ("upsample_bilinear2d", ([7, 5], False, None, None), {}),
        ("upsample_bilinear2d", (), {"output_size": [7, 5], "align_corners": True}),
        ("upsample_bicubic2d", (None, False, [1.5, 2.5]), {}),
    ],
)
def test_resizing_by_the_names_of_the_binding(name: str, args: Any, kwargs: Any) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 4))
    ours = getattr(flambeau._C._nn, name)(flambeau.tensor(x), *args, **kwargs)
    theirs = getattr(torch._C._nn, name)(torch.tensor(x), *args, **kwargs)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-12)


def test_factors_that_contradict_the_size() -> None:
    with pytest.raises(ValueError, match=r"output_size \[9, 8\] is not \[8, 8\]"):
        flambeau._C._nn.upsample_nearest2d(flambeau.ones(1, 1, 4, 4), [9, 8], 2.0, 2.0)


def test_absent_names_inside() -> None:
    with pytest.raises(AttributeError, match="compatibility"):
        flambeau._C._nn.slow_conv3d  # noqa: B018
    with pytest.raises(AttributeError, match="compatibility"):
        flambeau._C.no_such_thing  # noqa: B018
