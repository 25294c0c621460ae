"""The table of sample calls, and the numbers that they are made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from battery.sample import Sample

TABLE: dict[str, list[Sample]] = {}
OPTIONS = set(Sample.__dataclass_fields__) - {"op", "args", "params"}


def row(name: str, *args: Any, reference: Any = None, **kw: Any) -> None:
    """Add a sample; keyword arguments that are not fields of Sample are the operation's parameters."""
    options = {k: kw.pop(k) for k in list(kw) if k in OPTIONS}
    TABLE.setdefault(name, []).append(Sample(name, args, kw, reference=reference, **options))


def real(*shape: int, seed: int = 0) -> Any:
    """Distinct numbers away from zero, so that maxima are unique and signs do not change."""
    r = np.random.default_rng(seed + 17 * len(shape) + int(np.prod(shape)))
    sizes = r.permutation(np.linspace(0.3, 2.1, int(np.prod(shape)))).reshape(shape)
    return np.asarray(sizes * r.choice([-1.0, 1.0], shape))


def comp(*shape: int, seed: int = 0) -> Any:
    return np.asarray(real(*shape, seed=seed) + 1j * real(*shape, seed=seed + 5))


def ints(*values: Any) -> Any:
    return np.array(values)
