"""Collectives of several processes, against NumPy's answers on what the processes put in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distributed_workers import together

SIZES = (0, 1, 5, 40_001)  # the last goes around in a ring
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64")


def _values(dtype: str, size: int, rank: int) -> Any:
    """The same in this process and in those that the tests start."""
    import ml_dtypes

    rng = np.random.default_rng([size, rank])
    small = rng.integers(0, 4, size)
    if dtype == "bool":
        return small > 1
    if dtype == "complex64":
        return (small + 1j * rng.integers(0, 4, size)).astype(np.complex64)
    return small.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def _as_list(t: Any) -> Any:
    if t.dtype.is_complex:
        return t.detach().numpy().astype(np.complex128)  # a copy, as below
    return t.detach().double().clone().numpy()


def _every_collective(rank: int, size: int, numbers: tuple[int, ...], dtypes: tuple[str, ...]) -> list[Any]:
    import flambeau as torch
    from flambeau.core.tensor import from_array

    dist = torch.distributed
    got: list[Any] = []

    def own(dtype: str, n: int, which: int = rank) -> Any:
        return from_array(_values(dtype, n, which).copy())

    def blank(x: Any) -> Any:
        return torch.zeros_like(x)

    for dtype in dtypes:
        for n in numbers:
            answers: dict[str, Any] = {}
            for op in ("SUM", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR", "AVG"):
                x = own(dtype, n)
                try:
                    dist.all_reduce(x, getattr(dist.ReduceOp, op))
                    answers[f"all_reduce {op}"] = _as_list(x)
                except (RuntimeError, ValueError) as error:
                    answers[f"all_reduce {op}"] = type(error).__name__
            x = own(dtype, n)
            dist.reduce(x, dst=1)
            answers["reduce"] = _as_list(x)
            x = own(dtype, n)
            work = dist.broadcast(x, src=1, async_op=True)
            work.wait()
            assert work.is_completed() and work.is_success() and work.get_future().wait()[0] is x
            answers["broadcast"] = _as_list(x)
            outs = [blank(x) for _ in range(size)]
            dist.all_gather(outs, own(dtype, n))
            answers["all_gather"] = [_as_list(o) for o in outs]
            whole = torch.cat([blank(x) for _ in range(size)])
            dist.all_gather_into_tensor(whole, own(dtype, n))
            answers["all_gather_into_tensor"] = _as_list(whole)
            outs = [blank(x) for _ in range(size)] if rank == 0 else None
            dist.gather(own(dtype, n), outs, dst=0)
            answers["gather"] = None if outs is None else [_as_list(o) for o in outs]
            x = own(dtype, n)
            dist.scatter(x, [own(dtype, n, size + r) for r in range(size)] if rank == 1 else None, src=1)
            answers["scatter"] = _as_list(x)
            x = own(dtype, n)
            dist.reduce_scatter(x, [own(dtype, n, rank * size + r) for r in range(size)])
            answers["reduce_scatter"] = _as_list(x)
            whole = torch.cat([own(dtype, n, rank * size + r) for r in range(size)])
            dist.reduce_scatter_tensor(
                x, whole, dist.ReduceOp.MAX if not x.is_complex() else dist.ReduceOp.SUM
            )
            answers["reduce_scatter_tensor"] = _as_list(x)
            outs = [blank(x) for _ in range(size)]
            dist.all_to_all(outs, [own(dtype, n, rank * size + r) for r in range(size)])
            answers["all_to_all"] = [_as_list(o) for o in outs]
            part = blank(whole)
            dist.all_to_all_single(part, whole)
            answers["all_to_all_single"] = _as_list(part)
            got.append(answers)
    return got


def _fold(op: str, arrays: list[Any]) -> Any:
    kind = arrays[0].dtype.kind
    wide = [a.astype(np.complex128 if kind == "c" else np.float64) for a in arrays]
    if kind == "c" and op not in ("SUM", "AVG"):
        return "ValueError"
    if op in ("BAND", "BOR", "BXOR"):
        by = {"BAND": np.bitwise_and, "BOR": np.bitwise_or, "BXOR": np.bitwise_xor}[op]
        return by.reduce(arrays) if kind in "iub" else "RuntimeError"
    if op == "AVG" and kind in "iub":
        return "RuntimeError"
    if kind == "b":  # or, and
        wide = [a > 0 for a in arrays]
        return {"SUM": np.logical_or, "PRODUCT": np.logical_and, "MIN": np.logical_and, "MAX": np.logical_or}[
            op
        ].reduce(wide)
    if op == "AVG":
        return sum(wide) / len(wide)
    return {"SUM": np.add, "PRODUCT": np.multiply, "MIN": np.minimum, "MAX": np.maximum}[op].reduce(wide)


@pytest.mark.parametrize("size", [2, 3])
def test_every_collective_against_numpy(size: int) -> None:
    dtypes = DTYPES if size == 3 else ("float32", "bfloat16")
    found = together(_every_collective, size, SIZES, dtypes)
    for rank in range(size):
        cases = iter(found[rank])
        for dtype in dtypes:
            for n in SIZES:
                got = next(cases)

                def put(r: int, dtype: str = dtype, n: int = n) -> Any:
                    return _values(dtype, n, r)

                ins = [put(r) for r in range(size)]
                table = [[put(r * size + s) for s in range(size)] for r in range(size)]
                column = [table[r][rank] for r in range(size)]
                wanted = {
                    **{
                        f"all_reduce {op}": _fold(op, ins)
                        for op in ("SUM", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR", "AVG")
                    },
                    "reduce": _fold("SUM", ins) if rank == 1 else ins[rank],
                    "broadcast": ins[1],
                    "all_gather": ins,
                    "all_gather_into_tensor": np.concatenate(ins),
                    "gather": ins if rank == 0 else None,
                    "scatter": put(size + rank),
                    "reduce_scatter": _fold("SUM", column),
                    "reduce_scatter_tensor": _fold("SUM" if dtype == "complex64" else "MAX", column),
                    "all_to_all": column,
                    "all_to_all_single": np.concatenate(column),
                }
                assert got.keys() == wanted.keys()
                loose = {"float16": 1e-3, "bfloat16": 1e-2}.get(dtype, 1e-6)
                for name, value in wanted.items():
                    where = f"{name} of {n} {dtype} at rank {rank}"
                    if value is None or isinstance(value, str):
                        assert got[name] == value, where
                        continue
                    b = np.stack(value) if isinstance(value, list) else np.asarray(value)
                    a = np.stack(got[name]) if isinstance(value, list) else got[name]
                    b = b.astype(np.complex128 if b.dtype.kind == "c" else np.float64)
                    np.testing.assert_allclose(a, b, rtol=loose if "AVG" in name else 0, err_msg=where)


def _same_bits(rank: int, size: int) -> Any:
    import flambeau as torch

    dist = torch.distributed
    torch.manual_seed(rank)
    sums = []
    for n in (7, 100_003):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(n).to(dtype)
            dist.all_reduce(x)
            sums.append(x.view(torch.uint8).numpy().tobytes())
    # Memory with gaps, and tensors of no dims; what is beside them stays.
    base = torch.arange(12.0).reshape(3, 4)
    dist.all_reduce(base[:, 1])
    scalar = torch.tensor(float(rank))
    dist.all_reduce(scalar)
    turned = torch.zeros(4, 3).t()
    dist.broadcast(torch.arange(12.0).reshape(3, 4) if rank == 0 else turned, src=0)
    into = torch.zeros(6)
    strided = torch.arange(6.0)[::2] if rank == 0 else into[::2]
    dist.send(strided, 1, tag=3) if rank == 0 else None
    if rank == 1:
        dist.recv(strided, 0, tag=3)
    return sums, base.tolist(), scalar.item(), turned.tolist(), into.tolist()


def test_all_ranks_have_the_same_bits_and_memory_with_gaps_works() -> None:
    found = together(_same_bits, 3)
    assert found[0][0] == found[1][0] == found[2][0]
    base = np.arange(12.0).reshape(3, 4)
    base[:, 1] *= 3
    for rank, (_, got, scalar, turned, into) in enumerate(found):
        assert got == base.tolist() and scalar == 3.0
        assert rank == 0 or turned == np.arange(12.0).reshape(3, 4).tolist()
        assert rank != 1 or into == [0.0, 0.0, 2.0, 0.0, 4.0, 0.0]


def _messages(rank: int, size: int) -> Any:
    import flambeau as torch

    dist = torch.distributed
    got: list[Any] = []
    after, before = (rank + 1) % size, (rank - 1) % size
    for n in (3, 200_000):  # the latter are announced first
        x, y = torch.full((n,), float(rank)), torch.zeros(n)
        works = dist.batch_isend_irecv([dist.P2POp(dist.isend, x, after), dist.P2POp(dist.irecv, y, before)])
        for work in works:
            work.wait()
        got.append(y[[0, -1]].tolist())
    if rank == 0:  # from anybody, and by tag rather than in order
        y = torch.zeros(1)
        got.append(sorted(dist.recv(y) for _ in range(size - 1)))
        dist.recv(y, 1, tag=8)
        got.append(y.item())
        dist.recv(y, 1, tag=7)
        got.append(y.item())
    else:
        dist.send(torch.ones(1), 0)
        if rank == 1:
            dist.send(torch.full((1,), 7.0), 0, tag=7)
            dist.send(torch.full((1,), 8.0), 0, tag=8)
    objects: list[Any] = [None] * size
    dist.all_gather_object(objects, {"rank": rank, "text": "x" * rank})
    got.append(objects)
    gathered: list[Any] | None = [None] * size if rank == 1 else None
    dist.gather_object((rank,), gathered, dst=1)
    got.append(gathered)
    shared: list[Any] = [rank, {"from": rank}]
    dist.broadcast_object_list(shared, src=1)
    got.append(shared)
    mine: list[Any] = [None]
    dist.scatter_object_list(mine, [[r] for r in range(size)] if rank == 0 else None, src=0)
    got.append(mine)
    if rank == 0:
        dist.send_object_list(["a", 2], dst=1)
    elif rank == 1:
        taken: list[Any] = [None, None]
        assert dist.recv_object_list(taken, src=0) == 0
        got.append(taken)
    # Groups: ranks of the world and of the group.
    pair = dist.new_group([0, 2])
    x = torch.tensor([float(rank)])
    if rank == 1:
        assert pair == dist.GroupMember.NON_GROUP_MEMBER and dist.get_rank(pair) == -1
    else:
        dist.all_reduce(x, group=pair)
        dist.broadcast(y := torch.tensor([rank]), src=2, group=pair)
        got.append((x.item(), y.item(), dist.get_rank(pair), dist.get_process_group_ranks(pair)))
        dist.destroy_process_group(pair)
    own, groups = dist.new_subgroups(1)
    dist.all_reduce(x, group=own)
    assert len(groups) == size and dist.get_world_size(own) == 1
    dist.monitored_barrier()
    dist.barrier(async_op=True).wait()
    return got


def test_messages_objects_and_groups() -> None:
    found = together(_messages, 3)
    objects = [{"rank": r, "text": "x" * r} for r in range(3)]
    for rank, got in enumerate(found):
        before = float((rank - 1) % 3)
        assert got[:2] == [[before] * 2] * 2
        rest = got[2:]
        if rank == 0:
            assert rest[:3] == [[1, 2], 8.0, 7.0]
            rest = rest[3:]
        assert rest[0] == objects
        assert rest[1] == ([(0,), (1,), (2,)] if rank == 1 else None)
        assert rest[2] == [1, {"from": 1}] and rest[3] == [[rank]]
        assert rest[4] == (["a", 2] if rank == 1 else (2.0, 2, rank // 2, [0, 2]))
