"""Names that libraries over PyTorch take from it when they are imported, and what they do with them."""

from __future__ import annotations

import collections
import collections.abc
import typing
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.stand_in import standing_in


def test_imports() -> None:
    with standing_in():
        import torch
        from torch._dynamo.eval_frame import OptimizedModule
        from torch._subclasses.fake_tensor import is_fake
        from torch.distributed._composable.fsdp import FSDPModule
        from torch.distributed._tensor.experimental import implicit_replication
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        from torch.distributed.tensor import DTensor
        from torch.distributions.constraints import _IndependentConstraint
        from torch.distributions.transforms import _InverseTransform
        from torch.fx import GraphModule
        from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
        from torch.nn.attention.flex_attention import BlockMask, create_block_mask
        from torch.nn.parallel.scatter_gather import scatter
        from torch.serialization import DEFAULT_PROTOCOL
        from torch.utils.data.dataloader import (
            _BaseDataLoaderIter,
            _collate_fn_t,
            _SingleProcessDataLoaderIter,
        )

        assert torch.__name__ == "torch" and torch.torch is torch
        assert isinstance(torch.compile(torch.nn.Linear(1, 1)), OptimizedModule)
        assert not is_fake(torch.ones(1)) and get_proxy_mode() is None
        x = torch.ones(2)
        assert DEFAULT_PROTOCOL == 2 and torch.distributed.fsdp.FSDPModule is FSDPModule
        inverse = torch.distributions.ExpTransform().inv
        assert type(inverse) is _InverseTransform
        independent = torch.distributions.constraints.independent(torch.distributions.constraints.real, 1)
        assert type(independent) is _IndependentConstraint
        for call in (make_fx, fully_shard):
            with pytest.raises(RuntimeError, match="docs/compatibility"):
                call(len)
        layer = torch.nn.Linear(2, 1)
        with torch.nn.utils.stateless._reparametrize_module(layer, {"weight": x[None]}):
            assert layer.weight.tolist() == [[1, 1]]
        assert layer.weight.requires_grad and typing.get_origin(_collate_fn_t) is collections.abc.Callable
        with implicit_replication():
            assert (x + 1).tolist() == [2, 2]
        assert not isinstance(layer, GraphModule)
        for cls in (
            BlockMask,
            DTensor,
            FSDPModule,
            MixedPrecisionPolicy,
            torch.SymInt,
            torch.Stream,
        ):
            assert not isinstance(x, cls)
            with pytest.raises(RuntimeError):
                cls(None)
        with pytest.raises(RuntimeError, match="scaled_dot_product_attention"):
            create_block_mask(None, 1, 1, 1, 1)
        assert scatter(x, ["cpu"]) == [x]
        loader = torch.utils.data.DataLoader([1, 2])
        assert isinstance(iter(loader), _SingleProcessDataLoaderIter) and isinstance(
            iter(loader), _BaseDataLoaderIter
        )
        assert "2.13" in torch.__config__.show() and "threads" in torch.__config__.parallel_info()
        assert torch.get_device_module("cpu") is torch.cpu and torch.get_device_module() is torch.cpu
        assert torch.xpu.memory_allocated() == 0 == torch.mps.driver_allocated_memory()
        with pytest.raises(RuntimeError, match="NVTX"), torch.cuda.nvtx.range("x"):
            pass
    assert flambeau.__name__ == "flambeau" and not hasattr(flambeau, "torch")


def test_errors_by_their_internal_names() -> None:
    assert flambeau._C._LinAlgError is flambeau.linalg.LinAlgError


def test_checks_beside_pytorch() -> None:
    torch = pytest.importorskip("torch")
    for name in ("", "_index", "_value", "_type", "_not_implemented"):
        ours, theirs = getattr(flambeau, f"_check{name}"), getattr(torch, f"_check{name}")
        for args in ((True,), (False,), (False, lambda: "hey"), (False, "no function"), (0,)):
            answers = []
            for check in (ours, theirs):
                try:
                    answers.append(check(*args))
                except Exception as e:
                    answers.append((type(e), str(e)[:40]))
            assert answers[0] == answers[1]
    flambeau._check_tensor_all(flambeau.tensor([True, True]))
    with pytest.raises(RuntimeError):
        flambeau._check_tensor_all(flambeau.tensor([True, False]))
    with pytest.raises(RuntimeError):
        flambeau._check_is_size(-1)


def test_annotations_of_subclasses_can_be_evaluated() -> None:
    class Model(flambeau.nn.Module):
        config: int

    class Own(flambeau.Tensor):
        kind: str

    assert typing.get_type_hints(Model)["config"] is int
    assert typing.get_type_hints(Own)["kind"] is str


def test_aten_names() -> None:
    aten = flambeau.ops.aten
    x = flambeau.tensor([[1.0, -2.0], [3.0, 4.0]])
    assert aten.relu(x).tolist() == [[1, 0], [3, 4]] and aten.add.Tensor(x, x).tolist() == (x + x).tolist()
    assert aten.add.Tensor is aten.add.Tensor and {aten.add.Tensor: 1}[flambeau.ops.aten.add.Tensor] == 1
    assert str(aten.add.Tensor) == "aten.add.Tensor" and aten.add.Tensor.overloadpacket is aten.add
    with pytest.raises(NotImplementedError, match="no_such_thing"):
        aten.no_such_thing.default(x)


