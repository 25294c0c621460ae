"""What a program pays that has no sparse tensors: nothing."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import flambeau as torch
from flambeau.core.public import OVERRIDES
from flambeau.core.tape import helpers
assert not [m for m in sys.modules if m.startswith("flambeau.sparse")]
embedding = torch.nn.Embedding(3, 2)
embedding(torch.tensor([0, 2])).sum().backward()
torch.sparse.check_sparse_tensor_invariants.is_enabled()
assert "flambeau.sparse.tensors" in sys.modules and not OVERRIDES and "accumulate" not in helpers
assert not torch.ones(2).is_sparse and torch.ones(2).to_dense().shape == (2,)
assert not OVERRIDES
torch.ones(2).to_sparse()
assert OVERRIDES
"""


def test_the_package_loads_and_takes_part_when_it_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
