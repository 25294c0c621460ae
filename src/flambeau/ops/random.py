"""Random tensors: the generator, its state, the factories and the in-place fills."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..core import families as fam
from ..core import inplace
from ..core.eager import raw
from ..core.grad_names import rename
from ..core.meta import is_meta
from ..core.op import bind
from ..core.pending import Pending
from ..core.promotion import convert
from ..core.public import FUNCTIONS, METHODS, dtype_of_out, public, seen_by_modes, store_out
from ..core.state import everyone, tls
from ..core.tensor import Tensor, wrap
from ..prims.pointwise import overwrite_op
from ..runtime import distributions as dist
from ..runtime import dtypes, mt19937, types
from .args import as_dtype, check_sizes, dtype_of, sizes
from .creation import finish, meta_like
from .layouts import memory_like
from .meta_device import destination, made, wants_meta


class Generator(mt19937.Generator):
    """A stream of random numbers: PyTorch's mt19937 for the CPU.

    >>> import flambeau as torch
    >>> g = torch.Generator().manual_seed(0)
    >>> torch.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    """

    def __init__(self, device: Any = "cpu") -> None:
        if types.device(device).type == "cuda":
            raise RuntimeError(
                "Cannot get CUDA generator: flambeau found no CUDA device; use Generator('cpu')"
            )
        super().__init__(types.check_device(device))

    def get_state(self) -> Tensor:  # type: ignore[override]
        """The state as a ByteTensor in PyTorch's format."""
        return wrap(super().get_state())

    def set_state(self, new_state: Any) -> None:  # type: ignore[override]
        """Set the state.

        Raises: TypeError for anything but a ByteTensor, RuntimeError for one of the wrong size or content.
        """
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if new_state._a.dtype != np.uint8:
            raise TypeError(f"expected a torch.ByteTensor, but got {new_state.type()}")
        super().set_state(np.ascontiguousarray(raw(new_state)))


default_generator = Generator()
default_generator.seed()  # from the system, as in PyTorch: unseeded programs differ from run to run


def _gen(generator: Any) -> Any:
    if generator is None:
        return default_generator
    if not isinstance(generator, mt19937.Generator):
        raise TypeError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    return generator


def manual_seed(seed: Any) -> Generator:
    """Seed the default generator; the same seed gives PyTorch's numbers.

    Raises: RuntimeError for seeds outside 64 bits.
    """
    default_generator.manual_seed(int(seed))
    return default_generator


def seed() -> int:
    """Seed the default generator from the system, and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state as a ByteTensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator's state."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **_: Any) -> Iterator[None]:
    """Restore the default generator's state after the block."""
    if not enabled:
        yield
        return
    state = mt19937.Generator.get_state(default_generator)
    try:
        yield
    finally:
        mt19937.Generator.set_state(default_generator, state)


# ------------------------------------------------------------------------------------------------- factories


def _op(name: str, draw: Callable[..., Any]) -> Any:
    return fam.random_op("random_" + name, draw)


def _shape_op(name: str, fn: Callable[..., Any]) -> Any:
    def draw(*, shape: fam.Shape, generator: Any, dtype: Any, args: Any) -> Any:
        return fn(generator, tuple(shape), dtype, *args)

    return _op(name, draw)


_DRAWS: dict[str, Callable[..., Any]] = {
    "uniform": dist.uniform,
    "normal": dist.normal,
    "integers_from": dist.random_integers_from,
    "integers": dist.random_integers,
    "bernoulli": dist.bernoulli,
    "exponential": dist.exponential,
    "cauchy": dist.cauchy,
    "log_normal": dist.log_normal,
    "geometric": dist.geometric,
    "dropout": dist.dropout_noise,
}
_OPS = {kind: _shape_op(kind, fn) for kind, fn in _DRAWS.items()}


