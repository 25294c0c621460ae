"""The rows of `compiled.py` written for JAX, and a process of its own that times them.

Where PyTorch has run in a process, its idle threads disturb those of XLA, and the other way round.  So this file is run
as a program with JAX in it, which makes one row at a time and runs as many calls as it is told, in turns with the
rounds of the others.  It needs `jax`, in this Python or in the one named by ``--jax``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import timeit
from typing import Any

READY = "f(x).block_until_ready()"
CHAIN = "jnp.tanh(x * 2 + 1) * jnp.exp(x) - jnp.sqrt(jnp.abs(x)) + jnp.sin(x) * 0.5"
MATRIX = "x = jax.random.normal(key, (4096, 1024))\n"

STANDARD = """
def standard(x, dims, scale=1.0, shift=0.0):
    mean = x.mean(dims, keepdims=True)
    var = ((x - mean) ** 2).mean(dims, keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5) * scale + shift
"""

LOSS = """
def cross_entropy(logits, t):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits, -1), t[:, None], -1).mean()
"""

ADAM = """
def adam(step, params, grads, m, v, decay):
    m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
    v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
    one, two = 1 - 0.9 ** step, 1 - 0.999 ** step
    params = jax.tree.map(
        lambda p, a, b: p * (1 - 1e-3 * decay) - 1e-3 / one * a / (jnp.sqrt(b / two) + 1e-8), params, m, v)
    return params, m, v

def stepper(loss, decay, params):
    @functools.partial(jax.jit, donate_argnums=(0, 1, 2, 3))
    def step(n, params, m, v):
        value, grads = jax.value_and_grad(loss)(params)
        return n + 1, *adam(n, params, grads, m, v, decay), value
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    state = [jnp.float32(1), params, zeros(), zeros()]
    def f():
        *state[:], value = step(*state)
        return jax.block_until_ready((state, value))
    return f

def linear(n, m):
    return [normal(n, m) / n ** 0.5, jnp.zeros(m)]

def normal(*shape):
    global key
    key, mine = jax.random.split(key)
    return jax.random.normal(mine, shape)
"""

MLP = f"""{LOSS}{ADAM}
x, t = normal(128, 784), jax.random.randint(key, (128,), 0, 10)
def loss(params):
    y = x
    for i, (w, b) in enumerate(params):
        y = y @ w + b
        y = jax.nn.relu(y) if i < 2 else y
    return cross_entropy(y, t)
f = stepper(loss, 0.0, [linear(784, 512), linear(512, 256), linear(256, 10)])
"""

GPT = f"""{STANDARD}{LOSS}{ADAM}
N, T, C, H, WORDS = 16, 128, 128, 4, 256
x, t = jax.random.randint(key, (N, T), 0, WORDS), jax.random.randint(key, (N * T,), 0, WORDS)
unit = lambda: [jnp.ones(C), jnp.zeros(C)]
block = lambda: dict(first=unit(), qkv=linear(C, 3 * C), out=linear(C, C), second=unit(), up=linear(C, 4 * C),
                     down=linear(4 * C, C))
params = dict(words=normal(WORDS, C), places=normal(T, C), blocks=[block() for _ in range(4)], norm=unit(),
              head=normal(C, WORDS) / C ** 0.5)
