"""What programs import from PyTorch's module of this name: all of `flambeau.distributed`, and some names of its inside."""

from __future__ import annotations

from typing import Any

from . import *  # noqa: F403
from . import __all__ as __all__
from .constants import default_pg_nccl_timeout as default_pg_nccl_timeout
from .constants import default_pg_timeout as default_pg_timeout
from .group import _store, the
from .process_group import ProcessGroup
from .stores import Store


def _get_default_group() -> ProcessGroup:
    """The group of all processes.  Raises ValueError before `init_process_group`."""
    return the(None)


def _get_default_store() -> Store:
    """The store of that group."""
    the(None)
    return _store[0]


def _get_process_group_name(pg: Any) -> str:
    """The name of a group."""
    return the(pg).group_name


def _rank_not_in_group(group: Any) -> bool:
    """Whether this process is outside of the group that `new_group` gave."""
    from .group import GroupMember

    return bool(group == GroupMember.NON_GROUP_MEMBER)
