"""Every public function says what it does, and shows it in an example that runs."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import pytest

import flambeau as torch
from battery.test_bad_input import FOUND

ONCE = {id(fn): (name, fn) for name, fn in reversed(sorted(FOUND.items()))}
FUNCTIONS = sorted(ONCE.values(), key=lambda pair: pair[0])
PARSER, RUNNER = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)

PARTS = ("Shapes:", "Dtypes:", "Raises:")
# Of dtypes or functions, not of tensors.
WITHOUT_PARTS = {"can_cast", "promote_types", "result_type", "vmap"}

# Methods and properties that are no functions of a namespace too, and operators.
METHODS = """T H mT mH __getitem__ __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __rdiv__ __pow__
    __rpow__ __mod__ __rmod__ __and__ __rand__ __or__ __ror__ __xor__ __rxor__ __lshift__ __rshift__ __eq__ __ne__ __lt__ __le__
    __gt__ __ge__ __rmatmul__ bfloat16 bool byte cdouble cfloat char double expand expand_as float half int item long new_empty
    new_empty_strided new_full new_ones new_zeros repeat reshape_as resize_ resize_as_ short sum_to_size to unfold view view_as
    """.split()
WINDOWS = torch.signal.windows
HERE = [
    *FUNCTIONS,
    *[(f"Tensor.{name}", getattr(torch.Tensor, name)) for name in METHODS],
    *[(f"signal.windows.{name}", getattr(WINDOWS, name)) for name in WINDOWS.__all__],
]

# Modules hold other modules or parameters, or are what others derive from.
HOLDERS = """Container Module ModuleDict ModuleList ParameterDict ParameterList Sequential LinearCrossEntropyOptions RNNBase
    RNNCellBase""".split()
HERE += [(f"nn.{name}", getattr(torch.nn, name)) for name in torch.nn.modules.__all__ if name not in HOLDERS]

DISTRIBUTIONS = torch.distributions
HERE += [
    (f"distributions.{name}", getattr(DISTRIBUTIONS, name))
    for name in DISTRIBUTIONS.__all__
    if isinstance(getattr(DISTRIBUTIONS, name), type)
    and name != "ExponentialFamily"  # which others derive from
]

# What "Dtypes:" may begin with: kinds of dtypes, as NumPy's letters and a width.
KINDS = {
    "every dtype": "b i h f c",
    "every real dtype": "b i h f",
    "bool, floating and complex": "b h f c",
    "bool and integer": "b i",
    "bool, integer, float32, float64 and complex": "b i f c",
    "bool, integer, float32 and float64": "b i f",
    "integer, floating and complex": "i h f c",
    "integer, float32, float64 and complex": "i f c",
    "integer and floating": "i h f",
    "integer": "i",
    "int64, floating and complex": "l h f c",
    "int64 and floating": "l h f",
    "int64, float32 and float64": "l f",
    "int64": "l",
    "uint8 and floating": "u h f",
    "floating and complex": "h f c",
    "floating": "h f",
    "float32, float64 and complex": "f c",
    "float32 and float64": "f",
    "complex": "c",
}
OF_KIND = {
    "b": ["bool"],
    "i": ["uint8", "int8", "int16", "int32", "int64"],
    "l": ["int64"],
    "u": ["uint8"],
    "h": ["float16", "bfloat16"],
    "f": ["float32", "float64"],
    "c": ["complex64", "complex128"],
}
ALL = {d for of in OF_KIND.values() for d in of}


@pytest.mark.parametrize(("name", "fn"), HERE, ids=[name for name, _ in HERE])
def test_docstring(name: str, fn: Any) -> None:
    text = inspect.getdoc(fn) or ""
    assert len(text) > 10, f"{name} has no docstring"
    if name not in WITHOUT_PARTS:
        for part in PARTS:
            assert part in text, (
                f"{name}: say something about {part} in the docstring, or in notes.txt beside it"
            )
        assert len(text.partition(PARTS[0])[0].strip()) > 5, f"{name}: what does it do?"
    if name.endswith("_") and name.split(".")[-1] not in METHODS:
        return  # forms in place refer to what they are forms of
    test = PARSER.get_doctest(text, {"torch": torch}, name, None, None)
    assert test.examples, f"{name}: add an example to the docstring, or to examples.txt beside it"
    torch.manual_seed(0)
    said: list[str] = []
    RUNNER.run(test, out=said.append)
    assert not said, "".join(said)


def claimed(fn: Any) -> set[str] | None:
    """The dtypes that a docstring says the function takes; None where it says something else."""
    line = (inspect.getdoc(fn) or "").partition("Dtypes:")[2].partition("\nRaises:")[0]
    found = " ".join(line.replace(":", ";").partition(";")[0].split())
    return {d for kind in KINDS[found].split() for d in OF_KIND[kind]} if found in KINDS else None


def test_dtypes_are_those_of_the_reference() -> None:
    """Every dtype with which PyTorch's own samples are made is one that the docstring names."""
    pytest.importorskip("torch")
    database = pytest.importorskip("torch.testing._internal.common_methods_invocations").op_db
    wrong, checked = [], 0
    for info in database:
        place: Any = torch
        for part in info.name.split("."):
            place = getattr(place, part, None)
        if not callable(place) or isinstance(place, torch.dtype):
            place = getattr(torch.Tensor, info.name, None)
        names = None if place is None else claimed(place)
        if names is None:
            continue
        checked += 1
        theirs = {str(d).removeprefix("torch.") for d in info.dtypes} & ALL
        if not theirs <= names:
            wrong.append(f"{info.name} {info.variant_test_name}: {sorted(theirs - names)}")
    assert checked > 500
    assert not wrong, "\n".join(wrong)
