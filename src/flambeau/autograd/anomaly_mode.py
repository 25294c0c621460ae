"""Anomaly detection: NaN gradients are errors, and name the forward line they come from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..core.state import tls
from ..core.tape import BaseNode


class _Settings:
    """What the tape calls while anomaly mode is on."""

    def __init__(self, check_nan: bool) -> None:
        self.check_nan = check_nan

    def note_forward(self, node: BaseNode) -> None:
        import traceback

        node.extras().created = traceback.extract_stack()[:-4]

    def run(self, node: Any, g: Any) -> Any:
        try:
            grads = node.backward(g)
        except Exception:
            self._explain(node)
            raise
        if self.check_nan:
            for i, x in enumerate(grads):
                if (
                    x is not None
                    and isinstance(x._a, np.ndarray)
                    and x._a.dtype.kind in "fcV"
                    and np.isnan(x._a).any()
                ):
                    self._explain(node)
                    raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
        return grads

    def _explain(self, node: BaseNode) -> None:
        created = node.extra.created if node.extra is not None else None
        if created is None:
            warnings.warn(
                f"Error detected in {node.name()}. No forward pass information available. Enable detect anomaly during forward pass "
                "for more information.",
                UserWarning,
                stacklevel=6,
            )
            return
        import traceback

        lines = "".join(traceback.format_list(created))
        warnings.warn(
            f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n{lines}",
            UserWarning,
            stacklevel=6,
        )


class set_detect_anomaly:
    """Turn anomaly detection on or off; as a context manager, for the block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.prev: _Settings | None = tls.anomaly
        tls.anomaly = _Settings(check_nan) if mode else None
        tls.refresh()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: Any) -> None:
        tls.anomaly = self.prev
        tls.refresh()


class detect_anomaly:
    """Within the block, a NaN gradient raises RuntimeError, and any error in backward shows the forward traceback.

    >>> import flambeau as torch
    >>> with torch.autograd.detect_anomaly():
    ...     pass
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan

    def __enter__(self) -> None:
        self.prev = tls.anomaly
        tls.anomaly = _Settings(self.check_nan)
        tls.refresh()

    def __exit__(self, *exc: Any) -> None:
        tls.anomaly = self.prev
        tls.refresh()


def is_anomaly_enabled() -> bool:
    """Whether anomaly detection is on in this thread."""
    return tls.anomaly is not None
