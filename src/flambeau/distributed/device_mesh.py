"""The processes of a world as a table, with a group along each of its axes: `init_device_mesh`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.absent import names_of as _names_of
from .group import GroupMember, get_rank, get_world_size, new_group, the

__all__ = ["DeviceMesh", "init_device_mesh"]


class DeviceMesh:
    """A table of ranks.  `init_device_mesh` makes it; ``mesh["name"]`` is the row of this process along an axis."""

    def __init__(
        self,
        device_type: str,
        mesh: Any,
        *,
        mesh_dim_names: tuple[str, ...] | None = None,
        groups: list[Any] | None = None,
    ) -> None:
        self.device_type, self.mesh_dim_names = device_type, mesh_dim_names
        self._ranks = np.asarray(mesh)
        if mesh_dim_names is not None and len(mesh_dim_names) != self._ranks.ndim:
            raise ValueError(f"{len(mesh_dim_names)} names for a mesh of {self._ranks.ndim} dims")
        found = np.argwhere(self._ranks == get_rank())
        self._place: list[int] | None = found[0].tolist() if len(found) else None
        self._groups = [self._make(d) for d in range(self._ranks.ndim)] if groups is None else groups

    def _make(self, dim: int) -> Any:
        if self._ranks.size == get_world_size() and self._ranks.ndim == 1:
            return the(None)
        own: Any = None
        for ranks in np.moveaxis(self._ranks, dim, -1).reshape(-1, self._ranks.shape[dim]):
            made = new_group(ranks.tolist())
            own = own if made == GroupMember.NON_GROUP_MEMBER else made
        return own

    @property
    def mesh(self) -> Any:
        """The ranks, as a tensor."""
        from ..core.tensor import from_array

        return from_array(self._ranks.copy())

    @property
    def ndim(self) -> int:
        """How many axes."""
        return self._ranks.ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """How many processes along each."""
        return self._ranks.shape

    def size(self, mesh_dim: int | None = None) -> int:
        """How many processes, along an axis or in all."""
        return int(self._ranks.size if mesh_dim is None else self._ranks.shape[mesh_dim])

    def _dim(self, name: int | str | None) -> int:
        if name is None:
            if self.ndim > 1:
                raise RuntimeError(f"the mesh has {self.ndim} dims: say which")
            return 0
        if isinstance(name, int):
            return name
        if self.mesh_dim_names is None or name not in self.mesh_dim_names:
            raise KeyError(f"Invalid mesh_dim_name {name!r}: the mesh has {self.mesh_dim_names}")
        return self.mesh_dim_names.index(name)

    def get_group(self, mesh_dim: int | str | None = None) -> Any:
        """The group of this process along an axis."""
        return self._groups[self._dim(mesh_dim)]

    def get_all_groups(self) -> list[Any]:
        """The groups of this process along all axes."""
        return list(self._groups)

    def get_rank(self) -> int:
        """This process's rank in the world."""
        return get_rank()

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """This process's place along an axis."""
        if self._place is None:
            raise RuntimeError(f"rank {get_rank()} is not in the mesh {self._ranks.tolist()}")
        return self._place[self._dim(mesh_dim)]

    def get_coordinate(self) -> list[int] | None:
        """This process's place along all axes, None where it is not in the mesh."""
        return self._place

    def __getitem__(self, name: str) -> DeviceMesh:
        dim = self._dim(name)
        if self._place is None:
            raise RuntimeError(f"rank {get_rank()} is not in the mesh {self._ranks.tolist()}")
        at = tuple(slice(None) if d == dim else self._place[d] for d in range(self.ndim))
        return DeviceMesh(
            self.device_type, self._ranks[at], mesh_dim_names=(name,), groups=[self._groups[dim]]
        )

    def __repr__(self) -> str:
        return (
            f"DeviceMesh({self.device_type!r}, {self._ranks.tolist()}, mesh_dim_names={self.mesh_dim_names})"
        )


def init_device_mesh(
    device_type: str,
    mesh_shape: tuple[int, ...],
    *,
    mesh_dim_names: tuple[str, ...] | None = None,
    backend_override: Any = None,
) -> DeviceMesh:
    """All processes of the world as a table of `mesh_shape`, in the order of ranks.  All have to call it.

    Raises: RuntimeError for another device than the CPU, and for a table of another size than the world.

    >>> import flambeau as torch
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> from flambeau.distributed.device_mesh import init_device_mesh
    >>> init_device_mesh("cpu", (1, 1), mesh_dim_names=("dp", "tp"))["dp"].size()
    1
    >>> torch.distributed.destroy_process_group()
    """
    if device_type != "cpu":
        raise RuntimeError(f"a mesh of {device_type!r} devices: there is the CPU only")
    size = get_world_size()
    if int(np.prod(mesh_shape)) != size:
        raise RuntimeError(f"a mesh of shape {tuple(mesh_shape)} in a world of {size} processes")
    return DeviceMesh(device_type, np.arange(size).reshape(mesh_shape), mesh_dim_names=mesh_dim_names)


__getattr__ = _names_of(__name__)
