"""The text of tensors, character for character as PyTorch 2.13 prints them.

Everything here works on plain values (an array, names, flags), so that a repr never runs a tensor operation.
A tensor becomes text in four steps: `_condense` keeps only the elements that will be seen, `_render` turns them
into cells of one width, `_arrange` lays the cells out in brackets and lines, and `join_notes` appends what
follows the values (``dtype=…``, ``grad_fn=<…>``), breaking lines where needed.  Every element passes through
`ndarray.tolist`, hence is formatted as a Python number: NumPy's print options have no influence.
"""

from __future__ import annotations

import itertools
import math
import numbers
import operator
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:  # importing it would cost milliseconds
    import numpy.typing as npt

__all__ = [
    "PrintOptions",
    "current_options",
    "format_contents",
    "format_tensor",
    "get_printoptions",
    "printoptions",
    "set_printoptions",
    "tensor_repr",
    "wrapper_repr",
]

Array: TypeAlias = "npt.NDArray[Any]"

_NUMPY_FLOATS = {"float16", "float32", "float64"}
_INT32_MAX = 2**31 - 1  # Python's own bound on the precision of a number's format


# ------------------------------------------------------------------------------------------------------ options


class PrintOptions(NamedTuple):
    """How tensors are printed; immutable, so that a repr under way never sees half of a change.

    Fields: `precision` digits after the point; `threshold` elements above which a tensor is summarised;
    `edgeitems` elements shown at either end of a summarised dimension; `linewidth` characters in a line;
    `sci_mode` scientific notation: always, never, or (None) where the values call for it.
    """

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: float = 80
    sci_mode: bool | None = None


_PROFILES: dict[Any, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
_options = PrintOptions()


def current_options() -> PrintOptions:
    """The print options in force."""
    return _options


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: Literal["default", "short", "full"] | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Choose how tensors are printed, in every thread.

    Args:
        precision: digits after the decimal point (4 at first).
        threshold: number of elements above which a tensor is summarised (1000 at first; `inf` for never).
        edgeitems: elements shown at either end of each summarised dimension (3 at first).
        linewidth: characters after which a line is broken (80 at first).
        profile: "default", "short" or "full" set those four at once; the other arguments still override.
            Any other profile changes nothing, as in PyTorch.
        sci_mode: True or False force scientific notation on or off. None, also when it is merely left out,
            decides from the values: on where they span more than three decades, exceed 1e8 or are below 1e-4.

    Raises: TypeError or ValueError for a value that no tensor could be printed with, at once rather than at the
    next print; the options are then as before.

    >>> import flambeau as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    >>> torch.tensor([1.12345])
    tensor([1.1235])
    """
    global _options
    changes: dict[str, Any] = {"sci_mode": None if sci_mode is None else bool(sci_mode)}
    if isinstance(profile, str):
        changes.update(_PROFILES.get(profile, {}))
    if precision is not None:
        changes["precision"] = _count("precision", precision)
    if threshold is not None:
        changes["threshold"] = _real("threshold", threshold)
    if edgeitems is not None:
        changes["edgeitems"] = _count("edgeitems", edgeitems)
    if linewidth is not None:
        changes["linewidth"] = _real("linewidth", linewidth)
        if not math.isfinite(linewidth):
            raise ValueError(f"set_printoptions(): linewidth must be finite, but got {linewidth}")
    _options = _options._replace(**changes)


def get_printoptions() -> dict[str, Any]:
    """The print options in force, as keyword arguments for `set_printoptions`.

    >>> from flambeau.tensor.printing import get_printoptions
    >>> get_printoptions()
    {'precision': 4, 'threshold': 1000, 'edgeitems': 3, 'linewidth': 80, 'sci_mode': None}
    """
    return _options._asdict()


@contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Print with other options inside a ``with`` block; takes the arguments of `set_printoptions`.

    Raises: what `set_printoptions` raises; the earlier options come back however the block ends.

    >>> from flambeau.tensor.printing import get_printoptions, printoptions
    >>> with printoptions(precision=2):
    ...     get_printoptions()["precision"]
    2
    """
    global _options
    before = _options
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        _options = before


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"set_printoptions(): {name} must be an int, but got {value!r}")
    count = operator.index(value)
    if not 0 <= count <= _INT32_MAX:
        raise ValueError(f"set_printoptions(): {name} must be between 0 and {_INT32_MAX}, but got {count}")
    return count


