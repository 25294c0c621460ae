"""What the transforms refuse, and what they allow: PyTorch's answer to the same call, value or exception type."""

from __future__ import annotations

import collections
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau

Cases = dict[str, Callable[[], Any]]
Point = collections.namedtuple("Point", "a b")

# Where this library has an answer and PyTorch none, or another.
OTHERWISE = {
    "numpy grad": "numbers of a detached tensor are constants",
    "vmap inplace rand different unbatched": "a tensor made inside can hold another draw for each example",
    "inplace leaf in grad": "an argument may be written",
    "out= vmap": "out= is a write like any other",
    "leak grad": "an error, as the tensor belongs to a transform that has ended",
    "grad aux non tensor": "aux may be anything",
    "vjp aux non tensor": "aux may be anything",
    "jvp aux non tensor": "aux may be anything",
    "jvp complex tangent": "a real number has a real tangent",
    "jacfwd chunk 0": "jacfwd has chunk_size",
    "lin nontensor": "an error that names the argument",
    "data": "detaches",
}


def sq(x: Any) -> Any:
    return (x * x).sum()


def control_flow(m: Any) -> Cases:
    F, one, two = m.func, m.ones(3), m.ones(2, 3)
    return {
        "bool(x)": lambda: F.vmap(lambda x: x if bool(x.sum()) else -x)(two),
        "while": lambda: F.vmap(lambda x: [x for _ in iter(lambda: (x.sum() > 0).item(), False)])(two),
        "int(x)": lambda: F.vmap(lambda x: x * int(x.sum()))(two),
        "float(x)": lambda: F.vmap(lambda x: x * float(x.sum()))(two),
        "tolist": lambda: F.vmap(lambda x: m.tensor(x.tolist()))(two),
        "numpy": lambda: F.vmap(lambda x: m.tensor(x.numpy()))(two),
        "range(x)": lambda: F.vmap(lambda x: x * len(range(x.sum().long())))(two),
        "index list": lambda: F.vmap(lambda x: x * [1, 2, 3][x.sum().long() - 3])(two),
        "and": lambda: F.vmap(lambda x: (x.sum() > 0) and x)(two),
        "in": lambda: F.vmap(lambda x: x * (2.0 in x))(two),
        "item grad": lambda: F.grad(lambda x: x.sum() * x.sum().item())(one),
        "bool grad": lambda: F.grad(lambda x: x.sum() if x.sum() > 0 else -x.sum())(one),
        "item jvp": lambda: F.jvp(lambda x: x * x.sum().item(), (one,), (one,)),
        "numpy grad": lambda: F.grad(lambda x: x.sum() * x.detach().numpy().sum())(one),
    }


