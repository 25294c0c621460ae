"""The syntax tree of a function, found in its source and checked against its code."""

from __future__ import annotations

import ast
import linecache
import types
from functools import lru_cache
from typing import Any

__all__ = ["Function", "tree_of"]

Function = ast.FunctionDef | ast.Lambda


@lru_cache(maxsize=256)
def _file(name: str, text: str) -> tuple[list[Function], list[types.CodeType]]:
    """The functions written in a file, and the code that they compile to."""
    tree = ast.parse(text)
    functions = [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.Lambda))]
    found, todo = [], [compile(tree, name, "exec", dont_inherit=True)]
    while todo:
        code = todo.pop()
        found.append(code)
        todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return functions, found


def _first_line(node: Function) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return min([node.lineno, *[d.lineno for d in decorators]])


def _arguments(node: Function) -> list[str]:
    a = node.args
    rest = [x for x in (a.vararg, a.kwarg) if x is not None]
    return [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, *rest)]


def _same(a: types.CodeType, b: types.CodeType) -> bool:
    """Whether two codes do the same at the same place; future statements may differ in their flags."""
    if a.co_code != b.co_code or a.co_firstlineno != b.co_firstlineno or a.co_name != b.co_name:
        return False
    names = ("co_names", "co_varnames", "co_freevars", "co_cellvars", "co_linetable")
    if any(getattr(a, n) != getattr(b, n) for n in names) or len(a.co_consts) != len(b.co_consts):
        return False
    return all(
        _same(x, y)
        if isinstance(x, types.CodeType) and isinstance(y, types.CodeType)
        else type(x) is type(y) and repr(x) == repr(y)
        for x, y in zip(a.co_consts, b.co_consts)
    )


def tree_of(code: types.CodeType) -> Function | str:
    """The syntax tree of the function with this code, or why there is none."""
    lines = linecache.getlines(code.co_filename)
    if not lines:
        return "its source cannot be read"
    try:
        functions, codes = _file(code.co_filename, "".join(lines))
    except SyntaxError:
        return "its source cannot be parsed"
    if not any(_same(code, c) for c in codes):
        return "its source has changed since it was loaded"
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    found = [
        n
        for n in functions
        if _first_line(n) == code.co_firstlineno
        and (n.name if isinstance(n, ast.FunctionDef) else "<lambda>") == code.co_name
        and _arguments(n) == list(code.co_varnames[:count])
    ]
    if len(found) > 1:
        if not hasattr(code, "co_positions"):  # before Python 3.11
            return "another function begins on its line"
        found = [n for n in found if _covers(n, code)]
        found = sorted(found, key=_extent)[:1]
    return found[0] if found else "its source was not found"


def _covers(node: Function, code: types.CodeType) -> bool:
    """Whether all instructions come from the node's body."""
    body: Any = node.body if isinstance(node, ast.Lambda) else node
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    for line, last, column, last_column in code.co_positions():
        if None in (line, last, column, last_column) or (line, column, last_column) == (line, 0, 0):
            continue
        if (line, column) < start or (last, last_column) > end:
            return False
    return True


def _extent(node: Function) -> tuple[int, int]:
    return (node.end_lineno or 0) - node.lineno, (node.end_col_offset or 0) - node.col_offset
