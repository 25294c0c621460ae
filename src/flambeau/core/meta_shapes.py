"""What an operation on meta tensors gives: the shape, dtype and strides of its results, and nothing else.

There is no second implementation of what an operation does that could disagree with the first.  It runs, on arrays whose
sizes have been cut: each size n above a bound becomes a small number of its own, equal sizes equal ones and in the same
order, so that broadcasting, products and reductions meet what they would have met.  A size of the result is then the
size whose number it is.  Two runs with different numbers have to agree; what is the same in both is a size that does
not depend on the inputs (the k of topk).  `PASSING` has the operations whose results have only such sizes.

Where sizes are computed (a convolution, concatenation), `rule` gives the shape as a formula, and the order of the dims
in memory is that of the cut run.  Views are run on an array with the right strides and no memory, which is never read.

What is in neither group runs as it is when its arguments are small, and raises NotImplementedError otherwise; so does
what depends on values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime import mt19937
from .meta import Layout, contiguous_strides, payload
from .pending import Pending
from .tensor import Tensor

if TYPE_CHECKING:
    from .op import Op

__all__ = ["layouts", "rule", "view_of"]

# Every size of their results is one of their inputs', or given by a parameter.
PASSING = frozenset(
    """
    cast convert clone clone_keep flip roll matmul dot linalg_cross linear half_mean half_dist half_norm softmax_grad
    log_softmax_grad softmax log_softmax cross_entropy_grad cross_entropy variance deviation standardize_grad standardize
    frexp_exponent frexp_mantissa hash_tensor triangle fft_c2c searchsorted isin histc inv linalg_solve solve_triangular
    cholesky cholesky_inverse lu_info cholesky_info regular_inverse cofactor det slogdet matrix_exp lu_factor
    qr geqrf eigh eigvalsh eig eigvals svd svdvals pinv ldl_factor half_product cumsum cumprod argmedian
    argsort argcum logcumsumexp mode gather scatter reduce_at dirichlet_draw nll mean_of_counted shares_of_counted
    half_binary_cross_entropy half_square_error half_huber half_logits_loss attention attention_grad masked_attention
    masked_attention_grad half_trilinear half_corners batch_moments batch_norm_whole batch_norm_grad batch_norm half_standardize
    half_standardize_grad layer_norm rms_norm index_put
    """.split()
)
# Sizes of the results, or whether there is one, are for values to say.
BY_VALUES = frozenset("nonzero argwhere bincount weighted_bincount if_full_rank".split())

SMALL = 1 << 12  # elements of the arguments, up to which an operation without a rule runs as it is
BOUNDS = (
    (1, 4),
    (16, 21),
    (128, 136),
)  # sizes up to these stay: in pairs, the next where the one before is too small
FEW = 1 << 21  # elements of cut arguments, above which cutting has not helped
Rule = Callable[[Sequence[Any], dict[str, Any]], Sequence[Any]]  # a shape, or a whole Layout, for each result
_RULES: dict[str, Rule] = {}
_learnt: dict[Any, list[Layout]] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: (arguments, parameters) -> the shapes of the results of the operations of these names."""

    def keep(fn: Rule) -> Rule:
        for name in names:
            _RULES[name] = fn
        return fn

    return keep


def refusal(op: Op, args: Sequence[Any], why: str) -> NotImplementedError:
    """The error for what has no result on the meta device."""
    shapes = ", ".join(str(list(x._a.shape)) for x in args if isinstance(x, Tensor))
    return NotImplementedError(
        f"{op.name}: attempted to run this operator with Meta tensors (shapes {shapes}), but {why}. Run it on tensors "
        "with data (device='cpu'), or leave it out while shapes are all that is wanted"
    )


# ------------------------------------------------------------------------------------------------------------- views


