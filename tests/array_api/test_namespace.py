"""The namespace of the array API standard against NumPy, which follows it too.

The public suite (data-apis/array-api-tests) checks far more; CONTRIBUTING.md says how to run it.
"""

from __future__ import annotations

import inspect
import io
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
import flambeau.array_api as xp
from flambeau.array_api import Array

NAMES = """
__array_api_version__ __array_namespace_info__ e inf nan newaxis pi
bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros
zeros_like astype can_cast finfo iinfo isdtype result_type
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater
greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow real reciprocal remainder
round sign signbit sin sinh square sqrt subtract tan tanh trunc
take take_along_axis matmul matrix_transpose tensordot vecdot
broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile
unstack argmax argmin count_nonzero nonzero searchsorted where unique_all unique_counts unique_inverse unique_values
argsort sort cumulative_prod cumulative_sum max mean min prod std sum var all any diff
linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv linalg.matmul
linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose linalg.outer linalg.pinv linalg.qr
linalg.slogdet linalg.solve linalg.svd linalg.svdvals linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm
fft.fft fft.ifft fft.fftn fft.ifftn fft.rfft fft.irfft fft.rfftn fft.irfftn fft.hfft fft.ihfft fft.fftfreq
fft.rfftfreq fft.fftshift fft.ifftshift
""".split()
DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
]


def both(values: Any, dtype: str | None = None) -> tuple[Any, Any]:
    """The same values as NumPy's array and as ours."""
    a = np.asarray(values, dtype)
    return a, xp.asarray(a)


def same(ours: Any, numpys: Any, **tolerance: float) -> None:
    assert type(ours) is Array
    assert ours.dtype.name == numpys.dtype.name
    assert tuple(ours.shape) == numpys.shape
    np.testing.assert_allclose(ours.numpy(), numpys, **({"rtol": 1e-12} | tolerance))


# ------------------------------------------------------------------------------------------------ the namespace


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_standard(name: str) -> None:
    found = operator.attrgetter(name)(xp)
    if callable(found) and not inspect.isclass(found):
        assert found.__doc__
        assert found.__name__ == name.rpartition(".")[2]
    assert name.partition(".")[0] in xp.__all__


def test_the_namespace_of_a_tensor() -> None:
    for t in (torch.zeros(2), torch.nn.Parameter(torch.zeros(2)), xp.zeros(2)):
        assert t.__array_namespace__() is xp
        assert t.__array_namespace__(api_version="2024.12") is xp
        with pytest.raises(ValueError, match="1999.01"):
            t.__array_namespace__(api_version="1999.01")
    assert xp.__array_api_version__ == "2024.12"


def test_inspection(monkeypatch: pytest.MonkeyPatch) -> None:
    info = xp.__array_namespace_info__()
    assert info.capabilities() == {
        "boolean indexing": True,
        "data-dependent shapes": True,
        "max dimensions": 64,
    }
    assert info.devices() == [info.default_device()] == [torch.device("cpu")]
    assert info.default_dtypes()["real floating"] is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert info.default_dtypes() == {
            **{"real floating": xp.float64, "complex floating": xp.complex128},
            **{"integral": xp.int64, "indexing": xp.int64},
        }
        assert xp.asarray(1.0).dtype is xp.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert list(info.dtypes()) == DTYPES
    assert list(info.dtypes(kind=("bool", "real floating"))) == ["bool", "float32", "float64"]
    with pytest.raises(ValueError, match="strings"):
        info.dtypes(kind="strings")


def test_devices() -> None:
    assert xp.ones(2, device="cpu").device == torch.device("cpu")
    assert torch.ones(2).to_device("cpu").device == torch.device("cpu")
    with pytest.raises(AssertionError, match="CUDA"):
        xp.ones(2, device="cuda")
    with pytest.raises(ValueError, match="stream"):
        torch.ones(2).to_device("cpu", stream=1)


# ---------------------------------------------------------------------------------------------------- promotion


