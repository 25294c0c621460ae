"""Machine code for the random functions: Mersenne Twister, float32 Box-Muller, shuffling, C library loops.

The arithmetic is that of `flambeau.runtime.mt19937` and `flambeau.runtime.box_muller`, operation by
operation, so results are the same bits; see there for the algorithms and their sources.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from flambeau.runtime import native_draws

from .engine import CompileError, Library, build, host
from .native import libm_address

__all__ = ["install", "load"]

_LIBM = ("cos", "exp", "log", "log1p", "sin", "tan")
_WIDTH = 8
_LOG_P = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
_COS_P = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_SIN_P = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)


class _Block:
    """Straight-line code on vectors of eight: each method appends one instruction and names its result."""

    def __init__(self, prefix: str) -> None:
        self.lines: list[str] = []
        self.prefix = prefix

    def add(self, text: str) -> str:
        name = f"%{self.prefix}{len(self.lines)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def floats(self, op: str, a: str, b: str) -> str:
        return self.add(f"{op} <8 x float> {a}, {b}")

    def ints(self, op: str, a: str, b: str) -> str:
        return self.add(f"{op} <8 x i32> {a}, {b}")

    def fma(self, a: str, b: str, c: str) -> str:
        return self.add(
            f"call <8 x float> @llvm.fma.v8f32(<8 x float> {a}, <8 x float> {b}, <8 x float> {c})"
        )

    def cast(self, op: str, value: str, source: str, target: str) -> str:
        return self.add(f"{op} <8 x {source}> {value} to <8 x {target}>")


def _real(value: float) -> str:
    """A vector of eight times the float32 nearest to `value`."""
    rounded = struct.unpack("<f", struct.pack("<f", value))[0]
    bits = struct.unpack("<Q", struct.pack("<d", rounded))[0]
    return "<" + ", ".join([f"float 0x{bits:016X}"] * _WIDTH) + ">"


def _integer(value: int) -> str:
    return "<" + ", ".join([f"i32 {value}"] * _WIDTH) + ">"


def _log(b: _Block, x: str) -> str:
    bits = b.ints("sub", b.cast("bitcast", x, "float", "i32"), _integer(0x3F3504F3))
    exponent = b.cast("sitofp", b.ints("ashr", bits, _integer(23)), "i32", "float")
    mantissa = b.ints("add", b.ints("and", bits, _integer(0x7FFFFF)), _integer(0x3F3504F3))
    x = b.floats("fsub", b.cast("bitcast", mantissa, "i32", "float"), _real(1))
    y = _real(_LOG_P[0])
    for c in _LOG_P[1:]:
        y = b.fma(y, x, _real(c))
    square = b.floats("fmul", x, x)
    y = b.fma(b.floats("fmul", y, x), square, b.floats("fmul", exponent, _real(-2.12194440e-4)))
    y = b.floats("fsub", y, b.floats("fmul", square, _real(0.5)))
    return b.floats("fadd", b.floats("fadd", x, y), b.floats("fmul", exponent, _real(0.693359375)))


def _cos_sin(b: _Block, theta: str) -> tuple[str, str]:
    octant = b.cast("fptosi", b.floats("fmul", theta, _real(1.27323954473516)), "float", "i32")
    octant = b.ints("and", b.ints("add", octant, _integer(1)), _integer(-2))
    multiple = b.cast("sitofp", octant, "i32", "float")
    x = b.fma(multiple, _real(-0.78515625), theta)
    x = b.fma(multiple, _real(-2.4187564849853515625e-4), x)
    x = b.fma(multiple, _real(-3.77489497744594108e-8), x)
    z = b.floats("fmul", x, x)
    half = b.floats("fmul", z, _real(-0.5))
    cos = b.fma(b.fma(_real(_COS_P[0]), z, _real(_COS_P[1])), z, _real(_COS_P[2]))
    cos = b.floats("fadd", b.fma(b.floats("fmul", cos, z), z, half), _real(1))
    sin = b.fma(b.fma(_real(_SIN_P[0]), z, _real(_SIN_P[1])), z, _real(_SIN_P[2]))
    sin = b.fma(b.floats("fmul", sin, z), x, x)
    swap = b.add(f"icmp ne <8 x i32> {b.ints('and', octant, _integer(2))}, zeroinitializer")
    cos_value = b.add(f"select <8 x i1> {swap}, <8 x float> {sin}, <8 x float> {cos}")
    sin_value = b.add(f"select <8 x i1> {swap}, <8 x float> {cos}, <8 x float> {sin}")

    def signed(value: str, flag: str) -> str:
        sign = b.ints("shl", b.ints("and", flag, _integer(4)), _integer(29))
        bits = b.ints("xor", b.cast("bitcast", value, "float", "i32"), sign)
        return b.cast("bitcast", bits, "i32", "float")

    turned = b.ints("xor", b.ints("sub", octant, _integer(2)), _integer(-1))
    return signed(cos_value, turned), signed(sin_value, octant)


def _normal32() -> str:
    b = _Block("v")

    def unit(pointer: str) -> str:
        raw = b.add(f"load <8 x i32>, ptr {pointer}, align 4")
        value = b.cast("sitofp", b.ints("and", raw, _integer(0xFFFFFF)), "i32", "float")
        return b.floats("fmul", value, _real(2.0**-24))

    u1, u2 = unit("%first"), unit("%second")
    squared = b.floats("fmul", _log(b, b.floats("fsub", _real(1), u1)), _real(-2))
    radius = b.add(f"call <8 x float> @llvm.sqrt.v8f32(<8 x float> {squared})")
    cos, sin = _cos_sin(b, b.floats("fmul", u2, _real(6.283185307179586)))
    first = b.fma(b.floats("fmul", radius, cos), "%stds", "%means")
    second = b.fma(b.floats("fmul", radius, sin), "%stds", "%means")
    code = "\n".join(b.lines)
    return f"""
