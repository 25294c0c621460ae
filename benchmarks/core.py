"""What an operation, a training step and an import cost, side by side with PyTorch in eager mode.

    python benchmarks/core.py [--threads N] [--rounds N] [--seconds S] [--only TEXT] [--check]

Without PyTorch only flambeau's own times are shown. ``--check`` makes a bound that is exceeded an error.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from harness import Check, Row

SCALAR = "a = torch.tensor([2.0]); b = torch.tensor([3.0])"
MLP = """
nn, optim, functional = torch.nn, torch.optim, torch.nn.functional
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
optimizer = optim.Adam(model.parameters(), lr=1e-3)
images, labels = torch.randn(128, 784), torch.randint(0, 10, (128,))
"""
STEP = """
optimizer.zero_grad()
loss = functional.cross_entropy(model(images), labels)
loss.backward()
optimizer.step()
"""

PER_SAMPLE = """
nn, func = torch.nn, torch.func
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
parameters = {name: p.detach() for name, p in model.named_parameters()}
images, labels = torch.randn(128, 784), torch.randint(0, 10, (128,))
def loss(parameters, image, label):
    prediction = func.functional_call(model, parameters, (image.unsqueeze(0),))
    return nn.functional.cross_entropy(prediction, label.unsqueeze(0))
gradients = func.vmap(func.grad(loss), in_dims=(None, 0, 0))
"""
HESSIAN = """
x = torch.linspace(-1.0, 1.0, 10)
def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
hessian = torch.func.hessian(rosenbrock)
"""

ROWS = [
    Row("add, 1 element", "a + b", SCALAR, 0.6),
    Row("add, 1 element, gradient recorded", "a + b", f"{SCALAR}; a.requires_grad_()", 0.6),
    Row(
        "y = x**2 + 3*x + 1; y.backward()",
        "y = x ** 2 + 3 * x + 1\ny.backward()",
        "x = torch.tensor([2.0], requires_grad=True)",
        0.6,
    ),
    Row("MLP 784-512-256-10, Adam step, batch 128", STEP, MLP, 1.1),
    Row("MLP 784-512-256-10, prediction, batch 128", "with torch.no_grad():\n    model(images)", MLP),
    Row("MLP, gradient of each of 128 examples", "gradients(parameters, images, labels)", PER_SAMPLE, 0.7),
    Row("Hessian, 10 variables", "hessian(x)", HESSIAN, 0.5),
]

IMPORT_ROUNDS = 9

MEMORY_PROGRAM = """
import gc, resource, sys
import flambeau as torch
from flambeau import nn, optim
from flambeau.nn import functional

def resident():
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = optim.Adam(model.parameters(), lr=1e-3)
x, target = torch.randn(8, 16), torch.randint(0, 4, (8,))

def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), target).backward()
        optimizer.step()

train(1000)
gc.collect()
gc.disable()
before = resident()
train(int(sys.argv[1]))
print(resident() - before)
"""


def python(*arguments: str, bytecode: Path | None = None) -> str:
    """Standard output of a new interpreter that finds flambeau where this one does."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if bytecode is not None:
        environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout


def import_time() -> Check:
    """``import flambeau`` less ``import numpy``, medians over new processes, with compiled bytecode."""
    modules = ("flambeau", "numpy")
    seconds: dict[str, list[float]] = {module: [] for module in modules}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(IMPORT_ROUNDS + 1):
            for module in modules:
                code = (
                    f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
                )
                taken = float(python("-c", code, bytecode=Path(folder)))
                if turn:  # the first one compiles the bytecode
                    seconds[module].append(taken)
    ours, theirs = (1e3 * statistics.median(seconds[module]) for module in modules)
    return Check(
        "import time above NumPy's", ours - theirs, "ms", 60, f"{ours:.0f} ms against {theirs:.0f} ms"
    )


def memory_growth(steps: int = 20_000) -> Check:
    """Growth of the resident memory over training steps with Python's cycle collector off."""
    grown = int(python("-c", MEMORY_PROGRAM, str(steps))) / 1024
    return Check(f"memory growth, {steps:,} steps, gc off", grown, "KiB", 1024)


IDLE_PROGRAM = """
import sys, timeit
import flambeau as torch
from flambeau import func
f = lambda x: (x.sin() * x).sum()
if sys.argv[1] == "used":
    func.hessian(f)(torch.ones(3)), func.vmap(func.grad(f))(torch.ones(2, 3)), func.jvp(f, (torch.ones(3),), (torch.ones(3),))
a, b = torch.ones(1), torch.ones(1, requires_grad=True)
print(min(timeit.repeat(lambda: (a + a, a + b), number=20_000, repeat=7)))
"""


def idle_transforms() -> Check:
    """Two additions after transforms have run and ended, over the same where none ever ran; in turns."""
    seconds: dict[str, list[float]] = {"used": [], "unused": []}
    for _ in range(IMPORT_ROUNDS):
        for kind, taken in seconds.items():
            taken.append(float(python("-c", IDLE_PROGRAM, kind)))
    ratio = min(seconds["used"]) / min(seconds["unused"])
    return Check("additions after transforms, over never any", ratio, "x", 1.1)


CHECKS = {"idle transforms": idle_transforms, "import time": import_time, "memory growth": memory_growth}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # Half of the processors: with all of them, whatever else runs stops a thread that the others wait for.
    threads = max(1, (os.cpu_count() or 1) // 2)
    parser.add_argument("--threads", type=int, default=threads, help="for both libraries")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="how long a round of one library takes")
    parser.add_argument("--only", default="", help="rows and checks whose name contains this")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bound is exceeded")
    options = parser.parse_args()
    harness.set_threads(options.threads)
    print(harness.conditions(options.threads))
    if harness.reference() is None:
        print("No ratios: PyTorch is not installed here. To install it: pip install -e '.[reference]'")
    print()
    over = harness.run(
        [row for row in ROWS if options.only in row.name],
        [check for name, check in CHECKS.items() if options.only in name],
        options.rounds,
        options.seconds,
    )
    return int(options.check and over > 0)


if __name__ == "__main__":
    sys.exit(main())
