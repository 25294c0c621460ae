"""What PyTorch's names and signatures are, and where flambeau's are others.

The names come from PyTorch's modules. Signatures come from `inspect` for Python functions, from PyTorch's type stubs
for what is written in C++ (all overloads), and from the first line of the documentation for the rest.
"""

from __future__ import annotations

import ast
import enum
import functools
import importlib
import inspect
import pathlib
import re
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

MODULES = """
    torch torch.nn torch.nn.functional torch.nn.init torch.nn.grad torch.nn.parameter torch.nn.attention torch.nn.parallel
    torch.nn.utils torch.nn.utils.rnn torch.nn.utils.parametrize torch.nn.utils.parametrizations torch.nn.utils.prune
    torch.nn.utils.stateless torch.optim torch.optim.lr_scheduler torch.optim.swa_utils torch.utils torch.utils.data
    torch.utils.checkpoint torch.utils.dlpack torch.distributions torch.distributions.constraints
    torch.distributions.transforms torch.distributions.kl torch.distributions.utils torch.amp torch.cpu.amp torch.func
    torch.autograd torch.autograd.functional torch.autograd.forward_ad torch.autograd.graph torch.autograd.function
    torch.autograd.gradcheck torch.autograd.grad_mode torch.autograd.profiler torch.linalg torch.fft torch.special
    torch.signal torch.signal.windows torch.random torch.serialization torch.testing torch.overrides torch.return_types
    torch.jit torch.hub torch.profiler torch.multiprocessing torch.compiler torch.accelerator torch.cpu torch.cuda
    torch.backends torch.types torch.futures
""".split()

Parameter = tuple[str, str, str | None]  # name, kind, default as text (None: required)
KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "plain",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "plain",
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_KEYWORD: "**",
}


@dataclass(frozen=True)
class Difference:
    where: str  # "torch.nn.functional.relu"
    what: str  # "absent", or what the signature has in another way

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


# Modules that PyTorch imports when something needs them: whether they are seen depends on what ran before.
LOADED_LATER = ("cpp_extension", "file_baton")


def public_names(module: types.ModuleType) -> list[str]:
    """What a module defines or exports for its users: not the typing helpers that it imports for itself."""
    exported = set(getattr(module, "__all__", ()))
    found = set(exported)
    for name in dir(module):
        if name.startswith("_") or name == "TYPE_CHECKING" or name in exported:
            continue
        value = getattr(module, name, None)
        home = getattr(value, "__module__", None)
        if isinstance(value, types.ModuleType):
            if value.__name__ != f"{module.__name__}.{name}" or name in LOADED_LATER:
                continue
        elif isinstance(value, TypeVar) or value is importlib.import_module("torch").Tensor:
            continue
        elif not isinstance(home, str) or (exported and home != module.__name__):
            continue  # a constant, or another module's: documented where it is exported
        elif not (home == "torch" or home.startswith("torch.")):
            continue
        found.add(name)
    return sorted(found)


def _text(default: Any) -> str | None:
    if default is inspect.Parameter.empty:
        return None
    if inspect.isroutine(default) or isinstance(default, type):
        return f"<{default.__name__}>"
    if isinstance(default, tuple):
        return repr(tuple(default))  # a torch.Size too
    if isinstance(default, float) and default.is_integer() and abs(default) < 1e6:
        default = int(default)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(default)).replace("flambeau", "torch")


def _takes_out(fn: Any) -> bool:
    """Whether a function of the API stores its result where ``out=`` says; its wrapper does that."""
    while fn is not None:
        names = getattr(getattr(fn, "__code__", None), "co_freevars", ())
        if "out" in names and fn.__closure__[names.index("out")].cell_contents is True:
            return True
        fn = getattr(fn, "__wrapped__", None)
    return False


