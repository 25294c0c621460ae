"""The same loops for processors that are not here: LLVM makes their assembly, whose instructions are looked for."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")
import llvmlite.binding as llvm

from flambeau.compiler import engine, packed_gemm, reduce, rowwise, small_gemm
from flambeau.compiler.pointwise import pointwise_kernel
from flambeau.runtime import threads

X = np.ones((256, 256), np.float32)


class Written(Exception):
    """Instead of loading code that does not run here."""


def chain(k: Any, x: Any, y: Any) -> Any:
    return k.exp(x) * k.tanh(y) + k.log(k.abs(x)) - k.erf(y) * k.sin(x) / k.pow(k.sqrt(x), y)


KERNELS: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "elementwise": (
        lambda: pointwise_kernel(chain, ["float32"] * 2, ["float32"]),
        ["fmul", "fadd", "fdiv", "fsqrt"],
    ),
    "bfloat16": (lambda: pointwise_kernel(lambda k, x: x * x, ["bfloat16"], ["bfloat16"]), ["fmul", "shl"]),
    "softmax": (lambda: rowwise.softmax(X), ["fmul", "fadd", "fcmgt"]),
    "sums of rows": (lambda: rowwise.sum_last(X), ["fadd"]),
    "sums of columns": (lambda: reduce.reduce(X, (0,), "sum"), ["fadd"]),
    "small products": (lambda: small_gemm.write_product("float32"), ["fm"]),
    "products": (lambda: packed_gemm.write_packed_product("float32"), ["fmla"]),
}


def arm() -> tuple[engine.Host, Any]:
    """A 64-bit ARM processor with NEON, and what writes its assembly."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, features = "aarch64-unknown-linux-gnu", "+neon,+fp-armv8"
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip("this LLVM was built without the ARM target")
    machine = target.create_target_machine(cpu="generic", features=features, opt=2, reloc="pic")
    names = frozenset(("neon", "fp-armv8"))
    return engine.Host(triple, str(machine.target_data), "generic", features, 128, names), machine


def assembly(text: str) -> str:
    host, machine = arm()
    header = f'target triple = "{host.triple}"\ntarget datalayout = "{host.data_layout}"\n'
    module = llvm.parse_assembly(header + text)
    module.verify()
    return str(machine.emit_assembly(module))


def forget() -> None:
    """Kernels, or what is known of a processor, that modules remember: there are two processors here."""
    for module in (rowwise, reduce, small_gemm, packed_gemm):
        for cache in vars(module).values():
            if hasattr(cache, "cache_clear"):
                cache.cache_clear()


@pytest.mark.parametrize("name", KERNELS)
def test_neon(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, instructions = KERNELS[name]
    build = engine.build
    texts: list[str] = []

    def write(text: str, *of: Any) -> Any:
        if "@pool.started" in text:
            return build(text, *of)
        texts.append(text)
        raise Written

    host = arm()[0]
    monkeypatch.setattr(engine, "host", lambda: host)
    monkeypatch.setattr(engine, "build", write)
    forget()
    try:
        texts.append(make())
    except Written:
        pass
    finally:
        forget()
    code = assembly(texts[0])
    vectors = {line.split()[0] for line in code.splitlines() if ".4s" in line}
    for instruction in instructions:
        assert any(v.startswith(instruction) for v in vectors), (instruction, sorted(vectors))


def test_the_pool_of_threads_on_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(machine="aarch64"))
    code = assembly(threads._linux_text())
    assert "yield" in code and "#98" in code  # between two looks, and the number of `futex`
