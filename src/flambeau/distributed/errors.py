"""What goes wrong between processes."""

from __future__ import annotations

__all__ = ["DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "QueueEmptyError"]


class DistError(RuntimeError):
    """What goes wrong between processes."""


class DistBackendError(DistError):
    """A collective that failed: a process that ended, did not come in time, or asked for something else."""


class DistNetworkError(DistError):
    """An address that cannot be listened on, or where nobody answers."""


class DistStoreError(DistError):
    """A key that did not come in time."""


class QueueEmptyError(DistStoreError):
    """`Store.queue_pop` of an empty queue without waiting."""
