"""How the proof reads attributes and elements of objects from outside: each read is guarded where it ends."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

from ...core.state import tls
from ...core.tensor import Tensor
from .guards import PLAIN
from .values import Bound, Fresh, Known, Method, Value

if TYPE_CHECKING:
    from .proof import Proof

__all__ = ["attribute_of", "is_module", "module_item", "module_items"]

MADE = Fresh()
MISSING = object()
LAYOUT = ("shape", "ndim", "dtype", "device")  # of a tensor: guarded with it


def of_nn(part: str) -> Any:
    """A file of nn/modules, which is above this layer; None where it is not loaded, and so none of its classes is used."""
    return sys.modules.get(f"{__name__.partition('.')[0]}.nn.modules.{part}")


def is_module(v: Any) -> bool:
    """Whether an object is an `nn.Module`."""
    base = of_nn("module")
    return base is not None and isinstance(v, base.Module)


def containers(*names: str) -> tuple[type, ...]:
    """Classes of containers of modules, by name."""
    found = of_nn("container")
    return tuple([getattr(found, n) for n in names]) if found is not None else ()


def in_class(cls: type, name: str) -> Any:
    """What a class or its bases have under a name, as it is written there."""
    for c in cls.__mro__:
        if name in c.__dict__:
            return c.__dict__[name]
    return MISSING


def attribute_of(proof: Proof, owner: Known, name: str) -> Value:
    """``owner.name`` for an object from outside."""
    v = owner.value
    if isinstance(v, Tensor):
        proof.guards.tensor(v)
        return (
            Known(getattr(v, name))
            if name in LAYOUT and type(v).__module__.partition(".")[0] in ("flambeau", "torch")
            else Method(owner, name)
        )
    if isinstance(v, types.ModuleType):
        return _of_python_module(proof, v, name)
    if isinstance(v, type):
        return _of_class(proof, v, name)
    if isinstance(v, (str, bytes, list, tuple, dict, range, int, float, complex)) and type(v).__module__ in (
        "builtins",
        "flambeau.runtime.types",
    ):
        return Method(owner, name)
    if type(v).__module__.startswith("flambeau.runtime"):  # dtypes, devices: they never change
        found = getattr(v, name, MISSING)
        return Known(found) if isinstance(found, PLAIN) else Method(MADE, name)
    if v is tls and name == "autocast" and tls.autocast is None:
        return Known(None)  # a replay checks it in any case
    if isinstance(v, types.FunctionType):
        if name in v.__dict__:
            proof.guards.entry("the attribute", v.__dict__, name, v.__dict__[name])
            return proof.known(v.__dict__[name])
        raise proof.refuse(f"the attribute {name!r} of a function is read")
    return _of_instance(proof, owner, name)


def _of_python_module(proof: Proof, v: types.ModuleType, name: str) -> Value:
    if name not in v.__dict__:
        found = getattr(v, name, MISSING)  # packages may load it at the first use
        if found is MISSING:
            raise proof.refuse(f"the module {v.__name__} has no {name!r}")
        if name not in v.__dict__:
            proof.guards.absent(f"in the module {v.__name__}", v.__dict__, name)
            return proof.known(found)
    proof.guards.entry(f"in the module {v.__name__}", v.__dict__, name, v.__dict__[name])
    return proof.known(v.__dict__[name])


def _of_class(proof: Proof, cls: type, name: str) -> Value:
    if type(cls) is not type:
        raise proof.refuse(f"{cls.__name__}.{name}: the class has a metaclass")
    if name in ("__name__", "__qualname__", "__module__"):
        return Known(getattr(cls, name))
    raw = in_class(cls, name)
    if raw is MISSING:
        raise proof.refuse(f"{cls.__name__} has no attribute {name!r}")
    return _raw(proof, cls, name, raw, Known(cls), None)


def _raw(proof: Proof, cls: type, name: str, raw: Any, klass: Known, owner: Known | None) -> Value:
    """What a class has under a name, as seen through an instance (`owner`) or through the class."""
    if isinstance(raw, staticmethod):
        proof.guards.of_class(cls, name, raw.__func__)
        return proof.known(raw.__func__)
    if isinstance(raw, classmethod):
        proof.guards.add(
            ("classmethod", cls, name),
            f"{cls.__name__}.{name}",
            "getattr({c}, {n}).__func__ is {f}",
            c=cls,
            n=name,
            f=raw.__func__,
        )
        return Bound(raw.__func__, klass)
    if isinstance(raw, types.FunctionType):
        proof.guards.of_class(cls, name, raw)
        return proof.known(raw) if owner is None else Bound(raw, owner)
    if isinstance(raw, property) and owner is not None:
        if not isinstance(raw.fget, types.FunctionType):
            raise proof.refuse(f"the property {name!r} is not written in Python")
        proof.guards.of_class(cls, name, raw)
        from .calls import call

        return call(proof, Known(raw.fget), [owner], {}, False)
    if hasattr(type(raw), "__get__"):
        if isinstance(raw, types.MemberDescriptorType) and owner is not None:  # a slot
            value = getattr(owner.value, name)
            test = (
                "same(getattr({o}, {n}, None), {v})"
                if isinstance(value, PLAIN)
                else "getattr({o}, {n}, None) is {v}"
            )
            proof.guards.add(
                ("slot", id(owner.value), name),
                f"the attribute {name!r}",
                test,
                o=owner.value,
                n=name,
                v=value,
            )
            return proof.known(value)
        if owner is None:
            return Method(MADE, name)  # str.upper and the like: allowed or not where it is called
        raise proof.refuse(f"{cls.__name__}.{name} is computed by a {type(raw).__name__}")
    proof.guards.of_class(cls, name, raw)
    return proof.known(raw)


def _of_instance(proof: Proof, owner: Known, name: str) -> Value:
    v = owner.value
    cls = type(v)
    if in_class(cls, "__getattribute__") is not object.__getattribute__ and cls is not types.SimpleNamespace:
        raise proof.refuse(f"{cls.__name__} has its own way to read attributes")
    raw = in_class(cls, name)
    mapping = getattr(v, "__dict__", None)
    if raw is not MISSING and (isinstance(raw, property) or hasattr(type(raw), "__set__")):
        return _raw(proof, cls, name, raw, Known(cls), owner)
    if mapping is not None and name in mapping:
        proof.guards.entry("the attribute", mapping, name, mapping[name])
        return proof.known(mapping[name])
    if mapping is not None:
        proof.guards.absent("the attribute", mapping, name)
    if raw is not MISSING:
        return _raw(proof, cls, name, raw, Known(cls), owner)
    if is_module(v):
        if in_class(cls, "__getattr__") is of_nn("module").Module.__dict__["__getattr__"]:
            for kind in ("_parameters", "_buffers", "_modules"):
                if name in mapping[kind]:  # type: ignore[index]
                    inner = mapping[kind]  # type: ignore[index]
                    proof.guards.entry(f"of {cls.__name__}", inner, name, inner[name])
                    return proof.known(inner[name])
    raise proof.refuse(f"{cls.__name__} computes its attribute {name!r}")


def module_items(proof: Proof, v: Any) -> list[Value]:
    """What a loop over a list of modules goes through."""
    if type(v) not in containers("ModuleList", "Sequential"):
        raise proof.refuse(f"a loop goes over a {type(v).__name__} from outside")
    proof.guards.inside(f"the modules of a {type(v).__name__}", v._modules)
    return [Known(m) for m in v._modules.values()]


def module_item(proof: Proof, owner: Known, index: Value) -> Value:
    """``owner[index]`` for containers of modules."""
    v = owner.value
    if type(v) in containers("ModuleList", "Sequential", "ModuleDict") and isinstance(index, Known):
        proof.constant_key(index)
        proof.guards.inside(f"the modules of a {type(v).__name__}", v._modules)
        found = v[index.value]
        if is_module(found) and any(found is m for m in v._modules.values()):
            return Known(found)
    raise proof.refuse(f"an element of a {type(v).__name__} from outside is read")