@pytest.mark.parametrize("a", DTYPES)
@pytest.mark.parametrize("b", DTYPES)
def test_promotion(a: str, b: str) -> None:
    da, db = getattr(xp, a), getattr(xp, b)
    kinds = [np.dtype(d).kind.replace("u", "i").replace("c", "f") for d in (a, b)]
    if {a, b} in ({"uint64", f"int{n}"} for n in (8, 16, 32, 64)):
        with pytest.raises(TypeError, match="no common integer dtype"):
            xp.result_type(da, db)
        assert not xp.can_cast(da, db)
        return
    if kinds[0] != kinds[1]:
        return  # left open by the standard
    expected = getattr(xp, np.result_type(a, b).name)
    x, y = xp.ones((), dtype=da), xp.ones(3, dtype=db)
    assert xp.result_type(da, db) is xp.result_type(x, y) is expected
    assert xp.can_cast(da, db) == xp.can_cast(x, db) == (expected is db)
    if a != "bool":
        assert (x + y).dtype is (y + x).dtype is xp.add(x, y).dtype is expected
    assert (x == y).dtype is xp.bool
    assert xp.concat([xp.reshape(x, (1,)), y]).dtype is xp.where(y != 0, x, y).dtype is expected


@pytest.mark.parametrize(
    ("scalar", "kinds"), [(2, "iufc"), (2.0, "fc"), (2j, "c")], ids=["int", "float", "complex"]
)
def test_python_scalars_do_not_widen(scalar: Any, kinds: str) -> None:
    for name in DTYPES:
        if np.dtype(name).kind in kinds:
            x = xp.ones(2, dtype=getattr(xp, name))
            assert (x * scalar).dtype is (scalar * x).dtype is xp.multiply(scalar, x).dtype is x.dtype
            assert xp.result_type(x, scalar) is x.dtype
    assert xp.result_type(xp.float32, 1j) is xp.complex64
    with pytest.raises(ValueError, match="at least one"):
        xp.result_type(scalar)
    with pytest.raises(TypeError, match="at least one argument must be an array"):
        xp.add(scalar, scalar)


def test_kinds_and_limits() -> None:
    assert xp.isdtype(xp.uint8, ("real floating", "unsigned integer"))
    assert not xp.isdtype(xp.bool, "numeric")
    with pytest.raises(ValueError, match="'integer'"):
        xp.isdtype(xp.int8, "integer")
    assert xp.finfo(xp.complex128).dtype is xp.float64
    assert xp.finfo(xp.zeros(1)).bits == 32
    assert xp.iinfo(xp.asarray(1, dtype=xp.uint16)).max == 65535
    with pytest.raises(TypeError, match="floating"):
        xp.finfo(xp.int32)
    with pytest.raises(TypeError, match="integer"):
        xp.iinfo(xp.float32)


# ------------------------------------------------------------------------------------- the array and plain tensors


def test_plain_tensors_keep_pytorchs_rules() -> None:
    t, zero = torch.ones(2), torch.ones((), dtype=torch.float64)
    assert (t + zero).dtype is torch.float32
    x = xp.asarray(t)
    assert type(t) is torch.Tensor
    assert x.data_ptr() == t.data_ptr()
    assert (x + zero).dtype is (zero + x).dtype is torch.float64
    assert type(x + t) is type(t + x) is type(t - x) is Array
    assert type(torch.add(x, t)) is type(x.add(t)) is type(x.as_subclass(torch.Tensor)) is torch.Tensor


def test_the_class_of_an_argument_does_not_change() -> None:
    t = torch.ones(2)
    assert xp.astype(t, xp.float32, copy=False).data_ptr() == t.data_ptr()
    assert type(xp.squeeze(t, ())) is type(xp.positive(t)) is type(xp.broadcast_to(t, (2,))) is Array
    assert type(t) is torch.Tensor
    x = xp.ones(2)
    assert xp.astype(x, xp.float32, copy=False) is x


def test_files_parameters_and_numpy_operands() -> None:
    x = xp.asarray([1.0, 2.0])
    stream = io.BytesIO()
    torch.save({"x": x, "p": torch.nn.Parameter(x)}, stream)
    stream.seek(0)
    back = torch.load(stream)
    assert type(back["x"]) is torch.Tensor
    assert type(back["p"]) is type(torch.nn.Parameter(x)) is torch.nn.Parameter
    a = np.ones(2)
    for found in (x + a, a + x, x - a, a - x, np.float32(2) * x):
        assert type(found) is Array
    assert (a - x).dtype is (x + a).dtype is xp.float64
    assert (a - x).tolist() == [0, -1]
    x -= np.ones(2, np.float32)
    assert x.tolist() == [0, 1]
    with pytest.raises(TypeError):
        x + "text"


