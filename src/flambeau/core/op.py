"""Operations: what an interpreter knows about one, how rules name what they need, and `bind`.

A rule is a plain function; the names of its parameters say what it reads, and so what is saved for it:

* `g` (reverse) or `t` (forward) comes first: the cotangent or tangent.
* an input's name (`x`, `a`, `b` ...) is that input, saved;   `y` is the output, saved;
* `x_meta` is `Meta(shape, dtype)` of input `x`: nothing is kept alive;   `metas` are those of all inputs;
* `inputs` is the list of all inputs (those before `info["save_from"]` are not saved, and None);
  `info["saves"](needs)` gives the positions of those that are saved, where that depends on what needs gradients;
* of several outputs only those in `info["outputs_read"]` are saved, where that is given: the others are None in `y`;
* `needs` is a tuple of bools, one for each input;   `y_metas` are the outputs' metas;
* any other name is a parameter of the operation.

No rule can read an unsaved value, and nothing is saved that no rule reads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..runtime import dtypes
from .state import tls
from .tensor import Tensor


class Meta(NamedTuple):
    """Shape and dtype of a tensor, without its values."""

    shape: tuple[int, ...]
    dtype: Any  # NumPy dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)


def meta_of(x: Any) -> Meta:
    """The Meta of a tensor; Python scalars count as 0-d."""
    if isinstance(x, Tensor):
        return Meta(x._a.shape, x._a.dtype)
    return Meta((), type(x))


IN, OUT, META, METAS, PARAM, NEEDS, OUT_METAS, INPUTS = range(8)


def parameter_names(fn: Callable[..., Any]) -> tuple[str, ...]:
    """Names of all parameters: those declared in `fn.names`, else the function's own.

    Reads the code object: `inspect.signature` over a few hundred rules would take most of the import time.
    """
    declared = getattr(fn, "names", None)
    if declared is not None:
        return tuple(declared)
    code = fn.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


class Rule:
    """A derivative rule with its parameters resolved to sources."""

    __slots__ = ("fn", "sources")

    def __init__(self, fn: Callable[..., Any], inputs: Sequence[str]) -> None:
        self.fn = fn
        self.sources: list[tuple[int, Any]] = []
        for name in parameter_names(fn)[1:]:
            if name in inputs:
                self.sources.append((IN, list(inputs).index(name)))
            elif name == "y":
                self.sources.append((OUT, 0))
            elif name.endswith("_meta") and name[:-5] in inputs:
                self.sources.append((META, list(inputs).index(name[:-5])))
            else:
                special = {"metas": METAS, "needs": NEEDS, "y_metas": OUT_METAS, "inputs": INPUTS}
                self.sources.append((special.get(name, PARAM), name))


class Plan:
    """What to save when a given subset of the inputs needs gradients, and how to run the rules then.

    inputs  positions of the inputs to save;   output  save the output?;   metas  save the inputs' metas?
    rules   (input, rule, sources) each;       run     (node, cotangent) -> gradients, one for each input
    """

    __slots__ = ("needs", "inputs", "output", "metas", "rules", "run", "op")

    def __init__(self, op: Op, needs: tuple[bool, ...], rules: Sequence[tuple[int, Rule]]) -> None:
        kinds = [s for _, r in rules for s in r.sources]
        saved = tuple(sorted({i for k, i in kinds if k == IN}))
        if any(k == INPUTS for k, _ in kinds):
            saves = op.info.get("saves")
            saved = saves(needs) if saves else tuple(range(op.info.get("save_from", 0), len(needs)))
        self.op = op
        self.needs = needs
        self.inputs = saved
        self.output = any(k == OUT for k, _ in kinds)
        self.metas = any(k in (META, METAS) for k, _ in kinds)
        self.rules = tuple(
            [
                (i, r.fn, tuple([(k, saved.index(p) if k == IN else p) for k, p in r.sources]))
                for i, r in rules
            ]
        )
        self.run: Callable[..., Any] = self.first_run

    def first_run(self, node: Any, g: Any) -> Any:
        """Most plans of a program never run: their code is generated when the first one does."""
        order = self.op.info.get("order")
        rules = sorted(self.rules, key=lambda r: order.index(r[0])) if order else self.rules
        self.run = compile_rules(len(self.needs), rules, self.inputs)
        return self.run(node, g)


def compile_rules(n: int, rules: Sequence[Any], saved: Sequence[int]) -> Callable[..., Any]:
    """One Python function that fetches what the rules name and calls them: no dispatch is left for run time.

    The rules run in the order given.  It decides in which order derivatives of them meet, and so how a sum of several
    16-bit numbers is rounded; `Op.info["order"]` has PyTorch's where that is not the order of the inputs.
    """
    scope: dict[str, Any] = {}

    def source(kind: int, key: Any) -> str:
        if kind == IN:
            return f"node.unpack({key})"
        if kind == OUT:
            return "node.unpack_output()"
        if kind == META:
            return f"(node.metas[{key}] if node.metas else None)"  # None: of the result's shape
        if kind == PARAM:
            return f"node.params.get({key!r})"  # a parameter that was left out is None
        if kind == INPUTS:
            places = [f"node.unpack({saved.index(i)})" if i in saved else "None" for i in range(n)]
            return f"[{', '.join(places)}]"
        return {METAS: "node.metas", NEEDS: "node.plan.needs", OUT_METAS: "node.out_metas"}[kind]

    calls = {}
    for i, fn, sources in rules:
        scope[f"rule{max(i, 0)}"] = fn
        calls[i] = f"rule{max(i, 0)}({', '.join(['g', *[source(k, p) for k, p in sources]])})"
    text = "def run(node, g):\n"
    given = {i: f"r{i}" for i, _, _ in rules}
    result = "(" + "".join(f"{given.get(i, 'None')}, " for i in range(n)) + ")"
    if all(hasattr(fn, "direct") for _, fn, _ in rules):
        # elementwise over real numbers, nothing broadcast: the tangent map is the whole rule
        direct = {}
        for i, fn, sources in rules:
            scope[f"direct{i}"] = fn.direct
            direct[i] = f"direct{i}({', '.join(['g', *[source(k, p) for k, p in sources[: fn.own]]])})"
        scope |= {"ndarray": np.ndarray, "fused": fused_rules, "large": FUSED_FROM}
        alike = " and ".join(f"metas[{i}].shape == a.shape" for i, _, _ in rules)
        text += "    a = g._a\n    metas = node.metas\n"
        text += f"    if a.dtype.kind != 'c' and (not metas or {alike}):\n"
        text += "        if type(a) is ndarray and a.nbytes >= large:\n"
        text += "            r = fused(node.plan, node, g)\n"
        text += "            if r is not None:\n"
        text += "                return r\n"
        text += "".join(f"        r{i} = {direct[i]}\n" for i in direct) + f"        return {result}\n"
        # Every map before the first sum over broadcast dims, as in PyTorch.
        for i, fn, sources in rules:
            scope[f"whole{i}"] = fn.whole
            text += f"    r{i} = whole{i}({', '.join(['g', *[source(k, p) for k, p in sources]])})\n"
        scope["unbroadcast"] = unbroadcast_to
        given = {i: f"unbroadcast(r{i}, metas, {i})" for i in given}
        result = "(" + "".join(f"{given.get(i, 'None')}, " for i in range(n)) + ")"
    elif -1 in calls:
        result = calls[-1]
    else:
        text += "".join(f"    r{i} = {calls[i]}\n" for i in calls)
    scope["__name__"] = __name__  # NumPy's warnings are silenced by the name of the module
    exec(text + f"    return {result}", scope)
    return scope["run"]  # type: ignore[no-any-return]


def unbroadcast_to(r: Any, metas: Any, i: int) -> Any:
    """Sum a gradient over what broadcasting input `i` had expanded."""
    from .families import unbroadcast

    return unbroadcast(r, metas[i].shape) if metas else r


FUSED_FROM = 1 << 16  # bytes of a cotangent


def fused_rules(plan: Plan, node: Any, g: Any) -> Any:
    """All gradients of an elementwise operation from one generated kernel, or None."""
    from .fusion import run_rules

    return run_rules(plan, node, g)


class Op:
    """One operation, as every interpreter sees it.

    impl    NumPy arrays and scalars in, array (or tuple of arrays) out
    vjp     one rule for each input (None: not differentiable in it), or a single rule that returns all gradients
    jvp     (tangents, primals, output, params) -> tangent of the output; tangents may be None
    batch   (size, batched, args, params) -> (output, is it batched?); batch dims are in front
    """

    __slots__ = (
        *(
            "name",
            "family",
            "impl",
            "inputs",
            "vjp",
            "joint",
            "jvp",
            "batch",
            "plans",
            "n_out",
            "is_view",
            "repeats",
            "put",
        ),
        *("grad_name", "scalar", "public", "differentiable", "adjoint", "info", "shown"),
    )

    def __init__(
        self,
        name: str,
        family: str,
        impl: Callable[..., Any],
        inputs: Sequence[str],
        *,
        vjp: Any = None,
        jvp: Callable[..., Any] | None = None,
        batch: Callable[..., Any] | None = None,
        n_out: int = 1,
        differentiable: bool = True,
        grad_name: str | None = None,
    ) -> None:
        if name in REGISTRY:
            raise ValueError(f"operation {name!r} is registered twice")
        if differentiable and vjp is None:
            raise ValueError(
                f"operation {name!r} has no derivative rule: give one, or say differentiable=False"
            )
        if batch is None:
            raise ValueError(f"operation {name!r} has no batching rule")
        self.name, self.family, self.impl, self.inputs = name, family, impl, tuple(inputs)
        self.joint = Rule(vjp, inputs) if callable(vjp) else None
        self.vjp = tuple(r and Rule(r, inputs) for r in vjp) if vjp and not callable(vjp) else ()
        self.jvp: Any = jvp
        self.batch: Any = batch
        self.plans: dict[tuple[bool, ...], Plan] = {}
        self.n_out = n_out
        self.is_view = False
        self.repeats = False  # a view that may show an element more than once
        self.put: Any = None
        self.adjoint: Any = None
        self.differentiable = differentiable
        self.grad_name = grad_name or "".join(w.capitalize() for w in name.split("_")) + "Backward0"
        self.scalar: Any = None  # a pointwise op's body, for the compiler
        self.public: Any = None
        self.info: dict[str, Any] = {}  # what the test battery and the documentation need to know
        self.shown: dict[str, Op] = {}
        REGISTRY[name] = self

    def __call__(self, *args: Any, **params: Any) -> Any:
        stack = tls.stack
        if stack:
            return stack[-1].process(self, args, params)
        return eager_view(self, args[0], params) if self.is_view else eager(self, args, params)

    def __repr__(self) -> str:
        return f"<{self.family} op {self.name}>"

    def shown_as(self, grad_name: str) -> Op:
        """This operation with another name for its nodes: the last step of a composite bears the composite's."""
        found = self.shown.get(grad_name)
        if found is None:
            found = self.shown[grad_name] = copy.copy(self)
            found.grad_name, found.plans = grad_name, {}
        return found

    def plan(self, needs: tuple[bool, ...]) -> Plan:
        """The Plan for this pattern of inputs that need gradients (cached)."""
        found = self.plans.get(needs)
        if found is None:
            if self.joint is not None:
                rules = [(-1, self.joint)]
            else:
                rules = [
                    (i, r) for i, r in enumerate(self.vjp) if r is not None and i < len(needs) and needs[i]
                ]
            found = self.plans[needs] = Plan(self, needs, rules)
        return found


REGISTRY: dict[str, Op] = {}


def bind(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
    """Run `op` under the innermost interpreter, or eagerly when there is none."""
    stack = tls.stack
    if stack:
        return stack[-1].process(op, args, params)
    return eager(op, args, params)


def dtype_of(t: Tensor) -> dtypes.dtype:
    return dtypes.OF_NUMPY[t._a.dtype]


from .eager import eager as eager  # noqa: E402  (eager execution needs Op; bind needs eager)
from .eager import eager_view  # noqa: E402
