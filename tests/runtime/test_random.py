"""The random functions against PyTorch (bit for bit), against moments, and on bad input."""

from __future__ import annotations

import copy
import math
import pickle
import threading
import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.runtime import box_muller, native_draws
from flambeau.runtime import distributions as D
from flambeau.runtime.mt19937 import Generator, default_generator

BF16 = np.dtype(ml_dtypes.bfloat16)
HALVES = [np.dtype(np.float16), BF16]
FLOATS = [*HALVES, np.dtype(np.float32), np.dtype(np.float64)]
COMPLEX = [np.dtype(np.complex64), np.dtype(np.complex128)]
INTEGERS = [np.dtype(t) for t in (np.bool_, np.uint8, np.int8, np.int16, np.int32, np.int64)]
LATER_UNSIGNED = [np.dtype(t) for t in (np.uint16, np.uint32, np.uint64)]
SHAPES = [
    (),
    (1,),
    (5,),
    (15,),
    (16,),
    (17,),
    (31,),
    (3, 7),
    (2, 16),
    (1000,),
    (16400,),
    (33001,),
    (0,),
    (2, 0),
]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


def torch_dtype(torch: Any, dtype: np.dtype[Any]) -> Any:
    return getattr(torch, dtype.name)


def to_numpy(torch: Any, tensor: Any) -> np.ndarray[Any, Any]:
    tensor = tensor.contiguous()
    return tensor.view(torch.int16).numpy().view(BF16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def to_torch(torch: Any, array: np.ndarray[Any, Any]) -> Any:
    return (
        torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype == BF16
        else torch.from_numpy(array)
    )


def check_same(
    torch: Any,
    ours: Callable[[Generator], Any],
    theirs: Callable[[Any], Any],
    *,
    seed: int = 7,
    cached: bool = False,
) -> None:
    """Same bits, and the same generator state afterwards; ``cached`` starts with a cached normal."""
    generator, reference = Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    if cached:
        D.normal(generator, (3,), np.float64)
        torch.empty(3, dtype=torch.float64).normal_(generator=reference)
    result, expected = ours(generator), to_numpy(torch, theirs(reference))
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    unequal = np.flatnonzero(result != expected)
    assert result.tobytes() == expected.tobytes(), (
        f"{unequal.size} of {result.size} differ: {result.flat[unequal[:3]]} {expected.flat[unequal[:3]]}"
    )
    np.testing.assert_array_equal(generator.get_state(), reference.get_state().numpy())


# Seeds and states.


@pytest.mark.parametrize(
    "seed", [0, 1, 5489, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1, -1, -(2**63)]
)
def test_seeds(torch: Any, seed: int) -> None:
    generator, reference = Generator(), torch.Generator()
    assert generator.initial_seed() == reference.initial_seed()
    generator.manual_seed(seed)
    reference.manual_seed(seed)
    assert generator.initial_seed() == reference.initial_seed()
    np.testing.assert_array_equal(generator.get_state(), reference.get_state().numpy())


def test_first_outputs_are_those_of_the_published_engine() -> None:
    # mt19937ar.c, and the C++ standard for the 10,000th number: [rand.predef].
    generator = Generator().manual_seed(5489)
    assert generator.raw32(3).tolist() == [3499211612, 581869302, 3890346734]
    assert generator.raw32(9997)[-1] == 4123659995


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (2**64, ValueError),
        (-(2**63) - 1, ValueError),
        (1.0, RuntimeError),
        (True, RuntimeError),
        ("1", RuntimeError),
    ],
)
def test_bad_seeds_change_nothing(seed: Any, error: type[Exception]) -> None:
    generator = Generator().manual_seed(3)
    before = generator.get_state()
    with pytest.raises(error):
        generator.manual_seed(seed)
    np.testing.assert_array_equal(generator.get_state(), before)


