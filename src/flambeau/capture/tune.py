"""``mode="max-autotune"``: the fastest of several ways to run each part of a program, found by timing them.

Where a program has a choice that no rule settles for every machine (how far a loop is unrolled, how work is cut for
the threads, whether a product is NumPy's or one of the generated ones and with which tiles), the candidates run on
arrays of the real shapes and layouts, in turns, and the winner is kept: in memory, and in the cache folder under a name
that covers what was measured, the processor, the number of threads and the versions of everything that takes part.
Another process finds it there.  An entry that is damaged, or means nothing, is searched for again.

A candidate whose results differ from the usual ones is dropped, and one that is hardly faster is not taken, so a
choice changes times and rounding, never what a program means.  Searches are bounded: `DECISION` seconds for a part, or
some calls if those take longer, and `PROGRAM` for a program; what is left over then is searched for another time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..compiler import engine, gemm
from ..compiler.gemm import Schedule
from ..runtime.threads import get_num_threads
from .graph import Value

__all__ = ["COUNTS", "USUAL", "Choice", "Stages", "Tuner"]

DECISION = 0.05  # seconds to find one choice, unless a call takes long: then CALLS of them, LONGEST at most
CALLS, LONGEST = 20, 1.0
PROGRAM = 2.0  # seconds for all choices of a program
PATIENCE = 1.0  # seconds after which the search says that it goes on
GAIN, GAIN_OF_BLAS = (
    0.95,
    0.85,
)  # what a winner takes of the usual time at most; BLAS's own threads disturb the pool's
LARGEST = 512 << 20  # bytes of the arrays that are made to try something
SERIAL = 1e-6  # of the cost: everything on one thread
VERSION = 1
COUNTS = {"searches": 0, "found": 0, "skipped": 0}


class Choice(NamedTuple):
    """How a part of a program runs.

    `way`: ``calls`` (one operation after the other) or ``kernel`` (also of a single small operation), for products
    ``numpy``, ``apart`` (what is computed from it in a kernel of its own) or empty; `unroll`: vectors in a step of the loop, 0 for what suits its weight; `factor`: how costly an
    element is to be taken for when work is cut for the threads; `columns`: elements in a chunk of a reduction over
    everything; `schedule`: of a generated product.
    """

    way: str = ""
    unroll: int = 0
    factor: float = 1.0
    columns: int = 1 << 13
    schedule: Schedule = gemm.NATURAL

    def __str__(self) -> str:
        usual = USUAL._asdict()
        parts = [f"{k}={v}" for k, v in self._asdict().items() if v != usual[k] and k != "schedule"]
        parts += [f"{k}={v}" for k, v in self.schedule._asdict().items() if v != getattr(gemm.NATURAL, k)]
        return ", ".join(parts) or "as without a search"


USUAL = Choice()  # what is taken without a search
_known: dict[str, Choice] = {}
Stages = Callable[[dict[Choice, float]], Iterator[list[Choice]]]


# ---------------------------------------------------------------------------------------------------- what is kept


@lru_cache(maxsize=1)
def _machine() -> str:
    """The processor and the versions that a measurement holds for."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace")[: 1 << 14].splitlines()
        model = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    blas = [
        os.environ.get(name, "") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    ]
    version = sys.modules[__name__.partition(".")[0]].__version__
    return repr((VERSION, version, np.__version__, engine.fingerprint(), model, os.cpu_count(), blas))


def _key(subject: str) -> str:
    return "choice-" + hashlib.sha256(f"{_machine()}\n{get_num_threads()}\n{subject}".encode()).hexdigest()


def _written(choice: Choice) -> bytes:
    return json.dumps([*choice[:-1], list(choice.schedule)]).encode()


def _read(stored: bytes) -> Choice | None:
    """The choice in a file, None for anything else."""
    try:
        way, unroll, factor, columns, (gemm_way, *cuts) = json.loads(stored)
    except (ValueError, TypeError):
        return None
    fine = (
        way in ("", "calls", "kernel", "numpy", "apart")
        and unroll in (0, 1, 2, 4, 8)
        and type(factor) is float
        and SERIAL <= factor <= 1e3
        and columns in (1 << n for n in range(10, 21))
        and gemm_way in ("", "packed", "plain", "transposed")
        and len(cuts) == 3
        and all(type(n) is int and 0 <= n <= 1 << 12 for n in cuts)
        and cuts[0] >= 16
        and cuts[1] >= 1
    )
    return Choice(way, unroll, factor, columns, Schedule(gemm_way, *cuts)) if fine else None