def parameters(fn: Any) -> list[Parameter] | None:
    """The parameters as Python knows them, or None for what is written in C++."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return None
    found = [(p.name, KINDS[p.kind], _text(p.default)) for p in signature.parameters.values()]
    if _takes_out(fn) and not any(p[0] == "out" for p in found):
        found.append(("out", "keyword", "None"))
    return found


def _constant(node: ast.expr | None) -> str | None:
    if node is None:
        return None
    try:
        return _text(ast.literal_eval(node))
    except ValueError:
        return "..." if isinstance(node, ast.Constant) and node.value is Ellipsis else ast.unparse(node)


def _from_ast(a: ast.arguments) -> list[Parameter]:
    plain = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(plain) - len(a.defaults)) + list(a.defaults)
    found = [(p.arg, "plain", _constant(d)) for p, d in zip(plain, defaults)]
    if a.vararg:
        found.append((a.vararg.arg, "*", None))
    found += [(p.arg, "keyword", _constant(d)) for p, d in zip(a.kwonlyargs, a.kw_defaults)]
    if a.kwarg:
        found.append((a.kwarg.arg, "**", None))
    return found


def _is_for_names(a: ast.arguments) -> bool:
    """Whether an overload is one for named tensors."""
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs]
    return any(p.annotation is not None and "EllipsisType" in ast.unparse(p.annotation) for p in every)


@functools.cache
def _stubs() -> dict[str, dict[str, list[list[Parameter]]]]:
    """Overloads by name: "functions" of the torch namespace, "nn" of torch._C._nn, and "methods" of Tensor."""
    import torch

    folder = pathlib.Path(torch.__file__).parent / "_C"
    bodies: dict[str, list[ast.stmt]] = {}
    for key, file in (
        ("functions", "_VariableFunctions.pyi"),
        ("nn", "_nn.pyi"),
        ("methods", "__init__.pyi"),
    ):
        bodies[key] = ast.parse((folder / file).read_text()).body
    for node in bodies["methods"]:
        if isinstance(node, ast.ClassDef) and node.name == "TensorBase":
            bodies["methods"] = node.body
    found: dict[str, dict[str, list[list[Parameter]]]] = {}
    for key, body in bodies.items():
        table = found.setdefault(key, {})
        for node in body:
            if isinstance(node, ast.FunctionDef) and not _is_for_names(node.args):
                table.setdefault(node.name, []).append(_from_ast(node.args))
    return found


def _documented(fn: Any) -> list[Parameter] | None:
    """From ``name(a, b=1, *, c=None) -> Tensor`` at the top of the documentation."""
    match = re.search(r"^\s*[\w.]+\((.*?)\)\s*->", fn.__doc__ or "", re.S)
    if match is None:
        return None
    inner = re.sub(r"\s+", " ", match.group(1)).replace("{", "").replace("}", "")
    try:
        tree = ast.parse(f"def f({inner}): pass")
    except SyntaxError:
        return None
    return _from_ast(tree.body[0].args)  # type: ignore[attr-defined]


def overloads(fn: Any, name: str, method: bool) -> list[list[Parameter]]:
    """The forms of a function that is written in C++."""
    home = getattr(fn, "__module__", None) or type(fn).__name__
    table = "methods" if method else "nn" if "_nn" in str(home) else "functions"
    if (
        method
        or str(home) in ("torch", "torch._C._nn", "builtin_function_or_method")
        or "VariableFunctions" in str(home)
    ):
        found = _stubs()[table].get(name)
        if found:
            return found
    documented = _documented(fn)
    return [] if documented is None else [documented]


def _takes_anything(signature: list[Parameter]) -> bool:
    return {"*", "**"} <= {p[1] for p in signature}


def _python_difference(ours: list[Parameter], theirs: list[Parameter], method: bool) -> str | None:
    """Between two signatures that Python knows.

    Annotations do not count, nor what a method calls its object, nor further parameters here that may be left out.
    """
    if _takes_anything(ours) or _takes_anything(theirs):
        return None  # they hand their arguments on
    if method:
        ours, theirs = ours[1:], theirs[1:]
    known = {p[0] for p in theirs}
    while ours and ours[-1][0] not in known and (ours[-1][2] is not None or ours[-1][1] in ("*", "**")):
        ours = ours[:-1]
    ours = [p for p in ours if p[0] in known or p[1] != "keyword" or p[2] is None]
    mine, yours = [p[0] for p in ours], [p[0] for p in theirs]
    if mine != yours:
        return f"({', '.join(mine)}), not ({', '.join(yours)})"
    parts = []
    for (name, kind, default), (_, other_kind, other) in zip(ours, theirs):
        if kind != other_kind:
            parts.append(f"{name} is {kind}, not {other_kind}")
        if default != other:
            parts.append(f"{name}={default}, not {other}")
    return "; ".join(parts) or None


def _overload_difference(ours: list[Parameter], form: list[Parameter], method: bool) -> str | None:
    """What one overload takes and we would not: a position, a name, or leaving an argument out."""
    if _takes_anything(ours):
        return None
    plain = [p for p in ours if p[1] == "plain"]
    names = {p[0] for p in ours if p[1] in ("plain", "keyword")}
    variadic, anything = any(p[1] == "*" for p in ours), any(p[1] == "**" for p in ours)
    position = 0
    for name, kind, default in form:
        if kind in ("*", "**"):
            if kind == "*" and not variadic:
                return f"takes no *{name}"
            continue
        own = next((p for p in ours if p[0] == name), None)
        is_self = position == 0 and (name in ("self", "input") or method)
        if kind == "plain":
            fits = position < len(plain) and (plain[position][0] == name or is_self)
            if not fits and not variadic:
                at = plain[position][0] if position < len(plain) else "nothing"
                return f"{name} is argument {position} there, here {at} is"
            position += 1
        if is_self:
            continue
        if name not in names and not anything:
            return f"has no {name}"
        if own is not None and own[2] is None and default is not None:
            return f"{name} is required"
        # None stands for what the other library writes as the default
        if (
            own is not None
            and default not in (None, "...", "Ellipsis", "None", own[2])
            and own[2] not in (None, "None")
        ):
            return f"{name}={own[2]}, not {default}"
    given = {p[0] for p in form}
    for number, (name, kind, default) in enumerate(plain):
        if default is None and kind == "plain" and name not in given and number >= position:
            return f"{name} is required"
    return None


def compare_callable(where: str, ours: Any, theirs: Any, method: bool) -> Iterator[Difference]:
    mine, yours = parameters(ours), parameters(theirs)
    if mine is None:
        return
    if yours is not None:
        difference = _python_difference(mine, yours, method)
        if difference is not None:
            yield Difference(where, difference)
        return
    seen = set()
    for form in overloads(theirs, where.rsplit(".", 1)[1], method):
        difference = _overload_difference(mine, form, method)
        if difference is not None and difference not in seen:
            seen.add(difference)
            yield Difference(where, difference)


def compare_module(name: str) -> Iterator[Difference]:
    """Every public name of one of PyTorch's modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = importlib.import_module(name)
        try:
            ours = importlib.import_module(name.replace("torch", "flambeau", 1))
        except ImportError:
            yield Difference(name, "absent")
            return
        for attribute in public_names(theirs):
            where, value = f"{name}.{attribute}", getattr(theirs, attribute)
            try:
                own = getattr(ours, attribute)
            except (AttributeError, ImportError):
                yield Difference(where, "absent")
                continue
            if isinstance(value, type) and issubclass(value, BaseException | tuple | enum.Enum):
                continue  # made by position
            if callable(value) != callable(own):
                yield Difference(where, f"is a {type(own).__name__}, not a {type(value).__name__}")
            elif callable(value):
                yield from compare_callable(where, own, value, False)
                if isinstance(value, type):
                    yield from compare_class(where, own, value)