def _real(name: str, value: Any) -> float:
    if not isinstance(value, numbers.Real):
        raise TypeError(f"set_printoptions(): {name} must be a number, but got {value!r}")
    return value if isinstance(value, int | float) else value.__float__()


# ----------------------------------------------------------------------------------------------------- contents


def format_contents(array: Array, *, indent: int = 0) -> str:
    """The values of a tensor in brackets, without what precedes or follows them.

    Args:
        array: shape (*), of a boolean, integer, floating (bfloat16 and float8 included) or complex dtype.
        indent: column at which the text will start; later lines are indented by it.

    Raises: TypeError for dtypes that tensors cannot hold.

    >>> import numpy as np
    >>> from flambeau.tensor.printing import format_contents
    >>> format_contents(np.array([[1.0, 0.5], [0.25, 2.0]]))
    '[[1.0000, 0.5000],\\n [0.2500, 2.0000]]'
    """
    return _contents(array, indent, _options)


def _contents(array: Array, indent: int, options: PrintOptions) -> str:
    if array.size == 0:
        return "[]"
    summarize = array.size > options.threshold
    edge = options.edgeitems
    if summarize and edge == 0 and array.ndim > 0:
        return "[...]"
    elided = [summarize and n > 2 * edge for n in array.shape]
    seen = _condense(array, elided, edge) if any(elided) else array
    cells, width = _render(seen, options)
    if array.ndim == 0:
        return cells[0]
    return _arrange(cells, width, seen.shape, elided, indent, options)


def _condense(array: Array, elided: Sequence[bool], edge: int) -> Array:
    """The elements left when each elided dimension keeps `edge` of them at either end; reads no others."""
    shape = [2 * edge if cut else n for n, cut in zip(array.shape, elided, strict=True)]
    small = np.empty(shape, array.dtype)
    ends = (slice(None, edge), slice(-edge, None))
    # The same slices name a corner in both arrays, as both count from its own end.
    for corner in itertools.product(*(ends if cut else (slice(None),) for cut in elided)):
        small[corner] = array[corner]
    return small


def _render(array: Array, options: PrintOptions) -> tuple[list[str], int]:
    """The text of each element in row-major order, and the width that counts against the line.

    Complex numbers are counted as both parts and their ``j``; the sign between the parts is not counted, as in
    PyTorch, so that a full line may be longer than `linewidth`.
    """
    kind, name = array.dtype.kind, array.dtype.name
    if kind in "biu" and array.dtype.itemsize <= 8:
        texts = [str(value) for value in array.ravel().tolist()]
        return _align(texts, max(map(len, texts)))
    if name in ("complex64", "complex128"):
        real, real_width = _render_floats(array.real, options)
        imag, imag_width = _render_floats(array.imag, options)
        cells = [
            f"{re}{im}j" if im.startswith("-") else f"{re}+{im}j"
            for re, im in zip(real, map(str.lstrip, imag), strict=True)
        ]
        return cells, real_width + imag_width + 1
    if name in _NUMPY_FLOATS or name == "bfloat16" or name.startswith("float8_"):
        return _render_floats(array, options)
    raise TypeError(f"cannot print an array of dtype {array.dtype}: no tensor has this dtype")


