"""Every optimizer with PyTorch's own lists of settings (``torch.testing._internal.common_optimizers``)."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
common = pytest.importorskip("torch.testing._internal.common_optimizers")
OPTIMIZERS = {info.optim_cls.__name__: info for info in common.optim_db}


def setting(value: Any) -> Any:
    return flambeau.tensor(value.numpy()) if isinstance(value, torch.Tensor) else copy.deepcopy(value)


def trained(lib: Any, name: str, settings: dict[str, Any]) -> tuple[list[Any], Any]:
    """Parameters and optimizer after a few steps on a smooth function."""
    lib.manual_seed(0)
    shapes = ((4, 3), (3, 5)) if name == "Muon" else ((4, 3), (5,))
    parameters = [lib.nn.Parameter(lib.randn(*shape, dtype=lib.float64)) for shape in shapes]
    optimizer = getattr(lib.optim, name)(parameters, **settings)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = sum(((p - 0.3) ** 2).sum() + (0.3 * p).sin().sum() for p in parameters)
        loss.backward()
        return loss

    for _ in range(5):
        if name == "LBFGS":
            optimizer.step(closure)
            continue
        closure()
        if name == "SparseAdam":
            for p in parameters:
                p.grad = p.grad.to_sparse()
        optimizer.step()
    return parameters, optimizer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_settings(name: str) -> None:
    info = OPTIMIZERS[name]
    forms: list[dict[str, Any]] = [{}]
    forms += [{"foreach": True}] * ("foreach" in info.supported_impls)
    forms += [{"fused": True}] * ("cpu" in (info.supports_fused_on or ()))
    for sample in info.optim_inputs_func(device="cpu"):
        for form in forms:
            if form and {"foreach", "fused", "differentiable", "capturable"} & set(sample.kwargs):
                continue
            settings = {**sample.kwargs, **form}
            theirs, other = trained(torch, name, copy.deepcopy(settings))
            ours, own = trained(flambeau, name, {k: setting(v) for k, v in settings.items()})
            for a, b in zip(ours, theirs):  # Muon orthogonalises in bfloat16, ASGD keeps its rates in float32
                tolerance = {"Muon": 1e-6, "ASGD": 1e-7}.get(name, 1e-9)
                np.testing.assert_allclose(
                    a.detach().numpy(),
                    b.detach().numpy(),
                    rtol=tolerance,
                    atol=tolerance,
                    err_msg=sample.desc,
                )
            assert repr(own).replace("flambeau", "torch") == repr(other)
            exchange(own, other)


def exchange(own: Any, other: Any) -> None:
    """State dicts have one form, and go both ways through files."""
    mine, yours = own.state_dict(), other.state_dict()
    assert [sorted(g) for g in mine["param_groups"]] == [sorted(g) for g in yours["param_groups"]]
    assert list(mine["state"]) == list(yours["state"])
    for key, values in yours["state"].items():
        assert sorted(mine["state"][key]) == sorted(values)
        for name, value in values.items():
            if name != "t":  # a tensor there if the learning rate is one
                number = isinstance(value, (int, float))
                assert isinstance(mine["state"][key][name], (int, float)) is number, name
    for lib, target, state, source in ((torch, own, yours, flambeau), (flambeau, other, mine, torch)):
        file = io.BytesIO()
        lib.save(state, file)
        file.seek(0)
        target.load_state_dict(source.load(file))


def test_complex_parameters_of_sparse_adam() -> None:
    with pytest.raises(ValueError, match="complex"):
        flambeau.optim.SparseAdam([flambeau.nn.Parameter(flambeau.zeros(2, dtype=flambeau.complex64))])