def structures(m: Any) -> Cases:
    F, one, two = m.func, m.ones(3), m.ones(2, 3)
    return {
        "vmap in_dims dict": lambda: F.vmap(lambda d: d["a"], in_dims=({"a": 0},))({"a": two}),
        "vmap in_dims dict wrong": lambda: F.vmap(lambda d: d["a"], in_dims=({"b": 0},))({"a": two}),
        "vmap in_dims nested wrong": lambda: F.vmap(lambda t: t[0], in_dims=((0, 0, 0),))((two, two)),
        "vmap in_dims list": lambda: F.vmap(lambda a, b: a + b, in_dims=[0, 0])(two, two),
        "vmap in_dims float": lambda: F.vmap(lambda a: a, in_dims=0.0)(two),
        "vmap in_dims bool": lambda: F.vmap(lambda a: a, in_dims=True)(two),
        "vmap in_dims too short": lambda: F.vmap(lambda a, b: a, in_dims=(0,))(two, two),
        "vmap neg": lambda: F.vmap(lambda a: a, in_dims=-3)(two),
        "vmap out_dims list": lambda: F.vmap(lambda a: (a, a), out_dims=[0, 1])(two),
        "vmap out dict": lambda: F.vmap(lambda a: {"a": a}, out_dims={"a": 1})(two),
        "vmap out dict int": lambda: F.vmap(lambda a: {"a": a}, out_dims=1)(two),
        "vmap out dict wrong": lambda: F.vmap(lambda a: {"a": a}, out_dims={"b": 1})(two),
        "vmap out float": lambda: F.vmap(lambda a: a, out_dims=0.5)(two),
        "vmap out None unbatched": lambda: F.vmap(lambda a: (a, one), out_dims=(0, None))(two)[1],
        "vmap out None number": lambda: F.vmap(lambda a: (a, 3), out_dims=(0, None)),
        "vmap str out": lambda: F.vmap(lambda a: "x")(two),
        "vmap nt out": lambda: F.vmap(lambda a: Point(a, a))(two),
        "vmap nested tuple out": lambda: F.vmap(lambda a: (a, (a, a)), out_dims=(0, (1, 0)))(two),
        "vmap nested tuple out wrong": lambda: F.vmap(lambda a: (a, (a, a)), out_dims=(0, (1,)))(two),
        "vmap in_dims namedtuple": lambda: F.vmap(lambda p: p.a * p.b, in_dims=(Point(0, None),))(
            Point(two, one)
        ),
        "vmap in_dims tuple for namedtuple": lambda: F.vmap(lambda p: p.a, in_dims=((0, 0),))(
            Point(two, two)
        ),
        "vmap in_dims namedtuple for tuple": lambda: F.vmap(lambda p: p[0], in_dims=(Point(0, 0),))(
            (two, two)
        ),
        "vmap in_dims list for tuple": lambda: F.vmap(lambda p: p[0], in_dims=([0, 0],))((two, two)),
        "vmap in_dims deque": lambda: F.vmap(lambda p: p[0] * p[1], in_dims=(deque([0, None]),))(
            deque([two, one])
        ),
        "vmap in_dims dict for OrderedDict": lambda: F.vmap(lambda d: d["a"], in_dims=({"a": 0},))(
            collections.OrderedDict(a=two)
        ),
        "vmap out_dims tuple for list": lambda: F.vmap(lambda a: [a, a], out_dims=(0, 1))(two),
        "vmap out_dims namedtuple": lambda: F.vmap(lambda a: Point(a, a), out_dims=Point(0, 1))(two),
        "vmap empty batch": lambda: F.vmap(lambda a: a * 2)(m.ones(0, 3)),
        "vmap kwargs": lambda: F.vmap(lambda a, b=None: a * b)(two, b=two),
        "vmap kwargs sizes": lambda: F.vmap(lambda a, b=None: a * b)(two, b=m.ones(4, 3)),
        "vmap chunk float": lambda: F.vmap(lambda a: a, chunk_size=1.5)(two),
        "vmap chunk neg": lambda: F.vmap(lambda a: a, chunk_size=-1)(two),
    }


def randomness(m: Any) -> Cases:
    F, nn, one, two = m.func, m.nn, m.ones(3), m.ones(2, 3)
    return {
        "vmap randomness same batched": lambda: F.vmap(lambda a: m.bernoulli(a * 0.5), randomness="same")(
            two
        ),
        "vmap dropout error": lambda: F.vmap(lambda a: nn.functional.dropout(a))(two),
        "vmap inplace rand": lambda: F.vmap(lambda a: m.zeros(3).normal_(), randomness="error")(two),
        "vmap inplace rand different unbatched": lambda: F.vmap(
            lambda a: one.clone().normal_(), randomness="different"
        )(two),
        "vmap randperm": lambda: F.vmap(lambda a: m.randperm(3))(two),
        "vmap rand generator": lambda: F.vmap(
            lambda a: m.rand(3, generator=m.Generator()), randomness="different"
        )(two),
    }


def writes(m: Any) -> Cases:
    F, one, two = m.func, m.ones(3), m.ones(2, 3)
    return {
        "inplace bigger": lambda: F.vmap(lambda a, b: a.add_(b), in_dims=(None, 0))(one.clone(), two),
        "inplace shape": lambda: F.vmap(lambda a: a.add_(m.ones(4)))(two.clone()),
        "inplace leaf in grad": lambda: F.grad(lambda x: x.mul_(2).sum())(one.clone()),
        "captured in grad": lambda: F.grad(lambda x: one.clone().mul_(x).sum())(one),
        "captured leaf in grad": lambda: F.grad(lambda x: (one.mul_(2), x.sum())[1])(one),
        "out= vmap": lambda: F.vmap(lambda x: m.add(x, x, out=m.zeros(3)))(two),
        "out= grad": lambda: F.grad(lambda x: m.add(x, x, out=m.zeros(3)).sum())(one),
    }


