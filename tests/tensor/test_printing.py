"""Printed tensors: golden texts that need nothing, and string equality with an installed PyTorch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.tensor import printing
from flambeau.tensor.printing import (
    PrintOptions,
    current_options,
    format_contents,
    format_tensor,
    get_printoptions,
    printoptions,
    set_printoptions,
    tensor_repr,
    wrapper_repr,
)

inf, nan = math.inf, math.nan

pytorch: Any
try:
    import torch as pytorch
except ImportError:
    pytorch = None
needs_pytorch = pytest.mark.skipif(pytorch is None, reason="compares with PyTorch")

NATIVE = ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
NATIVE += ["float16", "float32", "float64", "complex64", "complex128"]
BITS = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    yield
    set_printoptions(profile="default")
    if pytorch is not None:
        pytorch.set_printoptions(profile="default")


def of(values: Any, dtype: str = "float32", **kwargs: Any) -> str:
    with np.errstate(over="ignore"):
        return tensor_repr(np.array(values, dtype), dtype_name=dtype, **kwargs)


# ------------------------------------------------------------------------------------------------------- golden


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (1, "float32", "tensor(1.)"),
        (-0.0, "float32", "tensor(-0.)"),
        (nan, "float32", "tensor(nan)"),
        (-inf, "float64", "tensor(-inf, dtype=torch.float64)"),
        (True, "bool", "tensor(True)"),
        (2**64 - 1, "uint64", "tensor(18446744073709551615, dtype=torch.uint64)"),
        (3.14159, "float32", "tensor(3.1416)"),
        (1 - 2.5j, "complex64", "tensor(1.-2.5000j)"),
        ([], "float32", "tensor([])"),
        ([], "int64", "tensor([], dtype=torch.int64)"),
        ([], "bool", "tensor([], dtype=torch.bool)"),
        ([], "complex64", "tensor([], dtype=torch.complex64)"),
        ([[]], "float32", "tensor([], size=(1, 0))"),
        ([[]], "int32", "tensor([], size=(1, 0), dtype=torch.int32)"),
        ([1, 2, 3], "float32", "tensor([1., 2., 3.])"),
        ([1, 2, 3], "int64", "tensor([1, 2, 3])"),
        ([1, -20, 3], "int8", "tensor([  1, -20,   3], dtype=torch.int8)"),
        ([1, 2.5, -10], "float32", "tensor([  1.0000,   2.5000, -10.0000])"),
        ([1, 1000], "float32", "tensor([   1., 1000.])"),
        ([1, 1001], "float32", "tensor([1.0000e+00, 1.0010e+03])"),
        ([1e8], "float32", "tensor([100000000.])"),
        ([1.0001e8], "float32", "tensor([1.0001e+08])"),
        ([1e-4], "float64", "tensor([0.0001], dtype=torch.float64)"),
        ([9.9e-5], "float64", "tensor([9.9000e-05], dtype=torch.float64)"),
        ([5e-324], "float64", "tensor([4.9407e-324], dtype=torch.float64)"),
        ([nan, inf, -inf, 0], "float32", "tensor([nan, inf, -inf, 0.])"),
        ([nan, 1.5, -0.0], "float32", "tensor([   nan, 1.5000, -0.0000])"),
        ([nan, 1, -inf], "float32", "tensor([nan, 1., -inf])"),
        ([True, False], "bool", "tensor([ True, False])"),
        ([1 + 0.5j, -2], "complex64", "tensor([ 1.+0.5000j, -2.+0.0000j])"),
        ([complex(-0.0, -0.0)], "complex64", "tensor([-0.-0.j])"),
        ([[1, 2], [3, 4]], "int64", "tensor([[1, 2],\n        [3, 4]])"),
        (
            np.arange(8).reshape(2, 2, 2),
            "int64",
            "tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]])",
        ),
        (np.arange(1001), "int64", "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
        (
            np.arange(24),
            "float32",
            (
                "tensor([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13.,\n"
                "        14., 15., 16., 17., 18., 19., 20., 21., 22., 23.])"
            ),
        ),
        (
            np.arange(10000).reshape(100, 100),
            "int64",
            (
                "tensor([[   0,    1,    2,  ...,   97,   98,   99],\n"
                "        [ 100,  101,  102,  ...,  197,  198,  199],\n"
                "        [ 200,  201,  202,  ...,  297,  298,  299],\n"
                "        ...,\n"
                "        [9700, 9701, 9702,  ..., 9797, 9798, 9799],\n"
                "        [9800, 9801, 9802,  ..., 9897, 9898, 9899],\n"
                "        [9900, 9901, 9902,  ..., 9997, 9998, 9999]])"
            ),
        ),
    ],
)
def test_values(values: Any, dtype: str, expected: str) -> None:
    assert of(values, dtype) == expected


def test_reduced_precision() -> None:
    third = np.array([1 / 3, -2])
    assert of(third, "float16") == "tensor([ 0.3333, -2.0000], dtype=torch.float16)"
    bfloat = third.astype(ml_dtypes.bfloat16)
    assert tensor_repr(bfloat, dtype_name="bfloat16") == "tensor([ 0.3340, -2.0000], dtype=torch.bfloat16)"
    eighth = third.astype(ml_dtypes.float8_e5m2)
    assert tensor_repr(eighth, dtype_name="float8_e5m2") == (
        "tensor([ 0.3125, -2.0000], dtype=torch.float8_e5m2)"
    )


def test_notes_follow_in_order_and_wrap() -> None:
    assert of([1, 2], requires_grad=True) == "tensor([1., 2.], requires_grad=True)"
    assert (
        of([1, 2], requires_grad=True, grad_fn="AddBackward0") == "tensor([1., 2.], grad_fn=<AddBackward0>)"
    )
    assert of(1, device="cuda:0", tangent="2.0") == "tensor(1., device='cuda:0', tangent=2.0)"
    assert of([1.5], "float64", default_dtype_name="float64") == "tensor([1.5000])"
    assert of([1.5], "float32", default_dtype_name="float64") == "tensor([1.5000], dtype=torch.float32)"
    assert of([1j], "complex128", default_dtype_name="float64") == "tensor([0.+1.j])"
    assert of(np.ones(12), "float64", requires_grad=True) == (
        "tensor([1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1.], dtype=torch.float64,\n"
        "       requires_grad=True)"
    )


def test_classes_and_prefixes() -> None:
    prefix = "Parameter containing:\ntensor("
    assert of([[1], [2]], prefix=prefix, requires_grad=True) == (
        "Parameter containing:\ntensor([[1.],\n        [2.]], requires_grad=True)"
    )
    assert of([[1], [2]], class_name="Mine") == "Mine([[1.],\n      [2.]])"
    assert of(1, class_name="Mine", is_parameter=True) == "Parameter(Mine(1.))"
    assert of(1, is_parameter=True) == "tensor(1.)"
    assert of([1, 2], contents="hidden") == "tensor(hidden)"


def test_tensors_without_values() -> None:
    assert tensor_repr(None, dtype_name="float32", size=(2, 3), device="meta") == (
        "tensor(..., device='meta', size=(2, 3))"
    )
    assert tensor_repr(None, dtype_name="int64", size=(), device="meta") == (
        "tensor(..., device='meta', size=(), dtype=torch.int64)"
    )
    with pytest.raises(ValueError, match="size"):
        tensor_repr(None, dtype_name="float32")


def test_format_tensor_is_what_follows_the_prefix() -> None:
    text = format_tensor(
        np.zeros((2, 1), np.float64), dtype_name="float64", is_default_dtype=False, suffix=["x=1"], indent=7
    )
    assert text == "[[0.],\n        [0.]], dtype=torch.float64, x=1)"


def test_wrappers_indent_what_they_hold() -> None:
    assert wrapper_repr("tensor([[1],\n\n        [2]])", level=2, batch_dim=0) == (
        "BatchedTensor(lvl=2, bdim=0, value=\n    tensor([[1],\n\n            [2]])\n)"
    )
    assert wrapper_repr("tensor(1.)", level=1) == "GradTrackingTensor(lvl=1, value=\n    tensor(1.)\n)"


def test_layout_of_the_array_does_not_matter() -> None:
    base = np.arange(24.0).reshape(2, 3, 4)
    for view in (
        base.T,
        base[:, ::-1],
        base[::2, 1:],
        np.broadcast_to(base[:1], (3, 3, 4)),
        base.astype(">f8"),
    ):
        assert format_contents(view) == format_contents(np.ascontiguousarray(view, np.float64))


def test_numpy_print_options_do_not_leak_in() -> None:
    with np.printoptions(precision=1, suppress=True, threshold=1, legacy="1.13"):
        assert of([1.23456, 2]) == "tensor([1.2346, 2.0000])"
        assert of([1 + 1.5j], "complex64") == "tensor([1.+1.5000j])"
        assert of([True, False], "bool") == "tensor([ True, False])"


@pytest.mark.parametrize("dtype", [object, "U3", "M8[s]", np.longdouble])
def test_dtypes_that_no_tensor_has(dtype: Any) -> None:
    with pytest.raises(TypeError, match="cannot print"):
        format_contents(np.zeros(2, dtype))


def test_a_summary_reads_only_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []
    render = printing._render

    def recording(array: np.ndarray[Any, Any], options: PrintOptions) -> tuple[list[str], int]:
        read.append(array.shape)
        return render(array, options)

    monkeypatch.setattr(printing, "_render", recording)
    # 2**60 elements, all one in memory: reading them all would never end.
    huge = np.broadcast_to(np.float32(1), (2**20, 2**20, 2**20))
    assert format_contents(huge).count("1.") == 6**3
    assert read == [(6, 6, 6)]
    set_printoptions(edgeitems=0)
    assert format_contents(huge) == "[...]"
    assert len(read) == 1


# ------------------------------------------------------------------------------------------------------ options


def test_options_profiles_and_overrides() -> None:
    assert PrintOptions(**get_printoptions()) == current_options() == PrintOptions()
    assert (PrintOptions().precision, PrintOptions().threshold, PrintOptions().edgeitems) == (4, 1000, 3)
    assert (PrintOptions().linewidth, PrintOptions().sci_mode) == (80, None)
    set_printoptions(profile="short", linewidth=40)
    assert current_options() == PrintOptions(precision=2, edgeitems=2, linewidth=40)
    set_printoptions(profile="full", sci_mode=True)
    assert current_options() == PrintOptions(threshold=inf, sci_mode=True)
    set_printoptions(precision=2)  # leaving sci_mode out resets it
    assert current_options() == PrintOptions(precision=2, threshold=inf)
    unknown: Any = "no such profile"
    set_printoptions(profile=unknown)
    assert current_options() == PrintOptions(precision=2, threshold=inf)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"precision": -1}, ValueError),
        ({"precision": 2.0}, TypeError),
        ({"precision": 2**40}, ValueError),
        ({"precision": True}, TypeError),
        ({"edgeitems": -1}, ValueError),
        ({"edgeitems": 1.5}, TypeError),
        ({"threshold": "many"}, TypeError),
        ({"linewidth": None, "threshold": []}, TypeError),
        ({"linewidth": inf}, ValueError),
        ({"linewidth": nan}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ],
)
def test_bad_options_change_nothing(bad: dict[str, Any], error: type[Exception]) -> None:
    set_printoptions(precision=7, sci_mode=False)
    before = current_options()
    with pytest.raises(error):
        set_printoptions(**{"threshold": 5, **bad})
    assert current_options() == before
    with pytest.raises(error), printoptions(**bad):
        pass
    assert current_options() == before


def test_options_context_restores_after_an_error() -> None:
    set_printoptions(sci_mode=False, precision=3)
    before = current_options()
    with pytest.raises(KeyError), printoptions(precision=1, edgeitems=1):
        assert of([1.25, 1]) == "tensor([1.2, 1.0])"
        set_printoptions(profile="full")
        raise KeyError
    assert current_options() == before


# ------------------------------------------------------------------------------------------- equal to PyTorch's


def theirs(array: np.ndarray[Any, Any], dtype: str) -> Any:
    """A PyTorch tensor with the bits of an array."""
    if dtype in NATIVE:
        return pytorch.from_numpy(np.array(array, dtype, order="C"))
    bits = np.array(array, order="C").view(np.int16 if array.dtype.itemsize == 2 else np.uint8)
    return pytorch.from_numpy(bits).view(getattr(pytorch, dtype))


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    return np.dtype(dtype if dtype in NATIVE else getattr(ml_dtypes, dtype))


def usual_scales(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array, but in float8_e8m0fnu NaN and the least number become 1.

    While deciding on the notation PyTorch takes the first for finite and the second for zero.
    """
    if array.dtype != ml_dtypes.float8_e8m0fnu:
        return array
    code = array.view(np.uint8)
    return np.where((code == 0) | (code == 255), np.uint8(127), code).view(array.dtype)


