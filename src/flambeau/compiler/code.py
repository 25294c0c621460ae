"""Writing LLVM assembly with structured control flow.

Variables that change are stack slots; LLVM turns them into registers.  Scalar operands are the texts of
registers or literals; machine words are ``i64``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Code", "Variable", "Word"]

Word = str | int


class Variable:
    """A stack slot of one LLVM type."""

    __slots__ = ("code", "slot", "type")

    def __init__(self, code: Code, slot: str, type: str) -> None:
        self.code, self.slot, self.type = code, slot, type

    def get(self) -> str:
        """The present value, in a register."""
        return self.code.emit(f"load {self.type}, ptr {self.slot}")

    def set(self, value: Word) -> None:
        """Change the value."""
        self.code.line(f"store {self.type} {value}, ptr {self.slot}")


class Code:
    """The body of one function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.declarations: dict[str, str] = {}
        self.block = "entry"
        self._count = 0

    # ---- instructions ----

    def name(self) -> str:
        """A new register name."""
        self._count += 1
        return f"%v{self._count}"

    def emit(self, text: str) -> str:
        """Append ``register = text`` and return the register."""
        ref = self.name()
        self.lines.append(f"  {ref} = {text}")
        return ref

    def line(self, text: str) -> None:
        """Append an instruction without a result."""
        self.lines.append("  " + text)

    def declare(self, name: str, text: str) -> str:
        """Note a declaration (once) and return ``@name``."""
        self.declarations.setdefault(name, text)
        return f"@{name}"

    def call(self, result: str, name: str, *arguments: str) -> str:
        """Call an external function; `arguments` are ``type value`` texts. The register, "" for void."""
        types = ", ".join(a.split(" ", 1)[0] for a in arguments)
        self.declare(name, f"declare {result} @{name}({types})")
        text = f"call {result} @{name}({', '.join(arguments)})"
        if result == "void":
            self.line(text)
            return ""
        return self.emit(text)

    def slot(self, type: str) -> str:
        """Stack memory for the whole function."""
        ref = self.name()
        self.allocas.append(f"  {ref} = alloca {type}, align 64")
        return ref

    def variable(self, type: str, value: Word) -> Variable:
        """A variable with a first value."""
        result = Variable(self, self.slot(type), type)
        result.set(value)
        return result

    def word(self, operation: str, a: Word, b: Word) -> str:
        """``operation i64 a, b``: add, sub, mul, udiv, urem, and, or, shl, lshr …"""
        return self.emit(f"{operation} i64 {a}, {b}")

    def compare(self, relation: str, a: Word, b: Word, type: str = "i64") -> str:
        """``icmp relation type a, b`` as an i1."""
        return self.emit(f"icmp {relation} {type} {a}, {b}")

    def smaller(self, a: Word, b: Word) -> str:
        """The smaller of two unsigned words."""
        return self.call("i64", "llvm.umin.i64", f"i64 {a}", f"i64 {b}")

    def larger(self, a: Word, b: Word) -> str:
        """The larger of two unsigned words."""
        return self.call("i64", "llvm.umax.i64", f"i64 {a}", f"i64 {b}")

    def at(self, base: str, offset: Word, unit: int = 1) -> str:
        """The address ``base + offset * unit`` bytes."""
        if isinstance(offset, int):
            return self.emit(f"getelementptr i8, ptr {base}, i64 {offset * unit}") if offset else base
        return self.emit(f"getelementptr [{unit} x i8], ptr {base}, i64 {offset}")

    def load(self, type: str, base: str, offset: Word = 0, unit: int = 8) -> str:
        """The `type` at ``base + offset * unit``."""
        return self.emit(f"load {type}, ptr {self.at(base, offset, unit)}, align 1")

    def store(self, type: str, value: Word, base: str, offset: Word = 0, unit: int = 8) -> None:
        """Store the `type` at ``base + offset * unit``."""
        self.line(f"store {type} {value}, ptr {self.at(base, offset, unit)}, align 1")

    # ---- control flow ----

    def new_label(self, stem: str) -> str:
        """A label not used before."""
        self._count += 1
        return f"{stem}{self._count}"

    def label(self, name: str) -> None:
        """Begin the basic block `name`."""
        self.lines.append(f"{name}:")
        self.block = name

    def branch(self, target: str) -> None:
        """Go to a block."""
        self.line(f"br label %{target}")

    def branch_if(self, condition: str, target: str, otherwise: str) -> None:
        """Go to one of two blocks."""
        self.line(f"br i1 {condition}, label %{target}, label %{otherwise}")

    @contextmanager
    def loop(self, start: Word, end: Word, step: Word = 1) -> Iterator[str]:
        """Unsigned ``for index in range(start, end, step)``; yields the index register."""
        entry = self.block
        head, body, latch, done = (self.new_label(s) for s in ("head", "body", "latch", "done"))
        index, following = self.name(), self.name()
        self.branch(head)
        self.label(head)
        self.line(f"{index} = phi i64 [{start}, %{entry}], [{following}, %{latch}]")
        self.branch_if(self.compare("ult", index, end), body, done)
        self.label(body)
        yield index
        self.branch(latch)
        self.label(latch)
        self.line(f"{following} = add i64 {index}, {step}")
        self.branch(head)
        self.label(done)

    @contextmanager
    def forever(self) -> Iterator[str]:
        """A loop left by branching to the yielded label."""
        head, done = self.new_label("head"), self.new_label("done")
        self.branch(head)
        self.label(head)
        yield done
        self.branch(head)
        self.label(done)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Code that runs only if the i1 `condition` holds."""
        yes, after = self.new_label("yes"), self.new_label("after")
        self.branch_if(condition, yes, after)
        self.label(yes)
        yield
        self.branch(after)
        self.label(after)

    def leave_if(self, condition: str, target: str) -> None:
        """Branch to `target` if the condition holds, else go on."""
        onward = self.new_label("onward")
        self.branch_if(condition, target, onward)
        self.label(onward)

    # ---- the whole ----

    def function(self, name: str, parameters: str, result: str = "void", linkage: str = "") -> str:
        """The definition; the code must have ended every block."""
        head = f"define {linkage} {result} @{name}({parameters}) #0 {{\nentry:\n"
        return head + "\n".join([*self.allocas, *self.lines]) + "\n}\n"
