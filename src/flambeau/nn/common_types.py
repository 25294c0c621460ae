"""Names for annotations of sizes: `flambeau.nn.common_types`."""

from __future__ import annotations

from typing import Optional, TypeVar, Union

from ..core.tensor import Tensor

T = TypeVar("T")
_scalar_or_tuple_any_t = Union[T, tuple[T, ...]]  # noqa: UP007
_scalar_or_tuple_1_t = Union[T, tuple[T]]  # noqa: UP007
_scalar_or_tuple_2_t = Union[T, tuple[T, T]]  # noqa: UP007
_scalar_or_tuple_3_t = Union[T, tuple[T, T, T]]  # noqa: UP007
_size_any_t = Union[int, tuple[int, ...]]  # noqa: UP007
_size_1_t = Union[int, tuple[int]]  # noqa: UP007
_size_2_t = Union[int, tuple[int, int]]  # noqa: UP007
_size_3_t = Union[int, tuple[int, int, int]]  # noqa: UP007
_size_4_t = Union[int, tuple[int, int, int, int]]  # noqa: UP007
_ratio_2_t = Union[float, tuple[float, float]]  # noqa: UP007
_ratio_3_t = Union[float, tuple[float, float, float]]  # noqa: UP007
_ratio_any_t = Union[float, tuple[float, ...]]  # noqa: UP007
_tensor_list_t = Union[Tensor, list[Tensor]]  # noqa: UP007
_maybe_indices_t = Union[Tensor, tuple[Tensor, Tensor]]  # noqa: UP007
_size_any_opt_t = Union[Optional[int], tuple[Optional[int], ...]]  # noqa: UP007, UP045
_size_2_opt_t = Union[Optional[int], tuple[Optional[int], Optional[int]]]  # noqa: UP007, UP045
_size_3_opt_t = Union[Optional[int], tuple[Optional[int], Optional[int], Optional[int]]]  # noqa: UP007, UP045
