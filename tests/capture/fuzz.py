"""Random programs, compiled against eager.

A program is Python text over tensors: elementwise operations, broadcasting, reductions, views, in-place writes,
matrix products, branches on values, loops, several outputs, gradients.  It runs eagerly and compiled on the same
inputs, several times, and everything must agree: results, changed arguments, gradients, exceptions.  A failure is
shrunk to the fewest lines and printed as a script.

    python tests/capture/fuzz.py --programs 10000 --seed 0
    python tests/capture/fuzz.py --programs 10000 --wide       # with the expressions of fuzz_families
    python tests/capture/fuzz.py --programs 1000 --dynamic     # at three sizes, with no new machine code for the third
"""

from __future__ import annotations

import argparse
import linecache
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.capture import keeping, recompute
from flambeau.compiler import engine
from flambeau.core import acceleration

if __package__:
    from .fuzz_families import expression as wide_expression
else:  # run as a script
    from fuzz_families import expression as wide_expression  # type: ignore[import-not-found, no-redef]

SHAPES = [(4,), (3, 4), (3, 1), (1, 4), (2, 3, 4), (), (4, 4), (0, 4), (2, 1, 4)]
UNARY = "exp sin cos tanh sigmoid relu abs neg square floor sign erf log1p sqrt rsqrt reciprocal".split()
BINARY = ["+", "-", "*", "/"]
COMPARE = ["<", ">", "<=", "=="]
REDUCE = "sum mean amax amin prod logsumexp".split()


@dataclass
class Program:
    """Lines of a function body over the arguments a, b, c; `outputs` are the names returned."""

    lines: list[str]
    outputs: list[str]
    shapes: list[tuple[int, ...]]
    dtype: str
    gradients: bool
    seed: int
    tame: bool = False  # no writes, no values read, and the gradients computed inside: what can be replayed
    sizes: tuple[tuple[int, int], ...] = ()  # what sizes of dims of the arguments become
    meddles: bool = False  # whoever calls it writes to arguments and results before the backward pass
    nudge: float = 0.0  # by which part the arguments are moved at random

    def source(self) -> str:
        body = "\n".join("    " + line for line in self.lines)
        returned = f"    return [{', '.join(self.outputs)}]"
        if self.tame and self.gradients:
            body = f"    leaves = [a, b, c]\n{body}"
            returned = f"""
    outs = [{", ".join(self.outputs)}]
    live = [o for o in outs if o.requires_grad]
    total = sum([(real(o) * 0.7).sum() for o in live])
    grads = torch.autograd.grad(total, leaves, allow_unused=True) if live else []
    return [o.detach() for o in outs] + [g for g in grads if g is not None]"""
        elif self.tame:
            returned = f"    return [{', '.join(f'{o} * 1' for o in self.outputs)}]"
        return f"def f(a, b, c):\n{body}\n{returned}\n"

    def arguments(self, call: int) -> list[Any]:
        r, other = np.random.default_rng((self.seed, call)), np.random.default_rng(self.seed)
        made = []
        for shape in self.actual_shapes():
            values = r.uniform(0.2, 1.5, shape)
            if self.nudge:
                values = values * (1 + self.nudge * other.standard_normal(shape))
            t = torch.tensor(values, dtype=getattr(torch, self.dtype))
            made.append(t.requires_grad_() if self.gradients else t)
        return made

    def actual_shapes(self) -> list[tuple[int, ...]]:
        sizes = dict(self.sizes)
        return [tuple([sizes.get(n, n) for n in shape]) for shape in self.shapes]

    def script(self) -> str:
        """A program that shows the difference."""
        return (
            f"import numpy as np\nimport flambeau as torch\n\ntorch.set_default_dtype(torch.{self.dtype})\n"
            "F = torch.nn.functional\n\n\ndef real(o):\n    return torch.view_as_real(o) if o.is_complex() else o\n\n\n"
            + self.source()
            + "\n"
            f"compiled = torch.compile(f)\nfor call in range({CALLS}):\n"
            f"    r = np.random.default_rng(({self.seed}, call))\n"
            f"    arrays = [r.uniform(0.2, 1.5, s) for s in {self.actual_shapes()}]\n"
            f"    make = lambda: [torch.tensor(x, dtype=torch.{self.dtype}, requires_grad={self.gradients}) for x in arrays]\n"
            "    torch.manual_seed(call)\n    print(f(*make()))\n"
            "    torch.manual_seed(call)\n    print(compiled(*make()))\n"
        )


