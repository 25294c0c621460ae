"""The shapes of results whose sizes are computed, as formulas, for operations on meta tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .meta import Layout
from .meta_shapes import rule, stand_in, stretched

Args = Sequence[Any]
Params = dict[str, Any]
INT64 = np.dtype(np.int64)


@rule("cat")
def _cat(xs: Args, p: Params) -> list[Layout]:
    from .op import REGISTRY

    shapes, d = [x._a.shape for x in xs], p["dim"]
    shape = (*shapes[0][:d], sum([s[d] for s in shapes]), *shapes[0][d + 1 :])
    cut = {n: min(n, 2) for s in shapes for n in s}
    small = REGISTRY["cat"].impl(*[stand_in(x._a, cut) for x in xs], dim=d)
    return [(shape, small.dtype, stretched(small, shape))]


@rule("index")
def _index(args: Args, p: Params) -> list[Layout]:
    from .op import REGISTRY

    x, *indices = [a._a for a in args]
    if any(i.dtype.kind == "b" for i in indices):
        from .meta_shapes import refusal

        raise refusal(
            REGISTRY["index"],
            args,
            "how many elements a mask chooses depends on values, which they do not have",
        )
    spec = (*p["spec"], *(False,) * (len(x.shape) - len(p["spec"])))
    try:
        middle = np.broadcast_shapes(*[i.shape for i in indices])
    except ValueError:
        shapes = ", ".join(str(list(i.shape)) for i in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    chosen = [d for d, s in enumerate(spec) if s]
    rest = [n for n, s in zip(x.shape, spec) if not s]
    adjacent = chosen == list(range(chosen[0], chosen[-1] + 1))
    at = chosen[0] if adjacent else 0
    shape = (*rest[:at], *middle, *rest[at:])
    cut = {n: min(n, 2) for a in (x, *indices) for n in a.shape}
    small = REGISTRY["index"].impl(stand_in(x, cut), *[np.zeros([min(n, 2) for n in i.shape], i.dtype) for i in indices], spec=p["spec"])  # fmt: skip
    return [(shape, x.dtype, stretched(small, shape))]


@rule("zero_pad")
def _zero_pad(args: Args, p: Params) -> list[tuple[int, ...]]:
    return [tuple(p["shape"])]


@rule("repeat_each")
def _repeat_each(args: Args, p: Params) -> list[tuple[int, ...]]:
    s, d = args[0]._a.shape, p["dim"]
    return [(*s[:d], s[d] * p["times"], *s[d + 1 :])]


@rule("add_each")
def _add_each(args: Args, p: Params) -> list[tuple[int, ...]]:
    s, d = args[0]._a.shape, p["dim"]
    return [(*s[:d], s[d] // p["times"], *s[d + 1 :])]


@rule("unfold_adjoint")
def _window_adjoint(args: Args, p: Params) -> list[tuple[int, ...]]:
    return [tuple(p["base_shape"])]


@rule("nll_grad")
def _nll_grad(args: Args, p: Params) -> list[Layout]:
    return [((*args[1]._a.shape, p["classes"]), args[0]._a.dtype, None)]


@rule("permutation_matrix")
def _permutation(args: Args, p: Params) -> list[Layout]:
    return [((*args[0]._a.shape[:-1], p["n"], p["n"]), p["dtype"], None)]


@rule("nonzero_static")
def _nonzero_static(args: Args, p: Params) -> list[Layout]:
    s, n = args[0]._a.shape, p["ndim"]
    return [((*s[: len(s) - n], p["size"], n), INT64, None)]


@rule("argtop")
def _argtop(args: Args, p: Params) -> list[Layout]:
    s, d = args[0]._a.shape, p["dim"]
    return [((*s[:d], p["k"], *s[d + 1 :]), INT64, None)]


# ------------------------------------------------------------------------------------------------------------ Fourier


def _transformed(name: str, a: Any, p: Params, size: int) -> list[Layout]:
    """A Fourier transform to `size` along ``dim``, with the dims in memory in the order that a small one has."""
    from .op import REGISTRY

    small = REGISTRY[name].impl(stand_in(a, {n: min(n, 2) for n in a.shape}), **p)
    shape = (*a.shape[: p["dim"]], size, *a.shape[p["dim"] + 1 :])
    return [(shape, small.dtype, stretched(small, shape))]


@rule("fft_r2c")
def _fft_r2c(args: Args, p: Params) -> list[Layout]:
    a = args[0]._a
    return _transformed("fft_r2c", a, p, a.shape[p["dim"]] // 2 + 1)


@rule("fft_c2r")
def _fft_c2r(args: Args, p: Params) -> list[Layout]:
    return _transformed("fft_c2r", args[0]._a, {**p, "n": 2}, p["n"])


# ------------------------------------------------------------------------------------------------- windows over images


def _places(size: Any, kernel: Any, p: Params) -> tuple[int, ...]:
    settings = zip(size, kernel, p["stride"], p["padding"], p["dilation"])
    return tuple([(n + 2 * pad - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in settings])


@rule("convolution", "biased_convolution")
def _convolution(args: Args, p: Params) -> list[tuple[int, ...]]:
    x, w = args[0]._a.shape, args[1]._a.shape
    return [(x[0], w[0], *_places(x[2:], w[2:], p))]


@rule("convolution_input")
def _convolution_input(args: Args, p: Params) -> list[tuple[int, ...]]:
    g, w = args[0]._a.shape, args[1]._a.shape
    return [(g[0], w[1] * p["groups"], *p["size"])]


@rule("convolution_weight")
def _convolution_weight(args: Args, p: Params) -> list[tuple[int, ...]]:
    x, g = args[0]._a.shape, args[1]._a.shape
    return [(g[1], x[1] // p["groups"], *p["kernel"])]


@rule("half_convolution")
def _half_convolution(args: Args, p: Params) -> Sequence[Any]:
    return (_convolution_input if p["transposed"] else _convolution)(args, p)


@rule("im2col")
def _im2col(args: Args, p: Params) -> list[tuple[int, ...]]:
    s, k = args[0]._a.shape, p["kernel"]
    lead, size = s[: -len(k)], s[-len(k) :]
    return [(*lead[:-1], lead[-1] * math.prod(k), math.prod(_places(size, k, p)))]


@rule("col2im")
def _col2im(args: Args, p: Params) -> list[tuple[int, ...]]:
    s = args[0]._a.shape
    return [(*s[:-2], s[-2] // math.prod(p["kernel"]), *p["size"])]


@rule("max_pool", "sum_pool", "max_pool_pick")
def _pool(args: Args, p: Params) -> list[tuple[int, ...]]:
    w = p["w"]
    return [(*args[0]._a.shape[: -len(w.out)], *w.out)]


@rule("max_pool_taps")
def _taps(args: Args, p: Params) -> list[Layout]:
    w = p["w"]
    kind = np.dtype(np.uint8) if math.prod(w.kernel) <= 256 else INT64
    return [((*args[0]._a.shape[: -len(w.out)], *w.out), kind, None)]


@rule("max_pool_positions")
def _positions(args: Args, p: Params) -> list[Layout]:
    return [(args[0]._a.shape, INT64, None)]


@rule("max_pool_spread", "sum_pool_adjoint")
def _spread(args: Args, p: Params) -> list[tuple[int, ...]]:
    w = p["w"]
    return [(*args[0]._a.shape[: -len(w.size)], *w.size)]


@rule("adaptive_max_pool_indices", "fractional_max_pool")
def _adaptive(args: Args, p: Params) -> list[Layout]:
    out = p["out"]
    return [((*args[0]._a.shape[: -len(out)], *out), INT64, None)]


@rule("resample")
def _resample(args: Args, p: Params) -> list[tuple[int, ...]]:
    s, d = args[0]._a.shape, p["dim"]
    return [(*s[:d], p["taps"].n_rows, *s[d + 1 :])]


@rule("half_repeat")
def _half_repeat(args: Args, p: Params) -> list[tuple[int, ...]]:
    out = [len(at) for at in p["places"]]
    return [(*args[0]._a.shape[: -len(out)], *out)]


@rule("half_repeat_adjoint")
def _half_repeat_adjoint(args: Args, p: Params) -> list[tuple[int, ...]]:
    return [(*args[0]._a.shape[: -len(p["size"])], *p["size"])]


@rule("half_mean_pool")
def _half_mean_pool(args: Args, p: Params) -> list[tuple[int, ...]]:
    out = [len(starts) for starts in p["bins"].start]
    return [(*args[0]._a.shape[: -len(out)], *out)]


@rule("half_mean_pool_adjoint")
def _half_mean_pool_adjoint(args: Args, p: Params) -> list[tuple[int, ...]]:
    size = p["bins"].size
    return [(*args[0]._a.shape[: -len(size)], *size)]


@rule("bin_means")
def _bin_means(args: Args, p: Params) -> list[tuple[int, ...]]:
    return [(*args[0]._a.shape[: -len(p["out"])], *p["out"])]


@rule("bin_means_adjoint")
def _bin_means_adjoint(args: Args, p: Params) -> list[tuple[int, ...]]:
    return [(*args[0]._a.shape[: -len(p["size"])], *p["size"])]


# ------------------------------------------------------------------------------------------------------ normalization


@rule("group_norm")
def _group_norm(args: Args, p: Params) -> list[Layout]:
    x = args[1]._a
    stats = (x.shape[0], p["groups"])
    kind = np.dtype(np.float32) if x.dtype.itemsize == 2 else x.dtype
    return [(x.shape, x.dtype, None), (stats, kind, None), (stats, kind, None)]


@rule("half_group_norm")
def _half_group_norm(args: Args, p: Params) -> list[Layout]:
    x = args[0]._a
    stats = (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    return [(x.shape, x.dtype, None), (stats, x.dtype, None), (stats, x.dtype, None)]


@rule("half_group_norm_grad")
def _half_group_norm_grad(args: Args, p: Params) -> list[Layout]:
    return _as_inputs(args, 1, 2, 2)


# --------------------------------------------------------------------------------------------- attention and recurrence


def _as_inputs(args: Args, *places: int) -> list[Layout]:
    """Contiguous results of the shapes and dtypes of inputs; empty ones where there is no input."""
    kind = next(x._a.dtype for x in args if x is not None)
    found = [args[i] for i in places]
    return [((0,), kind, None) if x is None else (x._a.shape, x._a.dtype, None) for x in found]


@rule("dropped_attention")
def _dropped_attention(args: Args, p: Params) -> list[Layout]:
    q, v = args[0]._a, args[2]._a
    state = np.dtype(np.uint8)
    shape = (*q.shape[:-1], v.shape[-1])
    order = None
    if len(shape) == 4:  # the heads of a position lie beside each other
        _, h, n, size = shape
        order = tuple([s * q.dtype.itemsize for s in (n * h * size, size, h * size, 1)])
    return [
        (shape, q.dtype, order),
        (q.shape[:-1], q.dtype, None),
        ((5056,), state, None),
    ]


@rule("dropped_attention_grad")
def _dropped_attention_grad(args: Args, p: Params) -> list[Layout]:
    found = _as_inputs(args, 1, 2, 3, 4)
    return found if p["bias"] else [*found[:3], ((0,), found[0][1], None)]


@rule("attention_noise")
def _attention_noise(args: Args, p: Params) -> list[Layout]:
    return [(tuple(p["shape"]), p["dtype"], None)]


GATES = {"LSTM": 4, "GRU": 3}


@rule("recurrent_sequence")
def _recurrent(args: Args, p: Params) -> list[Layout]:
    x, h = args[0]._a, args[5]._a
    steps, size = (*x.shape[:2], h.shape[1]), GATES.get(p["mode"])
    none: Layout = ((0,), x.dtype, None)
    cell = (h.shape, x.dtype, None) if p["mode"] == "LSTM" else none
    kept = none if size is None else (steps, x.dtype, None)
    gates = none if size is None else ((*x.shape[:2], size * h.shape[1]), x.dtype, None)
    return [(steps, x.dtype, None), (h.shape, x.dtype, None), cell, kept, gates]


@rule("recurrent_sequence_grad")
def _recurrent_grad(args: Args, p: Params) -> list[Layout]:
    found = _as_inputs(args, 3, 4, 5, 6, 7, 8, 9)
    return [x if wanted else ((0,), x[1], None) for x, wanted in zip(found, p["wanted"])]


# -------------------------------------------------------------------------------------------------------------- others


@rule("phase_check", "check_envelope")
def _as_given(args: Args, p: Params) -> list[Layout]:
    a = args[0]._a
    return [(a.shape, a.dtype, a.strides)]


@rule("ldl_solve")
def _ldl_solve(args: Args, p: Params) -> list[tuple[int, ...]]:
    a, b = args[0]._a.shape, args[2]._a.shape
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), *b[-2:])]


@rule("bag_of")
def _bag_of(args: Args, p: Params) -> list[Layout]:
    return [((p["count"],), INT64, None)]


@rule("segment_argmax")
def _segment_argmax(args: Args, p: Params) -> list[Layout]:
    return [((p["bags"], *args[0]._a.shape[1:]), INT64, None)]


@rule("places_times")
def _places_times(args: Args, p: Params) -> list[Layout]:
    return [((p["places"].shape[0], *args[1]._a.shape[1:]), args[0]._a.dtype, None)]


@rule("times_at_places")
def _times_at_places(args: Args, p: Params) -> list[tuple[int, ...]]:
    return [(p["places"].rows.size,)]
