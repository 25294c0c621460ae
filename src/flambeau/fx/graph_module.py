"""A module whose `forward` is text generated from a graph: `GraphModule`."""

from __future__ import annotations

import contextlib
import copy
import itertools
import linecache
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..core.tensor import Tensor
from ..nn import Module, Parameter
from ..nn import modules as nn_modules
from ..serialization import save
from .codegen import PythonCode, _PyTreeCodeGen
from .graph import Graph
from .naming import custom_builtins

__all__ = ["GraphModule", "reduce_graph_module"]


_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"  # in `meta`: attributes that copies have, too


class _Sources:
    """The generated sources by file name, for tracebacks and `inspect`."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.count = itertools.count()

    def add(self, text: str, names: dict[str, Any], origin: dict[str, Any]) -> str:
        file = f"<eval_with_key>.{next(self.count)}"
        if {"co_filename", "co_firstlineno", "co_name"} <= origin.keys():
            file += f" from {origin['co_filename']}:{origin['co_firstlineno']} in {origin['co_name']}"
        self.of[file] = text
        linecache.lazycache(file, {**names, "__file__": file, "__name__": file, "__loader__": self})
        return file

    def get_source(self, name: str) -> str | None:
        return self.of.get(name)


_loader = _Sources()


def _exec_with_source(src: str, globals: dict[str, Any], co_fields: dict[str, Any] | None = None) -> None:
    file = _loader.add(src, globals, co_fields or {})
    exec(compile(src, file, "exec", dont_inherit=True), globals)


def _forward_from_src(src: str, globals: dict[str, Any], co_fields: dict[str, Any] | None = None) -> Any:
    return _method_from_src("forward", src, globals, co_fields)


def _method_from_src(
    method_name: str, src: str, globals: dict[str, Any], co_fields: dict[str, Any] | None = None
) -> Any:
    names = dict(globals)
    _exec_with_source(src, names, co_fields)
    return names.pop(method_name)


def _import_of(name: str, obj: Any) -> str:
    if name in custom_builtins:
        return custom_builtins[name].import_str
    if isinstance(obj, str):  # an annotation that is a string
        return f"{name} = {obj!r}"
    own, module = getattr(obj, "__qualname__", None) or obj.__name__, obj.__module__
    found: Any = sys.modules.get(module)
    for part in own.split("."):
        found = getattr(found, part, None)
    if found is not obj:
        own = obj.__name__
        found = getattr(sys.modules.get(module), own, None)
    if found is not obj and getattr(found, "__wrapped__", None) is not obj:
        raise AttributeError(f"Can't pickle {obj!r}: it's not found as {module}.{own}")
    return f"from {module} import {own} as {name}"


def _import_block(names: dict[str, Any]) -> str:
    return "\n".join(sorted({_import_of(name, obj) for name, obj in names.items()}))


def reduce_graph_module(body: dict[Any, Any], import_block: str) -> Any:
    """A GraphModule from its pickle: the text is executed, and traced for the graph."""
    forward = _forward_from_src(import_block + (body.get("_code") or body["code"]), {})
    return _deserialize_graph_module(forward, body)


class _CodeOnlyModule(Module):
    """What a GraphModule is made from again: its attributes and its `forward`."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__()
        self.__dict__ = body


def _deserialize_graph_module(forward: Any, body: dict[Any, Any], graph_module_cls: Any = None) -> Any:
    kind: Any = body.get("_tracer_cls")
    if kind is None:
        from ._symbolic_trace import Tracer as kind

    class CodeOnly(_CodeOnlyModule):
        pass

    CodeOnly.forward = forward

    class KeepModules(kind):  # type: ignore[misc]
        def is_leaf_module(self, _: Any, __: str) -> bool:
            return True

    module = CodeOnly(body)
    graph = KeepModules().trace(module, **(body.get("_tracer_extras") or {}))
    for node in graph.nodes:
        trace = (body.get("_graphmodule_graph_node_meta_stack_trace") or {}).get(node.name)
        if trace is not None:
            node.meta["stack_trace"] = trace
    graph._tracer_cls = kind
    name = body.get("_graphmodule_cls_name", "GraphModule")
    made = (graph_module_cls or GraphModule)(module, graph, class_name=name)
    for k, v in body.items():
        if not hasattr(made, k):
            setattr(made, k, v)
    return made