def _render_floats(array: Array, options: PrintOptions) -> tuple[list[str], int]:
    """Real numbers in the one notation that suits them all.

    Zeros, infinities and NaN have no say in the notation nor in the width of the column (so ``nan`` may be wider
    than its column), which is PyTorch's rule.
    """
    with np.errstate(invalid="ignore"):  # widening a signalling NaN is no news
        values: list[float] = array.astype(np.float64, copy=False).ravel().tolist()
    telling = [value for value in values if value and math.isfinite(value)]
    whole = all(map(float.is_integer, telling))
    scientific = bool(telling) and options.sci_mode is not False
    if scientific and options.sci_mode is None:
        scientific = _needs_exponent(telling)
    if scientific:
        spec = f".{options.precision}e"
    else:
        spec = ".0f" if whole else f".{options.precision}f"
    texts = [format(value, spec) for value in values]
    if whole and not scientific:
        # The bare point marks the number as floating.
        texts = [text + "." if math.isfinite(v) else text for text, v in zip(texts, values, strict=True)]
    width = max(
        (len(text) for text, v in zip(texts, values, strict=True) if v and math.isfinite(v)),
        default=1,
    )
    return _align(texts, width)


def _needs_exponent(values: Sequence[float]) -> bool:
    magnitudes = list(map(abs, values))
    smallest, largest = min(magnitudes), max(magnitudes)
    return largest / smallest > 1000.0 or largest > 1.0e8 or smallest < 1.0e-4


def _align(texts: Sequence[str], width: int) -> tuple[list[str], int]:
    return [text.rjust(width) for text in texts], width


def _arrange(
    cells: list[str],
    width: int,
    shape: Sequence[int],
    elided: Sequence[bool],
    indent: int,
    options: PrintOptions,
) -> str:
    """Cells in nested brackets: rows wrapped at `linewidth`, blank lines between matrices, dots for elisions.

    `shape` is what the cells fill; dimension d gets its dots after `edgeitems` entries where `elided[d]`.
    """
    edge, last = options.edgeitems, len(shape) - 1

    def row(start: int, column: int) -> str:
        entries = cells[start : start + shape[last]]
        if elided[last]:
            entries.insert(edge, " ...")
        per_line = max(1, math.floor((options.linewidth - column) / (width + 2)))
        lines = [", ".join(entries[i : i + per_line]) for i in range(0, len(entries), per_line)]
        return "[" + (",\n" + " " * (column + 1)).join(lines) + "]"

    def block(d: int, start: int, column: int) -> str:
        if d == last:
            return row(start, column)
        step = math.prod(shape[d + 1 :])
        entries = [block(d + 1, start + i * step, column + 1) for i in range(shape[d])]
        if elided[d]:
            entries.insert(edge, "...")
        return "[" + ("," + "\n" * (last - d) + " " * (column + 1)).join(entries) + "]"

    return block(0, 0, indent)


# ------------------------------------------------------------------------------------------------ whole tensors


def format_tensor(
    array: Array | None,
    *,
    dtype_name: str,
    is_default_dtype: bool,
    suffix: Sequence[str] = (),
    indent: int = 0,
    device: str | None = None,
    size: Sequence[int] | None = None,
    contents: str | None = None,
) -> str:
    """What follows ``tensor(`` in a repr, up to and including the closing parenthesis.

    Args:
        array: shape (*), the values; None for a tensor without values (on the meta device), printed as ``...``.
        dtype_name: the dtype as PyTorch names it, e.g. "float32".
        is_default_dtype: whether this dtype goes without saying: the default floating dtype, the complex dtype
            that belongs to it, int64 and bool.
        suffix: further notes such as "requires_grad=True", in order.
        indent: column at which the text will start.
        device: the device to name, if it is to be named.
        size: the shape, if it is not that of `array`; required without `array`.
        contents: text to print in place of the values.

    Raises: TypeError for arrays of dtypes that tensors cannot hold, ValueError with neither `array` nor `size`.

    >>> import numpy as np
    >>> from flambeau.tensor.printing import format_tensor
    >>> format_tensor(np.arange(3, dtype=np.int8), dtype_name="int8", is_default_dtype=False, indent=7)
    '[0, 1, 2], dtype=torch.int8)'
    """
    if size is None:
        if array is None:
            raise ValueError("a tensor without values can only be printed with its size")
        size = array.shape
    options = _options
    if contents is None:
        contents = "..." if array is None else _contents(array, indent, options)
    empty = 0 in size
    notes = [] if device is None else [f"device='{device}'"]
    if array is None or (empty and len(size) != 1) or (not empty and options.edgeitems == 0):
        notes.append(f"size={tuple(map(int, size))}")
    # Without values in sight nothing tells 1 from 1. or True, so only the default floating dtype is left out.
    values_tell = array is not None and not empty
    if not is_default_dtype or (not values_tell and not dtype_name.startswith(("float", "bfloat"))):
        notes.append(f"dtype=torch.{dtype_name}")
    return join_notes(contents, [*notes, *suffix], indent, options)