def test_entropy_seeds_can_be_repeated() -> None:
    generator = Generator()
    seed = generator.seed()
    first = D.uniform(generator, (4,), np.float32)
    np.testing.assert_array_equal(D.uniform(Generator().manual_seed(seed), (4,), np.float32), first)
    assert 0 <= seed < 2**53 and default_generator.initial_seed() != Generator().initial_seed()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2000), max_size=5), st.booleans())
def test_states_travel_both_ways(draws: list[int], normals: bool) -> None:
    torch = pytest.importorskip("torch")
    generator, reference = Generator().manual_seed(1), torch.Generator().manual_seed(1)
    for n in draws:
        D.uniform(generator, (n,), np.float32)
        torch.rand(n, generator=reference)
    if normals:
        D.normal(generator, (1,), np.float32)
        torch.randn(1, generator=reference)
    state = generator.get_state()
    np.testing.assert_array_equal(state, reference.get_state().numpy())
    theirs = torch.Generator()
    theirs.set_state(torch.from_numpy(state.copy()))
    ours = Generator().set_state(reference.get_state().numpy())
    np.testing.assert_array_equal(
        D.normal(ours, (701,), np.float64, contiguous=False),
        [float(torch.randn((), dtype=torch.float64, generator=theirs)) for _ in range(701)],
    )


def test_bad_states_change_nothing() -> None:
    generator = Generator().manual_seed(3)
    D.normal(generator, (5,), np.float32)
    good = generator.get_state()

    def changed(byte: int, value: int) -> Any:
        state = good.copy()
        state[byte] = value
        return state

    for bad, error in [
        (good.tolist(), TypeError),
        (good.astype(np.int32), TypeError),
        (good[:-1], RuntimeError),
        (np.stack([good, good], 1)[:, 0], RuntimeError),
        (np.zeros(5056, np.uint8), RuntimeError),
        (changed(12, 0), RuntimeError),
        (changed(16, 77), RuntimeError),
    ]:
        with pytest.raises(error):
            generator.set_state(bad)
        np.testing.assert_array_equal(generator.get_state(), good)


def test_copies_continue_alike() -> None:
    generator = Generator().manual_seed(4)
    D.normal(generator, (5,), np.float32)
    copies = [copy.deepcopy(generator), pickle.loads(pickle.dumps(generator)), generator.clone_state()]
    expected = D.normal(generator, (40,), np.float32)
    for other in copies:
        np.testing.assert_array_equal(D.normal(other, (40,), np.float32), expected)


def test_device_and_offset() -> None:
    with pytest.raises(RuntimeError, match="cuda"):
        Generator("cuda")
    with pytest.raises(RuntimeError, match="offset"):
        Generator().get_offset()
    with pytest.raises(RuntimeError, match="offset"):
        Generator().set_offset(1)


def test_threads_share_a_generator_without_losing_numbers() -> None:
    generator = Generator().manual_seed(9)
    parts: list[Any] = []

    def work() -> None:
        for _ in range(50):
            parts.append(D.uniform(generator, (100,), np.float64))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = D.uniform(Generator().manual_seed(9), (20000,), np.float64).reshape(-1, 100)
    np.testing.assert_array_equal(np.sort(np.stack(parts)[:, 0]), np.sort(expected[:, 0]))
    assert {p.tobytes() for p in parts} == {e.tobytes() for e in expected}


