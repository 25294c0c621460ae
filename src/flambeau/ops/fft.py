"""Discrete Fourier transforms with PyTorch's signatures (namespace `flambeau.fft`)."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..core.grad_names import GradName
from ..core.promotion import convert
from ..core.public import public
from ..core.state import defaults
from ..core.tensor import Tensor
from ..prims.base import from_value, full, index_view_op
from ..prims.fft import OPPOSITE, fft_op, irfft_op, rfft_op
from ..prims.pointwise import complex_op, conj
from .args import as_dtype, check_sizes, dtype_of, wrap_dim
from .creation import finish
from .shape import roll

# ------------------------------------------------------------------------------------------------- arguments


def _norm(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in OPPOSITE:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def _floating(x: Any, name: str, need: str = "") -> Tensor:
    """The input in a dtype that can be transformed: complex for need="complex", real for need="real".

    Raises: TypeError when not a tensor, RuntimeError for 16-bit dtypes, or a complex input where a real one is needed.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    kind = x._a.dtype.kind
    if kind in "fV" and x._a.dtype.itemsize == 2:
        raise RuntimeError(
            f"Unsupported dtype {dtype_of(x)}: {name} needs float32, float64, complex64 or complex128"
        )
    if kind == "c" and need == "real":
        raise RuntimeError(f"{name} expects a real input tensor, but got {dtype_of(x)}")
    if kind in "bui":
        x = convert(x, defaults.dtype)
        kind = "f"
    if kind == "f" and need == "complex":
        return complex_op(x, full(tuple(x._a.shape), 0, x._a.dtype))  # type: ignore[no-any-return]
    return x  # type: ignore[no-any-return]


def _dim(x: Tensor, dim: Any) -> int:
    if not x._a.shape:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return wrap_dim(dim, len(x._a.shape))


def _check_n(n: int) -> int:
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return n


def _resized(x: Tensor, dims: tuple[int, ...], sizes: tuple[int, ...]) -> Tensor:
    """Cut, or filled up with zeros, to `sizes` along `dims`."""
    shape = list(x._a.shape)
    if all(shape[d] == n for d, n in zip(dims, sizes)):
        return x
    key = [slice(None)] * len(shape)
    for d, n in zip(dims, sizes):
        key[d] = slice(0, min(shape[d], n))
        shape[d] = n
    part = index_view_op(x, index=tuple(key))
    if part._a.shape == tuple(shape):
        return part  # type: ignore[no-any-return]
    whole = full(tuple(shape), 0, x._a.dtype)
    key = [slice(0, n) for n in part._a.shape]
    return index_view_op.put(whole, part, index=tuple(key))  # type: ignore[no-any-return]


