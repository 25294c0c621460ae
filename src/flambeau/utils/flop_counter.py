"""Counting floating point operations: of products of matrices, convolutions and attention, forward and backward.

A product of an n x k and a k x m matrix counts as 2 n k m operations: a multiplication and an addition for each term.
Everything else is counted as free, as PyTorch's counter does.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from ..core.tensor import Tensor
from ..nn.modules.module import Module
from ..nn.modules.module_hooks import register_module_forward_hook, register_module_forward_pre_hook
from ..overrides import TorchFunctionMode
from ..runtime.absent import names_of as _names_of

__all__ = ["FlopCounterMode"]

# What a call counts as: the name under which, how many operations, and the name for its gradients.
Count = tuple[str, int, str]
_SUFFIXES = ("", "K", "M", "B", "T")


def _product(a: Any, b: Any, added: bool = False) -> Count | None:
    """A product of matrices, or of batches of them; PyTorch counts those with vectors as free."""
    if a.dim() + b.dim() < 3 or 1 in (a.dim(), b.dim()):
        return None
    batches = a.dim() > 2 and b.dim() > 2
    rows = math.prod(_broadcast(a.shape[:-2], b.shape[:-2])) * a.shape[-2]
    name = ("baddbmm" if added else "bmm") if batches else ("addmm" if added else "mm")
    return f"aten.{name}", 2 * rows * a.shape[-1] * b.shape[-1], "aten.bmm" if batches else "aten.mm"


def _broadcast(a: Any, b: Any) -> tuple[int, ...]:
    n = max(len(a), len(b))
    padded = [(1,) * (n - len(s)) + tuple(s) for s in (a, b)]
    return tuple(y if x == 1 else x for x, y in zip(*padded))


def _einsum(equation: Any, *operands: Any) -> Count | None:
    """A sum of products of two tensors, named by letters; other forms are not counted."""
    operands = tuple(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands
    if not isinstance(equation, str) or "." in equation or len(operands) != 2:
        return None
    left, _, result = equation.replace(" ", "").partition("->")
    first, second = left.split(",")
    sizes = dict(zip(first + second, (*operands[0].shape, *operands[1].shape)))
    if not (set(first) & set(second)) - set(result):  # nothing is summed over
        return None
    return "aten.bmm", 2 * math.prod(sizes.values()), "aten.bmm"


def _added(_: Any, a: Any, b: Any) -> Count | None:
    return _product(a, b, True)


def _linear(input: Any, weight: Any, bias: Any = None) -> Count | None:
    if input.dim() < 2:
        return None
    name = "aten.mm" if bias is None else "aten.addmm"
    return name, 2 * input.numel() * weight.shape[0], "aten.mm"


def _convolution(input: Any, weight: Any, *args: Any, result: Any, **kwargs: Any) -> Count:
    terms = math.prod(weight.shape[1:])  # of each number in the result
    return "aten.convolution", 2 * result.numel() * terms, "aten.convolution_backward"


def _transposed(input: Any, weight: Any, *args: Any, **kwargs: Any) -> Count:
    uses = math.prod(weight.shape[1:])  # of each number in the input
    return "aten.convolution", 2 * input.numel() * uses, "aten.convolution_backward"


def _attention(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Count:
    rows, (length, width), source = math.prod(query.shape[:-2]), query.shape[-2:], key.shape[-2]
    name = "aten._scaled_dot_product_flash_attention"
    return name, 2 * rows * length * source * (width + value.shape[-1]), name + "_backward"


_PRODUCTS = dict.fromkeys(("matmul", "mm", "bmm", "__matmul__"), _product)
_ADDED = dict.fromkeys(("addmm", "baddbmm", "addmm_", "baddbmm_"), _added)
_TRANSPOSED = dict.fromkeys((f"conv_transpose{n}d" for n in (1, 2, 3)), _transposed)
_COUNTS: dict[str, Callable[..., Count | None]] = {
    **_PRODUCTS,
    **_ADDED,
    **_TRANSPOSED,
    "einsum": _einsum,
    "linear": _linear,
    "scaled_dot_product_attention": _attention,
}
_CONVOLUTIONS = frozenset(f"conv{n}d" for n in (1, 2, 3))


class _Watch(TorchFunctionMode):
    def __init__(self, counter: FlopCounterMode) -> None:
        self.counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        inner = getattr(func, "__wrapped__", None)
        if inner is not None and name == "multi_head_attention_forward":
            with self:  # what it is made of is counted
                return inner(*args, **kwargs)
        result = func(*args, **kwargs)
        given = {k: v for k, v in kwargs.items() if k != "out"}
        if name in _PRODUCTS or name in _ADDED:  # whatever their arguments are called
            args, given = tuple(x for x in (*args, *given.values()) if isinstance(x, Tensor)), {}
        if name in _CONVOLUTIONS:
            self.counter._count(_convolution(*args, **given, result=result), args, given, result)
        elif name in _COUNTS:
            self.counter._count(_COUNTS[name](*args, **given), args, given, result)
        return result


class FlopCounterMode:
    """A ``with`` block in which floating point operations are counted, by module and by operation.

    Products of matrices, convolutions and attention count, and in backward passes within the block their gradients: as
    much again for each input that requires one.  Modules are named by their class and the path within the outermost
    module that was called, and "Global" is everything.  At the end a table is printed if `display`, down to `depth`
    levels of modules; `mods` is not needed.

    Raises: NotImplementedError for a `custom_mapping`.

    >>> import flambeau as torch
    >>> from flambeau.utils.flop_counter import FlopCounterMode
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    >>> with FlopCounterMode(display=False) as counter:
    ...     model(torch.ones(3, 4)).sum().backward()
    >>> counter.get_total_flops()  # 2 * 3 * 4 * 8, and as much for the gradient of the weight
    384
    >>> counter.get_flop_counts()["Sequential.0"]
    {'aten.addmm': 192, 'aten.mm': 192}
    """

    def __init__(
        self, mods: Any = None, depth: int = 2, display: bool = True, custom_mapping: Any = None
    ) -> None:
        if mods is not None:
            warnings.warn("mods argument is not needed anymore, you can stop passing it", stacklevel=2)
        if custom_mapping:
            raise NotImplementedError("FlopCounterMode: formulas of one's own (custom_mapping) are not taken")
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
        self._names: WeakKeyDictionary[Module, str] = WeakKeyDictionary()
        self._inside: list[str] = []
        self._handles: list[Any] = []
        self._watch: _Watch | None = None

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self._inside = ["Global"]
        self._handles = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        self._watch = _Watch(self)
        self._watch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._watch is not None:
            self._watch.__exit__(*error)
        self._watch = None
        for handle in self._handles:
            handle.remove()
        if self.display:
            print(self.get_table(self.depth))

    def _enter_module(self, module: Module, args: Any) -> None:
        if module not in self._names:
            root = type(module).__name__
            for path, part in module.named_modules():
                self._names.setdefault(part, f"{root}.{path}" if path else root)
        self._inside.append(self._names[module])

    def _leave_module(self, module: Module, args: Any, result: Any) -> None:
        name = self._names.get(module)
        if name in self._inside:  # a forward that raised has left those inside it
            del self._inside[len(self._inside) - 1 - self._inside[::-1].index(name) :]

    def _count(self, count: Count | None, args: Any, kwargs: Any, result: Any) -> None:
        if count is None:
            return
        name, flops, backward = count
        places = set(self._inside)
        for place in places:
            self.flop_counts[place][name] += flops
        factors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.dim() > 1]
        if name in ("aten.addmm", "aten.baddbmm") and len(args) > 2 and len(factors) > 2:
            factors = factors[1:]  # what is added costs nothing
        wanted = sum(x.requires_grad for x in factors)
        if backward.startswith("aten._scaled"):  # one pass: the scores again, and four products
            flops, wanted = flops * 5 // 2, min(wanted, 1)
        if wanted and result.requires_grad:

            def seen(_: Any) -> None:
                if self._watch is not None:
                    for place in places:
                        self.flop_counts[place][backward] += flops * wanted

            result.register_hook(seen)

    def get_total_flops(self) -> int:
        """The number of operations in the block."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """The numbers of operations by module, and in each by operation."""
        return {place: dict(counts) for place, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The numbers as text, down to `depth` levels of modules."""
        deepest = self.depth if depth is None else depth
        total = self.get_total_flops()
        unit = max(0, min(len(_SUFFIXES) - 1, (len(str(total)) - 2) // 3))
        rows = [("Module", "FLOP", "% Total")]

        def row(label: str, n: int) -> None:
            share = f"{n / total:.2%}" if total else "0%"
            rows.append((label, f"{n / 1000**unit:.3f}{_SUFFIXES[unit]}", share))

        for place in sorted(self.flop_counts, key=lambda p: (p != "Global", p)):
            level = 0 if place == "Global" else place.count(".") + 1
            if deepest is None or level <= deepest:
                counts = self.flop_counts[place]
                row(" " * level + place, sum(counts.values()))
                for name, n in counts.items():
                    row(" " * level + f" - {name}", n)
        widths = [max(len(r[i]) for r in rows) for i in range(3)]
        rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2]))
        return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)


__getattr__ = _names_of(__name__)