def _recall(key: str) -> Choice | None:
    found = _known.get(key)
    if found is None:
        stored = engine.object_cache.get(key)
        found = _read(stored) if stored is not None else None
        if found is not None:
            _known[key] = found
    return found


# ------------------------------------------------------------------------------------------------------- measuring


def sample(v: Value, seed: int) -> Any:
    """An array with the shape, dtype and strides of `v`; None for what cannot be made up.

    Its numbers are between a half and one and a half: no operation of the usual ones leaves its domain there.
    """
    item = v.dtype.itemsize
    if v.dtype.kind not in "fiubV" or any(s % item for s in v.strides):
        return None
    below = -sum((n - 1) * s for n, s in zip(v.shape, v.strides) if s < 0 and n)
    above = sum((n - 1) * s for n, s in zip(v.shape, v.strides) if s > 0 and n) + item
    some = np.random.default_rng(seed).random(4099) + 0.5
    pattern = (
        some > 1
        if v.dtype.kind == "b"
        else some.astype(v.dtype)
        if v.dtype.kind in "fV"
        else np.ones(1, v.dtype)
    )
    memory = np.resize(pattern, (below + above) // item)
    return as_strided(memory[below // item :], v.shape, v.strides)


def alike(got: Sequence[Any], want: Sequence[Any]) -> bool:
    """Whether results agree in layout, and in values but for rounding."""
    for g, w in zip(got, want, strict=True):
        if (g.shape, g.dtype, g.strides) != (w.shape, w.dtype, w.strides):
            return False
        if w.dtype.kind not in "fV":
            if not np.array_equal(g, w):
                return False
            continue
        tolerance = {2: 2e-2, 4: 1e-4}.get(w.dtype.itemsize, 1e-9)
        if w.dtype.itemsize == 2:
            g, w = g.astype(np.float32), w.astype(np.float32)
        size = np.max(np.abs(w), where=np.isfinite(w), initial=0.0)
        if not np.allclose(g, w, rtol=tolerance, atol=tolerance * size, equal_nan=True):
            return False
    return True


def timed(run: Callable[[], Any], loops: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        run()
    return (time.perf_counter() - start) / loops


def race(runs: dict[Choice, Callable[[], Any]], seconds: float) -> dict[Choice, float]:
    """The shortest time of each, taken in turns; who is far behind drops out."""
    end = time.perf_counter() + seconds
    best: dict[Choice, float] = {}
    for c, run in runs.items():
        best[c] = timed(run)
        if time.perf_counter() > end:
            return best
    loops = {c: max(1, min(200, int(3e-5 / max(t, 1e-7)))) for c, t in best.items()}
    for _ in range(12):
        limit = 1.5 * min(best.values())
        for c, run in runs.items():
            if best[c] <= limit:
                if time.perf_counter() > end:
                    return best
                best[c] = min(best[c], timed(run, loops[c]))
    return best


def duel(
    first: Callable[[], Any], second: Callable[[], Any], seconds: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The shortest and the median time of each of two, in turns: on a busy machine one of them alone misleads."""
    end = time.perf_counter() + seconds
    taken: tuple[list[float], list[float]] = [], []
    loops = max(1, min(200, int(3e-5 / max(timed(second), 1e-7))))
    for turn in range(25):
        for n in (0, 1) if turn % 2 else (1, 0):
            taken[n].append(timed((first, second)[n], loops))
        if turn >= 4 and time.perf_counter() > end:
            break
    one, other = [(min(t), sorted(t)[len(t) // 2]) for t in taken]
    return one, other


class Tuner:
    """Finds the choices of one program."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.spent = 0.0
        self.shown = False
        self.notes: list[str] = []

    def choose(
        self,
        subject: str,
        reads: Sequence[Value],
        numbers: Sequence[Any],
        makes: Sequence[Value],
        stages: Stages,
        trial: Callable[[Choice], Callable[..., Any]],
    ) -> Choice:
        """The choice for a part of the program.

        Args:
            subject: what the choice depends on, but for the machine.
            reads, numbers, makes: its arrays, the types of its numbers, and its results.
            stages: gives the candidates of each stage, from the times of those before.
            trial: gives the function ``(arrays, numbers) -> results`` that runs the part in a way.
        """
        key = _key(subject)
        found = _recall(key)
        if found is not None:
            COUNTS["found"] += 1
            self.notes.append(f"kept from an earlier search: {found}: {subject[:100]}")
            return found
        if self.spent > PROGRAM or sum(v.nbytes for v in chain(reads, makes)) > LARGEST:
            COUNTS["skipped"] += 1
            return USUAL
        start = time.perf_counter()
        arrays = [sample(v, n) for n, v in enumerate(reads)]
        if any(a is None for a in arrays):
            return USUAL
        COUNTS["searches"] += 1
        values = [kind(1) if kind is not float else 0.75 for kind in numbers]
        self.show(subject)

        def make(candidate: Choice) -> Callable[[], Any]:
            run = trial(candidate)
            return lambda: run(arrays, values)

        try:
            with np.errstate(all="ignore"):
                choice, usual, took = self.search(stages, make)
        finally:
            self.spent += time.perf_counter() - start
        self.notes.append(
            f"searched: {choice}, {took * 1e6:.1f} us instead of {usual * 1e6:.1f}: {subject[:100]}"
        )
        _known[key] = choice
        engine.object_cache.put(key, _written(choice))
        return choice

    def search(
        self, stages: Stages, make: Callable[[Choice], Callable[[], Any]]
    ) -> tuple[Choice, float, float]:
        """The best choice, and the times of the usual one and of it."""
        runs = {USUAL: make(USUAL)}
        want = runs[USUAL]()
        first = timed(runs[USUAL])
        times = {USUAL: first if first > LONGEST / CALLS else min(first, timed(runs[USUAL], 2))}
        left = min(max(DECISION, CALLS * times[USUAL]), LONGEST)  # of measuring; code is made beside that
        best = USUAL
        for candidates in stages(times):
            for c in candidates:
                if c in runs or left <= 0 or time.perf_counter() - self.start > PROGRAM:
                    continue
                run = make(c)
                start = time.perf_counter()
                got = run()
                took = time.perf_counter() - start
                left -= min(took, 3 * times[USUAL])  # the first call of generated code may make it, too
                hopeless = c.way in ("numpy", "calls") and took > max(10 * times[USUAL], DECISION / 10)
                if not hopeless and alike(got, want):
                    runs[c] = run
            field = {c: runs[c] for c in dict.fromkeys((USUAL, best, *candidates)) if c in runs}
            if left > 0 and len(field) > 1:
                start = time.perf_counter()
                for c, t in race(field, left / 2).items():
                    times[c] = min(t, times.get(c, t))
                left -= time.perf_counter() - start
            best = min(times, key=times.__getitem__)
        if best == USUAL:
            return best, times[best], times[best]
        gain = GAIN_OF_BLAS if best.way == "numpy" else GAIN
        usual, new = duel(runs[USUAL], runs[best], min(max(left, DECISION / 2), LONGEST / 4))
        faster = all(t <= gain * u for t, u in zip(new, usual))
        return best if faster else USUAL, usual[0], new[0] if faster else usual[0]

    def show(self, subject: str) -> None:
        """One line on a terminal, if it takes long."""
        taken = time.perf_counter() - self.start
        if taken > PATIENCE and sys.stderr is not None and sys.stderr.isatty():
            self.shown = True
            line = f"flambeau: max-autotune, {len(self.notes)} searches in {taken:.1f} s, now {subject}"
            sys.stderr.write(f"\r{line[:78]:<78}")
            sys.stderr.flush()

    def finish(self) -> None:
        """Take the line away."""
        if self.shown:
            sys.stderr.write(f"\r{'':<78}\r")
            sys.stderr.flush()
