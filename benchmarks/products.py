"""Products of matrices with what is computed from them, or before them, in their kernel, against two kernels, in turns.

    python benchmarks/products.py [--threads N] [--rounds N] [--seconds S]

The figures are the time with one kernel / with two, of the best rounds; ``N`` has the second factor by rows, ``T`` by
columns, as a linear layer has its weight.  docs/compiler.md says what a compiled program makes of them.
"""

from __future__ import annotations

import argparse
import time
import timeit
from collections.abc import Callable
from typing import Any

import harness
import numpy as np

from flambeau.compiler import gemm
from flambeau.compiler.pointwise import pointwise_kernel
from flambeau.compiler.product_finish import Finish, Start
from flambeau.compiler.types import storage
from flambeau.runtime import pool

BEHIND = (
    *((32, 32, 32), (64, 64, 64), (16, 256, 256), (256, 256, 256), (128, 784, 512)),
    *((2048, 128, 512), (2048, 512, 128), (4096, 64, 1024), (512, 512, 512), (1024, 1024, 1024)),
)
BEFORE = (
    *((32, 32, 32), (64, 64, 64), (16, 256, 256), (256, 256, 256), (128, 784, 512)),
    *((2048, 512, 128), (4096, 512, 32), (4096, 1024, 64), (1024, 1024, 1024)),
)
SINGLE = storage("float32")
BODIES: dict[str, Callable[..., Any]] = {
    "relu": lambda k, x: k.max(x, 0.0) * 2.0,
    "gelu": lambda k, x: x * 0.5 * (1.0 + k.erf(x * 0.7071067811865476)),
    "residual": lambda k, x, y: x + y,
}
COUNT = {"relu": 1, "gelu": 1, "residual": 2}  # arrays that a body reads
KERNELS = {name: pointwise_kernel(b, ["float32"] * COUNT[name], ["float32"]) for name, b in BODIES.items()}
FINISHES = {
    name: Finish(b, (SINGLE,), ((SINGLE, "matrix"),) * (COUNT[name] - 1)) for name, b in BODIES.items()
}
STARTS = {name: Start(b, ((SINGLE, "matrix"),) * COUNT[name]) for name, b in BODIES.items()}


def empty(*shape: int) -> Any:
    return pool.empty((1, *shape), SINGLE.numpy)


def ways(
    name: str, m: int, k: int, n: int, turned: bool, before: bool, threads: int
) -> list[Callable[[], Any]]:
    """One kernel, and two."""
    r = np.random.default_rng(0)
    x, side = (r.standard_normal(s, np.float32) for s in ((1, m, k), (1, m, k) if before else (1, m, n)))
    w = (
        r.standard_normal((1, n, k), np.float32).swapaxes(1, 2)
        if turned
        else r.standard_normal((1, k, n), np.float32)
    )
    more = (side,) * (COUNT[name] - 1)
    shapes = x.shape, x.strides, w.shape, w.strides, threads
    alone = gemm.prepared("float32", *shapes)
    whole = (
        gemm.prepared("float32", *shapes, start=STARTS[name])
        if before
        else gemm.prepared("float32", *shapes, FINISHES[name])
    )

    def one() -> Any:
        out = empty(m, n)
        if before:
            whole(x, w, (), out, None, (x, *more))
        else:
            whole(x, w, (out,), out, None, more)
        return out

    def two() -> Any:
        if before:
            first = empty(m, k)
            KERNELS[name].fn(first, x, *more)
            out = empty(m, n)
            alone(first, w, (), out)
            return out
        product = empty(m, n)
        alone(x, w, (), product)
        out = empty(m, n)
        KERNELS[name].fn(out, product, *more)
        return out

    np.testing.assert_allclose(one(), two(), atol=1e-3)
    return [one, two]


def ratio(functions: list[Callable[[], Any]], rounds: int, seconds: float) -> float:
    """Of the best rounds."""
    timers = [timeit.Timer(f) for f in functions]
    calls = [harness.calls_per_round(t, seconds) for t in timers]
    best = [float("inf")] * len(timers)
    for turn in range(rounds):
        for i in range(len(timers)) if turn % 2 else reversed(range(len(timers))):
            time.sleep(0.002)
            best[i] = min(best[i], timers[i].timeit(calls[i]) / calls[i])
    return best[0] / best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument(
        "--seconds", type=float, default=0.002, help="of each round: short ones find the machine quiet"
    )
    options = parser.parse_args()
    harness.set_threads(options.threads)
    print(harness.conditions(options.threads))
    for before, sizes in ((False, BEHIND), (True, BEFORE)):
        title = "before the product" if before else "behind the product"
        print(f"\n{title:18}" + "".join(f"{f'{name} {layout}':>12}" for layout in "NT" for name in BODIES))
        for m, k, n in sizes:
            found = [
                ratio(
                    ways(name, m, k, n, layout == "T", before, options.threads),
                    options.rounds,
                    options.seconds,
                )
                for layout in "NT"
                for name in BODIES
            ]
            print(f"{f'{m}x{k}x{n}':18}" + "".join(f"{x:>12.2f}" for x in found), flush=True)


if __name__ == "__main__":
    main()