CALLS = 3


def real(o: Any) -> Any:
    """A tensor of real numbers, which can be added up to something with a gradient."""
    return torch.view_as_real(o) if o.is_complex() else o


def scope_of(program: Program) -> dict[str, Any]:
    """What the lines of a program can name."""
    return {"torch": torch, "F": torch.nn.functional, "real": real, "print": lambda *a, **k: None}


def leaf(program: Program) -> str:
    """A copy of the arguments, so that programs may write to them though they require grad."""
    return "a, b, c = a * 1, b * 1, c * 1" if program.gradients else "pass"


class Writer:
    """Makes lines that run, by running each one."""

    def __init__(self, seed: int, tame: bool = False, wide: bool = False) -> None:
        self.tame, self.wide = tame, wide
        self.r = random.Random(seed)
        shapes = [self.r.choice(SHAPES) for _ in range(3)]
        self.program = Program(
            [],
            [],
            shapes,
            self.r.choice(["float64", "float64", "float32"]),
            self.r.random() < 0.6,
            seed,
            tame,
        )
        self.program.lines.append(leaf(self.program))
        self.names = ["a", "b", "c"]

    def any(self) -> str:
        return self.r.choice(self.names[-8:] if self.r.random() < 0.7 else self.names)

    def expression(self) -> str:
        r = self.r
        if self.wide and r.random() < 0.5:
            return wide_expression(r, self.any)  # type: ignore[no-any-return]
        x, y = self.any(), self.any()
        k = r.choice(["2", "0.5", "-1.5", "3", "1", "True", "0.1"])
        d = r.choice(["0", "-1", "1"])
        return r.choice(
            [
                lambda: f"torch.{r.choice(UNARY)}({x})",
                lambda: f"{x} {r.choice(BINARY)} {y}",
                lambda: f"{x} {r.choice(BINARY)} {k}",
                lambda: f"{k} {r.choice(BINARY)} {x}",
                lambda: f"torch.where({x} {r.choice(COMPARE)} {y}, {x}, {self.any()})",
                lambda: f"torch.{r.choice(['maximum', 'minimum'])}({x}, {y})",
                lambda: f"{x}.clamp({r.choice(['0.3', '-1'])}, 1.1)",
                lambda: f"{x}.{r.choice(REDUCE)}({d}{r.choice([', keepdim=True', ''])})",
                lambda: f"{x}.{r.choice(['sum', 'mean'])}()",
                lambda: f"{x}.softmax({d})",
                lambda: f"{x}.log_softmax({d})",
                lambda: f"{x}.var({d})",
                lambda: f"{x}.cumsum({d})",
                lambda: f"{x} @ {y}",
                lambda: f"{x}.t()",
                lambda: f"{x}.unsqueeze({d})",
                lambda: f"{x}.squeeze()",
                lambda: f"{x}.reshape(-1)",
                lambda: f"{x}.transpose(0, -1)",
                lambda: f"{x}[{r.choice(['0', '1:', '..., 0', ':, 1:', '::2', 'None', '-1'])}]",
                lambda: f"{x}.expand(3, 4)",
                lambda: f"{x}.detach()",
                lambda: f"{x}.clone()",
                lambda: f"{x}.contiguous()",
                lambda: f"torch.cat([{x}, {y}])",
                lambda: f"torch.stack([{x}, {y}])",
                lambda: f"{x}.to(torch.{r.choice(['float32', 'float64', 'float64'])})",
                # integers that a rounding error could turn into others tell nothing
                lambda: f"({x} + 0.123).to(torch.int64)",
                lambda: f"({x} > {k})",
                lambda: f"({x} > {k}).{r.choice(['any', 'all'])}({d})",
                lambda: f"torch.linalg.vector_norm({x}, dim={d})",
                lambda: f"torch.layer_norm({x}, {x}.shape[-1:])",
                lambda: f"torch.nn.functional.gelu({x})",
                lambda: f"torch.nn.functional.linear({x}, {y})",
                lambda: f"torch.addcmul({x}, {y}, {self.any()})",
                lambda: f"{x}.item() + {y}",
                lambda: f"torch.zeros_like({x}) + {k}",
                lambda: f"{x}.flip(0)",
                lambda: f"{x}.masked_fill({x} > 1, {k})",
                lambda: f"torch.arange({x}.shape[-1]) * {x}",
                lambda: f"({x}.pow({r.choice(['2', '3', '0.5', '-1'])}))",
            ]
        )()

    def statement(self) -> str:
        r = self.r
        x, y = self.any(), self.any()
        if self.tame and r.random() < 0.1:
            loop = f"for i in range({r.choice(['2', '3'])}): {x} = {x} * 0.9 + i"
            return r.choice([loop, f"with torch.no_grad(): {y} = {x} * 2", f"if {x}.ndim > 1: {y} = {y} * 2"])
        if self.tame or r.random() < 0.72:
            name = f"v{len(self.names)}"
            return f"{name} = {self.expression()}"
        return r.choice(
            [
                lambda: f"{x}.{r.choice(['add_', 'mul_', 'sub_'])}({r.choice(['2', '0.5', y])})",
                lambda: f"{x}.{r.choice(['exp_', 'sin_', 'relu_', 'zero_', 'neg_', 'abs_'])}()",
                lambda: f"{x}[{r.choice(['0', '1:', '..., 0', '-1'])}] = {r.choice(['0.5', y])}",
                lambda: f"{x}[{r.choice(['0', '1:', '..., 0'])}].mul_({r.choice(['2', y])})",
                lambda: f"{x}.copy_({y})",
                lambda: f"{x} += {r.choice(['1', y])}",
                lambda: f"{x}.masked_fill_({x} > 1, 0.5)",
                lambda: (
                    f"if {x}.sum() > {r.choice(['0.037', '1.01', '5.1'])}: {y} = {y} * 2"
                ),  # sums that should be 0 are noise
                lambda: f"for i in range({r.choice(['2', '3'])}): {x} = {x} * 0.9 + i",
                lambda: f"while {x}.numel() and 4.17 < {x}.abs().max() < 1e6: {x} = {x} / 2",
                lambda: f"with torch.no_grad(): {y} = {x} * 2",
                lambda: f"print({x}.mean() > 0, end='')",
            ]
        )()

    def write(self, length: int) -> Program:
        program = self.program
        with np.errstate(all="ignore"):
            scope = {**scope_of(program), **dict(zip("abc", program.arguments(0)))}
            exec(program.lines[0], scope)
            tries = 0
            while len(program.lines) <= length and tries < 20 * length:
                tries += 1
                line = self.statement()
                if self.tame and ".item()" in line:
                    continue
                try:
                    exec(line, scope)
                except (RuntimeError, TypeError, IndexError, ValueError, NotImplementedError):
                    continue
                program.lines.append(line)
                name = line.split(" ", 1)[0]
                if name.startswith("v") and name not in self.names and name in scope:
                    if isinstance(scope[name], torch.Tensor) and scope[name].numel() < 2000:
                        self.names.append(name)
        count = self.r.randint(1, 4)
        program.outputs = sorted(set(self.r.choices(self.names[3:] or self.names, k=count)))
        return program


