"""LLVM: the host it compiles for, the short pass pipeline, and loading of machine code.

A fatal error inside LLVM ends the process, so generators emit only intrinsics that every host can lower, and
each module is verified before code is generated from it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import elf
from .object_cache import ObjectCache

__all__ = ["CompileError", "Host", "Library", "build", "fingerprint", "host", "object_cache"]


class CompileError(RuntimeError):
    """LLVM rejected a generated module: a defect of the generator, never of the data."""


@dataclass(frozen=True)
class Host:
    """What generated code may rely on."""

    triple: str
    data_layout: str
    cpu: str
    features: str
    vector_bits: int
    names: frozenset[str]

    def has(self, *features: str) -> bool:
        """Whether the processor has all of `features` (LLVM's names)."""
        return self.names.issuperset(features)


class Library:
    """A loaded module; its code stays in memory for the life of the process."""

    __slots__ = ("addresses", "cached")

    def __init__(self, addresses: dict[str, int], cached: bool) -> None:
        self.addresses = addresses
        self.cached = cached

    def __getitem__(self, name: str) -> int:
        return self.addresses[name]


def _choose_cpu(names: frozenset[str], reported: str) -> str:
    """The processor model to tune for.

    Virtual machines report models that lack what their features say (or the other way round), so on x86 only
    the features count; they are passed to LLVM explicitly in any case.
    """
    if "sse2" not in names:
        return reported
    if names.issuperset(("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd")):
        return "x86-64-v4"
    if names.issuperset(("avx2", "fma", "bmi2", "f16c")):
        return "x86-64-v3"
    return "x86-64"


def _limit_features(flags: dict[str, bool]) -> dict[str, bool]:
    """`flags` without what needs registers wider than ``FLAMBEAU_VECTOR_BITS`` (128, 256 or 512) on x86.

    Meant for tests, and for processors that slow down under wide vectors.
    """
    bits = os.environ.get("FLAMBEAU_VECTOR_BITS", "512")
    prefixes = {"256": ("avx512", "avx10"), "128": ("avx", "fma", "f16c", "xop", "vaes", "vpclmul")}
    return {name: on and not name.startswith(prefixes.get(bits, ("-",))) for name, on in flags.items()}


class _Engine:
    def __init__(self) -> None:
        import llvmlite
        import llvmlite.binding as llvm

        self.llvm = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        flags = _limit_features(dict(llvm.get_host_cpu_features()))
        names = frozenset(name for name, present in flags.items() if present)
        cpu = _choose_cpu(names, llvm.get_host_cpu_name())
        features = ",".join(("+" if flags[name] else "-") + name for name in sorted(flags))
        if cpu == "x86-64-v4":
            bits = 512
        elif "avx2" in names:
            bits = 256
        else:
            bits = 128  # SSE2, NEON
        self.target = llvm.Target.from_default_triple()
        self.machine = self._new_machine(cpu, features)
        self.host = Host(llvm.get_process_triple(), str(self.machine.target_data), cpu, features, bits, names)
        self.jit = llvm.create_lljit_compiler(self._new_machine(cpu, features))
        # Threads of the pool may run inside generated code while the interpreter shuts down: never unload it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.jit))
        self.fingerprint = "\n".join(
            (llvmlite.__version__, str(llvm.llvm_version_info), self.host.triple, cpu, features)
        )
        self.header = f'target triple = "{self.host.triple}"\ntarget datalayout = "{self.host.data_layout}"\n'
        self.serial = 0

    def _new_machine(self, cpu: str, features: str) -> Any:
        return self.target.create_target_machine(
            cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small", jit=True
        )

    def compile(self, text: str) -> bytes:
        return bytes(self.machine.emit_object(self.optimised(text)))

    def optimised(self, text: str) -> Any:
        """The module after the passes."""
        llvm = self.llvm
        try:
            module = llvm.parse_assembly(self.header + text)
            module.verify()
        except RuntimeError as error:
            raise CompileError(f"LLVM rejected generated code: {error}") from error
        options = llvm.create_pipeline_tuning_options(0)
        builder = llvm.create_pass_builder(self.machine, options)
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        passes.add_dead_code_elimination_pass()
        passes.run(module, builder)
        return module

    def load(self, body: bytes, exports: Iterable[str], imports: Mapping[str, int]) -> dict[str, int]:
        self.serial += 1
        linker = self.llvm.JITLibraryBuilder().add_object_img(body).add_current_process()
        for name, address in imports.items():
            linker.import_symbol(name, address)
        wanted = list(exports)
        for name in wanted:
            linker.export_symbol(name)
        try:
            tracker = linker.link(self.jit, f"flambeau{self.serial}")
        except RuntimeError as error:
            raise CompileError(f"generated code could not be loaded: {error}") from error
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(tracker))
        return {name: tracker[name] for name in wanted}


