"""How the proof reads calls: into the program's functions and modules, and past operations, which change nothing."""

from __future__ import annotations

import functools
import math
import operator
import os
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...core.tensor import Tensor
from .guards import PLAIN
from .objects import in_class, is_module, of_nn
from .values import Bound, Closure, Fresh, Items, Known, Method, Value

if TYPE_CHECKING:
    from .proof import Proof

__all__ = ["call", "prove"]

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
# Parts of this package whose functions depend on their arguments alone and change nothing else.
OPERATIONS = tuple(
    PACKAGE + part.replace("/", os.sep)
    for part in (
        "core/public.py core/elementwise.py core/remembered.py core/families.py ops/ prims/ func/ scientific/ tensor/ linalg.py fft.py special.py "
        "nn/functional/ nn/utils/stateless.py autograd/differentiate.py autograd/functional.py utils/checkpoint.py"
    ).split()
)
FOLLOWED = PACKAGE + "nn" + os.sep + "modules" + os.sep  # modules are read like the program's own
NOT_OPERATIONS = frozenset(
    "manual_seed seed initial_seed set_rng_state get_rng_state save load set_default_dtype set_printoptions "
    "set_num_threads set_default_device set_grad_enabled get_default_dtype".split()
)
# Methods of tensors that change what is around them.
EFFECTS = frozenset(
    "register_hook register_post_accumulate_grad_hook retain_grad share_memory_ set_ resize_ resize_as_ map_ map2_ "
    "apply_ storage untyped_storage data_ptr __setstate__".split()
)
READ_ONLY = frozenset(
    "get items keys values index count copy numel is_floating_point format join split strip startswith endswith "
    "lower upper replace bit_length is_integer".split()
)
GROW = frozenset("append extend insert setdefault update add".split())
OF_CONTAINERS = READ_ONLY | GROW | frozenset("pop popitem clear remove sort reverse discard union".split())
PURE = frozenset(
    (
        *(
            len,
            isinstance,
            issubclass,
            range,
            enumerate,
            zip,
            min,
            max,
            sum,
            abs,
            int,
            float,
            bool,
            complex,
            str,
            tuple,
        ),
        *(
            list,
            dict,
            set,
            frozenset,
            slice,
            sorted,
            reversed,
            any,
            all,
            round,
            divmod,
            pow,
            callable,
            type,
            map,
            filter,
        ),
        *(repr, ord, chr, hash),
        *(f for f in vars(math).values() if isinstance(f, types.BuiltinFunctionType)),
        *(
            f
            for f in vars(operator).values()
            if isinstance(f, types.BuiltinFunctionType) and f.__name__[0] != "i"
        ),
    )
)
FOLD = frozenset(
    (
        len,
        isinstance,
        issubclass,
        range,
        min,
        max,
        sum,
        abs,
        int,
        float,
        bool,
        str,
        tuple,
        round,
        callable,
        type,
    )
)
MADE = Fresh()
HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def prove(fn: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Proof:
    """The proof that calls of `fn` with such arguments do the same each time.

    Raises: Refused.
    """
    from .proof import Proof

    proof = Proof()
    values = [_argument(proof, v) for v in args]
    call(proof, Known(fn), values, {k: _argument(proof, v) for k, v in kwargs.items()}, False)
    return proof


def _argument(proof: Proof, v: Any) -> Value:
    if isinstance(v, Tensor):
        proof.guards.arguments.add(id(v))
        return Known(v)
    if type(v) in (list, tuple):
        return Items(tuple([_argument(proof, x) for x in v]))
    if isinstance(v, (dict, set)):
        raise proof.refuse(f"an argument is a {type(v).__name__}")
    return Known(v)


def call(proof: Proof, fn: Value, args: list[Value], kwargs: dict[str, Value], open_ended: bool) -> Value:
    """What is known of the result of a call; `open_ended` says that there may be more arguments."""
    if isinstance(fn, Fresh):
        if not fn.callable:
            raise proof.refuse("something that was made in the call is called")
        _use(proof, [*args, *kwargs.values()])
        return MADE
    if isinstance(fn, Method):
        return _method(proof, fn, args, kwargs)
    if isinstance(fn, Closure):
        return proof.call_closure(fn, *_whole(proof, args, kwargs, open_ended))
    if isinstance(fn, Bound):
        return call(proof, Known(fn.function), [fn.owner, *args], kwargs, open_ended)
    if not isinstance(fn, Known):
        raise proof.refuse("something that is no function is called")
    v = fn.value
    if isinstance(v, types.FunctionType):
        return _function(proof, v, args, kwargs, open_ended)
    if isinstance(v, types.MethodType):
        return call(proof, Known(v.__func__), [proof.known(v.__self__), *args], kwargs, open_ended)
    if isinstance(v, functools.partial):
        given = {k: proof.known(x) for k, x in v.keywords.items()}
        return call(proof, Known(v.func), [*map(proof.known, v.args), *args], given | kwargs, open_ended)
    if is_module(v):
        return _module(proof, v, args, kwargs, open_ended)
    if isinstance(v, type):
        return _class(proof, v, args, kwargs)
    if v is getattr and len(args) == 2 and isinstance(args[1], Known) and isinstance(args[1].value, str):
        return proof.attribute(args[0], args[1].value)
    if isinstance(v, types.BuiltinFunctionType):
        if v not in PURE:
            raise proof.refuse(f"{v.__qualname__} is called")
        return _pure(proof, v, args, kwargs)
    method = in_class(type(v), "__call__")
    if isinstance(method, types.FunctionType):
        proof.guards.of_class(type(v), "__call__", method)
        return call(proof, Known(method), [fn, *args], kwargs, open_ended)
    raise proof.refuse(f"{getattr(v, '__qualname__', f'a {type(v).__name__}')} is called")


def _whole(
    proof: Proof, args: list[Value], kwargs: dict[str, Value], open_ended: bool
) -> tuple[list[Value], dict[str, Value]]:
    if open_ended:
        raise proof.refuse("a function is called with *arguments of unknown number")
    return args, kwargs


def _function(proof: Proof, fn: Any, args: list[Value], kwargs: dict[str, Value], open_ended: bool) -> Value:
    file = fn.__code__.co_filename
    if not file.startswith(PACKAGE) or file.startswith(FOLLOWED):
        return proof.call_function(fn, *_whole(proof, args, kwargs, open_ended))
    if not file.startswith(OPERATIONS) or fn.__name__ in NOT_OPERATIONS:
        raise proof.refuse(f"{fn.__name__} is called, which may do something else than compute")
    for cell in fn.__closure__ or ():  # what a transform was applied to
        if isinstance(fn.__module__, str) and file.startswith((PACKAGE + "func", PACKAGE + "scientific")):
            _use(proof, [proof.known(cell.cell_contents)], inside=True)
    _use(proof, [*args, *kwargs.values()])
    transform = file.startswith(PACKAGE + "func" + os.sep)
    return Fresh(callable=transform, holds=False)


def _use(proof: Proof, values: Sequence[Value], inside: bool = False) -> None:
    """Let an operation use these; functions and modules among them are read, as the operation may call them."""
    for value in values:
        if isinstance(value, Items):
            _use(proof, value.values)
        elif isinstance(value, (Closure, Bound)):
            _read(proof, value)
        elif isinstance(value, Fresh):
            if value.holds:
                raise proof.refuse("an object that is not followed is passed on")
        elif isinstance(value, Known):
            v = value.value
            if is_module(v) or isinstance(v, (types.FunctionType, types.MethodType, functools.partial)):
                if id(v) not in proof.active:
                    proof.active.append(id(v))
                    _read(proof, value)
                    proof.active.remove(id(v))
            elif isinstance(v, types.BuiltinFunctionType) and v not in PURE:
                raise proof.refuse(f"{v.__qualname__} is passed on")
            elif not inside or isinstance(v, (Tensor, *PLAIN, list, tuple, dict)):
                proof.plain_use(value, "passed on")


def _read(proof: Proof, fn: Value) -> None:
    """Read a function whose arguments an operation chooses."""
    target: Any = fn
    count = 0
    if isinstance(fn, Known) and is_module(fn.value):
        target, count = Known(type(fn.value).forward), 1
    elif isinstance(fn, Known) and isinstance(fn.value, types.MethodType):
        target, count = Known(fn.value.__func__), 1
    elif isinstance(fn, Known) and isinstance(fn.value, functools.partial):
        call(proof, fn, [MADE] * max(_required(fn.value.func) - len(fn.value.args), 0), {}, False)
        return
    elif isinstance(fn, Bound):
        target, count = Known(fn.function), 1
    if isinstance(target, Closure):
        a = target.node.args
        required = len(a.posonlyargs) + len(a.args) - len(a.defaults)
    else:
        required = _required(target.value)
    call(proof, fn, [MADE] * (required - count), {}, False)


def _required(fn: Any) -> int:
    """How many arguments a function must be given by position."""
    if not isinstance(fn, types.FunctionType):
        return 1
    if fn.__code__.co_filename.startswith(PACKAGE):
        return fn.__code__.co_argcount
    return fn.__code__.co_argcount - len(fn.__defaults__ or ())


def _method(proof: Proof, fn: Method, args: list[Value], kwargs: dict[str, Value]) -> Value:
    owner, name = fn.owner, fn.name
    values = [*args, *kwargs.values()]
    if isinstance(owner, Items) or isinstance(owner, Known) and not isinstance(owner.value, Tensor):
        if isinstance(owner, Known) and isinstance(owner.value, (str, bytes)):  # they never change
            given = [v.value for v in args if isinstance(v, Known) and isinstance(v.value, PLAIN)]
            if len(given) == len(args) and not kwargs and hasattr(owner.value, name):
                try:
                    return Known(getattr(owner.value, name)(*given))
                except Exception:
                    return MADE  # it raises in the function, too
        if name not in READ_ONLY:
            raise proof.refuse(f"{name}() of an object from outside is called")
        _use(proof, values)
        if isinstance(owner, Known):
            if isinstance(owner.value, dict):
                proof.guards.inside("a container", owner.value)
                if name in ("items", "values", "keys") and not values:
                    found = getattr(owner.value, name)()
                    return Items(
                        tuple(
                            [
                                Items(tuple(map(proof.known, x))) if name == "items" else proof.known(x)
                                for x in found
                            ]
                        )
                    )
                if (
                    name == "get"
                    and values
                    and isinstance(values[0], Known)
                    and isinstance(values[0].value, PLAIN)
                ):
                    default = values[1] if len(values) > 1 else Known(None)
                    key = values[0].value
                    return proof.known(owner.value[key]) if key in owner.value else default
            from .proof import holds

            return Fresh(holds=holds(owner))
        return MADE
    if name in EFFECTS or not (hasattr(Tensor, name) or name in OF_CONTAINERS):
        raise proof.refuse(f"{name}() is called, which may do something else than compute")
    if name == "requires_grad_" and isinstance(owner, Known):
        raise proof.refuse("requires_grad_() of a tensor from outside is called")
    if name in GROW:
        from .proof import holds

        if any(map(holds, values)):
            raise proof.refuse("an object from outside is put in a container")
    _use(proof, values)
    return MADE


def _pure(proof: Proof, fn: Any, args: list[Value], kwargs: dict[str, Value]) -> Value:
    from .proof import FOLDED, holds

    if fn in (enumerate, zip, reversed) and not kwargs:
        rows = (
            [proof.iterate(a) for a in args[:1] if fn is not zip]
            if fn is not zip
            else [proof.iterate(a) for a in args]
        )
        if all(r is not None for r in rows) and len(args) == len(rows):
            found: list[Any] = [r for r in rows if r is not None]
            if fn is enumerate:
                return Items(tuple([Items((Known(i), v)) for i, v in enumerate(found[0])]))
            if fn is reversed:
                return Items(tuple(reversed(found[0])))
            return Items(tuple([Items(tuple(row)) for row in zip(*found)]))
        return Fresh(holds=any(map(holds, args)))
    if fn is isinstance and isinstance(args[0], (Fresh, Method)):
        return MADE
    if fn is len and isinstance(args[0], Items):
        return Known(len(args[0].values))
    if fn in (tuple, list) and args and isinstance(args[0], Items):
        return args[0] if fn is tuple else Fresh(holds=holds(args[0]))
    known = [a.value for a in args if isinstance(a, Known)]
    if len(known) == len(args) and not kwargs and fn in FOLD:
        if fn is len and known and is_module(known[0]):
            return Known(len(proof.iterate(args[0]) or ()))
        foldable = all(isinstance(k, (*FOLDED, type)) for k in known)
        if fn in (isinstance, callable, type):
            foldable = fn is not type or len(known) == 1
        if fn is len and isinstance(known[0], (list, dict)):
            proof.guards.inside("a container", known[0])
            foldable = True
        if foldable:
            try:
                return Known(fn(*known))
            except Exception:
                return MADE  # it raises in the function, too
    _use(proof, [*args, *kwargs.values()])
    return Fresh(holds=any(map(holds, args)))


def _class(proof: Proof, cls: type, args: list[Value], kwargs: dict[str, Value]) -> Value:
    if cls in PURE:
        return _pure(proof, cls, args, kwargs)
    values = [*args, *kwargs.values()]
    if cls.__module__ == "flambeau.autograd.grad_mode":
        _use(proof, values)
        return Fresh(callable=True)
    if cls.__module__ in ("flambeau.runtime.types", "flambeau.runtime.dtypes"):
        _use(proof, values)
        return MADE
    if (
        issubclass(cls, tuple)
        and hasattr(cls, "_fields")
        and in_class(cls, "__new__").__module__.startswith("namedtuple_")
    ):
        from .proof import holds

        return Fresh(holds=any(map(holds, values)))
    raise proof.refuse(f"a {cls.__name__} is made")


def _module(proof: Proof, m: Any, args: list[Value], kwargs: dict[str, Value], open_ended: bool) -> Value:
    base, hooks_of_all = of_nn("module"), of_nn("module_hooks")._any_global
    cls = type(m)
    if in_class(cls, "__call__") is not base.Module.__dict__["__call__"]:
        raise proof.refuse(f"{cls.__name__} has its own way to be called")
    own = m.__dict__
    for hooks in (*[own.get(h) for h in HOOKS], hooks_of_all):
        if hooks is not None:
            if hooks:
                raise proof.refuse(f"a {cls.__name__} has hooks")
            proof.guards.empty(f"hooks of a {cls.__name__}", hooks)
    proof.guards.entry(
        "the compiled form", own, "_compiled_call_impl", None
    ) if "_compiled_call_impl" in own else None
    if cls.__name__ == "OptimizedModule" and "compiled" in own:
        return call(proof, Known(m._modules["_orig_mod"]), args, kwargs, open_ended)
    if "forward" in own:
        forward = own["forward"]
        proof.guards.entry("the attribute", own, "forward", forward)
        return call(proof, Known(forward), args, kwargs, open_ended)
    proof.guards.absent("the attribute", own, "forward")
    raw = in_class(cls, "forward")
    proof.guards.of_class(cls, "forward", raw)
    return call(proof, Known(raw), [Known(m), *args], kwargs, open_ended)