# Bit equality with PyTorch.


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEX], ids=str)
def test_uniform_and_normal(torch: Any, dtype: np.dtype[Any], shape: tuple[int, ...], cached: bool) -> None:
    def empty() -> Any:
        return torch.empty(shape, dtype=torch_dtype(torch, dtype))

    for low, high in ((0.0, 1.0), (-0.3, 1.1), (0.0, 0.7), (2.0, 2.0)):
        check_same(
            torch,
            lambda g, low=low, high=high: D.uniform(g, shape, dtype, low, high),
            lambda g, low=low, high=high: empty().uniform_(low, high, generator=g),
            cached=cached,
        )
    for mean, std in ((0.0, 1.0), (0.3, 1.7), (0.0, 0.02), (-4.0, 1.0), (1.0, 0.0)):
        check_same(
            torch,
            lambda g, mean=mean, std=std: D.normal(g, shape, dtype, mean, std),
            lambda g, mean=mean, std=std: empty().normal_(mean, std, generator=g),
            cached=cached,
        )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_other_floating_distributions(torch: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    def empty() -> Any:
        return torch.empty(shape, dtype=torch_dtype(torch, dtype))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_same(
            torch,
            lambda g: D.exponential(g, shape, dtype, 1.7),
            lambda g: empty().exponential_(1.7, generator=g),
        )
        for median, sigma in ((0.0, 1.0), (0.3, 1.7)):
            check_same(
                torch,
                lambda g, m=median, s=sigma: D.cauchy(g, shape, dtype, m, s),
                lambda g, m=median, s=sigma: empty().cauchy_(m, s, generator=g),
            )
        for cached in (False, True):
            check_same(
                torch,
                lambda g: D.log_normal(g, shape, dtype, 0.3, 1.7),
                lambda g: empty().log_normal_(0.3, 1.7, generator=g),
                cached=cached,
            )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
def test_bernoulli_geometric_and_whole_range(
    torch: Any, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    kind = torch_dtype(torch, dtype)

    def empty() -> Any:
        return torch.empty(shape, dtype=kind)

    for p in (0.0, 0.3, 1.0):
        check_same(
            torch,
            lambda g, p=p: D.bernoulli(g, shape, dtype, p),
            lambda g, p=p: empty().bernoulli_(p, generator=g),
        )
    for p_dtype in FLOATS:
        p = np.linspace(0, 1, math.prod(shape)).reshape(shape).astype(p_dtype)
        check_same(
            torch,
            lambda g, p=p: D.bernoulli_array(g, p, dtype),
            lambda g, p=p: empty().bernoulli_(to_torch(torch, p), generator=g),
        )
    check_same(torch, lambda g: D.random_integers(g, shape, dtype), lambda g: empty().random_(generator=g))
    if dtype != np.bool_:
        for p in (0.03, 1e-10):
            check_same(
                torch,
                lambda g, p=p: D.geometric(g, shape, dtype, p),
                lambda g, p=p: empty().geometric_(p, generator=g),
            )


RANGES = [
    *(
        (0, 1),
        (0, 2),
        (0, 10),
        (-5, 90),
        (3, None),
        (-100, 100),
        (0, 2**28 - 1),
        (0, 2**28),
        (-(2**40), 2**41),
    ),
    *((-(2**63), 2**63 - 1), (-(2**63), None), (1 - 2**63, None), (0, 65504), (2047, 4099), (-4099, -2047)),
    *(
        (-(2**31), 2**31),
        (0, 2**32),
        (2**24 - 3, 2**24 + 8),
        (2**53, 2**53 + 9),
        (2**62, 2**63 - 1),
        (5, 5),
        (6, 5),
    ),
]


@pytest.mark.parametrize("bounds", RANGES, ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, *LATER_UNSIGNED], ids=str)
def test_integers_in_a_range(torch: Any, dtype: np.dtype[Any], bounds: tuple[int, int | None]) -> None:
    low, high = bounds
    for shape in ((7,), (20000,), (0,)):

        def theirs(g: Any, shape: tuple[int, ...] = shape) -> Any:
            return torch.empty(shape, dtype=torch_dtype(torch, dtype)).random_(low, high, generator=g)

        def ours(g: Generator, shape: tuple[int, ...] = shape) -> Any:
            return D.random_integers_from(g, shape, dtype, low, high)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                theirs(torch.Generator())
            except (RuntimeError, NotImplementedError) as error:
                with pytest.raises(type(error)):
                    ours(Generator())
            else:
                check_same(torch, ours, theirs)


def test_imprecise_bounds_warn() -> None:
    with pytest.warns(UserWarning, match="to - 1 is out of bounds"):
        D.random_integers_from(Generator(), (3,), np.float32, 0, 2**30)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 127, 128, 256, 300, 2049, 30000])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, *LATER_UNSIGNED], ids=str)
