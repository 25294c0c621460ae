"""Which operations wait for a flush, and which run at once.

An operation waits when nothing but its result can tell when it ran.  So these run at once: random draws (their order
is the program's order), results whose shape depends on values, and operations that raise on some values, whose error
belongs to the line that called them.
"""

from __future__ import annotations

from typing import Any

from ..core.op import Op

__all__ = ["CONSTANTS", "WHOLE", "shares", "waits"]

# Numbers of these operations choose between algorithms (x ** 2 is one product): part of the sequence, not an input.
CONSTANTS = frozenset(("pow",))

# Operations that may fail on values, with results whose shape does not depend on them: part of a replay, where a failure
# is found out about by running the Python.
WHOLE = frozenset(
    "index index_put gather scatter inv linalg_solve solve_triangular cholesky cholesky_inverse det slogdet matrix_exp "
    "lu_factor qr eigh eigvalsh svd svdvals pinv argtop argcum histc reduce_at phase_check check_envelope".split()
)

_FAMILIES = frozenset(("pointwise", "reduction", "view", "linear", "multilinear"))
# Operations of other families that cannot fail on values.
_SAFE = frozenset(
    "cast softmax softmax_grad log_softmax log_softmax_grad cross_entropy cross_entropy_grad standardize standardize_grad "
    "mean_of_counted shares_of_counted nll nll_grad "
    "half_standardize half_standardize_grad half_group_norm half_group_norm_grad "
    "attention attention_grad masked_attention masked_attention_grad dropped_attention_grad attention_noise "
    "variance batch_moments batch_norm batch_norm_grad biased_convolution "
    "full cumprod logcumsumexp argsort isin searchsorted max_pool max_pool_taps max_pool_positions max_pool_pick "
    "recurrent_sequence recurrent_sequence_grad max_pool_spread frexp_exponent frexp_mantissa permutation_matrix mode".split()
)
_RAISES = frozenset(("phase_check", "check_envelope"))
# Of integers these can raise (division by zero, negative exponents).
_INTEGER_RAISES = frozenset("div div_floor div_trunc remainder fmod pow reciprocal gcd lcm".split())


def waits(op: Op) -> Any:
    """True, False, or "floats": only if all inputs are floating or complex."""
    if op.name in _RAISES:
        return False
    if op.name in _INTEGER_RAISES:
        return "floats"
    return op.family in _FAMILIES or op.name in _SAFE


# Not views, but their result may be their argument.
_SAME = frozenset("overwrite if_full_rank reshape_copy".split())


def shares(op: Op) -> bool:
    """Whether the result may share memory with the first argument that is of its shape."""
    return op.is_view or op.name in _SAME
