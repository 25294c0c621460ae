"""Calls that come down to the same few operations are remembered, by shapes, dtypes and other arguments.

What a function like `sum` checks before its operation runs, and which parameters it finds, depends on the layout of its
tensors and on its other arguments, not on values. For tensors without history, the operations of a call are noted
the second time that a layout is seen, and from then on only their implementations run. Whatever is special (gradients,
transforms, modes, subclasses, errors) goes the whole way.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from .state import everyone, tls
from .tensor import Tensor, make_view, new_object

__all__ = ["ONE_WAY", "remembering"]

# Functions whose way depends on nothing else. Those that look at values, draw, or name nodes by chance are not here.
ONE_WAY = frozenset(
    """
    all amax amin any argmax argmin argsort bmm cat count_nonzero cumprod cumsum diag diagonal dot expand flatten flip
    gather index_add index_select kthvalue linalg_norm linalg_vector_norm log_softmax logsumexp masked_fill matmul max
    median min mm movedim mv narrow nonzero norm permute prod repeat reshape roll scatter scatter_add select softmax sort
    squeeze stack sum t take_along_dim tile topk transpose tril triu unsqueeze view where
    """.split()
)
KEPT = 512  # layouts of a function
_PLAIN = (int, float, bool, str, type(None))
ndarray, asarray = np.ndarray, np.asarray
SEEN = object()


class Way:
    """The operations of a call: each with the places of its inputs among the call's tensors and earlier results."""

    __slots__ = ("steps", "results", "make", "impl", "params", "view")
    impl: Any

    def __init__(self, steps: list[Any], results: Any, make: Any) -> None:
        self.steps = steps
        self.results = results  # the place of the result, or of each of several
        self.make = make
        op, places, params = steps[0]
        single = len(steps) == 1 and make is None and op.n_out == 1
        # One operation on the call's tensors in their order, which is nearly all there is, is called directly.
        self.impl = op.impl if single and places == tuple(range(len(places))) else None
        self.params = params
        self.view = op if op.is_view else None

    def run(self, arrays: list[Any], first: Any) -> Any:
        """The result of all steps; `first` is the tensor that a view is one of."""
        if self.impl is not None:
            t = _made(self.impl(*arrays, **self.params))
            return t if self.view is None else make_view(t, first, self.view, self.params)
        values = [*arrays]
        for op, places, params in self.steps:
            found = op.impl(*[values[p] if type(p) is int else p[0] for p in places], **params)
            if op.n_out == 1:
                values.append(found)
            else:
                values.extend(found)
        if self.make is None:
            return _made(values[self.results])
        made = [_made(values[p]) for p in self.results]
        return made if self.make is list else tuple(made) if self.make is tuple else self.make(*made)


def _made(a: Any) -> Tensor:
    t = new_object(Tensor)
    t._a = a if type(a) is ndarray else asarray(a)
    t._node = t._st = t._base = None
    return t


MEMORIES: list[dict[Any, Any]] = []


def forget() -> None:
    """Forget all ways: something has changed that they depend on."""
    for ways in MEMORIES:
        ways.clear()


def remembering(slow: Callable[..., Any], overrides: list[type]) -> Callable[..., Any]:
    """`slow`, a function of `ONE_WAY`, with a memory of how its calls went; `overrides` is empty in ordinary programs."""
    ways: dict[Any, Any] = {}
    ones: dict[Any, Way] = {}  # the same for calls with one tensor alone, with an int, with another tensor
    ints: dict[Any, Way] = {}
    pairs: dict[Any, Way] = {}
    MEMORIES.extend((ways, ones, ints, pairs))

    @functools.wraps(slow)
    def quick(*args: Any, **kwargs: Any) -> Any:
        if not kwargs and args and type(args[0]) is Tensor:
            try:
                x = args[0]
                a = x._a
                if type(a) is ndarray and x._node is None:
                    way = None
                    n = len(args)
                    if n == 2:
                        b = args[1]
                        kind = type(b)
                        if kind is int:
                            way = ints.get((a.dtype, a.shape, a.strides, b))
                        elif kind is Tensor:
                            c = b._a
                            if b._node is None and type(c) is ndarray:
                                way = pairs.get((a.dtype, a.shape, a.strides, c.dtype, c.shape, c.strides))
                                if (
                                    way is not None
                                    and not overrides
                                    and everyone.listener is None
                                    and (everyone.plain or tls.mode)
                                ):
                                    r = way.impl(a, c, **way.params)
                                    t = new_object(Tensor)
                                    t._a = r if type(r) is ndarray else asarray(r)
                                    t._node = t._st = t._base = None
                                    return t
                                way = None
                    elif n == 1:
                        way = ones.get((a.dtype, a.shape, a.strides))
                    if (
                        way is not None
                        and not overrides
                        and everyone.listener is None
                        and (everyone.plain or tls.mode)
                    ):
                        r = way.impl(a, **way.params)
                        t = new_object(Tensor)
                        t._a = r if type(r) is ndarray else asarray(r)
                        t._node = None
                        if way.view is not None:
                            return make_view(t, x, way.view, way.params)
                        t._st = t._base = None
                        return t
            except Exception:  # the whole way says it in its own words
                return slow(*args, **kwargs)
        if overrides or everyone.listener is not None or not args or not (everyone.plain or tls.mode):
            return slow(*args, **kwargs)
        arrays: list[Any] = []
        key = _key(args, kwargs, arrays)
        if key is None:
            return slow(*args, **kwargs)
        way = ways.get(key)
        if way.__class__ is not Way:
            if way is None:
                if len(ways) >= KEPT:
                    for memory in (ways, ones, ints, pairs):
                        memory.clear()
                ways[key] = SEEN
            elif way is SEEN:
                return _learn(ways, key, slow, args, kwargs)
            return slow(*args, **kwargs)
        if way.impl is not None and not kwargs:
            a = arrays[0]
            if len(args) == 1:
                ones[a.dtype, a.shape, a.strides] = way
            elif len(args) == 2 and type(args[1]) is int:
                ints[a.dtype, a.shape, a.strides, args[1]] = way
            elif len(args) == 2 and type(args[1]) is Tensor and way.view is None and len(arrays) == 2:
                c = arrays[1]
                pairs[a.dtype, a.shape, a.strides, c.dtype, c.shape, c.strides] = way
        try:
            return way.run(arrays, args[0])
        except Exception:
            return slow(*args, **kwargs)

    return quick