def _shape_dims(
    x: Tensor, s: Any, dim: Any, name: str, last_doubles: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(dims, sizes) of a transform over several dims, by PyTorch's rules for `s` and `dim`.

    Raises: RuntimeError for repeated dims, lists of different length, or sizes below 1; IndexError out of range.
    """
    nd = len(x._a.shape)
    sizes = (
        None if s is None else tuple([operator.index(v) for v in ((s,) if hasattr(s, "__index__") else s)])
    )
    if dim is not None:
        given = (dim,) if hasattr(dim, "__index__") else tuple(dim)
        dims = tuple([_dim(x, d) for d in given])
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
        if sizes is not None and len(sizes) != len(dims):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    elif sizes is not None:
        if len(sizes) > nd:
            raise RuntimeError(
                f"Got shape with {len(sizes)} values but input tensor only has {nd} dimensions."
            )
        dims = tuple(range(nd - len(sizes), nd))
    else:
        dims = tuple(range(nd))
    found = []
    for i, d in enumerate(dims):
        n = -1 if sizes is None else sizes[i]
        if n == -1:
            n = x._a.shape[d]
            if last_doubles and i == len(dims) - 1:
                n = 2 * (n - 1)
        found.append(_check_n(n))
    return dims, tuple(found)


# ------------------------------------------------------------------------------------------------- the transforms


def _c2c(input: Tensor, n: Any, dim: Any, norm: Any, forward: bool, name: str) -> Tensor:
    x = _floating(input, name)
    d = _dim(x, dim)
    n = _check_n(x._a.shape[d] if n is None else operator.index(n))
    return fft_op(_resized(x, (d,), (n,)), dims=(d,), forward=forward, norm=_norm(norm))  # type: ignore[no-any-return]


def _r2c(input: Tensor, n: Any, dim: Any, norm: Any, forward: bool, name: str) -> Tensor:
    x = _floating(input, name, "real")
    d = _dim(x, dim)
    n = _check_n(x._a.shape[d] if n is None else operator.index(n))
    x = _resized(x, (d,), (n,))
    if forward:
        return rfft_op(x, dim=d, norm=_norm(norm))  # type: ignore[no-any-return]
    return conj(rfft_op(x, dim=d, norm=OPPOSITE[_norm(norm)]))


def _c2r(input: Tensor, n: Any, dim: Any, norm: Any, forward: bool, name: str) -> Tensor:
    x = _floating(input, name, "complex")
    d = _dim(x, dim)
    n = _check_n(2 * (x._a.shape[d] - 1) if n is None else operator.index(n))
    x = _resized(x, (d,), (n // 2 + 1,))
    if forward:
        return irfft_op(conj(x), dim=d, n=n, norm=OPPOSITE[_norm(norm)])  # type: ignore[no-any-return]
    return irfft_op(x, dim=d, n=n, norm=_norm(norm))  # type: ignore[no-any-return]


def _c2cn(input: Tensor, s: Any, dim: Any, norm: Any, forward: bool, name: str) -> Tensor:
    x = _floating(input, name)
    dims, sizes = _shape_dims(x, s, dim, name)
    if not dims:
        return _floating(x, name, "complex").clone()  # type: ignore[no-any-return]
    return fft_op(_resized(x, dims, sizes), dims=dims, forward=forward, norm=_norm(norm))  # type: ignore[no-any-return]


def _need_axis(dims: tuple[int, ...], name: str) -> None:
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")


def _r2cn(input: Tensor, s: Any, dim: Any, norm: Any, forward: bool, name: str) -> Tensor:
    x = _floating(input, name, "real")
    dims, sizes = _shape_dims(x, s, dim, name)
    _need_axis(dims, name)
    x = _resized(x, dims, sizes)
    scale = _norm(norm)
    y = rfft_op(x, dim=dims[-1], norm=scale if forward else OPPOSITE[scale])
    if not forward:  # the inverse of a real signal is the conjugate of the forward transform
        y = conj(y)
    if len(dims) > 1:
        y = fft_op(y, dims=dims[:-1], forward=forward, norm=scale, last=dims[-1:] if forward else ())
    return y  # type: ignore[no-any-return]


def _c2rn(input: Tensor, s: Any, dim: Any, norm: Any, forward: bool, name: str) -> Tensor:
    x = _floating(input, name, "complex")
    dims, sizes = _shape_dims(x, s, dim, name, last_doubles=True)
    _need_axis(dims, name)
    x = _resized(x, dims, (*sizes[:-1], sizes[-1] // 2 + 1))
    scale = _norm(norm)
    if forward:  # hfftn is irfftn of the conjugate, scaled the other way
        x, scale = conj(x), OPPOSITE[scale]
    if len(dims) > 1:
        x = fft_op(x, dims=dims[:-1], forward=False, norm=scale)
    return irfft_op(x, dim=dims[-1], n=sizes[-1], norm=scale)  # type: ignore[no-any-return]


_KINDS = {
    "fft": (_c2c, _c2cn, True, "Discrete Fourier transform"),
    "ifft": (_c2c, _c2cn, False, "Inverse discrete Fourier transform"),
    "rfft": (
        _r2c,
        _r2cn,
        True,
        "Discrete Fourier transform of a real signal: the first n // 2 + 1 frequencies,",
    ),
    "irfft": (_c2r, _c2rn, False, "The real signal with the given first n // 2 + 1 frequencies,"),
    "hfft": (
        _c2r,
        _c2rn,
        True,
        "The real transform of a Hermitian signal given by its first n // 2 + 1 values,",
    ),
    "ihfft": (
        _r2c,
        _r2cn,
        False,
        "The inverse of `hfft`: the first n // 2 + 1 values of a Hermitian signal,",
    ),
}

_RULES = """

    `norm` is "backward" (the default: the inverse is divided by n), "forward" or "ortho".  Inputs are cut or filled up
    with zeros to the sizes asked for.

    Raises: RuntimeError for sizes below 1, repeated dims, an unknown norm or a dtype that cannot be transformed.
    """


def _real_name(real: str) -> GradName:
    """The node of a transform over one dim: `real` for real signals."""

    def choose(args: Any, kwargs: Any) -> str:
        x = args[0] if args else kwargs["input"]
        return "FftC2CBackward0" if x._a.dtype.kind == "c" else real

    return choose


def _define(name: str) -> None:
    one, many, forward, text = _KINDS[name]

    def single(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
        return one(input, n, dim, norm, forward, name)

    def two(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
        return many(input, s, dim, norm, forward, name + "2")

    def all_dims(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
        return many(input, s, dim, norm, forward, name + "n")

    for fn, suffix, where in (
        (single, "", "one dim"),
        (two, "2", "two dims"),
        (all_dims, "n", "several dims (all by default)"),
    ):
        fn.__doc__ = f"{text} over {where}.{_RULES}"
        shown: Any = {
            "fft": _real_name("FftR2CBackward0"),
            "ifft": _real_name("ConjBackward0"),
            "fft2": "FftC2CBackward0",
            "fftn": "FftC2CBackward0",
        }.get(name + suffix, "FftR2CBackward0" if name == "rfft" else None)
        public(name=f"fft_{name}{suffix}", method=False, out=True, grad_name=shown)(fn)


for _name in _KINDS:
    _define(_name)

# ------------------------------------------------------------------------------------------------- helpers


@public(name="fft_fftfreq", method=False, out=True)
def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of the bins of an FFT of n samples spaced by d.

    >>> import flambeau as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    dt = _frequency_dtype(dtype)
    n = _samples(n, d)
    k = np.arange(n)
    k = np.where(k < (n + 1) // 2, k, k - n)
    return finish(
        from_value(_frequencies(k, n, d).astype(dt) if n else np.zeros(0, dt)), requires_grad, device
    )


@public(name="fft_rfftfreq", method=False, out=True)
def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of the bins of `rfft` of n samples spaced by d.

    >>> import flambeau as torch
    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    dt = _frequency_dtype(dtype)
    n = _samples(n, d)
    k = np.arange(n // 2 + 1)
    return finish(from_value(_frequencies(k, n, d).astype(dt)), requires_grad, device)


def _samples(n: Any, d: Any) -> int:
    """`n` as an int.

    Raises: TypeError for what are no numbers, RuntimeError for negative n, or one out of all proportion."""
    if not isinstance(d, (int, float)) or not hasattr(n, "__index__"):
        raise TypeError(
            f"fftfreq(): n must be an int and d a float, not {type(n).__name__} and {type(d).__name__}"
        )
    count = operator.index(n)
    check_sizes((count,), "fftfreq", 8)
    return count


def _frequencies(k: Any, n: int, d: float) -> Any:
    """Multiples of their distance, which is infinite for samples at one place."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return k * (1.0 / np.float64(n * d))


def _frequency_dtype(dtype: Any) -> Any:
    d = as_dtype(dtype)
    if not (d.is_floating_point or d.is_complex):
        raise RuntimeError(f"fftfreq requires a floating point or complex dtype, got {d}")
    return d.numpy


def _shift(input: Tensor, dim: Any, sign: int) -> Tensor:
    nd = len(input._a.shape)
    if dim is None:
        dims = tuple(range(nd))
    else:
        dims = tuple([wrap_dim(d, nd) for d in ((dim,) if hasattr(dim, "__index__") else dim)])
    if not dims:
        return input.clone()  # type: ignore[no-any-return]
    by = [input._a.shape[d] // 2 if sign > 0 else (input._a.shape[d] + 1) // 2 for d in dims]
    return roll(input, by, dims)


@public(name="fft_fftshift", method=False)
def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequencies in increasing order: the zero frequency in the middle."""
    return _shift(input, dim, 1)


@public(name="fft_ifftshift", method=False)
def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shift(input, dim, -1)