def call(fn: Any, program: Program, number: int) -> Any:
    """What a caller can see: results, arguments afterwards, gradients; or the type of the exception."""
    args = program.arguments(number)
    torch.manual_seed(number)
    try:
        outs = fn(*args)
        if program.meddles:
            meddle([*args, *outs], random.Random(program.seed + number))
        seen = [*outs]
        if program.gradients:
            live = [o for o in outs if o.requires_grad]
            if live:
                total = sum([(real(o) * 0.7).sum() for o in live])
                seen += [g for g in torch.autograd.grad(total, args, allow_unused=True) if g is not None]
        else:
            seen += args
        strides = [o.stride() for o in outs]
        seen = [s.detach().resolve_conj() for s in seen]
        kinds = [s.dtype for s in seen]
        arrays = [(s.float() if s.dtype is torch.bfloat16 else s).numpy() for s in seen]
        return arrays, (strides, kinds)
    except (RuntimeError, TypeError, IndexError, ValueError, NotImplementedError) as e:
        return STALE if "modified by an inplace operation" in str(e) else type(e).__name__


# Eager mode may refuse a backward pass where compiled code does not: a composite that it runs as one operation saves its
# arguments, compiled code what the parts need.  (The other way round is a difference.)
STALE = "a saved tensor was changed"


def meddle(tensors: list[Any], r: random.Random) -> None:
    """Write to some tensors: the backward pass to come is of the values before."""
    with torch.no_grad():
        for t in tensors:
            if r.random() < 0.3:
                t.mul_(1.5)