declare <8 x float> @llvm.fma.v8f32(<8 x float>, <8 x float>, <8 x float>)
declare <8 x float> @llvm.sqrt.v8f32(<8 x float>)

define void @normal32(ptr %data, i64 %n, float %mean, float %std) {{
entry:
  %mean0 = insertelement <8 x float> poison, float %mean, i32 0
  %means = shufflevector <8 x float> %mean0, <8 x float> poison, <8 x i32> zeroinitializer
  %std0 = insertelement <8 x float> poison, float %std, i32 0
  %stds = shufflevector <8 x float> %std0, <8 x float> poison, <8 x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %first = getelementptr i32, ptr %data, i64 %i
  %second = getelementptr i32, ptr %first, i64 8
{code}
  store <8 x float> {first}, ptr %first, align 4
  store <8 x float> {second}, ptr %second, align 4
  %next = add i64 %i, 16
  br label %loop
done:
  ret void
}}
"""


def _loop(name: str, start: str, stop: str, step: int, body: str, after: str) -> str:
    """``for i in range(start, stop, step)`` as blocks from ``name`` on, entered from the block before it."""
    return f"""
  br label %{name}.enter
{name}.enter:
  br label %{name}
{name}:
  %{name}.i = phi i64 [ {start}, %{name}.enter ], [ %{name}.next, %{name}.body ]
  %{name}.more = icmp ult i64 %{name}.i, {stop}
  br i1 %{name}.more, label %{name}.body, label %{after}
{name}.body:
{body}
  %{name}.next = add i64 %{name}.i, {step}
  br label %{name}
{after}:"""


def _twist(name: str, kind: str, shift: int) -> str:
    """words[i] = words[i + shift] ^ twist(words[i], words[i + 1]) for i from the loop's counter on."""
    p = name

    def constant(value: int) -> str:
        return str(value) if kind == "i32" else _integer(value)

    return f"""
  %{p}.p = getelementptr i32, ptr %state, i64 %{p}.i
  %{p}.q = getelementptr i32, ptr %{p}.p, i64 1
  %{p}.r = getelementptr i32, ptr %{p}.p, i64 {shift}
  %{p}.u = load {kind}, ptr %{p}.p, align 4
  %{p}.v = load {kind}, ptr %{p}.q, align 4
  %{p}.m = load {kind}, ptr %{p}.r, align 4
  %{p}.a = and {kind} %{p}.u, {constant(-0x80000000)}
  %{p}.b = and {kind} %{p}.v, {constant(0x7FFFFFFF)}
  %{p}.c = or {kind} %{p}.a, %{p}.b
  %{p}.d = lshr {kind} %{p}.c, {constant(1)}
  %{p}.e = and {kind} %{p}.v, {constant(1)}
  %{p}.f = sub {kind} {"0" if kind == "i32" else "zeroinitializer"}, %{p}.e
  %{p}.g = and {kind} %{p}.f, {constant(0x9908B0DF - (1 << 32))}
  %{p}.h = xor {kind} %{p}.d, %{p}.g
  %{p}.k = xor {kind} %{p}.h, %{p}.m
  store {kind} %{p}.k, ptr %{p}.p, align 4"""


