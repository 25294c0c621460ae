"""Compiled functions against PyTorch in eager mode, `torch.compile` and `jax.jit`, in turns.

    python benchmarks/compiled.py [--threads N] [--rounds N] [--seconds S] [--only TEXT] [--inductor] [--jax PYTHON]

Ratios are ours / theirs of the medians (below 1: flambeau is faster): against the better of the two forms of PyTorch,
for which the bound is, unless the row says that JAX is the one to beat, and against JAX.  ``--inductor`` also times
`torch.compile`, which needs a C++ compiler and takes seconds for each row.  JAX runs in a process of its own
(`jax_rival.py`), in the same turns, where this Python has it or another that ``--jax`` names; it is not needed.
"""

from __future__ import annotations

import argparse
import builtins
import functools
import gc
import importlib
import linecache
import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from dataclasses import dataclass
from typing import Any

import harness
from jax_rival import PROGRAMS, Rival

FUNCTIONS = "F = torch.nn.functional; torch.manual_seed(0)\n"


@dataclass(frozen=True)
class Row:
    """A statement over a function that `compile` was applied to; `jax_rival.PROGRAMS` has the same for JAX."""

    name: str
    setup: str
    statement: str
    bound: float
    against_jax: bool = False  # the bound is for JAX
    mode: str = "reduce-overhead"  # as jax.jit, which never runs the Python again; of both compilers


def chain(n: int) -> Row:
    body = "(x * 2 + 1).tanh() * x.exp() - x.abs().sqrt() + x.sin() * 0.5"
    return Row(
        f"elementwise chain, {n:,} elements",
        f"{FUNCTIONS}x = torch.randn({n})\nf = compile(lambda x: {body})",
        "f(x)",
        0.5,
    )


def rowwise(name: str, body: str, bound: float, backward: float | None = None) -> list[Row]:
    setup = f"{FUNCTIONS}x = torch.randn(4096, 1024)\nf = compile(lambda x: {body})"
    rows = [Row(f"{name}, 4096x1024", setup, "f(x)", bound)]
    if backward is not None:
        both = f"""{FUNCTIONS}x = torch.randn(4096, 1024, requires_grad=True)
g = torch.randn(4096, 1024)
def both(x):
    x.grad = None
    ({body} * g).sum().backward()
    return x.grad
f = compile(both)"""
        rows.append(Row(f"{name}, forward and backward", both, "f(x)", backward))
    return rows


def product(n: int, dtype: str = "float32", bound: float = 1.05) -> Row:
    matrix = f"torch.randn({n}, {n}).to(torch.{dtype})"
    return Row(
        f"matmul {n}" if dtype == "float32" else f"matmul {n}, {dtype}",
        f"{FUNCTIONS}a, b = {matrix}, {matrix}\nf = compile(lambda a, b: a @ b)",
        "f(a, b)",
        bound,
    )


def layer(m: int, k: int, n: int, what: str) -> Row:
    arrays = f"torch.randn({m}, {k}), torch.randn({n}, {k}), torch.randn({n}), torch.randn({m}, {n})"
    body = "F.gelu(F.linear(x, w, b))" if what == "gelu" else "F.linear(x, w, b).relu() + r"
    return Row(
        f"linear {m}x{k}x{n}, {what}",
        f"{FUNCTIONS}x, w, b, r = {arrays}\nf = compile(lambda x, w, b, r: {body})",
        "f(x, w, b, r)",
        1.0,
    )


STEP = """
def step():
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), t)
    loss.backward()
    optimizer.step()
    return loss
f = compile(step)"""

MLP = f"""{FUNCTIONS}nn = torch.nn
model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
x, t = torch.randn(128, 784), torch.randint(0, 10, (128,))
{STEP}"""

CONVNET = f"""{FUNCTIONS}nn = torch.nn
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
x, t = torch.randn(32, 1, 28, 28), torch.randint(0, 10, (32,))
{STEP}"""

GPT = f"""{FUNCTIONS}nn = torch.nn
class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.width = heads, width
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
    def forward(self, x):
        n, t, c = x.shape
        q, k, v = [y.view(n, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.first(x)).split(c, 2)]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(n, t, c))
        return x + self.down(F.gelu(self.up(self.second(x))))
class GPT(nn.Module):
    def __init__(self, words=256, width=128, layers=4, heads=4, length=128):
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
    def forward(self, x):
        y = self.words(x) + self.places(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(y))).view(-1, 256)
model = GPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
x, t = torch.randint(0, 256, (16, 128)), torch.randint(0, 256, (16 * 128,))
{STEP}"""

HESSIAN = """
def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
"""