def draw(
    kind: str, shape: tuple[int, ...], d: Any, *args: Any, generator: Any = None, like: Tensor | None = None
) -> Tensor:
    """A tensor of draws of one kind, through the current interpreter (vmap asks its randomness mode).

    It is on the device of `like`, if that is given.
    """
    if like is not None and type(like._a) is not np.ndarray and is_meta(like):
        return made(shape, d)
    if everyone.plain and everyone.listener is None:  # what `bind` would come to
        return wrap(_DRAWS[kind](_gen(generator), shape, d, *args))
    return bind(_OPS[kind], (), {"shape": shape, "generator": _gen(generator), "dtype": d, "args": args})  # type: ignore[no-any-return]


def draw_like(
    kind: str, x: Tensor, d: dtypes.dtype, *args: Any, generator: Any = None, memory_format: Any = None
) -> Tensor:
    """`draw` in the shape of `x`, and in the order of its memory unless another format is asked for."""
    if type(x._a) is not np.ndarray and is_meta(x):
        return meta_like(x, d, memory_format, False)
    preserve = memory_format is None or memory_format is types.preserve_format
    plain = x._a.flags.c_contiguous if preserve and type(x._a) in (np.ndarray, Pending) else preserve
    if tls.stack or plain or memory_format is types.contiguous_format:
        return draw(kind, tuple(x._a.shape), d.numpy, *args, generator=generator)
    like = x if preserve else x.detach().contiguous(memory_format=memory_format)
    memory = memory_like(like, d)
    if tls.capture is not None:
        tls.capture.drawing(kind)
    return wrap(_filled(kind, memory, args, _gen(generator), memory.flags.c_contiguous))


def _filled(kind: str, memory: Any, args: tuple[Any, ...], generator: Any, contiguous: bool) -> Any:
    """`memory` full of draws, in its own order; `contiguous` says so of the tensor they are for."""
    extra = {} if contiguous or kind != "normal" else {"contiguous": False}
    dist.fill(memory, lambda shape: _DRAWS[kind](generator, shape, memory.dtype, *args, **extra))
    return memory


def _random_factory(name: str, kind: str) -> Any:
    def make(
        *size: Any, generator: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
        requires_grad: bool = False, pin_memory: bool = False, **kw: Any,
    ) -> Tensor:  # fmt: skip
        if "size" in kw:
            size = (kw.pop("size"),)
        if kw:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(kw))}'")
        shape = sizes(size, name)
        d = as_dtype(dtype) if out is None else dtype_of_out(out, dtype, name)
        check_sizes(shape, name, d.itemsize)
        if device is not None and wants_meta(device):
            t = made(shape, d.numpy)
        else:
            t = draw(kind, shape, d.numpy, generator=generator)
        if out is not None:
            return store_out(out, t, name)  # type: ignore[no-any-return]
        return finish(t, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"A tensor of shape ``size`` with {kind} draws ([0, 1) or mean 0 and variance 1)."
    FUNCTIONS[name] = seen = seen_by_modes(make)
    return seen


rand = _random_factory("rand", "uniform")
randn = _random_factory("randn", "normal")


def _like(name: str, kind: str) -> None:
    def make(
        input: Tensor, *, generator: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
        pin_memory: bool = False, memory_format: Any = None,
    ) -> Tensor:  # fmt: skip
        d = as_dtype(dtype, dtype_of(input))
        if (
            type(input._a) is not np.ndarray
            and destination(device, input)
            or device is not None
            and wants_meta(device)
        ):
            return meta_like(input, d, memory_format, requires_grad)
        t = draw_like(kind, input, d, generator=generator, memory_format=memory_format)
        return finish(t, requires_grad, device)

    make.__doc__ = f"Draws as those of ``{name[:-5]}``, in the shape, dtype and memory order of ``input``."
    public(method=False, name=name)(make)


_like("rand_like", "uniform")
_like("randn_like", "normal")


def _check_integers(low: Any, high: Any) -> None:
    if any(isinstance(v, float) and not math.isfinite(v) for v in (low, high)):
        raise TypeError(f"bounds must be integers, not {low} and {high}")
    if high is not None and int(low) >= int(high):
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={int(low)} >= to={int(high)}"
        )


