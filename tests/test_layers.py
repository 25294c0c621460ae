"""Imports point downward, and no two sub-packages import each other.

Read from the source, so that imports inside functions count too; only those under ``TYPE_CHECKING`` do not.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "flambeau"

# From the top to the bottom, below the public interface: everything that is not named here is part of that
# (nn, optim, ...), and there the rule is only that there are no cycles.
LAYERS = ["tensor", "autograd", "capture", "func", "ops", "prims", "core", "compiler", "runtime"]
TOP = len(LAYERS)
HEIGHT = {unit: TOP - 1 - i for i, unit in enumerate(LAYERS)}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def import_nodes(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif is_type_checking(child):
            assert isinstance(child, ast.If)
            yield from import_nodes(ast.Module(child.orelse, []))
        else:
            yield from import_nodes(child)


def imported_modules(source: str, package: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and full dotted name (as a list) of everything that a module of `package` imports."""
    for node in import_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, [*base, alias.name]


def edges() -> dict[tuple[str, str], list[str]]:
    """``(importer, imported) -> places`` between the units (files and folders) right under the package."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative == Path("__init__.py"):
            continue  # the package's own __init__ is the top: it may import everything
        unit = relative.parts[0].removesuffix(".py")
        package = ["flambeau", *relative.parts[:-1]]
        for line, name in imported_modules(path.read_text(), package):
            if name[0] == "flambeau" and len(name) > 1 and name[1] != unit:
                found[unit, name[1]].append(f"{path.relative_to(ROOT)}:{line}")
    return found


EDGES = edges()


def test_the_reader_finds_the_package() -> None:
    assert {unit for edge in EDGES for unit in edge} >= set(LAYERS)


def test_no_two_sub_packages_import_each_other() -> None:
    mutual = [
        f"{a} <-> {b}: {EDGES[a, b][:3]} and {EDGES[b, a][:3]}" for a, b in EDGES if a < b and (b, a) in EDGES
    ]
    assert not mutual, "\n".join(mutual)


def test_imports_point_downward() -> None:
    upward = [
        f"{a} -> {b}: {where}"
        for (a, b), where in EDGES.items()
        if a in HEIGHT and HEIGHT.get(b, TOP) >= HEIGHT[a]
    ]
    assert not upward, "\n".join(upward)


def test_no_cycles() -> None:
    remaining = {unit: {b for a, b in EDGES if a == unit} for edge in EDGES for unit in edge}
    while free := [unit for unit, needs in remaining.items() if not needs & remaining.keys()]:
        for unit in free:
            del remaining[unit]
    assert not remaining, f"in or above a cycle: {sorted(remaining)}"


def test_runtime_needs_only_numpy() -> None:
    import sys

    allowed = {"numpy", "ml_dtypes", "flambeau", *sys.stdlib_module_names}
    lazily = {"llvmlite", "cupy"}  # devices and generated code, inside functions
    for path in sorted((PACKAGE / "runtime").rglob("*.py")):
        package = ["flambeau", *path.relative_to(PACKAGE).parts[:-1]]
        names = {name[0] for _, name in imported_modules(path.read_text(), package)}
        assert names <= allowed | lazily, f"{path.name} imports {sorted(names - allowed)}"


def test_import_linter_has_the_same_layers() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r'type = "layers"\nlayers = \[\n(.*?)\n\]', text, re.DOTALL)
    assert block is not None
    assert re.findall(r'"flambeau\.(\w+)"', block[1]) == LAYERS
    public = re.findall(r"\(flambeau\.(\w+)\)", block[1])
    units = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert units - {"__init__", "__main__"} - HEIGHT.keys() <= set(public), "name it in pyproject.toml"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from ..core import tape", [["flambeau", "core", "tape"]]),
        ("def f():\n    from . import x", [["flambeau", "ops", "x"]]),
        ("import flambeau.nn.init", [["flambeau", "nn", "init"]]),
        ("if TYPE_CHECKING:\n    from ..nn import Module\nelse:\n    import re", [["re"]]),
    ],
)
def test_the_reader_of_imports(source: str, names: list[list[str]]) -> None:
    assert [name for _, name in imported_modules(source, ["flambeau", "ops"])] == names
