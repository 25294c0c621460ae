"""Every public function says what it does, and shows it in an example that runs."""

from __future__ import annotations

import doctest
import inspect
from typing import Any

import pytest

import flambeau as torch
from battery.test_bad_input import FOUND

ONCE = {id(fn): (name, fn) for name, fn in reversed(sorted(FOUND.items()))}
FUNCTIONS = sorted(ONCE.values(), key=lambda pair: pair[0])
PARSER, RUNNER = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)

# Their results are printed by other functions' examples already.
WITHOUT_EXAMPLE = {
    *(
        "ctc_loss",
        "triplet_margin_loss",
        "nn.functional.cosine_embedding_loss",
        "nn.functional.triplet_margin_loss",
    ),
    "nn.functional.triplet_margin_with_distance_loss",
}


@pytest.mark.parametrize(("name", "fn"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_docstring(name: str, fn: Any) -> None:
    text = inspect.getdoc(fn) or ""
    assert len(text) > 10, f"{name} has no docstring"
    if name.endswith("_"):
        return  # forms in place refer to what they are forms of
    test = PARSER.get_doctest(text, {"torch": torch}, name, None, None)
    assert test.examples or name in WITHOUT_EXAMPLE, (
        f"{name}: add an example to the docstring, or to examples.txt beside it"
    )
    torch.manual_seed(0)
    said: list[str] = []
    RUNNER.run(test, out=said.append)
    assert not said, "".join(said)
