"""Kernels against PyTorch: times of one interleaved run and their ratios (below 1: flambeau is faster).

    python benchmarks/kernels.py [--threads N] [--only TEXT] [--rounds N]

PyTorch's times are of whole operations on tensors without gradients; flambeau's are of kernels on NumPy
arrays, allocation of the results included. Idle OpenMP threads spin for 5 to 8 ms; before each measurement
they get time to fall asleep, so that those of one library do not take the processors from the other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from flambeau.compiler import gemm, rowwise
from flambeau.compiler.optim_kernels import adam_update, sgd_update
from flambeau.compiler.pointwise import pointwise_kernel
from flambeau.runtime import threads
from flambeau.runtime.pool import empty

Case = tuple[str, Callable[[], object], Callable[[], object]]
generator = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return generator.standard_normal(shape, np.float32)


def pointwise_cases() -> Iterator[Case]:
    f4 = "float32"
    add = pointwise_kernel(lambda k, x, y: x + y, [f4] * 2, [f4])
    exp = pointwise_kernel(lambda k, x: k.exp(x), [f4], [f4])
    gelu = pointwise_kernel(lambda k, x: x * 0.5 * (1.0 + k.erf(x * 0.7071067811865476)), [f4], [f4])
    chain = pointwise_kernel(
        lambda k, x: x * 0.5 * (1.0 + k.erf(x * 0.7071067811865476)) * 2.0 + k.tanh(x), [f4], [f4]
    )

    def fresh(kernel: Callable[..., None], *inputs: np.ndarray) -> Callable[[], object]:
        def call() -> np.ndarray:
            out = empty(inputs[0].shape, inputs[0].dtype)
            kernel(out, *inputs)
            return out

        return call

    for n in (100, 10_000, 100_000, 1_000_000, 10_000_000):
        x, y = normal(n), normal(n)
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        yield f"add {n:.0e}", fresh(add.fn, x, y), lambda tx=tx, ty=ty: tx + ty
        yield f"exp {n:.0e}", fresh(exp.fn, x), lambda tx=tx: tx.exp()
        yield f"gelu {n:.0e}", fresh(gelu.fn, x), lambda tx=tx: functional.gelu(tx)
        yield f"chain {n:.0e}", fresh(chain.fn, x), lambda tx=tx: functional.gelu(tx) * 2.0 + tx.tanh()
    x, b = normal(512, 1024), normal(1024)
    out, tx, tb = np.empty_like(x), torch.from_numpy(x), torch.from_numpy(b)
    yield "bias add 512x1024", lambda: add.broadcast([out], [x, b]), lambda: tx + tb


def optimizer_cases() -> Iterator[Case]:
    for size, count in ((100, 50), (4096, 200), (262_144, 20)):
        columns = [[normal(size) for _ in range(count)] for _ in range(4)]
        columns[3] = [np.abs(a) for a in columns[3]]
        params = [torch.tensor(a, requires_grad=True) for a in columns[0]]
        for p, g in zip(params, columns[1], strict=True):
            p.grad = torch.tensor(g)
        for fused in (True, False):
            adam = torch.optim.Adam(params, fused=fused, foreach=False)
            yield (
                f"adam {count}x{size} against {'fused' if fused else 'loop'}",
                lambda columns=columns: adam_update(
                    *columns, step=3, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8
                ),
                adam.step,
            )
        sgd = torch.optim.SGD(params, lr=1e-3, momentum=0.9, fused=True)
        yield (
            f"sgd {count}x{size} against fused",
            lambda columns=columns: sgd_update(*columns[:3], lr=1e-3, momentum=0.9),
            sgd.step,
        )


def row_cases() -> Iterator[Case]:
    for rows, columns in ((128, 10), (256, 256), (4096, 1024)):
        x, g, w = normal(rows, columns), normal(rows, columns), normal(columns)
        target = generator.integers(0, columns, rows)
        tx, tg, tw, tt = (torch.from_numpy(a) for a in (x, g, w, target))
        y = rowwise.softmax(x)
        ty, name = torch.from_numpy(y), f"{rows}x{columns}"
        _, mean, scale = rowwise.layer_norm(x, w, w)
        _, tmean, tscale = torch.native_layer_norm(tx, [columns], tw, tw, 1e-5)
        _, log_sum = rowwise.cross_entropy(x, target)
        each = np.full(rows, 1 / rows, np.float32)
        log_y = torch.log_softmax(tx, -1)
        te = torch.from_numpy(each)
        weight = torch.tensor(float(rows))
        yield f"softmax {name}", lambda x=x: rowwise.softmax(x), lambda tx=tx: torch.softmax(tx, -1)
        yield (
            f"log_softmax {name}",
            lambda x=x: rowwise.log_softmax(x),
            lambda tx=tx: torch.log_softmax(tx, -1),
        )
        yield (
            f"softmax backward {name}",
            lambda g=g, y=y: rowwise.softmax_backward(g, y),
            lambda tg=tg, ty=ty: torch._softmax_backward_data(tg, ty, -1, torch.float32),
        )
        yield (
            f"layer_norm {name}",
            lambda x=x, w=w: rowwise.layer_norm(x, w, w),
            lambda tx=tx, tw=tw, c=columns: torch.native_layer_norm(tx, [c], tw, tw, 1e-5),
        )
        yield (
            f"layer_norm backward {name}",
            lambda g=g, x=x, m=mean, s=scale, w=w: rowwise.layer_norm_backward(g, x, m, s, w),
            lambda a=(tg, tx, [columns], tmean, tscale, tw, tw, [True] * 3): (
                torch.ops.aten.native_layer_norm_backward(*a)
            ),
        )
        yield (
            f"cross_entropy {name}",
            lambda x=x, t=target: rowwise.cross_entropy(x, t),
            lambda tx=tx, tt=tt: functional.cross_entropy(tx, tt, reduction="none"),
        )
        yield (
            f"cross_entropy backward {name}",
            lambda a=(each, x, target, log_sum): rowwise.cross_entropy_backward(*a),
            lambda te=te, tt=tt, y=log_y, w=weight: torch.ops.aten._log_softmax_backward_data(
                torch.ops.aten.nll_loss_backward(te, y, tt, None, 0, -100, w), y, 1, torch.float32
            ),
        )
        yield f"sum last {name}", lambda x=x: rowwise.sum_last(x), lambda tx=tx: tx.sum(-1)
        yield f"mean last {name}", lambda x=x: rowwise.mean_last(x), lambda tx=tx: tx.mean(-1)
        yield f"max last {name}", lambda x=x: rowwise.max_last(x), lambda tx=tx: tx.amax(-1)
        yield f"sum all {name}", lambda x=x: rowwise.sum_all(x), lambda tx=tx: tx.sum()


def gemm_cases() -> Iterator[Case]:
    for batch, m, k, n in ((64, 128, 64, 128), (32, 64, 64, 64), (8, 256, 256, 256), (512, 16, 16, 16)):
        a, b = normal(batch, m, k), normal(batch, k, n)
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        name = f"bmm {batch}x({m},{k})@({k},{n})"
        yield name, lambda a=a, b=b: gemm.batched_matmul(a, b), lambda ta=ta, tb=tb: torch.bmm(ta, tb)
    for m, k, n in ((64, 64, 64), (128, 784, 512), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024)):
        a, b, w = normal(m, k), normal(k, n), normal(n, k)
        ta, tb, tw = (torch.from_numpy(x) for x in (a, b, w))
        yield f"mm {m}x{k}x{n}", lambda a=a, b=b: gemm.matmul(a, b), lambda ta=ta, tb=tb: ta @ tb
        yield (
            f"mm {m}x{k}x{n} transposed",
            lambda a=a, w=w: gemm.matmul(a, w.T),
            lambda ta=ta, tw=tw: ta @ tw.T,
        )


def measure(function: Callable[[], object]) -> float:
    """Seconds a call, with the libraries' threads awake only for this."""
    time.sleep(0.02)
    start = time.perf_counter()
    function()
    function()
    number = max(2, min(300, int(0.002 / ((time.perf_counter() - start) / 2))))
    start = time.perf_counter()
    for _ in range(number):
        function()
    return (time.perf_counter() - start) / number


def main() -> None:
    parser = argparse.ArgumentParser(description="flambeau's kernels against PyTorch")
    parser.add_argument("--threads", type=int, default=threads.get_num_threads())
    parser.add_argument("--only", default="", help="only cases whose name contains this text")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    threads.set_num_threads(options.threads)
    print(f"{options.threads} threads, microseconds: best (median)")
    print(f"{'':42s} {'flambeau':>20s} {'torch':>20s}  ratio")
    for group in (pointwise_cases, optimizer_cases, row_cases, gemm_cases):
        ratios = []
        for name, ours, theirs in group():
            if options.only not in name:
                continue
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(options.rounds):
                for column, function in zip(times, (ours, theirs), strict=True):
                    column.append(measure(function) * 1e6)
            cells = [f"{min(c):10.1f} ({statistics.median(c):7.1f})" for c in times]
            best, middle = (f(times[0]) / f(times[1]) for f in (min, statistics.median))
            ratios.append(middle)
            print(f"{name:42s} {cells[0]:>20s} {cells[1]:>20s}  {best:.2f} ({middle:.2f})", flush=True)
        if ratios:
            print(f"{'geometric mean of the medians':84s}  {statistics.geometric_mean(ratios):.2f}")


if __name__ == "__main__":
    main()
