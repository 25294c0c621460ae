"""A short run of the random programs; `python tests/capture/fuzz.py --programs 10000` is the long one."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

import flambeau as torch
from capture import fuzz, fuzz_families


@pytest.mark.parametrize("part", range(4))
def test_random_programs(part: int) -> None:
    for seed in range(part * 100, part * 100 + 100):
        report = fuzz.check(seed)
        assert report is None, report


@pytest.mark.parametrize("part", range(2))
def test_random_programs_of_all_families(part: int) -> None:
    """Attention, losses, modules, indices, draws, complex numbers, bfloat16 among the rest."""
    for seed in range(part * 60, part * 60 + 60):
        report = fuzz.check(seed, wide=True)
        assert report is None, report


def test_a_size_between_others_makes_no_machine_code() -> None:
    for seed in range(40):
        report = fuzz.check_sizes(seed)
        assert report is None, report


def test_every_family_is_drawn() -> None:
    """Most of the wide expressions are part of some program: what cannot run is left out of programs silently."""
    drawn = set()
    for seed in range(120):
        for line in fuzz.Writer(seed, wide=True).write(25).lines:
            drawn |= {t for t, known in patterns.items() if known.fullmatch(line.split(" = ", 1)[-1])}
    for family, texts in fuzz_families.FAMILIES.items():
        assert len(drawn & set(texts)) >= len(texts) // 2, f"{family}: only {sorted(drawn & set(texts))}"


patterns = {
    text: re.compile(re.sub(r"\\\{[xyzd]\\\}", r"[-\\w]+", re.escape(text)))
    for texts in fuzz_families.FAMILIES.values()
    for text in texts
}


def test_a_failure_is_shrunk_to_a_script() -> None:
    program = fuzz.Program(
        ["v3 = a + b", "v4 = a * 2", "v5 = c - 1"], ["v3", "v4"], [(2,)] * 3, "float64", False, 0
    )
    small = fuzz.shrink_while(program, lambda p: "v4 = a * 2" in p.lines and "v4" in p.outputs)
    assert small.lines == ["v4 = a * 2"] and small.outputs == ["v4"]
    assert "torch.compile(f)" in small.script()
    compile(small.script(), "script", "exec")


@pytest.mark.parametrize("seed", [2030329, 2050457])
def test_a_program_that_is_made_again_is_made_of_the_same_kernels(seed: int) -> None:
    """What is merged with what does not depend on where objects lie in memory."""
    program = fuzz.Writer(seed, tame=True).write(random.Random(seed).randint(5, 40))  # as in check_sizes
    f = fuzz.function_of(program)
    found = set()
    for n in range(8):
        memory = [object() for _ in range(997 * n)]
        with np.errstate(all="ignore"):
            explained = torch.compile(f, dynamic=True).explain(*program.arguments(0))
        del memory
        found.add("\n".join(line for line in explained.splitlines() if " kernel " in line))
    assert len(found) == 1