def test_gradients_and_transforms() -> None:
    t = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = xp.asarray(t)
    xp.sum(x[::-1] * xp.asarray([1.0, 10.0, 100.0]) + xp.clip(x, 1.5, 2.5)).backward()
    assert t.grad.tolist() == [100.0, 11.0, 1.0]
    rows = torch.arange(6.0).reshape(2, 3)
    found = torch.vmap(lambda r: xp.mean(r, axis=0) + xp.asarray(r)[0])(rows)
    assert found.tolist() == [1.0, 7.0]
    y = xp.zeros(3)
    y[1:] += t[1:]
    assert y.tolist() == [0.0, 2.0, 3.0]
    y.sum().backward()
    assert t.grad.tolist() == [100.0, 12.0, 2.0]


def test_size_and_transposes() -> None:
    x = xp.ones((2, 3))
    assert x.size == 6
    assert isinstance(x.size, int)
    assert x.size() == torch.Size([2, 3])
    assert x.size(-1) == 3
    with pytest.raises(IndexError, match="out of range"):
        x.size(2)
    assert x.T.shape == x.mT.shape == (3, 2)
    with pytest.raises(ValueError, match="two dimensions"):
        _ = xp.ones(3).T
    with pytest.raises(ValueError, match="two dimensions"):
        _ = xp.ones(3).mT
    with pytest.raises(TypeError, match="asarray"):
        Array([1, 2])


def test_in_place_keeps_the_dtype() -> None:
    x = xp.ones(2, dtype=xp.int32)
    x += xp.asarray(1, dtype=xp.int8)
    x *= 3
    assert x.tolist() == [6, 6]
    for other in (xp.ones(2), 0.5, xp.ones(2, dtype=xp.int64)):
        with pytest.raises(TypeError, match="in place"):
            x += other
    big = xp.asarray([2**63], dtype=xp.uint64)
    big >>= 62
    big **= 3
    assert big.tolist() == [8]
    with pytest.raises(TypeError):
        x += "text"


def test_iteration_and_repr() -> None:
    assert [type(row) for row in xp.zeros((2, 2))] == [Array, Array]
    assert repr(xp.asarray([1, 2])) == "Array([1, 2])"


# ------------------------------------------------------------------------------------------------------ indexing

steps = st.sampled_from([None, 1, 2, 3, -1, -2, -3])
bounds = st.none() | st.integers(-5, 5)
parts = st.builds(slice, bounds, bounds, steps) | st.integers(-2, 1) | st.none()


@settings(max_examples=150, deadline=None)
@given(st.lists(parts, max_size=4), st.booleans(), st.data())
def test_basic_indices(key: list[Any], dots: bool, data: st.DataObject) -> None:
    if dots:
        key.insert(data.draw(st.integers(0, len(key))), ...)
    a = np.arange(24).reshape(2, 3, 4)
    x = xp.asarray(a, copy=True)
    try:
        expected = a[tuple(key)]
    except IndexError:
        with pytest.raises(IndexError):
            x[tuple(key)]
        return
    same(x[tuple(key)], np.asarray(expected))
    a = a.copy()
    values = -np.arange(expected.size).reshape(expected.shape) if expected.ndim else -7
    a[tuple(key)] = values
    x[tuple(key)] = xp.asarray(values)
    same(x, a)


def test_masks_and_index_arrays() -> None:
    a, x = both(np.arange(6).reshape(2, 3))
    mask = x > 2
    same(x[mask], a[a > 2])
    same(x[xp.asarray([1, 0]), xp.asarray([2, 0])], a[[1, 0], [2, 0]])
    assert x[xp.zeros((0, 3), dtype=xp.bool)].shape == (0,)
    x[xp.zeros((0, 3), dtype=xp.bool)] = 5
    same(x, a)
    x[mask] = 0
    assert x.tolist() == [[0, 1, 2], [0, 0, 0]]
    with pytest.raises(IndexError, match="negative step"):
        x[::-1, xp.asarray([0, 1])]
    with pytest.raises(ValueError, match="greater than zero"):
        x[::0]


# ------------------------------------------------------------------------------------------------- the functions


