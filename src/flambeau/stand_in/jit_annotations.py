"""The annotations of ``torch.jit.annotations`` that programs use: ``BroadcastingList2[int]`` and its kin."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Union  # noqa: UP035 - what the module offers

from ..runtime.absent import names_of

__all__ = ["Any", "Dict", "List", "Optional", "Tuple", "Union"]


class _BroadcastingList:
    """For TorchScript: a list, or one value for all its places.  As an annotation it says nothing here."""

    def __getitem__(self, item: Any) -> _BroadcastingList:
        return self


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = BroadcastingList4 = _BroadcastingList()
BroadcastingList5 = BroadcastingList6 = BroadcastingList1

__getattr__ = names_of(__name__)
