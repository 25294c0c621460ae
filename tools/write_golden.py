"""Write `tests/golden/values.json`: what PyTorch gives for the calls in `tests/golden/calls.py`.

Needs PyTorch (``pip install -e '.[reference]'``):  python tools/write_golden.py
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from golden import calls, evaluate  # noqa: E402


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows, wrong = [], []
    for call in dict.fromkeys(calls.CALLS):
        try:
            rows.append(
                f" {json.dumps(call)}: {json.dumps(evaluate.run(torch, call), separators=(',', ':'))}"
            )
        except Exception as e:
            wrong.append(f"{call}: {type(e).__name__}: {e}")
    if wrong:
        sys.exit("\n".join(wrong))
    text = "{\n" + ",\n".join([f' "torch": "{torch.__version__.split("+")[0]}"', *rows]) + "\n}\n"
    (ROOT / "tests" / "golden" / "values.json").write_text(text)
    print(f"{len(rows)} calls, {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