def test_asarray() -> None:
    a = np.arange(3.0)
    assert np.shares_memory(xp.asarray(a).numpy(), a)
    assert not np.shares_memory(xp.asarray(a, copy=True).numpy(), a)
    same(xp.asarray(a[::-1]), a[::-1])
    same(xp.asarray(a.astype(">f8")), a)
    same(xp.asarray(bytearray(b"\1\2")), np.array([1, 2], np.uint8))
    same(xp.asarray([xp.asarray(1), 2]), np.array([1, 2]))
    assert xp.asarray(2**63).dtype is xp.uint64
    assert xp.asarray([True, False]).dtype is xp.bool
    assert xp.asarray([1j]).dtype is xp.complex64
    for refused in ([1, 2], 1.0, a[::-1]):
        with pytest.raises(ValueError, match="copy"):
            xp.asarray(refused, copy=False)
    with pytest.raises(ValueError, match="alias"):
        xp.asarray(a, dtype=xp.int32, copy=False)
    with pytest.raises(TypeError, match="complex"):
        xp.astype(xp.asarray([1j]), xp.float32)


def test_large_integers_are_exact() -> None:
    big = 2**63 + 1
    for make in (list, tuple):
        assert xp.asarray(make([big, 0]), dtype=xp.uint64).tolist() == [big, 0]
        assert xp.asarray(make([[big], [0]])).tolist() == [[big], [0]]
    assert torch.tensor([big, 0], dtype=torch.bool).tolist() == [True, False]
    assert torch.tensor([float(big), 0.5]).dtype is torch.float32
    for values, dtype, error in (  # PyTorch's types
        *(([big, 0], "int64", ValueError), ([big, 0], "int32", ValueError)),
        *(([big, -1], "uint64", OverflowError), ([2**64, 0], "uint64", OverflowError)),
        *(([1e19, 1], "int64", RuntimeError), ([float("nan")], "int64", RuntimeError)),
        ([float("inf"), 1], "int8", RuntimeError),
    ):
        with pytest.raises(error, match="without overflow|Overflow when unpacking|int too big to convert"):
            torch.tensor(values, dtype=getattr(torch, dtype))


def test_creation() -> None:
    for args in ((5,), (1, 8, 3), (8, 1, 3), (8, 1, -2), (0.5, 3.0)):
        expected = np.arange(*args)
        same(xp.arange(*args, dtype=getattr(xp, expected.dtype.name)), expected)
    with pytest.raises(ValueError, match="step"):
        xp.arange(0, 1, 0)
    same(xp.linspace(0, 3, 4, dtype=xp.float64, endpoint=False), np.linspace(0, 3, 4, endpoint=False))
    same(xp.linspace(0, 1j, 4, dtype=xp.complex128), np.linspace(0, 1j, 4))
    for k in (-3, -1, 0, 2, 5):
        same(xp.eye(3, 4, k=k, dtype=xp.float64), np.eye(3, 4, k=k))
        a, x = both(np.arange(12.0).reshape(3, 4))
        same(xp.tril(x, k=k), np.tril(a, k))
        same(xp.triu(x, k=k), np.triu(a, k))
    for indexing in ("xy", "ij"):
        for ours, numpys in zip(
            xp.meshgrid(xp.arange(2), xp.arange(3), indexing=indexing),
            np.meshgrid(np.arange(2), np.arange(3), indexing=indexing),
        ):
            same(ours, numpys)
    assert xp.full((2,), 3).dtype is xp.int64
    assert xp.full(2, True).dtype is xp.bool
    assert xp.full_like(xp.ones(2), 3).dtype is xp.float32


special = [0.0, -0.0, 1.5, -2.5, 0.1, 7.0, np.inf, -np.inf, np.nan]


def test_elementwise_special_values() -> None:
    a, x = both(special)
    same(xp.sign(x), np.sign(a))
    same(xp.round(x), np.round(a))
    same(xp.signbit(x), np.signbit(a))
    c = xp.asarray([2.5 + 3.5j, -3 + 4j])
    same(xp.round(c), np.array([2 + 4j, -3 + 4j], np.complex64))
    same(xp.sign(c)[1:], np.array([-0.6 + 0.8j], np.complex64), rtol=1e-6)
    finite = [v for v in special if np.isfinite(v)]
    for v in finite:
        for w in finite:
            ours = xp.floor_divide(xp.asarray(v, dtype=xp.float64), xp.asarray(w, dtype=xp.float64))
            with np.errstate(all="ignore"):
                np.testing.assert_equal(ours.item(), np.floor_divide(v, w))
    assert str(xp.floor_divide(xp.asarray(1.0), -xp.inf).item()) == "-0.0"
    assert xp.asarray(xp.inf) // 2.0 == xp.inf
    y = xp.asarray([3.0, xp.inf])
    y //= xp.asarray([-xp.inf, 2.0])
    assert str(y.tolist()) == "[-0.0, inf]"
    e = xp.expm1(
        xp.asarray([complex("inf"), complex("-inf+infj"), complex("nan"), 1 + 2j], dtype=xp.complex128)
    )
    np.testing.assert_equal([e[0].item(), e[1].item()], [complex("inf"), -1 + 0j])
    assert e[2].item().imag == 0
    np.testing.assert_allclose(e[3].item(), np.exp(1 + 2j) - 1)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_shifts_past_the_width(dtype: str) -> None:
    a, x = both([1, 2, 100], dtype)
    assert (x << 70).tolist() == [0, 0, 0]
    assert (x >> 70).tolist() == [0, 0, 0]
    same(x << 1, a << np.array(1, dtype))
    if dtype.startswith("i"):
        assert (-x >> 70).tolist() == [-1, -1, -1]


