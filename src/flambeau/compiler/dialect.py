"""The language in which kernels are written: values are vectors of a fixed number of lanes.

A kernel's body is a Python function over a `Dialect` and `Value` operands; running it once writes the LLVM
assembly.  Nothing is contracted or reordered: ``a * b + c`` rounds twice, as separate operations do, and
`Dialect.fma` is there to be asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from . import vector_math
from .code import Code
from .engine import Host
from .types import COMPUTE, Compute, Storage, UnsupportedError

__all__ = ["Dialect", "Number", "Operand", "Value", "float_literal"]

Number = bool | int | float


def float_literal(value: float, type: Compute) -> str:
    """LLVM's spelling of a constant, which has the bits of a double also for float32."""
    if type.name == "float32":
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


class Value:
    """A vector in registers. Operators take a second `Value` of the same type, or a Python number."""

    __slots__ = ("k", "ref", "type")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, k: Dialect, ref: str, type: Compute) -> None:
        self.k, self.ref, self.type = k, ref, type

    def __repr__(self) -> str:
        return f"Value({self.ref}, {self.type.name})"

    def __bool__(self) -> bool:
        raise TypeError("a kernel cannot branch on its data; use k.select(condition, a, b)")

    def __add__(self, other: Operand) -> Value:
        return self.k.arithmetic("add", self, other)

    def __radd__(self, other: Number) -> Value:
        return self.k.arithmetic("add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.k.arithmetic("sub", self, other)

    def __rsub__(self, other: Number) -> Value:
        return self.k.arithmetic("sub", other, self)

    def __mul__(self, other: Operand) -> Value:
        return self.k.arithmetic("mul", self, other)

    def __rmul__(self, other: Number) -> Value:
        return self.k.arithmetic("mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.k.divide(self, other)

    def __rtruediv__(self, other: Number) -> Value:
        return self.k.divide(other, self)

    def __neg__(self) -> Value:
        return self.k.negate(self)

    def __and__(self, other: Operand) -> Value:
        return self.k.bitwise("and", self, other)

    def __rand__(self, other: Number) -> Value:
        return self.k.bitwise("and", other, self)

    def __or__(self, other: Operand) -> Value:
        return self.k.bitwise("or", self, other)

    def __ror__(self, other: Number) -> Value:
        return self.k.bitwise("or", other, self)

    def __xor__(self, other: Operand) -> Value:
        return self.k.bitwise("xor", self, other)

    def __rxor__(self, other: Number) -> Value:
        return self.k.bitwise("xor", other, self)

    def __invert__(self) -> Value:
        return self.k.bitwise("xor", self, True if self.type.kind == "b" else -1)

    def __lt__(self, other: Operand) -> Value:
        return self.k.relation("lt", self, other)

    def __le__(self, other: Operand) -> Value:
        return self.k.relation("le", self, other)

    def __gt__(self, other: Operand) -> Value:
        return self.k.relation("gt", self, other)

    def __ge__(self, other: Operand) -> Value:
        return self.k.relation("ge", self, other)

    def __eq__(self, other: Operand) -> Value:  # type: ignore[override]
        return self.k.relation("eq", self, other)

    def __ne__(self, other: Operand) -> Value:  # type: ignore[override]
        return self.k.relation("ne", self, other)


Operand = Value | bool | int | float


class Dialect(Code):
    """Writes straight-line vector code. `weight` estimates what an element costs, in simple operations."""

    def __init__(self, host: Host, lanes: int) -> None:
        super().__init__()
        self.host = host
        self.lanes = lanes
        self.libm: set[str] = set()
        self.weight = 0.0

    # ---- writing ----

    def emit(self, text: str) -> str:
        """Append ``register = text`` and return the register."""
        self.weight += 1
        return super().emit(text)

    def vector(self, type: Compute | str) -> str:
        """LLVM's vector type with this dialect's number of lanes."""
        return f"<{self.lanes} x {type if isinstance(type, str) else type.llvm}>"

    def op(self, code: str, type: Compute, *operands: Value) -> Value:
        """``code <type of the first operand> operands``, with a result of `type`."""
        text = f"{code} {self.vector(operands[0].type)} " + ", ".join(v.ref for v in operands)
        return Value(self, self.emit(text), type)

    def op_text(self, text: str, type: Compute) -> Value:
        """The result, of `type`, of an instruction given as text."""
        return Value(self, self.emit(text), type)

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """A lane-wise LLVM intrinsic whose operands and result have one type."""
        type = operands[0].type
        suffix = {"float": "f32", "double": "f64"}.get(type.llvm, type.llvm)
        full = f"llvm.{name}.v{self.lanes}{suffix}"
        vector = self.vector(type)
        self.declare(full, f"declare {vector} @{full}({', '.join([vector] * len(operands))})")
        arguments = ", ".join(f"{vector} {v.ref}" for v in operands)
        return Value(self, self.emit(f"call {vector} @{full}({arguments})"), type)

    # ---- constants, conversions ----

    def const(self, value: Number, type: Compute | str = "float32") -> Value:
        """All lanes equal to `value`."""
        if isinstance(type, str):
            type = COMPUTE[type]
        if type.kind == "f":
            literal = float_literal(float(value), type)
        elif type.kind == "b":
            if not isinstance(value, bool):
                raise TypeError(f"a mask cannot be combined with the number {value!r}")
            literal = "true" if value else "false"
        else:
            if isinstance(value, float):
                raise TypeError(f"{value!r} is not an integer, as {type.name} values need; use k.cast first")
            limit = 1 << type.bits
            if not -(limit >> 1) <= value < (limit if type.kind == "u" else limit >> 1):
                raise OverflowError(f"{value} does not fit in {type.name}")
            literal = str(int(value))
        return Value(self, f"splat ({type.llvm} {literal})", type)

    def operand(self, value: Operand, like: Value) -> Value:
        """`value`, if a number as a constant of `like`'s type."""
        if not isinstance(value, Value):
            return self.const(value, like.type)
        if value.type is not like.type:
            raise TypeError(f"types differ: {value.type.name} and {like.type.name}; use k.cast")
        return value

    def _pair(self, a: Operand, b: Operand) -> tuple[Value, Value]:
        if isinstance(a, Value):
            return a, self.operand(b, a)
        if isinstance(b, Value):
            return self.operand(a, b), b
        raise TypeError("one operand at least must be a kernel value")

    def splat(self, scalar: str, type: Compute) -> Value:
        """All lanes equal to the scalar register `scalar`."""
        vector = self.vector(type)
        one = self.emit(f"insertelement {vector} poison, {type.llvm} {scalar}, i32 0")
        ref = self.emit(
            f"shufflevector {vector} {one}, {vector} poison, <{self.lanes} x i32> zeroinitializer"
        )
        return Value(self, ref, type)

    def bitcast(self, value: Value, name: str) -> Value:
        """The same bits seen as the type `name`."""
        type = COMPUTE[name]
        return Value(
            self, self.emit(f"bitcast {self.vector(value.type)} {value.ref} to {self.vector(type)}"), type
        )

    def convert(self, code: str, value: Value, type: Compute) -> Value:
        """LLVM's conversion instruction `code`."""
        text = f"{code} {self.vector(value.type)} {value.ref} to {self.vector(type)}"
        return Value(self, self.emit(text), type)

    def cast(self, value: Value, name: str) -> Value:
        """`value` converted to the type `name`.

        Floats are truncated to integers; what does not fit (and NaN) gives the smallest int32 or int64, whose
        low bits narrower integers take. To bool: whether the value is not zero.
        """
        source, target = value.type, COMPUTE[name]
        if source is target:
            return value
        if target.kind == "b":
            return value != (0.0 if source.kind == "f" else 0)
        if source.kind == "b":
            return self.convert("uitofp" if target.kind == "f" else "zext", value, target)
        if source.kind == "f":
            if target.kind == "f":
                return self.convert("fpext" if target.bits > source.bits else "fptrunc", value, target)
            wide = COMPUTE["int64" if target.bits == 64 else "int32"]
            limit = float(1 << (wide.bits - 1))
            inside = (value >= -limit) & (value < limit)
            if source.bits == 64 and wide.bits == 32:
                inside = (value > -limit - 1) & (value < limit)
            number = self.convert("fptosi", self.select(inside, value, 0.0), wide)
            return self.cast(self.select(inside, number, -(1 << (wide.bits - 1))), name)
        if target.kind == "f":
            return self.convert("sitofp" if source.kind == "i" else "uitofp", value, target)
        if target.bits == source.bits:
            return Value(self, value.ref, target)
        if target.bits < source.bits:
            return self.convert("trunc", value, target)
        return self.convert("sext" if source.kind == "i" else "zext", value, target)

    # ---- arithmetic ----

    def arithmetic(self, code: str, a: Operand, b: Operand) -> Value:
        """``add``, ``sub`` or ``mul``; integers wrap around."""
        x, y = self._pair(a, b)
        if x.type.kind == "b":
            raise TypeError(f"{code} is not defined on masks; use & | ~, or k.cast")
        return self.op(("f" if x.type.kind == "f" else "") + code, x.type, x, y)

    def divide(self, a: Operand, b: Operand) -> Value:
        """Division of floats."""
        x, y = self._pair(a, b)
        if x.type.kind != "f":
            raise TypeError(f"/ is not defined on {x.type.name}; use k.cast, k.floor_divide or k.remainder")
        self.weight += 3 * x.type.bits / 32
        return self.op("fdiv", x.type, x, y)

    def _integer_division(self, code: str, a: Operand, b: Operand) -> tuple[Value, Value, Value, Value]:
        x, y = self._pair(a, b)
        if x.type.kind not in "iu":
            raise TypeError(f"integers were expected, got {x.type.name}")
        self.weight += 10
        # Dividing by zero, and the smallest number by -1, stops the process on some processors.
        unsafe = y == 0
        if x.type.kind == "i":
            unsafe = unsafe | ((y == -1) & (x == -(1 << (x.type.bits - 1))))
        safe = self.select(unsafe, 1, y)
        return self.op(("s" if x.type.kind == "i" else "u") + code, x.type, x, safe), x, safe, unsafe

    def truncate_divide(self, a: Operand, b: Operand) -> Value:
        """Quotient of integers rounded towards zero. Where the quotient does not exist, ``a``."""
        return self._integer_division("div", a, b)[0]

    def floor_divide(self, a: Operand, b: Operand) -> Value:
        """Quotient of integers rounded down. Where the quotient does not exist, ``a``."""
        quotient, x, y, _ = self._integer_division("div", a, b)
        if x.type.kind == "u":
            return quotient
        inexact = (x - quotient * y) != 0
        return self.select(inexact & ((x ^ y) < 0), quotient - 1, quotient)

    def remainder(self, a: Operand, b: Operand) -> Value:
        """``a - floor_divide(a, b) * b``: has the sign of ``b``; 0 where the quotient does not exist."""
        rest, x, y, _ = self._integer_division("rem", a, b)
        if x.type.kind == "u":
            return rest
        return self.select((rest != 0) & ((rest ^ y) < 0), rest + y, rest)

    def negate(self, a: Value) -> Value:
        """``-a``."""
        if a.type.kind == "f":
            return self.op("fneg", a.type, a)
        return self.arithmetic("sub", 0, a)

    def bitwise(self, code: str, a: Operand, b: Operand) -> Value:
        """``and``, ``or`` or ``xor`` of masks or integers."""
        x, y = self._pair(a, b)
        if x.type.kind == "f":
            raise TypeError(f"bitwise {code} is not defined on {x.type.name}")
        return self.op(code, x.type, x, y)

    def shift_left(self, a: Value, count: Operand) -> Value:
        """``a << count``; counts outside of ``[0, bits)`` give 0."""
        n = self.operand(count, a)
        inside = (n >= 0) & (n < a.type.bits)
        return self.select(inside, self.op("shl", a.type, a, self.select(inside, n, 0)), 0)

    def shift_right(self, a: Value, count: Operand) -> Value:
        """``a >> count``, filling with the sign; counts outside of ``[0, bits)`` give the sign."""
        n = self.operand(count, a)
        inside = (n >= 0) & (n < a.type.bits)
        if a.type.kind == "u":
            return self.select(inside, self.op("lshr", a.type, a, self.select(inside, n, 0)), 0)
        return self.op("ashr", a.type, a, self.select(inside, n, a.type.bits - 1))

    def shift(self, code: str, a: Value, count: int) -> Value:
        """``shl``, ``lshr`` or ``ashr`` by a constant."""
        return self.op(code, a.type, a, self.const(count, a.type))

    def relation(self, relation: str, a: Operand, b: Operand) -> Value:
        """``lt le gt ge eq ne`` as a mask; with NaN only ``ne`` holds."""
        x, y = self._pair(a, b)
        kind = x.type.kind
        if kind == "f":
            code = "fcmp " + ("une" if relation == "ne" else "o" + relation)
        elif relation in ("eq", "ne"):
            code = "icmp " + relation
        else:
            code = "icmp " + ("s" if kind == "i" else "u") + relation
        return self.op(code, COMPUTE["bool"], x, y)

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        """``a`` where the mask holds, else ``b``."""
        if condition.type.kind != "b":
            raise TypeError(f"the condition must be a mask, got {condition.type.name}")
        x, y = self._pair(a, b)
        vector = self.vector(x.type)
        text = f"select {self.vector('i1')} {condition.ref}, {vector} {x.ref}, {vector} {y.ref}"
        return Value(self, self.emit(text), x.type)

    def fma(self, a: Operand, b: Operand, c: Operand) -> Value:
        """``a * b + c`` of floats, rounded once."""
        like = next((v for v in (a, b, c) if isinstance(v, Value)), None)
        if like is None:
            raise TypeError("one operand at least must be a kernel value")
        self._need_float("fma", like)
        return self.intrinsic("fma", self.operand(a, like), self.operand(b, like), self.operand(c, like))

    def max(self, a: Operand, b: Operand) -> Value:
        """The larger one; NaN if either is NaN."""
        return self._extremum("gt", a, b)

    def min(self, a: Operand, b: Operand) -> Value:
        """The smaller one; NaN if either is NaN."""
        return self._extremum("lt", a, b)

    def _extremum(self, relation: str, a: Operand, b: Operand) -> Value:
        x, y = self._pair(a, b)
        chosen = self.select(self.relation(relation, x, y), x, y)  # y if either is NaN
        return self.select(self.isnan(x), x, chosen) if x.type.kind == "f" else chosen

    def isnan(self, a: Value) -> Value:
        """Whether each lane is NaN."""
        return self.op("fcmp uno", COMPUTE["bool"], a, a)

    def isinf(self, a: Value) -> Value:
        """Whether each lane is an infinity."""
        return self.abs(a) == float("inf")

    def isfinite(self, a: Value) -> Value:
        """Whether each lane is neither an infinity nor NaN."""
        return self.abs(a) < float("inf")

    def sign(self, a: Value) -> Value:
        """-1, 0 or 1; 0 for NaN."""
        return self.select(a > 0, 1, self.select(a < 0, self.const(-1, a.type), self.const(0, a.type)))

    def xlogy(self, a: Value, b: Operand) -> Value:
        """``a * log(b)``; 0 where ``a`` is 0, unless ``b`` is NaN."""
        y = self.operand(b, a)
        return self.select((a == 0) & (y == y), 0, a * self.log(y))

    def sgn(self, a: Value) -> Value:
        """`sign`, under the name that it has for complex numbers."""
        return self.sign(a)

    def abs(self, a: Value) -> Value:
        """Magnitude; of the smallest integer, itself."""
        if a.type.kind == "f":
            return self.intrinsic("fabs", a)
        return a if a.type.kind == "u" else self.select(a < 0, -a, a)

    def copysign(self, a: Value, b: Value) -> Value:
        """The magnitude of ``a`` with the sign of ``b``."""
        return self.intrinsic("copysign", a, self.operand(b, a))

    # ---- functions of floats ----

    def _need_float(self, name: str, a: Value) -> None:
        if a.type.kind != "f":
            raise TypeError(f"{name} needs floats, got {a.type.name}; use k.cast")

    def _rounding(self, name: str, a: Value) -> Value:
        return self.intrinsic(name, a) if a.type.kind == "f" else a

    def floor(self, a: Value) -> Value:
        """Rounded down."""
        return self._rounding("floor", a)

    def ceil(self, a: Value) -> Value:
        """Rounded up."""
        return self._rounding("ceil", a)

    def trunc(self, a: Value) -> Value:
        """Rounded towards zero."""
        return self._rounding("trunc", a)

    def round(self, a: Value) -> Value:
        """Rounded to the nearest integer, halves to even."""
        return self._rounding("rint", a)

    def sqrt(self, a: Value) -> Value:
        """Square root, correctly rounded."""
        self._need_float("sqrt", a)
        self.weight += 5 * a.type.bits / 32
        return self.intrinsic("sqrt", a)

    def rsqrt(self, a: Value) -> Value:
        """``1 / sqrt(a)``."""
        return 1.0 / self.sqrt(a)

    def reciprocal(self, a: Value) -> Value:
        """``1 / a``."""
        return 1.0 / a

    def _function(self, name: str, a: Value) -> Value:
        self._need_float(name, a)
        result: Value = getattr(vector_math, name)(self, a)
        return result

    def exp(self, a: Value) -> Value:
        """e to the power ``a``."""
        return self._function("exp", a)

    def expm1(self, a: Value) -> Value:
        """``exp(a) - 1`` without cancellation."""
        return self._function("expm1", a)

    def log(self, a: Value) -> Value:
        """Natural logarithm."""
        return self._function("log", a)

    def log1p(self, a: Value) -> Value:
        """``log(1 + a)`` without cancellation."""
        return self._function("log1p", a)

    def sin(self, a: Value) -> Value:
        """Sine, for arguments of any size."""
        return self._function("sin", a)

    def cos(self, a: Value) -> Value:
        """Cosine, for arguments of any size."""
        return self._function("cos", a)

    def tanh(self, a: Value) -> Value:
        """Hyperbolic tangent."""
        return self._function("tanh", a)

    def erf(self, a: Value) -> Value:
        """Error function."""
        return self._function("erf", a)

    def sigmoid(self, a: Value) -> Value:
        """``1 / (1 + exp(-a))``."""
        return 1.0 / (1.0 + self.exp(-a))

    def pow(self, a: Operand, b: Operand) -> Value:
        """``a`` to the power ``b``, with the special cases of C's ``pow``."""
        x, y = self._pair(a, b)
        self._need_float("pow", x)
        return vector_math.power(self, x, y)

    # ---- lane by lane ----

    def scalar_call(self, function: str, where: Value, base: Value, *operands: Value) -> Value:
        """`base` with the lanes of the mask `where` replaced by the C library's `function` of `operands`.

        For rare arguments only: the vector code goes on unbranched when no lane asks for it.
        """
        type = base.type
        symbol = function + ("f" if type.bits == 32 else "")
        self.libm.add(symbol)
        vector, mask = self.vector(type), self.vector("i1")
        count = len(operands)
        scalar = ", ".join([type.llvm] * count)
        self.declare(symbol, f"declare {type.llvm} @{symbol}({scalar})")
        helper = f"each.{symbol}.{self.lanes}"
        if helper not in self.declarations:
            parameters = "".join(f", {vector} %x{i}" for i in range(count))
            picks = "".join(f"  %e{i} = extractelement {vector} %x{i}, i32 %lane\n" for i in range(count))
            call = ", ".join(f"{type.llvm} %e{i}" for i in range(count))
            head = f"define internal {vector} @{helper}({mask} %where, {vector} %base{parameters})"
            self.declarations[helper] = f"""{head} noinline #0 {{
entry:
  br label %loop
loop:
  %lane = phi i32 [0, %entry], [%following, %next]
  %result = phi {vector} [%base, %entry], [%merged, %next]
  %wanted = extractelement {mask} %where, i32 %lane
  br i1 %wanted, label %one, label %next
one:
{picks}  %y = call {type.llvm} @{symbol}({call})
  %changed = insertelement {vector} %result, {type.llvm} %y, i32 %lane
  br label %next
next:
  %merged = phi {vector} [%result, %loop], [%changed, %one]
  %following = add i32 %lane, 1
  %more = icmp ult i32 %following, {self.lanes}
  br i1 %more, label %loop, label %done
done:
  ret {vector} %merged
}}"""
        reduce = f"llvm.vector.reduce.or.v{self.lanes}i1"
        self.declare(reduce, f"declare i1 @{reduce}({mask})")
        any_lane = self.emit(f"call i1 @{reduce}({mask} {where.ref})")
        before, rare, after = self.block, self.new_label("rare"), self.new_label("after")
        self.branch_if(any_lane, rare, after)
        self.label(rare)
        arguments = "".join(f", {vector} {v.ref}" for v in operands)
        slow = self.emit(f"call {vector} @{helper}({mask} {where.ref}, {vector} {base.ref}{arguments})")
        self.branch(after)
        self.label(after)
        return Value(self, self.emit(f"phi {vector} [{base.ref}, %{before}], [{slow}, %{rare}]"), type)

    # ---- memory formats ----

    def decode(self, raw: str, storage: Storage) -> Value:
        """Loaded lanes of `storage` as values of its compute type."""
        compute = storage.compute
        if storage.name == "bool":
            ref = self.emit(f"icmp ne {self.vector('i8')} {raw}, zeroinitializer")
            return Value(self, ref, compute)
        if storage.name == "bfloat16":
            wide = self.convert("zext", Value(self, raw, COMPUTE["int16"]), COMPUTE["int32"])
            return self.bitcast(self.shift("shl", wide, 16), "float32")
        if storage.name == "float16":
            self._need_half()
            half = self.emit(f"bitcast {self.vector('i16')} {raw} to {self.vector('half')}")
            ref = self.emit(f"fpext {self.vector('half')} {half} to {self.vector('float')}")
            return Value(self, ref, compute)
        return Value(self, raw, compute)

    def encode(self, value: Value, storage: Storage) -> str:
        """The lanes of `value` in the form in which `storage` keeps them, rounded to nearest even."""
        value = self.cast(value, storage.compute.name)
        if storage.name == "bool":
            return self.emit(f"zext {self.vector('i1')} {value.ref} to {self.vector('i8')}")
        if storage.name == "bfloat16":
            bits = self.bitcast(value, "int32")
            odd = self.shift("lshr", bits, 16) & 1
            rounded = self.shift("lshr", bits + odd + 0x7FFF, 16)
            # Rounding could carry a NaN into infinity: keep its upper half and make it quiet.
            quiet = self.shift("lshr", bits, 16) | 0x40
            return self.convert("trunc", self.select(self.isnan(value), quiet, rounded), COMPUTE["int16"]).ref
        if storage.name == "float16":
            self._need_half()
            half = self.emit(f"fptrunc {self.vector('float')} {value.ref} to {self.vector('half')}")
            return self.emit(f"bitcast {self.vector('half')} {half} to {self.vector('i16')}")
        return value.ref

    def _need_half(self) -> None:
        if "sse2" in self.host.names and not self.host.has("f16c"):
            raise UnsupportedError("this processor has no float16 conversions (f16c)")

    def fold(self, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined, by halves; the result is in every lane."""
        distance, vector = self.lanes // 2, self.vector(value.type)
        while distance:
            turned = ", ".join(f"i32 {(i + distance) % self.lanes}" for i in range(self.lanes))
            ref = self.emit(
                f"shufflevector {vector} {value.ref}, {vector} poison, <{self.lanes} x i32> <{turned}>"
            )
            value = combine(value, Value(self, ref, value.type))
            distance //= 2
        return value
