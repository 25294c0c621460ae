"""A graph as the source text of a Python function."""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..utils import pytree
from . import _pytree as fx_pytree
from .naming import (
    Namespace,
    custom_builtins,
    is_from_torch,
    qualified_name,
    register_custom_builtin,
    torch,
    type_name,
)
from .node import Node
from .tensor_type import TensorType

__all__ = ["CodeGen", "PythonCode"]

register_custom_builtin("fx_pytree", "import flambeau.fx._pytree as fx_pytree", fx_pytree)
register_custom_builtin("pytree", "import flambeau.utils.pytree as pytree", pytree)

TransformCodeFunc = Callable[[list[str]], list[str]]

_INFIX = {
    **{
        "eq": "==",
        "ne": "!=",
        "lt": "<",
        "gt": ">",
        "le": "<=",
        "ge": ">=",
        "add": "+",
        "sub": "-",
        "mul": "*",
    },
    **{"floordiv": "//", "truediv": "/", "mod": "%", "pow": "**", "lshift": "<<", "rshift": ">>"},
    **{"matmul": "@", "and_": "&", "or_": "|", "xor": "^"},
}
REFLECTED = "add floordiv mod mul pow sub truediv lshift rshift and_ or_ xor matmul".split()
magic_methods: dict[str, str] = {
    **{name: f"{{}} {sign} {{}}" for name, sign in _INFIX.items()},
    "pos": "+{}",
    "neg": "-{}",
    "invert": "~{}",
    "getitem": "{}[{}]",
}
inplace_methods: dict[str, str] = {
    f"i{name.strip('_')}": f"{{}} {sign}= {{}}" for name, sign in _INFIX.items() if name in REFLECTED
}
inplace_methods["setitem"] = "{}[{}] = {}"
reflectable_magic_methods = {name: magic_methods[name] for name in REFLECTED}

_OF_TYPING = {
    **{list: typing.List, dict: typing.Dict, set: typing.Set},  # noqa: UP006  the objects, not annotations
    **{frozenset: typing.FrozenSet, tuple: typing.Tuple},  # noqa: UP006
}
_COUNTER = re.compile(r"# COUNTER: (\d+)")
DTYPE_ABBREVIATIONS = {
    **{"bfloat16": "bf16", "float64": "f64", "float32": "f32", "float16": "f16", "complex32": "c32"},
    **{
        "complex64": "c64",
        "complex128": "c128",
        "int8": "i8",
        "int16": "i16",
        "int32": "i32",
        "int64": "i64",
    },
    **{"bool": "b8", "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64"},
}
COLOURS = {"red": 31, "dim_green": 32, "blue": 34, "dim": 2, "dim_blue": 34}


@dataclass
class PythonCode:
    """Source text, the names that it needs, and which node each of its lines belongs to."""

    src: str
    globals: dict[str, Any]
    _lineno_map: dict[int, int | None] | None = None
    _prologue_start: int = 0


class _PyTreeInfo(NamedTuple):
    """How the arguments of a function, and its result, are put together from what the graph has."""

    orig_args: list[str]
    in_spec: Any
    out_spec: Any


def format_target(base: str, target: str) -> str:
    """``base.target``, with what is no identifier asked for by `getattr`."""
    text = base
    for part in target.split("."):
        text = f"{text}.{part}" if part.isidentifier() else f'getattr({text}, "{part}")'
    return text


_format_target = format_target