def autograd_inside(m: Any) -> Cases:
    F, one, two = m.func, m.ones(3), m.ones(2, 3)
    return {
        "backward in vmap": lambda: F.vmap(lambda x: (x.sum().backward(), x)[1])(
            m.ones(2, 3, requires_grad=True)
        ),
        "backward in grad": lambda: F.grad(lambda x: (x.sum().backward(), x.sum())[1])(one),
        "requires_grad_ in grad": lambda: F.grad(lambda x: (x.requires_grad_(), x.sum())[1])(one),
        "requires_grad_ of new": lambda: F.grad(lambda x: (m.ones(2).requires_grad_(), x.sum())[1])(one),
        "requires_grad_ in vmap": lambda: F.vmap(lambda x: x.requires_grad_())(two),
        "retain_grad in grad": lambda: F.grad(lambda x: ((x * 2).retain_grad(), x.sum())[1])(one),
        "autograd.grad of outer": lambda: F.grad(lambda x: m.autograd.grad((one * 2).sum(), one)[0].sum())(
            one
        ),
        "leak grad": lambda: (
            lambda box: (F.grad(lambda x: (box.append(x), x.sum())[1])(one), box[0] + 1)[1]
        )([]),
        "leak vmap": lambda: (lambda box: (F.vmap(lambda x: (box.append(x), x)[1])(two), box[0] + 1)[1])([]),
        "leak vmap numpy": lambda: (
            lambda box: (F.vmap(lambda x: (box.append(x), x)[1])(two), box[0].numpy())[1]
        )([]),
    }


def grad_vjp_jvp(m: Any) -> Cases:
    F, one = m.func, m.ones(3)
    return {
        "grad dict out": lambda: F.grad(lambda x: {"a": x.sum()})(one),
        "grad dict in": lambda: F.grad(lambda d: d["a"].sum() * d["b"])({"a": one, "b": m.tensor(2.0)})["b"],
        "grad dict non tensor": lambda: F.grad(lambda d: d["a"].sum())({"a": one, "b": 2.0}),
        "grad none in": lambda: F.grad(lambda d: d[0].sum())((one, None)),
        "grad kwarg": lambda: F.grad(lambda x, y=None: (x * y).sum())(one, y=one),
        "grad noarg": lambda: F.grad(lambda: one.sum())(),
        "grad argnums list": lambda: F.grad(lambda x, y: (x * y).sum(), argnums=[0, 1])(one, one),
        "grad argnums none": lambda: F.grad(sq, argnums=None)(one),
        "grad complex out": lambda: F.grad(lambda x: (x * 1j).sum())(one),
        "grad scalar 1": lambda: F.grad(lambda x: x.sum(0, keepdim=True))(one),
        "grad_and_value aux": lambda: F.grad_and_value(lambda x: (sq(x), {"k": x}), has_aux=True)(one)[1][1][
            "k"
        ],
        "grad aux non tensor": lambda: F.grad(lambda x: (sq(x), "text"), has_aux=True)(one),
        "vjp aux non tensor": lambda: F.vjp(lambda x: (sq(x), "text"), one, has_aux=True)[2],
        "jvp aux non tensor": lambda: F.jvp(lambda x: (sq(x), "text"), (one,), (one,), has_aux=True)[2],
        "vjp dict": lambda: F.vjp(lambda x: {"a": x * 2}, one)[1]({"a": one}),
        "vjp dict wrong": lambda: F.vjp(lambda x: {"a": x * 2}, one)[1]({"b": one}),
        "vjp dtype": lambda: F.vjp(lambda x: x * 2, one)[1](m.ones(3, dtype=m.float64)),
        "vjp ct number": lambda: F.vjp(lambda x: x.sum(), one)[1](1.0),
        "vjp none ct": lambda: F.vjp(lambda x: x * 2, one)[1](None),
        "vjp int out": lambda: F.vjp(lambda x: x.long(), one)[1](m.ones(3, dtype=m.int64)),
        "vjp no args": lambda: F.vjp(lambda x: x * 2, one)[1](),
        "jvp dict": lambda: F.jvp(lambda d: d["a"] * 2, ({"a": one},), ({"a": one},))[1],
        "jvp dict wrong": lambda: F.jvp(lambda d: d["a"] * 2, ({"a": one},), ({"b": one},))[1],
        "jvp order": lambda: F.jvp(lambda x, y: x * y, (one, one), (one,)),
        "jvp none tangent": lambda: F.jvp(sq, (one,), (None,)),
        "jvp strict": lambda: F.jvp(lambda x: m.ones(3), (one,), (one,), strict=True),
        "jvp int out": lambda: F.jvp(lambda x: x.long(), (one,), (one,)),
        "jvp complex tangent": lambda: F.jvp(sq, (one,), (m.ones(3, dtype=m.complex64),)),
    }


