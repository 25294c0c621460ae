"""What Python 3.10 does not have is not imported where the program runs; linters only hold the syntax to it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEWER = {
    "typing": set(
        "Self Never LiteralString Required NotRequired Unpack TypeVarTuple assert_never assert_type reveal_type "
        "dataclass_transform override TypeAliasType ReadOnly TypeIs NoDefault get_protocol_members is_protocol".split()
    ),
    "enum": {
        "StrEnum",
        "ReprEnum",
        "verify",
        "member",
        "nonmember",
        "global_enum",
        "EnumCheck",
        "FlagBoundary",
    },
    "datetime": {"UTC"},
    "itertools": {"batched"},
    "functools": {"Placeholder"},
    "hashlib": {"file_digest"},
    "contextlib": {"chdir"},
    "operator": {"call"},
    "math": {"cbrt", "exp2", "sumprod", "fma"},
    "inspect": {"getasyncgenstate", "markcoroutinefunction"},
    "warnings": {"deprecated"},
    "copy": {"replace"},
}
MODULES = {"tomllib", "wsgiref.types", "annotationlib", "compression"}


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a file, without those that only type checkers see."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        else:
            todo += list(ast.iter_child_nodes(node))


def test_nothing_newer_is_used() -> None:
    found = []
    for folder in ("src", "tests", "tools", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in running(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = {a.name for a in node.names} & NEWER.get(node.module or "", set())
                    found += [f"{path}: {node.module}.{n}" for n in names]
                    found += [f"{path}: {node.module}"] * (node.module in MODULES)
                elif isinstance(node, ast.Import):
                    found += [f"{path}: {a.name}" for a in node.names if a.name in MODULES]
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    if node.attr in NEWER.get(node.value.id, ()):
                        found.append(f"{path}: {ast.unparse(node)}")
    assert not found, found