def test_permutations(torch: Any, dtype: np.dtype[Any], n: int) -> None:
    def theirs(g: Any) -> Any:
        return torch.randperm(n, dtype=torch_dtype(torch, dtype), generator=g)

    try:
        theirs(torch.Generator())
    except (RuntimeError, NotImplementedError) as error:
        with pytest.raises(type(error)):
            D.randperm(Generator(), n, dtype)
    else:
        check_same(torch, lambda g: D.randperm(g, n, dtype), theirs)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("shape", [(5,), (3, 7), (40, 30), (1000,)], ids=str)
@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
def test_multinomial(
    torch: Any, dtype: np.dtype[Any], shape: tuple[int, ...], replacement: bool, count: int
) -> None:
    weights = np.random.default_rng(3).random(shape).astype(dtype)
    for w in (weights, weights.T) if len(shape) == 2 else (weights,):
        if count <= w.shape[-1] or replacement:
            check_same(
                torch,
                lambda g, w=w: D.multinomial(g, w, count, replacement),
                lambda g, w=w: torch.multinomial(to_torch(torch, w), count, replacement, generator=g),
            )


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_multinomial_in_16_bits(torch: Any, dtype: np.dtype[Any]) -> None:
    weights = np.random.default_rng(3).random((3, 7)).astype(dtype)
    for count, replacement in ((1, False), (1, True), (9, True)):
        check_same(
            torch,
            lambda g, c=count, r=replacement: D.multinomial(g, weights, c, r),
            lambda g, c=count, r=replacement: torch.multinomial(to_torch(torch, weights), c, r, generator=g),
        )


