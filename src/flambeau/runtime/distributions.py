"""Random arrays with PyTorch's numbers: for one seed, shape and dtype, what PyTorch 2.13 gives on the CPU.

Every function takes a `Generator`, then a shape and a NumPy dtype (or the arrays of parameters), returns a
fresh C-contiguous array, and checks everything before it draws: an error leaves the generator as it was.

Order.  The functions number elements in C order of ``shape``.  PyTorch's in-place functions and ``*_like``
factories visit a tensor in the order of its memory, whatever its layout, so a caller with a target that is
not C-contiguous uses `fill`, which does the same.  For `normal` the layout also selects the algorithm: pass
``contiguous=False`` unless the target is contiguous in the default memory format.  Functions that take arrays
of parameters visit them in C order, also in PyTorch (`poisson`, `binomial`, `standard_gamma`, ...); only the
exponential draws of `multinomial` follow the memory of the probabilities, which it handles itself.

Arithmetic.  Draws are integers, so every decision on them is exact; float64 transcendental functions come from
the C library, as in PyTorch; affine maps are fused as in its AVX2 and AVX-512 kernels (see `box_muller`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.runtime.box_muller import (
    FEW,
    few_normals,
    fill16_float64,
    libm,
    multiply_add,
    normals_from_bits,
    pairs,
)
from flambeau.runtime.draws import (
    BFLOAT16,
    F16,
    F32,
    F64,
    FLOATS,
    INTEGERS,
    LOW53,
    PIECE,
    REAL,
    UNSIGNED_ADDED_LATER,
    Array,
    Shape,
    fill,
    largest,
    narrow,
    not_implemented,
    number,
    pieces,
    quiet_pieces,
    type_name,
    unit32,
    unit64,
)
from flambeau.runtime.integers import random_integers, random_integers_from, randperm
from flambeau.runtime.mt19937 import Generator
from flambeau.runtime.pool import empty
from flambeau.runtime.rejection import binomial, dirichlet, poisson, standard_gamma

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

__all__ = [
    "bernoulli",
    "bernoulli_array",
    "binomial",
    "cauchy",
    "dirichlet",
    "dropout_noise",
    "exponential",
    "fill",
    "geometric",
    "log_normal",
    "multinomial",
    "normal",
    "normal_arrays",
    "poisson",
    "random_integers",
    "random_integers_from",
    "randperm",
    "rrelu_noise",
    "standard_gamma",
    "uniform",
]


def uniform(generator: Generator, shape: Shape, dtype: Any, low: float = 0.0, high: float = 1.0) -> Array:
    """Uniform numbers in [low, high) of a floating or complex dtype (both parts drawn), as ``rand``, ``uniform_``.

    Raises: NotImplementedError for other dtypes; RuntimeError when low > high, or when a bound or their
    difference does not fit into the dtype.
    """
    dtype = np.dtype(dtype)
    if dtype in REAL:
        if 0 in shape:
            return np.empty(shape, dtype)
        parts: Array = uniform(generator, (*shape, 2), REAL[dtype], low, high)
        return np.asarray(parts.view(dtype)).reshape(shape)
    if dtype not in FLOATS:
        raise not_implemented("check_uniform_bounds", dtype)
    if low == 0 and high == 1:
        if dtype == F32:
            return pieces(generator, shape, dtype, lambda n: unit32(generator, n))
        if dtype == F64:
            return pieces(generator, shape, dtype, lambda n: unit64(generator, n))
    _check_uniform_bounds(dtype, low, high)
    if dtype == F64:
        span = high - low

        def draw64(n: int) -> Array:
            values = multiply_add(unit64(generator, n), span, low)
            values[values == high] = low
            return values

        return pieces(generator, shape, dtype, draw64)
    low32, high32 = np.float32(low), np.float32(high)
    span32 = high32 - low32
    low_value, high_value = low32.astype(dtype), high32.astype(dtype)

    def draw32(n: int) -> Array:
        unit = unit32(generator, n)
        if low32 == 0:
            unit *= span32
        else:
            wide = unit.astype(np.float64)
            wide *= float(span32)
            wide += float(low32)
            unit[...] = wide
        values = unit.astype(dtype, copy=False)
        # Rounding may reach the excluded upper bound; PyTorch returns the lower one then.
        values[values == high_value] = low_value
        return values

    return pieces(generator, shape, dtype, draw32)


def _check_uniform_bounds(dtype: np.dtype[Any], low: float, high: float) -> None:
    name, cpp_name = FLOATS[dtype][1:]
    limit = largest(dtype)
    for argument, value in (("from", low), ("to", high)):
        if not -limit <= value <= limit:
            raise RuntimeError(f"{argument} is out of bounds for {cpp_name}: {number(value)}")
    if not low <= high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={number(low)} > to={number(high)}"
        )
    if not high - low <= limit:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{name}>::max(), but found to={number(high)} "
            f"and from={number(low)} which result in to-from to exceed the limit"
        )


def _check_std(std: float) -> None:
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {number(std)}")


def normal(
    generator: Generator,
    shape: Shape,
    dtype: Any,
    mean: float = 0.0,
    std: float = 1.0,
    contiguous: bool = True,
) -> Array:
    """Normal numbers of a floating dtype, as ``randn`` and ``normal_``; complex ones have ``std`` over both parts.

    PyTorch uses one algorithm for 16 or more elements in contiguous memory, another one for fewer and for
    targets that are not contiguous (``contiguous=False``).

    Raises: RuntimeError for negative or NaN ``std``, NotImplementedError for other dtypes.
    """
    dtype = np.dtype(dtype)
    _check_std(std)
    if dtype in REAL:
        if 0 in shape:
            return np.empty(shape, dtype)
        parts: Array = normal(generator, (*shape, 2), REAL[dtype], mean, std / math.sqrt(2), contiguous)
        return np.asarray(parts.view(dtype)).reshape(shape)
    size = math.prod(shape)
    if size == 0:
        return np.empty(shape, dtype)
    if dtype not in FLOATS:
        raise not_implemented("normal_kernel_cpu", dtype)
    if size >= 16 and contiguous:
        return _blocks_of_normals(generator, shape, dtype, mean, std)
    return quiet_pieces(
        generator,
        shape,
        dtype,
        lambda n: narrow(multiply_add(_standard_normals(generator, n), std, mean), dtype),
    )


def _blocks_of_normals(
    generator: Generator, shape: Shape, dtype: np.dtype[Any], mean: float, std: float
) -> Array:
    """`normal` for 16 or more contiguous elements.

    When the size is no multiple of 16, the last 16 elements are drawn anew.  By then PyTorch has also drawn a
    uniform for each element of the incomplete block, except for the 16-bit dtypes.
    """
    size = math.prod(shape)
    if dtype == F32 and size % 16 == 0 and size <= FEW:
        found = few_normals(generator, size, mean, std)
        if found is not None:
            return found.reshape(shape)
    result = empty(shape, dtype)
    flat = result.reshape(-1)
    whole = flat.size - flat.size % 16
    if dtype == F64:

        def draw(n: int) -> Array:
            return fill16_float64(unit64(generator, n), mean, std)

    else:

        def draw(n: int) -> Array:
            bits = np.empty(n, np.uint32)
            generator.fill32(bits)
            return normals_from_bits(bits, mean, std)

    with generator.lock, np.errstate(all="ignore"):
        for start in range(0, whole, PIECE):
            stop = min(start + PIECE, whole)
            flat[start:stop] = draw(stop - start)
        if whole < flat.size:
            if dtype == F64:
                generator.raw64(flat.size - whole)
            elif dtype == F32:
                generator.raw32(flat.size - whole)
            flat[-16:] = draw(16)
    return result


def _standard_normals(generator: Generator, n: int) -> npt.NDArray[np.float64]:
    """The next ``n`` float64 normals of the pairwise algorithm; the lock is held."""
    values = np.empty(n)
    first = 0
    if n and generator.next_normal is not None:
        values[0], generator.next_normal, first = generator.next_normal, None, 1
    missing = n - first
    if missing:
        fresh = pairs(unit64(generator, missing + missing % 2))
        values[first:] = fresh[:missing]
        if missing % 2:
            generator.next_normal = float(fresh[-1])
    return values


def normal_arrays(generator: Generator, mean: Array | float, std: Array | float, dtype: Any) -> Array:
    """Normal numbers with a mean and a standard deviation for each element (either may be a number); broadcasts.

    ``dtype`` is the result's: in PyTorch that of ``mean`` when it is a tensor, else that of ``std``.

    Raises: RuntimeError for negative, NaN or complex ``std``; NotImplementedError for other dtypes.
    """
    dtype = np.dtype(dtype)
    if not isinstance(std, np.ndarray):
        _check_std(std)
        result = normal(generator, np.shape(mean), dtype, 0.0, std)
        result += np.asarray(mean, dtype)
        return result
    if std.dtype.kind == "c":
        raise RuntimeError("normal expects standard deviation to be non-complex")
    if std.size and not np.all(std >= 0):
        raise RuntimeError(f"normal expects all elements of std >= 0.0, but the least is {number(std.min())}")
    result = normal(generator, np.broadcast_shapes(np.shape(mean), std.shape), dtype)
    if std.ndim == 0 and result.ndim > 0:
        # A 0-dim std does not take part in type promotion; 16-bit floats multiply by its float32 value.
        std = std.astype(np.float64 if dtype in (F64, np.dtype(np.complex128)) else np.float32)
    result[...] = np.multiply(result, std)
    result += np.asarray(mean, dtype)
    return result


def _check_bernoulli_dtype(kernel: str, dtype: np.dtype[Any]) -> None:
    if dtype not in FLOATS and dtype not in INTEGERS or type_name(dtype) in UNSIGNED_ADDED_LATER:
        raise not_implemented(kernel, dtype)


def bernoulli(generator: Generator, shape: Shape, dtype: Any, p: float = 0.5) -> Array:
    """Ones with probability ``p``, else zeros, as ``bernoulli_(p)``.

    Raises: RuntimeError for ``p`` outside [0, 1] or NaN; NotImplementedError for complex and for uint16, uint32, uint64.
    """
    dtype = np.dtype(dtype)
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={number(p)}")
    if 0 in shape:
        return np.empty(shape, dtype)
    _check_bernoulli_dtype("bernoulli_scalar_cpu_", dtype)
    # u < p for u = k / 2**53 is k < p 2**53, and scaling by a power of two is exact.
    threshold = math.ceil(p * 2.0**53)

    def draw(n: int) -> Array:
        raw = generator.raw64(n)
        raw &= LOW53
        return raw < threshold

    return pieces(generator, shape, dtype, draw)


def bernoulli_array(generator: Generator, p: Array, dtype: Any) -> Array:
    """Ones with each element's probability ``p`` (floating), else zeros, as ``bernoulli(p)`` and ``bernoulli_(p)``.

    The caller broadcasts ``p`` to the target's shape (and, for a target that is not C-contiguous, transposes
    it into the order of its memory, see `fill`).

    Raises: RuntimeError for probabilities outside [0, 1] or NaN; NotImplementedError for other dtypes.
    """
    dtype = np.dtype(dtype)
    if p.size == 0:
        return np.empty(p.shape, dtype)
    _check_bernoulli_dtype("bernoulli_tensor_cpu_self_", dtype)
    if p.dtype not in FLOATS:
        raise not_implemented("bernoulli_tensor_cpu_p_", p.dtype)
    inside = (p >= 0) & (p <= 1)
    if not inside.all():
        raise RuntimeError(
            "Expected p_in >= 0 && p_in <= 1 to be true, but got false: "
            f"bernoulli needs probabilities in [0, 1], found {number(p[~inside].flat[0])}"
        )
    position = 0

    def draw(n: int) -> Array:
        nonlocal position
        piece = flat[position : position + n]
        position += n
        return (unit64 if p.dtype == F64 else unit32)(generator, n) < piece

    flat = p.reshape(-1) if p.dtype == F64 else p.astype(np.float32).reshape(-1)
    return pieces(generator, p.shape, dtype, draw)


def exponential(generator: Generator, shape: Shape, dtype: Any, rate: float = 1.0) -> Array:
    """Exponential numbers of a floating dtype, as ``exponential_(lambd)``; zero is possible (once in 2**53).

    Raises: RuntimeError unless rate > 0, and for other dtypes.
    """
    dtype = np.dtype(dtype)
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={number(rate)}")
    if 0 in shape:
        return np.empty(shape, dtype)
    if dtype not in FLOATS:
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {type_name(dtype)}"
        )
    scale = -1.0 / rate

    def draw(n: int) -> Array:
        u = unit64(generator, n)
        np.negative(u, out=u)
        # NumPy's log1p may be one place off in float64, which narrower dtypes round away.
        u = libm(math.log1p, u) if dtype == F64 else np.log1p(u, out=u)
        u *= scale
        return narrow(u, dtype)

    return quiet_pieces(generator, shape, dtype, draw)


def cauchy(generator: Generator, shape: Shape, dtype: Any, median: float = 0.0, sigma: float = 1.0) -> Array:
    """Cauchy numbers of a floating dtype, as ``cauchy_``.

    Raises: RuntimeError unless sigma > 0, and for other dtypes.
    """
    dtype = np.dtype(dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={number(sigma)}")
    if dtype not in FLOATS:
        cpp_name = INTEGERS[dtype][2] if dtype in INTEGERS else dtype.name
        raise RuntimeError(
            "Cauchy distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {cpp_name}"
        )

    def draw(n: int) -> Array:
        u = unit64(generator, n)
        u -= 0.5
        u *= math.pi
        u = libm(math.tan, u) if dtype == F64 else np.tan(u, out=u)
        return narrow(multiply_add(u, sigma, median), dtype)

    return quiet_pieces(generator, shape, dtype, draw)


def log_normal(generator: Generator, shape: Shape, dtype: Any, mean: float = 1.0, std: float = 2.0) -> Array:
    """exp of normal numbers (always by the pairwise algorithm), as ``log_normal_``; floating dtypes.

    Raises: RuntimeError unless std > 0; NotImplementedError for other dtypes.
    """
    dtype = np.dtype(dtype)
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={number(std)}")
    if 0 in shape:
        return np.empty(shape, dtype)
    if dtype not in FLOATS:
        raise not_implemented("log_normal_cpu", dtype)

    def exp(x: float) -> float:
        return math.exp(x) if x < 709.78 else float(np.exp(x))

    def draw(n: int) -> Array:
        values = multiply_add(_standard_normals(generator, n), std, mean)
        return narrow(libm(exp, values) if dtype == F64 else np.exp(values), dtype)

    return quiet_pieces(generator, shape, dtype, draw)


def geometric(generator: Generator, shape: Shape, dtype: Any, p: float) -> Array:
    """Numbers of trials until a success of probability ``p``, as ``geometric_``; integer and floating dtypes.

    Raises: RuntimeError unless 0 < p < 1; NotImplementedError for bool, complex, uint16, uint32, uint64.
    """
    dtype = np.dtype(dtype)
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={number(p)}")
    if 0 in shape:
        return np.empty(shape, dtype)
    _check_bernoulli_dtype("geometric_cpu", dtype)
    if dtype == np.bool_:
        raise not_implemented("geometric_cpu", dtype)
    log_failure = math.log1p(-p)
    narrow_integer = dtype.kind in "iu" and dtype != np.int64

    def draw(n: int) -> Array:
        u = unit64(generator, n)
        values = np.log(u, out=u)
        values /= log_failure
        np.ceil(values, out=values)
        if narrow_integer:
            # Numbers too large for the processor's conversion to int32 become its smallest value there.
            values[~(values < 2.0**31)] = -(2.0**31)
            return values.astype(np.int32).astype(dtype)
        if dtype == np.int64:
            values[~(values < 2.0**63)] = -(2.0**63)
        return narrow(values, dtype)

    return quiet_pieces(generator, shape, dtype, draw)


def dropout_noise(generator: Generator, shape: Shape, dtype: Any, p: float) -> Array:
    """What PyTorch's dropout multiplies by while training, 0 < p < 1: 0 with probability ``p``, else 1 / (1 - p).

    It draws nothing for p = 0 (identity) and p = 1 (zeros); the caller treats these.

    Raises: RuntimeError for ``p`` outside [0, 1] or NaN; NotImplementedError for dtypes that are not floating.
    """
    dtype = np.dtype(dtype)
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {number(p)}")
    if dtype not in FLOATS:
        raise not_implemented("bernoulli_scalar_cpu_", dtype)
    noise = bernoulli(generator, shape, dtype, 1 - p)
    if p < 1:
        compute = np.float64 if dtype == F64 else np.float32
        noise *= np.asarray(compute(1) / compute(1 - p), dtype)
    return noise


def rrelu_noise(generator: Generator, x: Array, lower: float, upper: float) -> Array:
    """The slopes of randomised leaky ReLU in training: uniform in [lower, upper) where x <= 0, else 1.

    ``x`` is float32, float64 or bfloat16; elements are visited in C order, positive ones draw nothing.

    Raises: RuntimeError when lower > upper; NotImplementedError for other dtypes.
    """
    if not lower <= upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound, got {number(lower)} and {number(upper)}"
        )
    if x.dtype not in FLOATS or x.dtype == F16:
        raise not_implemented("rrelu_with_noise_out_cpu", x.dtype)
    noise = np.ones(x.shape, x.dtype)
    negative = x <= 0
    if x.dtype != F64:
        lower, upper = float(np.float32(lower)), float(np.float32(upper))
    with generator.lock:
        slopes = unit64(generator, int(np.count_nonzero(negative)))
    slopes *= upper - lower
    slopes += lower
    noise[negative] = narrow(slopes, x.dtype)
    return noise


def multinomial(generator: Generator, weights: Array, num_samples: int, replacement: bool = False) -> Array:
    """Indices (int64) drawn in proportion to the ``weights`` of the last dimension, of shape (n,) or (rows, n).

    Without replacement, and for one sample: the largest ``num_samples`` of weight / Exp(1) draws (Efraimidis and Spirakis, Inf.
    Process. Lett. 97, 2006).  With replacement: inversion of the cumulative weights.

    Raises: RuntimeError for other shapes and dtypes, for negative, infinite or NaN weights, for rows without a
    positive weight, and when more samples are asked for than there are categories.

    The samples without replacement come in the order of their keys; equal keys, which need a 16-bit dtype to be
    likely, in the order of their indices (PyTorch's order of equal keys is that of its C++ library's sort).
    """
    if weights.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, but its shape is {list(weights.shape)}")
    if weights.dtype not in FLOATS:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {type_name(weights.dtype)}"
        )
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got n_sample={num_samples}")
    categories = weights.shape[-1]
    if not replacement and num_samples > categories:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"asked for {num_samples} of {categories}"
        )
    if categories > 1 << 24:
        raise RuntimeError(f"number of categories cannot exceed 2^24, got {categories}")
    if 0 in weights.shape[:-1]:
        return np.empty((*weights.shape[:-1], num_samples), np.int64)
    if not np.all((weights >= 0) & (weights < np.inf)):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not np.all(weights.max(axis=-1, initial=0) > 0):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if replacement and num_samples > 1:
        return _invert_cumulative(generator, weights, num_samples)
    keys = np.empty_like(weights)
    fill(keys, lambda shape: exponential(generator, shape, weights.dtype))
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(weights, keys, out=keys)
    if keys.dtype == BFLOAT16:
        keys = keys.astype(np.float32)
    if num_samples == 1:
        return np.asarray(keys.argmax(axis=-1, keepdims=True), np.int64)
    # Sorting ascending from the back puts the earlier of two equal keys first.
    order: Array = np.argsort(keys[..., ::-1], axis=-1, kind="stable")[..., : -num_samples - 1 : -1]
    drawn: Array = np.subtract(categories - 1, order, order="C")
    return drawn


def _invert_cumulative(generator: Generator, weights: Array, num_samples: int) -> Array:
    rows = weights.reshape(-1, weights.shape[-1])
    cumulative: Array = np.cumsum(rows, axis=-1, dtype=np.float64 if rows.dtype == F64 else np.float32)
    cumulative = cumulative / cumulative[:, -1:]
    cumulative[:, -1] = 1
    with generator.lock:
        u = unit64(generator, rows.shape[0] * num_samples).reshape(-1, num_samples)
    result = np.empty(u.shape, np.int64)
    for row, levels, index in zip(u, cumulative, result):
        index[...] = levels.astype(np.float64).searchsorted(row)
    return result.reshape(*weights.shape[:-1], num_samples)