class CodeGen:
    """Turns a graph into the text of a function: override its methods for another kind of function."""

    def __init__(self) -> None:
        self._body_transformer: TransformCodeFunc | None = None
        self._func_name = "forward"

    def gen_fn_def(
        self, free_vars: list[str], maybe_return_annotation: str, *, expanded_def: bool = False
    ) -> str:
        """The line with ``def``, from its parameters and ``-> type`` or nothing."""
        if not free_vars or free_vars[0] != "self":
            free_vars.insert(0, "self")
        if expanded_def:
            return f"def {self._func_name}(\n{_lines(free_vars)}){maybe_return_annotation}:"
        return f"def {self._func_name}({', '.join(free_vars)}){maybe_return_annotation}:"

    def generate_output(
        self,
        output_args: Any,
        *,
        descs: Sequence[Any] | None = None,
        repr_fn: Callable[[Any], str] | None = None,
    ) -> str:
        """The statement that returns `output_args`."""
        return "return " + _returned(output_args, descs, repr_fn or repr)

    def process_inputs(self, *args: Any) -> Any:
        """What the graph takes, from what the function is given."""
        return args

    def process_outputs(self, outputs: Any) -> Any:
        """What the function gives, from what the graph computes."""
        return outputs

    def additional_globals(self) -> list[tuple[str, Any]]:
        """More (name, value) that the text needs."""
        return []

    def _gen_python_code(
        self, nodes: Any, root_module: str, namespace: Namespace, **options: Any
    ) -> PythonCode:
        return _Writer(self, nodes, root_module, namespace, options).written()


def _lines(args: Sequence[str]) -> str:
    text = ""
    for arg in args:
        own, hash_, comment = arg.partition("#")
        text += f"    {own.rstrip()},  # {comment.lstrip()}\n" if hash_ else f"    {arg},\n"
    return text


def _returned(values: Any, descs: Sequence[Any] | None, show: Callable[[Any], str]) -> str:
    if descs is None or not isinstance(values, (list, tuple)):
        return show(values)
    left, right = "()" if isinstance(values, tuple) else "[]"
    return left + "\n" + "".join(f"    {show(v)},  # {d}\n" for v, d in zip(values, descs)) + right