def _temper(name: str, kind: str) -> str:
    """out[done + i] = temper(words[position + i]) for the loop's counter i."""
    p = name

    def constant(value: int) -> str:
        return str(value) if kind == "i32" else _integer(value)

    return f"""
  %{p}.p = getelementptr i32, ptr %from, i64 %{p}.i
  %{p}.q = getelementptr i32, ptr %to, i64 %{p}.i
  %{p}.y = load {kind}, ptr %{p}.p, align 4
  %{p}.a = lshr {kind} %{p}.y, {constant(11)}
  %{p}.b = xor {kind} %{p}.y, %{p}.a
  %{p}.c = shl {kind} %{p}.b, {constant(7)}
  %{p}.d = and {kind} %{p}.c, {constant(0x9D2C5680 - (1 << 32))}
  %{p}.e = xor {kind} %{p}.b, %{p}.d
  %{p}.f = shl {kind} %{p}.e, {constant(15)}
  %{p}.g = and {kind} %{p}.f, {constant(0xEFC60000 - (1 << 32))}
  %{p}.h = xor {kind} %{p}.e, %{p}.g
  %{p}.k = lshr {kind} %{p}.h, {constant(18)}
  %{p}.l = xor {kind} %{p}.h, %{p}.k
  store {kind} %{p}.l, ptr %{p}.q, align 4"""


def _outputs() -> str:
    wide = f"<{_WIDTH} x i32>"
    twist = _loop("t1", "0", "224", _WIDTH, _twist("t1", wide, 397), "t1.done")
    twist += _loop("t2", "224", "227", 1, _twist("t2", "i32", 397), "t2.done")
    twist += _loop("t3", "227", "619", _WIDTH, _twist("t3", wide, -227), "t3.done")
    twist += _loop("t4", "619", "623", 1, _twist("t4", "i32", -227), "t4.done")
    # The last word follows the first: it is twisted with a copy of the new first word behind it, where the
    # position is kept (and set anew below).
    twist += """
  %first = load i32, ptr %state, align 4
  store i32 %first, ptr %position.p, align 4"""
    twist += _loop("t5", "623", "624", 1, _twist("t5", "i32", -227), "t5.done")
    temper = _loop("o1", "0", "%whole", _WIDTH, _temper("o1", wide), "o1.done")
    temper += _loop("o2", "%whole", "%count", 1, _temper("o2", "i32"), "o2.done")
    return f"""
define void @outputs(ptr %state, ptr %out, i64 %n) {{
entry:
  %position.p = getelementptr i32, ptr %state, i64 624
  %position32 = load i32, ptr %position.p, align 4
  %position0 = sext i32 %position32 to i64
  br label %outer
outer:
  %done = phi i64 [ 0, %entry ], [ %done.next, %o2.done ]
  %position = phi i64 [ %position0, %entry ], [ %position.next, %o2.done ]
  %more = icmp ult i64 %done, %n
  br i1 %more, label %check, label %finish
check:
  %empty = icmp eq i64 %position, 624
  br i1 %empty, label %twist, label %emit
twist:
{twist}
  br label %emit
emit:
  %start = phi i64 [ %position, %check ], [ 0, %t5.done ]
  %available = sub i64 624, %start
  %wanted = sub i64 %n, %done
  %enough = icmp ult i64 %wanted, %available
  %count = select i1 %enough, i64 %wanted, i64 %available
  %whole = and i64 %count, -{_WIDTH}
  %from = getelementptr i32, ptr %state, i64 %start
  %to = getelementptr i32, ptr %out, i64 %done
{temper}
  %done.next = add i64 %done, %count
  %position.next = add i64 %start, %count
  br label %outer
finish:
  %position.last = trunc i64 %position to i32
  store i32 %position.last, ptr %position.p, align 4
  ret void
}}
"""


