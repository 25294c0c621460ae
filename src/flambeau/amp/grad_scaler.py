"""Gradients of float16 programs kept in range: the loss is scaled up, the gradients down again."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

import numpy as np

from .. import ops
from ..autograd.grad_mode import no_grad
from ..core.tensor import Tensor
from ..runtime.dtypes import float16, float32

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """What has been done with an optimizer since the last update."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


class _Seen:
    """An optimizer's stage, and whether its gradients were found infinite or NaN."""

    def __init__(self) -> None:
        self.stage = OptState.READY
        self.found_inf: bool | None = None


class GradScaler:
    """Scales losses, so that small float16 gradients do not vanish, and finds the scale by trial.

    A step whose gradients are infinite or NaN is left out and the scale multiplied by `backoff_factor`; after
    `growth_interval` good ones in a row it grows by `growth_factor`.

    For "cuda" (the default, as in PyTorch) it warns and is disabled, as there is none.

    >>> import flambeau as torch
    >>> w = torch.ones(1, requires_grad=True)
    >>> optimizer = torch.optim.SGD([w], lr=0.5)
    >>> scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    >>> scaler.scale(w.sum()).backward()
    >>> scaler.step(optimizer); scaler.update()
    >>> w, w.grad
    (tensor([0.5000], requires_grad=True), tensor([1.]))
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        if device == "cuda" and enabled:
            warnings.warn("GradScaler is enabled, but CUDA is not available. Disabling.", stacklevel=2)
            enabled = False
        self._enabled = enabled
        if not enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError(f"The growth factor must be > 1.0, not {growth_factor}.")
        if backoff_factor >= 1.0:
            raise AssertionError(f"The backoff factor must be < 1.0, not {backoff_factor}.")
        self._init_scale = init_scale
        self._scale: float | None = None  # until the first loss is scaled
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._seen: dict[int, _Seen] = defaultdict(_Seen)

    def _begun(self, name: str) -> float:
        """The scale.

        Raises: AssertionError before the first call of `scale`.
        """
        if self._scale is None:
            raise AssertionError(
                f"Attempted {name} but _scale is None. This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale

    def scale(self, outputs: Any) -> Any:
        """A tensor, or tensors in iterables, multiplied by the scale.

        Raises: ValueError for anything else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale = float(np.float32(self._init_scale))
            # as a 0-d float32 tensor: a float16 loss keeps its dtype, as in PyTorch
            return outputs * ops.tensor(self._scale, dtype=float32)  # a number would overflow in float16
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError(f"outputs must be a Tensor or an iterable of Tensors, not {type(outputs).__name__}")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place (to clip them, for example).

        Raises: RuntimeError for a second call since the last `update`; ValueError for float16 gradients.
        """
        if not self._enabled:
            return
        inverse = float(np.float32(1 / self._begun("unscale_")))
        seen = self._seen[id(optimizer)]
        if seen.stage is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if seen.stage is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        grads = [p.grad for p in parameters if p.grad is not None]
        if any(g.dtype is float16 for g in grads):
            raise ValueError("Attempting to unscale FP16 gradients.")
        if grads:
            with no_grad():
                seen.found_inf = not all(bool(g.isfinite().all()) for g in grads)
                for g in grads:
                    g.mul_(inverse)
        seen.stage = OptState.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args, **kwargs)`` on unscaled gradients, or nothing when one is infinite or NaN.

        Raises: RuntimeError for a second call since the last `update`, or with a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._begun("step")
        seen = self._seen[id(optimizer)]
        if seen.stage is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            return self._step_of_its_own(optimizer, seen, args, kwargs)
        if seen.stage is OptState.READY:
            self.unscale_(optimizer)
        if seen.found_inf is None:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None if seen.found_inf else optimizer.step(*args, **kwargs)
        seen.stage = OptState.STEPPED
        return result

    def _step_of_its_own(self, optimizer: Any, seen: _Seen, args: Any, kwargs: Any) -> Any:
        """The step of an optimizer that unscales, and skips, itself: it reads its `grad_scale` and `found_inf`."""
        scale = None
        if seen.stage is OptState.READY:
            scale = ops.tensor(self._scale, dtype=float32)
            grads = [
                p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
            ]
            seen.found_inf = not all(bool(g.isfinite().all()) for g in grads)
        optimizer.grad_scale = scale
        optimizer.found_inf = ops.tensor(float(bool(seen.found_inf)), dtype=float32)
        try:
            return optimizer.step(*args, **kwargs)
        finally:
            seen.stage = OptState.STEPPED
            del optimizer.grad_scale, optimizer.found_inf

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to what was found since the last call, or set it to `new_scale`."""
        if not self._enabled:
            return
        scale = self._begun("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor) and (new_scale.numel() != 1 or new_scale.requires_grad):
                raise AssertionError(
                    "new_scale should be a float or a 1-element tensor with requires_grad=False, not of shape "
                    f"{tuple(new_scale.shape)}"
                )
            scale = float(new_scale)
        else:
            found = [s.found_inf for s in self._seen.values() if s.found_inf is not None]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            if any(found):
                scale *= self._backoff_factor
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    grown = float(np.float32(scale * self._growth_factor))
                    scale = grown if math.isfinite(grown) else scale
                    self._growth_tracker = 0
        self._scale = float(np.float32(scale))
        self._seen = defaultdict(_Seen)

    def get_scale(self) -> float:
        """The scale (1 when disabled)."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale

    def get_growth_factor(self) -> float:
        """What the scale grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale shrinks by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps in a row make the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many good steps in a row make the scale grow."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        return self._growth_tracker if self._enabled else 0

    def is_enabled(self) -> bool:
        """Whether this does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The state as a dict with PyTorch's keys; empty when disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state.

        Raises: RuntimeError for the state of a disabled scaler.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]

    def __getstate__(self) -> dict[str, Any]:
        if self._enabled and self._seen:
            raise AssertionError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        return dict(self.__dict__)