def test_refused_dtypes() -> None:
    x, i, b, c = (
        xp.ones(2),
        xp.ones(2, dtype=xp.int8),
        xp.ones(2, dtype=xp.bool),
        xp.ones(2, dtype=xp.complex64),
    )
    for call in (
        *(lambda: xp.add(b, b), lambda: xp.sin(b), lambda: xp.floor(c), lambda: xp.less(c, c)),
        *(lambda: xp.bitwise_and(x, x), lambda: xp.logical_not(x), lambda: xp.mean(i), lambda: xp.sort(c)),
        *(lambda: xp.max(c), lambda: xp.fft.fft(i), lambda: xp.fft.rfft(c), lambda: xp.sin([1.0])),
        *(lambda: xp.clip(i, 0.5, 2), lambda: xp.linalg.vector_norm(i), lambda: xp.signbit(i)),
    ):
        with pytest.raises(TypeError, match="dtype|array|bound|order"):
            call()


def test_clip() -> None:
    a, x = both([1.0, 5.0, np.nan])
    same(xp.clip(x, 2, xp.asarray(4.0, dtype=xp.float64)), np.clip(a, 2, 4))
    assert xp.clip(xp.asarray([1, 200], dtype=xp.uint8), -5, 1000).tolist() == [1, 200]
    assert xp.clip(x) is not x


axes = [None, 0, -1, (0, 2), (), (2, 0, 1)]


@pytest.mark.parametrize("axis", axes, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(axis: Any, keepdims: bool) -> None:
    a, x = both(np.random.default_rng(0).normal(size=(2, 3, 4)))
    options = {"axis": axis, "keepdims": keepdims}
    for name in ("sum", "prod", "max", "min", "mean", "any", "all"):
        same(getattr(xp, name)(x, **options), np.asarray(getattr(np, name)(a, **options)))
    for name in ("std", "var"):
        same(getattr(xp, name)(x, **options), np.asarray(getattr(np, name)(a, **options)), atol=1e-14)
        if axis != ():
            same(getattr(xp, name)(x, correction=0.5, **options), np.asarray(getattr(np, name)(a, ddof=0.5, **options)))  # fmt: skip
    same(xp.count_nonzero(x > 0, **options), np.asarray((a > 0).sum(**options)))
    for name in ("argmax", "argmin"):
        if not isinstance(axis, tuple):
            same(getattr(xp, name)(x, **options), np.asarray(getattr(np, name)(a, **options)))


def test_accumulation() -> None:
    for dtype, wide in (("int8", "int64"), ("uint8", "uint64"), ("uint32", "uint64"), ("bool", "int64")):
        _, x = both([1, 1, 1], dtype)
        assert xp.sum(x).dtype is xp.prod(x).dtype is xp.cumulative_sum(x).dtype is getattr(xp, wide)
    assert xp.sum(xp.ones(2, dtype=xp.int8), dtype=xp.int16).dtype is xp.int16
    a, x = both(np.arange(1.0, 7.0).reshape(2, 3))
    same(xp.cumulative_prod(x, axis=1), np.cumulative_prod(a, axis=1))
    same(
        xp.cumulative_sum(x, axis=0, include_initial=True), np.cumulative_sum(a, axis=0, include_initial=True)
    )
    with pytest.raises(ValueError, match="axis is needed"):
        xp.cumulative_sum(x)
    with pytest.raises(ValueError, match="twice"):
        xp.sum(x, axis=(0, -2))
    with pytest.raises(IndexError, match="axis 2"):
        xp.sum(x, axis=2)
    same(xp.diff(x, n=2, prepend=x, append=x), np.diff(a, n=2, prepend=a, append=a))


def test_searching_and_sorting() -> None:
    a, x = both(np.random.default_rng(1).integers(0, 4, (3, 8)))
    same(xp.sort(x, axis=0), np.sort(a, axis=0))
    same(xp.argsort(x), np.argsort(a, stable=True))
    order = xp.argsort(x, descending=True).numpy()
    np.testing.assert_equal(order, np.argsort(-a, axis=-1, stable=True))
    for ours, numpys in zip(xp.nonzero(x), np.nonzero(a)):
        same(ours, numpys)
    with pytest.raises(ValueError, match="dimension"):
        xp.nonzero(xp.asarray(1))
    found = xp.unique_all(x)
    expected = np.unique_all(a)
    for ours, numpys in zip(found, expected):
        same(ours, numpys)
    assert found._fields == expected._fields
    nans = xp.asarray([xp.nan, 1.0, xp.nan])
    assert xp.unique_counts(nans).counts.tolist() == [1, 1, 1]
    assert xp.unique_values(xp.asarray([1j, 0j, 1j])).tolist() == [0j, 1j]
    assert xp.unique_inverse(nans).inverse_indices.tolist()[1] == 0
    sorter = np.array([2, 0, 1])
    v, w = np.array([2.0, 3.0, 1.0]), np.array([[2, 5], [0, 3]])
    for side in ("left", "right"):
        found = xp.searchsorted(xp.asarray(v), xp.asarray(w), side=side, sorter=xp.asarray(sorter))
        same(found, np.searchsorted(v, w, side=side, sorter=sorter))  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="side"):
        xp.searchsorted(xp.asarray(v), xp.asarray(w), side="middle")