def view_of(op: Op, a: Pending, params: dict[str, Any]) -> Pending:
    """The payload of a view of a meta tensor."""
    name = op.name
    if name == "as_strided":
        item = a.dtype.itemsize
        shape, strides = tuple(params["size"]), tuple([s * item for s in params["stride"]])
        return payload(shape, a.dtype, strides, a.slot + params["offset"] * item)
    memory = np.zeros(1, a.dtype)
    x = np.lib.stride_tricks.as_strided(memory, a.shape, a.strides)
    if name == "view" and not _viewable(x, tuple(params["shape"])):
        raise RuntimeError(
            f"view: a tensor of shape {list(a.shape)} and these strides cannot be seen as {list(params['shape'])} without "
            "a copy. Use .reshape(...) instead."
        )
    y = op.impl(x, **params)
    start = memory.__array_interface__["data"][0]
    offset = y.__array_interface__["data"][0] - start if y.size else 0
    return payload(y.shape, y.dtype, y.strides, a.slot + offset)


def _viewable(x: Any, shape: tuple[int, ...]) -> bool:
    if x.flags.c_contiguous:
        return True
    try:
        x.view().shape = shape
    except AttributeError:
        return False
    return True


# ------------------------------------------------------------------------------------------------- results of its own


def layouts(op: Op, args: Sequence[Any], params: dict[str, Any]) -> list[Layout]:
    """Shape, dtype and strides of each result of an operation that makes no view."""
    name = op.name
    if name in BY_VALUES:
        raise refusal(op, args, "the shape of its result depends on values, which they do not have")
    found: Any = _key(op, args, params)
    if found is not None and (known := _learnt.get(found)) is not None:
        return known
    result = _find(op, args, params)
    if found is not None:
        if len(_learnt) >= 4096:
            _learnt.clear()
        _learnt[found] = result
    return result


