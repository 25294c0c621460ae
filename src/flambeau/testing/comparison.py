"""`assert_close`: whether two values agree, and a message that says where they do not."""

from __future__ import annotations

import cmath
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.tensor import Tensor
from ..ops import creation
from ..runtime import dtypes

__all__ = ["assert_allclose", "assert_close"]

# dtype -> (rtol, atol); a quarter of the digits may differ.  Other dtypes have to agree exactly.
DEFAULTS = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}
OF_NUMBERS = {int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}
Message = str | Callable[[str], str] | None


@dataclass
class Rules:
    """What counts as close."""

    allow_subclasses: bool
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_layout: bool
    check_stride: bool

    def tolerances(self, *kinds: dtypes.dtype) -> tuple[float, float]:
        """(rtol, atol): what was given, or the larger of what the dtypes allow."""
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        pairs = [DEFAULTS.get(d, (0.0, 0.0)) for d in kinds]
        return max(p[0] for p in pairs), max(p[1] for p in pairs)


class Mismatch(Exception):
    """Found a difference; `where` leads to it through nested containers."""

    def __init__(self, message: str, where: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.where = message, where


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Assert that `actual` and `expected` agree: ``|actual - expected| <= atol + rtol * |expected|``, element by element.

    Tensors, what `flambeau.as_tensor` takes, numbers, None, and sequences and mappings of these.  Shape, dtype, device,
    layout (and strides, if asked for) have to agree too.  Tolerances default to what suits the dtype; integers and
    bools have to be equal.  `msg` replaces the message, or is a function that makes one from it.

    Raises: AssertionError when they differ; TypeError for values that cannot be compared; ValueError when only one of
    `rtol` and `atol` is given.

    >>> import flambeau as torch
    >>> torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-7]))
    """
    if (rtol is None) is not (atol is None):
        missing = "rtol" if rtol is None else "atol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
    rules = Rules(
        *(allow_subclasses, rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride)
    )
    try:
        compare(actual, expected, rules, ())
    except Mismatch as e:
        text = e.message
        if e.where:
            text += f"\n\nThe failure occurred for item {''.join(f'[{k!r}]' for k in e.where)}"
        if msg is not None:
            text = msg(text) if callable(msg) else msg
    else:
        return
    raise AssertionError(text)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The older form of `assert_close`: does not compare dtypes, devices and strides, and takes NaN as equal.

    Raises: as `assert_close`.
    """
    warnings.warn(
        "torch.testing.assert_allclose() is deprecated; use torch.testing.assert_close()",
        FutureWarning,
        stacklevel=2,
    )
    a = actual if isinstance(actual, Tensor) else creation.tensor(actual)
    b = expected if isinstance(expected, Tensor) else creation.tensor(expected, dtype=a.dtype)
    if rtol is None and atol is None:
        rtol, atol = max(DEFAULTS.get(x.dtype, (0.0, 0.0)) for x in (a, b))
    assert_close(
        a,
        b,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_dtype=False,
        check_stride=False,
        msg=msg or None,
    )


