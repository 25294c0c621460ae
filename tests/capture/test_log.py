"""What ``FLAMBEAU_LOG`` prints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import flambeau as torch
f = torch.compile(lambda x: (x * 2 + 1).tanh() * x)
for _ in range(2):
    f(torch.ones(5))
"""
SAID = {
    "graph": "def program(v0: 'float32[5]'",
    "fusion": "points kernel [5]: mul add tanh mul; reads 1 arrays, writes 1",
    "code": "def run(arrays, numbers):",
    "cache": "flambeau cache: ",
}


def output(log: str, folder: Path) -> str:
    path = os.pathsep.join(sys.path)
    env = {**os.environ, "FLAMBEAU_LOG": log, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", SAID)
def test_a_kind_alone(kind: str, tmp_path: Path) -> None:
    said = output(kind, tmp_path)
    assert [k for k, text in SAID.items() if text in said] == [kind]


def test_all_and_none(tmp_path: Path) -> None:
    said = output("graph,fusion,code,cache", tmp_path)
    assert all(text in said for text in SAID.values())
    assert output("", tmp_path) == ""
