"""The tables of the compatibility page are those that the committed summary gives."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def tool() -> Any:
    spec = importlib.util.spec_from_file_location("conformance_page", ROOT / "tools" / "conformance_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_from_the_summary() -> None:
    made = tool()
    text = (ROOT / "docs" / "compatibility.md").read_text()
    have = made.BEGIN + text.split(made.BEGIN)[1].split(made.END)[0] + made.END
    assert have == made.page(json.loads((ROOT / "docs" / "conformance.json").read_text())), (
        "run: python tools/conformance_page.py"
    )


def test_every_difference_has_a_reason() -> None:
    made = tool()
    summary = json.loads((ROOT / "docs" / "conformance.json").read_text())
    for name, entry in summary["differing"].items():
        assert made.reason(name, entry["dtypes"]) != "see the first error" or entry["error"], name


def test_a_result_is_summed_up(tmp_path: Path) -> None:
    made = tool()
    result = {
        "settings": {"seed": 3, "dtypes": ["float32", "float16"], "max_samples": 4},
        "missing": ["chalf"],
        "ops": {
            "exp": {"modes": {"forward": {"pass": 3, "n/a": 1, "error": None}}},
            "addr": {"modes": {"forward": {"pass": 2, "fail": 1, "error": "[float16] leaf 0: not close"}}},
            "sort": {"modes": {"error": {"exact": 1, "other": 1, "error": "[-] did not raise"}}},
        },
    }
    path = tmp_path / "r.json"
    path.write_text(json.dumps(result))
    summary = made.summarize([str(path)])
    assert summary["modes"] == {"forward": [5, 6], "error": [1, 2, 1]}
    assert summary["differing"]["addr"]["dtypes"] == "16-bit"
    assert summary["differing"]["sort"]["dtypes"] == "all"
    page = made.page(json.loads(made.compact(summary)))
    assert "| forward | 5 of 6 | 83.33 % |" in page and "`addr`" in page and "`exp`" not in page
