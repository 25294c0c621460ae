"""Bad input to the transforms: PyTorch's exception types, and messages that say which argument and what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau


def cases(m: Any) -> dict[str, Callable[[], Any]]:
    F = m.func
    one, two, whole = m.ones(3), m.ones(2, 3), m.ones(3, dtype=m.int64)

    def sq(x: Any) -> Any:
        return (x * x).sum()

    return {
        "vmap: sizes differ": lambda: m.vmap(lambda a, b: a + b)(m.ones(2, 3), m.ones(3, 3)),
        "vmap: nothing mapped": lambda: m.vmap(lambda a: a, in_dims=None)(one),
        "vmap: in_dim out of range": lambda: m.vmap(lambda a: a, in_dims=2)(two),
        "vmap: in_dims of a wrong type": lambda: m.vmap(lambda a: a, in_dims="0")(two),
        "vmap: in_dims of another structure": lambda: m.vmap(lambda a, b: a, in_dims=(0, 0, 0))(two, two),
        "vmap: no tensor mapped": lambda: m.vmap(lambda a: a)(3.0),
        "vmap: no inputs": lambda: m.vmap(lambda: 1)(),
        "vmap: 0-dim input": lambda: m.vmap(lambda a: a)(m.tensor(1.0)),
        "vmap: out_dim out of range": lambda: m.vmap(lambda a: a, out_dims=5)(two),
        "vmap: negative out_dim out of range": lambda: m.vmap(lambda a: a, out_dims=-4)(two),
        "vmap: out_dims of a wrong type": lambda: m.vmap(lambda a: a, out_dims="0")(two),
        "vmap: out_dims of another structure": lambda: m.vmap(lambda a: a, out_dims=(0, 0))(two),
        "vmap: too few out_dims": lambda: m.vmap(lambda a: (a, a, a), out_dims=(0, 0))(two),
        "vmap: out_dim None for a mapped output": lambda: m.vmap(lambda a: a, out_dims=None)(two),
        "vmap: number returned": lambda: m.vmap(lambda a: 3.0)(two),
        "vmap: None returned": lambda: m.vmap(lambda a: None)(two),
        "vmap: unknown randomness": lambda: m.vmap(lambda a: a, randomness="maybe")(two),
        "vmap: chunk_size 0": lambda: m.vmap(lambda a: a, chunk_size=0)(two),
        "vmap: data-dependent control flow": lambda: m.vmap(lambda a: a if a.sum() > 0 else -a)(two),
        "vmap: item() of a mapped tensor": lambda: m.vmap(lambda a: a.sum().item())(two),
        "vmap: result of changing shape": lambda: m.vmap(lambda a: a.nonzero())(two),
        "vmap: batched into unbatched from outside": lambda: m.vmap(lambda a: one.add_(a))(two),
        "vmap: draw in error mode": lambda: m.vmap(lambda a: a + m.rand(3))(two),
        "grad: nonscalar": lambda: F.grad(lambda x: x * 2)(one),
        "grad: nontensor": lambda: F.grad(lambda x: 3.0)(one),
        "grad: tuple": lambda: F.grad(lambda x: (x.sum(), x))(one),
        "grad: int": lambda: F.grad(sq)(whole),
        "grad: complex": lambda: F.grad(lambda x: (x * x).sum())(m.ones(3, dtype=m.complex64)),
        "gradarg: num": lambda: F.grad(sq, argnums=1)(one),
        "gradarg: numneg": lambda: F.grad(sq, argnums=-2)(one),
        "gradarg: type": lambda: F.grad(sq, argnums="0")(one),
        "gradarg: tuptype": lambda: F.grad(sq, argnums=("0",))(one),
        "gradarg: dup": lambda: F.grad(lambda x, y: sq(x), argnums=(0, 0))(one, one),
        "gradarg: empty": lambda: F.grad(sq, argnums=())(one),
        "grad: nontensorin": lambda: F.grad(lambda x: one.sum())(3.0),
        "grad: aux": lambda: F.grad(sq, has_aux=True)(one),
        "grad: auxlen": lambda: F.grad(lambda x: (sq(x), 1, 2), has_aux=True)(one),
        "grad: intout": lambda: F.grad(lambda x: x.sum().long())(one),
        "vjp: nontensor": lambda: F.vjp(lambda x: 3.0, one),
        "vjp: empty": lambda: F.vjp(lambda x: (), one),
        "vjp: nontensorin": lambda: F.vjp(lambda x: one, 3.0),
        "vjp: noprimal": lambda: F.vjp(lambda: one),
        "vjp: int": lambda: F.vjp(lambda x: x * 2, whole),
        "vjp: ct": lambda: F.vjp(lambda x: x * 2, one)[1](m.ones(4)),
        "vjp: ctn": lambda: F.vjp(lambda x: (x * 2, x), one)[1](one),
        "vjp: ctstruct": lambda: F.vjp(lambda x: (x * 2, x), one)[1]([one, one]),
        "vjp: aux": lambda: F.vjp(sq, one, has_aux=True),
        "jvp: tuple": lambda: F.jvp(sq, one, one),
        "jvp: list": lambda: F.jvp(sq, [one], [one]),
        "jvp: empty": lambda: F.jvp(lambda: one, (), ()),
        "jvp: struct": lambda: F.jvp(sq, (one,), (one, one)),
        "jvp: shape": lambda: F.jvp(sq, (one,), (m.ones(4),)),
        "jvp: nontensor": lambda: F.jvp(sq, (3.0,), (one,)),
        "jvp: int": lambda: F.jvp(sq, (whole,), (whole,)),
        "jvp: out": lambda: F.jvp(lambda x: 3.0, (one,), (one,)),
        "jvp: aux": lambda: F.jvp(sq, (one,), (one,), has_aux=True),
        "jacrev: int": lambda: F.jacrev(lambda x: x * 2)(whole),
        "jacrev: nt": lambda: F.jacrev(lambda x: 3.0)(one),
        "jacrev: arg": lambda: F.jacrev(sq, argnums=3)(one),
        "jacrev: chunk": lambda: F.jacrev(sq, chunk_size=0),
        "jacfwd: int": lambda: F.jacfwd(lambda x: x * 2)(whole),
        "jacfwd: nt": lambda: F.jacfwd(lambda x: 3.0)(one),
        "jacfwd: arg": lambda: F.jacfwd(sq, argnums=3)(one),
        "jacfwd: ntin": lambda: F.jacfwd(lambda x: one)(3.0),
        "hess: int": lambda: F.hessian(sq)(whole),
        "lin: empty": lambda: F.linearize(lambda: one),
        "lin: tan": lambda: F.linearize(sq, one)[1](m.ones(4)),
        "lin: tann": lambda: F.linearize(sq, one)[1](one, one),
        "lin: dtype": lambda: F.linearize(sq, one)[1](m.ones(3, dtype=m.float64)),
        "fcall: ": lambda: F.functional_call(3, {}, ()),
        "stack: ": lambda: F.stack_module_state([]),
    }


@pytest.mark.parametrize("name", cases(flambeau))
def test_exceptions_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    try:
        cases(torch)[name]()
        expected: Any = None
    except Exception as e:
        expected = type(e)
    if expected is None:
        cases(flambeau)[name]()
    else:
        with pytest.raises(expected) as found:
            cases(flambeau)[name]()
        assert found.type is expected and len(str(found.value)) > 20


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vmap: sizes differ", r"\[2, 3\]"),
        ("vmap: in_dim out of range", "in_dim=2"),
        ("vmap: out_dim out of range", "out_dims.*5"),
        ("vmap: number returned", "float"),
        ("vmap: data-dependent control flow", "where"),
        ("vmap: draw in error mode", "randomness"),
        ("grad: nonscalar", "scalar"),
        ("grad: int", "int64"),
        ("vjp: int", "int64"),
        ("jvp: int", "int64"),
        ("hess: int", "int64"),
        ("jvp: shape", r"\[3\].*\[4\]"),
        ("vjp: ct", r"\[3\].*4"),
    ],
)
def test_messages_say_what_is_wrong(name: str, words: str) -> None:
    with pytest.raises(Exception, match=words):
        cases(flambeau)[name]()


def test_a_tangent_of_another_floating_dtype_is_converted() -> None:
    t = flambeau.ones(2, dtype=flambeau.float64)
    _, out = flambeau.func.jvp(flambeau.sin, (flambeau.zeros(2),), (t,))
    assert out.dtype == flambeau.float32 and out.tolist() == [1.0, 1.0]
