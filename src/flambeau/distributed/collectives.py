"""What the processes of a group do together with tensors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ..core.tensor import Tensor
from . import reductions
from .buffers import Written, check_tensor, check_tensors, read
from .dtypes import code_of
from .group import member_of, rank_in
from .reductions import ReduceOp
from .rings import Call
from .work import Work

__all__ = [
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_single",
    "all_reduce",
    "all_reduce_coalesced",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_single",
    "reduce_scatter_tensor",
    "scatter",
]


def _one_for_each(values: Sequence[Any] | None, size: int, name: str) -> None:
    if not isinstance(values, (list, tuple)) or len(values) != size:
        found = f"{len(values)} entries" if isinstance(values, (list, tuple)) else repr(values)
        raise ValueError(
            f"{name} must have one entry for each of the {size} processes of the group, got {found}"
        )
    check_tensors(values, name)


def _same(source: Tensor, target: Tensor, shapes: bool = True) -> None:
    """A tensor goes into another one."""
    if source.dtype != target.dtype or (
        tuple(source.shape) != tuple(target.shape) if shapes else source.numel() != target.numel()
    ):
        raise ValueError(
            f"the output, {tuple(target.shape)} {target.dtype}, must be as the input, "
            f"{tuple(source.shape)} {source.dtype}"
        )


def _same_dtypes(tensors: Sequence[Tensor]) -> None:
    found = sorted({str(t.dtype) for t in tensors})
    if len(found) > 1:
        raise ValueError(f"Invalid usage of tensors with different dtypes: found {' and '.join(found)}")


def _nothing_else(values: Any, name: str, root: str) -> None:
    if values:
        raise ValueError(f"Argument ``{name}`` must NOT be specified on non-{root} ranks.")


def all_reduce(
    tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """Combine the tensors of all processes, in place; all get the same bits.

    The tensors have one shape and dtype.  With `async_op` a `Work` is returned at once, whose ``wait()`` returns when
    `tensor` has the result.

    Raises: TypeError and ValueError for other arguments; DistBackendError where a process ended, does not come within
    the group's timeout, or calls something else.

    >>> import flambeau as torch
    >>> torch.distributed.init_process_group("gloo", rank=0, world_size=1)
    >>> x = torch.ones(2)
    >>> torch.distributed.all_reduce(x, op=torch.distributed.ReduceOp.SUM)
    >>> x
    tensor([1., 1.])
    >>> torch.distributed.destroy_process_group()
    """
    check_tensor(tensor, "tensor")
    checked = reductions.check(op, tensor.dtype)
    found = member_of(group, "all_reduce")
    if found is None:
        return None
    x = Written(tensor, "all_reduce")

    def call(c: Call) -> None:
        c.all_reduce(x.flat)
        x.finish()

    return found.collective(
        *("all_reduce", "all_reduce", call),
        dtype=code_of(x.flat),
        op=checked,
        total=x.flat.nbytes,
        result=[tensor],
        async_op=async_op,
    )


def all_reduce_coalesced(
    tensors: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Any:
    """`all_reduce` for several tensors of one dtype."""
    one = [tensors] if isinstance(tensors, Tensor) else tensors
    check_tensors(one, "tensor")
    _same_dtypes(one)
    for tensor in one[:-1]:
        all_reduce(tensor, op, group)
    return all_reduce(one[-1], op, group, async_op)


def broadcast(
    tensor: Tensor,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Give all processes the tensor of rank `src` (of the world; `group_src` counts in the group)."""
    check_tensor(tensor, "tensor")
    found = member_of(group, "broadcast")
    if found is None:
        return None
    root = rank_in(found, src, group_src, "src")
    x = Written(tensor, "broadcast", keep=found.rank() == root)

    def call(c: Call) -> None:
        c.broadcast(x.flat, root)
        if c.rank != root:
            x.finish()

    return found.collective(
        *(f"broadcast from rank {found.ranks[root]}", "broadcast", call),
        dtype=code_of(x.flat),
        total=x.flat.nbytes,
        result=[tensor],
        async_op=async_op,
    )


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Combine the tensors of all processes, in place at rank `dst`; the others keep theirs."""
    check_tensor(tensor, "tensor")
    checked = reductions.check(op, tensor.dtype)
    found = member_of(group, "reduce")
    if found is None:
        return None
    root = rank_in(found, dst, group_dst, "dst")
    x = Written(tensor, "reduce")

    def call(c: Call) -> None:
        c.reduce(x.flat, root)
        if c.rank == root:
            x.finish()

    return found.collective(
        *(f"reduce to rank {found.ranks[root]}", "reduce", call),
        dtype=code_of(x.flat),
        op=checked,
        total=x.flat.nbytes,
        result=[tensor],
        async_op=async_op,
    )


def barrier(
    group: Any = None, async_op: bool = False, device_ids: Any = None, timeout: timedelta | None = None
) -> Work | None:
    """Wait until all processes have come here.

    Raises: DistBackendError where one does not come within `timeout`, the group's by default.
    """
    found = member_of(group, "barrier")
    if found is None:
        return None
    if device_ids is not None:
        raise RuntimeError(
            "Function argument device_ids not supported for the selected backend: it is for GPUs"
        )
    return found.collective("barrier", "barrier", lambda c: c.barrier(), async_op=async_op, timeout=timeout)


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Put the tensor of each process into `tensor_list`, in the order of ranks; shapes and dtypes are the same."""
    check_tensor(tensor, "tensor")
    found = member_of(group, "all_gather")
    if found is None:
        return None
    _one_for_each(tensor_list, found.size(), "tensor_list")
    for one in tensor_list:
        _same(tensor, one)
    x, outs = read(tensor), [Written(t, "all_gather", keep=False) for t in tensor_list]
    return _gathered(found, "all_gather", x, outs, list(tensor_list), async_op)


