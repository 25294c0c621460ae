"""Every operation of the first tier against PyTorch in eager mode, forward and backward, at three sizes.

    python benchmarks/ops.py [--ops NAME ...] [--sizes small middle large] [--threads N] [--rounds N] [--seconds S]
    python benchmarks/ops.py --page docs/speed.md

The ratio is flambeau's time / PyTorch's, medians of rounds in turns, and that of the best rounds, which says more on a
busy machine. Shown are rows over 2 in both, each with its reason (`REASONS`), and geometric means; ``--all`` shows every
row, ``--check`` makes a mean over 1 an error, ``--page`` writes the result of a run over everything. The sizes have about 64, 10^5 and 4 * 10^6 elements; `ops_table.py` has
the calls. Both libraries are warm: their threads run, and flambeau has loaded LLVM.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import importlib
import math
import os
import statistics
import sys
import time
import timeit
from collections.abc import Sequence
from dataclasses import dataclass

import harness
from ops_table import CALLS, SIZES, Call

LIMIT = 2.0

# Why an operation is more than twice as slow as PyTorch's: (patterns of names, way, size, reason). The first entry that
# matches counts; empty means all.
VIEWS = """reshape view permute transpose t T squeeze unsqueeze flatten expand split chunk unbind narrow select diagonal
    meshgrid real imag"""
REASONS: list[tuple[str, str, str, str]] = [
    (VIEWS, "forward", "", "a view: an object and its storage's note of it, 1 to 2 us at any size"),
    ("empty* zeros* ones* full* *_like", "", "", "arguments are read and memory is recycled in Python"),
    ("linalg.* *inv *solve", "", "", "NumPy's LAPACK, matrix by matrix; gradients are composed of products"),
    (
        "randn* randint normal uniform bernoulli multinomial *dropout",
        "",
        "",
        "PyTorch's own numbers: its generator and its algorithm for each distribution, step by step",
    ),
    ("*conv* *pool* *interpolate", "", "", "windows are gathered by NumPy, one pass for each tap"),
    ("*", "", "small", "a microsecond of Python for each operation inside, against one C++ function"),
    (
        "sort argsort topk median unique nonzero masked_select",
        "",
        "",
        "NumPy's sorting and searching, on one thread",
    ),
    ("fft.*", "", "", "pocketfft against MKL"),
    (
        "*index* gather scatter* take_along_dim embedding *.embedding *nll_loss *one_hot __getitem__",
        "",
        "",
        "indices are checked, then followed, in passes of their own",
    ),
    (
        "*_norm var std var_mean norm *normalize *cosine*",
        "",
        "",
        "moments, values and affine map are passes of their own",
    ),
    ("*", "", "middle", "NumPy on one thread, or a kernel's call and result, a microsecond or two each"),
    ("*", "", "", "several passes over memory, one for each operation of the composite"),
]


@dataclass(frozen=True)
class Entry:
    """One row of the table, with seconds a call."""

    name: str
    way: str
    size: str
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def best(self) -> float:
        return min(self.ours) / min(self.theirs)

    @property
    def over(self) -> bool:
        return min(self.ratio, self.best) > LIMIT

    @property
    def reason(self) -> str:
        for patterns, way, size, text in REASONS:
            named = any(fnmatch.fnmatchcase(self.name, pattern) for pattern in patterns.split())
            if named and way in ("", self.way) and size in ("", self.size):
                return text
        return ""


def timer(call: Call, size: str, module: str, backward: bool) -> timeit.Timer:
    """The call's timer; the backward pass starts from a gradient of ones."""
    torch = importlib.import_module(module)
    scope = {"torch": torch, "s": SIZES[size]}
    torch.manual_seed(0)
    exec(call.setup, scope)
    if not backward:
        return timeit.Timer(call.expression, globals=scope)
    for name in call.wrt:
        scope[name] = scope[name].detach().requires_grad_()
    y = eval(call.expression, scope)
    scope |= {"y_": y, "g_": torch.ones_like(y), "grad_": torch.autograd.grad}
    inputs = "".join(f"{name}, " for name in call.wrt)
    return timeit.Timer(f"grad_(y_, ({inputs}), g_, retain_graph=True)", globals=scope)


def measure(name: str, size: str, backward: bool, rounds: int, seconds: float) -> Entry:
    """Rounds in turns; a round that takes long has one call."""
    timers = [timer(CALLS[name], size, module, backward) for module in ("flambeau", "torch")]
    for t in timers:
        t.timeit(2)  # imports and kernels are made in the first call
    counts = [harness.calls_per_round(t, seconds) for t in timers]
    taken: list[list[float]] = [[], []]
    for turn in range(rounds):
        for i in (0, 1) if turn % 2 else (1, 0):
            time.sleep(0.001)
            taken[i].append(timers[i].timeit(counts[i]) / counts[i])
        if sum(map(sum, taken)) > 3.0 and turn:
            break
    return Entry(name, "backward" if backward else "forward", size, taken[0], taken[1])


def warm_up() -> None:
    """What a program has after its first seconds: generated code is loaded, both libraries' threads exist."""
    for module in ("flambeau", "torch"):
        torch = importlib.import_module(module)
        torch.manual_seed(0)
        x, w = torch.randn(2000, 1000), torch.randn(1000, 1000)
        until, calls = time.perf_counter() + 1.0, 0
        while (
            time.perf_counter() < until or calls < 60
        ):  # so many that LLVM would have paid, on a slow machine too
            calls += 1
            torch.softmax(torch.exp(torch.randn(2000, 1000) * 0.1 + x) @ w, 1)


