"""What the battery knows about one call of one operation, and how calls are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.core.op import REGISTRY, Op
from flambeau.core.tensor import Tensor
from flambeau.prims import base


@dataclass
class Sample:
    """One call of one operation.

    `reference` takes the arrays and gives the expected value(s);   `verify(outputs, arrays)` asserts properties where
    there is no unique value (eigenvectors).   `prepare` maps free inputs to those that the operation accepts
    (symmetric matrices), `observe` its outputs to what is well defined.   `other` is a second example for batching.
    """

    op: str
    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    reference: Callable[..., Any] | None = None
    verify: Callable[..., None] | None = None
    prepare: Callable[..., Any] | None = None
    observe: Callable[..., Any] | None = None
    other: tuple[Any, ...] | None = None
    note: str = ""
    order: int = 2  # how often it can be differentiated
    batches: bool = True
    expandable: bool = True  # stays a valid call when the first dim of each input is broadcast
    wrt: tuple[int, ...] | None = None
    tol: float = 1e-9

    @property
    def key(self) -> str:
        kinds = "".join(
            {"f": "f", "c": "c", "i": "i", "b": "b", "u": "u"}.get(a.dtype.kind, "v") for a in self.arrays
        )
        shapes = "x".join("".join(map(str, a.shape)) or "0d" for a in self.arrays)
        return f"{self.op}-{kinds}{shapes}{'-' if self.note else ''}{self.note}"

    @property
    def arrays(self) -> list[Any]:
        return [a for a in self.args if isinstance(a, np.ndarray)]

    @property
    def definition(self) -> Op:
        return definition(self.op)

    def run(self, *args: Any) -> Any:
        """The operation on tensors, between `prepare` and `observe`."""
        if self.prepare is not None:
            args = self.prepare(*args)
        out = self.definition(*args, **self.parameters())
        return out if self.observe is None else self.observe(*(out if isinstance(out, tuple) else (out,)))

    def parameters(self) -> dict[str, Any]:
        """The parameters; operations that draw get a generator with a seed of its own."""
        if "generator" not in self.params:
            return self.params
        return {**self.params, "generator": torch.Generator().manual_seed(7)}

    def tensors(self, args: Sequence[Any] | None = None) -> list[Any]:
        """Fresh tensors over copies of the arguments."""
        return [tensor(a) for a in (self.args if args is None else args)]

    def second(self) -> tuple[Any, ...]:
        """Another call of the same shapes."""
        return self.other if self.other is not None else tuple(vary(a) for a in self.args)

    def differentiable(self) -> list[int]:
        """Positions of the inputs that have a gradient here."""
        op = self.definition
        if not op.differentiable or self.order == 0:
            return []
        places = [i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype.kind in "fc"]
        if self.wrt is not None:
            return [i for i in places if i in self.wrt]
        if op.joint is None:
            places = [i for i in places if i < len(op.vjp) and op.vjp[i] is not None]
        return places

    def of_differentiable(self) -> tuple[Callable[..., Any], list[Tensor]]:
        """(a function of the differentiable inputs alone, these inputs)."""
        fixed = self.tensors()
        places = self.differentiable()

        def fn(*xs: Any) -> Any:
            args = list(fixed)
            for i, x in zip(places, xs):
                args[i] = x
            return self.run(*args)

        return fn, [fixed[i] for i in places]


def tensor(a: Any) -> Any:
    """A tensor that owns a copy of an array, in the same memory order; anything else as it is."""
    return torch.from_numpy(a.copy(order="K")) if isinstance(a, np.ndarray) else a


def vary(a: Any) -> Any:
    """A second value for an argument: nearby for floating numbers, reversed for others."""
    if not isinstance(a, np.ndarray):
        return a
    if a.dtype.kind in "fc":
        return np.asarray(a * 0.96)
    return np.flip(a).copy()


def outputs(result: Any) -> list[Any]:
    """The arrays of a result."""
    if isinstance(result, (tuple, list)):
        return [x for r in result for x in outputs(r)]
    return [result.detach().resolve_conj().numpy() if isinstance(result, Tensor) else np.asarray(result)]


def same(got: Any, want: Any, tol: float = 1e-9, what: str = "") -> None:
    """Equal shapes, kinds of numbers, and values."""
    got, want = outputs(got), outputs(want)
    assert len(got) == len(want), what
    for g, w in zip(got, want):
        assert g.shape == w.shape, f"{what}: shape {g.shape}, expected {w.shape}"
        assert (g.dtype.kind in "iu") == (w.dtype.kind in "iu") or w.dtype.kind == "f", f"{what}: {g.dtype}"
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol, err_msg=what)


def operations() -> dict[str, Op]:
    """Every registered operation, by name."""
    return {
        name: definition(name) for name in REGISTRY if name != "reshape"
    }  # "reshape" chooses between two others


def definition(name: str) -> Op:
    """The operation behind a name (for "convert": the one for floating and complex results)."""
    found: Any = REGISTRY[name]
    return found if isinstance(found, Op) else base._convert_op