def _gathered(
    found: Any, what: str, x: Any, outs: list[Written], result: list[Tensor], async_op: bool
) -> Work | None:
    def call(c: Call) -> None:
        c.all_gather(x, [o.flat for o in outs])
        for o in outs:
            o.finish()

    return found.collective(  # type: ignore[no-any-return]
        *(what, "all_gather", call),
        dtype=code_of(x),
        total=x.nbytes,
        result=result,
        async_op=async_op,
    )


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Put the tensors of all processes into one, behind each other or stacked, in the order of ranks."""
    check_tensor(input_tensor, "input_tensor")
    check_tensor(output_tensor, "output_tensor")
    found = member_of(group, "all_gather_into_tensor")
    if found is None:
        return None
    n = found.size()
    if output_tensor.dtype != input_tensor.dtype:
        raise ValueError(
            f"output tensor must have the same type as input tensor: the output is {output_tensor.dtype}, "
            f"it must be as the input, {input_tensor.dtype}"
        )
    if output_tensor.numel() != n * input_tensor.numel():
        raise ValueError(
            f"output tensor size must be equal to world_size times input tensor size: the output, "
            f"{tuple(output_tensor.shape)}, must be as the input, {tuple(input_tensor.shape)}, {n} times"
        )
    x, out = read(input_tensor), Written(output_tensor, "all_gather_into_tensor", keep=False)
    count = x.size

    def call(c: Call) -> None:
        c.all_gather(x, [out.flat[r * count : (r + 1) * count] for r in range(n)])
        out.finish()

    return found.collective(
        *("all_gather_into_tensor", "all_gather", call),
        dtype=code_of(x),
        total=x.nbytes,
        result=[output_tensor],
        async_op=async_op,
    )


all_gather_single = all_gather_into_tensor


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Put the tensor of each process into `gather_list` of rank `dst` (0 by default); the others give no list."""
    check_tensor(tensor, "tensor")
    found = member_of(group, "gather")
    if found is None:
        return None
    root = rank_in(found, 0 if dst is None and group_dst is None else dst, group_dst, "dst")
    outs: list[Written] = []
    if found.rank() == root:
        _one_for_each(gather_list, found.size(), "gather_list")
        assert gather_list is not None
        for one in gather_list:
            _same(tensor, one)
        outs = [Written(t, "gather", keep=False) for t in gather_list]
    else:
        _nothing_else(gather_list, "gather_list", "destination")
    x = read(tensor)

    def call(c: Call) -> None:
        c.gather(x, [o.flat for o in outs], root)
        for o in outs:
            o.finish()

    return found.collective(
        *(f"gather to rank {found.ranks[root]}", "gather", call),
        dtype=code_of(x),
        total=x.nbytes,
        result=list(gather_list or ()),
        async_op=async_op,
    )


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Give each process its entry of `scatter_list` of rank `src` (0 by default); the others give no list."""
    check_tensor(tensor, "tensor")
    found = member_of(group, "scatter")
    if found is None:
        return None
    root = rank_in(found, 0 if src is None and group_src is None else src, group_src, "src")
    ins: list[Any] = []
    if found.rank() == root:
        _one_for_each(scatter_list, found.size(), "scatter_list")
        assert scatter_list is not None
        for one in scatter_list:
            _same(one, tensor)
        ins = [read(t) for t in scatter_list]
    else:
        _nothing_else(scatter_list, "scatter_list", "source")
    x = Written(tensor, "scatter", keep=False)

    def call(c: Call) -> None:
        c.scatter(x.flat, ins, root)
        x.finish()

    return found.collective(
        *(f"scatter from rank {found.ranks[root]}", "scatter", call),
        dtype=code_of(x.flat),
        total=x.flat.nbytes,
        result=[tensor],
        async_op=async_op,
    )


def reduce_scatter(
    output: Tensor,
    input_list: list[Tensor],
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """Combine the lists of all processes entry by entry, and give each process the entry of its rank."""
    check_tensor(output, "output")
    checked = reductions.check(op, output.dtype)
    found = member_of(group, "reduce_scatter")
    if found is None:
        return None
    _one_for_each(input_list, found.size(), "input_list")
    _same_dtypes([output, *input_list])
    _same(input_list[found.rank()], output)
    ins, x = [read(t) for t in input_list], Written(output, "reduce_scatter", keep=False)

    def call(c: Call) -> None:
        c.reduce_scatter(x.flat, ins)
        x.finish()

    return found.collective(
        *("reduce_scatter", "reduce_scatter", call),
        dtype=code_of(x.flat),
        op=checked,
        total=sum(a.nbytes for a in ins),
        result=[output],
        async_op=async_op,
    )


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """Combine the tensors of all processes, and give each process its part, in the order of ranks."""
    check_tensor(output, "output")
    check_tensor(input, "input")
    checked = reductions.check(op, output.dtype)
    found = member_of(group, "reduce_scatter_tensor")
    if found is None:
        return None
    n, count = found.size(), output.numel()
    if input.dtype != output.dtype or input.numel() != n * count:
        raise ValueError(
            "input tensor must be the same size as output size times world size: the output, "
            f"{tuple(output.shape)} {output.dtype}, must be as a {n}th of the input, {tuple(input.shape)} {input.dtype}"
        )
    a, x = read(input), Written(output, "reduce_scatter_tensor", keep=False)

    def call(c: Call) -> None:
        c.reduce_scatter(x.flat, [a[r * count : (r + 1) * count] for r in range(n)])
        x.finish()

    return found.collective(
        *("reduce_scatter_tensor", "reduce_scatter", call),
        dtype=code_of(a),
        op=checked,
        total=a.nbytes,
        result=[output],
        async_op=async_op,
    )


reduce_scatter_single = reduce_scatter_tensor


def all_to_all(
    output_tensor_list: list[Tensor],
    input_tensor_list: list[Tensor],
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """Send entry r of `input_tensor_list` to rank r, and put what rank r sends into entry r of the other list."""
    found = member_of(group, "all_to_all")
    if found is None:
        return None
    _one_for_each(output_tensor_list, found.size(), "output_tensor_list")
    _one_for_each(input_tensor_list, found.size(), "input_tensor_list")
    _same_dtypes([*output_tensor_list, *input_tensor_list])
    own = found.rank()
    _same(input_tensor_list[own], output_tensor_list[own], shapes=False)
    ins = [read(t) for t in input_tensor_list]
    outs = [Written(t, "all_to_all", keep=False) for t in output_tensor_list]

    def call(c: Call) -> None:
        c.all_to_all([o.flat for o in outs], ins)
        for o in outs:
            o.finish()

    return found.collective(
        *("all_to_all", "all_to_all", call),
        dtype=code_of(ins[own]),
        result=list(output_tensor_list),
        async_op=async_op,
    )


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: Sequence[int] | None = None,
    input_split_sizes: Sequence[int] | None = None,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """Send each process a part of `input` along its first dim, and put what they send behind each other.

    The parts are equal, or have the given sizes.

    Raises: ValueError for sizes that are not those of the tensors.
    """
    check_tensor(output, "output")
    check_tensor(input, "input")
    found = member_of(group, "all_to_all_single")
    if found is None:
        return None
    _same_dtypes([output, input])
    taken = _bounds(output, output_split_sizes, found.size(), "output")
    given = _bounds(input, input_split_sizes, found.size(), "input")
    a, x = read(input), Written(output, "all_to_all_single", keep=False)
    own = found.rank()
    if given[own + 1] - given[own] != taken[own + 1] - taken[own]:
        raise ValueError(
            f"rank {own} sends itself {given[own + 1] - given[own]} elements and receives {taken[own + 1] - taken[own]}"
        )

    def call(c: Call) -> None:
        c.all_to_all(
            [x.flat[i:j] for i, j in zip(taken, taken[1:])], [a[i:j] for i, j in zip(given, given[1:])]
        )
        x.finish()

    return found.collective(
        *("all_to_all_single", "all_to_all", call), dtype=code_of(a), result=[output], async_op=async_op
    )


def _bounds(tensor: Tensor, sizes: Sequence[int] | None, n: int, name: str) -> list[int]:
    """Where the parts of a tensor begin and end, in elements."""
    rows = tensor.shape[0] if tensor.dim() else 1
    if not sizes:
        if rows % n:
            raise ValueError(
                f"Tensor's dim 0 does not divide equally across group size: {name} {tuple(tensor.shape)}, {n} processes"
            )
        sizes = [rows // n] * n
    if len(sizes) != n:
        raise ValueError(
            f"Number of tensor splits not equal to group size: {name} {list(sizes)}, {n} processes"
        )
    if sum(sizes) != rows or min(sizes) < 0:
        raise ValueError(
            f"Split sizes doesn't match total dim 0 size: {name} {list(sizes)}, {tuple(tensor.shape)}"
        )
    step = tensor.numel() // rows if rows else 0
    bounds = [0]
    for size in sizes:
        bounds.append(bounds[-1] + size * step)
    return bounds
