"""Attention without the matrix of weights, and its gradients, on arrays: `attention_kernels` is the code behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.pool import empty
from ..runtime.threads import get_num_threads
from .attention_kernels import ROOMLESS, Variant, block_keys, kernel
from .packed_gemm import panel_sizes

__all__ = ["attention", "attention_backward"]

Array = npt.NDArray[Any]
_ENOUGH = 96  # queries of a part at least: each part packs the keys for itself


def _launch(
    name: str,
    arrays: dict[str, Array],
    sizes: dict[str, int],
    rooms: dict[str, int],
    scale: float,
    kept: float,
) -> None:
    mask = arrays["mask"].dtype.name if "mask" in arrays else ""
    variant = Variant(
        name,
        "dq" in arrays,
        "bool" if mask == "bool" else mask and "float",
        "drop" in arrays,
        "dmask" in arrays,
    )
    item = np.dtype(name).itemsize
    bits = int(np.array(kept, np.float64).view(np.int64))
    values, offset = {**sizes, "kept": bits}, 0
    for a, x in arrays.items():
        if a not in ROOMLESS:
            values |= {f"{a}.batch": x.strides[0], f"{a}.head": x.strides[1], f"{a}.row": x.strides[2]}
            values[f"{a}.key"] = x.strides[3]
    block = (block_keys(name) + panel_sizes(name)[0]) * panel_sizes(name)[1]
    rooms = {**rooms, "m": block if mask else 0, "d": block if variant.drop else 0}
    for place in variant.places:
        values[place] = offset
        offset += -(-rooms[place] * item // 64) * 64
    slot = offset + 64
    units = sizes["batch"] * sizes["heads"] * sizes["parts"]
    work = sizes["part"] * sizes["keys"] * (sizes["size"] + sizes["vsize"])
    grain = max(1, units // (8 * get_num_threads()), min(units, 100_000 // max(work, 1)))
    table = np.array([values[f] for f in variant.fields()], np.int64)
    room = empty((slot // item * -(-units // grain),), np.dtype(name))
    given = {**arrays, "room": room, "table": table}
    kernel(variant)(*[given[a] for a in variant.arrays], units, work, grain, slot, scale)


def _up(a: int, unit: int) -> int:
    return -(-a // unit) * unit


def _rows(x: Array) -> Array:
    """With contiguous rows."""
    good = x.strides[3] == x.itemsize and x.flags.aligned and all(s >= 0 for s in x.strides)
    return x if good else np.ascontiguousarray(x)


def _outputs(x: Array, size: int) -> Array:
    """Memory for a result of the shape (batch, heads, length, size), with the heads of a place side by side."""
    batch, heads, length, _ = x.shape
    return empty((batch, length, heads, size), x.dtype).transpose(0, 2, 1, 3)


def _check(q: Array, k: Array, v: Array) -> str:
    name: str = q.dtype.name
    if name not in ("float32", "float64") or k.dtype != q.dtype or v.dtype != q.dtype:
        raise TypeError(
            f"q, k and v must be float32 or float64 alike, got {q.dtype}, {k.dtype} and {v.dtype}"
        )
    if (
        not q.ndim == k.ndim == v.ndim == 4
        or k.shape[:3] != v.shape[:3]
        or q.shape[:2] != k.shape[:2]
        or q.shape[3] != k.shape[3]
        or 0 in (*q.shape, *v.shape)
    ):
        raise ValueError(
            "q, k and v must have shapes (batch, heads, length, size), not empty, with equal sizes where they meet; got "
            f"{q.shape}, {k.shape} and {v.shape}"
        )
    return name


def _over(x: Array, shape: tuple[int, ...], what: str, dtypes: tuple[Any, ...]) -> Array:
    """`x` as an array of `shape` whose queries or keys are neighbours in memory, sharing it where that is so.

    Raises: TypeError or ValueError for one that does not fit.
    """
    if x.dtype not in dtypes:
        wanted = " or ".join(str(np.dtype(d)) for d in dtypes)
        raise TypeError(f"the {what} must be {wanted}, got {x.dtype}")
    if x.ndim != 4 or any(n not in (1, m) for n, m in zip(x.shape, shape)):
        raise ValueError(f"the {what} must broadcast to {shape}, got {x.shape}")

    def good(y: Array) -> bool:
        return y.flags.aligned and all(s >= 0 for s in y.strides) and y.itemsize in y.strides[2:]

    y = np.broadcast_to(x, shape)
    if not good(y):
        y = np.broadcast_to(np.ascontiguousarray(x), shape)
    if not good(y):
        y = np.broadcast_to(np.ascontiguousarray(np.broadcast_to(x, (*x.shape[:3], shape[3]))), shape)
    return y


def _extras(q: Array, k: Array, mask: Array | None, drop: Array | None) -> dict[str, Array]:
    shape = (*q.shape[:3], k.shape[2])
    found = {}
    if mask is not None:
        found["mask"] = _over(mask, shape, "mask", (np.bool_, q.dtype))
    if drop is not None:
        found["drop"] = _over(drop, shape, "array of what is kept", (np.bool_,))
    return found


def attention(
    q: Array,
    k: Array,
    v: Array,
    scale: float,
    causal: bool = False,
    mask: Array | None = None,
    drop: Array | None = None,
    kept: float = 1.0,
    shift: int = 0,
) -> tuple[Array, Array]:
    """``softmax(q k^T * scale + mask) v`` and the logarithm of each query's sum of exponentials.

    Args:
        q: (batch, heads, queries, size), float32 or float64.
        k: (batch, heads, keys, size).
        v: (batch, heads, keys, values); all with any strides.
        causal: query i sees the keys up to i + `shift`.
        mask: what is added to the scores, or bools that say which keys a query sees; it broadcasts to (batch, heads,
            queries, keys). The result of a query that sees nothing is zero, its log-sum infinite.
        drop: bools that say which weights are kept, and multiplied by `kept`, after the softmax.

    Returns the result, (batch, heads, queries, values), laid out as (batch, queries, heads, values), and (batch,
    heads, queries).

    Raises: TypeError for other dtypes; ValueError for shapes that do not belong together, or an empty array.

    >>> import numpy as np
    >>> from flambeau.compiler.attention import attention
    >>> q = k = v = np.eye(2)[None, None]
    >>> attention(q, k, v, 1.0, causal=True)[0][0, 0].round(3)
    array([[1.   , 0.   ],
           [0.269, 0.731]])
    """
    name = _check(q, k, v)
    q, k, v = _rows(q), _rows(k), _rows(v)
    batch, heads, queries, size = q.shape
    keys, vsize = k.shape[2], v.shape[3]
    height, width, lanes = panel_sizes(name)
    # Parts of the queries of a head, where the heads alone are too few for all threads.
    parts = max(1, min(queries // _ENOUGH, -(-4 * get_num_threads() // (batch * heads))))
    part = _up(-(-queries // parts), width)
    sizes = {
        **{"batch": batch, "heads": heads, "parts": -(-queries // part), "part": part, "queries": queries},
        **{"keys": keys, "size": size, "vsize": vsize, "causal": int(causal), "shift": shift},
    }
    rooms = {
        "kpanels": -(-keys // height) * (size * height + lanes),
        "vpanels": -(-vsize // height) * (keys * height + lanes),
        "qpanel": size * width + lanes,
        "s": (block_keys(name) + height) * width,
        "sum": _up(_up(vsize, height), lanes) * width,
    }
    o = _outputs(q, vsize)
    lse: Array = np.empty((batch, heads, queries), q.dtype)
    arrays = {"o": o, "lse": lse, "q": q, "k": k, "v": v, **_extras(q, k, mask, drop)}
    _launch(name, arrays, sizes, rooms, scale, kept)
    return o, lse


def attention_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    o: Array,
    lse: Array,
    scale: float,
    causal: bool = False,
    mask: Array | None = None,
    drop: Array | None = None,
    kept: float = 1.0,
    shift: int = 0,
    mask_grad: Array | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v, from that of the result and what `attention` returned.

    That of the mask is added to `mask_grad`, an array of the mask's shape but with all keys.

    Raises: as `attention`; ValueError for `g`, `o`, `lse` and `mask_grad` that do not fit.
    """
    name = _check(q, k, v)
    shape = (*q.shape[:3], v.shape[3])
    if (
        g.shape != shape
        or o.shape != shape
        or lse.shape != shape[:3]
        or not g.dtype == o.dtype == lse.dtype == q.dtype
    ):
        raise ValueError(
            f"the result and its gradient must have shape {shape}, the log-sums {shape[:3]}, all of {q.dtype}; got "
            f"{o.shape} {o.dtype}, {g.shape} {g.dtype} and {lse.shape} {lse.dtype}"
        )
    g, q, k, v, o = (_rows(x) for x in (g, q, k, v, o))
    batch, heads, queries, size = q.shape
    keys, vsize = k.shape[2], v.shape[3]
    height, width, lanes = panel_sizes(name)
    sizes = {
        **{"batch": batch, "heads": heads, "parts": 1, "part": queries, "queries": queries},
        **{"keys": keys, "size": size, "vsize": vsize, "causal": int(causal), "shift": shift},
    }
    panels, groups = -(-keys // height), -(-keys // width)
    tall, vtall = (_up(n, height * lanes) for n in (size, vsize))
    rooms = {
        "kpanels": panels * (size * height + lanes),
        "vpanels": panels * (vsize * height + lanes),
        "kturned": -(-size // height) * (keys * height + lanes),
        "qpanel": size * width + lanes,
        "gpanel": vsize * width + lanes,
        "opanel": vsize * width + lanes,
        "qturned": -(-size // height) * (width * height + lanes),
        "gturned": -(-vsize // height) * (width * height + lanes),
        "s": (block_keys(name) + height) * width,
        "t": (block_keys(name) + height) * width,
        "turned": width * width + lanes,
        "sum": tall * width,
        "ksums": groups * tall * width,
        "vsums": groups * vtall * width,
    }
    found = _outputs(q, size), _outputs(k, size), _outputs(v, vsize)
    arrays = {**dict(zip(("dq", "dk", "dv"), found, strict=True)), "g": g, "q": q, "k": k, "v": v, "o": o}
    arrays |= {"lse": lse, **_extras(q, k, mask, drop)}
    if mask_grad is None:
        _launch(name, {**arrays, "lse": np.ascontiguousarray(lse)}, sizes, rooms, scale, kept)
        return found
    if mask is None or mask_grad.shape != (*mask.shape[:3], keys) or mask_grad.dtype != q.dtype:
        wanted = None if mask is None else (*mask.shape[:3], keys)
        raise ValueError(
            f"the mask's gradient must have shape {wanted} and dtype {q.dtype}, got {mask_grad.shape} and "
            f"{mask_grad.dtype}"
        )
    item = mask_grad.itemsize
    for part, target in _turns(
        arrays, mask_grad
    ):  # rows of a mask that serves all queries are added in one place
        steps = target.strides if target.shape[2] == queries else (*target.strides[:2], 0, item)
        whole = np.lib.stride_tricks.as_strided(target, (*target.shape[:2], queries, keys), steps)
        part["lse"] = np.ascontiguousarray(part["lse"])
        lead = {"batch": part["q"].shape[0], "heads": part["q"].shape[1]}
        _launch(name, {**part, "dmask": whole}, sizes | lead, rooms, scale, kept)
    return found


def _turns(arrays: dict[str, Array], total: Array) -> Iterator[tuple[dict[str, Array], Array]]:
    """Parts of the batch and heads whose mask gradients can be added at the same time, with an array for those.

    A mask that serves many of them gets as many arrays as there are threads, which are added at the end.
    """
    lead = arrays["q"].shape[:2]
    shared = [total.shape[d] == 1 and lead[d] > 1 for d in range(2)]
    if not any(shared):
        yield arrays, total
        return
    axis = max((d for d in range(2) if shared[d]), key=lambda d: lead[d])
    copies = min(lead[axis], get_num_threads())
    shape = list(total.shape)
    shape[axis] = copies
    sums = np.zeros(shape, total.dtype) if copies > 1 else total
    rounds = range(lead[1 - axis]) if shared[1 - axis] else range(1)
    for other in rounds:
        for start in range(0, lead[axis], copies):
            count = min(copies, lead[axis] - start)
            where = [slice(None), slice(None)]
            where[axis] = slice(start, start + count)
            if shared[1 - axis]:
                where[1 - axis] = slice(other, other + 1)
            room = [slice(None), slice(None)]
            room[axis] = slice(count)
            yield {a: x[tuple(where)] for a, x in arrays.items()}, sums[tuple(room)]
    if sums is not total:
        total += sums.sum(axis=axis, keepdims=True)