def compare_class(where: str, ours: type, theirs: type) -> Iterator[Difference]:
    """The public methods and properties that a class defines itself, or has from a base of no public name."""
    import torch

    if (
        issubclass(theirs, torch.Tensor)
        or type(theirs).__name__ == "tensortype"
        or theirs.__module__ in ("torch", "torch._C")
    ):
        return  # compared as Tensor's own, or without signatures
    for attribute in dir(theirs):
        if attribute.startswith("_") or not hasattr(theirs, attribute):
            continue
        home = next(c for c in theirs.__mro__ if attribute in vars(c))
        if (
            not home.__module__.startswith("torch")
            or home is not theirs
            and not home.__name__.startswith("_")
        ):
            continue
        if not hasattr(ours, attribute):
            yield Difference(f"{where}.{attribute}", "absent")
        elif inspect.isroutine(getattr(theirs, attribute)):
            own = getattr(ours, attribute)
            bound = inspect.ismethod(getattr(theirs, attribute))
            yield from compare_callable(f"{where}.{attribute}", own, getattr(theirs, attribute), not bound)


def compare_tensor() -> Iterator[Difference]:
    """Methods and attributes of Tensor, in-place and reflected ones included."""
    import torch

    import flambeau

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for attribute in dir(torch.Tensor):
            if attribute.startswith("_") and not (attribute.startswith("__") and attribute.endswith("__")):
                continue
            where = f"torch.Tensor.{attribute}"
            if not hasattr(flambeau.Tensor, attribute):
                yield Difference(where, "absent")
                continue
            theirs, ours = getattr(torch.Tensor, attribute), getattr(flambeau.Tensor, attribute)
            if attribute.startswith("__") or not callable(theirs):
                continue
            if not callable(ours):
                yield Difference(where, f"is a {type(ours).__name__}, not a {type(theirs).__name__}")
            else:
                yield from compare_callable(where, ours, theirs, True)


def differences() -> Iterator[Difference]:
    for name in MODULES:
        yield from compare_module(name)
    yield from compare_tensor()