def compare(array: np.ndarray[Any, Any], dtype: str, **options: Any) -> None:
    pytorch.set_printoptions(**{"profile": "default", **options})
    set_printoptions(**{"profile": "default", **options})
    assert tensor_repr(array, dtype_name=dtype) == repr(theirs(array, dtype))


TELLING = [0.0, -0.0, 1.0, -1.0, 0.5, 2.25, 9.99995, 99999.5, 1e-4, 9.9999e-5, 1e8, 1.00001e8, 1000.0, 1000.5]
TELLING += [inf, -inf, nan, 1e-7, 5e-324, 1e308, -1e308, 2.0**53, 1 / 3, -1e-5, 65504.0, 1e-40, 123456789.0]

SHAPES = st.lists(st.integers(0, 9), max_size=4).map(tuple)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.integers(0, 9),
        "threshold": st.sampled_from([0, 1, 5, 20, 100, inf]),
        "edgeitems": st.integers(0, 4),
        "linewidth": st.sampled_from([0, 1, 10, 20, 40, 79.5, 81, 200]),
        "profile": st.sampled_from(["default", "short", "full", "other"]),
        "sci_mode": st.sampled_from([None, True, False]),
    },
)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], str]:
    """Arrays of any dtype whose values are drawn from a few telling ones, or are arbitrary bits."""
    dtype = draw(st.sampled_from(NATIVE + BITS))
    shape = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind, size = numpy_dtype(dtype).kind, math.prod(shape)
    with np.errstate(all="ignore"):
        if dtype == "bool":
            flat = rng.random(size) < 0.5
        elif draw(st.booleans()):
            flat = np.frombuffer(rng.bytes(size * numpy_dtype(dtype).itemsize), numpy_dtype(dtype))
        elif kind in "iu":
            flat = rng.integers(0, draw(st.sampled_from([2, 10, 120])), size).astype(dtype)
        else:
            few = draw(st.lists(st.sampled_from(TELLING), min_size=1, max_size=4))
            flat = rng.choice(few, size)
            if kind == "c":
                flat = flat.astype(np.complex128)
                flat.imag = rng.choice(few, size)
            flat = flat.astype(numpy_dtype(dtype))
    return usual_scales(flat.reshape(shape)), dtype