@public(method=False, out=True)
def randint(
    *args: Any, generator: Any = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False, **kw: Any,
) -> Tensor:  # fmt: skip
    """``randint([low=0,] high, size)``: integers of [low, high).

    Raises: RuntimeError for an empty range or bounds outside the dtype.
    """
    values = list(args)
    low, high, size = kw.pop("low", None), kw.pop("high", None), kw.pop("size", None)
    if size is None and values:
        size = values.pop()
    if high is None and values:
        high = values.pop()
    if low is None:
        low = values.pop() if values else 0
    if high is None or size is None:
        raise TypeError(
            "randint() received an invalid combination of arguments: randint([low,] high, size) was expected"
        )
    d = as_dtype(dtype, dtypes.int64)
    shape = sizes((size,), "randint")
    check_sizes(shape, "randint", d.itemsize)
    _check_integers(low, high)
    if device is not None and wants_meta(device):
        return made(shape, d.numpy, requires_grad)
    t = draw("integers_from", shape, d.numpy, int(low), int(high), generator=generator)
    return finish(t, requires_grad, device)


@public(method=False)
def randint_like(
    input: Tensor, *args: Any, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False, memory_format: Any = None, generator: Any = None, **kw: Any,
) -> Tensor:  # fmt: skip
    """Integers of [low, high) in the shape and dtype of `input`."""
    bounds = [*args]
    high = kw.get("high", bounds[-1] if bounds else None)
    low = kw.get("low", bounds[0] if len(bounds) > 1 else 0)
    if high is None:
        raise TypeError("randint_like() missing the argument 'high'")
    _check_integers(low, high)
    d = as_dtype(dtype, dtype_of(input))
    if (
        type(input._a) is not np.ndarray
        and destination(device, input)
        or device is not None
        and wants_meta(device)
    ):
        return meta_like(input, d, memory_format, requires_grad)
    t = draw_like(
        "integers_from", input, d, int(low), int(high), generator=generator, memory_format=memory_format
    )
    return finish(t, requires_grad, device)