def jacobians(m: Any) -> Cases:
    F, one = m.func, m.ones(3)
    return {
        "jacrev dict": lambda: F.jacrev(lambda d: d["a"] * 2)({"a": one})["a"],
        "jacrev out dict": lambda: F.jacrev(lambda x: {"a": x * 2})(one)["a"],
        "jacfwd out dict": lambda: F.jacfwd(lambda x: {"a": x * 2})(one)["a"],
        "jacrev argnums tuple": lambda: F.jacrev(lambda x, y: x * y, argnums=(0, 1))(one, one)[1],
        "jacrev argnums dup": lambda: F.jacrev(lambda x, y: x * y, argnums=(0, 0))(one, one)[1],
        "jacfwd argnums dup": lambda: F.jacfwd(lambda x, y: x * y, argnums=(0, 0))(one, one)[1],
        "jacrev argnums str": lambda: F.jacrev(sq, argnums="0")(one),
        "jacfwd argnums str": lambda: F.jacfwd(sq, argnums="0")(one),
        "jacrev argnums empty": lambda: F.jacrev(sq, argnums=())(one),
        "jacfwd argnums empty": lambda: F.jacfwd(sq, argnums=())(one),
        "jacfwd chunk 0": lambda: F.jacfwd(sq, chunk_size=0)(one),
        "jacfwd random": lambda: F.jacfwd(lambda x: x * m.rand(3))(one),
        "jacrev no in": lambda: F.jacrev(lambda: one)(),
        "jacrev empty out": lambda: F.jacrev(lambda x: ())(one),
        "jacfwd empty out": lambda: F.jacfwd(lambda x: ())(one),
        "jacrev zero": lambda: F.jacrev(lambda x: x * 2)(m.ones(0)),
        "jacfwd zero": lambda: F.jacfwd(lambda x: x * 2)(m.ones(0)),
        "hessian vec": lambda: F.hessian(lambda x: x**3)(one),
        "hessian aux": lambda: F.hessian(sq)(one, 3),
        "lin twice": lambda: F.linearize(lambda x: {"a": x * 2}, one)[1](one)["a"],
        "lin nontensor": lambda: F.linearize(sq, 3.0),
        "lin none": lambda: F.linearize(sq, one)[1](),
        "lin dict": lambda: F.linearize(lambda d: d["a"] * 2, {"a": one})[1]({"a": one}),
        "lin dict wrong": lambda: F.linearize(lambda d: d["a"] * 2, {"a": one})[1]({"b": one}),
    }


def modules(m: Any) -> Cases:
    F, nn, one = m.func, m.nn, m.ones(3)
    return {
        "fcall strict": lambda: F.functional_call(
            nn.Linear(3, 1), {"weight": m.ones(1, 3)}, (one,), strict=True
        ),
        "fcall shape": lambda: F.functional_call(nn.Linear(3, 1), {"weight": m.ones(1, 4)}, (one,)),
        "fcall no args": lambda: F.functional_call(
            nn.Linear(3, 1), {"weight": m.ones(1, 3), "bias": m.ones(1)}, one
        ),
        "fcall list of dicts": lambda: F.functional_call(
            nn.Linear(3, 1), [{"weight": m.ones(1, 3)}, {"bias": m.ones(1)}], (one,)
        ),
        "fcall dup": lambda: F.functional_call(
            nn.Linear(3, 1), [{"weight": m.ones(1, 3)}, {"weight": m.ones(1, 3)}], (one,)
        ),
        "fcall nontensor": lambda: F.functional_call(nn.Linear(3, 1), {"weight": 3}, (one,)),
        "stack types": lambda: F.stack_module_state([nn.Linear(3, 1), nn.ReLU()]),
        "stack train": lambda: F.stack_module_state([nn.Linear(3, 1), nn.Linear(3, 1).eval()]),
        "stack shapes": lambda: F.stack_module_state([nn.Linear(3, 1), nn.Linear(4, 1)]),
        "stack req": lambda: F.stack_module_state([nn.Linear(3, 1), nn.Linear(3, 1).requires_grad_(False)]),
        "functionalize remove": lambda: F.functionalize(sq, remove="all")(one),
    }


