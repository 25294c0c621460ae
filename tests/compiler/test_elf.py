"""Stored machine code loaded without LLVM."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flambeau.compiler import elf, engine

pytestmark = pytest.mark.skipif(not elf.usable(), reason="object files of other machines are left to LLVM")

TEXT = """
@table = private constant [4 x double] [double 1.0, double 2.0, double 4.0, double 8.0]
@count = internal global i64 0
declare double @sin(double)
define double @f(double %x, i64 %i) {
  %n = load i64, ptr @count
  %m = add i64 %n, 1
  store i64 %m, ptr @count
  %p = getelementptr double, ptr @table, i64 %i
  %t = load double, ptr %p
  %s = call double @sin(double %x)
  %r = fmul double %s, %t
  ret double %r
}
define i64 @calls() {
  %n = load i64, ptr @count
  ret i64 %n
}
define ptr @address() {
  ret ptr @f
}
"""


def made() -> bytes:
    return engine._get_engine().compile(TEXT)


def test_code_constants_variables_and_calls_outside() -> None:
    found = elf.load(made(), ["f", "calls", "address"], {"sin": engine_sin()})
    f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int64)(found["f"])
    calls = ctypes.CFUNCTYPE(ctypes.c_int64)(found["calls"])
    assert f(0.5, 3) == pytest.approx(8 * np.sin(0.5), rel=1e-15) and f(0.5, 0) == pytest.approx(np.sin(0.5))
    assert calls() == 2
    assert ctypes.CFUNCTYPE(ctypes.c_void_p)(found["address"])() == found["f"]
    other = elf.load(made(), ["calls"], {"sin": engine_sin()})
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(other["calls"])() == 0, "each has variables of its own"


def engine_sin() -> int:
    from flambeau.compiler import native

    return native.libm_address("sin")


def test_symbols_of_the_process_are_found() -> None:
    found = elf.load(made(), ["f"], {})
    f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int64)(found["f"])
    assert f(1.0, 1) == pytest.approx(2 * np.sin(1.0))


def test_no_page_can_be_written_and_executed() -> None:
    found = elf.load(made(), ["f"], {})
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split(" ", 1)[0].partition("-")
        if int(start, 16) <= found["f"] < int(end, 16):
            assert line.split()[1].startswith("r-x")
            return
    raise AssertionError("the code is not mapped")


def test_what_is_damaged_is_refused() -> None:
    body = made()
    with pytest.raises(elf.Unloadable):
        elf.load(body, ["missing"], {})
    with pytest.raises(elf.Unloadable, match="process has no"):
        elf.load(body.replace(b"\0sin\0", b"\0zzz\0"), ["f"], {})
    with pytest.raises(elf.Unloadable):
        elf.load(b"\x7fELF", ["f"], {})
    r = random.Random(0)
    for _ in range(200):  # cut anywhere: an exception of one type, whatever is missing
        try:
            elf.load(body[: r.randrange(len(body))], ["f"], {})
        except elf.Unloadable:
            pass


WARM = """
import sys
import numpy as np
import flambeau as torch
x = torch.linspace(-1, 1, 100_000).reshape(100, 1000)
f = torch.compile(lambda x: (x.softmax(-1) * x.tanh() + 1).sum() + (x @ x.t()).mean() + x.var(1).sum())
for _ in range(3):
    y = f(x)
print(float(y), "llvmlite" in sys.modules)
"""


def test_a_warm_cache_needs_no_llvm(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", WARM], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    (first, loaded), (second, again) = (r.stdout.split() for r in runs)
    assert first == second and (loaded, again) == ("True", "False")


def test_a_damaged_description_of_the_machine_is_made_again(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WARM], env=environment, capture_output=True, check=True)
        records = list((tmp_path / "flambeau").glob("host-*"))
        assert len(records) == 1
        records[0].write_bytes(records[0].read_bytes()[:-5] + b"?????")