# --------------------------------------------------------------------------------- attributes by their dotted names


def _copy_attr(from_module: Any, to_module: Any, target: str) -> None:
    """Let `to_module` have the attribute `target` of `from_module`, with modules on the way to it."""
    *way, name = target.split(".")
    for part in way:
        f, t = getattr(from_module, part), getattr(to_module, part, None)
        if f is t:
            return
        if t is None:
            t = Module()
            setattr(to_module, part, t)
        from_module, to_module = f, t
    _set(to_module, name, getattr(from_module, name))


def _assign_attr(from_obj: Any, to_module: Any, target: str) -> None:
    """Let `to_module` have `from_obj` as its attribute `target`."""
    *way, name = target.split(".")
    for part in way:
        if getattr(to_module, part, None) is None:
            setattr(to_module, part, Module())
        to_module = getattr(to_module, part)
    _set(to_module, name, from_obj)


def _set(module: Any, name: str, value: Any) -> None:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        module.register_buffer(name, value)
    else:
        setattr(module, name, value)


def _get_attr(model: Any, attr_name: str) -> Any:
    """The attribute with this dotted name."""
    for part in attr_name.split("."):
        model = getattr(model, part)
    return model


def _del_attr(model: Any, attr_name: str) -> None:
    way, _, name = attr_name.rpartition(".")
    delattr(_get_attr(model, way) if way else model, name)


def _has_attr(model: Any, attr_name: str) -> bool:
    for part in attr_name.split("."):
        if not hasattr(model, part):
            return False
        model = getattr(model, part)
    return True


# -------------------------------------------------------------------------------------------------------- the module


def _indented(text: str, by: int) -> str:
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * by + line if line.strip() else "" for line in rest)])


def _print_readable(module: Any, module_name: str, print_output: bool = True, **options: Any) -> str:
    if not isinstance(module.graph, Graph):
        raise AssertionError("print_readable must be used on a module with a graph")
    text = module.graph.python_code(root_module="self", verbose=True, **options).src.lstrip("\n")
    text = _indented(f"class {module_name}(torch.nn.Module):\n{text}", 4)
    options.pop("expanded_def", None)
    below = [
        _print_readable(child, name, print_output=False, **options)
        for name, child in module.named_children()
        if isinstance(child, GraphModule)
    ]
    text += _indented("\n".join(["", *below]), 4)
    if print_output:
        print(text)
    return text


