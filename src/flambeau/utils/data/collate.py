"""Making batches of samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from ... import ops
from ...core.tensor import Tensor
from ...runtime import dtypes
from ...runtime.types import strided

__all__ = ["default_collate", "default_convert"]

Map = dict[Any, Callable[..., Any]]


def _message(found: Any) -> str:
    return (
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {found}"
    )


def _rebuilt(like: Any, values: Any) -> Any:
    """`values` (a dict or a list) in a container like `like`; as they are where it cannot be made."""
    try:
        if isinstance(like, MutableMapping):
            clone: Any = copy.copy(like)  # keeps what a subclass adds
            clone.update(values)
            return clone
        if isinstance(like, MutableSequence):
            clone = copy.copy(like)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(like)(values)
    except TypeError:
        return values


def default_convert(data: Any) -> Any:
    """Arrays and NumPy scalars as tensors, in containers too; anything else as it is. Used without batching.

    >>> import numpy as np
    >>> from flambeau.utils.data import default_convert
    >>> default_convert([np.array([0, 1]), "a"])
    [tensor([0, 1]), 'a']
    """
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if isinstance(data, np.ndarray) and data.dtype.kind in "SUO":
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return ops.as_tensor(data)
    if isinstance(data, Mapping):
        return _rebuilt(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*[default_convert(d) for d in data])
    if isinstance(data, tuple):
        return [default_convert(d) for d in data]
    if isinstance(data, Sequence):
        return _rebuilt(data, [default_convert(d) for d in data])
    return data


def collate(batch: Any, *, collate_fn_map: Map | None = None) -> Any:
    """A list of samples as one batch: the functions of `collate_fn_map` by type, containers element by
    element.

    Raises: RuntimeError for sequences of different lengths, TypeError for types that are not in the map.
    """
    first = batch[0]
    if collate_fn_map is not None:
        function = collate_fn_map.get(type(first))
        if function is None:
            function = next((fn for t, fn in collate_fn_map.items() if isinstance(first, t)), None)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)

    def together(samples: Any) -> Any:
        return collate(samples, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        return _rebuilt(first, {key: together([sample[key] for sample in batch]) for key in first})
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*[together(samples) for samples in zip(*batch, strict=False)])
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError(
                "each element in list of batch should be of equal size, got "
                f"{sorted({len(sample) for sample in batch})}"
            )
        columns = [together(samples) for samples in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _rebuilt(first, columns)
    raise TypeError(_message(type(first)))


def collate_tensor_fn(batch: Any, *, collate_fn_map: Map | None = None) -> Any:
    """Tensors of one shape, stacked.

    Raises: RuntimeError for sparse tensors.
    """
    if batch[0].layout is not strided:
        raise RuntimeError(
            "Batches of sparse tensors are not currently supported by the default collate_fn; please provide a custom "
            "collate_fn to handle them appropriately."
        )
    return ops.stack(list(batch), 0)


def collate_numpy_array_fn(batch: Any, *, collate_fn_map: Map | None = None) -> Any:
    """NumPy arrays of one shape, stacked in a tensor."""
    if batch[0].dtype.kind in "SUO":
        raise TypeError(_message(batch[0].dtype))
    return collate([ops.as_tensor(a) for a in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Any, *, collate_fn_map: Map | None = None) -> Any:
    """NumPy numbers, as a vector of their dtype."""
    return ops.as_tensor(np.asarray(list(batch)))


def collate_float_fn(batch: Any, *, collate_fn_map: Map | None = None) -> Any:
    """Python floats, as a float64 vector."""
    return ops.tensor(list(batch), dtype=dtypes.float64)


def collate_int_fn(batch: Any, *, collate_fn_map: Map | None = None) -> Any:
    """Python integers, as an int64 vector."""
    return ops.tensor(list(batch))


def collate_str_fn(batch: Any, *, collate_fn_map: Map | None = None) -> Any:
    """Strings, as they are."""
    return batch


default_collate_fn_map: Map = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch: Any) -> Any:
    """Samples as a batch: tensors and arrays are stacked, numbers become vectors, containers are gone
    through.

    Raises: TypeError for samples of other types, RuntimeError for shapes or lengths that differ.

    >>> from flambeau.utils.data import default_collate
    >>> default_collate([(0, 1.5, "a"), (1, 2.5, "b")])
    [tensor([0, 1]), tensor([1.5000, 2.5000], dtype=torch.float64), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
