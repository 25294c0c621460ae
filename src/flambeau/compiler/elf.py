"""Loading stored machine code without LLVM, whose import takes longer than most programs' kernels.

An object file of the cache is laid out in fresh memory, its relocations are applied, and the pages with code are made
executable and read-only.  This is done for x86-64 Linux, for the three kinds of relocation that generated kernels have;
for everything else `load` says `Unloadable`, and LLVM's own linker does it.

Sources: System V Application Binary Interface, AMD64 supplement, section 4.4 (relocation types); the ELF-64 object file
format, sections 3 to 6.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Unloadable", "load", "usable"]

PAGE = mmap.PAGESIZE
NOBITS, RELA, SYMTAB = 8, 4, 2  # section types
WRITE, ALLOC = 1, 2  # section flags
PC32, PLT32, GOTPCRELX, REX_GOTPCRELX = 2, 4, 41, 42  # relocation types
SKIPPED = (".eh_frame",)  # for exceptions and debuggers; kernels raise none


class Unloadable(Exception):
    """The object needs more than is done here."""


@dataclass
class Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    place: int = -1  # where it was laid out


def usable() -> bool:
    """Whether this is a machine whose object files are understood."""
    return sys.platform == "linux" and sys.maxsize > 2**32 and _machine() in ("x86_64", "AMD64")


def _machine() -> str:
    import os

    return os.uname().machine


def _text(table: bytes, at: int) -> str:
    return table[at : table.index(b"\0", at)].decode()


def _sections(data: bytes) -> list[Section]:
    if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", data, 16) != (1, 62):
        raise Unloadable("not a relocatable object for x86-64")
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    if size != 64:
        raise Unloadable("section headers of another size")
    raw = [struct.unpack_from("<IIQQQQIIQQ", data, start + 64 * i) for i in range(count)]
    table = data[raw[names][4] : raw[names][4] + raw[names][5]]
    return [Section(_text(table, r[0]), r[1], r[2], r[4], r[5], r[6], r[7], max(r[8], 1)) for r in raw]


def _up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


_libc: Any = None
_kept: list[mmap.mmap] = []  # code stays for the life of the process


def _protect(address: int, size: int) -> None:
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if size and _libc.mprotect(address, size, mmap.PROT_READ | mmap.PROT_EXEC):
        raise Unloadable(f"mprotect failed with error {ctypes.get_errno()}")


def _symbol(name: str, imports: Mapping[str, int]) -> int:
    """The address of something outside the object."""
    found = imports.get(name)
    if found is None:
        try:
            found = ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value
        except AttributeError:
            raise Unloadable(f"the process has no {name}") from None
    if not found:
        raise Unloadable(f"{name} has no address")
    return found


class _Image:
    """One object on its way into memory: fixed sections first, then a table of addresses, then what may be written."""

    def __init__(self, data: bytes, imports: Mapping[str, int]) -> None:
        self.data, self.imports = data, imports
        self.sections = _sections(data)
        tables = [s for s in self.sections if s.kind == SYMTAB]
        if len(tables) != 1:
            raise Unloadable("no symbol table")
        names = self.sections[tables[0].link]
        self.names = data[names.offset : names.offset + names.size]
        self.symbols = [
            struct.unpack_from("<IBBHQQ", data, at)
            for at in range(tables[0].offset, tables[0].offset + tables[0].size, 24)
        ]
        kept = [s for s in self.sections if s.flags & ALLOC and s.name not in SKIPPED]
        end = 0
        for s in [s for s in kept if not s.flags & WRITE]:
            s.place = _up(end, s.align)
            end = s.place + s.size
        # an entry for a symbol: a jump through the address beside it, for what is far away or reached by its address
        outside = [i for i, s in enumerate(self.symbols) if i and s[3] == 0]
        indirect = {n for _, _, n, kind, _ in self.relocations() if kind in (GOTPCRELX, REX_GOTPCRELX)}
        self.entry = {
            n: _up(end, 16) + 16 * k for k, n in enumerate(dict.fromkeys([*outside, *sorted(indirect)]))
        }
        self.fixed = _up(_up(end, 16) + 16 * len(self.entry), PAGE)
        end = self.fixed
        for s in [s for s in kept if s.flags & WRITE]:
            s.place = _up(end, s.align)
            end = s.place + s.size
        self.size = _up(max(end, 1), PAGE)
        self.memory = bytearray(self.size)
        for s in kept:
            if s.kind != NOBITS:
                self.memory[s.place : s.place + s.size] = data[s.offset : s.offset + s.size]
        self.outside = set(outside)
        self.own = [n for n in self.entry if n not in self.outside]
        for n in outside:
            self.write_entry(n, _symbol(_text(self.names, self.symbols[n][0]), imports))

    def write_entry(self, number: int, address: int) -> None:
        at = self.entry[number]
        self.memory[at : at + 16] = b"\xff\x25\x02\x00\x00\x00\x66\x90" + struct.pack("<Q", address)

    def relocations(self) -> Iterator[tuple[Section, int, int, int, int]]:
        """(section, offset, symbol, type, addend) of each."""
        for s in self.sections:
            if s.kind == RELA and self.sections[s.info].name not in SKIPPED:
                for at in range(s.offset, s.offset + s.size, 24):
                    offset, info, addend = struct.unpack_from("<QQq", self.data, at)
                    yield self.sections[s.info], offset, info >> 32, info & 0xFFFFFFFF, addend

    def inside(self, number: int) -> int:
        """Where a symbol of the object's own lies."""
        symbol = self.symbols[number]
        if not 0 < symbol[3] < len(self.sections) or self.sections[symbol[3]].place < 0:
            raise Unloadable("a symbol without a place")
        return int(self.sections[symbol[3]].place + symbol[4])

    def relocate(self, base: int) -> None:
        """Apply the relocations of an object that will lie at `base`."""
        for n in self.own:
            self.write_entry(n, base + self.inside(n))
        for target, offset, number, kind, addend in self.relocations():
            here = target.place + offset
            if target.place < 0:
                raise Unloadable("a relocation of something that has no place")
            if kind in (GOTPCRELX, REX_GOTPCRELX):
                there = self.entry[number] + 8  # the address itself
            elif kind == PLT32 and number in self.outside:
                there = self.entry[number]
            elif kind in (PLT32, PC32) and number not in self.outside:
                there = self.inside(number)
            else:
                raise Unloadable(f"a relocation of type {kind}")
            struct.pack_into("<i", self.memory, here, there + addend - here)

    def addresses(self, base: int, exports: Iterable[str]) -> dict[str, int]:
        """Where the exported functions are."""
        wanted = set(exports)
        found = {}
        for i, symbol in enumerate(self.symbols):
            name = _text(self.names, symbol[0])
            if name in wanted and symbol[3]:
                found[name] = base + self.inside(i)
        if set(found) != wanted:
            raise Unloadable("an exported function is missing")
        return found


def load(data: bytes, exports: Iterable[str], imports: Mapping[str, int]) -> dict[str, int]:
    """The addresses of the exported functions of an object file, which is now part of the process.

    Raises: Unloadable for what only a linker can do.
    """
    memory = None
    try:
        image = _Image(data, imports)
        memory = mmap.mmap(
            -1, image.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
        )
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        image.relocate(base)
        found = image.addresses(base, exports)
    except (struct.error, ValueError, IndexError, KeyError, UnicodeDecodeError) as e:
        raise Unloadable(f"damaged: {e}") from e
    ctypes.memmove(base, bytes(image.memory), image.size)
    _protect(base, image.fixed)
    _kept.append(memory)
    return found