mask = jnp.tril(jnp.ones((T, T), bool))
def attend(y):
    q, k, v = [z.reshape(N, T, H, -1).transpose(0, 2, 1, 3) for z in jnp.split(y, 3, -1)]
    scores = jnp.where(mask, q @ k.transpose(0, 1, 3, 2) / (C // H) ** 0.5, -jnp.inf)
    return (jax.nn.softmax(scores, -1) @ v).transpose(0, 2, 1, 3).reshape(N, T, C)
def loss(p):
    y = p["words"][x] + p["places"]
    for b in p["blocks"]:
        z = standard(y, -1, *b["first"]) @ b["qkv"][0] + b["qkv"][1]
        y = y + attend(z) @ b["out"][0] + b["out"][1]
        z = jax.nn.gelu(standard(y, -1, *b["second"]) @ b["up"][0] + b["up"][1], approximate=False)
        y = y + z @ b["down"][0] + b["down"][1]
    return cross_entropy((standard(y, -1, *p["norm"]) @ p["head"]).reshape(-1, WORDS), t)
f = stepper(loss, 0.01, params)
"""

CONVNET = f"""{STANDARD}{LOSS}{ADAM}
x, t = normal(32, 1, 28, 28), jax.random.randint(key, (32,), 0, 10)
def layer(i, o):
    return dict(w=normal(o, i, 3, 3) / (9 * i) ** 0.5, b=jnp.zeros(o), scale=jnp.ones((o, 1, 1)), shift=jnp.zeros((o, 1, 1)))
params = dict(layers=[layer(1, 16), layer(16, 32)], last=linear(32 * 49, 10))
running = [jnp.zeros(16), jnp.ones(16), jnp.zeros(32), jnp.ones(32)]
def loss(p, running):
    y, new = x, []
    for i, q in enumerate(p["layers"]):
        y = lax.conv_general_dilated(y, q["w"], (1, 1), "SAME") + q["b"][:, None, None]
        n = y.size / y.shape[1]
        new += [0.9 * running[2 * i] + 0.1 * y.mean((0, 2, 3)), 0.9 * running[2 * i + 1] + 0.1 * y.var((0, 2, 3)) * n / (n - 1)]
        y = jax.nn.relu(standard(y, (0, 2, 3), q["scale"], q["shift"]))
        y = lax.reduce_window(y, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return cross_entropy(y.reshape(32, -1) @ p["last"][0] + p["last"][1], t), new
@functools.partial(jax.jit, donate_argnums=(0, 1, 2))
def step(params, momentum, running):
    (value, running), grads = jax.value_and_grad(loss, has_aux=True)(params, running)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, grads)
    return jax.tree.map(lambda p, m: p - 1e-2 * m, params, momentum), momentum, running, value
state = [params, jax.tree.map(jnp.zeros_like, params), running]
def f():
    *state[:], value = step(*state)
    return jax.block_until_ready((state, value))
"""

HESSIAN = """
def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
x = jnp.ones(10) * 0.5
f = jax.jit(jax.hessian(rosenbrock))
"""


def rowwise(body: str, before: str = "") -> tuple[str, str]:
    return f"{before}{MATRIX}f = jax.jit(lambda x: {body})", READY


def product(n: int, dtype: str = "float32") -> tuple[str, str]:
    setup = f"x = jax.random.normal(key, ({n}, {n})).astype('{dtype}')\nb = x + 1\nf = jax.jit(lambda a, b: a @ b)"
    return setup, "f(x, b).block_until_ready()"


WEIGHTED = (
    "x, g = (jax.random.normal(k, (4096, 1024)) for k in jax.random.split(key))\n"
    "f = jax.jit(jax.grad(lambda x, g: ({} * g).sum()))",
    "f(x, g).block_until_ready()",
)
SOFTMAX, NORM = "jax.nn.softmax(x, -1)", "standard(x, -1)"

# The setup and the statement of a row of `compiled.py`, by its name.
PROGRAMS: dict[str, tuple[str, str]] = {
    **{
        f"elementwise chain, {n:,} elements": (
            f"x = jax.random.normal(key, ({n},))\nf = jax.jit(lambda x: {CHAIN})",
            READY,
        )
        for n in (10_000, 1_000_000, 10_000_000)
    },
    "softmax, 4096x1024": rowwise(SOFTMAX),
    "softmax, forward and backward": (WEIGHTED[0].format(SOFTMAX), WEIGHTED[1]),
    "layer norm, 4096x1024": rowwise(NORM, STANDARD),
    "layer norm, forward and backward": (STANDARD + WEIGHTED[0].format(NORM), WEIGHTED[1]),
    "variance of rows, 4096x1024": rowwise("x.var(-1, ddof=1)"),
    "sum, 4096x1024": rowwise("x.sum()"),
    "mean of rows, 4096x1024": rowwise("x.mean(-1)"),
    "mean of columns, 4096x1024": rowwise("x.mean(0)"),
    **{f"matmul {n}": product(n) for n in (64, 128, 256, 512, 1024, 2048)},
    **{f"matmul {n}, bfloat16": product(n, "bfloat16") for n in (64, 256, 1024)},
    "batched matmul 64x(64x128x64)": (
        "x, b = jax.random.normal(key, (64, 64, 128)), jax.random.normal(key, (64, 128, 64))\nf = jax.jit(jnp.matmul)",
        "f(x, b).block_until_ready()",
    ),
    "MLP 784-512-256-10, Adam step, batch 128": (MLP, "f()"),
    "convnet step, batch 32": (CONVNET, "f()"),
    "GPT, 4 layers, 128 wide, step of 16x128": (GPT, "f()"),
    "the lesson's function with its gradient": (
        "x = jnp.array([2.0])\nf = jax.jit(jax.grad(lambda x: (x ** 2 + 3 * x + 1).sum()))",
        READY,
    ),
    "Hessian of a function of 10 variables": (HESSIAN, READY),
}


class Rival:
    """The other process: `prepare` a row, then `timeit` calls of it.

    Raises: RuntimeError when it has ended, which it does when there is no JAX, and for a row that fails in it.
    """

    def __init__(self, python: str, threads: int) -> None:
        # what of the parent's paths leads to flambeau's NumPy is not for it
        environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
        environment |= {"NPROC": str(threads), "JAX_PLATFORMS": "cpu"}
        self.process = subprocess.Popen(
            [python, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.version = self.ask("version")

    def ask(self, *request: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            _, said = self.process.communicate()
            raise RuntimeError((said.strip().splitlines() or ["the process ended"])[-1])
        found = json.loads(answer)
        if isinstance(found, dict):
            raise RuntimeError(found["error"])
        return found

    def prepare(self, name: str) -> None:
        self.ask("prepare", name)

    def timeit(self, number: int) -> float:
        return float(self.ask("run", number))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def serve() -> None:
    """Answer requests, a line each: ["version"], ["prepare", name], ["run", calls]."""
    import functools

    import jax
    import jax.numpy as jnp
    from jax import lax

    timer: Any = None
    for line in sys.stdin:
        what, *of = json.loads(line)
        try:
            answer: Any = None
            if what == "version":
                answer = jax.__version__
            elif what == "prepare":
                names = {"jax": jax, "jnp": jnp, "lax": lax, "functools": functools, "key": jax.random.key(0)}
                setup, statement = PROGRAMS[of[0]]
                exec(setup, names)
                timer = timeit.Timer(statement, timer=time.perf_counter, globals=names)
            else:
                answer = timer.timeit(of[0])
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {(str(e).splitlines() or [''])[0][:200]}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
