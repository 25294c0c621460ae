"""What a program keeps for a backward pass outside of the compiled function, and what that pass computes again.

The tape saves what the operations' rules read.  Of a chain of elementwise operations that is nearly every step, though
the kernel would never write them.  So when a compiled function has ended, of the results that only the tape still holds
the ones that are cheaper to compute again than to keep stay promises, whose owner is a `Recipe`.  The recorder of the
backward pass notes their operations again (`Recorder.from_before`), where they become part of its kernels; whoever else
asks for one has it computed.

`keeping` says which.  A recipe reads only what nobody else can write to: results that no tensor holds, and copies of
what others can see.  So in-place writes between the passes, to arguments, parameters or results, change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.pending import Pending
from ..core.tape import Node
from .graph import Graph, Instr, Value
from .program import Program

__all__ = ["CHOICES", "EXTRA", "KEPT", "LARGE", "SHOWN", "Keeping", "Recipe", "who_wants"]

Make = Callable[[Graph], Program]
CHOICES = ("auto", "never", "always")
LARGE = 1 << 16  # bytes from which a result is worth a thought

# Who wants a result: nobody (0), somebody who can see its memory, or the tape alone.
SHOWN, KEPT = 1, 2
EXTRA = -1  # in the place of a result's number: an output of its own


def who_wants(results: list[Pending], counts: list[int], tensors: list[Any]) -> tuple[int, ...]:
    """For each result, with so many references from outside of the segment, who wants it.

    `tensors` are those alive that were given results; what else holds one has to be taken for somebody who shows it.
    """
    saves = dict.fromkeys(map(id, results), 0)  # how often the tape has each
    shown = set()
    todo = []
    for t in tensors:
        if type(t._a) is Pending:
            shown.add(id(t._a))
        if t._node is not None:
            todo.append(t._node)
    seen = set(todo)
    while todo:
        node = todo.pop()
        if isinstance(node, Node) and node.saved:
            for value in node.saved:
                if type(value) is Pending and id(value) in saves:
                    saves[id(value)] += 1
        for child in node.next:
            if child is not None and child not in seen:
                seen.add(child)
                todo.append(child)
    return tuple(
        [
            0 if n <= 0 else KEPT if n == saves[id(p)] and id(p) not in shown else SHOWN
            for p, n in zip(results, counts)
        ]
    )


class Recipe:
    """Computes what one call of a program left out: the owner of those promises."""

    __slots__ = ("keeping", "sources", "numbers", "values")

    def __init__(self, keeping: Keeping, sources: list[Any], numbers: list[Any]) -> None:
        self.keeping = keeping
        self.sources = sources
        self.numbers = numbers
        self.values: list[Any] | None = None

    def compute(self, pending: Pending) -> None:
        """Give `pending` its value, by computing everything that was left out."""
        if self.values is None:
            self.values = self.keeping.run(self.sources, self.numbers)
        pending.value = self.values[self.keeping.slots.index(pending.slot)]


class Keeping:
    """What a program with promises left over gives, and how the rest is made of it.

    given    the numbers of the results among the program's outputs; sources that are no results come after them
    copied   for each source the number of the result that it is, or EXTRA for an output of its own
    again    the graph of what is left out, whose inputs are the sources
    slots    the numbers of the results that are left out: the outputs of `again`
    """

    __slots__ = ("given", "copied", "again", "slots", "ways", "make", "program")

    def __init__(
        self, given: list[int], copied: list[int], again: Graph, slots: list[int], make: Make
    ) -> None:
        self.given = given
        self.copied = copied
        self.again = again
        self.slots = slots
        self.ways: dict[int, list[Instr]] = {}
        self.make = make
        self.program: Program | None = None  # of `again`: made when somebody asks for a value

    def run(self, sources: list[Any], numbers: list[Any]) -> list[Any]:
        """Everything that was left out."""
        if self.program is None:
            self.program = self.make(self.again)
        values: list[Any] = self.program.run(sources, numbers)
        return values

    def way(self, slot: int) -> list[Instr]:
        """The operations that make a result that was left out, in order."""
        found = self.ways.get(slot)
        if found is None:
            wanted = {self.output(slot)}
            found = []
            for instr in reversed(self.again.instrs):
                if instr.out in wanted:
                    wanted.update(instr.values())
                    found.append(instr)
            found.reverse()
            self.ways[slot] = found
        return found

    def output(self, slot: int) -> Value:
        """The value of `again` for a result."""
        return self.again.outputs[self.slots.index(slot)]

    def note(self) -> str:
        """A line for `explain`."""
        left = sum([v.nbytes for v in self.again.outputs])
        kept = sum([v.nbytes for v in self.again.inputs])
        return (
            f"for a backward pass outside: {len(self.slots)} of the saved results ({left} bytes) are computed again, by "
            f"{len(self.again.instrs)} operations from {len(self.again.inputs)} arrays ({kept} bytes)"
        )