@needs_pytorch
@settings(max_examples=400, deadline=None)
@given(arrays(), OPTIONS)
def test_equal_to_pytorch(drawn: tuple[np.ndarray[Any, Any], str], options: dict[str, Any]) -> None:
    compare(*drawn, **options)


@needs_pytorch
@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(width=32), max_size=12), OPTIONS)
def test_any_floats_equal_to_pytorch(values: list[float], options: dict[str, Any]) -> None:
    compare(np.array(values, np.float32), "float32", **options)


@needs_pytorch
@pytest.mark.parametrize("dtype", NATIVE + BITS)
@pytest.mark.parametrize(
    "shape", [(), (1,), (13,), (3, 50), (2, 3, 4), (40, 41), (1001,), (9, 9, 20), (1, 2000)]
)
def test_shapes_and_dtypes_equal_to_pytorch(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(dtype) + sum(shape))
    for scale in (1, 50, 1e5):
        with np.errstate(all="ignore"):
            values = (
                np.rint(rng.normal(size=shape) * scale) if scale == 50 else rng.normal(size=shape) * scale
            )
            if dtype.startswith("uint") or dtype == "float8_e8m0fnu":
                values = abs(values)
            array = np.asarray(values + 1j * values.T.reshape(shape) if dtype[0] == "c" else values)
            array = usual_scales(array.astype(numpy_dtype(dtype)))
        compare(array, dtype)
        compare(array, dtype, profile="short", threshold=10)