def _key(args: Any, kwargs: Any, arrays: list[Any]) -> tuple[Any, ...] | None:
    """What a call's way depends on, and its tensors' arrays in `arrays`; None for calls that go the whole way."""
    key: list[Any] = []
    for x in args:
        kind = type(x)
        if kind is Tensor:
            a = x._a
            if type(a) is not ndarray or x._node is not None:
                return None
            arrays.append(a)
            key += a.dtype, a.shape, a.strides
        elif kind in _PLAIN:
            if x == 0.0 and kind is float:  # which may be -0.0
                return None
            key += x, kind
        elif (kind is tuple or kind is list) and len(x) < 9:
            key.append(kind)
            for y in x:
                if type(y) is Tensor:
                    a = y._a
                    if type(a) is not ndarray or y._node is not None:
                        return None
                    arrays.append(a)
                    key += a.dtype, a.shape, a.strides
                elif type(y) is int:
                    key.append(y)
                else:
                    return None
        else:
            return None
    for name, x in kwargs.items():
        if type(x) not in _PLAIN or x == 0.0 and type(x) is float:
            return None
        key += name, x, type(x)
    return tuple(key)


def _learn(ways: dict[Any, Any], key: Any, slow: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Make the call, and note how it went."""
    here, steps = threading.get_ident(), []

    def note(op: Any, inputs: Any, params: Any, out: Any) -> None:
        if threading.get_ident() == here:
            steps.append((op, inputs, params, out))

    if everyone.listener is not None:  # another thread is at it
        return slow(*args, **kwargs)
    args = _apart(args)
    everyone.listener = note
    try:
        result = slow(*args, **kwargs)
    finally:
        everyone.listener = None
    way = _way(args, steps, result)
    ways[key] = way if way is not None and _right(way, args, kwargs, result) else False
    return result


def _right(way: Way, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether the way gives this result once more, to the last bit."""
    arrays: list[Any] = []
    if _key(args, kwargs, arrays) is None:
        return False
    try:
        again = way.run(arrays, args[0])
    except Exception:
        return False
    if type(again) is not type(result):
        return False
    pairs = zip(result, again) if isinstance(result, (tuple, list)) else ((result, again),)
    return all(
        a._a.dtype == b._a.dtype and a._a.strides == b._a.strides and a._a.shape == b._a.shape
        and a._a.tobytes() == b._a.tobytes()
        for a, b in pairs
    )  # fmt: skip


def _apart(args: Any) -> Any:
    """The arguments with another handle for a tensor that comes again: another call may have two there."""
    met: set[int] = set()

    def one(x: Any) -> Any:
        if type(x) in (tuple, list):
            return type(x)([one(y) for y in x])
        if type(x) is Tensor:
            if id(x) in met:
                return _made(x._a)
            met.add(id(x))
        return x

    return tuple([one(x) for x in args])


def _way(args: Any, steps: list[Any], result: Any) -> Way | None:
    """What was noted as a `Way`, or None where something else than the steps had a part in the result."""
    known: dict[int, int] = {}
    keep: list[Any] = []
    for x in args:
        for y in x if type(x) in (tuple, list) else (x,):
            if type(y) is Tensor:
                known.setdefault(id(y), len(keep))
                keep.append(y)
    made = []
    for op, inputs, params, out in steps:
        if (
            op.family == "random"
            or op.is_view
            and out is result
            and (len(steps) > 1 or inputs[0] is not args[0])
        ):
            return None
        places: list[Any] = []
        for x in inputs:
            if isinstance(x, Tensor):
                if id(x) not in known:
                    return None
                places.append(known[id(x)])
            elif type(x) in _PLAIN:
                places.append((x,))
            else:
                return None
        if not all(_fixed(v) for v in params.values()):
            return None
        made.append((op, tuple(places), params))
        for y in (out,) if op.n_out == 1 else out:
            known[id(y)] = len(keep)
            keep.append(y)
    if not made:
        return None
    first = len(keep) - sum([op.n_out for op, _, _ in made])
    if type(result) is Tensor:
        at = known.get(id(result), -1)
        return Way(made, at, None) if at >= first else None
    if not isinstance(result, (tuple, list)) or any(known.get(id(t), -1) < first for t in result):
        return None
    if any(op.is_view for op, _, _ in made):
        return None
    return Way(made, [known[id(t)] for t in result], type(result))


def _fixed(v: Any) -> bool:
    """Whether a parameter is a value, not an object that may change."""
    if type(v) in (tuple, slice):
        return all(_fixed(x) for x in ((v.start, v.stop, v.step) if type(v) is slice else v))
    return type(v) in _PLAIN or isinstance(v, (np.dtype, type(Ellipsis)))