@pytest.mark.parametrize("bounds", [(0, 3), (5, 15), (10, 200), (1e3, 1e4), (0, 0)], ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_poisson(torch: Any, dtype: np.dtype[Any], bounds: tuple[float, float]) -> None:
    rate = np.random.default_rng(3).uniform(*bounds, (50, 40)).astype(dtype)
    check_same(
        torch, lambda g: D.poisson(g, rate), lambda g: torch.poisson(to_torch(torch, rate), generator=g)
    )


@pytest.mark.parametrize("most", [0, 3, 50, 1000, 1e6])
@pytest.mark.parametrize("dtype", FLOATS[2:], ids=str)
def test_binomial(torch: Any, dtype: np.dtype[Any], most: float) -> None:
    source = np.random.default_rng(3)
    count, prob = np.floor(source.uniform(0, most, (1000,))).astype(dtype), source.random(1000).astype(dtype)
    prob[::50], prob[1::50], count[2::50], prob[3::200] = 0, 1, 0, np.nan
    check_same(
        torch,
        lambda g: D.binomial(g, count, prob),
        lambda g: torch.binomial(to_torch(torch, count), to_torch(torch, prob), generator=g),
    )


@pytest.mark.parametrize("bounds", [(0, 1), (0, 0.01), (0.5, 5), (10, 1000), (-1, 0)], ids=str)
@pytest.mark.parametrize("dtype", FLOATS[2:], ids=str)
def test_gamma_and_dirichlet(torch: Any, dtype: np.dtype[Any], bounds: tuple[float, float]) -> None:
    alpha = np.random.default_rng(3).uniform(*bounds, (300, 3)).astype(dtype)
    alpha[::50] = 0
    for cached in (False, True):
        check_same(
            torch,
            lambda g: D.standard_gamma(g, alpha),
            lambda g: torch._standard_gamma(to_torch(torch, alpha), generator=g),
            cached=cached,
        )
    check_same(
        torch,
        lambda g: D.dirichlet(g, alpha),
        lambda g: torch._sample_dirichlet(to_torch(torch, alpha), generator=g),
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_dropout_and_rrelu(torch: Any, dtype: np.dtype[Any]) -> None:
    def with_default(function: Callable[[], Any]) -> Callable[[Any], Any]:
        """PyTorch's dropout and rrelu draw from the default generator only."""

        def run(reference: Any) -> Any:
            before = torch.get_rng_state()
            torch.set_rng_state(reference.get_state())
            try:
                return function()
            finally:
                reference.set_state(torch.get_rng_state())
                torch.set_rng_state(before)

        return run

    ones = torch.ones(20, 30, dtype=torch_dtype(torch, dtype))
    for p in (0.1, 0.3, 0.5, 0.9):
        check_same(
            torch,
            lambda g, p=p: D.dropout_noise(g, (20, 30), dtype, p),
            with_default(lambda p=p: torch.nn.functional.dropout(ones, p)),
        )
    if dtype != np.float16:
        x = np.random.default_rng(3).standard_normal((20, 30)).astype(dtype)

        def noise() -> Any:
            result = torch.empty_like(ones)
            torch._C._nn.rrelu_with_noise(to_torch(torch, x), result, 0.1, 0.4, True)
            return result

        check_same(torch, lambda g: D.rrelu_noise(g, x, 0.1, 0.4), with_default(noise))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_normal_with_arrays(torch: Any, dtype: np.dtype[Any]) -> None:
    mean = np.linspace(-1, 1, 24).reshape(4, 6).astype(dtype)
    std = np.linspace(0.1, 2, 24).reshape(4, 6).astype(dtype)
    wide = std.astype(np.float64)
    for m, s in (
        (mean, 1.5),
        (0.3, std),
        (mean, std),
        (mean[:, :1], std[0]),
        (mean, wide),
        (mean, wide[0, 0:1].reshape(())),
    ):
        check_same(
            torch,
            lambda g, m=m, s=s: D.normal_arrays(g, m, s, dtype),
            lambda g, m=m, s=s: torch.normal(
                *(
                    to_torch(torch, np.ascontiguousarray(v)).reshape(np.shape(v))
                    if isinstance(v, np.ndarray)
                    else v
                    for v in (m, s)
                ),
                generator=g,
            ),
        )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4).flatmap(
        lambda dims: st.tuples(st.just(dims), st.permutations(range(len(dims))))
    )
)
def test_fill_follows_memory(layout: tuple[list[tuple[int, int]], list[int]]) -> None:
    """Strided and transposed targets: sizes, steps and a permutation of the dimensions."""
    torch = pytest.importorskip("torch")
    dims, order = layout
    whole = np.zeros([size * step for size, step in dims], np.float32)
    target = whole[tuple(slice(None, None, step) for _, step in dims)].transpose(order)
    theirs = torch.from_numpy(whole.copy())[tuple(slice(None, None, step) for _, step in dims)].permute(
        *order
    )
    generator, reference = Generator().manual_seed(2), torch.Generator().manual_seed(2)
    D.fill(target, lambda shape: D.uniform(generator, shape, target.dtype))
    np.testing.assert_array_equal(target, theirs.uniform_(generator=reference).numpy())
    D.fill(
        target, lambda shape: D.normal(generator, shape, target.dtype, contiguous=target.flags.c_contiguous)
    )
    np.testing.assert_array_equal(target, theirs.normal_(generator=reference).numpy())


# Moments, independently of PyTorch.