_lock = threading.RLock()
_engine: _Engine | None = None
object_cache = ObjectCache()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _get_engine() -> _Engine:
    global _engine
    if _engine is None:
        with _lock:
            if _engine is None:
                _engine = _Engine()
    return _engine


def host() -> Host:
    """The machine that code is generated for.  Loads llvmlite, unless that was done on this machine before.

    Raises: ImportError when llvmlite is not installed.
    """
    return _engine.host if _engine is not None else _known().host


class _Known:
    """What was found out about this machine, without LLVM."""

    __slots__ = ("fingerprint", "host")

    def __init__(self, host: Host, fingerprint: str) -> None:
        self.host, self.fingerprint = host, fingerprint


_remembered: _Known | None = None


def _facts() -> str | None:
    """The key under which this machine's description is kept: it changes with the processor, and with llvmlite."""
    if not elf.usable():
        return None
    import importlib.util

    try:
        found = importlib.util.find_spec("llvmlite")
        if found is None or not found.origin:
            return None
        library = os.stat(os.path.join(os.path.dirname(found.origin), "binding", "libllvmlite.so"))
        with open("/proc/cpuinfo", "rb") as file:
            processor = [
                line
                for line in file.read(1 << 16).split(b"\n")
                if line.startswith((b"flags", b"model", b"vendor"))
            ][:4]
    except OSError:
        return None
    bits = os.environ.get("FLAMBEAU_VECTOR_BITS", "")
    facts = repr((found.origin, library.st_size, library.st_mtime_ns, processor, bits))
    return "host-" + hashlib.sha256(facts.encode()).hexdigest()


def _known() -> _Known:
    """The description of this machine: from the cache, or from LLVM, and then kept."""
    global _remembered
    if _remembered is not None:
        return _remembered
    with _lock:
        key = _facts()
        stored = object_cache.get(key) if key is not None else None
        if stored is not None:
            try:
                d = json.loads(stored)
                names = frozenset(d.pop("names"))
                _remembered = _Known(Host(**d["host"], names=names), d["fingerprint"])
                return _remembered
            except (ValueError, KeyError, TypeError):
                pass
        engine = _get_engine()
        _remembered = _Known(engine.host, engine.fingerprint)
        if key is not None:
            own = {
                f: getattr(engine.host, f)
                for f in ("triple", "data_layout", "cpu", "features", "vector_bits")
            }
            record = {"host": own, "names": sorted(engine.host.names), "fingerprint": engine.fingerprint}
            object_cache.put(key, json.dumps(record).encode())
        return _remembered


@dataclass(frozen=True)
class Built:
    """A module as `watching` saw it."""

    key: str
    cached: bool
    text: str


_watchers: list[list[Built]] = []
_LOG = "cache" in os.environ.get("FLAMBEAU_LOG", "").split(",")


@contextmanager
def watching() -> Iterator[list[Built]]:
    """A list to which every module is added that is built or found meanwhile."""
    seen: list[Built] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)


def _tell(key: str, cached: bool, text: str) -> None:
    for seen in _watchers:
        seen.append(Built(key, cached, text))
    if _LOG:
        print(f"flambeau cache: {key[:12]} {'found' if cached else 'compiled'}", file=sys.stderr)


def assembly(text: str) -> str:
    """The processor's instructions for a module."""
    engine = _get_engine()
    return str(engine.machine.emit_assembly(engine.optimised(text)))


def fingerprint() -> str:
    """Of the compiler and the processor: whatever was found out under another one need not hold here."""
    return _known().fingerprint


def build(text: str, exports: Iterable[str], imports: Mapping[str, int] | None = None) -> Library:
    """Compile the LLVM assembly `text`, or take its machine code from the disk, and load it.

    `imports` gives the addresses of symbols that `text` declares; symbols of the running process (the C
    library, CPython) need no entry.  Addresses are never part of the stored code.

    Raises: CompileError, ImportError.
    """
    wanted, given = list(exports), imports or {}
    key = hashlib.sha256((_known().fingerprint + text).encode()).hexdigest()
    with _lock:
        body = object_cache.get(key)
        if body is not None:
            try:
                found = Library(_load(body, wanted, given), True)
                _tell(key, True, text)
                return found
            except CompileError:  # not what its checksum promised: build it again
                pass
        engine = _get_engine()
        body = engine.compile(text)
        library = Library(engine.load(body, wanted, given), False)
        object_cache.put(key, body)
        _tell(key, False, text)
        return library


def _load(body: bytes, exports: list[str], imports: Mapping[str, int]) -> dict[str, int]:
    """Load stored code, by LLVM only where it must."""
    if _engine is None and elf.usable():
        try:
            return elf.load(body, exports, imports)
        except elf.Unloadable:
            pass
    return _get_engine().load(body, exports, imports)