def test_registered_containers_beside_pytorch() -> None:
    pytest.importorskip("torch")
    Point = collections.namedtuple("Point", "x y")

    def seen(pytree: Any) -> list[Any]:
        answers: list[Any] = []
        for tree in ([1, 2], (3,), {"a": 4}, Point(5, 6), collections.OrderedDict(b=7), 8):
            kind = pytree._get_node_type(tree)
            if kind in pytree.SUPPORTED_NODES:
                node = pytree.SUPPORTED_NODES[kind]
                children, context = node.flatten_fn(tree)
                answers.append((list(children), node.unflatten_fn(list(children), context)))
            else:
                answers.append(None)
        keys, context = pytree._dict_flatten_with_keys({"a": 1, "b": 2})
        return [*answers, [(k.key, v) for k, v in keys], context]

    import torch.utils._pytree as theirs

    from flambeau.utils import _pytree as ours

    assert seen(ours) == seen(theirs)


def test_printing_like_a_tensor_beside_pytorch() -> None:
    torch = pytest.importorskip("torch")
    import torch._tensor_str as theirs

    with standing_in():
        import importlib

        ours = importlib.import_module("torch._tensor_str")
    values = [[1.0, 2.5], [3.0, -4.0]]
    texts = [
        (
            module._add_suffixes("Own(" + module._tensor_str(t, 4), ["size=2", "sorted=True"], 4, newline),
            module.PRINT_OPTS.threshold,
        )
        for newline in (False, True)
        for module, t in ((ours, flambeau.tensor(values)), (theirs, torch.tensor(values)))
    ]
    assert texts[0] == texts[1] and texts[2] == texts[3]


def test_associative_scan_beside_a_loop() -> None:
    from flambeau.stand_in.higher_order_ops import associative_scan

    for n in (1, 2, 3, 5, 8, 13):
        flambeau.manual_seed(n)
        a, b = flambeau.rand(2, n, 3, dtype=flambeau.float64), flambeau.randn(2, n, 3, dtype=flambeau.float64)
        b.requires_grad_()

        def step(first: Any, second: Any) -> Any:
            return {"a": first["a"] * second["a"], "b": first["b"] * second["a"] + second["b"]}

        for order, reverse in ((range(n), False), (range(n - 1, -1, -1), True)):
            found = associative_scan(step, {"a": a, "b": b}, dim=1, reverse=reverse)["b"]
            (gradient,) = flambeau.autograd.grad(found.square().sum(), b)
            rows, last = {}, None
            for i in order:
                last = b[:, i] if last is None else last * a[:, i] + b[:, i]
                rows[i] = last
            wanted = flambeau.stack([rows[i] for i in range(n)], 1)
            flambeau.testing.assert_close(found, wanted)
            flambeau.testing.assert_close(gradient, flambeau.autograd.grad(wanted.square().sum(), b)[0])
    with pytest.raises(ValueError, match="same length"):
        associative_scan(step, {"a": a, "b": b[:, :1]}, 1)
    with pytest.raises(ValueError, match="structure"):
        associative_scan(lambda x, y: x["a"], {"a": a, "b": b}, 1)


def test_types_of_tensors_on_devices() -> None:
    kind = flambeau.cuda.FloatTensor
    assert not isinstance(flambeau.ones(2), kind) and kind is flambeau.cuda.FloatTensor
    assert repr(kind) == "<class 'torch.cuda.FloatTensor'>"
    with pytest.raises(TypeError, match="not available"):
        kind(2)


def test_the_dtypes_that_collation_refuses() -> None:
    with standing_in():
        from torch.utils.data._utils.collate import np_str_obj_array_pattern as pattern

        found = [
            pattern.search(np.dtype(d).str) is not None
            for d in ("U3", "S2", object, np.float32, np.int64, bool)
        ]
    assert found == [True, True, True, False, False, False]


def test_tensors_flattened_into_one_and_back() -> None:
    with standing_in():
        import torch
        from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

        parts = [torch.arange(6.0).view(2, 3), torch.tensor(6.0), torch.zeros(0), torch.full((2,), 7.0)]
        flat = _flatten_dense_tensors(parts)
        assert flat.tolist() == [*range(7), 7, 7]
        back = _unflatten_dense_tensors(flat, parts)
        assert [t.shape for t in back] == [t.shape for t in parts]
        back[0].zero_()  # a view
        assert flat.tolist() == [0] * 6 + [6, 7, 7] and isinstance(back, tuple)


def test_flags_may_be_set_where_pytorch_asks_for_brackets() -> None:
    with standing_in():
        import torch

        before = torch.backends.cudnn.deterministic
        with torch.backends.__allow_nonbracketed_mutation():
            torch.backends.cudnn.deterministic = True
            assert torch.backends.cudnn.deterministic
        torch.backends.cudnn.deterministic = before


def test_settings_of_the_compiler_can_be_set_by_any_import() -> None:
    with standing_in():
        import torch
        import torch._dynamo.config as dynamo
        import torch._inductor.config as inductor
        from torch._inductor import config

        assert config is inductor is torch._inductor.config and torch._dynamo.config is dynamo
        assert not hasattr(inductor, "coordinate_descent_tuning")
        inductor.coordinate_descent_tuning = dynamo.suppress_errors = True
        with inductor.patch({"triton.cudagraphs": 1, "coordinate_descent_tuning": False}, max_autotune=True):
            assert inductor.max_autotune and not inductor.coordinate_descent_tuning
        assert inductor.coordinate_descent_tuning and not hasattr(inductor, "max_autotune")

        @dynamo.patch("suppress_errors", value=3)
        def read() -> int:
            return dynamo.suppress_errors

        assert read() == read() == 3 and dynamo.suppress_errors is True
        del inductor.coordinate_descent_tuning, dynamo.suppress_errors