def _key(op: Op, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """What the result depends on, if that can be said."""
    try:
        parts: list[Any] = [id(op.impl), op.name]
        for x in args:
            parts.append((x._a.shape, x._a.dtype, x._a.strides) if isinstance(x, Tensor) else (type(x),))
        if "generator" in params:
            params = {k: v for k, v in params.items() if k != "generator"}
        key = (*parts, *params.items())
        hash(key)
    except TypeError:  # a parameter that is a slice or an array
        return None
    return key


def _find(op: Op, args: Sequence[Any], params: dict[str, Any]) -> list[Layout]:
    name = op.name
    if op.family == "random":
        return _drawn(op, args, params)
    if name.endswith("_adjoint") and "base_shape" in params:
        return [(tuple(params["base_shape"]), args[0]._a.dtype, None)]
    if name.endswith("_put") and name != "index_put":
        return [(args[0]._a.shape, args[0]._a.dtype, None)]
    if name == "reshape_copy":
        return [(tuple(params["shape"]), args[0]._a.dtype, None)]
    _load_rules()
    formula = _RULES.get(name)
    if formula is not None:
        return _by_formula(op, args, params, formula)
    if op.family in ("pointwise", "reduction") or name in PASSING:
        for bounds in BOUNDS:
            try:
                return _learn(op, args, params, bounds)
            except _Unclear as e:
                reason = str(e)
    else:
        reason = "its result's shape has no rule"
    if sum([math.prod(x._a.shape) for x in args if isinstance(x, Tensor)]) <= SMALL:
        try:
            return [(r.shape, r.dtype, r.strides) for r in _results(op, args, params, None)]
        except (RuntimeError, ValueError, IndexError) as e:
            raise refusal(op, args, f"on zeros and ones in their place it says {str(e)!r}") from None
    raise refusal(op, args, f"{reason}, and they are too large to run it on zeros")


def _load_rules() -> None:
    if not _RULES:
        from . import meta_rules  # noqa: F401


class _Unclear(Exception):
    """The cut runs do not say which size a result has."""


def _drawn(op: Op, args: Sequence[Any], params: dict[str, Any]) -> list[Layout]:
    first: Any = args[0]._a
    if op.name == "random_multinomial":
        return [((*first.shape[:-1], params["num_samples"]), np.dtype(np.int64), None)]
    shape = params["shape"] if "shape" in params else np.broadcast_shapes(*[x._a.shape for x in args])
    return [(tuple(shape), params.get("dtype") or first.dtype, None)]


def _by_formula(op: Op, args: Sequence[Any], params: dict[str, Any], formula: Rule) -> list[Layout]:
    found = formula(args, params)
    return [x if x and isinstance(x[0], tuple) else (tuple(x), args[0]._a.dtype, None) for x in found]


def _learn(op: Op, args: Sequence[Any], params: dict[str, Any], bounds: tuple[int, int]) -> list[Layout]:
    """The layouts of results whose sizes are those of inputs, or given."""
    sizes = sorted({n for x in args if isinstance(x, Tensor) for n in x._a.shape})
    runs = []
    for bound in bounds:
        large = [n for n in sizes if n > bound]
        cut = {n: bound + 1 + i for i, n in enumerate(large)} | {n: n for n in sizes if n <= bound}
        total = sum([math.prod([cut[n] for n in x._a.shape]) for x in args if isinstance(x, Tensor)])
        if total > FEW:
            raise _Unclear("its arguments have many dims")
        try:
            runs.append((cut, _results(op, args, params, cut)))
        except (RuntimeError, ValueError, IndexError, TypeError) as e:
            raise _Unclear(f"on smaller ones it says {str(e)!r}") from None
        if not large:
            break
    layouts: list[Layout] = []
    for k, r in enumerate(runs[0][1]):
        shape = []
        for d, n in enumerate(r.shape):
            if len(runs) == 1:
                shape.append(n)
                continue
            other = runs[1][1][k].shape[d]
            meant = [{v: u for u, v in cut.items()}.get(m) for (cut, _), m in zip(runs, (n, other))]
            if meant[0] is not None and meant[0] == meant[1]:
                shape.append(meant[0])
            elif n == other:
                shape.append(n)
            else:
                raise _Unclear("a size of its result is none of theirs")
        layouts.append((tuple(shape), r.dtype, stretched(r, tuple(shape))))
    return layouts


def stretched(small: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array of this shape whose dims lie in memory in the order of those of `small`."""
    strides = [0] * len(shape)
    step = small.dtype.itemsize
    if small.flags.c_contiguous or 0 in shape:
        return contiguous_strides(shape, step)
    order = sorted(range(len(shape)), key=lambda d: (small.strides[d], small.shape[d] != 1, -d))
    for d in order:
        if small.strides[d] == 0 and small.shape[d] != 1:
            continue  # expanded
        strides[d] = step
        step *= shape[d]
    return tuple(strides)


def _results(op: Op, args: Sequence[Any], params: dict[str, Any], cut: dict[int, int] | None) -> list[Any]:
    """The arrays that the operation gives for cut arguments."""
    if isinstance(params.get("generator"), mt19937.Generator):
        params = {**params, "generator": mt19937.Generator()}  # nothing is drawn from the program's
    arrays = [stand_in(x._a, cut) if isinstance(x, Tensor) else x for x in args]
    with np.errstate(all="ignore"):
        found = op.impl(*arrays, **params)
    return [np.asarray(r) for r in ((found,) if op.n_out == 1 else found)]


def stand_in(a: Any, cut: dict[int, int] | None = None) -> Any:
    """An array with the layout of `a`, whose sizes are cut: ones, identity matrices, or zeros for what may be indices."""
    if type(a) is not Pending and not a.shape:
        return a
    shape = a.shape if cut is None else tuple([cut[n] for n in a.shape])
    order = sorted(range(len(shape)), key=lambda d: (a.strides[d], a.shape[d] != 1, -d))
    item = a.dtype.itemsize
    strides, step, expected = [0] * len(shape), 1, item
    for d in order:
        if a.strides[d] == 0:
            continue
        if a.shape[d] != 1 and a.strides[d] > expected:
            step *= 2  # a gap in memory
        strides[d] = step * item
        step *= max(shape[d], 1)
        expected = max(a.strides[d], item) * max(a.shape[d], 1)
    memory = np.zeros(max(step, 1), a.dtype)
    x = np.lib.stride_tricks.as_strided(memory, shape, strides)
    if a.dtype.kind in "fcV" and x.size:
        if len(shape) > 1:
            i = np.arange(min(shape[-2:]))
            x[..., i, i] = 1
        else:
            memory[...] = 1
    return x
