"""Private names of PyTorch that libraries import or call: those of ``torch._C._nn``, of its compiler, of its containers."""

from __future__ import annotations

import collections
import importlib
import pickle
import warnings
from pathlib import Path
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


def test_names_of_libraries_that_trace_and_count() -> None:
    with standing_in():
        import torch
        from torch._C import Value
        from torch._subclasses.fake_tensor import unset_fake_temporarily
        from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass

        class Counter(TorchDispatchMode):
            pass

        with pytest.raises(NotImplementedError, match="TorchFunctionMode"), Counter():
            pass
        with pytest.raises(RuntimeError, match="TorchScript"):
            Value()
        assert not is_traceable_wrapper_subclass(torch.ones(1)) and not torch.cuda._initialized
        with unset_fake_temporarily():
            assert torch.ones(1).item() == 1
        assert torch._has_compatible_shallow_copy_type(torch.ones(2), torch.ones(3))
        assert not torch._has_compatible_shallow_copy_type(torch.ones(2), torch.eye(2).to_sparse())


def test_hooks_are_seen() -> None:
    x = flambeau.ones(2, requires_grad=True)
    assert x._backward_hooks is None
    handle = x.register_hook(lambda g: None)
    assert len(x._backward_hooks) == 1
    handle.remove()
    assert not x._backward_hooks


def test_tensors_have_pytorchs_module_while_standing_in() -> None:
    before = flambeau.Tensor.__module__, flambeau.nn.Parameter.__module__
    with standing_in():
        import torch

        assert str(torch.Tensor) == "<class 'torch.Tensor'>"
        assert torch.nn.Parameter.__module__ == "torch.nn.parameter"
        kinds = pickle.loads(pickle.dumps([torch.Tensor, torch.nn.Parameter]))
        assert kinds == [torch.Tensor, torch.nn.Parameter]
    assert (flambeau.Tensor.__module__, flambeau.nn.Parameter.__module__) == before


def test_storages_of_one_dtype() -> None:
    made = flambeau.FloatStorage(3)
    assert len(made) == 3 and made.dtype is flambeau.float32
    assert isinstance(flambeau.ones(2).storage(), flambeau.FloatStorage)
    assert not isinstance(flambeau.ones(2).double().storage(), flambeau.FloatStorage)
    assert flambeau.LongStorage([1, 2]).tolist() == [1, 2]


def test_tensors_are_loaded_when_they_are_used(tmp_path: Path) -> None:
    # As lightning does: a tensor without memory first, and the record of its storage later.
    values = flambeau.arange(6.0).reshape(2, 3)
    flambeau.save(values, tmp_path / "x.pt")
    reader = flambeau.PyTorchFileReader(str(tmp_path / "x.pt"))
    empty = flambeau.TypedStorage(dtype=flambeau.float32, device="meta")
    promised = flambeau._utils._rebuild_tensor_v2(empty, 0, (2, 3), (3, 1), False, collections.OrderedDict())
    assert promised.is_meta and promised.shape == (2, 3)
    storage = reader.get_storage_from_record("data/0", 24, flambeau.UntypedStorage)
    whole = flambeau.TypedStorage(
        wrap_storage=storage._typed_storage()._untyped_storage, dtype=flambeau.float32, _internal=True
    )
    assert flambeau._utils._rebuild_tensor_v2(
        whole, 0, (2, 3), (3, 1), False, collections.OrderedDict()
    ).equal(values)
    with pytest.raises(RuntimeError, match="24 bytes, not 4 elements"):
        reader.get_storage_from_record("data/0", 4, flambeau.float32)


def test_records_of_hyperparameters() -> None:
    pytest.importorskip("tensorboard")
    summary = importlib.import_module("flambeau.utils.tensorboard.summary")
    experiment, start, end = summary.hparams({"lr": 0.1, "name": "x"}, {"loss": 1.0})
    tags = [record.value[0].tag for record in (experiment, start, end)]
    assert tags == [f"_hparams_/{t}" for t in ("experiment", "session_start_info", "session_end_info")]
    assert summary.scalar("a", flambeau.tensor(2.0)).value[0].simple_value == 2.0
    with pytest.raises(TypeError, match="metric_dict"):
        summary.hparams({}, [])