def compare(actual: Any, expected: Any, rules: Rules, where: tuple[Any, ...]) -> None:
    """Compare two values of any kind, going into containers.  Raises: Mismatch, TypeError."""
    if _both((Sequence,), actual, expected) and not _any((str,), actual, expected):
        if len(actual) != len(expected):
            raise Mismatch(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", where)
        for i, (a, b) in enumerate(zip(actual, expected)):
            compare(a, b, rules, (*where, i))
    elif _both((Mapping,), actual, expected):
        missing, more = set(expected) - set(actual), set(actual) - set(expected)
        if missing or more:
            raise Mismatch(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
                f"Additional keys in the actual mapping: {sorted(more, key=str)}",
                where,
            )
        for k in sorted(actual, key=str):
            compare(actual[k], expected[k], rules, (*where, k))
    elif actual is None or expected is None:
        if actual is not expected:
            raise Mismatch(f"None mismatch: {actual} is not {expected}", where)
    elif _both((bool, np.bool_), actual, expected):
        if bool(actual) is not bool(expected):
            raise Mismatch(f"Booleans mismatch: {bool(actual)} is not {bool(expected)}", where)
    elif _both((int, float, complex, np.number), actual, expected):
        a, b = (x.item() if isinstance(x, np.number) else x for x in (actual, expected))
        _compare_numbers(a, b, rules, where)
    else:
        _compare_tensors(*_tensors(actual, expected, rules), rules, where)


def _both(kinds: tuple[type, ...], a: Any, b: Any) -> bool:
    return isinstance(a, kinds) and isinstance(b, kinds)


def _any(kinds: tuple[type, ...], a: Any, b: Any) -> bool:
    return isinstance(a, kinds) or isinstance(b, kinds)


def _tensors(actual: Any, expected: Any, rules: Rules) -> tuple[Tensor, Tensor]:
    kinds = type(actual), type(expected)
    related = issubclass(kinds[0], kinds[1]) or issubclass(kinds[1], kinds[0])
    if related and (rules.allow_subclasses or kinds[0] is kinds[1]):
        try:
            a, b = (x if isinstance(x, Tensor) else creation.as_tensor(x) for x in (actual, expected))
        except (TypeError, ValueError, RuntimeError):
            pass
        else:
            return a.detach(), b.detach()
    raise TypeError(f"No comparison pair was able to handle inputs of type {kinds[0]} and {kinds[1]}.")


def _compare_numbers(actual: Any, expected: Any, rules: Rules, where: tuple[Any, ...]) -> None:
    if rules.check_dtype and type(actual) is not type(expected):
        raise Mismatch(f"The (d)types do not match: {type(actual)} != {type(expected)}.", where)
    rtol, atol = rules.tolerances(*(OF_NUMBERS[type(x)] for x in (actual, expected)))
    if _close(actual, expected, rtol, atol, rules.equal_nan):
        return
    raise Mismatch(_scalar_message(actual, expected, rtol, atol), where)


def _close(a: Any, b: Any, rtol: float, atol: float, equal_nan: bool) -> bool:
    if a == b or equal_nan and cmath.isnan(a) and cmath.isnan(b):
        return True
    return bool(cmath.isfinite(a) and cmath.isfinite(b) and abs(a - b) <= atol + rtol * abs(b))


def _scalar_message(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    exact = not rtol and not atol
    absolute = abs(actual - expected)
    relative = absolute / abs(expected) if expected != 0 else float("inf")
    lines = [f"Absolute difference: {absolute}", f"Relative difference: {relative}"]
    if not exact:
        lines = [f"{lines[0]} (up to {atol} allowed)", f"{lines[1]} (up to {rtol} allowed)"]
    return (
        f"Scalars are not {'equal' if exact else 'close'}!\n\nExpected {expected} but got {actual}.\n"
        + "\n".join(lines)
    )


def _compare_tensors(actual: Tensor, expected: Tensor, rules: Rules, where: tuple[Any, ...]) -> None:
    def agree(what: str, a: Any, b: Any) -> None:
        if a != b:
            raise Mismatch(f"The values for attribute '{what}' do not match: {a} != {b}.", where)

    agree("shape", actual.shape, expected.shape)
    if rules.check_layout:
        agree("layout", actual.layout, expected.layout)
    if rules.check_device:
        agree("device", actual.device, expected.device)
    if rules.check_dtype:
        agree("dtype", actual.dtype, expected.dtype)
    if rules.check_stride:
        agree("stride()", actual.stride(), expected.stride())
    rtol, atol = rules.tolerances(actual.dtype, expected.dtype)
    if actual.dtype is not expected.dtype:
        common = dtypes.promote_types(actual.dtype, expected.dtype)
        actual, expected = actual.to(common), expected.to(common)
    matches = actual.isclose(expected, rtol=rtol, atol=atol, equal_nan=rules.equal_nan)
    if matches.all().item():
        return
    if actual.shape == ():
        raise Mismatch(_scalar_message(actual.item(), expected.item(), rtol, atol), where)
    raise Mismatch(_tensor_message(actual, expected, matches, rtol, atol), where)


def _tensor_message(actual: Tensor, expected: Tensor, matches: Tensor, rtol: float, atol: float) -> str:
    if not (actual.is_floating_point() or actual.is_complex()):
        actual, expected = actual.to(dtypes.int64), expected.to(dtypes.int64)  # differences must not wrap
    bad = matches.numel() - int(matches.sum().item())
    exact = not rtol and not atol

    def greatest(kind: str, difference: Tensor, allowed: float) -> str:
        flat = difference.masked_fill(matches, 0).flatten()
        at = int(flat.argmax().item())
        index = tuple(int(i) for i in np.unravel_index(at, tuple(difference.shape)))
        tail = "" if exact else f" (up to {allowed} allowed)"
        return f"Greatest {kind} difference: {flat[at].item()} at index {index}{tail}"

    absolute = (actual - expected).abs()
    return "\n".join(
        [
            f"Tensor-likes are not {'equal' if exact else 'close'}!\n",
            f"Mismatched elements: {bad} / {matches.numel()} ({bad / matches.numel():.1%})",
            greatest("absolute", absolute, atol),
            greatest("relative", absolute / expected.abs(), rtol),
        ]
    )
