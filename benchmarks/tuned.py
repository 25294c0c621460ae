"""``mode="max-autotune"`` against the default mode, in turns in one process.

    python benchmarks/tuned.py [--threads N] [--rounds N] [--seconds S] [--only TEXT]

The ratio is max-autotune / default of the medians (below 1: the search gained something).  "search" is the call that
makes the program, with an empty cache folder; then follow how many parts were searched and for how many of them something
other than the usual way was taken.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace

import compiled
import harness

MODES = ("default", "max-autotune")
NAMES = ("chain", "softmax", "layer norm", "sum", "mean of", "batched", "MLP", "convnet", "GPT")
ROWS = [
    *[compiled.product(n) for n in (64, 128, 256, 512, 1024, 2048)],
    *[row for row in compiled.ROWS if any(name in row.name for name in NAMES)],
]


def measure(row: compiled.Row, rounds: int, seconds: float) -> str:
    """The row's line."""
    from flambeau.capture import tune

    timers = {mode: compiled.scope(replace(row, mode=mode), "flambeau", True) for mode in MODES}
    for timer in timers.values():
        timer.timeit(1)
        before = set(tune._known)
        start = time.perf_counter()
        timer.timeit(1)
        search = time.perf_counter() - start
        new = [c for key, c in tune._known.items() if key not in before]
        timer.timeit(2)
    calls = {mode: harness.calls_per_round(timer, seconds) for mode, timer in timers.items()}
    taken: dict[str, list[float]] = {mode: [] for mode in MODES}
    for turn in range(rounds):
        for mode in MODES if turn % 2 else reversed(MODES):
            taken[mode].append(timers[mode].timeit(calls[mode]) / calls[mode])
    usual, tuned = (statistics.median(taken[mode]) for mode in MODES)
    changed = sum(c != tune.USUAL for c in new)
    return (
        f"{row.name:44}{usual * 1e6:>10.1f}us{tuned * 1e6:>10.1f}us{tuned / usual:>7.2f}"
        f"{search:>8.2f}s{len(new):>5}{changed:>5}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each round")
    parser.add_argument("--only", default="", help="rows whose name has this")
    options = parser.parse_args()
    harness.set_threads(options.threads)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        print(harness.conditions(options.threads))
        print(f"\n{'':44}{'default':>12}{'max-autotune':>12}{'ratio':>7}{'search':>9}{'of':>5}{'new':>5}")
        for row in ROWS:
            if options.only in row.name:
                print(measure(row, options.rounds, options.seconds), flush=True)


if __name__ == "__main__":
    main()
