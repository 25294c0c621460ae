"""Random calls of every function that remembers how its calls went: they give what a function without memory gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import remembered
from flambeau.core.public import FUNCTIONS, METHODS, OVERRIDES
from flambeau.core.remembered import ONE_WAY, forget

F = torch.nn.functional
FLOATS = [torch.float32, torch.float64, torch.bfloat16]
DTYPES = [*FLOATS, torch.float32, torch.float16, torch.int64, torch.bool, torch.complex64]


class Maker:
    """Random arguments: the layout comes from one generator, values from another, so that a layout can come again."""

    def __init__(self, layout: int, values: int) -> None:
        self.layout = np.random.default_rng(layout)
        self.values = np.random.default_rng(values)
        self.dtype = self.pick(DTYPES)

    def pick(self, options: Any) -> Any:
        return options[int(self.layout.integers(len(options)))]

    def shape(self, dims: int | None = None) -> tuple[int, ...]:
        dims = self.pick((1, 2, 2, 3, 3, 4)) if dims is None else dims
        return tuple([self.pick((1, 2, 3, 3, 4, 4, 4, 0)) for _ in range(dims)])

    def tensor(self, shape: Any = None, dtype: Any = None, low: int = -4, high: int = 5) -> torch.Tensor:
        shape, dtype = self.shape() if shape is None else shape, dtype or self.dtype
        form = self.pick(("plain", "plain", "transposed", "strided", "expanded"))
        if form == "transposed":
            return self.fill(shape[::-1], dtype, low, high).permute(tuple(range(len(shape)))[::-1])
        if form == "strided" and shape:
            return self.fill((*shape[:-1], 2 * shape[-1]), dtype, low, high)[..., ::2]
        if form == "expanded" and shape:
            return self.fill((1, *shape[1:]), dtype, low, high).expand(shape)
        return self.fill(shape, dtype, low, high)

    def fill(self, shape: Any, dtype: Any, low: int, high: int) -> torch.Tensor:
        if not dtype.is_floating_point and not dtype.is_complex:
            a = self.values.integers(low, high, shape)
        else:
            a = self.values.normal(size=shape)
            if a.size and self.values.random() < 0.3:
                a.reshape(-1)[0] = self.values.choice([0.0, -0.0, np.nan, np.inf, 1.0])
        return torch.tensor(a).to(dtype)

    def dim(self) -> int:
        return self.pick((0, 1, -1, -2, 0, 1, 5))

    def number(self) -> float | int:
        return self.pick((0.5, 2.0, -1.0, 0.0, -0.0, 0, 1, 3, True, float("nan")))

    def flag(self) -> bool:
        return self.pick((False, True))


def reduces(m: Maker) -> Any:
    x, dim = m.tensor(), m.dim()
    return m.pick(
        [((x,), {}), ((x, dim), {}), ((x, dim, m.flag()), {}), ((x,), {"dim": dim, "keepdim": m.flag()})]
    )


def reduces_dims(m: Maker) -> Any:
    x = m.tensor()
    dims = m.pick([(0, 1), (0,), [1], [0, -1], 0])
    return m.pick(
        [((x, dims), {}), ((x, dims, m.flag()), {}), ((x,), {}), ((x, m.dim()), {"keepdim": m.flag()})]
    )


def along(m: Maker) -> Any:
    return m.pick([((m.tensor(), m.dim()), {}), ((m.tensor(),), {"dim": m.dim()})])


def with_dtype(m: Maker) -> Any:
    (x, *rest), kwargs = along(m)
    return (x, *rest), kwargs | m.pick([{}, {"dtype": torch.float64}])


def numbers(m: Maker, most: int = 2) -> Any:
    return (m.tensor(), *[m.number() for _ in range(m.pick(range(most + 1)))]), {}


def pair(m: Maker) -> Any:
    shape = m.shape()
    return (m.tensor(shape), m.tensor(m.pick([shape, shape, shape[-1:], (1,)]))), {}


def loss(m: Maker) -> Any:
    args, _ = pair(m)
    return args, m.pick([{}, {"reduction": m.pick(("mean", "sum", "none", "wrong"))}])


def product(m: Maker, *dims: int) -> Any:
    a, b, c, n = (m.pick((1, 2, 3, 0)) for _ in range(4))
    shapes = {1: ((b,), (b,)), 2: ((a, b), (b, c)), 3: ((n, a, b), (n, b, c))}
    first, second = (m.pick(dims), m.pick(dims)) if len(dims) > 1 else dims * 2
    x = m.tensor(shapes[first][0])
    return (x, x if first == 1 and m.flag() else m.tensor(shapes[second][1])), {}


def added(m: Maker, shapes: str) -> Any:
    n = {k: m.pick((1, 2, 3, 0)) for k in "abcn"}
    args = [m.tensor(tuple([n[k] for k in word.strip("_")])) for word in shapes.split()]
    return tuple(args), m.pick([{}, {"beta": m.number(), "alpha": m.number()}])


def indices(m: Maker) -> Any:
    x, dim = m.tensor(m.shape(2)), m.pick((0, 1, -1))
    index = m.tensor(m.pick([tuple(x.shape), (2, 2), (1, 3)]), torch.int64, 0, m.pick((1, 2, 5)))
    return x, dim, index


def image(m: Maker, dims: int) -> torch.Tensor:
    return m.tensor(m.pick([(2, 2), (1, 2), (2,)]) + m.pick([(5,), (4,), (6,)]) * dims, m.pick(FLOATS))


def pool(m: Maker, dims: int) -> Any:
    return (image(m, dims), m.pick((2, 3, (2,) * dims))), m.pick(
        [{}, {"stride": 1}, {"padding": 1}, {"ceil_mode": True}]
    )


def conv(m: Maker, dims: int, transposed: bool) -> Any:
    x = image(m, dims)
    w = m.tensor((2, 2) + m.pick([(3,), (1,), (2,)]) * dims, x.dtype)
    more = m.pick([(), (m.tensor((2,), x.dtype),), (None, 2), (None, 1, 1), (None, (1,) * dims)])
    return (x, w, *more), {} if transposed else m.pick([{}, {"dilation": 2}])


def shaped(m: Maker) -> Any:
    x = m.tensor()
    n = x.numel()
    sizes = m.pick([(-1,), (n,), (1, n), (n, 1), (2, -1), tuple(x.shape), torch.Size([n]), [n, 1], ()])
    return ((x, sizes) if m.flag() else (x, *sizes)), {}


def norm_args(m: Maker) -> Any:
    x = m.tensor(dtype=m.pick(FLOATS))
    w = m.tensor(tuple(x.shape[-1:]), x.dtype)
    return m.pick(
        [((x, x.shape[-1:]), {}), ((x, x.shape[-1:], w), {}), ((x, [3], w), {}), ((x, (4,)), {"eps": 0.1})]
    )


def attention(m: Maker) -> Any:
    q = m.tensor((1, 2, 3, 4), m.pick(FLOATS))
    k = m.tensor((1, 2, m.pick((3, 4)), 4), q.dtype)
    return (q, k, m.pick([k, m.tensor(tuple(k.shape), q.dtype)])), m.pick(
        [{}, {"is_causal": True}, {"scale": 0.5}, {"dropout_p": 0.5}]
    )


def groups(m: Maker) -> Any:
    x = m.tensor((2, 4, 3), m.pick(FLOATS))
    w = m.tensor((4,), x.dtype)
    return m.pick([((x, 2), {}), ((x, 2, w, w), {}), ((x, 4), {"eps": 0.1}), ((x, 3), {})])


def one(*more: Any) -> Callable[[Maker], Any]:
    return lambda m: ((m.tensor(), *m.pick(more)), {})


def lists(m: Maker) -> Any:
    shape = m.shape()
    xs = [m.tensor(shape, m.pick((m.dtype, torch.float32))) for _ in range(3)]
    return (m.pick([xs, tuple(xs), xs[:1], [xs[0], xs[0]]]), *m.pick([(), (m.dim(),)])), {}


def scattered(m: Maker) -> Any:
    x, dim, index = indices(m)
    return (x, dim, index, m.pick([m.tensor(tuple(index.shape), x.dtype), m.number()])), {}


def ternary(m: Maker) -> Any:
    shape = m.shape()
    return tuple([m.tensor(shape) for _ in range(3)]), m.pick([{}, {"value": m.number()}])


def likelihoods(m: Maker) -> Any:
    x = m.tensor(m.pick([(4, 3), (2, 3), (3,), (2, 3, 2)]), m.pick(FLOATS))
    shape = () if x.ndim == 1 else (x.shape[0], *x.shape[2:])
    t = m.tensor(shape, torch.int64, 0, m.pick((2, 3, 3, 4)))
    return (x, t), m.pick(
        [{}, {"ignore_index": 1}, {"reduction": "none"}, {"reduction": "sum", "ignore_index": 0}]
    )


def square(m: Maker) -> torch.Tensor:
    """Definite matrices, most of the time."""
    x = m.tensor(m.pick([(3, 3), (2, 3, 3), (2, 3)]), m.pick([torch.float32, torch.float64]))
    return x @ x.mT + 9 * torch.eye(3, dtype=x.dtype) if x.shape[-1] == x.shape[-2] else x


MAKERS: dict[str, Callable[[Maker], Any]] = {
    "adaptive_avg_pool1d": lambda m: ((image(m, 1), m.pick((1, 2, 3))), {}),
    "adaptive_avg_pool2d": lambda m: ((image(m, 2), m.pick((1, 2, 3, (1, 2)))), {}),
    "adaptive_avg_pool3d": lambda m: ((image(m, 3), m.pick((1, 2, 3))), {}),
    "addbmm": lambda m: added(m, "ac nab nbc"),
    "addcmul": ternary,
    "addcdiv": ternary,
    "lerp": lambda m: (ternary(m)[0][:2] + (m.pick([m.number(), m.tensor((1,))]),), {}),
    "masked_select": lambda m: ((m.tensor((2, 3)), m.tensor(m.pick([(2, 3), (3,)]), torch.bool)), {}),
    "complex": lambda m: ((m.tensor((2, 3), torch.float32), m.tensor(m.pick([(2, 3), (3,)]), torch.float32)), {}),
    "index_put": lambda m: (lambda x, d, i: ((x, (i,), m.tensor((1,), x.dtype), *m.pick([(), (True,)])), {}))(*indices(m)),
    "isclose": lambda m: (pair(m)[0], m.pick([{}, {"atol": 0.5}, {"equal_nan": True}])),
    "linalg_solve": lambda m: ((square(m), m.tensor((3, 2), torch.float64)), {}),
    "addmm": lambda m: added(m, m.pick(["ac ab bc", "c ab bc", "_ ab bc"])),
    "addmv": lambda m: added(m, m.pick(["a ab b", "_ ab b"])),
    "addr": lambda m: added(m, "ab a b"),
    "argsort": lambda m: ((m.tensor(), m.dim(), m.flag()), {}),
    "baddbmm": lambda m: added(m, m.pick(["nac nab nbc", "c nab nbc"])),
    "bmm": lambda m: product(m, 3),
    "cdist": lambda m: ((m.tensor((2, 3), m.pick(FLOATS)), m.tensor((4, 3), torch.float32)), m.pick([{}, {"p": 1.0}])),
    "cosine_similarity": lambda m: (pair(m)[0], m.pick([{}, {"dim": 0}, {"eps": 0.1}])),
    "cross_entropy": likelihoods,
    "cross": lambda m: ((m.tensor((2, 3)), m.tensor((2, 3))), m.pick([{}, {"dim": 1}, {"dim": 0}])),
    "dot": lambda m: product(m, 1),
    "diag": one((), (1,), (-1,)),
    "diagonal": one((), (1,), (0, 0, 1), (0, 1, 0), (-1, 1, 2)),
    "diff": one((), (2,), (1, 0)),
    "dist": lambda m: (pair(m)[0], m.pick([{}, {"p": 1}, {"p": 0.0}])),
    "einsum": lambda m: (("ij,jk->ik" if m.flag() else "ij,jk", *product(m, 2)[0]), {}),
    "expand": lambda m: ((m.tensor(m.pick([(1, 3), (3, 1), (3,)])), *m.pick([((3, 3),), (3, 3), (-1, 3), (2, -1, 3)])), {}),
    "flatten": one((), (1,), (0, 1), (-2, -1)),
    "flip": one(((0,),), ((0, 1),), (0,), ([-1],)),
    "gather": lambda m: (indices(m), {}),
    "group_norm": groups,
    "interpolate": lambda m: ((image(m, 1), m.pick((4, 8))), m.pick([{}, {"mode": "nearest"}])),
    "kron": pair,
    "kthvalue": one((1,), (2, 0), (1, -1, True)),
    "layer_norm": norm_args,
    "linear": lambda m: ((m.tensor(m.pick([(3,), (2, 3), (2, 2, 3)]), torch.float32), m.tensor((4, 3), torch.float32)), {}),
    "masked_fill": lambda m: ((m.tensor((2, 3)), m.tensor(m.pick([(2, 3), (3,)]), torch.bool), m.number()), {}),
    "matmul": lambda m: product(m, 1, 2, 3),
    "mm": lambda m: product(m, 2),
    "movedim": one((0, 1), (0, -1), ((0, 1), (1, 0))),
    "mv": lambda m: ((m.tensor((2, 3)), m.tensor((3,))), {}),
    "nan_to_num": lambda m: ((m.tensor(),), m.pick([{}, {"nan": 1.0}, {"nan": 0.5, "posinf": 2.0}])),
    "narrow": one((0, 0, 1), (1, 1, 2), (-1, 0, 0)),
    "nll_loss": likelihoods,
    "norm": lambda m: ((m.tensor(), *m.pick([(), (1,), ("fro",), (2, 0), (float("inf"), 1, True)])), {}),
    "linalg_norm": one((), (1,), ("fro",), (2, 0), (None, 1, True)),
    "linalg_vector_norm": one((), (1,), (2, 0), (float("inf"), 1, True), (0,)),
    "normalize": lambda m: ((m.tensor(),), m.pick([{}, {"dim": 0}, {"p": 1.0}])),
    "outer": lambda m: ((m.tensor((3,)), m.tensor((4,), m.pick((m.dtype, torch.float32)))), {}),
    "pad": lambda m: ((m.tensor(m.shape(3)), m.pick([(1, 1), (1, 0, 0, 2), (-1, 0)])), m.pick([{}, {"mode": "reflect"}, {"value": 1.5}])),
    "permute": one((1, 0), ((1, 0),), (0, 2, 1), (-1, 0, 1)),
    "pixel_shuffle": lambda m: ((m.tensor((2, 4, 3, 3)), m.pick((1, 2, 3))), {}),
    "pixel_unshuffle": lambda m: ((m.tensor((2, 4, 4, 4)), m.pick((1, 2, 3))), {}),
    "repeat": one((2, 1), ((1, 2, 1),), (2, 1, 1, 2), (0, 1, 1)),
    "repeat_interleave": one((2,), (2, 0), (0, 1), (1, -1)),
    "reshape": shaped,
    "rms_norm": norm_args,
    "roll": one((1,), (1, 0), ((1, 2), (0, 1)), (-1, -1)),
    "rot90": one((), (1, (0, 1)), (2, [1, 0]), (-1,)),
    "scaled_dot_product_attention": attention,
    "scatter": scattered,
    "scatter_add": lambda m: scattered(m),
    "select": one((0, 0), (1, -1), (-1, 1)),
    "sort": lambda m: ((m.tensor(), m.dim(), m.flag()), {}),
    "squeeze": one((), (0,), (-1,), ((0, 1),)),
    "stack": lists,
    "cat": lists,
    "t": one(()),
    "take_along_dim": lambda m: ((lambda x, d, i: (x, i, d))(*indices(m)), {}),
    "tensordot": lambda m: (product(m, 2)[0], m.pick([{"dims": 1}, {"dims": 0}])),
    "tile": one((2,), ((2, 1),), ((1, 2, 1),)),
    "topk": lambda m: ((m.tensor(), m.pick((1, 2)), *m.pick([(), (0,), (-1, False), (1, True, False)])), {}),
    "trace": lambda m: ((m.tensor(m.shape(2)),), {}),
    "transpose": one((0, 1), (-1, 0), (1, 2)),
    "trapezoid": lambda m: ((m.tensor(),), m.pick([{}, {"dx": 2.0}, {"dim": 0}])),
    "tril": one((), (1,), (-1,)),
    "triu": one((), (1,), (-1,)),
    "unfold": one((0, 2, 1), (-1, 1, 1), (1, 2, 2)),
    "unsqueeze": one((0,), (-1,), (1,), (2,)),
    "view": shaped,
    "where": lambda m: ((m.tensor((2, 3), torch.bool), m.tensor((2, 3)), m.pick([m.tensor((3,)), m.number()])), {}),
}  # fmt: skip
MAKERS |= dict.fromkeys(
    "all any argmax argmin cumprod cumsum max median min prod glu count_nonzero aminmax".split(), reduces
)
MAKERS |= dict.fromkeys("amax amin logsumexp mean std std_mean sum var var_mean".split(), reduces_dims)
MAKERS |= dict.fromkeys(
    "fft_fft fft_ifft fft_rfft fft_irfft".split(),
    lambda m: ((m.tensor(), *m.pick([(), (3,), (4, 0)])), m.pick([{}, {"norm": "ortho"}])),
)
MAKERS |= dict.fromkeys(
    "linalg_qr linalg_det linalg_inv linalg_cholesky".split(), lambda m: ((square(m),), {})
)
MAKERS |= dict.fromkeys("log_softmax logcumsumexp softmax softmin".split(), with_dtype)
MAKERS |= dict.fromkeys(
    "celu clamp_max clamp_min elu hardshrink leaky_relu softshrink".split(), lambda m: numbers(m, 1)
)
MAKERS |= dict.fromkeys("clamp hardtanh softplus".split(), numbers)
MAKERS |= dict.fromkeys(
    "hardsigmoid hardswish logsigmoid mish nonzero relu6 selu softsign tanhshrink".split(), one(())
)
MAKERS |= dict.fromkeys(
    "binary_cross_entropy_with_logits huber_loss kl_div l1_loss mse_loss pairwise_distance smooth_l1_loss".split(),
    loss,
)
for _d in (1, 2, 3):
    MAKERS |= {f"{k}_pool{_d}d": lambda m, d=_d: pool(m, d) for k in ("avg", "max")}  # type: ignore[misc]
    MAKERS[f"conv{_d}d"] = lambda m, d=_d: conv(m, d, False)  # type: ignore[misc]
    MAKERS[f"conv_transpose{_d}d"] = lambda m, d=_d: conv(m, d, True)  # type: ignore[misc]

LAYOUTS = 24  # of each function


def functions(name: str) -> list[Any]:
    """The forms of a function: of `torch`, of tensors, of `nn.functional`."""
    found = [FUNCTIONS.get(name), METHODS.get(name), vars(F).get(name), vars(F)["_FUNCTIONS"].get(name)]
    return list(dict.fromkeys([f for f in found if f is not None]))


def flat(x: Any) -> list[torch.Tensor]:
    if isinstance(x, (tuple, list)):
        return [t for y in x for t in flat(y)]
    return [x] if isinstance(x, torch.Tensor) else []


def outcome(fn: Any, args: Any, kwargs: Any) -> Any:
    """All that can be seen of a call: its result, layouts and memory, what it warned of, drew and wrote."""
    before = [t.detach()._a.tobytes() for t in flat(args)]
    versions = [t._version for t in flat(args)]
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = fn(*args, **kwargs)
        except Exception as e:
            return type(e), str(e)
    told = [str(w.message) for w in caught if not issubclass(w.category, RuntimeWarning)]
    assert [t._a.tobytes() for t in flat(args)] == before and [t._version for t in flat(args)] == versions
    tensors = []
    for t in flat(result):
        a = t._a
        shares = [np.may_share_memory(a, x._a) for x in flat(args)]
        under = None if t._base is None else [t._base is x for x in flat(args)]
        tensors.append(
            (
                a.dtype,
                a.shape,
                a.strides,
                a.tobytes(),
                a.flags.writeable,
                t.requires_grad,
                shares,
                under,
                t.is_leaf,
            )
        )
    return type(result), tensors, told, torch.rand(2).tolist()


@pytest.fixture
def no_overrides() -> Iterator[None]:
    """Classes with a __torch_function__, which other tests made, send all calls the whole way."""
    known = OVERRIDES[:]
    OVERRIDES.clear()
    yield
    OVERRIDES[:] = known


def test_every_function_is_tried() -> None:
    assert set(MAKERS) == set(ONE_WAY)


@pytest.mark.parametrize("name", sorted(ONE_WAY))
def test_calls_give_what_they_gave_without_memory(name: str, no_overrides: None) -> None:
    succeeded, learnt = 0, 0
    for layout in range(LAYOUTS):
        fns = functions(name)
        fn = fns[layout % len(fns)]
        forget()
        with torch.set_grad_enabled(layout % 3 != 0):
            for values in range(6):
                outcome(fn, *MAKERS[name](Maker(layout, values)))
        learnt += any(type(w) is remembered.Way for m in remembered.MEMORIES for w in m.ways.values())
        for values in (11, 12):
            args, kwargs = MAKERS[name](Maker(layout, values))
            found = [outcome(fn, args, kwargs) for _ in range(2)]
            forget()
            fresh = outcome(fn, args, kwargs)
            assert found == [fresh, fresh], (name, args, kwargs)
            succeeded += len(fresh) == 4
            for values in range(5):
                outcome(fn, *MAKERS[name](Maker(layout, values)))
    assert succeeded >= 8, f"too few of the calls of {name} are ones: {succeeded}"
    assert learnt >= 2, f"{name} does not belong into ONE_WAY: nothing is remembered"