@pytest.mark.parametrize(
    ("draw", "mean", "variance"),
    [
        (lambda g, n: D.uniform(g, (n,), np.float32, -1, 3), 1.0, 16 / 12),
        (lambda g, n: D.normal(g, (n,), np.float32, 2, 3), 2.0, 9.0),
        (lambda g, n: D.normal(g, (n,), np.float64, 2, 3), 2.0, 9.0),
        (lambda g, n: D.normal(g, (n,), np.float32, 2, 3, contiguous=False), 2.0, 9.0),
        (lambda g, n: D.exponential(g, (n,), np.float32, 2), 0.5, 0.25),
        (
            lambda g, n: D.log_normal(g, (n,), np.float64, 0, 0.5),
            math.exp(0.125),
            (math.exp(0.25) - 1) * math.exp(0.25),
        ),
        (lambda g, n: D.geometric(g, (n,), np.int64, 0.25), 4.0, 12.0),
        (lambda g, n: D.bernoulli(g, (n,), np.int64, 0.3), 0.3, 0.21),
        (lambda g, n: D.random_integers_from(g, (n,), np.int64, -2, 5), 1.0, 4.0),
        (lambda g, n: D.poisson(g, np.full(n, 4.0)), 4.0, 4.0),
        (lambda g, n: D.poisson(g, np.full(n, 40.0)), 40.0, 40.0),
        (lambda g, n: D.binomial(g, np.full(n, 10.0), np.full(n, 0.4)), 4.0, 2.4),
        (lambda g, n: D.binomial(g, np.full(n, 100.0), np.full(n, 0.7)), 70.0, 21.0),
        (lambda g, n: D.standard_gamma(g, np.full(n, 0.5)), 0.5, 0.5),
        (lambda g, n: D.standard_gamma(g, np.full(n, 7.0)), 7.0, 7.0),
        (lambda g, n: D.dirichlet(g, np.full((n, 3), 2.0))[:, 0], 1 / 3, 2 / 63),
        (lambda g, n: D.multinomial(g, np.array([1.0, 2.0, 1.0]), n, True), 1.0, 0.5),
    ],
)
def test_moments(draw: Callable[[Generator, int], Any], mean: float, variance: float) -> None:
    n = 20000
    x = draw(Generator().manual_seed(11), n).astype(np.float64)
    assert abs(x.mean() - mean) < 5 * math.sqrt(variance / n)
    assert abs(x.var() - variance) < 0.1 * variance


# Bad input: the error, and nothing drawn.

