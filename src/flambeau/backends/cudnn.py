"""cuDNN's settings: accepted, without effect on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

enabled = True
benchmark = False
benchmark_limit = 10
deterministic = False
allow_tf32 = True


def is_available() -> bool:
    """False."""
    return False


def version() -> None:
    """None."""
    return None


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """Set the flags inside a ``with`` block."""
    scope = globals()
    new = {
        **{"enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit},
        **{"deterministic": deterministic, "allow_tf32": allow_tf32},
    }
    old = {name: scope[name] for name in new}
    scope.update(new)
    try:
        yield
    finally:
        scope.update(old)