def _takes(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a method that may be of a program's own class, with those of the named arguments that it has."""
    known = inspect.signature(method).parameters
    return method(*args, **{k: v for k, v in kwargs.items() if k in known})


class _Writer:
    """The text of one graph in the making."""

    def __init__(
        self, codegen: CodeGen, nodes: Any, root_module: str, namespace: Namespace, options: dict[str, Any]
    ) -> None:
        self.codegen, self.nodes, self.root, self.namespace = codegen, nodes, root_module, namespace
        self.verbose = bool(options.get("verbose"))
        self.expanded = bool(options.get("expanded_def"))
        self.stride, self.device = options.get("include_stride"), options.get("include_device")
        self.additional_meta = options.get("additional_meta") or []
        self.colored = bool(options.get("colored"))
        self.free_vars: list[str] = []
        self.body: list[str] = []
        self.globals: dict[str, Any] = {}
        self.wrapped: dict[str, None] = {}
        self.returns = ""
        self.last_summary: str | None = None
        self.namespace_of_globals()

    def paint(self, text: str, colour: str) -> str:
        return f"\033[{COLOURS[colour]}m{text}\033[0m" if self.colored else text

    def namespace_of_globals(self) -> None:
        for name, (_, obj) in custom_builtins.items():
            self.add_global(name, obj)

    def add_global(self, hint: str, obj: Any) -> str:
        """The name under which the text reaches `obj`."""
        if is_from_torch(obj) and obj is not torch.device:
            return qualified_name(obj)
        name = self.namespace.create_name(hint, obj)
        if name in self.globals:
            if self.globals[name] is not obj and self.globals[name] != obj:
                raise AssertionError(f"Global name {name} already assigned to different object")
        else:
            self.globals[name] = obj
        return name

    # ------------------------------------------------------------------------------------------- parts of statements

    def kind(self, o: Any) -> str:
        """A type."""
        if o == ():
            return "()"
        name = type_name(o)
        if isinstance(o, types.UnionType) and "|" in name:
            return "|".join(self.kind(arg) for arg in typing.get_args(o))
        origin = getattr(o, "__origin__", None)
        if not origin:
            return self.add_global(name, o)
        if isinstance(o, typing._GenericAlias):  # type: ignore[attr-defined]
            origin = _OF_TYPING.get(origin, origin)
        text = self.add_global(type_name(origin), origin)
        args = o.dims if isinstance(o, TensorType) else typing.get_args(o)
        return f"{text}[{','.join(self.kind(arg) for arg in args)}]" if args else text

    def value(self, arg: Any) -> str:
        """An argument."""
        from ..stand_in.aten import Overload

        if isinstance(arg, Node):
            return repr(arg)
        if isinstance(arg, tuple) and hasattr(arg, "_fields"):
            return f"{self.add_global(qualified_name(type(arg)), type(arg))}{tuple(arg)!r}"
        if isinstance(arg, Overload):
            return self.add_global(qualified_name(arg), arg)
        if isinstance(arg, enum.Enum):
            return f"{self.add_global(type(arg).__name__, type(arg))}.{arg.name}"
        if isinstance(arg, torch.Tensor):
            return f"torch.Tensor(size={list(arg.size())}, dtype={arg.dtype.name})"
        if isinstance(arg, torch.Size):
            return repr(arg)
        if isinstance(arg, tuple):
            return f"({self.value(arg[0])},)" if len(arg) == 1 else f"({', '.join(map(self.value, arg))})"
        if isinstance(arg, list):
            return f"[{', '.join(map(self.value, arg))}]"
        if isinstance(arg, slice):
            return f"slice({self.value(arg.start)}, {self.value(arg.stop)}, {self.value(arg.step)})"
        return self.paint(repr(arg), "blue")

    def call_of(self, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        return ", ".join([*map(self.value, args), *(f"{k} = {self.value(v)}" for k, v in kwargs.items())])

    # ---------------------------------------------------------------------------------------------------- statements

    def released(self) -> dict[Node, list[Node]]:
        """For each node the nodes whose values nobody needs after it."""
        seen: set[Node] = set()
        found: dict[Node, list[Node]] = {}
        for user in reversed(self.nodes):
            for used in user._input_nodes:
                if used not in seen:
                    seen.add(used)
                    found.setdefault(user, []).append(used)
        return found

    def statement(self, node: Node) -> None:
        typed = "" if node.type is None else f" : {self.kind(node.type)}"
        if self.verbose:
            typed = self.described(node) or typed
        name, op, target = repr(node), node.op, node.target
        if op == "placeholder":
            self.parameter(node, typed)
        elif op == "output":
            if node.type is not None:
                self.returns = f" -> {self.kind(node.type)}"
            descs = node.meta.get("desc") if self.expanded else None
            self.body.append(
                _takes(self.codegen.generate_output, node.args[0], descs=descs, repr_fn=self.value)
            )
        elif op == "call_method":
            owner = format_target(self.value(node.args[0]), target)
            self.body.append(f"{name}{typed} = {owner}({self.call_of(node.args[1:], node.kwargs)})")
        elif op == "call_module":
            owner = format_target(self.root, target)
            self.body.append(f"{name}{typed} = {owner}({self.call_of(node.args, node.kwargs)})")
        elif op == "get_attr":
            self.body.append(f"{name}{typed} = {format_target(self.root, target)}")
        elif op == "call_function":
            self.body.append(self.function(node, f"{name}{typed}"))
        else:
            raise NotImplementedError(f"node: {op} {target}")

    def parameter(self, node: Node, typed: str) -> None:
        default = f" = {self.value(node.args[0])}" if node.args else ""
        desc = node.meta.get("desc") if self.expanded else None
        comment = f"  # {desc}" if desc is not None else ""
        self.free_vars.append(f"{node.target}{typed}{default}{comment}")
        plain = node.target.replace("*", "")
        if plain != repr(node):
            self.body.append(f"{node!r} = {plain}\n")

    def function(self, node: Node, left: str) -> str:
        target, args = node.target, node.args
        name = getattr(target, "__name__", "")
        if getattr(target, "__module__", "") == "_operator":
            if name in magic_methods:
                return f"{left} = {magic_methods[name].format(*map(self.value, args))}"
            if name in inplace_methods:
                write = inplace_methods[name].format(*map(self.value, args))
                return f"{write};  {left} = {self.value(args[0])}"
        shown = self.add_global(qualified_name(target), target)
        if shown == "getattr" and len(args) == 2 and isinstance(args[1], str) and args[1].isidentifier():
            return f"{left} = {format_target(self.value(args[0]), args[1])}"
        if node.meta.get("is_wrapped"):
            self.wrapped.setdefault(shown)
        return f"{left} = {shown}({self.call_of(args, node.kwargs)})"

    def ended(self, node: Node, released: dict[Node, list[Node]]) -> None:
        """The end of a node's line: values that are not needed any more are let go."""
        if node.op == "placeholder":
            return
        gone = [] if node.op == "output" else list(released.get(node, ()))
        if node.op != "output" and not node.users:
            gone.append(node)
        if gone:
            text = " = ".join([*map(repr, gone), "None"])
            self.body.append(f";  {self.paint(text, 'dim')}\n")
        else:
            self.body.append("\n")

    # ------------------------------------------------------------------------------------- what only people look at

    def described(self, node: Node) -> str:
        """The dtype and sizes of a node's value, as far as `meta` has them."""
        meta = node.meta
        value = meta.get("val", meta.get("tensor_meta", meta.get("example_value")))
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
        if not isinstance(dtype, torch.dtype) or shape is None:
            return ""
        text = f"{self.paint(DTYPE_ABBREVIATIONS[dtype.name], 'red')}{list(shape)}"
        if isinstance(value, torch.Tensor):
            if self.stride:
                text += self.paint(str(list(value.stride())), "dim_blue" if self.colored else "blue")
            if self.device:
                text += self.paint(str(value.device), "dim_green")
            kind = type(value)
            if kind not in (torch.Tensor, torch.nn.Parameter):
                text = f"{kind.__name__}({text})"
            elif kind is torch.nn.Parameter:
                text = f"Parameter({text})"
        return f': "{text}"'

    def summary(self, node: Node) -> None:
        """A comment with the line of the program that the next nodes come from."""
        if node.op in ("placeholder", "output"):
            return
        found = [f"{k}: {node.meta[k]}" for k in self.additional_meta if k in node.meta]
        more = f"# {', '.join(found)} " if found else ""
        custom = {
            k: (str(v)[:40] + "..." if len(str(v)) > 40 else v)
            for k, v in (node.meta.get("custom") or {}).items()
        }
        annotation = f" Annotation: {custom}" if custom else ""
        where = parse_stack_trace(node.stack_trace) if node.stack_trace else None
        text = where.get_summary_str() if where else "No stacktrace found for following nodes"
        comment = self.paint(f"{more}#{annotation} {text}", "dim")
        line = f"\n{comment}\n"
        if line != self.last_summary:
            self.last_summary = line
            self.body.append(line)

    # ----------------------------------------------------------------------------------------------------- the whole

    def written(self) -> PythonCode:
        released = self.released()
        for i, node in enumerate(self.nodes):
            if self.verbose:
                self.summary(node)
            self.body.append(f"# COUNTER: {i}\n")
            self.statement(node)
            self.ended(node, released)
        if not self.body:
            self.body.append("pass\n")
        wraps = ""
        if self.wrapped:
            from .wrapping import wrap

            known = self.add_global("wrap", wrap)
            wraps = "\n".join(f'{known}("{name}")' for name in self.wrapped)
        body = self.body
        if self.codegen._body_transformer:
            body = self.codegen._body_transformer(body)
        for name, value in self.codegen.additional_globals():
            self.add_global(name, value)
        head = _takes(self.codegen.gen_fn_def, self.free_vars, self.returns, expanded_def=self.expanded)
        lines: list[str] = []
        line_of: dict[int, int | None] = {}
        current = None
        first = head.count("\n") + 1
        for line in "".join(body).split("\n"):
            counter = _COUNTER.search(line)
            if counter is not None:
                current = int(counter.group(1))
            else:
                line_of[len(lines) + first] = current
                lines.append(line)
        text = "\n".join(lines).lstrip("\n")
        text = "\n".join(f"    {line}" for line in text.split("\n"))
        return PythonCode(f"\n{wraps}\n\n{head}\n{text}", self.globals, line_of, wraps.count("\n") + 4)


@dataclass(frozen=True)
class _ParsedStackTrace:
    file: str
    lineno: str
    name: str
    code: str

    def get_summary_str(self) -> str:
        return f"File: {self.file}:{self.lineno} in {self.name}, code: {self.code}"


def parse_stack_trace(
    stack_trace: str, filter_fn: Callable[[str, str, str], bool] | None = None
) -> _ParsedStackTrace | None:
    """The innermost frame of a stack trace (for which `filter_fn` of file, function and code holds)."""
    lines = stack_trace.strip().split("\n")
    for i in range(len(lines) - 2, -1, -1):
        found = re.match(r'^File "(.+)", line (\d+), in (.+)$', lines[i].strip())
        if found:
            file, number, name = found.groups()
            code = lines[i + 1].strip()
            if filter_fn is None or filter_fn(file, name, code):
                return _ParsedStackTrace(file, number, name, code)
    return None


_parse_stack_trace = parse_stack_trace


class _PyTreeCodeGen(CodeGen):
    """For functions whose arguments are containers, which the graph gets piece by piece."""

    def __init__(self, pytree_info: _PyTreeInfo) -> None:
        super().__init__()
        self.pytree_info = pytree_info

    def process_inputs(self, *inputs: Any) -> Any:
        return pytree.tree_leaves(inputs)

    def process_outputs(self, out: Any) -> Any:
        if self.pytree_info.out_spec is None:
            return out
        return pytree.tree_unflatten(
            out if isinstance(out, (list, tuple)) else [out], self.pytree_info.out_spec
        )

    def gen_fn_def(
        self, free_vars: list[str], maybe_return_annotation: str, *, expanded_def: bool = False
    ) -> str:
        args = self.pytree_info.orig_args
        if args and args[0] == "self":
            free_vars.insert(0, "self")
        head = super().gen_fn_def(args[:], maybe_return_annotation, expanded_def=expanded_def)
        if free_vars:
            head += self.gen_var_bindings(args, free_vars, expanded_def)
        return head

    def gen_var_bindings(self, fn_args: list[str], free_vars: list[str], expanded_def: bool) -> str:
        """The statement that takes the arguments apart."""
        spec = self.pytree_info.in_spec
        given = f"[{', '.join(fn_args)}], self._in_spec"
        if spec.kind is tuple and [c.kind for c in spec.children] == [tuple, dict]:
            positional, named = spec.children
            count = len(positional.children)
            by_name = ", ".join(
                f"'{k}':{v}" for k, v in zip(named.context, self.pytree_info.orig_args[count:])
            )
            given = f"([{', '.join(self.pytree_info.orig_args[:count])}], {{{by_name}}}), self._in_spec"
        annotated = [v for v in free_vars if ":" in v]
        text = ""
        if annotated and expanded_def:
            text = "\n    " + "\n    ".join(annotated)
        elif annotated:
            text = "\n    " + "".join(f"{v}; " for v in annotated) + "\n"
        plain = [v.split(":")[0].split("#")[0] for v in free_vars]
        return f"{text}\n    {', '.join(plain)}, = fx_pytree.tree_flatten_spec({given})"

    def generate_output(
        self,
        output_args: Any,
        *,
        descs: Sequence[Any] | None = None,
        repr_fn: Callable[[Any], str] | None = None,
    ) -> str:
        if not self.pytree_info.out_spec:
            return super().generate_output(output_args, descs=descs, repr_fn=repr_fn)
        return (
            f"return pytree.tree_unflatten({_returned(output_args, descs, repr_fn or repr)}, self._out_spec)"
        )