ROWS = [
    *[chain(n) for n in (10_000, 1_000_000, 10_000_000)],
    *rowwise("softmax", "x.softmax(-1)", 0.95, 0.9),
    *rowwise("layer norm", "F.layer_norm(x, (1024,))", 0.95, 0.9),
    *rowwise("variance of rows", "x.var(-1)", 1.0),
    *rowwise("sum", "x.sum()", 1.0),
    *rowwise("mean of rows", "x.mean(-1)", 1.0),
    *rowwise("mean of columns", "x.mean(0)", 1.0),
    *[product(n) for n in (64, 128, 256, 512, 1024, 2048)],
    *[product(n, "bfloat16", 1.5) for n in (64, 256, 1024)],
    layer(64, 64, 64, "relu and residual"),
    layer(2048, 128, 512, "gelu"),
    Row(
        "batched matmul 64x(64x128x64)",
        f"{FUNCTIONS}a, b = torch.randn(64, 64, 128), torch.randn(64, 128, 64)\nf = compile(torch.bmm)",
        "f(a, b)",
        1.0,
    ),
    Row("MLP 784-512-256-10, Adam step, batch 128", MLP, "f()", 0.8, mode="default"),
    Row("convnet step, batch 32", CONVNET, "f()", 1.0, mode="default"),
    Row("GPT, 4 layers, 128 wide, step of 16x128", GPT, "f()", 0.9, mode="default"),
    Row(
        "the lesson's function with its gradient",
        f"""{FUNCTIONS}x = torch.tensor([2.0], requires_grad=True)
def both(x):
    x.grad = None
    (x ** 2 + 3 * x + 1).backward()
    return x.grad
f = compile(both)""",
        "f(x)",
        1.0,
        True,
    ),
    Row(
        "Hessian of a function of 10 variables",
        f"{FUNCTIONS}{HESSIAN}\nx = torch.rand(10)\nf = compile(lambda x: torch.func.hessian(rosenbrock)(x))",
        "f(x)",
        1.0,
        True,
    ),
]


def contestants(row: Row, inductor: bool, rival: Rival | None) -> dict[str, Any]:
    """What times the calls of a row, by who runs it."""
    found: dict[str, Any] = {"flambeau": scope(row, "flambeau", True)}
    if harness.reference() is not None:
        found["torch"] = scope(row, "torch", False)
        if inductor:
            # Else its limit of recompilations counts the rows before.
            importlib.import_module("torch._dynamo").reset()
            found["torch.compile"] = scope(row, "torch", True)
    if rival is not None and row.name in PROGRAMS:
        try:
            rival.prepare(row.name)
            found["jax.jit"] = rival
        except RuntimeError as e:
            print(f"  jax.jit cannot run this: {e}")
    return found


def scope(row: Row, module: str, compiled: bool) -> timeit.Timer:
    torch = importlib.import_module(module)
    compile_ = functools.partial(torch.compile, mode=row.mode) if compiled else lambda f: f
    names: dict[str, Any] = {"torch": torch, "compile": compile_}
    file = f"<{row.name}>"  # where a compiler finds the function's source
    linecache.cache[file] = (len(row.setup), None, row.setup.splitlines(True), file)
    # once: a timer's own setup runs for each round, and would make the function anew
    exec(builtins.compile(row.setup, file, "exec"), names)
    return timeit.Timer(row.statement, globals=names)


def measure(row: Row, inductor: bool, rival: Rival | None, rounds: int, seconds: float) -> dict[str, float]:
    """Median seconds of a call for each contestant."""
    timers = contestants(row, inductor, rival)
    calls = {}
    for name, timer in list(timers.items()):
        try:
            timer.timeit(3)
            calls[name] = harness.calls_per_round(timer, seconds)
        except Exception as e:
            print(f"  {name} cannot run this: {str(e).splitlines()[0][:100]}")
            del timers[name]
    taken: dict[str, list[float]] = {name: [] for name in timers}
    gc.collect()
    for turn in range(rounds):
        for name in timers if turn % 2 else reversed(list(timers)):
            time.sleep(0.005)
            taken[name].append(timers[name].timeit(calls[name]) / calls[name])
    return {name: statistics.median(t) for name, t in taken.items()}


def compared(ours: float, theirs: float | None) -> str:
    """The columns of a rival: its time, and ours as a part of it."""
    return f"{'-':>11}{'-':>7}" if theirs is None else f"{theirs * 1e6:>9.1f}us{ours / theirs:>7.2f}"


FIRST = """
import time
import flambeau as torch
torch.ones(2) * 2
start = time.perf_counter()
f = torch.compile(lambda x: ((x * 2 + 1).tanh() * x.exp() - x.abs().sqrt() + x.sin() * 0.5).sum() * 3 + 1)
x = torch.ones(1000)
f(x)
first = time.perf_counter()
f(x)
print(first - start, time.perf_counter() - start)
"""

