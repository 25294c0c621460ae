"""The examples of docs/compiler.md run."""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compiler.md"


def test_every_block_runs(capsys: Any) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    scope: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        name = f"<block {number} of {PAGE.name}>"
        linecache.cache[name] = (len(block), None, block.splitlines(True), name)  # as notebooks do
        exec(compile(block, name, "exec", dont_inherit=True), scope)
    printed = capsys.readouterr().out
    assert len(blocks) == 8
    assert (
        "rows kernel [3, 4]" in printed
        and "3 programs" in printed
        and "print is called at" in printed
        and "tensor([0., 2., 8.])" in printed
    )