EMPTY: tuple[int, ...] = (0,)
NAN = math.nan


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda g: D.uniform(g, (3,), np.float32, 2, 1), RuntimeError),
        (lambda g: D.uniform(g, EMPTY, np.float32, 2, 1), RuntimeError),
        (lambda g: D.uniform(g, (3,), np.float32, 0, 1e39), RuntimeError),
        (lambda g: D.uniform(g, (3,), np.float32, -3e38, 3e38), RuntimeError),
        (lambda g: D.uniform(g, (3,), np.float16, 0, 70000), RuntimeError),
        (lambda g: D.uniform(g, (3,), np.float64, NAN, 1), RuntimeError),
        (lambda g: D.uniform(g, (3,), np.int32), NotImplementedError),
        (lambda g: D.normal(g, (3,), np.float32, 0, -1), RuntimeError),
        (lambda g: D.normal(g, EMPTY, np.float32, 0, NAN), RuntimeError),
        (lambda g: D.normal(g, (3,), np.bool_), NotImplementedError),
        (lambda g: D.normal_arrays(g, 0.0, np.array([1.0, -1.0]), np.float64), RuntimeError),
        (lambda g: D.normal_arrays(g, 0.0, np.array([1.0, NAN]), np.float64), RuntimeError),
        (lambda g: D.normal_arrays(g, np.zeros(2), -1.0, np.float64), RuntimeError),
        (lambda g: D.normal_arrays(g, 0.0, np.ones(2, np.complex64), np.float32), RuntimeError),
        (lambda g: D.normal_arrays(g, np.zeros(2), np.ones(3), np.float64), ValueError),
        (lambda g: D.random_integers_from(g, (3,), np.int64, 0, 2**63), ValueError),
        (lambda g: D.random_integers_from(g, (3,), np.complex64, 0, 2), RuntimeError),
        (lambda g: D.random_integers_from(g, EMPTY, np.uint8, 0, 300), RuntimeError),
        (lambda g: D.random_integers_from(g, (3,), np.float32, 2**63 - 1, None), RuntimeError),
        (lambda g: D.random_integers(g, (3,), np.uint32), NotImplementedError),
        (lambda g: D.random_integers(g, (3,), np.complex64), NotImplementedError),
        (lambda g: D.randperm(g, -1), RuntimeError),
        (lambda g: D.randperm(g, 3000, np.float16), RuntimeError),
        (lambda g: D.randperm(g, 257, np.uint8), RuntimeError),
        (lambda g: D.randperm(g, 3, np.complex64), NotImplementedError),
        (lambda g: D.bernoulli(g, (3,), np.float32, 1.5), RuntimeError),
        (lambda g: D.bernoulli(g, EMPTY, np.float32, NAN), RuntimeError),
        (lambda g: D.bernoulli(g, (3,), np.uint16, 0.5), NotImplementedError),
        (lambda g: D.bernoulli_array(g, np.array([0.5, 1.5]), np.float32), RuntimeError),
        (lambda g: D.bernoulli_array(g, np.array([0.5, NAN]), np.float32), RuntimeError),
        (lambda g: D.bernoulli_array(g, np.array([0, 1]), np.float32), NotImplementedError),
        (lambda g: D.exponential(g, (3,), np.float32, 0), RuntimeError),
        (lambda g: D.exponential(g, (3,), np.float32, NAN), RuntimeError),
        (lambda g: D.exponential(g, (3,), np.int32), RuntimeError),
        (lambda g: D.geometric(g, (3,), np.float32, 0), RuntimeError),
        (lambda g: D.geometric(g, (3,), np.float32, 1), RuntimeError),
        (lambda g: D.geometric(g, (3,), np.bool_, 0.5), NotImplementedError),
        (lambda g: D.cauchy(g, (3,), np.float32, 0, 0), RuntimeError),
        (lambda g: D.cauchy(g, (3,), np.int32), RuntimeError),
        (lambda g: D.log_normal(g, (3,), np.float32, 0, 0), RuntimeError),
        (lambda g: D.log_normal(g, (3,), np.int32), NotImplementedError),
        (lambda g: D.dropout_noise(g, (3,), np.float32, 1.5), RuntimeError),
        (lambda g: D.rrelu_noise(g, np.ones(3), 0.5, 0.2), RuntimeError),
        (lambda g: D.rrelu_noise(g, np.ones(3, np.float16), 0.1, 0.2), NotImplementedError),
        (lambda g: D.multinomial(g, np.ones(3), 4), RuntimeError),
        (lambda g: D.multinomial(g, np.ones(3), 0), RuntimeError),
        (lambda g: D.multinomial(g, np.ones((2, 2, 2)), 1), RuntimeError),
        (lambda g: D.multinomial(g, np.ones(3, np.int64), 1), RuntimeError),
        (lambda g: D.multinomial(g, np.array([-1.0, 2]), 1), RuntimeError),
        (lambda g: D.multinomial(g, np.array([math.inf, 2]), 1, True), RuntimeError),
        (lambda g: D.multinomial(g, np.array([NAN, 2]), 1, True), RuntimeError),
        (lambda g: D.multinomial(g, np.array([[1.0, 2], [0, 0]]), 1), RuntimeError),
        (lambda g: D.multinomial(g, np.ones((3, 0)), 1, True), RuntimeError),
        (lambda g: D.poisson(g, np.array([1.0, -1.0])), RuntimeError),
        (lambda g: D.poisson(g, np.array([1.0, NAN])), RuntimeError),
        (lambda g: D.poisson(g, np.array([1.0, math.inf])), RuntimeError),
        (lambda g: D.poisson(g, np.array([3])), NotImplementedError),
        (lambda g: D.binomial(g, np.array([3]), np.array([0.5])), ValueError),
        (lambda g: D.binomial(g, np.array([3.0]), np.array([0.5], np.float32)), RuntimeError),
        (lambda g: D.binomial(g, np.array([NAN]), np.array([0.5])), RuntimeError),
        (lambda g: D.standard_gamma(g, np.array([1])), NotImplementedError),
        (lambda g: D.dirichlet(g, np.ones(2, np.float16)), NotImplementedError),
    ],
)
def test_errors_draw_nothing(call: Callable[[Generator], Any], error: type[Exception]) -> None:
    generator = Generator().manual_seed(5)
    D.normal(generator, (3,), np.float32)
    before = generator.get_state()
    with pytest.raises(error):
        call(generator)
    np.testing.assert_array_equal(generator.get_state(), before)


