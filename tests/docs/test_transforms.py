"""The pages on function transforms run, block after block, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "transforms"
PAGES = sorted(p.name for p in FOLDER.glob("*.md"))


@pytest.mark.parametrize("name", PAGES)
def test_every_block_runs(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert name == "README.md" or len(blocks) >= 3
    scope: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, name, "exec"), scope)
    for link in re.findall(r"\]\((\w+\.md)\)", text):
        assert (FOLDER / link).exists()
