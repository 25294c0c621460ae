"""Tracing programs whose assertions and annotated assignments become nodes: `RewritingTracer`."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import textwrap
from types import FunctionType
from typing import Any

from ...nn import Module
from .._symbolic_trace import Tracer
from ..graph import Graph

__all__ = ["AST_Rewriter", "RewritingTracer"]


class AST_Rewriter(ast.NodeTransformer):  # noqa: N801  PyTorch's name
    """Writes ``assert`` as ``torch._assert``, and ``x: T = value`` as ``x = annotate(value, T)``."""

    def rewrite(self, fn: Any) -> Any:
        """`fn` from its source, rewritten."""
        plain = fn.__func__ if inspect.ismethod(fn) else fn
        tree = ast.parse(textwrap.dedent("".join(inspect.getsourcelines(plain)[0])))
        tree = ast.fix_missing_locations(self.visit(tree))
        names = dict(plain.__globals__)
        before = set(names)
        exec(compile(tree, "", "exec"), names)
        made = names[next(n for n in names if n not in before or n == plain.__name__)]
        again: Any = FunctionType(
            made.__code__, plain.__globals__, made.__name__, plain.__defaults__, made.__closure__
        )
        again = functools.update_wrapper(again, made)
        again.__kwdefaults__ = copy.copy(plain.__kwdefaults__)
        return again

    def visit_Assert(self, node: ast.Assert) -> ast.Expr:
        """The call of ``torch._assert``."""
        call = ast.parse("torch._assert()", mode="eval").body
        assert isinstance(call, ast.Call)
        call.args = [node.test, node.msg if node.msg else ast.Constant(value="")]
        return ast.copy_location(ast.Expr(value=call), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """The assignment of an annotated value."""
        if node.value is None:
            return node
        name = ast.Name(id="annotate", ctx=ast.Load())
        value = ast.Call(func=name, args=[node.value, node.annotation], keywords=[])
        return ast.Assign(targets=[node.target], value=value)


def _rewritten(fn: Any) -> Any:
    if not isinstance(fn, Module):
        return AST_Rewriter().rewrite(fn)

    class RewrittenModule(Module):
        def __init__(self, original: Module) -> None:
            super().__init__()
            for k, v in vars(original).items():
                self.__dict__[k] = copy.copy(_rewritten(v) if isinstance(v, Module) else v)

    RewrittenModule.forward = AST_Rewriter().rewrite(fn.forward)
    return RewrittenModule(fn)


class RewritingTracer(Tracer):
    """A `Tracer` that rewrites what it traces first."""

    def trace(self, root: Any, concrete_args: Any = None) -> Graph:
        """The graph of the rewritten module or function."""
        return super().trace(_rewritten(root), concrete_args)