def test_manipulation() -> None:
    a, x = both(np.arange(24).reshape(2, 3, 4))
    same(xp.concat([x, xp.asarray(1.0, dtype=xp.float64) * x], axis=None), np.concat([a, 1.0 * a], axis=None))
    same(xp.stack([x, x], axis=-1), np.stack([a, a], axis=-1))
    for ours, numpys in zip(xp.unstack(x, axis=1), np.unstack(a, axis=1)):
        same(ours, numpys)
    same(xp.roll(x, 5), np.roll(a, 5))
    same(xp.roll(x, (1, 2), axis=(0, 2)), np.roll(a, (1, 2), (0, 2)))
    same(xp.tile(x, (2, 1, 1, 2)), np.tile(a, (2, 1, 1, 2)))
    same(xp.repeat(x, 2), np.repeat(a, 2))
    same(xp.repeat(x, xp.asarray([1, 0, 2]), axis=1), np.repeat(a, [1, 0, 2], axis=1))
    same(xp.repeat(x, xp.asarray([2]), axis=1), np.repeat(a, [2], axis=1))
    same(xp.flip(x), np.flip(a))
    same(xp.flip(x, axis=(0, -1)), np.flip(a, (0, -1)))
    same(xp.moveaxis(x, (0, 1), (-1, 0)), np.moveaxis(a, (0, 1), (-1, 0)))
    same(xp.take(x, xp.asarray([-1, 0]), axis=1), np.take(a, [-1, 0], axis=1))
    at = np.array([[[0], [-1], [1]]])
    same(
        xp.take_along_axis(x, xp.asarray(np.broadcast_to(at, (2, 3, 1)).copy())),
        np.take_along_axis(a, at, -1),
    )
    with pytest.raises(IndexError, match="indices"):
        xp.take_along_axis(x, xp.asarray([[[4]]]))
    with pytest.raises(ValueError, match="axis is needed"):
        xp.take(x, xp.asarray([0]))
    assert xp.reshape(x, (6, -1)).data_ptr() == x.data_ptr()
    assert xp.reshape(x, (24,), copy=True).data_ptr() != x.data_ptr()
    with pytest.raises(ValueError, match="without a copy"):
        xp.reshape(xp.permute_dims(x, (2, 1, 0)), (24,), copy=False)
    with pytest.raises(ValueError, match="size one"):
        xp.squeeze(x, 0)
    with pytest.raises(IndexError, match="axis 4"):
        xp.expand_dims(x, 4)
    assert [r.shape for r in xp.broadcast_arrays(x, xp.asarray(1))] == [(2, 3, 4)] * 2
    assert xp.broadcast_arrays() == xp.meshgrid() == []


