"""Convolutions and pools, forward and with their gradients, against PyTorch in turns in one process.

    python benchmarks/conv.py [--threads N] [--rounds N] [--seconds S] [--only TEXT]

Ratios are ours / PyTorch's of the medians (below 1: flambeau is faster).
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import timeit

import harness

from flambeau.core import acceleration

SHAPES = "F = torch.nn.functional; torch.manual_seed(0)\nx = torch.randn({}, requires_grad=True)\n"


def convolution(name: str, x: str, w: str, settings: str) -> tuple[str, str, str]:
    setup = SHAPES.format(x) + f"w = torch.randn({w}, requires_grad=True)\n"
    return name, setup, f"F.conv2d(x, w, {settings})"


ROWS = [
    convolution("3x3, 64 to 64, 56x56", "4, 64, 56, 56", "64, 64, 3, 3", "padding=1"),
    convolution("1x1, 64 to 256, 56x56", "4, 64, 56, 56", "256, 64, 1, 1", "padding=0"),
    convolution("3x3 depthwise, 64, 56x56", "4, 64, 56, 56", "64, 1, 3, 3", "padding=1, groups=64"),
    convolution("3x3, 4 groups, 64 to 64, 28x28", "4, 64, 28, 28", "64, 16, 3, 3", "padding=1, groups=4"),
    convolution(
        "3x3 dilated by 2, 64 to 64, 28x28", "4, 64, 28, 28", "64, 64, 3, 3", "padding=2, dilation=2"
    ),
    convolution("3x3 stride 2, 64 to 128, 56x56", "4, 64, 56, 56", "128, 64, 3, 3", "padding=1, stride=2"),
    convolution("7x7 stride 2, 3 to 64, 224x224", "1, 3, 224, 224", "64, 3, 7, 7", "padding=3, stride=2"),
    convolution("3x3, 1 to 16, 28x28, batch 32", "32, 1, 28, 28", "16, 1, 3, 3", "padding=1"),
    convolution("3x3, 16 to 32, 14x14, batch 32", "32, 16, 14, 14", "32, 16, 3, 3", "padding=1"),
    (
        "batch norm, 16, 28x28, batch 32",
        SHAPES.format("32, 16, 28, 28") + "w = torch.ones(16, requires_grad=True)\nb = torch.zeros(16)\n",
        "F.batch_norm(x, None, None, w, b, True)",
    ),
    ("max pool 2x2, 16, 28x28, batch 32", SHAPES.format("32, 16, 28, 28"), "F.max_pool2d(x, 2)"),
    ("max pool 3x3 stride 2, 64, 112x112", SHAPES.format("1, 64, 112, 112"), "F.max_pool2d(x, 3, 2, 1)"),
    ("avg pool 2x2, 64, 56x56, batch 4", SHAPES.format("4, 64, 56, 56"), "F.avg_pool2d(x, 2)"),
]


def timer(setup: str, statement: str, module: str, backward: bool) -> timeit.Timer:
    names = {"torch": importlib.import_module(module)}
    if not backward:
        return timeit.Timer(f"with torch.no_grad(): {statement}", setup, globals=names)
    leaves = "(x, w)" if "w = " in setup else "(x,)"
    setup += f"g = torch.ones_like({statement}).detach()\n"
    return timeit.Timer(f"torch.autograd.grad({statement}, {leaves}, g)", setup, globals=names)


def measure(setup: str, statement: str, backward: bool, rounds: int, seconds: float) -> list[float]:
    """Median seconds of a call: ours, then PyTorch's where it is installed."""
    modules = ["flambeau"] + ["torch"] * (harness.reference() is not None)
    timers = [timer(setup, statement, module, backward) for module in modules]
    for t in timers:
        t.timeit(3)
    calls = [harness.calls_per_round(t, seconds) for t in timers]
    taken: list[list[float]] = [[] for _ in timers]
    for turn in range(rounds):
        order = range(len(timers))
        for i in order if turn % 2 else reversed(order):
            taken[i].append(timers[i].timeit(calls[i]) / calls[i])
    return [statistics.median(t) for t in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.05, help="of each round")
    parser.add_argument("--only", default="", help="rows whose name has this")
    options = parser.parse_args()
    harness.set_threads(options.threads)
    print(harness.conditions(options.threads))
    print(f"\n{'':38}{'':10}{'flambeau':>11}{'torch':>11}{'ratio':>7}")
    acceleration.load()  # kernels from the first call on: what counts here is how it goes on
    ratios = []
    for name, setup, statement in ROWS:
        if options.only not in name:
            continue
        for way in ("forward", "both ways"):
            took = measure(setup, statement, way == "both ways", options.rounds, options.seconds)
            line = f"{name:38}{way:10}" + "".join(f"{s * 1e6:>9.1f}us" for s in took)
            if len(took) == 2:
                ratios.append(took[0] / took[1])
                line += f"{ratios[-1]:>7.2f}"
            print(line, flush=True)
    if ratios:
        print(f"\ngeometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}")


if __name__ == "__main__":
    main()
