"""Every module on some of PyTorch's own samples; `module_samples` says what is compared."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
common_modules = pytest.importorskip("torch.testing._internal.common_modules")
sys.path.insert(0, str(Path(__file__).parent))
import module_samples  # noqa: E402

MODULES = {info.name: info for info in common_modules.module_db}
SAMPLES = 3  # for each module, dtype, and training or evaluation; the whole list takes minutes

# What differs, and why: (module, the beginning of the disagreement).
KNOWN = {
    ("nn.TransformerDecoderLayer", "output: strides"): "PyTorch adds into the attention's transposed memory",
    ("nn.CTCLoss", "inputs' gradients"): "sums of exponentials in another order, in float32",
}


def some(samples: list[Any]) -> list[Any]:
    return samples[:: max(1, -(-len(samples) // SAMPLES))]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore")
def test_samples(name: str) -> None:
    info = MODULES[name]
    for dtype, to in ((torch.float32, None), (torch.float64, torch.float64), (torch.float64, None)):
        if dtype not in info.dtypes:
            continue
        for training in (True, False):
            chosen = some(module_samples.samples(info, dtype, training))
            for sample in chosen if to is dtype or to is None and dtype is torch.float32 else chosen[:1]:
                try:
                    module_samples.check(name, sample, training, to)
                except module_samples.Disagreement as e:
                    if not any(name == n and str(e).startswith(begin) for n, begin in KNOWN):
                        raise module_samples.Disagreement(
                            f"{sample.desc} ({dtype}, {to=}, {training=}): {e}"
                        ) from None


@pytest.mark.parametrize(
    "name", [n for n, info in MODULES.items() if info.module_error_inputs_func is not None]
)
def test_errors(name: str) -> None:
    info = MODULES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for training in (True, False):
            for sample in info.module_error_inputs_func(
                info, device="cpu", dtype=torch.float32, requires_grad=False, training=training
            ):
                module_samples.check_error(name, sample.module_error_input)
