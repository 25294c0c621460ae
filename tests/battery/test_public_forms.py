"""Every public elementwise operation as function, method, in-place form and `out=`; what PyTorch accepts of the rest."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
from battery import calls, pointwise
from battery.sample import Sample, operations, outputs, same
from flambeau.core.public import FUNCTIONS, METHODS
from flambeau.func import jvp, vmap


def public_samples() -> list[Sample]:
    """The samples of the elementwise operations that programs can call by name."""
    found = []
    for name, op in operations().items():
        if op.family == "pointwise" and op.public is not None and op.public.__name__ in FUNCTIONS:
            found += calls.samples_of(name)
    return found


SAMPLES = public_samples()
all_samples = pytest.mark.parametrize("s", SAMPLES, ids=lambda s: s.key)
inplace_samples = [
    s
    for s in SAMPLES
    if s.definition.public.__name__ + "_" in METHODS
    and s.note not in ("row", "column")  # they cannot hold the result
]
in_place = pytest.mark.parametrize("s", inplace_samples, ids=lambda s: s.key)


def named(s: Sample) -> str:
    return s.definition.public.__name__


@all_samples
def test_function_and_method(s: Sample) -> None:
    want = s.reference(*s.args)
    same(FUNCTIONS[named(s)](*s.tensors()), want, s.tol)
    if named(s) in METHODS:
        first, *rest = s.tensors()
        same(getattr(first, named(s))(*rest), want, s.tol)


@all_samples
def test_out(s: Sample) -> None:
    fn = FUNCTIONS[named(s)]
    result = fn(*s.tensors())
    for out in (
        flambeau.empty_like(result),
        flambeau.empty((*result.shape, 2), dtype=result.dtype).select(-1, 1),  # not contiguous
    ):
        memory = out.data_ptr()
        version = out._version
        assert fn(*s.tensors(), out=out) is out
        same(out, result.numpy(), s.tol)
        assert out.data_ptr() == memory and out._version > version
    empty = flambeau.empty(0, dtype=result.dtype)
    fn(*s.tensors(), out=empty)
    same(empty, result.numpy(), s.tol)
    if result.ndim:
        with pytest.warns(UserWarning, match="resized"):
            fn(*s.tensors(), out=flambeau.empty(5, dtype=result.dtype))
    if result.is_floating_point():
        with pytest.raises(RuntimeError, match="can't be cast"):
            fn(*s.tensors(), out=flambeau.empty(result.shape, dtype=flambeau.int64))
        with pytest.raises(RuntimeError, match="automatic differentiation"):
            fn(*s.tensors(), out=flambeau.empty_like(result).requires_grad_())


@in_place
def test_in_place(s: Sample) -> None:
    want = FUNCTIONS[named(s)](*s.tensors())
    x, *rest = s.tensors()
    if not flambeau.can_cast(want.dtype, x.dtype):
        before = x.numpy().copy()
        with pytest.raises(RuntimeError, match="can't be cast"):
            getattr(x, named(s) + "_")(*rest)
        assert x.numpy().tobytes() == before.tobytes()
        return
    view, version = x[...], x._version
    assert getattr(x, named(s) + "_")(*rest) is x
    assert x._version > version
    np.testing.assert_allclose(x.numpy(), want.numpy(), rtol=1e-12)
    np.testing.assert_allclose(view.numpy(), want.numpy(), rtol=1e-12)


@pytest.mark.parametrize("s", [s for s in SAMPLES if s.note in ("row", "column")], ids=lambda s: s.key)
def test_in_place_needs_room(s: Sample) -> None:
    """A result that is larger than the tensor is refused before anything is written."""
    x, *rest = s.tensors()
    if named(s) + "_" not in METHODS or not flambeau.can_cast(FUNCTIONS[named(s)](x, *rest).dtype, x.dtype):
        return
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        getattr(x, named(s) + "_")(*rest)
    assert x.numpy().tobytes() == s.args[0].tobytes() and x._version == 0


@in_place
def test_in_place_on_a_view(s: Sample) -> None:
    """Written through a strided view, the base changes there and nowhere else."""
    want = FUNCTIONS[named(s)](*s.tensors())
    x, *rest = s.tensors()
    if not flambeau.can_cast(want.dtype, x.dtype):
        return
    base = flambeau.zeros((*x.shape, 3), dtype=x.dtype)
    view = base.select(-1, 1)
    view.copy_(x)
    getattr(view, named(s) + "_")(*rest)
    np.testing.assert_allclose(base.select(-1, 1).numpy(), want.to(x.dtype).numpy(), rtol=1e-12)
    assert not base.select(-1, 0).numpy().any() and not base.select(-1, 2).numpy().any()


def with_grad(s: Sample, call: Any) -> list[Any]:
    xs = s.tensors()
    for i in s.differentiable():
        xs[i].requires_grad_()
    out = call(xs)
    places = s.differentiable()
    grads = flambeau.autograd.grad(out, [xs[i] for i in places], flambeau.ones_like(out), allow_unused=True)
    return [np.zeros(xs[i].shape) if g is None else g.numpy() for i, g in zip(places, grads)]


@pytest.mark.parametrize("s", [s for s in inplace_samples if s.differentiable()], ids=lambda s: s.key)
def test_in_place_under_autograd(s: Sample) -> None:
    """x.clone().op_() and the part of a base have the gradients of op(x), although old values are overwritten."""
    fn = FUNCTIONS[named(s)]
    probe = fn(*s.tensors())
    if not flambeau.can_cast(probe.dtype, s.tensors()[0].dtype):
        return
    want = with_grad(s, lambda xs: fn(*xs).to(xs[0].dtype))

    def whole(xs: Any) -> Any:
        return getattr(xs[0].clone(), named(s) + "_")(*xs[1:])

    def part(xs: Any) -> Any:
        base = xs[0].unsqueeze(-1).repeat(*[1] * xs[0].ndim, 2)
        getattr(base[..., 1], named(s) + "_")(*xs[1:])
        return base[..., 1]

    for call in (whole, part):
        for g, w in zip(with_grad(s, call), want):
            np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("s", [s for s in inplace_samples if s.differentiable()], ids=lambda s: s.key)
def test_in_place_under_transforms(s: Sample) -> None:
    fn = FUNCTIONS[named(s)]
    xs = s.tensors()
    if not flambeau.can_cast(fn(*xs).dtype, xs[0].dtype):
        return

    def written(*xs: Any) -> Any:
        y = xs[0].clone()
        getattr(y, named(s) + "_")(*xs[1:])
        return y

    def plain(*xs: Any) -> Any:
        return fn(*xs).to(xs[0].dtype)

    batch = [flambeau.stack([x, x]) for x in xs]
    same(vmap(written)(*batch), vmap(plain)(*batch).numpy())
    ts = tuple(
        flambeau.ones_like(x) if x.is_floating_point() or x.is_complex() else flambeau.zeros_like(x)
        for x in xs
    )
    floating = [i for i, x in enumerate(xs) if x.is_floating_point() or x.is_complex()]
    if s.wrt is not None:  # the others have no derivative
        floating = [i for i in floating if i in s.wrt]

    def of_floating(f: Any) -> Any:
        def g(*ys: Any) -> Any:
            whole = list(xs)
            for i, y in zip(floating, ys):
                whole[i] = y
            return f(*whole)

        return jvp(g, tuple(xs[i] for i in floating), tuple(ts[i] for i in floating))[1]

    same(of_floating(written), of_floating(plain).numpy())


@all_samples
def test_complex_numbers_are_taken_or_refused(s: Sample) -> None:
    if s.op in pointwise.COMPLEX or s.op.startswith(("where", "logical_")):
        return
    with pytest.raises((RuntimeError, TypeError)):
        FUNCTIONS[named(s)](*[t.to(flambeau.complex128) for t in s.tensors()])


@all_samples
def test_requires_tensors_of_broadcastable_shapes(s: Sample) -> None:
    fn = FUNCTIONS[named(s)]
    with pytest.raises(TypeError):
        fn(*["text"] * len(s.args))
    if len(s.args) > 1 and s.args[0].ndim and not s.note:
        wrong = s.tensors()
        before = [t.numpy().copy() for t in wrong]
        wrong[-1] = wrong[-1][:, :2]
        with pytest.raises(RuntimeError, match=r"(?s)must match.*\d"):
            fn(*wrong)
        assert all((t.numpy() == b).all() for t, b in zip(wrong[:-1], before))


# ------------------------------------------------------------------------------------------- what PyTorch accepts

PATTERNS: dict[str, Any] = {
    "x": lambda t: (t(A),),
    "x y": lambda t: (t(A), t(B)),
    "x 1": lambda t: (t(A), 1),
    "x 0 1": lambda t: (t(A), 0, 1),
    "square": lambda t: (t(C),),
    "x x.T": lambda t: (t(A), t(A.T.copy())),
    "vectors": lambda t: (t(A[0]), t(A[1])),
    "x 0 index": lambda t: (t(A), 0, t(np.array([1, 0, 1]))),
    "integers": lambda t: (t(D),),
    "two integers": lambda t: (t(D), t(D + 1)),
    "list": lambda t: ([t(A), t(B)],),
    "sizes": lambda t: (t(A), (3, 2)),
}
A = np.array([[0.4, -1.2, 0.9], [0.7, 0.2, -0.5]])
B = np.array([[0.3, 0.8, -0.6], [-0.9, 1.1, 0.25]])
C = np.array([[2.0, 0.3, -0.4], [0.3, 3.0, 0.5], [-0.4, 0.5, 4.0]])
D = np.array([[3, 1, 2], [5, 4, 7]])

# Values that are not determined by the arguments, or that describe the program's state.
UNDETERMINED = {
    "empty", "empty_like", "empty_permuted", "empty_strided", "resize_as_", "seed", "initial_seed", "get_rng_state",
    "set_rng_state", "eig", "svd", "qr", "geqrf", "linalg_eig", "linalg_svd", "linalg_qr", "linalg_eigh", "hash_tensor",
    "fork_rng", "manual_seed", "is_storage", "is_tensor", "set_printoptions", "typename", "pca_lowrank", "svd_lowrank", "lobpcg",
    "get_default_dtype", "set_default_dtype", "save", "load", "compile", "vmap", "new_empty", "is_inference", "broadcast_shapes",
}  # fmt: skip


# Old signatures that PyTorch still takes with a warning (an alpha between the operands), and eps > 1/2 for logit.
OUTDATED = {"add": "x 0", "sub": "x 0", "subtract": "x 0", "rsub": "x 0", "logit": "x 1", "logit_": "x 1"}
# PyTorch hands back its argument where there is nothing to do; a copy is as good.
COPIED = {"conj_physical"}


def call(lib: Any, fn: Any, args: Any) -> Any:
    lib.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fn(*args)


def plain(x: Any) -> Any:
    if hasattr(x, "detach"):
        return x.detach().resolve_conj().resolve_neg().numpy()
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return x


@pytest.mark.parametrize(
    "name", sorted(n for n in FUNCTIONS if not n.startswith("_") and n not in UNDETERMINED)
)
def test_composites_against_pytorch(name: str) -> None:
    """Whatever PyTorch accepts of the usual arguments is accepted, with its values and dtypes."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch, name, None)
    if not callable(theirs):
        pytest.skip("not in torch's namespace")
    compared = 0
    for pattern, make in PATTERNS.items():
        if name in OUTDATED and pattern.startswith(OUTDATED[name]):
            continue
        arguments = make(lambda a: torch.tensor(a))
        try:
            want = call(torch, theirs, arguments)
        except (
            RuntimeError,
            TypeError,
            IndexError,
            ValueError,
            NotImplementedError,
            AttributeError,
            AssertionError,
        ):
            continue
        mine = make(lambda a: flambeau.tensor(a))
        got = call(flambeau, FUNCTIONS[name], mine)
        compare(plain(got), plain(want), f"{name}({pattern})")
        assert name in COPIED or aliases(got, mine) == aliases(want, arguments), (
            f"{name}({pattern}) shares memory with its inputs, or should"
        )
        compare(plain(list(mine)), plain(list(arguments)), f"{name}({pattern}) inputs afterwards")
        compared += 1
    if not compared:
        pytest.skip("takes none of the patterns")


def leaves(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [y for v in x for y in leaves(v)]
    return [x] if hasattr(x, "data_ptr") else []


def aliases(result: Any, arguments: Any) -> list[bool]:
    """For each tensor of a result, whether it lies in the memory of an argument."""
    return [
        any(
            np.may_share_memory(np.asarray(r.detach()), np.asarray(a.detach()))
            for a in leaves(list(arguments))
        )
        for r in leaves(result)
    ]


def compare(got: Any, want: Any, what: str) -> None:
    if isinstance(want, list):
        assert len(got) == len(want), what
        for g, w in zip(got, want):
            compare(g, w, what)
    elif isinstance(want, np.ndarray):
        assert got.dtype == want.dtype and got.shape == want.shape, what
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-7, err_msg=what)
    elif not hasattr(want, "__module__"):
        assert got == want, what


def test_the_table_of_outputs() -> None:
    assert len(outputs((flambeau.ones(2), [flambeau.ones(1)]))) == 2