def functions(m: Any) -> Cases:
    F, one, two = m.func, m.ones(3), m.ones(2, 3)

    class NoVmap(m.autograd.Function):
        @staticmethod
        def forward(x):
            return x * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Old(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class NoJvp(NoVmap):
        pass

    class BadVmap(NoVmap):
        @staticmethod
        def vmap(info, in_dims, x):
            return x

    class Both(NoVmap):
        generate_vmap_rule = True

        @staticmethod
        def vmap(info, in_dims, x):
            return x, 0

    class WrongCount(NoVmap):
        generate_vmap_rule = True

        @staticmethod
        def backward(ctx, g):
            return g, g

    class WrongShape(NoVmap):
        @staticmethod
        def backward(ctx, g):
            return g.sum()[None].expand(5)

    class NoCtx(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

    return {
        "Function no vmap": lambda: F.vmap(NoVmap.apply)(two),
        "Function old vmap": lambda: F.vmap(Old.apply)(two),
        "Function old grad": lambda: F.grad(lambda x: Old.apply(x).sum())(one),
        "Function no jvp": lambda: F.jvp(NoJvp.apply, (one,), (one,)),
        "Function bad vmap": lambda: F.vmap(BadVmap.apply)(two),
        "Function both": lambda: F.vmap(Both.apply)(two),
        "Function wrong count": lambda: F.grad(lambda x: WrongCount.apply(x).sum())(one),
        "Function wrong shape": lambda: F.grad(lambda x: WrongShape.apply(x).sum())(one),
    }


def dual_numbers(m: Any) -> Cases:
    F, one = m.func, m.ones(3)
    fwd = m.autograd.forward_ad

    def enter(f: Callable[[], Any]) -> Any:
        with fwd.dual_level():
            return f()

    return {
        "fwd no level": lambda: fwd.make_dual(one, one),
        "fwd shape": lambda: enter(lambda: fwd.make_dual(one, m.ones(4))),
        "fwd int": lambda: enter(lambda: fwd.make_dual(m.ones(3, dtype=m.int64), m.ones(3, dtype=m.int64))),
        "fwd tangent nontensor": lambda: enter(lambda: fwd.make_dual(one, 3)),
        "fwd primal nontensor": lambda: enter(lambda: fwd.make_dual(3, one)),
        "fwd twice": lambda: enter(lambda: fwd.make_dual(fwd.make_dual(one, one), one)),
        "fwd nested": lambda: enter(lambda: enter(lambda: 1)),
        "fwd exit": lambda: fwd.exit_dual_level(),
        "fwd unpack none": lambda: enter(lambda: fwd.unpack_dual(one)[1] is None),
        "fwd dtype": lambda: enter(lambda: fwd.make_dual(one, m.ones(3, dtype=m.float64))),
        "fwd unpack outside": lambda: fwd.unpack_dual(one),
        "F.vjp in fwd": lambda: enter(lambda: F.grad(sq)(fwd.make_dual(one, one))) * 1,
    }


def functional(m: Any) -> Cases:
    one = m.ones(3)
    return {
        "af jac": lambda: m.autograd.functional.jacobian(lambda x: 3.0, one),
        "af hess": lambda: m.autograd.functional.hessian(lambda x: x, one),
        "af vjp v": lambda: m.autograd.functional.vjp(lambda x: x * 2, one),
        "af vjp shape": lambda: m.autograd.functional.vjp(lambda x: x * 2, one, m.ones(4)),
        "af jvp none": lambda: m.autograd.functional.jvp(lambda x: x * 2, one),
        "af strict": lambda: m.autograd.functional.jacobian(lambda x: m.ones(3), one, strict=True),
        "af strategy": lambda: m.autograd.functional.jacobian(lambda x: x, one, strategy="forward-mode"),
        "af hess strategy": lambda: m.autograd.functional.hessian(
            sq, one, outer_jacobian_strategy="forward-mode"
        ),
    }


def data_dependent(m: Any) -> Cases:
    F, nn, two = m.func, m.nn, m.ones(2, 3)

    def setmask(x: Any) -> Any:
        x[x > 0] = 2.0
        return x

    return {
        "nonzero": lambda: F.vmap(m.nonzero)(two),
        "unique": lambda: F.vmap(m.unique)(two),
        "mask": lambda: F.vmap(lambda x: x[x > 0])(two),
        "mask set": lambda: F.vmap(lambda x: x.masked_fill(x > 0, 1.0))(two),
        "mask assign": lambda: F.vmap(lambda x: setmask(x.clone()))(two),
        "index batched": lambda: F.vmap(lambda x, i: x[i])(two, m.tensor([0, 2])),
        "slice batched": lambda: F.vmap(lambda x, i: x[:i])(two, m.tensor([0, 2])),
        "repeat_interleave": lambda: F.vmap(lambda x, i: m.repeat_interleave(x, i))(
            two, m.ones(2, 3, dtype=m.int64)
        ),
        "one_hot": lambda: F.vmap(lambda i: nn.functional.one_hot(i))(m.tensor([0, 2])),
        "one_hot n": lambda: F.vmap(lambda i: nn.functional.one_hot(i, 3))(m.tensor([0, 2])),
        "arange batched": lambda: F.vmap(lambda i: m.arange(i))(m.tensor([0, 2])),
        "zeros batched": lambda: F.vmap(lambda i: m.zeros(i))(m.tensor([0, 2])),
    }


def tensor_protocols(m: Any) -> Cases:
    F, nn, one, two = m.func, m.nn, m.ones(3), m.ones(2, 3)
    return {
        "equal": lambda: F.vmap(lambda a: a if m.equal(a, a) else a)(two),
        "allclose": lambda: F.vmap(lambda a: a if m.allclose(a, a) else a)(two),
        "is_nonzero": lambda: F.vmap(lambda a: m.is_nonzero(a.sum()))(two),
        "deepcopy": lambda: F.vmap(lambda a: __import__("copy").deepcopy(a))(two),
        "data": lambda: F.vmap(lambda a: a.data)(two),
        "set data": lambda: F.grad(lambda a: (setattr(a, "data", one), a.sum())[1])(one.clone()),
        "storage": lambda: F.vmap(lambda a: (a.untyped_storage(), a)[1])(two),
        "data_ptr": lambda: F.vmap(lambda a: (a.data_ptr(), a)[1])(two),
        "detach_": lambda: F.grad(lambda a: (a * 2).detach_().sum())(one),
        "resize_": lambda: F.vmap(lambda a: a.clone().resize_(2))(two),
        "share": lambda: F.vmap(lambda a: a.share_memory_())(two),
        "no_grad grad": lambda: m.no_grad()(F.grad(sq))(one),
        "inference": lambda: m.inference_mode()(F.grad(sq))(one),
        "no_grad in": lambda: F.grad(m.no_grad()(sq))(one),
        "Parameter": lambda: F.grad(sq)(nn.Parameter(one.clone())),
        "hook in grad": lambda: F.grad(lambda x: ((x * 2).register_hook(lambda g: g), sq(x))[1])(one),
    }


GROUPS = (
    control_flow,
    structures,
    randomness,
    writes,
    autograd_inside,
    grad_vjp_jvp,
    jacobians,
    modules,
    functions,
    dual_numbers,
    functional,
    data_dependent,
    tensor_protocols,
)


def cases(m: Any) -> Cases:
    return {name: case for group in GROUPS for name, case in group(m).items()}


def plain(x: Any, m: Any) -> Any:
    """A result that compares across libraries."""
    if isinstance(x, m.Tensor):
        return str(x.dtype), tuple(x.shape), np.round(np.array(x.detach().tolist()), 5).tolist()
    if isinstance(x, dict):
        return {k: plain(v, m) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v, m) for v in x]
    return x if isinstance(x, (str, int, float, type(None))) else type(x).__name__


def answer(name: str, m: Any) -> Any:
    m.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(cases(m)[name](), m)
        except Exception as e:
            return type(e).__name__


@pytest.mark.parametrize("name", cases(flambeau))
def test_the_answer_is_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    if name in OTHERWISE:
        assert answer(name, flambeau) != answer(name, torch), f"no longer different: {OTHERWISE[name]}"
    else:
        assert answer(name, flambeau) == answer(name, torch)


@pytest.mark.parametrize("name", [k for k in control_flow(flambeau) if not k.endswith(("grad", "jvp"))])
def test_hidden_values_name_the_line(name: str) -> None:
    """A branch on a value that differs between examples: the error says where, and what to do."""
    with pytest.raises(RuntimeError) as found:
        cases(flambeau)[name]()
    text = str(found.value)
    assert __file__ in text and "line" in text
    assert "where" in text or "outside" in text


@pytest.mark.parametrize("name", cases(flambeau))
def test_messages_are_sentences(name: str) -> None:
    try:
        cases(flambeau)[name]()
    except Exception as e:
        assert len(str(e)) > 20
