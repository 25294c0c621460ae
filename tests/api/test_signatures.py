"""Every public name and signature of PyTorch's is here, or has its reason in `reasons.py`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from reasons import ABSENT, SIGNATURES  # noqa: E402
from signatures import Difference, differences  # noqa: E402


def described(difference: Difference) -> tuple[dict[str, str], str]:
    """The table in which the reason has to be, and the text that its pattern matches."""
    return (ABSENT, difference.where) if difference.what == "absent" else (SIGNATURES, str(difference))


def test_names_and_signatures() -> None:
    pytest.importorskip("torch")
    found = list(differences())
    used: set[str] = set()
    without = []
    for difference in found:
        table, text = described(difference)
        fitting = [pattern for pattern in table if re.fullmatch(pattern, text, re.S)]
        used.update(fitting[:1])
        if not fitting:
            without.append(str(difference))
    assert not without, "without a reason:\n" + "\n".join(without)
    stale = [pattern for pattern in (*ABSENT, *SIGNATURES) if pattern not in used]
    assert not stale, "reasons for nothing:\n" + "\n".join(stale)
