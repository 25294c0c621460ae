"""Sample calls of every operation: elementwise ones from their domains, writes and adjoints from their views,
all others from the tables here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

import battery.half_calls  # noqa: F401  (its rows)
import battery.norm_calls  # noqa: F401  (its rows)
import flambeau as torch
from battery import arrays, linalg_calls, pointwise, recurrent_calls
from battery.rows import TABLE, comp, ints, real, row
from battery.sample import Sample, operations
from flambeau.nn import functional  # noqa: F401  (registers the operations of the layers)
from flambeau.prims.attention import attention_op, dropped_attention_op, masked_attention_op
from flambeau.prims.pool import Windows
from flambeau.prims.resample import Taps
from flambeau.prims.sparse_products import Places

# ---------------------------------------------------------------------------------------------- conversion, factories
row("cast", real(2, 3) * 3, dtype=np.dtype(np.int64), reference=lambda x: np.trunc(x).astype(np.int64))
row("cast", real(2, 3), dtype=np.dtype(bool), reference=lambda x: x != 0, note="bool")
row("convert", real(2, 3), dtype=np.dtype(np.complex128), reference=lambda x: x + 0j)
row("convert", comp(2, 3), dtype=np.dtype(np.float64), reference=lambda x: x.real, note="real")
row("full", shape=(2, 3), value=2.5, dtype=np.dtype(np.float64), reference=lambda: np.array([[2.5] * 3] * 2))
row(
    "full",
    shape=(0, 3),
    value=1,
    dtype=np.dtype(np.int64),
    reference=lambda: np.zeros((0, 3), np.int64),
    note="empty",
)
row("array", value=np.arange(3.0), reference=lambda: np.arange(3.0))

# ---------------------------------------------------------------------------------------------- views
row("detach_view", real(2, 3), reference=lambda x: x)
row(
    "detach_put", real(2, 3), real(2, 3, seed=1), order=0, reference=lambda base, v: v
)  # the derivative is that of `base`
VIEWS: dict[str, list[tuple[Any, dict[str, Any], Callable[[Any], Any]]]] = {
    "view": [
        (real(2, 6), {"shape": (3, 4)}, lambda x: x.reshape(3, 4)),
        (comp(2, 3), {"shape": (6,)}, lambda x: x.reshape(6)),
        (np.zeros((0, 4)), {"shape": (2, 0)}, lambda x: x.reshape(2, 0)),
        (real(1), {"shape": ()}, lambda x: x.reshape(())),
    ],
    "expand": [
        (real(2, 1), {"shape": (3, 2, 4)}, lambda x: np.broadcast_to(x, (3, 2, 4))),
        (real(2, 3), {"shape": (2, 3)}, lambda x: x[...]),
    ],
    "permute": [
        (real(2, 3, 4), {"dims": (2, 0, 1)}, lambda x: x.transpose(2, 0, 1)),
        (comp(2, 3), {"dims": (1, 0)}, lambda x: x.T),
        (real(), {"dims": ()}, lambda x: x[...]),
    ],
    "slice": [
        (real(4, 5), {"index": (slice(1, 4, 2), slice(0, 5, 3))}, lambda x: x[1:4:2, ::3]),
        (comp(3, 4), {"index": (1, None, slice(2, 4))}, lambda x: x[1, None, 2:]),
        (real(3), {"index": (slice(2, 2),)}, lambda x: x[2:2]),
        (real(2, 3), {"index": (1, 2)}, lambda x: x[1, 2, ...]),
    ],
    "real": [(comp(2, 3), {}, lambda x: x.real)],
    "imag": [(comp(2, 3), {}, lambda x: x.imag)],
    "unfold": [
        (real(2, 6), {"dim": 1, "size": 3, "step": 1}, lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 1)),
        (real(5, 2), {"dim": 0, "size": 2, "step": 2}, lambda x: x[:4].reshape(2, 2, 2).transpose(0, 2, 1)),
    ],
    "as_strided": [
        (real(3, 4), {"size": (2, 3), "stride": (5, 1), "offset": 2}, lambda x: x.reshape(-1)[[[2, 3, 4], [7, 8, 9]]]),
        (real(6), {"size": (2, 3), "stride": (1, 1), "offset": 0}, lambda x: x[[[0, 1, 2], [1, 2, 3]]]),
    ],
    "diagonal": [
        (real(3, 4), {"offset": 0, "dim1": 0, "dim2": 1}, lambda x: x[[0, 1, 2], [0, 1, 2]]),
        (real(3, 2, 3), {"offset": -1, "dim1": 0, "dim2": 2}, lambda x: x[[1, 2], :, [0, 1]].T),
        (comp(3, 3), {"offset": 1, "dim1": 0, "dim2": 1}, lambda x: x[[0, 1], [1, 2]]),
    ],
    "view_dtype": [(real(2, 3), {"dtype": np.dtype(np.int64)}, lambda x: x.view(np.int64))],
    "view_as_real": [(comp(2, 3), {}, lambda x: np.stack([x.real, x.imag], -1))],
    "view_as_complex": [(real(3, 2), {}, lambda x: x[:, 0] + 1j * x[:, 1])],
}  # fmt: skip
# Views whose memory is written through as a whole by NumPy, or where elements meet: what a write means is said here.
PLACES = {"as_strided", "unfold", "diagonal", "view_as_real", "view_as_complex", "expand"}


def overlapping(name: str, number: int) -> bool:
    """Whether two elements of a sample view share memory: writing through those is not defined."""
    return (name, number) in {("expand", 0), ("unfold", 0), ("as_strided", 1)}


def _written(fn: Callable[[Any], Any], base: Any, v: Any, name: str) -> Any:
    out = base.copy()
    if name == "view_as_real":
        return v[..., 0] + 1j * v[..., 1]
    if name == "view_as_complex":
        return np.stack([v.real, v.imag], -1)
    if name in PLACES:
        places = fn(np.arange(out.size).reshape(out.shape))
        out.reshape(-1)[places] = v
    else:
        fn(out)[...] = v
    return out


def view_samples(name: str) -> list[Sample]:
    order = 0 if name == "view_dtype" else 2
    return [
        Sample(name, (x,), params, reference=fn, order=order, note=str(i))
        for i, (x, params, fn) in enumerate(VIEWS[name])
    ]


def put_samples(name: str) -> list[Sample]:
    """`view_put`: the base with new values written through the view."""
    samples = []
    for i, (x, params, fn) in enumerate(VIEWS[name]):
        if overlapping(name, i):
            continue
        y = np.asarray(fn(x))
        v = np.asarray(comp(*y.shape, seed=9) if y.dtype.kind == "c" else real(*y.shape, seed=9)).astype(
            y.dtype
        )
        reference = functools.partial(_written, fn, name=name)
        order = 0 if name == "view_dtype" else 2
        op = "reshape_put" if name == "view" else name + "_put"
        samples.append(Sample(op, (x, v), params, reference=reference, order=order, note=str(i)))
    return samples


def adjoint_samples(name: str) -> list[Sample]:
    """`view_adjoint`: values written (or, where elements meet, summed) into zeros."""
    samples = []
    for i, (x, params, fn) in enumerate(VIEWS[name]):
        g = np.asarray(fn(x)).copy()

        def reference(y: Any, fn: Any = fn, shape: Any = x.shape) -> Any:
            out = np.zeros(shape, y.dtype)
            np.add.at(out.reshape(-1), fn(np.arange(out.size).reshape(shape)), y)
            return out

        samples.append(
            Sample(
                name + "_adjoint", (g,), {**params, "base_shape": x.shape}, reference=reference, note=str(i)
            )
        )
    return samples


# ---------------------------------------------------------------------------------------------- reductions
def _reductions() -> None:
    table: dict[str, tuple[Callable[..., Any], bool]] = {
        "sum": (np.sum, True), "amax": (np.max, False), "amin": (np.min, False), "prod": (np.prod, True),
        "any": (np.any, False), "all": (np.all, False),
        "norm2": (lambda x, axis: np.sqrt((x * x).sum(axis)), False),
        "logsumexp": (lambda x, axis: np.log(np.exp(x).sum(axis)), False),
        "count_nonzero": (lambda x, axis: (x != 0).astype(np.int64).sum(axis), False),
    }  # fmt: skip
    for name, (fn, complex_) in table.items():
        for x, dims in ((real(2, 3, 2), (1,)), (real(3, 4), (0, 1)), (real(2, 3), ()), (real(), ())):
            value = (x > 0) if name in ("any", "all") else x
            row(name, value, dims=dims, reference=functools.partial(fn, axis=dims), note=f"dims{len(dims)}")
        if complex_:
            row(name, comp(2, 3), dims=(0,), reference=functools.partial(fn, axis=0))
        if name not in ("amax", "amin", "logsumexp"):
            empty = np.zeros((2, 0, 3), bool if name in ("any", "all") else np.float64)
            row(name, empty, dims=(1,), reference=functools.partial(fn, axis=1), note="empty")
    row(
        "prod",
        np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 4.0]]),
        dims=(1,),
        reference=lambda x: x.prod(1),
        note="zeros",
    )
    for name, fn in (("argmax", np.argmax), ("argmin", np.argmin)):
        row(name, real(3, 4), dim=1, reference=functools.partial(fn, axis=1))
        row(name, real(3, 4), dim=0, reference=functools.partial(fn, axis=0), note="first")
    for dims, correction in (((1,), 1), ((0, 1), 0), ((0,), 2)):
        row(
            "variance",
            real(3, 4),
            dims=dims,
            correction=correction,
            reference=functools.partial(np.var, axis=dims, ddof=correction),
            note=f"{dims}",
        )


_reductions()

# ---------------------------------------------------------------------------------------------- rearrangement
row(
    "zero_pad",
    real(2, 3),
    shape=(4, 6),
    where=(slice(1, 3), slice(0, 3)),
    reference=lambda x: np.pad(x, ((1, 1), (0, 3))),
)
for _dim in (0, 1):
    row(
        "repeat_each",
        real(2, 3),
        dim=_dim,
        times=3,
        reference=lambda x, d=_dim: np.repeat(x, 3, d),
        note=str(_dim),
    )
    row(
        "add_each",
        real(4, 6),
        dim=_dim,
        times=2,
        reference=lambda x, d=_dim: np.add.reduceat(x, np.arange(0, x.shape[d], 2), d),
        note=str(_dim),
    )
for _upper, _fn in ((True, np.triu), (False, np.tril)):
    for _k in (-1, 0, 2):
        row(
            "triangle",
            real(3, 4),
            diagonal=_k,
            upper=_upper,
            reference=lambda x, f=_fn, k=_k: f(x, k),
            note=f"{_upper}{_k}",
        )

# ---------------------------------------------------------------------------------------------- scans, sorts, softmax


def _softmax(x: Any, axis: int) -> Any:
    e = np.exp(x)
    return e / e.sum(axis, keepdims=True)


def _running(fn: Callable[[Any], Any]) -> Callable[..., Any]:
    """Apply to every prefix of a dim."""

    def call(x: Any, axis: int) -> Any:
        parts = [fn(np.moveaxis(x, axis, 0)[: i + 1]) for i in range(x.shape[axis])]
        return np.moveaxis(np.stack(parts), 0, axis)

    return call


def _lower_median(x: Any, axis: int) -> Any:
    return np.apply_along_axis(lambda v: np.sort(v[v == v])[(np.sum(v == v) - 1) // 2], axis, x)


for _dim in (0, 1):
    row("softmax", real(3, 4), dim=_dim, reference=functools.partial(_softmax, axis=_dim), note=str(_dim))
    row(
        "log_softmax",
        real(3, 4),
        dim=_dim,
        reference=lambda x, d=_dim: np.log(_softmax(x, d)),
        note=str(_dim),
    )
    row(
        "cumsum",
        real(3, 4),
        dim=_dim,
        reference=functools.partial(_running(lambda x: x.sum(0)), axis=_dim),
        note=str(_dim),
    )
    row(
        "cumprod",
        real(3, 4),
        dim=_dim,
        reference=functools.partial(_running(lambda x: x.prod(0)), axis=_dim),
        note=str(_dim),
    )
    row(
        "logcumsumexp", real(3, 4), dim=_dim, note=str(_dim),
        reference=functools.partial(_running(lambda x: np.log(np.exp(x).sum(0))), axis=_dim),
    )  # fmt: skip
    row(
        "argmedian",
        real(3, 5),
        dim=_dim,
        skip_nan=False,
        reference=lambda x, d=_dim: x.argsort(d).take([(x.shape[d] - 1) // 2], axis=d),
        note=f"dim{_dim}",
    )
    row(
        "argmedian",
        np.where(np.arange(15).reshape(3, 5) % 4 == 1, np.nan, real(3, 5)),
        dim=_dim,
        skip_nan=True,
        reference=lambda x, d=_dim: (
            np.abs(x - np.expand_dims(_lower_median(x, d), d)).argsort(d).take([0], axis=d)
        ),
        note=f"nan{_dim}",
    )
    row(
        "argtop",
        real(3, 5),
        dim=_dim,
        k=2,
        largest=True,
        reference=lambda x, d=_dim: (-x).argsort(d).take(range(2), axis=d),
        note=f"dim{_dim}",
    )
    row(
        "argsort",
        real(3, 4),
        dim=_dim,
        descending=False,
        reference=lambda x, d=_dim: x.argsort(d),
        note=str(_dim),
    )
    row(
        "argsort",
        real(3, 4),
        dim=_dim,
        descending=True,
        reference=lambda x, d=_dim: (-x).argsort(d),
        note=f"down{_dim}",
    )
    row(
        "argcum",
        real(3, 4),
        dim=_dim,
        largest=True,
        reference=functools.partial(_running(lambda x: x.argmax(0)), axis=_dim),
        note=f"max{_dim}",
    )
    row(
        "argcum",
        real(3, 4),
        dim=_dim,
        largest=False,
        reference=functools.partial(_running(lambda x: x.argmin(0)), axis=_dim),
        note=f"min{_dim}",
    )
row(
    "softmax_grad",
    real(2, 3),
    _softmax(real(2, 3), 1),
    dim=1,
    reference=lambda g, y: y * (g - (g * y).sum(1, keepdims=True)),
)
row(
    "log_softmax_grad",
    real(2, 3),
    np.log(_softmax(real(2, 3), 1)),
    dim=1,
    reference=lambda g, y: g - np.exp(y) * g.sum(1, keepdims=True),
)
_CLASSES = ints(2, -100, 0)


def _entropies(x: Any, t: Any, smoothing: float) -> tuple[Any, Any]:
    p, own = -np.log(_softmax(x, 1)), t.clip(0)
    loss = (1 - smoothing) * p[range(3), own] + smoothing * p.mean(1)
    return np.where(t < 0, 0, loss), np.log(np.exp(x).sum(1))


def _entropy_slopes(g: Any, x: Any, t: Any, smoothing: float) -> Any:
    slope = _softmax(x, 1) - (1 - smoothing) * np.eye(4)[t.clip(0)] - smoothing / 4
    return np.where(t < 0, 0, g)[:, None] * slope


for _smoothing in (0.0, 0.2):
    row("cross_entropy", real(3, 4), _CLASSES, ignore=-100, smoothing=_smoothing, expandable=False, note=str(_smoothing),
        other=(real(3, 4) * 0.9, ints(1, 3, -100)), observe=lambda y, level: y,
        reference=functools.partial(_entropies, smoothing=_smoothing))  # fmt: skip
    row("cross_entropy_grad", real(3), real(3, 4), _CLASSES, ignore=-100, smoothing=_smoothing, expandable=False,
        note=str(_smoothing), prepare=lambda g, x, t: (g, x, t, x.detach().logsumexp(1)),
        reference=functools.partial(_entropy_slopes, smoothing=_smoothing))  # fmt: skip
row("linalg_cross", real(2, 3), real(2, 3, seed=1), dim=1, reference=lambda a, b: np.cross(a, b))
row("linalg_cross", comp(3, 2), comp(3, 2, seed=1), dim=0, reference=lambda a, b: np.cross(a, b, axis=0))


def _attended(q: Any, k: Any, v: Any, *mask: Any, causal: bool = False, noise: Any = 1.0) -> tuple[Any, Any]:
    s = 0.7 * q @ k.swapaxes(-1, -2) - np.where(np.triu(np.ones((3, 4), bool), 1) & causal, np.inf, 0)
    for m in mask:
        s = np.where(m, s, -np.inf) if m.dtype == bool else s + m
    return _softmax(s, -1) * noise @ v, np.log(np.exp(s).sum(-1))


def _attention_slopes(g: Any, *inputs: Any, **how: Any) -> Any:
    """The gradients of all floating inputs, by differences."""
    found = []
    for i, x in enumerate(inputs):
        if x.dtype == bool:
            continue
        slope = np.empty_like(x)
        for place in np.ndindex(x.shape):
            near = []
            for step in (1e-6, -1e-6):
                args = list(inputs)
                args[i] = x.copy()
                args[i][place] += step
                near.append((_attended(*args, **how)[0] * g).sum())
            slope[place] = (near[0] - near[1]) / 2e-6
        found.append(slope)
    return tuple(found)


def _with_results(op: Any, **how: Any) -> Any:
    """Inputs of a gradient: those of the operation, and its results."""

    def prepare(g: Any, *inputs: Any) -> Any:
        if "p" in how:
            how["generator"] = torch.Generator().manual_seed(7)
        return g, *inputs, *op(*[x.detach() for x in inputs], scale=0.7, **how)

    return prepare


_heads = real(1, 3, 2), real(1, 4, 2, seed=1), real(1, 4, 2, seed=2)
for _causal in (False, True):
    row("attention", *_heads, scale=0.7, causal=_causal, observe=lambda y, lse: y, note=str(_causal),
        reference=functools.partial(_attended, causal=_causal))  # fmt: skip
    row("attention_grad", real(1, 3, 2), *_heads, scale=0.7, causal=_causal, tol=1e-7, note=str(_causal),
        prepare=_with_results(attention_op, causal=_causal), reference=functools.partial(_attention_slopes, causal=_causal))  # fmt: skip
for _mask in (np.tri(3, 4, 1, bool)[None], real(1, 3, 4, seed=4), real(1, 1, 4, seed=4)):
    _bias = _mask.dtype != bool
    row("masked_attention", *_heads, _mask, scale=0.7, observe=lambda y, lse: y, reference=_attended)
    row("masked_attention_grad", real(1, 3, 2), *_heads, _mask, scale=0.7, bias=_bias, tol=1e-7,
        prepare=_with_results(masked_attention_op), observe=None if _bias else lambda *found: found[:3],
        reference=_attention_slopes if _bias else lambda *a: (*_attention_slopes(*a), np.empty((1, 0, 0))))  # fmt: skip
_state = torch.Generator().manual_seed(7).get_state().numpy()
_noise = (
    torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64) < 0.75
).numpy() / 0.75
row("attention_noise", _state, shape=(1, 3, 4), p=0.25, dtype=np.dtype(np.float64), reference=lambda state: _noise,
    other=(torch.Generator().manual_seed(8).get_state().numpy(),), batches=False, expandable=False)  # fmt: skip
row("dropped_attention", *_heads, real(1, 3, 4, seed=4), scale=0.7, causal=False, p=0.25, generator=None, batches=False,
    observe=lambda y, *more: y, reference=lambda *a: (*_attended(*a, noise=_noise), _state))  # fmt: skip
row("dropped_attention_grad", real(1, 3, 2), *_heads, real(1, 3, 4, seed=4), scale=0.7, causal=False, p=0.25, bias=True,
    prepare=_with_results(dropped_attention_op, causal=False, p=0.25), tol=1e-7, batches=False,
    reference=functools.partial(_attention_slopes, noise=_noise))  # fmt: skip
row("frexp_mantissa", real(2, 3), reference=lambda x: np.frexp(x)[0])
row("frexp_exponent", real(2, 3), reference=lambda x: np.frexp(x)[1])
row("hash_tensor", real(2, 3), dims=(1,), reference=lambda x: np.bitwise_xor.reduce(x.view(np.uint64), 1))
row("check_envelope", real(2, 3), order=0, reference=lambda x: x)
row("cumsum", comp(3, 2), dim=0, reference=lambda x: x.cumsum(0))
row("cumprod", comp(3, 2), dim=0, reference=lambda x: x.cumprod(0))
row("cumprod", np.array([[1.5, 0.0, 2.0, 0.0, 3.0]]), dim=1, reference=lambda x: x.cumprod(1), note="zeros")
row("logcumsumexp", comp(3, 2), dim=0, reference=lambda x: np.log(np.exp(x).cumsum(0)), tol=1e-8)
row("cumsum", np.zeros((2, 0)), dim=1, reference=lambda x: x, note="empty")
row(
    "mode",
    np.array([[1.0, 2.0, 2.0, 0.5], [3.0, 3.0, 1.0, 1.0]]),
    dim=1,
    reference=lambda x: np.array([[2], [3]]),
    expandable=False,
)

# ---------------------------------------------------------------------------------------------- joining and moving
row("cat", real(2, 3), real(1, 3), dim=0, reference=lambda *x: np.concatenate(x), expandable=False)
row("cat", comp(2, 2), comp(2, 1), comp(2, 3), dim=1, reference=lambda *x: np.concatenate(x, 1))
row("cat", np.zeros((0, 3)), real(2, 3), dim=0, reference=lambda a, b: b, note="empty", expandable=False)
row("flip", real(2, 3), dims=(1,), reference=lambda x: x[:, ::-1])
row("flip", comp(2, 3), dims=(0, 1), reference=lambda x: x[::-1, ::-1])
row("roll", real(2, 3), shifts=(1, -1), dims=(0, 1), reference=lambda x: x[[1, 0]][:, [1, 2, 0]])
row("clone", comp(2, 3), reference=lambda x: x)
row("clone", real(), reference=lambda x: x)
row("clone_keep", real(2, 3), reference=lambda x: x)
row("reshape_copy", real(6, 2).T, shape=(4, 3), reference=lambda x: x.reshape(4, 3))
row("dot", real(4), real(4, seed=1), reference=np.dot)
row("dot", comp(3), comp(3, seed=1), reference=np.dot, note="complex")
row("matmul", real(2, 3), real(3, 4), reference=lambda a, b: np.einsum("ik,kj->ij", a, b), expandable=False)
row("matmul", real(2, 3, 2), real(2, 4), reference=lambda a, b: np.einsum("bik,kj->bij", a, b), note="shared")
row("matmul", comp(2, 2, 3), comp(2, 3, 2), reference=lambda a, b: np.einsum("bik,bkj->bij", a, b))
row("matmul", np.zeros((2, 0)), np.zeros((0, 3)), reference=lambda a, b: np.zeros((2, 3)), note="empty")
row(
    "linear",
    real(3, 4),
    real(2, 4),
    real(2),
    reference=lambda x, w, b: np.einsum("ni,oi->no", x, w) + b,
    expandable=False,
)
row("linear", comp(3, 2), comp(4, 2), reference=lambda x, w: np.einsum("ni,oi->no", x, w))

# ---------------------------------------------------------------------------------------------- indexing
_I, _J = ints(2, 0, 2, 1), ints(1, 1, 0, 3)


def _indexed(*specs: Any) -> None:
    for note, x, indices, spec in specs:
        others = tuple(np.flip(i).copy() for i in indices)

        def key(found: Any, spec: Any = spec) -> Any:
            found = iter(found)
            return tuple(next(found) if s else slice(None) for s in spec)

        row(
            "index",
            x,
            *indices,
            spec=spec,
            reference=lambda x, *i, key=key: x[key(i)],
            note=note,
            other=(x * 0.9, *others),
            expandable=False,
        )
        region = x[key(indices)].shape
        v = real(*region, seed=3) if x.dtype.kind == "f" else comp(*region, seed=3)
        for accumulate in (False, True):
            if not accumulate and note in ("repeated", "both", "complex"):
                continue  # which of several values stays is not promised
            row(
                "index_put", x, v, *indices, spec=spec, accumulate=accumulate, note=note + "-add" * accumulate, expandable=False,
                other=(np.asarray(x * 0.9), np.asarray(v * 1.1), *others), reference=lambda x, v, *i, spec=spec, acc=accumulate: arrays.put(x, v, i, spec, acc),
            )  # fmt: skip


_indexed(
    ("repeated", real(3, 4), (_I,), (True,)),
    ("distinct", real(3, 4), (ints(2, 0),), (True,)),
    ("second", real(3, 4), (ints(3, 1),), (False, True)),
    ("middle", real(2, 3, 4), (ints(2, 0),), (False, True, False)),
    ("both", real(3, 4), (_I, _J), (True, True)),
    ("apart", real(3, 2, 4), (ints(0, 2), ints(3, 1)), (True, False, True)),
    ("matrix", real(4), (ints([0, 1], [3, 2]),), (True,)),
    ("complex", comp(3, 2), (_I,), (True,)),
)
row("index_put", real(3, 4), real(), ints(0, 2), spec=(True,), accumulate=False, note="scalar", expandable=False,
    reference=lambda x, v, i: arrays.put(x, v, (i,), (True,), False))  # fmt: skip

_G0, _G1 = ints([0, 2, 1], [2, 1, 0]), ints([3, 0], [1, 1], [0, 2])
row("gather", real(3, 3), _G0, dim=0, reference=functools.partial(arrays.gather, dim=0), expandable=False)
row("gather", comp(3, 4), _G1, dim=1, reference=functools.partial(arrays.gather, dim=1), expandable=False)
row(
    "scatter",
    real(3, 3),
    real(2, 3),
    _G0,
    dim=0,
    reduce="set",
    reference=functools.partial(arrays.scatter, dim=0, reduce="set"),
    note="set",
    expandable=False,
)
row(
    "scatter",
    real(3, 4),
    real(3, 2),
    _G1,
    dim=1,
    reduce="add",
    reference=functools.partial(arrays.scatter, dim=1, reduce="add"),
    note="add",
    expandable=False,
)
for _reduce in ("mul", "amax", "amin"):
    row("scatter", real(3, 4), real(3, 2), _G1, dim=1, reduce=_reduce, order=0, note=_reduce, expandable=False,
        reference=functools.partial(arrays.scatter, dim=1, reduce=_reduce))  # fmt: skip
_SHARED = ints([0, 0, 1], [0, 1, 1])
for _reduce in ("prod", "amax", "amin"):
    for _own in (True, False):
        row("reduce_at", real(3, 3), real(2, 3), _SHARED, dim=0, reduce=_reduce, include_self=_own, expandable=False,
            note=f"{_reduce}{'' if _own else '-alone'}", other=(real(3, 3) * 0.9, real(2, 3) * 1.1, 1 + _SHARED),
            reference=functools.partial(arrays.reduce_at, dim=0, reduce=_reduce, include_self=_own))  # fmt: skip
row(
    "nonzero",
    np.array([[0.0, 1.5], [2.0, 0.0]]),
    reference=lambda x: ints([0, 1], [1, 0]),
    batches=False,
    expandable=False,
)
row(
    "argwhere",
    np.array([[0.0, 1.5], [2.0, 0.0]]),
    ndim=2,
    reference=lambda x: ints([0, 1], [1, 0]),
    expandable=False,
)
row(
    "nonzero_static",
    np.array([[0.0, 1.5], [2.0, 0.0]]),
    size=3,
    fill_value=-1,
    ndim=2,
    reference=lambda x: ints([0, 1], [1, 0], [-1, -1]),
    expandable=False,
)

# ---------------------------------------------------------------------------------------------- searching, counting
_SORTED = np.sort(real(2, 5), -1)
row("searchsorted", _SORTED[0], real(2, 3), side="left", reference=np.searchsorted, expandable=False)
row(
    "searchsorted",
    _SORTED,
    real(2, 3),
    side="right",
    note="rows",
    reference=lambda s, x: np.stack([np.searchsorted(*p, side="right") for p in zip(s, x)]),
)
row(
    "isin",
    np.arange(6.0).reshape(2, 3),
    np.array([1.0, 4.0, 9.0]),
    invert=False,
    ndim=2,
    reference=np.isin,
    expandable=False,
)
row("bincount", ints(0, 3, 1, 3), minlength=5, reference=lambda x: ints(1, 1, 0, 2, 0))
row(
    "weighted_bincount",
    ints(0, 3, 1, 3),
    np.array([0.5, 1.0, 2.0, 3.0]),
    minlength=5,
    reference=lambda x, w: np.array([0.5, 2.0, 0, 4.0, 0]),
)
row(
    "histogram",
    np.array([[0.1], [0.6], [0.65], [1.0], [7.0]]),
    np.ones(5),
    np.linspace(0, 1, 5),
    reference=lambda x, w, e: np.array([1.0, 0, 2, 1]),
    expandable=False,
)

row(
    "histc",
    np.array([0.1, 0.6, 0.65, 1.0, 7.0]),
    bins=4,
    low=0.0,
    high=1.0,
    ndim=1,
    reference=lambda x: np.array([1.0, 0, 2, 1]),
)

# ---------------------------------------------------------------------------------------------- Fourier
for _norm in ("backward", "ortho", "forward"):
    row("fft_c2c", comp(2, 4), dims=(1,), forward=True, norm=_norm, note=_norm,
        reference=lambda x, k=_norm: x @ scipy.linalg.dft(4) / {"backward": 1, "ortho": 2, "forward": 4}[k])  # fmt: skip
    row("fft_r2c", real(2, 5), dim=1, norm=_norm, note=_norm,
        reference=lambda x, k=_norm: (x @ scipy.linalg.dft(5))[:, :3] / {"backward": 1, "ortho": 5**0.5, "forward": 5}[k])  # fmt: skip
row(
    "fft_c2c",
    comp(3, 4),
    dims=(0, 1),
    forward=False,
    norm="backward",
    reference=lambda x: scipy.linalg.dft(3).conj() @ x @ scipy.linalg.dft(4).conj() / 12,
)


def _half_to_real(x: Any, n: int) -> Any:
    full = np.zeros((x.shape[0], n), complex)
    full[:, : n // 2 + 1] = x
    for k in range(1, (n + 1) // 2):
        full[:, n - k] = x[:, k].conj()
    return np.stack(
        [sum((full[:, k] * np.exp(2j * np.pi * k * t / n)).real for k in range(n)) / n for t in range(n)], 1
    )


for _n in (4, 5):
    row(
        "fft_c2r",
        comp(2, 3),
        dim=1,
        n=_n,
        norm="backward",
        reference=functools.partial(_half_to_real, n=_n),
        note=str(_n),
    )
row(
    "fft_r2c",
    real(4, 2),
    dim=0,
    norm="backward",
    reference=lambda x: (scipy.linalg.dft(4) @ x)[:3],
    note="first",
)

# ---------------------------------------------------------------------------------------------- convolution, patches, pools
_PLAIN = {"stride": (1,), "padding": (0,), "dilation": (1,), "groups": 1}
_RICH = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}


def _convolutions() -> None:
    for note, x, w, p in (
        ("plain", real(2, 2, 5), real(3, 2, 3), _PLAIN),
        ("rich", real(1, 2, 4, 4), real(2, 1, 2, 2), _RICH),
        ("complex", comp(1, 1, 4), comp(2, 1, 2), _PLAIN),
    ):
        y = arrays.convolve(x, w, **p)
        row(
            "convolution",
            x,
            w,
            **p,
            note=note,
            reference=functools.partial(arrays.convolve, **p),
            expandable=False,
        )
        size, kernel = x.shape[2:], w.shape[2:]
        row("convolution_input", y, w, **p, size=size, note=note, expandable=False,
            reference=lambda g, w, p=p, s=x.shape: arrays.adjoint(lambda e: arrays.convolve(e, w, **p), g, s))  # fmt: skip
        numbers = comp if x.dtype.kind == "c" else real
        bias = numbers(w.shape[0]), numbers(w.shape[1] * p["groups"])
        row("biased_convolution", x, w, bias[0], **p, note=note, expandable=False,
            reference=lambda x, w, b, p=p: arrays.convolve(x, w, **p) + b.reshape(-1, *(1,) * (x.ndim - 2)))  # fmt: skip
        row("half_convolution", x, w, bias[0], **p, transposed=False, size=None, note=note, expandable=False,
            reference=lambda x, w, b, p=p: arrays.convolve(x, w, **p) + b.reshape(-1, *(1,) * (x.ndim - 2)))  # fmt: skip
        row("half_convolution", y, w, bias[1], **p, transposed=True, size=size, note=f"{note} transposed", expandable=False,
            reference=lambda g, w, b, p=p, s=x.shape: b.reshape(-1, *(1,) * (len(s) - 2))
            + arrays.adjoint(lambda e: arrays.convolve(e, w, **p), g, s))  # fmt: skip
        row("convolution_weight", x, y, **p, kernel=kernel, note=note, expandable=False,
            reference=lambda x, g, p=p, s=w.shape: arrays.adjoint(lambda e: arrays.convolve(x, e, **p), g, s))  # fmt: skip


_convolutions()
_GRID = {"kernel": (2, 2), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)}
row("im2col", real(1, 2, 3, 4), **_GRID, reference=functools.partial(arrays.patches, **_GRID))
row("col2im", real(1, 8, 4), size=(3, 4), **_GRID,
    reference=lambda y: arrays.adjoint(lambda e: arrays.patches(e, **_GRID), y, (1, 2, 3, 4)))  # fmt: skip

_W = Windows(kernel=(2, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), size=(3, 4), out=(2, 2))
_X = real(2, 3, 4)
_TAPS = arrays.windows(_X, _W, -np.inf).argmax(-1).astype(np.uint8)


def _picked(x: Any, taps: Any) -> Any:
    return np.take_along_axis(arrays.windows(x, _W, 0), taps[..., None].astype(int), -1)[..., 0]


def _flat_positions(taps: Any) -> Any:
    places = arrays.windows(np.arange(12.0).reshape(1, 3, 4), _W, -1)
    return np.take_along_axis(np.broadcast_to(places, (*taps.shape, 4)), taps[..., None].astype(int), -1)[
        ..., 0
    ].astype(int)


row("max_pool", _X, w=_W, reference=lambda x: arrays.windows(x, _W, -np.inf).max(-1))
row("max_pool_taps", _X, w=_W, reference=lambda x: _TAPS,
    other=(_X * 0.9,), expandable=False)  # fmt: skip
row("max_pool_positions", _TAPS, w=_W, reference=_flat_positions, other=(_TAPS,))
row("max_pool_pick", real(2, 3, 4, seed=2), _TAPS, w=_W, reference=_picked, other=(_X, _TAPS))
row("max_pool_spread", real(2, 2, 2), _TAPS, w=_W, other=(real(2, 2, 2) * 0.9, _TAPS),
    reference=lambda g, taps: arrays.adjoint(lambda e: _picked(e, taps), g, (2, 3, 4)))  # fmt: skip
_BIN_SIZES = {"size": (3, 5), "out": (2, 4)}
row("bin_means", real(2, 3, 5), **_BIN_SIZES, reference=lambda x: arrays.bin_means(x, (2, 4)))
row(
    "bin_means_adjoint",
    real(2, 2, 4),
    **_BIN_SIZES,
    reference=lambda g: arrays.adjoint(lambda x: arrays.bin_means(x, (2, 4)), g, (2, 3, 5)),
)
row("sum_pool", _X, w=_W, reference=lambda x: arrays.windows(x, _W, 0).sum(-1))
row(
    "sum_pool_adjoint",
    real(1, 2, 2),
    w=_W,
    reference=lambda g: arrays.adjoint(lambda e: arrays.windows(e, _W, 0).sum(-1), g, (1, 3, 4)),
)


def _bins(x: Any) -> Any:
    """Positions of the maxima over 2 x 3 bins of a 5 x 4 image."""
    out = np.zeros((x.shape[0], 2, 3), int)
    for n, i, j in np.ndindex(*out.shape):
        rows_, cols = range(i * 5 // 2, -(-(i + 1) * 5 // 2)), range(j * 4 // 3, -(-(j + 1) * 4 // 3))
        out[n, i, j] = max((x[n, r, c], r * 4 + c) for r in rows_ for c in cols)[1]
    return out


def _windows_everywhere(x: Any, samples: Any) -> Any:
    """With samples of 0 a window starts at floor(i * alpha): two windows of 2 over 4 positions start at 0 and 2."""
    out = np.zeros((*x.shape[:2], 2, 2), int)
    for n, c, i, j in np.ndindex(*out.shape):
        out[n, c, i, j] = max(
            (x[n, c, r, k], r * 4 + k) for r in (2 * i, 2 * i + 1) for k in (2 * j, 2 * j + 1)
        )[1]
    return out


row("adaptive_max_pool_indices", real(2, 5, 4), out=(2, 3), reference=_bins)
row(
    "fractional_max_pool",
    real(1, 2, 4, 4),
    np.zeros((1, 2, 2)),
    kernel=(2, 2),
    out=(2, 2),
    reference=_windows_everywhere,
)

_MAP = Taps(
    np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 3, 0, 1, 2]), np.array([0.5, 0.5, 1.0, 0.2, 0.3, 0.5]), 3, 4
)
_DENSE = np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1.0], [0.2, 0.3, 0.5, 0]])
row("resample", real(2, 4, 2), dim=1, taps=_MAP, reference=lambda x: np.einsum("rc,bcd->brd", _DENSE, x))

_PLACES = Places(ints(2, 0, 0, 2, 0), ints(1, 3, 0, 1, 2), (3, 4))  # one of them twice, and a row without any


def _sparse_product(values: Any, dense: Any) -> Any:
    matrix = np.zeros((3, 4), values.dtype)
    np.add.at(matrix, (_PLACES.rows, _PLACES.cols), values)
    return matrix @ dense


row("places_times", real(5), real(4, 2), places=_PLACES, reference=_sparse_product)
row("places_times", comp(5), comp(4, 2), places=_PLACES, reference=_sparse_product)
row(
    "times_at_places",
    real(3, 2),
    real(4, 2),
    places=_PLACES,
    reference=lambda a, b: (a @ b.T)[_PLACES.rows, _PLACES.cols],
)

# ---------------------------------------------------------------------------------------------- bags, sequences
row(
    "bag_of",
    ints(0, 2, 2, 5),
    count=6,
    reference=lambda o: ints(0, 0, 2, 2, 2, 3),
    other=(ints(0, 1, 3, 4),),
    expandable=False,
)
_BAG, _KEEP = ints(0, 0, 2, 2, 2), np.array([True, True, True, False, True])


def _bag_maxima(x: Any, bag: Any, keep: Any) -> Any:
    out = np.full((3, x.shape[1]), -1)
    for b, d in np.ndindex(*out.shape):
        mine = [i for i in range(len(bag)) if bag[i] == b and keep[i]]
        if mine:
            out[b, d] = max(mine, key=lambda i: x[i, d])
    return out


row("segment_argmax", real(5, 2), _BAG, _KEEP, bags=3, reference=_bag_maxima, expandable=False)


def _log_probabilities(x: Any, *rest: Any) -> Any:
    return (x.log_softmax(-1), *rest)


_LP = np.log(_softmax(real(4, 2, 3), -1))
_CTC = (ints([1, 2], [2, 2]), ints(4, 3), ints(2, 1))
row("ctc_loss", _LP, *_CTC, blank=0, zero_infinity=False, prepare=_log_probabilities, order=1, expandable=False,
    reference=functools.partial(arrays.ctc, blank=0), other=(_LP * 0.9, *_CTC))  # fmt: skip


def _ctc_slope(lp: Any, targets: Any, lengths: Any, ends: Any) -> Any:
    """The gradient for logits, by differences."""
    out = np.zeros(lp.shape)
    for at in np.ndindex(*lp.shape):
        values = []
        for step in (1e-6, -1e-6):
            x = lp.copy()
            x[at] += step
            values.append(arrays.ctc(np.log(_softmax(x, -1)), targets, lengths, ends, 0)[at[1]])
        out[at] = (values[0] - values[1]) / 2e-6
    return out


row(
    "ctc_loss_grad",
    _LP,
    *_CTC,
    blank=0,
    zero_infinity=False,
    order=0,
    reference=_ctc_slope,
    tol=1e-7,
    other=(_LP, *_CTC),
    expandable=False,
)

# ---------------------------------------------------------------------------------------------- random numbers
_DRAWS: dict[str, tuple[tuple[Any, ...], float, float]] = {  # arguments, mean, standard deviation
    "uniform": ((-1.0, 3.0), 1.0, 4 / 12**0.5),
    "normal": ((2.0, 0.5), 2.0, 0.5),
    "integers_from": ((3, 13), 7.5, (99 / 12) ** 0.5),
    "integers": ((), np.nan, np.nan),
    "bernoulli": ((0.3,), 0.3, 0.21**0.5),
    "exponential": ((2.0,), 0.5, 0.5),
    "cauchy": ((0.0, 1.0), np.nan, np.nan),
    "log_normal": ((0.0, 0.25), np.exp(1 / 32), np.exp(1 / 32) * (np.exp(1 / 16) - 1) ** 0.5),
    "geometric": ((0.4,), 2.5, 0.6**0.5 / 0.4),
    "dropout": ((0.25,), 1.0, (1 / 0.75 - 1) ** 0.5),
}
MOMENTS = {f"random_{k}": v[1:] for k, v in _DRAWS.items()}
for _kind, (_args, _, _) in _DRAWS.items():
    row(f"random_{_kind}", shape=(2, 3), generator=None, dtype=np.dtype(np.float64), args=_args)
row(
    "random_normal_arrays",
    real(2, 3),
    abs(real(2, 3)),
    shape=(2, 3),
    generator=None,
    dtype=np.dtype(np.float64),
)
row("random_permutation", shape=(6,), generator=None, dtype=np.dtype(np.int64))
row("random_poisson", np.linspace(0.5, 3.0, 6).reshape(2, 3), generator=None)
row("random_binomial", np.full((2, 3), 5.0), np.linspace(0.1, 0.9, 6).reshape(2, 3), generator=None)
row("random_standard_gamma", np.linspace(0.5, 3.0, 6).reshape(2, 3), generator=None)
row("random_dirichlet", np.linspace(0.5, 3.0, 6).reshape(2, 3), generator=None)
# a draw as a function of its parameter: the gradient is tested with the distributions
row("dirichlet_draw", abs(real(2, 3)), abs(real(2, 3, seed=1)), order=0, reference=lambda alpha, x: x)
row("random_bernoulli_array", np.linspace(0.1, 0.9, 6).reshape(2, 3), shape=(2, 3), generator=None)
row(
    "random_multinomial",
    np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]]),
    num_samples=2,
    replacement=False,
    generator=None,
)
row("random_rrelu", real(2, 3), generator=None, lower=0.1, upper=0.3)

linalg_calls.fill(row, real, comp)
recurrent_calls.fill(row, real)

# The first polygamma functions: an operation for each order appears when it is first used.
for _order in (1, 2):
    torch.polygamma(_order, torch.ones(1))


@functools.cache
def samples_of(name: str) -> list[Sample]:
    """All calls of one operation."""
    if name in VIEWS:
        return view_samples(name)
    if name.endswith("_put") and name[:-4] in VIEWS:
        return put_samples(name[:-4])
    if name == "reshape_put":
        return put_samples("view")
    if name.endswith("_adjoint") and name[:-8] in VIEWS and name not in TABLE:
        return adjoint_samples(name[:-8])
    return TABLE.get(name) or pointwise.samples_of(name)


def all_samples() -> list[Sample]:
    return [s for name in operations() for s in samples_of(name)]