def test_linear_algebra() -> None:
    rng = np.random.default_rng(2)
    a, x = both(rng.normal(size=(2, 4, 3)))
    s, y = both(a.swapaxes(-1, -2) @ a)
    tolerance = {"rtol": 1e-9, "atol": 1e-12}
    la = xp.linalg
    for name in (
        "det",
        "inv",
        "cholesky",
        "eigvalsh",
        "pinv",
        "matrix_rank",
        "matrix_norm",
        "trace",
        "diagonal",
    ):
        expected = getattr(np.linalg, name)(s)
        same(getattr(la, name)(y), expected, **tolerance)
    same(la.cholesky(y, upper=True), np.linalg.cholesky(s).swapaxes(-1, -2), **tolerance)
    q, r = la.qr(x)
    same(q @ r, a, **tolerance)
    u, sv, vh = la.svd(x, full_matrices=False)
    same((u * sv[:, None, :]) @ vh, a, **tolerance)
    w, v = la.eigh(y)
    same(v @ (w[..., None] * v.mT), s, **tolerance)
    assert la.slogdet(y)._fields == ("sign", "logabsdet")
    b = rng.normal(size=3)
    same(la.solve(y, xp.asarray(b)), np.linalg.solve(s, b), **tolerance)
    m = rng.normal(size=(3, 3))
    same(la.solve(y, xp.asarray(m)), np.linalg.solve(s, m), **tolerance)
    for axis, order in ((None, 2), (0, 1), ((0, 1), np.inf), (-1, 0), ((), 2)):
        if axis != ():
            same(
                la.vector_norm(x, axis=axis, ord=order),
                np.asarray(np.linalg.vector_norm(a, axis=axis, ord=order)),
            )
    same(la.vector_norm(x, axis=()), np.abs(a))
    c1, c2 = rng.normal(size=(2, 1, 3)), rng.normal(size=(4, 3))
    same(la.cross(xp.asarray(c1), xp.asarray(c2)), np.linalg.cross(*np.broadcast_arrays(c1, c2)), **tolerance)
    z = rng.normal(size=3) + 1j
    same(xp.vecdot(xp.asarray(z), xp.asarray(z)), np.asarray(np.vecdot(z, z)), **tolerance)
    same(xp.vecdot(x, x, axis=1), (a * a).sum(1), **tolerance)
    same(la.outer(xp.asarray(z), xp.asarray(b)), np.outer(z, b))
    empty = xp.ones((0,), dtype=xp.float64)
    assert xp.tensordot(empty, xp.ones((1,), dtype=xp.float64), axes=0).shape == (0, 1)
    for call in (
        *(lambda: xp.matmul(x, xp.asarray(1.0)), lambda: la.outer(x, x), lambda: la.qr(x, mode="full")),
        *(
            lambda: la.matrix_rank(xp.ones(2)),
            lambda: la.cross(x, x, axis=1),
            lambda: xp.vecdot(x, y, axis=1),
        ),
        *(lambda: xp.matrix_transpose(xp.ones(2)), lambda: la.trace(xp.ones(2))),
    ):
        with pytest.raises(ValueError, match=r"\(\): "):
            call()


def test_fourier_transforms() -> None:
    a, x = both(np.random.default_rng(3).normal(size=(3, 8)))
    tolerance = {"rtol": 1e-9, "atol": 1e-12}
    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
        for norm in ("backward", "ortho", "forward"):
            same(
                getattr(xp.fft, name)(x, n=7, axis=0, norm=norm),
                getattr(np.fft, name)(a, 7, 0, norm),
                **tolerance,
            )
    for name in ("fftn", "ifftn", "rfftn", "irfftn"):
        same(
            getattr(xp.fft, name)(x, s=(4, 5), axes=(0, 1)),
            getattr(np.fft, name)(a, (4, 5), (0, 1)),
            **tolerance,
        )
    same(xp.fft.fftshift(x, axes=1), np.fft.fftshift(a, 1))
    same(xp.fft.ifftshift(x), np.fft.ifftshift(a))
    same(xp.fft.fftfreq(5, d=0.1, dtype=xp.float64), np.fft.fftfreq(5, 0.1))
    same(xp.fft.rfftfreq(5, dtype=xp.float64), np.fft.rfftfreq(5))