FIRST_STEP = f"""
import time
import flambeau as torch
compile = torch.compile
{GPT}
start = time.perf_counter()
f()
first = time.perf_counter()
f()
print(first - start, time.perf_counter() - start)
"""


BYTECODE = os.path.join(tempfile.gettempdir(), f"flambeau-bench-bytecode-{os.getuid()}")


def first_result(cache: str, text: str = FIRST) -> tuple[float, float]:
    """Seconds to the first result, and to the end of the second call, which makes the kernels, in a fresh process."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache, "PYTHONPYCACHEPREFIX": BYTECODE}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    out = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True
    )
    first, second = out.stdout.split()
    return float(first), float(second)


MEMORY = """
import importlib, resource, sys
torch = importlib.import_module({module!r})
torch.set_num_threads({threads})
compile = torch.compile if {compiled} else lambda f: f

def status(name):
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith(name))) / 1024

torch.ones(2) * 2
{setup}
before = status("VmRSS")
for _ in range(4):
    f()
cold = status("VmHWM")
try:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the high-water mark begins anew
except OSError:
    pass
for _ in range(4):
    f()
print(cold - before, status("VmHWM") - before)
"""


def peak_memory(module: str, compiled: bool, threads: int) -> tuple[float, float]:
    """MiB that the GPT step takes at most, beyond the libraries, the model and the data: in all, and once it is compiled."""
    text = MEMORY.format(module=module, compiled=compiled, threads=threads, setup=GPT)
    out = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    cold, warm = out.stdout.split()[-2:]
    return float(cold), float(warm)


def show_memory(inductor: bool, threads: int) -> None:
    """Peak memory of the GPT step, each in a process of its own; the bound is `torch.compile`'s."""
    if not os.path.exists("/proc/self/status"):  # other systems have no such figures
        return
    found = {"flambeau": peak_memory("flambeau", True, threads)}
    if harness.reference() is not None:
        found["torch"] = peak_memory("torch", False, threads)
        if inductor:
            found["torch.compile"] = peak_memory("torch", True, threads)
    for i, when in enumerate(("with compilation", "once compiled")):
        figures = ", ".join(f"{name} {mib[i]:.0f} MiB" for name, mib in found.items())
        print(f"peak memory of the GPT step, {when}: {figures}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each round")
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--inductor", action="store_true", help="torch.compile too")
    parser.add_argument("--jax", default=sys.executable, metavar="PYTHON", help="the Python that has JAX")
    options = parser.parse_args()
    harness.set_threads(options.threads)
    print(harness.conditions(options.threads))
    rival = None
    try:
        rival = Rival(options.jax, options.threads)
        print(f"jax {rival.version}, in a process of its own")
    except (RuntimeError, OSError) as e:
        print(f"no JAX: {e}")
    print(f"\n{'':44}{'flambeau':>11}{'torch':>11}{'ratio':>7}{'jax':>11}{'ratio':>7}{'bound':>7}")
    ratios: list[float] = []
    against_jax: list[float] = []
    for row in ROWS:
        if options.only not in row.name:
            continue
        took = measure(row, options.inductor, rival, options.rounds, options.seconds)
        ours = took.pop("flambeau")
        jax = took.pop("jax.jit", None)
        torch = min(took.values(), default=None)
        line = (
            f"{row.name:44}{ours * 1e6:>9.1f}us{compared(ours, torch)}{compared(ours, jax)}{row.bound:>7.2f}"
        )
        if jax is not None:
            against_jax.append(ours / jax)
        theirs = jax if row.against_jax else torch
        if theirs is not None:
            ratios.append(ours / theirs / row.bound)
            line += "  PASS" if ours / theirs <= row.bound else "  over"
        print(line + "   " + ", ".join(f"{n} {s * 1e6:.1f}us" for n, s in took.items()), flush=True)
    if ratios:
        print(f"\ngeometric mean of ratio / bound: {statistics.geometric_mean(ratios):.2f}")
    if against_jax:
        print(f"geometric mean of the ratios against jax.jit: {statistics.geometric_mean(against_jax):.2f}")
    if rival is not None:
        rival.close()
    if options.only in "peak memory of the GPT step":
        show_memory(options.inductor, options.threads)
    for what, text, bounds in (("", FIRST, (150, 50)), ("GPT step, ", FIRST_STEP, (3000, 3000))):
        with tempfile.TemporaryDirectory() as cache:
            first_result(cache, text)  # writes the bytecode
        with tempfile.TemporaryDirectory() as cache:
            found = [first_result(cache, text) for _ in range(2)]
        for name, (first, second), bound in zip(("empty", "warm"), found, bounds):
            print(
                f"{what}fresh process, {name} cache: first result {first * 1e3:.0f} ms, with the kernels made "
                f"{second * 1e3:.0f} ms (bound {bound})"
            )


if __name__ == "__main__":
    main()