@public(method=False, out=True)
def randperm(
    n: int,
    *,
    generator: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A random permutation of 0 .. n-1."""
    d = as_dtype(dtype, dtypes.int64)
    if device is not None and wants_meta(device):
        return made((int(n),), d.numpy, requires_grad)
    drawn = _permutation_op(shape=(int(n),), generator=_gen(generator), dtype=d.numpy)
    return finish(drawn, requires_grad, device)


def _permutations(*, shape: fam.Shape, generator: Any, dtype: Any) -> Any:
    """Permutations along the last dim, one for each position before it."""
    *lead, n = shape
    if not lead:
        return dist.randperm(generator, n, dtype)
    rows = [dist.randperm(generator, n, dtype) for _ in range(math.prod(lead))]
    return np.array(rows, dtype).reshape(shape)


_permutation_op = _op("permutation", _permutations)


def _spread(v: Any, shape: Any) -> Any:
    """An array in this shape; a number as it is."""
    return np.broadcast_to(v, shape) if isinstance(v, np.ndarray) and v.shape != tuple(shape) else v


def _normal_draw(mean: Any, std: Any, *, shape: fam.Shape, generator: Any, dtype: Any) -> Any:
    return dist.normal_arrays(generator, _spread(mean, shape), _spread(std, shape), dtype)


_normal_op = _op("normal_arrays", _normal_draw)


@public(method=False, out=True)
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Normal draws with given means and standard deviations (tensors, numbers with `size`, or both).

    Raises: RuntimeError for negative or complex standard deviations.
    """
    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        if size is None:
            raise TypeError("normal(): size is needed when mean and std are numbers")
        shape = sizes((size,), "normal")
        if device is not None and wants_meta(device):
            return made(shape, as_dtype(dtype).numpy, requires_grad)
        t = draw("normal", shape, as_dtype(dtype).numpy, float(mean), float(std), generator=generator)
        return finish(t, requires_grad, device)
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    shape = tuple(given[0]._a.shape)
    if len(given) == 2:
        from .shape import broadcast_shapes

        shape = tuple(broadcast_shapes(shape, tuple(given[1]._a.shape)))
    d = given[0]._a.dtype
    if isinstance(std, Tensor) and std._a.dtype.kind == "c":
        raise RuntimeError("normal expects standard deviation to be non-complex")
    args = tuple(x.detach() if isinstance(x, Tensor) else x for x in (mean, std))
    drawn = bind(_normal_op, args, {"shape": shape, "generator": _gen(generator), "dtype": d})
    for x in given:  # part of the graph, with a gradient of zero, as in PyTorch
        if x.requires_grad:
            from .shape import expand_to

            drawn = overwrite_op(expand_to(convert(x, dtype_of(drawn)), shape), drawn)
    which = 3 if len(given) == 2 else 1 if isinstance(mean, Tensor) else 2
    return rename(drawn, f"NormalBackward{which}")  # type: ignore[no-any-return]


def _bernoulli_draw(p: Any, *, shape: fam.Shape, generator: Any) -> Any:
    return dist.bernoulli_array(generator, _spread(p, shape), p.dtype)


_bernoulli_op = _op("bernoulli_array", _bernoulli_draw)


@public(out=True, grad_name="BernoulliBackward0")
def bernoulli(input: Tensor, p: Any = None, *, generator: Any = None) -> Tensor:
    """0 or 1, with each element's probability of 1 given by `input` (or by `p` for all)."""
    if p is not None:
        return draw(
            "bernoulli", tuple(input._a.shape), input._a.dtype, float(p), generator=generator, like=input
        )
    if input._a.dtype.kind not in "fV":
        raise RuntimeError(f"bernoulli expects probabilities of a floating dtype, got {dtype_of(input)}")
    drawn = bind(
        _bernoulli_op, (input.detach(),), {"shape": tuple(input._a.shape), "generator": _gen(generator)}
    )
    return overwrite_op(input, drawn) if input.requires_grad else drawn  # type: ignore[no-any-return]


def _multinomial_draw(w: Any, *, num_samples: int, replacement: bool, generator: Any) -> Any:
    rows = w.reshape(-1, w.shape[-1])
    out = dist.multinomial(generator, rows if w.ndim > 1 else w, num_samples, replacement)
    return out.reshape(*w.shape[:-1], num_samples)


_multinomial_op = _op("multinomial", _multinomial_draw)


@public(out=True)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Indices drawn in proportion to the weights in the last dim of a vector or matrix.

    Raises: RuntimeError for negative, infinite or NaN weights, rows without weight, or too many draws.
    """
    if not 0 < len(input._a.shape) <= 2:
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got {len(input._a.shape)}")
    params = {"num_samples": int(num_samples), "replacement": bool(replacement), "generator": _gen(generator)}
    return bind(_multinomial_op, (input.detach(),), params)  # type: ignore[no-any-return]


# ---------------------------------------------------------------------------------------------------- in-place fills


def _fill_in_place(self: Tensor, name: str, kind: str, values: tuple[Any, ...], generator: Any) -> Tensor:
    """Overwrites `self` with draws, in the order of its memory."""
    if tls.stack:
        new = draw(kind, tuple(self._a.shape), self._a.dtype, *values, generator=generator)
        return inplace.write(self, new, name)
    inplace.check_writable(self, name)
    if type(self._a) is Pending and is_meta(self):
        return self
    a = raw(self)
    g = _gen(generator)
    if a.flags.c_contiguous:
        new = wrap(_DRAWS[kind](g, a.shape, a.dtype, *values))
    else:
        new = wrap(_filled(kind, np.empty_like(a, order="K"), values, g, False))
    return inplace.write(self, new, name)


def _fill(name: str, kind: str, arguments: Callable[..., tuple[Any, ...]]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, generator: Any = None, **kwargs: Any) -> Tensor:
        return _fill_in_place(self, name, kind, arguments(*args, **kwargs), generator)

    method.__name__ = name
    method.__doc__ = f"Fill with {kind} draws, in place; PyTorch's numbers for the same seed."
    METHODS[name] = method
    setattr(Tensor, name, method)
    return method


def _two(a: str, b: str, x: float, y: float) -> Callable[..., tuple[Any, ...]]:
    def arguments(*args: Any, **kw: Any) -> tuple[Any, ...]:
        unknown = set(kw) - {a, b}
        if unknown:
            raise TypeError(f"unexpected keyword argument '{unknown.pop()}'")
        first = args[0] if args else kw.get(a, x)
        second = args[1] if len(args) > 1 else kw.get(b, y)
        return float(first), float(second)

    return arguments


def _one(a: str, x: float | None) -> Callable[..., tuple[Any, ...]]:
    def arguments(*args: Any, **kw: Any) -> tuple[Any, ...]:
        value = args[0] if args else kw.get(a, x)
        if value is None:
            raise TypeError(f"missing 1 required positional argument: '{a}'")
        return (float(value),)

    return arguments


uniform_ = _fill("uniform_", "uniform", _two("from", "to", 0.0, 1.0))
normal_ = _fill("normal_", "normal", _two("mean", "std", 0.0, 1.0))
exponential_ = _fill("exponential_", "exponential", _one("lambd", 1.0))
cauchy_ = _fill("cauchy_", "cauchy", _two("median", "sigma", 0.0, 1.0))
log_normal_ = _fill("log_normal_", "log_normal", _two("mean", "std", 1.0, 2.0))
geometric_ = _fill("geometric_", "geometric", _one("p", None))


def random_(self: Tensor, *args: Any, generator: Any = None, **kw: Any) -> Tensor:
    """Fill with integers of [from, to), in place; without bounds, over the dtype's range."""
    low = kw.get("from", args[0] if len(args) > 1 else 0)
    high = kw.get("to", args[1] if len(args) > 1 else args[0] if args else None)
    if not args and not kw:
        return _fill_in_place(self, "random_", "integers", (), generator)
    _check_integers(low, high)
    bounds = (int(low), None if high is None else int(high))
    return _fill_in_place(self, "random_", "integers_from", bounds, generator)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with 0 and 1, in place; `p` is the probability of 1 (a number, or a tensor broadcast to this one)."""
    shape = tuple(self._a.shape)
    if isinstance(p, Tensor):
        from .shape import expand_to

        probs = expand_to(p if p._a.dtype.kind in "fV" else convert(p, dtypes.float32), shape)
        inplace.check_writable(self, "bernoulli_")
        order = list(range(len(shape)))
        if not tls.stack and not self._a.flags.c_contiguous:
            order.sort(key=lambda d: -self._a.strides[d])
        params = {"shape": tuple(shape[d] for d in order), "generator": _gen(generator)}
        new = bind(_bernoulli_op, (probs.detach().permute(order),), params)
        new = new.permute(sorted(range(len(order)), key=order.__getitem__))
        return inplace.write(self, convert(new, dtype_of(self)), "bernoulli_")
    return _fill_in_place(self, "bernoulli_", "bernoulli", (float(p),), generator)


for _fn in (random_, bernoulli_):
    METHODS[_fn.__name__] = _fn
    setattr(Tensor, _fn.__name__, _fn)
for _name in ("manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state"):
    FUNCTIONS[_name] = globals()[_name]
