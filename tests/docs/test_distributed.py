"""The example of docs/distributed.md runs in two processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "distributed.md").read_text(), re.DOTALL)
    script = tmp_path / "train.py"
    script.write_text(example)
    done = subprocess.run(
        [sys.executable, "-m", "flambeau.distributed.run", "--nproc-per-node", "2", str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    losses = [float(line.split(": ")[1]) for line in done.stdout.splitlines()]
    assert len(losses) == 3 and losses[2] < losses[0]