def test_extreme_parameters_stay_quiet_and_infinite() -> None:
    generator = Generator().manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(D.normal(generator, (32,), np.float16, 0, 1e9)).all()
        assert np.isinf(D.normal(generator, (3,), np.float32, 0, 1e300)).any()
        assert (D.exponential(generator, (4,), np.float32, math.inf) == 0).all()
        assert np.isinf(D.log_normal(generator, (8,), np.float64, 1e4, 1)).all()
        assert D.multinomial(generator, np.array([0.0, 1.0, 0.0]), 3).tolist() == [1, 0, 2]
        assert D.multinomial(generator, np.zeros((0, 3)), 2).shape == (0, 2)


# Generated code: the same bits as without it.


@pytest.fixture
def native() -> Any:
    from flambeau.compiler import random_kernels

    loaded = random_kernels.load()
    if loaded is None:
        pytest.skip("no generated code on this machine")
    return loaded


def test_generated_engine_outputs(native: Any) -> None:
    plain, fast = Generator().manual_seed(8), np.random.MT19937(0)
    np.random.RandomState(fast).seed(8)
    for n in (0, 1, 3, 600, 19, 1, 623, 624, 625, 5000, 7, 40000):
        out = np.empty(n, np.uint32)
        native.outputs(fast.ctypes.state_address, out)
        np.testing.assert_array_equal(out, plain.raw32(n))


@pytest.mark.parametrize("parameters", [(0.0, 1.0), (0.3, 1.7), (0.0, 0.02), (5.0, 0.0)])
def test_generated_normals(native: Any, parameters: tuple[float, float]) -> None:
    if not native.has_normal32:
        pytest.skip("no fused multiply-add")
    bits = np.random.default_rng(0).integers(0, 2**32, 1 << 16, np.uint32)
    bits[:32] = np.repeat([0, 0xFFFFFF], 16)  # the least and the largest uniforms
    uniform = (bits & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24)
    expected = box_muller.fill16_float32(uniform, *parameters)
    native.normal32(bits, *parameters)
    np.testing.assert_array_equal(bits, expected.view(np.uint32))


def test_generated_functions_replace_the_slow_ones(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Callable[[Generator], Any]] = [
        lambda g: D.uniform(g, (5000,), np.float32),
        lambda g: D.uniform(g, (5000,), np.float64, -1, 2),
        lambda g: D.normal(g, (5001,), np.float32),
        lambda g: D.normal(g, (5001,), ml_dtypes.bfloat16),
        lambda g: D.normal(g, (5001,), np.float64, 1, 2),
        lambda g: D.normal(g, (5001,), np.float64, contiguous=False),
        lambda g: D.cauchy(g, (500,), np.float64),
        lambda g: D.exponential(g, (500,), np.float64),
        lambda g: D.log_normal(g, (500,), np.float64),
        lambda g: D.log_normal(g, (500,), np.float64, 1e3, 1),
        lambda g: D.randperm(g, 5000),
    ]

    def results() -> list[Any]:
        generator = Generator().manual_seed(12)
        return [call(generator) for call in calls] + [generator.get_state()]

    monkeypatch.setattr(native_draws._State, "loader", None)
    monkeypatch.setattr(native_draws._State, "loaded", None)
    plain = results()
    monkeypatch.setattr(native_draws._State, "loaded", native)
    for fast, slow in zip(results(), plain):
        assert fast.tobytes() == slow.tobytes()


def test_loading_waits_until_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loader", "loaded", "saving"):
        monkeypatch.setattr(native_draws._State, name, getattr(native_draws._State, name))
    loads: list[int] = []
    native_draws.offer(lambda: loads.append(1))  # type: ignore[func-returns-value]
    assert native_draws.kernels(1e-6) is None and loads == []
    assert native_draws.kernels(1.0) is None and loads == [1]
    assert native_draws.kernels(1.0) is None and loads == [1]