@needs_pytorch
def test_every_pair_of_telling_values_equal_to_pytorch() -> None:
    for pair in itertools.product(TELLING, repeat=2):
        compare(np.array(pair), "float64")
        compare(np.array(complex(*pair)), "complex128")


@needs_pytorch
@settings(max_examples=150, deadline=None)
@given(
    arrays(),
    st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, "plain", "derived"]),
    st.sampled_from([20, 60, 80]),
)
def test_notes_equal_to_pytorch(
    drawn: tuple[np.ndarray[Any, Any], str],
    default: str,
    grad: bool,
    meta: bool,
    parameter: str | None,
    linewidth: int,
) -> None:
    array, dtype = drawn
    tensor = theirs(array, dtype).to("meta" if meta else "cpu")
    leaf = grad and (tensor.is_floating_point() or tensor.is_complex())

    derived: Any = type("Derived", (pytorch.nn.Parameter,), {})
    if parameter == "plain":
        tensor = pytorch.nn.Parameter(tensor, requires_grad=leaf)
    elif parameter == "derived":
        tensor = derived(tensor, requires_grad=leaf)
    elif leaf:
        tensor = tensor.requires_grad_().unsqueeze(0).squeeze(0)
    set_printoptions(linewidth=linewidth, profile="default")
    pytorch.set_printoptions(linewidth=linewidth, profile="default")
    before = pytorch.get_default_dtype()
    pytorch.set_default_dtype(getattr(pytorch, default))
    try:
        expected = repr(tensor)
    finally:
        pytorch.set_default_dtype(before)
    text = tensor_repr(
        None if meta else array,
        dtype_name=dtype,
        default_dtype_name=default,
        device="meta" if meta else None,
        size=array.shape,
        requires_grad=leaf,
        grad_fn=type(tensor.grad_fn).__name__ if tensor.grad_fn is not None else None,
        prefix="Parameter containing:\ntensor(" if parameter == "plain" else "tensor(",
        class_name="Derived" if parameter == "derived" else None,
        is_parameter=parameter is not None,
    )
    assert ("Parameter containing:\n" if parameter == "derived" else "") + text == expected


@needs_pytorch
def test_transforms_equal_to_pytorch() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(repr(x))
        return x.sum()

    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tensor = pytorch.from_numpy(array)
    base = tensor_repr(array, dtype_name="float32")
    pytorch.vmap(f)(tensor)
    assert seen.pop() == wrapper_repr(base, level=1, batch_dim=0)
    pytorch.func.grad(f)(tensor)
    assert seen.pop() == wrapper_repr(base, level=1)
    pytorch.vmap(pytorch.func.grad(f), in_dims=2)(tensor)
    assert seen.pop() == wrapper_repr(wrapper_repr(base, level=1, batch_dim=2), level=2)
    with pytorch.autograd.forward_ad.dual_level():
        dual = pytorch.autograd.forward_ad.make_dual(tensor[0], tensor[1])
        expected = repr(dual)
        tangent = tensor_repr(array[1], dtype_name="float32")
        assert tensor_repr(array[0], dtype_name="float32", tangent=tangent) == expected
