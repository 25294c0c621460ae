"""When processes end, are late, or disagree: errors that name the rank, in all processes, and soon."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

import pytest

from distributed_workers import together


def _killed(rank: int, size: int, n: int) -> Any:
    import flambeau as torch

    dist = torch.distributed
    x = torch.ones(n)
    dist.all_reduce(x)
    if rank == 1:
        os._exit(3)
    started = time.monotonic()
    errors = []
    for _ in range(2):
        try:
            for _ in range(3):
                dist.all_reduce(x)
        except dist.DistBackendError as error:
            errors.append(str(error))
    return errors, time.monotonic() - started


@pytest.mark.parametrize("n", [3, 100_000])
def test_a_process_that_ends_is_named_by_all_others(n: int) -> None:
    found = together(_killed, 4, n)
    assert found[1] is None
    for got in (found[0], found[2], found[3]):
        errors, seconds = got
        assert len(errors) == 2 and all("rank 1 has closed its connection" in e for e in errors), errors
        assert seconds < 30


def _late(rank: int, size: int) -> Any:
    import flambeau as torch

    dist = torch.distributed
    dist.barrier()
    group, other = (dist.new_group(timeout=timedelta(seconds=0.4)) for _ in range(2))
    errors = []
    if rank == 2:
        time.sleep(1.5)
    for call in (lambda: dist.all_reduce(torch.ones(2), group=group), lambda: dist.barrier(group)):
        try:
            call()
        except dist.DistBackendError as error:
            errors.append(str(error))
    y = torch.zeros(1)
    if rank == 0:  # nobody sends
        started = time.monotonic()
        with pytest.raises(dist.DistBackendError, match="recv from rank 1 .tag 5."):
            dist.recv(y, 1, group=other, tag=5)
        assert time.monotonic() - started < 30
        with pytest.raises(dist.DistBackendError, match="Rank 2 failed to pass monitoredBarrier"):
            dist.monitored_barrier(timeout=timedelta(seconds=3))
    elif rank == 1:
        with pytest.raises(dist.DistBackendError, match="Rank 1 successfully reached"):
            dist.monitored_barrier(timeout=timedelta(seconds=3))
    dist.barrier()  # another group goes on
    return errors


def test_a_process_that_is_late_is_named() -> None:
    found = together(_late, 3)
    assert all(len(errors) == 2 for errors in found)
    for errors in found[:2]:
        assert "timed out after 0.4 s waiting for rank" in errors[0] and "2" in errors[0]


def _disagreeing(rank: int, size: int, case: str) -> str:
    import flambeau as torch

    dist = torch.distributed
    x = torch.arange(4.0)
    try:
        if case == "shape":
            dist.all_reduce(torch.ones(3 + rank))
        elif case == "long shape":
            dist.all_reduce(torch.ones(100_000 + rank))
        elif case == "dtype":
            dist.all_reduce(x if rank else x.double()[:2])
        elif case == "op":
            dist.all_reduce(x, dist.ReduceOp.SUM if rank else dist.ReduceOp.MAX)
        elif case == "call":
            dist.all_reduce(x) if rank else dist.broadcast(x, 0)
            dist.barrier()  # who only sends learns of it at the next call
        elif case == "message":
            dist.send(x, 1) if rank == 0 else dist.recv(torch.ones(2), 0)
    except dist.DistBackendError as error:
        assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("shape", ("3 elements of float32", "4 elements of float32")),
        ("long shape", ("100000 elements", "100001 elements")),
        ("dtype", ("2 elements of float64", "4 elements of float32")),
        ("op", ("by SUM", "by MAX")),
        ("call", ("all_reduce", "call 0 of the group")),
    ],
)
def test_processes_that_disagree_say_about_what(case: str, words: tuple[str, str]) -> None:
    found = together(_disagreeing, 2, case)
    for text in found:
        assert all(word in text for word in (*words, "rank 0", "rank 1")), found


def test_a_message_of_another_size_is_refused() -> None:
    _, taken = together(_disagreeing, 2, "message")
    assert "rank 0 sent 4 elements of float32 and rank 1 receives 2 elements of float32" in taken


def _argument_errors(rank: int, size: int) -> None:
    import flambeau as torch

    dist = torch.distributed
    x = torch.ones(2)
    for error, call in (
        (ValueError, lambda: dist.all_gather([x], x)),
        (ValueError, lambda: dist.all_gather([x, torch.ones(3)], x)),
        (ValueError, lambda: dist.all_gather_into_tensor(torch.ones(3), x)),
        (ValueError, lambda: dist.broadcast(x, 7)),
        (ValueError, lambda: dist.send(x, rank)),
        (ValueError, lambda: dist.new_group([0, 5])),
        (ValueError, lambda: dist.all_to_all_single(torch.ones(3), torch.ones(3))),
        (ValueError, lambda: dist.all_to_all_single(x, x, [1, 2], [1, 1])),
        (TypeError, lambda: dist.all_reduce([1.0])),
        (TypeError, lambda: dist.all_reduce(x, "sum")),
        (RuntimeError, lambda: dist.all_reduce(x, dist.ReduceOp.BAND)),
        (ValueError, lambda: dist.all_reduce(torch.ones(2, device="meta"))),
        (ValueError, lambda: dist.batch_isend_irecv([])),
        (ValueError, lambda: dist.init_process_group("gloo", rank=0, world_size=1)),
    ):
        with pytest.raises(error):
            call()
    dist.all_reduce(x)  # nothing of that has reached the others
    assert x.tolist() == [2.0, 2.0]


def test_wrong_arguments_are_found_before_anything_is_sent() -> None:
    together(_argument_errors, 2)