class Recomputing:
    """A function that leaves whatever can be computed again to its backward pass outside, at any price."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.compiled = torch.compile(f, options={"recompute": "always"})

    def __call__(self, *args: Any) -> Any:
        before = recompute.LARGE, keeping.Planner.keeping_costs
        costs = before[1]

        def dear(planner: keeping.Planner, v: Any) -> float:
            return costs(planner, v) * 1000 if planner.repeatable(v.producer) else min(costs(planner, v), 1.0)

        recompute.LARGE, keeping.Planner.keeping_costs = 0, dear  # type: ignore[method-assign]
        try:
            return self.compiled(*args)
        finally:
            recompute.LARGE, keeping.Planner.keeping_costs = before  # type: ignore[method-assign]


def difference(program: Program) -> str | None:
    """What differs between eager and compiled, or None."""
    torch.set_default_dtype(
        getattr(torch, program.dtype)
    )  # numbers and masks then give the program's own dtype
    try:
        return compare(program)
    finally:
        torch.set_default_dtype(torch.float32)


def compare(program: Program) -> str | None:
    f = function_of(program)
    found = differs(program, f, torch.compile(f)) or differs(program, f, Careful(f))
    if found is None and program.gradients and not program.tame:
        found = differs(replace(program, meddles=True), f, Recomputing(f))
    return found


def function_of(program: Program) -> Callable[..., Any]:
    """The program as a function whose source can be found."""
    scope = scope_of(program)
    text = program.source()
    name = f"<program {abs(hash(text))}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), scope)
    return scope["f"]  # type: ignore[no-any-return]


class Careful:
    """A function that is replayed; one that refuses, which it must do before it changes anything, runs as it is."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.plain, self.replayed = f, torch.compile(f, mode="reduce-overhead")

    def __call__(self, *args: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that a result has a history
                return self.replayed(*args)
        except RuntimeError as e:
            if "cannot replay" not in str(e):
                raise
            return self.plain(*args)


def differs(program: Program, f: Callable[..., Any], compiled: Callable[..., Any]) -> str | None:
    """How the results of calls differ, or None."""
    tol = 1e-9 if program.dtype == "float64" and "float32" not in program.source() else 2e-3
    if "bfloat16" in program.source():
        tol = 3e-2
    with np.errstate(all="ignore"):
        for number in range(CALLS):
            want, got = call(f, program, number), call(compiled, program, number)
            if want == STALE:
                continue
            if isinstance(want, str) or isinstance(got, str):
                if want != got:
                    return f"call {number}: eager {str(want)[:200]}, compiled {str(got)[:200]}"
                continue
            if len(want[0]) != len(got[0]) or want[1] != got[1]:
                return f"call {number}: {len(want[0])} values with strides and dtypes {want[1]}, compiled {len(got[0])}, {got[1]}"
            for i, (w, g) in enumerate(zip(want[0], got[0])):
                if w.shape != g.shape or w.dtype != g.dtype:
                    return f"call {number}: value {i} is {w.dtype}{w.shape}, compiled {g.dtype}{g.shape}"
                close = np.allclose(g, w, rtol=tol, atol=tol * max(1.0, scale(w)), equal_nan=True)
                if not close and not excused(program, f, number, i, w, g):
                    return f"call {number}: value {i}\neager    {w}\ncompiled {g}"
    return None


def excused(program: Program, f: Any, number: int, i: int, eager: Any, compiled: Any) -> bool:
    """Whether float64 says that eager is as far off: the program divides by rounding noise, say.

    A program in float64 has no wider one to ask: there it must move as far when its arguments do in their last places.
    """
    narrow = any(name in program.source() for name in ("float32", "bfloat16"))
    if eager.dtype.kind not in "fc":
        return False
    if program.dtype != "float32" and not narrow:
        moves = []
        for nudge in (1e-14, -1e-14, 3e-14):
            moved = call(f, replace(program, nudge=nudge), number)
            if isinstance(moved, str) or len(moved[0]) <= i or moved[0][i].shape != eager.shape:
                return False
            moves.append(furthest(moved[0][i], eager))
        return furthest(compiled, eager) <= 100 * max(moves)
    lines = [x.replace("bfloat16", "float64").replace("float32", "float64") for x in program.lines]
    wide = replace(program, dtype="float64", lines=lines)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    exact = call(function_of(wide) if narrow else f, wide, number)
    torch.set_default_dtype(before)
    if isinstance(exact, str) or len(exact[0]) <= i or exact[0][i].shape != eager.shape:
        return False
    truth = exact[0][i]
    if not np.isfinite(truth).all():
        return bool((~np.isfinite(eager)).any())  # on the edge of what a narrow type holds
    return bool(np.abs(compiled - truth).max() <= 10 * np.abs(eager - truth).max())


def furthest(a: Any, b: Any) -> float:
    """The largest difference of two elements, infinite where one is not finite and the other is not the same."""
    with np.errstate(all="ignore"):
        far = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.nan_to_num(far, nan=np.inf).max(initial=0.0))


