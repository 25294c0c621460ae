"""What `compiled.explain(*args)` says: flushes, programs, kernels, and the machine code behind them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..compiler import engine
from .graph import Graph
from .program import Program, generate

__all__ = ["Explanation", "explanation"]


class Explanation(str):
    """The text, with the generated code beside it.

    modules     what was built for the programs: key, whether it came from the cache folder, LLVM assembly
    llvm        the LLVM assembly of all of them, as one text
    assembly    the same as the processor's instructions (made by LLVM when it is asked for)
    """

    modules: list[engine.Built]

    @property
    def llvm(self) -> str:
        return "\n".join(f"; module {m.key[:12]}\n{m.text}" for m in self.modules)

    @property
    def assembly(self) -> str:
        return "\n".join(f"# module {m.key[:12]}\n{engine.assembly(m.text)}" for m in self.modules)


def explanation(
    call: Callable[[Callable[[tuple[Program, float]], Any]], tuple[Any, float]],
    make: Callable[[Graph], Program],
) -> Explanation:
    """Explain what ``call(watch)`` does; it gives the statistics and the seconds, and tells `watch` the programs."""
    ran: list[tuple[Program, float]] = []
    seen, total = call(ran.append)
    lines = [
        f"{seen.hits} operations noted, {seen.at_once} run at once, {seen.misses} not seen before; "
        f"{seen.flushes} flushes in {total * 1e6:.0f} us:"
    ]
    lines += [f"  {count} x {reason}" for reason, count in seen.reasons.items()]
    modules: list[engine.Built] = []
    for number, (program, seconds) in enumerate(ran):
        lines.append(f"\nProgram {number}: {len(program.graph.instrs)} operations, {seconds * 1e6:.0f} us")
        if program.keeping is not None:
            lines.append(program.keeping.note())
        lines.append(str(program.graph) if program.lowered is None else program.lowered.explain())
        if make is generate and program.lowered is not None:
            built, taken = built_for(program.graph)
            modules += built
            found = sum(m.cached for m in built)
            lines.append(
                f"{len(built)} modules of machine code, {found} of them in the cache folder; "
                f"the program is made in {taken * 1e3:.0f} ms"
            )
            lines += [f"  {m.key[:12]} {len(m.text.splitlines())} lines of LLVM assembly" for m in built]
    result = Explanation("\n".join(lines))
    result.modules = modules
    return result


def built_for(graph: Graph) -> tuple[list[engine.Built], float]:
    """The modules that a program's kernels need, found by making it once more with no kernel at hand."""
    with without_kernels(), engine.watching() as built:
        start = time.perf_counter()
        generate(graph)
        taken = time.perf_counter() - start
    return built, taken


@contextmanager
def without_kernels() -> Iterator[None]:
    """Programs made in here write all their kernels anew."""
    from .lower import kernels, products

    tables: tuple[dict[str, Any], ...] = (
        kernels._points,
        kernels._rows,
        products._finishes,
        products._starts,
    )
    before = [dict(t) for t in tables]
    for t in tables:
        t.clear()
    try:
        yield
    finally:
        for t, b in zip(tables, before):
            t.update(b)