def join_notes(
    contents: str, notes: Sequence[str], indent: int, options: PrintOptions, *, newline_first: bool = False
) -> str:
    """The text of a tensor up to its values, then the notes after these, on new lines where they get too long."""
    text = [contents]
    # PyTorch counts the last line of the values two characters longer than it is.
    newline = contents.rfind("\n")
    used = len(contents) - newline + 1 if newline >= 0 else indent + len(contents) + 2
    for note in notes:
        if newline_first or used + len(note) + 2 > options.linewidth:
            newline_first = False
            text.append(",\n" + " " * indent + note)
            used = indent + len(note)
        else:
            text.append(", " + note)
            used += len(note) + 2
    return "".join(text) + ")"


def tensor_repr(
    array: Array | None,
    *,
    dtype_name: str,
    default_dtype_name: str = "float32",
    prefix: str = "tensor(",
    class_name: str | None = None,
    is_parameter: bool = False,
    device: str | None = None,
    size: Sequence[int] | None = None,
    requires_grad: bool = False,
    grad_fn: str | None = None,
    tangent: str | None = None,
    contents: str | None = None,
) -> str:
    """The repr of a tensor.

    Args:
        array, dtype_name, device, size, contents: as for `format_tensor`.
        default_dtype_name: the default floating dtype.
        prefix: what precedes the values; its last line sets the indentation.
        class_name: the class to name in place of "tensor", for a subclass.
        is_parameter: a parameter; only matters with `class_name`, whose repr is then put in ``Parameter(…)``.
        requires_grad: shown where there is no `grad_fn`.
        grad_fn: name of the backward node, e.g. "AddBackward0" ("Invalid" where it cannot be computed).
        tangent: text of the forward-mode tangent.

    Raises: as `format_tensor`.

    >>> import numpy as np
    >>> from flambeau.tensor.printing import tensor_repr
    >>> tensor_repr(np.array([1.0, 2.5]), dtype_name="float64", grad_fn="AddBackward0")
    'tensor([1.0000, 2.5000], dtype=torch.float64, grad_fn=<AddBackward0>)'
    """
    if class_name is not None:
        prefix = f"{class_name}("
    default_complex = "complex128" if default_dtype_name == "float64" else "complex64"
    suffix = []
    if grad_fn is not None:
        suffix.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        suffix.append("requires_grad=True")
    if tangent is not None:
        suffix.append(f"tangent={tangent}")
    text = prefix + format_tensor(
        array,
        dtype_name=dtype_name,
        is_default_dtype=dtype_name in (default_dtype_name, default_complex, "int64", "bool"),
        suffix=suffix,
        indent=len(prefix) - (prefix.rfind("\n") + 1),
        device=device,
        size=size,
        contents=contents,
    )
    return f"Parameter({text})" if is_parameter and class_name is not None else text


def wrapper_repr(value: str, *, level: int, batch_dim: int | None = None) -> str:
    """The repr of a tensor as a function transform sees it.

    Args:
        value: repr of the tensor one level below.
        level: nesting level of the transform, from 1.
        batch_dim: the dimension of `value` that `vmap` hides; None for the differentiating transforms.

    >>> from flambeau.tensor.printing import wrapper_repr
    >>> print(wrapper_repr("tensor(1.)", level=1))
    GradTrackingTensor(lvl=1, value=
        tensor(1.)
    )
    """
    if batch_dim is None:
        head = f"GradTrackingTensor(lvl={level}"
    else:
        head = f"BatchedTensor(lvl={level}, bdim={batch_dim}"
    return f"{head}, value=\n{textwrap.indent(value, ' ' * 4)}\n)"
