"""Settings of the whole process, by the names that programs use."""

from __future__ import annotations

import pytest

import flambeau


def test_number_of_threads() -> None:
    before = flambeau.get_num_threads()
    flambeau.set_num_threads(2)
    assert flambeau.get_num_threads() == 2
    for wrong, error in ((0, RuntimeError), (-1, RuntimeError), ("2", TypeError), (True, TypeError)):
        with pytest.raises(error, match="set_num_threads expects"):
            flambeau.set_num_threads(wrong)
    assert flambeau.get_num_threads() == 2
    flambeau.set_num_threads(before)