def scale(a: Any) -> float:
    """The largest finite magnitude."""
    finite = np.abs(a[np.isfinite(a)]) if a.size and a.dtype.kind in "fc" else np.zeros(1)
    return float(finite.max()) if finite.size else 0.0


def shrink(program: Program) -> Program:
    """The program with as few lines and outputs as still differ."""
    return shrink_while(program, still)


def shrink_while(program: Program, holds: Callable[[Program], bool]) -> Program:
    """Take away lines and outputs as long as the condition holds."""
    changed = True
    while changed:
        changed = False
        for i in reversed(range(len(program.lines))):
            smaller = replace(program, lines=program.lines[:i] + program.lines[i + 1 :])
            if smaller.lines and holds(smaller):
                program, changed = smaller, True
        for name in list(program.outputs):
            smaller = replace(program, outputs=[o for o in program.outputs if o != name])
            if smaller.outputs and holds(smaller):
                program, changed = smaller, True
    return program


def still(program: Program) -> bool:
    try:
        return difference(program) is not None
    except NameError:
        return False


def check(seed: int, wide: bool = False) -> str | None:
    """None, or a report with the shrunk script."""
    try:
        program = Writer(seed, seed % 4 == 3, wide).write(random.Random(seed).randint(5, 60))
    except Exception as e:  # of a type that no operation should raise
        return f"seed {seed}: a line of the program, eager: {e!r}"
    found = difference(program)
    if found is None:
        return None
    small = shrink(program)
    return f"seed {seed}: {found}\nshrunk: {difference(small)}\n\n{small.script()}"


# A small and a large size first: between them, nothing is new.  (What is small enough runs without machine code.)
SIZES = (((3, 5), (4, 7)), ((3, 11), (4, 13)), ((3, 6), (4, 9)))


def check_sizes(seed: int) -> str | None:
    """The program at three sizes, `dynamic=True`: as eager, and the machine code of two serves what lies between."""
    program = Writer(seed, tame=True).write(random.Random(seed).randint(5, 40))
    torch.set_default_dtype(getattr(torch, program.dtype))
    try:
        found = differs_in_size(program)
        if found is None:
            return None
        small = shrink_while(program, lambda p: differs_in_size(p) is not None)
        return f"seed {seed}: {found}\nshrunk: {differs_in_size(small)}\n\n{replace(small, sizes=SIZES[1]).script()}"
    finally:
        torch.set_default_dtype(torch.float32)


def differs_in_size(program: Program) -> str | None:
    """How a program differs from eager at one of the sizes, or None."""
    acceleration.load()  # before, some programs run without machine code
    built: list[Any] = []
    build = engine.build

    def counting(*args: Any) -> Any:
        built.append(args)
        return build(*args)

    try:
        f = function_of(program)
        at_sizes = [replace(program, sizes=sizes) for sizes in SIZES]
        with np.errstate(all="ignore"):
            if any(isinstance(call(f, p, 0), str) for p in at_sizes):
                return None  # a size that the program is not for
    except NameError:
        return None
    compiled = torch.compile(f, dynamic=True)
    for i, p in enumerate(at_sizes):
        with np.errstate(all="ignore"):
            call(f, p, 0)  # what eager operations compile is theirs
        engine.build = counting  # type: ignore[assignment]
        try:
            found = differs(p, f, compiled)
        finally:
            engine.build = build
        if found is not None:
            return f"at sizes {dict(p.sizes)}: {found}"
        if i == 1:
            built.clear()
    return f"{len(built)} kernels were made for a third size" if built else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wide", action="store_true", help="also the expressions of fuzz_families")
    parser.add_argument("--dynamic", action="store_true", help="at three sizes, with dynamic=True")
    parser.add_argument("--stop-after", type=int, default=5, help="differences")
    options = parser.parse_args()
    failures = 0
    for seed in range(options.seed, options.seed + options.programs):
        report = check_sizes(seed) if options.dynamic else check(seed, options.wide)
        if report is not None:
            failures += 1
            print(report)
            if failures >= options.stop_after:
                break
    print(f"{options.programs} programs, {failures} differences")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