def mean(ratios: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else math.nan


def means(entries: Sequence[Entry]) -> str:
    medians, bests = (mean([getattr(e, name) for e in entries]) for name in ("ratio", "best"))
    return f"{len(entries):>4} rows, geometric mean {medians:.2f}, of best rounds {bests:.2f}"


def show(entry: Entry) -> str:
    columns = "{:<46} {:<9} {:<7} {:>9} {:>9} {:>6} {:>6}  {}"
    times = [harness.show_time(statistics.median(t)) for t in (entry.ours, entry.theirs)]
    ratios = f"{entry.ratio:.2f}", f"{entry.best:.2f}"
    return columns.format(
        entry.name, entry.way, entry.size, *times, *ratios, entry.reason if entry.over else ""
    )


BEGIN, COLUMNS = "# Speed", "| operation | direction | size | flambeau | PyTorch | ratio |"


def page(entries: Sequence[Entry], conditions: str) -> str:
    """The page of a run: means, and every row over the limit under its reason."""
    over = [e for e in entries if e.over]
    text = [
        BEGIN,
        "",
        f"`make bench-ops`: {len(entries)} measurements of the operations of PyTorch's first tier. The ratio is",
        "flambeau's time / PyTorch's, the smaller of that of the medians and that of the best rounds. This page is made by",
        "`python benchmarks/ops.py --page docs/speed.md`; a test holds it to the calls and reasons of `benchmarks/`.",
        "",
        f"{conditions}.",
        "",
        "| direction | size | rows | geometric mean | of best rounds | rows over 2 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    groups = {(e.way, e.size): [f for f in entries if (f.way, f.size) == (e.way, e.size)] for e in entries}
    for (way, size), chosen in [
        *sorted(groups.items(), key=lambda g: (g[0][0] != "forward", list(SIZES).index(g[0][1])))
    ]:
        text.append(_summary(way, size, chosen))
    text += [_summary("all", "", entries), "", "## Over twice PyTorch's time"]
    for reason in dict.fromkeys(e.reason for e in over):
        rows = [e for e in over if e.reason == reason]
        text += ["", f"### {reason[0].upper()}{reason[1:]}", "", COLUMNS, "| --- " * 6 + "|"]
        for e in sorted(rows, key=lambda e: -min(e.ratio, e.best)):
            ours, theirs = (harness.show_time(min(t)) for t in (e.ours, e.theirs))
            text.append(f"| {e.name} | {e.way} | {e.size} | {ours} | {theirs} | {min(e.ratio, e.best):.1f} |")
    return "\n".join(text) + "\n"


def _summary(way: str, size: str, entries: Sequence[Entry]) -> str:
    medians, bests = (mean([getattr(e, name) for e in entries]) for name in ("ratio", "best"))
    return (
        f"| {way} | {size} | {len(entries)} | {medians:.2f} | {bests:.2f} | {sum(e.over for e in entries)} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    threads = max(1, (os.cpu_count() or 1) // 2)
    parser.add_argument("--ops", nargs="*", default=[], help="names, or parts of names")
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--ways", nargs="*", default=["forward", "backward"], choices=["forward", "backward"])
    parser.add_argument("--threads", type=int, default=threads, help="for both libraries")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.003, help="how long a round of one library takes")
    parser.add_argument("--all", action="store_true", help="show every row")
    parser.add_argument("--page", help="write the result to this file")
    parser.add_argument("--check", action="store_true", help="exit with 1 when the mean is over 1")
    options = parser.parse_args()
    harness.set_threads(options.threads)
    print(harness.conditions(options.threads))
    if harness.reference() is None:
        print("Nothing to compare with: pip install -e '.[reference]'")
        return 0
    unknown = [o for o in options.ops if not any(o in name for name in CALLS)]
    if unknown:
        parser.error(f"no operation is called {', '.join(unknown)}")
    names = [n for n in CALLS if not options.ops or n in options.ops or any(o in n for o in options.ops)]
    warm_up()
    entries, failed = [], 0
    gc.collect()
    gc.disable()
    for name in names:
        for size in CALLS[name].sizes:
            for way in options.ways:
                backward = way == "backward"
                if size not in options.sizes or backward and not CALLS[name].wrt:
                    continue
                try:
                    entry = measure(name, size, backward, options.rounds, options.seconds)
                except Exception as error:
                    print(f"{name:<46} {way:<9} {size:<7} failed: {type(error).__name__}: {error}")
                    failed += 1
                    continue
                entries.append(entry)
                if options.all or entry.over:
                    print(show(entry), flush=True)
        gc.collect()
    print()
    for way in options.ways:
        for size in options.sizes:
            chosen = [e for e in entries if e.way == way and e.size == size]
            if chosen:
                print(f"{way:<9} {size:<7} {means(chosen)}")
    over = [e for e in entries if e.over]
    bare = sum(not e.reason for e in over)
    print(f"all: {means(entries)}; {len(over)} over {LIMIT:g}, {bare} without a reason")
    if options.page:
        with open(options.page, "w") as f:
            f.write(page(entries, harness.conditions(options.threads)))
    return int(
        failed > 0
        or (options.check and min(mean([e.ratio for e in entries]), mean([e.best for e in entries])) > 1)
    )


if __name__ == "__main__":
    sys.exit(main())
