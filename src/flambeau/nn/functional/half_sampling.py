"""Multilinear interpolation of 16-bit images at given places, in the order of PyTorch's steps.

Its gradients are rounded after each term: that of a pixel in the `visits` of its places, that of a coordinate channel
by channel. Other dtypes take the composite in `vision`, which says the same.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from ...core import families as fam
from ...core.public import FUNCTIONS
from ...core.tape import helpers
from ...core.tensor import Tensor

__all__ = ["corners_of", "half_corners_op", "visits"]

BLOCK = 16  # places that PyTorch's kernel for two dims takes at once


def corners_of(n: int) -> list[tuple[int, ...]]:
    """The corners of a cell of n dims, along the last dim first."""
    return list(itertools.product((0, 1), repeat=n))


def visits(places: int, n: int) -> Any:
    """The order in which the pairs (place, corner) are added to the gradient of the image, as flat positions.

    In three dims place by place, for which this is None; in two block by block, and there corner by corner.
    """
    if n != 2:
        return None
    flat = np.arange(places * 2**n).reshape(places, 2**n)
    blocks = [flat[i : i + BLOCK].T.reshape(-1) for i in range(0, places, BLOCK)]
    return np.concatenate(blocks) if blocks else flat.reshape(-1)


def _shares(t: Tensor) -> list[tuple[Any, Any]]:
    """For each dim, the shares of the lower and the upper corners."""
    parts = [FUNCTIONS["select"](t, -2, d).unsqueeze(-2) for d in range(t._a.shape[-2])]
    return [(1 - x, x) for x in parts]


def _weight(shares: Any, corner: tuple[int, ...], start: Any = None, but: int | None = None) -> Any:
    """`start` times the shares of a corner, those of the last dim first and without the dim `but`."""
    factors = [shares[d][c] for d, c in enumerate(corner) if d != but][::-1]
    factors = factors if start is None else [start, *factors]
    return functools.reduce(lambda a, b: a * b, factors)


def _half_corners(found: Any, t: Any) -> Any:
    shares = [(1 - t[..., d : d + 1, :], t[..., d : d + 1, :]) for d in range(t.shape[-2])]
    with np.errstate(all="ignore"):
        parts = [found[..., k, :, :] * _weight(shares, c) for k, c in enumerate(corners_of(len(shares)))]
        return np.asarray(functools.reduce(lambda a, b: a + b, parts))


def _vjp(g: Tensor, inputs: Any, needs: Any) -> list[Any]:
    found, t = inputs
    shares = _shares(t)
    corners = corners_of(len(shares))
    of_found = FUNCTIONS["stack"]([g * _weight(shares, c) for c in corners], -3) if needs[0] else None
    return [of_found, FUNCTIONS["stack"](_slopes(g, found, shares), -2) if needs[1] else None]


def _slopes(g: Tensor, found: Tensor, shares: Any) -> list[Any]:
    """The gradient of each of the fractions: sums over the channels, rounded after each term."""
    select = FUNCTIONS["select"]
    pixels = [select(found, -3, k) for k in range(found._a.shape[-3])]
    corners = corners_of(len(shares))
    totals = []
    for d in range(len(shares)):
        if len(shares) == 2:
            a, b, c, e = pixels if d else (pixels[0], pixels[2], pixels[1], pixels[3])
            low, high = shares[1 - d]
            terms = [((b - a) * low + (e - c) * high) * g]
        else:
            terms = [_weight(shares, c, x, d) * g for c, x in zip(corners, pixels)]
            terms = [t if c[d] else -t for c, t in zip(corners, terms)]
        each = [select(term, -2, c) for c in range(g._a.shape[-2]) for term in terms]
        totals.append(functools.reduce(helpers["add"], each) if each else g.sum(-2))
    return totals


def _jvp(ts: Any, xs: Any, y: Any, params: Any) -> Any:
    (tf, tt), (found, t) = ts, xs
    parts = [] if tf is None else [half_corners_op(tf, t)]
    if tt is not None:
        shares, select = _shares(t), FUNCTIONS["select"]
        for k, corner in enumerate(corners_of(len(shares))):
            for d, upper in enumerate(corner):
                along = select(tt, -2, d).unsqueeze(-2)
                parts.append(_weight(shares, corner, select(found, -3, k), d) * (along if upper else -along))
    return functools.reduce(helpers["add"], parts)


# found (..., corners, channels, places), the pixels around each place, and t (..., dims, places), how far it is from the
# lower ones, give (..., channels, places)
half_corners_op: Any = fam.opaque_op(_half_corners, _vjp, name="half_corners", jvp=_jvp)
