"""Pytrees: the structures, registration, and PyTorch's answers for the same calls."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest

import flambeau
from flambeau.utils import _pytree as ours

Point = namedtuple("Point", "x y")
TREES: list[Any] = [
    1,
    (),
    [1, (2, {"b": 3, "a": [4]})],
    Point(1, [2, 3]),
    OrderedDict([("z", 1), ("a", (2,))]),
    deque([1, 2], maxlen=3),
    defaultdict(list, {"k": [1]}),
    {"a": None, "b": []},
]


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_like_pytorch(tree: Any) -> None:
    theirs = pytest.importorskip("torch.utils._pytree")
    leaves, spec = ours.tree_flatten(tree)
    their_leaves, their_spec = theirs.tree_flatten(tree)
    assert leaves == their_leaves and spec.num_leaves == their_spec.num_leaves
    assert ours.tree_unflatten(leaves, spec) == tree
    assert type(ours.tree_map(str, tree)) is type(theirs.tree_map(str, tree))
    assert ours.tree_map(str, tree) == theirs.tree_map(str, tree)
    paths = [[f.keystr(p) for p, _ in f.tree_flatten_with_path(tree)[0]] for f in (ours, theirs)]
    assert paths[0] == paths[1]
    only = [f.tree_map_only(int, lambda x: x + 1, tree) for f in (ours, theirs)]
    assert only[0] == only[1]
    for f in (ours, theirs):
        assert f.tree_leaves(tree, is_leaf=lambda x: isinstance(x, (list, deque))) is not None
    assert ours.tree_leaves(tree, is_leaf=lambda x: isinstance(x, list)) == theirs.tree_leaves(
        tree, is_leaf=lambda x: isinstance(x, list)
    )


def test_registration() -> None:
    @dataclasses.dataclass
    class Pair:
        a: Any
        b: Any = 5

    ours.register_dataclass(Pair)
    with pytest.raises(ValueError, match="already registered"):
        ours.register_pytree_node(Pair, lambda x: ([], None), lambda c, _: Pair(1))
    got = flambeau.vmap(lambda p: Pair(p.a * 2, p.b))(Pair(flambeau.ones(2), flambeau.zeros(2)))
    assert got.a.tolist() == [2.0, 2.0] and isinstance(got, Pair)
    grads = flambeau.func.grad(lambda p: (p.a * p.b).sum())(Pair(flambeau.ones(2), flambeau.zeros(2)))
    assert grads.b.tolist() == [1.0, 1.0]


def test_bad_input() -> None:
    _, spec = ours.tree_flatten([1, 2])
    with pytest.raises(ValueError, match="3 leaves"):
        ours.tree_unflatten([1, 2, 3], spec)
    with pytest.raises(TypeError, match="TreeSpec"):
        ours.tree_unflatten([1], [1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="structure"):
        ours.tree_map(lambda a, b: a, [1, 2], [1, [2]])
    with pytest.raises(TypeError, match="dataclass"):
        ours.register_dataclass(int)


def test_the_underscored_name_is_the_same_module() -> None:
    """However it was imported first."""
    code = "import flambeau.utils._pytree as a; from flambeau.utils import _pytree as b, pytree; assert a is b is pytree"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
