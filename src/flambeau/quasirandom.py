"""Points that fill the unit cube evenly: `flambeau.quasirandom.SobolEngine`."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import ops
from .core.state import defaults
from .core.tensor import Tensor
from .ops.random import Generator
from .runtime.dtypes import dtype as DType
from .runtime.dtypes import int64

__all__ = ["SobolEngine"]


def _direction_numbers(dimension: int, bits: int) -> np.ndarray[Any, Any]:
    """The direction numbers of Joe and Kuo (2008), one row a dimension, from SciPy's table of them."""
    from scipy.stats import qmc

    return qmc.Sobol(dimension, scramble=False, bits=bits)._sv.astype(np.int64)  # type: ignore[no-any-return]


class SobolEngine:
    """A Sobol sequence in up to 21201 dimensions, optionally scrambled: PyTorch's points, for a seed its scrambled ones.

    The points are in [0, 1), multiples of 2^-30. Scrambling multiplies the bits of the direction numbers by random lower
    triangular matrices and shifts the points digitally (Matoušek 1998); `seed` draws both from a generator of its own,
    without it they come from the default generator. Direction numbers: Joe and Kuo, "Constructing Sobol sequences with
    better two-dimensional projections" (2008).

    Raises: ValueError for a dimension outside 1 ... 21201.

    >>> from flambeau.quasirandom import SobolEngine
    >>> SobolEngine(2).draw(3)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [0.7500, 0.2500]])
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if dimension > self.MAXDIM or dimension < 1:
            raise ValueError(
                f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}], not {dimension}"
            )
        self.dimension, self.scramble, self.seed = dimension, scramble, seed
        self.sobolstate = ops.from_numpy(_direction_numbers(dimension, self.MAXBIT))
        self.shift = ops.zeros(dimension, dtype=int64)
        if scramble:
            self._scramble()
        self.quasi = self.shift.clone()
        self.num_generated = 0

    def _scramble(self) -> None:
        generator = None
        if self.seed is not None:
            generator = Generator()
            generator.manual_seed(self.seed)
        # drawn in this order and in these shapes, so that a seed gives PyTorch's points
        shift = ops.randint(2, (self.dimension, self.MAXBIT), generator=generator).numpy()
        mixing = ops.randint(2, (self.dimension, self.MAXBIT, self.MAXBIT), generator=generator).numpy()
        self.shift = ops.from_numpy(shift @ (1 << np.arange(self.MAXBIT)))
        mixing = np.tril(mixing, -1) | np.eye(self.MAXBIT, dtype=np.int64)
        down = np.arange(self.MAXBIT - 1, -1, -1)  # the most significant bit first
        bits = (self.sobolstate.numpy()[:, None, :] >> down[:, None]) & 1
        self.sobolstate = ops.from_numpy((((mixing @ bits) & 1) << down[:, None]).sum(1))

    def _advance(self, n: int) -> np.ndarray[Any, Any]:
        """The next `n` points as integers of 30 bits, in Gray code order; the state moves behind them."""
        if n < 0:
            raise RuntimeError(f"the number of points must not be negative, not {n}")
        if self.num_generated + n > 1 << self.MAXBIT:
            raise ValueError(
                f"the sequence has 2^{self.MAXBIT} points: {self.num_generated} + {n} are too many"
            )
        index = np.arange(self.num_generated, self.num_generated + n, dtype=np.int64)
        # Each point differs from the one before it by the direction number of its index's lowest bit.
        lowest = np.frexp((index & -index).astype(np.float64))[1] - 1
        steps: np.ndarray[Any, Any] = self.sobolstate.numpy()[:, lowest.clip(0)].T.copy()
        if n:
            steps[0] = steps[0] ^ self.quasi.numpy() if self.num_generated else self.shift.numpy()
            np.bitwise_xor.accumulate(steps, axis=0, out=steps)
            self.quasi.copy_(ops.from_numpy(steps[-1]))
        self.num_generated += n
        return steps

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next `n` points, (n, dimension), as `dtype` (the default dtype); into `out` where it is given.

        Raises: RuntimeError for a negative `n`, ValueError beyond the 2^30 points of the sequence.
        """
        dtype = defaults.dtype if dtype is None else dtype
        points: Tensor = ops.from_numpy(self._advance(n)).to(dtype=dtype) * 2.0**-self.MAXBIT
        if out is None:
            return points
        out.resize_as_(points).copy_(points)
        return out

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: DType | None = None) -> Tensor:
        """The next 2^m points, which together with those before must be a power of two many, as balance requires.

        Raises: ValueError where they are not.
        """
        total = self.num_generated + 2**m
        if total & (total - 1):
            raise ValueError(
                "The balance properties of Sobol' points require n to be a power of 2. "
                f"{self.num_generated} points have been drawn before, so {total} would have been; use draw() instead"
            )
        return self.draw(2**m, out=out, dtype=dtype)

    def reset(self) -> SobolEngine:
        """Back to the first point."""
        self.quasi.copy_(self.shift)
        self.num_generated = 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Leave out the next `n` points.

        Raises: as `draw`.
        """
        chunk = 1 << 16  # bounds the memory for points that nobody sees
        for _ in range(n // chunk):
            self._advance(chunk)
        self._advance(n % chunk if n >= 0 else n)
        return self

    def __repr__(self) -> str:
        said = [f"dimension={self.dimension}"]
        if self.scramble:
            said.append("scramble=True")
        if self.seed is not None:
            said.append(f"seed={self.seed}")
        return f"{type(self).__name__}({', '.join(said)})"