class _WrappedCall:
    """Calls a GraphModule; when its generated code fails, says where."""

    def __init__(self, cls: Any, cls_call: Any) -> None:
        self.cls, self.cls_call = cls, cls_call

    @staticmethod
    def _generate_error_message(frame_summary: traceback.FrameSummary) -> str:
        number, line = frame_summary.lineno or 0, frame_summary.line or ""
        lines = linecache.getlines(frame_summary.filename)
        return "\n".join(
            [
                traceback.format_exc(),
                f"Call using an FX-traced Module, line {number} of the traced Module's generated forward function:",
                "".join(lines[max(number - 2, 0) : number]),
                "~" * len(line) + "~~~ <--- HERE",
                "\n".join(lines[number : number + 2]),
            ]
        )

    def __call__(self, obj: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            if self.cls_call is not None:
                return self.cls_call(obj, *args, **kwargs)
            above: Any = super(self.cls, obj)
            return above.__call__(*args, **kwargs)
        except Exception as e:
            frames = traceback.extract_tb(e.__traceback__)
            own = str(Path(__file__).parents[1])  # PyTorch's operations leave no frames
            frame = [f for f in frames if not f.filename.startswith(own)][-1]
            if "eval_with_key" not in frame.filename:
                raise
            print(self._generate_error_message(frame), file=sys.stderr)
            raise e.with_traceback(None)  # noqa: B904


class GraphModule(Module):
    """A module that runs a graph: `code` is the text of its `forward`.

    `root` has what the graph names: a module, or a dict from dotted names to modules, parameters and tensors.  After
    changing `graph`, call `recompile`; assigning a graph does so.

    Raises: RuntimeError when `root` does not have what the graph names, or is neither a module nor a dict.

    >>> import flambeau as torch
    >>> gm = torch.fx.symbolic_trace(lambda x: x + 1)
    >>> print(gm.code.strip())
    def forward(self, x):
        add = x + 1;  x = None
        return add
    >>> for node in gm.graph.find_nodes(op="call_function", target=__import__("operator").add):
    ...     node.target = __import__("operator").mul
    >>> _ = gm.recompile()
    >>> gm(torch.tensor([3.0]))
    tensor([3.])
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> GraphModule:
        # Each instance has a class of its own, in which its `forward` is; a class made for one is no base for another.
        base = next(t for t in cls.__mro__ if t.__qualname__.split(".")[-1] != "GraphModuleImpl")

        class GraphModuleImpl(base):  # type: ignore[misc,valid-type]
            pass

        return super().__new__(GraphModuleImpl)

    def __init__(self, root: Module | dict[str, Any], graph: Graph, class_name: str = "GraphModule") -> None:
        super().__init__()
        type(self).__name__ = class_name
        targets = [n.target for n in graph.nodes if n.op in ("get_attr", "call_module")]
        if isinstance(root, Module):
            if hasattr(root, "training"):
                self.training = root.training
            if isinstance(root, _CodeOnlyModule):
                for name, _ in [*root.named_children(), *root.named_buffers(), *root.named_parameters()]:
                    _copy_attr(root, self, name)
            for target in targets:
                _copy_attr(root, self, target)
        elif isinstance(root, dict):
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module") and node.target not in root:
                    raise RuntimeError(
                        f"Node {node} referenced target {node.target} but that target was not provided in ``root``!"
                    )
            for target in sorted(targets, key=lambda t: t.count(".")):  # what is above comes first
                _assign_attr(root[target], self, target)
        else:
            raise RuntimeError(f"Unsupported type {root} passed for root!")
        self.graph = graph
        kind = graph._tracer_cls
        self._tracer_cls = kind if kind is not None and "<locals>" not in kind.__qualname__ else None
        self._tracer_extras = graph._tracer_extras or {}
        self.meta: dict[str, Any] = {}
        self._replace_hooks: list[Any] = []
        self._create_node_hooks: list[Any] = []
        self._erase_node_hooks: list[Any] = []

    @property
    def graph(self) -> Graph:
        """The graph that `forward` was generated from."""
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        if not isinstance(g, Graph):
            raise AssertionError(f"Expected a Graph instance, but got {type(g)}")
        self._graph = g
        g.owning_module = self
        self.recompile()

    @property
    def code(self) -> str:
        """The text of `forward`."""
        if "_code" not in self.__dict__:
            raise RuntimeError("Code has not been generated: call recompile()")
        return self._code

    def recompile(self) -> PythonCode:
        """Generate `forward` anew after the graph was changed."""
        codegen = self._graph._codegen
        if isinstance(codegen, _PyTreeCodeGen):
            self._in_spec = codegen.pytree_info.in_spec
            self._out_spec = codegen.pytree_info.out_spec
        code = self._graph.python_code(root_module="self")
        self._code = code.src
        self._lineno_map = code._lineno_map
        self._prologue_start = code._prologue_start
        cls: Any = type(self)
        cls.forward = _forward_from_src(self._code, code.globals, self._graph._co_fields)
        own_call = vars(cls).get("__call__")
        if "_wrapped_call" not in vars(cls):
            cls._wrapped_call = _WrappedCall(cls, own_call)
        for child in self.children():
            if isinstance(child, GraphModule):
                child.recompile()

        def call_wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            return self._wrapped_call(self, *args, **kwargs)

        cls.__call__ = call_wrapped
        return code

    # ----------------------------------------------------------------------------------------------------- copies

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the text, not the graph; what it calls has to be importable."""
        body = dict(self.__dict__)
        code = self.recompile()
        body.update(_code=code.src)
        del body["_graph"]
        name = type(self).__name__
        body["_graphmodule_cls_name"] = name if name != "GraphModuleImpl" else "GraphModule"
        return (reduce_graph_module, (body, _import_block(code.globals) + "\n"))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()

    def _deepcopy_init(self) -> Callable[..., None]:
        return GraphModule.__init__

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModule:
        made: Any = type(self).__new__(type(self))
        memo[id(self)] = made
        body = copy.deepcopy(self.__dict__, memo)
        source = _CodeOnlyModule(body)
        self._deepcopy_init()(made, source, body["_graph"])
        for name, value in body.items():  # hooks and the program's own attributes
            if name not in made.__dict__ or (name.endswith("_hooks") and value):
                made.__dict__[name] = value
        type(made).__name__ = type(self).__name__
        made.meta = body.get("meta", {})
        for name, value in made.meta.get(_USER_PRESERVED_ATTRIBUTES_KEY, {}).items():
            setattr(made, name, value)
        return made  # type: ignore[no-any-return]

    def _replicate_for_data_parallel(self) -> GraphModule:
        made = self.__copy__()
        made._is_replica = True
        return made

    def __copy__(self) -> GraphModule:
        made = GraphModule(self, self.graph)
        made.meta = getattr(self, "meta", {})
        return made

    def to_folder(self, folder: Any, module_name: str = "FxModule") -> None:
        """Write the module as a package: ``from <folder> import <module_name>``.

        Warns: of sub-modules that are pickled, as their text does not make them.
        """
        folder = Path(folder)
        folder.mkdir(exist_ok=True)
        save(self.state_dict(), folder / "state_dict.pt")
        names = (*("Linear", "Conv1d", "Conv2d", "Conv3d"), *("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"))
        plain = tuple(getattr(nn_modules, n) for n in names)
        lines, pickled = [], []
        for name, child in self.named_children():
            if type(child) in plain:
                lines.append(f"setattr(self, {name!r}, {child!r})")
            else:
                save(child, folder / f"{name}.pt")
                pickled.append(name)
                file = str(folder / f"{name}.pt")
                lines.append(f"setattr(self, {name!r}, torch.load({file!r}, weights_only=False))")
        for name, t in self._buffers.items():
            if t is not None:
                lines.append(f"self.register_buffer({name!r}, torch.empty({list(t.shape)}, dtype={t.dtype}))")
        for name, p in self._parameters.items():
            if p is not None:
                made = f"torch.nn.Parameter(torch.empty({list(p.shape)}, dtype={p.dtype}))"
                lines.append(f"setattr(self, {name!r}, {made})")
        lines.append(f"self.load_state_dict(torch.load({str(folder / 'state_dict.pt')!r}))")
        head = "\n".join(b.import_str for b in custom_builtins.values())
        body = "\n".join(f"        {line}" for line in lines)
        text = (
            f"{head}\n\nfrom flambeau.nn import *\n\n\nclass {module_name}(torch.nn.Module):\n    def __init__(self):\n"
            f"        super().__init__()\n{body}\n{_indented(self.code, 4)}\n"
        )
        (folder / "module.py").write_text(text)
        (folder / "__init__.py").write_text("from .module import *")
        if pickled:
            warnings.warn(
                "Was not able to save the following children modules as reprs - saved as pickled files instead: "
                f"{pickled}",
                stacklevel=2,
            )

    # ------------------------------------------------------------------------------------------------- sub-modules

    def add_submodule(self, target: str, m: Module) -> bool:
        """Put a module at a dotted name, with empty ones on the way; False when something else is in the way."""
        *way, name = target.split(".")
        at: Any = self
        for part in way:
            below = getattr(at, part, None)
            if below is None:
                below = Module()
                setattr(at, part, below)
            if not isinstance(below, Module):
                return False
            at = below
        at.add_module(name, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        """Take out the module with a dotted name; False when there is none."""
        if not _has_attr(self, target) or not isinstance(_get_attr(self, target), Module):
            return False
        _del_attr(self, target)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Take out the modules that the graph does not name, neither them nor something in them."""
        used: set[str] = set()
        for node in self.graph.nodes:
            if node.op not in ("call_module", "get_attr"):
                continue
            parts = node.target.split(".")
            used.update(".".join(parts[: i + 1]) for i in range(len(parts)))
            if node.op == "call_module" and _has_attr(self, node.target):
                below = self.get_submodule(node.target)
                used.update(f"{node.target}.{name}" for name, _ in below.named_modules() if name)
        for name in [name for name, _ in self.named_modules() if name and name not in used]:
            self.delete_submodule(name)

    # -------------------------------------------------------------------------------------------------- what it says

    def print_readable(
        self,
        print_output: bool = True,
        include_stride: bool = False,
        include_device: bool = False,
        colored: bool = False,
        *,
        fast_sympy_print: bool = False,
        expanded_def: bool = False,
        additional_meta: list[str] | None = None,
    ) -> str:
        """The text of this module and those in it that have graphs, with dtypes and sizes where `meta` has them."""
        return _print_readable(
            self,
            self._get_name(),
            print_output,
            include_stride=include_stride,
            include_device=include_device,
            colored=colored,
            expanded_def=expanded_def,
            additional_meta=additional_meta,
        )

    def __str__(self) -> str:
        more = "# To see more debug info, please use `graph_module.print_readable()`"
        return "\n".join([super().__str__(), self._code, more])

    def nested_str(self) -> str:
        """The text of this module and those in it that have graphs."""
        return self.print_readable(print_output=False)

    # --------------------------------------------------------------------------------------------------------- hooks

    @contextlib.contextmanager
    def _set_replace_hook(self, f: Callable[..., Any]) -> Iterator[None]:
        self._register_replace_node_hook(f)
        try:
            yield
        finally:
            self._unregister_replace_node_hook(f)

    def _register_replace_node_hook(self, f: Callable[..., Any]) -> None:
        """Have `f(old=, new=, user=)` called whenever a node uses another one instead."""
        _check_hook(f)
        self._replace_hooks.append(f)

    def _unregister_replace_node_hook(self, f: Callable[..., Any]) -> None:
        _check_hook(f)
        self._replace_hooks.remove(f)

    def _register_create_node_hook(self, f: Callable[..., Any]) -> None:
        """Have `f(node)` called for each new node."""
        _check_hook(f)
        self._create_node_hooks.append(f)

    def _unregister_create_node_hook(self, f: Callable[..., Any]) -> None:
        _check_hook(f)
        self._create_node_hooks.remove(f)

    def _register_erase_node_hook(self, f: Callable[..., Any]) -> None:
        """Have `f(node)` called for each node that is taken out."""
        _check_hook(f)
        self._erase_node_hooks.append(f)

    def _unregister_erase_node_hook(self, f: Callable[..., Any]) -> None:
        _check_hook(f)
        self._erase_node_hooks.remove(f)


def _check_hook(f: Any) -> None:
    if not callable(f):
        raise AssertionError(f"hook must be a callable, got {type(f)}")
