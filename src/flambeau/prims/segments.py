"""Bags of rows: which bag a position belongs to, and which row of a bag holds its maximum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import families as fam


def _bag_of(offsets: Any, *, count: int) -> Any:
    """(..., bags) of the first position of each bag to (..., count) bags of the positions."""
    lead = offsets.shape[:-1]
    examples = math.prod(lead)
    places = np.minimum(offsets, count).reshape(examples, -1) + (count + 1) * np.arange(examples)[:, None]
    begun = np.bincount(places.reshape(-1), minlength=examples * (count + 1)).reshape(*lead, count + 1)
    return begun[..., :count].cumsum(-1) - 1


def _segment_argmax(x: Any, bag: Any, keep: Any, *, bags: int) -> Any:
    """Row of the maximum of each bag and column: x (..., n, d), bag and keep (..., n); -1 for bags without a row."""
    lead, (n, d) = x.shape[:-2], x.shape[-2:]
    examples = math.prod(lead)
    example = np.repeat(np.arange(examples), n)
    bag = bag.reshape(-1) + bags * example
    out = np.full((examples * bags, d), -1, np.int64)
    rows = np.flatnonzero(keep.reshape(-1))
    rows = rows[np.argsort(bag[rows], kind="stable")]
    if rows.size and d:
        ordered = x.reshape(-1, d)[rows]
        starts = np.flatnonzero(np.diff(bag[rows], prepend=-1))
        best = np.maximum.reduceat(ordered, starts, axis=0)  # NaN where there is one
        best = np.repeat(best, np.diff(starts, append=rows.size), axis=0)
        hit = (ordered == best) | np.isnan(ordered)
        first = np.where(hit, (rows - n * example[rows])[:, None], n)
        out[bag[rows[starts]]] = np.minimum.reduceat(first, starts, axis=0)
    return out.reshape(*lead, bags, d)


bag_of_op = fam.opaque_op(_bag_of, None, name="bag_of", differentiable=False)
segment_argmax_op = fam.opaque_op(_segment_argmax, None, name="segment_argmax", differentiable=False)
