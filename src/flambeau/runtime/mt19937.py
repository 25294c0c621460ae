"""The CPU random number generator: Mersenne Twister 19937 with PyTorch's seeding, state format and draw order.

The recurrence and the tempering are those of Matsumoto and Nishimura (ACM TOMACS 8(1), 1998, section 2), the
seeding is the one of their 2002 revision.  NumPy's bit generator implements the same engine, so it makes the
raw numbers here; this module adds what PyTorch keeps around it: the 64-bit seed of which the engine sees the
low half, the cached second halves of Box-Muller pairs, and the 5056-byte state.

Every sampling function of `flambeau.runtime.distributions` holds `Generator.lock` while it draws, so threads
that share a generator each get whole, consecutive runs of its numbers.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.runtime.native_draws import kernels

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

__all__ = ["Generator", "default_generator"]

_WORDS = 624
_FIRST_SEED = 67280421310721  # what a PyTorch generator holds before anyone seeds it
_STATE_BYTES = 5056

# PyTorch's state: the record of its first versions, then the fields added when float32 normals got their own cache.
_STATE = np.dtype(
    {
        "names": [
            "seed",
            "left",
            "seeded",
            "next",
            "words",
            "normal",
            "has_normal",
            "normal32",
            "has_normal32",
        ],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", _WORDS), "<f8", "<i4", "<f4", "u1"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
        "itemsize": _STATE_BYTES,
    }
)

# From this many numbers on, `RandomState.randint` (3 us a call, 1.6 ns a number, 32-bit results) beats
# `random_raw` (0.4 us a call, 2.1 ns a number, 64-bit results).
_BULK = 6000
# From this many on, generated code beats both, once it is loaded (0.23 ns a number).
_NATIVE = 512


class Generator:
    """A source of random numbers that gives PyTorch's numbers for the same seed.

    ``device`` must name the CPU.  ``lock`` guards everything below it; ``raw32`` and ``raw64`` expect the
    caller to hold it, the other methods take it themselves.

    Raises: RuntimeError for a device other than the CPU.

    >>> import flambeau as torch
    >>> torch.Generator().manual_seed(7).initial_seed()
    7
    """

    __slots__ = (
        "__weakref__",
        "_bits",
        "_engine",
        "_idle_next",
        "_legacy",
        "_seed",
        "_started",
        "device",
        "lock",
        "next_normal",
        "next_normal32",
    )

    def __init__(self, device: Any = "cpu") -> None:
        kind = getattr(device, "type", device)
        if not isinstance(kind, str) or kind.partition(":")[0] != "cpu":
            raise RuntimeError(
                f"Generator: device {str(device)!r} has no generator here; use Generator(device='cpu')"
            )
        self.device = device
        self.lock = threading.RLock()  # of draws in several steps nobody comes in between
        self.next_normal: float | None = None  # the second half of the last float64 Box-Muller pair
        self.next_normal32: float | None = None  # PyTorch stores one for float32 too; no CPU function uses it
        self._started = False
        self._seed: int = _FIRST_SEED
        self._idle_next = 0

    def __getattr__(self, name: str) -> Any:
        """The engine is made when it is first asked for: importing numpy.random takes longer than most of the rest."""
        if name not in ("_bits", "_engine", "_legacy"):
            raise AttributeError(f"'Generator' object has no attribute '{name}'")
        with self.lock:
            if not self._started:
                bits = np.random.MT19937(0)
                legacy = np.random.RandomState(bits)  # reaches seeding and 32-bit bulk draws of `_bits`
                legacy.seed(self._seed & 0xFFFFFFFF)
                self._bits, self._legacy, self._engine = bits, legacy, bits.ctypes.state_address
                self._started = True
        return object.__getattribute__(self, name)

    def _reseed(self, seed: int) -> None:
        if self._started:
            self._legacy.seed(seed & 0xFFFFFFFF)
        self._seed = seed
        self._idle_next = 0
        self.next_normal = self.next_normal32 = None

    def manual_seed(self, seed: int) -> Generator:
        """Start the sequence of ``seed``, an int in [-2**63, 2**64); negative seeds count from 2**64 down.

        Raises: RuntimeError when ``seed`` is not an int, ValueError when it does not fit; nothing changes then.

        >>> import flambeau as torch
        >>> torch.Generator().manual_seed(-1).initial_seed() == 2**64 - 1
        True
        """
        if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")  # noqa: TRY004
        value = int(seed)
        if not -(1 << 63) <= value < 1 << 64:
            raise ValueError(f"Overflow when unpacking long long: seed {value} is outside [-2**63, 2**64)")
        with self.lock:
            self._reseed(value & 0xFFFFFFFFFFFFFFFF)
        return self

    def seed(self) -> int:
        """Start a sequence from the operating system's entropy; returns the seed (53 bits) to repeat it with."""
        value = int.from_bytes(os.urandom(7), "little") >> 3
        with self.lock:
            self._reseed(value)
        return value

    def initial_seed(self) -> int:
        """The seed the present sequence started from, in [0, 2**64)."""
        return self._seed

    def fill32(self, out: npt.NDArray[np.uint32]) -> None:
        """Fill a contiguous one-dimensional array with the next 32-bit outputs."""
        if out.size == 0:
            return
        self._idle_next = _WORDS
        native = kernels(out.size * 1.5e-9) if out.size >= _NATIVE else None
        if native is not None:
            native.outputs(self._engine, out)
        elif out.size < _BULK:
            out[...] = self._bits.random_raw(out.size)
        else:
            out[...] = self._legacy.randint(0, 1 << 32, out.size, dtype=np.uint32)

    def raw32(self, n: int) -> npt.NDArray[Any]:
        """The next ``n`` 32-bit outputs in a fresh array, of dtype uint32 (long runs) or uint64 (short ones)."""
        if n < _NATIVE:
            if n > 0:
                self._idle_next = _WORDS
            return self._bits.random_raw(n)
        result = np.empty(n, np.uint32)
        self.fill32(result)
        return result

    def raw64(self, n: int) -> npt.NDArray[np.uint64]:
        """The next ``n`` 64-bit numbers, each made of two outputs, the earlier one on top."""
        raw = self.raw32(2 * n)
        pairs: npt.NDArray[np.uint64] = raw[0::2].astype(np.uint64)
        pairs <<= 32
        pairs |= raw[1::2]
        return pairs

    def get_state(self) -> npt.NDArray[np.uint8]:
        """The whole state as PyTorch's 5056 bytes (uint8): seed, engine, cached normals.

        >>> import flambeau as torch
        >>> torch.Generator().get_state().shape
        torch.Size([5056])
        """
        with self.lock:
            engine: Any = self._bits.state
            record = np.zeros((), _STATE)
            position = int(engine["state"]["pos"])
            record["seed"] = self._seed
            record["left"] = _WORDS + 1 - position
            record["seeded"] = 1
            record["next"] = self._idle_next if position == _WORDS else position
            record["words"] = engine["state"]["key"]
            if self.next_normal is not None:
                record["normal"], record["has_normal"] = self.next_normal, 1
            if self.next_normal32 is not None:
                record["normal32"], record["has_normal32"] = self.next_normal32, 1
        return np.frombuffer(bytearray(record.tobytes()), np.uint8)

    def set_state(self, state: npt.NDArray[np.uint8]) -> Generator:
        """Continue from ``state``, 5056 contiguous bytes that ``get_state`` here or in PyTorch returned.

        Raises: TypeError when ``state`` is not a uint8 array; RuntimeError when it is not contiguous, has
        another size, or holds no valid engine state.  Nothing changes then.
        """
        if not isinstance(state, np.ndarray):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
        if state.dtype != np.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor, but its dtype is {state.dtype}")
        if not state.flags.c_contiguous:
            raise RuntimeError("RNG state must be contiguous; call .contiguous() on it first")
        if state.size != _STATE_BYTES:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE_BYTES} "
                f"but found the input RNG state size to be {state.size}"
            )
        record = np.frombuffer(state.tobytes(), _STATE)[0]
        left, following = int(record["left"]), int(record["next"]) & 0xFFFFFFFF
        if not int(record["seeded"]) or not 0 < left <= _WORDS or following > _WORDS:
            raise RuntimeError(
                f"Invalid mt19937 state: seeded={int(record['seeded'])}, left={left}, next={following}; "
                f"a state has seeded=1, left in [1, {_WORDS}], next in [0, {_WORDS}]"
            )
        if left > 1 and following != _WORDS + 1 - left:
            raise RuntimeError(
                f"Invalid mt19937 state: left={left} and next={following} must add up to {_WORDS + 1}"
            )
        key = record["words"].astype(np.uint32)
        with self.lock:
            self._bits.state = {
                "bit_generator": "MT19937",
                "state": {"key": key, "pos": _WORDS + 1 - left},
            }
            self._seed = int(record["seed"])
            self._idle_next = following if left == 1 else _WORDS
            self.next_normal = float(record["normal"]) if record["has_normal"] else None
            self.next_normal32 = float(record["normal32"]) if record["has_normal32"] else None
        return self

    def clone_state(self) -> Generator:
        """A second generator that continues with the same numbers."""
        copy = type(self)(self.device)
        Generator.set_state(copy, Generator.get_state(self))
        return copy

    def get_offset(self) -> int:
        """Raises: RuntimeError, as the CPU generator has no offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset: int) -> None:
        """Raises: RuntimeError, as the CPU generator has no offset."""
        raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.device, Generator.get_state(self).tobytes())


def _restore(kind: type[Generator], device: Any, state: bytes) -> Generator:
    generator = kind(device)
    Generator.set_state(generator, np.frombuffer(state, np.uint8))
    return generator


default_generator = Generator()
default_generator.seed()