def _shuffle() -> str:
    body = """
  %s.left = sub i64 %n, %s.i
  %s.left32 = trunc i64 %s.left to i32
  %s.rp = getelementptr i32, ptr %raw, i64 %s.i
  %s.r = load i32, ptr %s.rp, align 4
  %s.step32 = urem i32 %s.r, %s.left32
  %s.step = zext i32 %s.step32 to i64
  %s.p = getelementptr i64, ptr %order, i64 %s.i
  %s.q = getelementptr i64, ptr %s.p, i64 %s.step
  %s.a = load i64, ptr %s.p, align 8
  %s.b = load i64, ptr %s.q, align 8
  store i64 %s.b, ptr %s.p, align 8
  store i64 %s.a, ptr %s.q, align 8"""
    return f"""
define void @shuffle(ptr %order, i64 %n, ptr %raw) {{
entry:
  %last = sub i64 %n, 1
{_loop("s", "0", "%last", 1, body, "s.done")}
  ret void
}}
"""


def _map(name: str) -> str:
    body = f"""
  %m.p = getelementptr double, ptr %x, i64 %m.i
  %m.x = load double, ptr %m.p, align 8
  %m.y = call double @{name}(double %m.x)
  store double %m.y, ptr %m.p, align 8"""
    return f"""
declare double @{name}(double)
define void @map_{name}(ptr %x, i64 %n) {{
entry:
{_loop("m", "0", "%n", 1, body, "m.done")}
  ret void
}}
"""


class _Loaded:
    """`native_draws.Kernels` over the loaded code.  ctypes releases the interpreter lock during calls."""

    def __init__(self, library: Library, has_normal32: bool) -> None:
        pointer, size, single = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
        self.has_normal32 = has_normal32
        self._outputs: Any = ctypes.CFUNCTYPE(None, pointer, pointer, size)(library["outputs"])
        self._shuffle: Any = ctypes.CFUNCTYPE(None, pointer, size, pointer)(library["shuffle"])
        if has_normal32:
            kind = ctypes.CFUNCTYPE(None, pointer, size, single, single)
            self._normal32: Any = kind(library["normal32"])
        self.libm: Mapping[str, Callable[[npt.NDArray[np.float64]], None]] = {
            name: _mapped(ctypes.CFUNCTYPE(None, pointer, size)(library[f"map_{name}"])) for name in _LIBM
        }

    def outputs(self, engine: int, out: npt.NDArray[np.uint32]) -> None:
        self._outputs(engine, out.ctypes.data, out.size)

    def normal32(self, bits: npt.NDArray[np.uint32], mean: float, std: float) -> None:
        self._normal32(bits.ctypes.data, bits.size, mean, std)

    def normal32_at(self, address: int, n: int, mean: float, std: float) -> None:
        self._normal32(address, n, mean, std)

    def shuffle(self, order: npt.NDArray[np.int64], raw: npt.NDArray[np.uint32]) -> None:
        self._shuffle(order.ctypes.data, order.size, raw.ctypes.data)


def _mapped(function: Any) -> Callable[[npt.NDArray[np.float64]], None]:
    def apply(x: npt.NDArray[np.float64]) -> None:
        function(x.ctypes.data, x.size)

    return apply


def load() -> native_draws.Kernels | None:
    """Build (or take from the cache) and load the kernels; None where that is impossible."""
    try:
        machine = host()
        fused = machine.has("fma") or machine.triple.startswith(("aarch64", "arm64"))
        text = _outputs() + _shuffle() + "".join(map(_map, _LIBM))
        exports = ["outputs", "shuffle", *(f"map_{name}" for name in _LIBM)]
        if fused:
            text += _normal32()
            exports.append("normal32")
        return _Loaded(build(text, exports, {name: libm_address(name) for name in _LIBM}), fused)
    except (ImportError, CompileError, AttributeError, OSError):
        return None


def install() -> None:
    """Let the random functions load these kernels when they are worth it; costs nothing until then."""
    native_draws.offer(load)
