"""`flambeau.quasirandom` beside PyTorch's and SciPy's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from scipy.stats import qmc

import flambeau
from flambeau.quasirandom import SobolEngine


@pytest.mark.parametrize("dimension", [1, 2, 7, 300])
def test_the_plain_sequence_is_scipys(dimension: int) -> None:
    ours = SobolEngine(dimension)
    points = [ours.draw(n, dtype=flambeau.float64).numpy() for n in (1, 0, 3, 60)]
    np.testing.assert_array_equal(np.concatenate(points), qmc.Sobol(dimension, scramble=False).random(64))
    assert ours.num_generated == 64


def test_scrambled_points_are_balanced_and_seeded() -> None:
    a, b = SobolEngine(3, scramble=True, seed=5), SobolEngine(3, scramble=True, seed=5)
    points = a.draw_base2(6)
    assert points.dtype is flambeau.get_default_dtype()
    assert (points == b.draw(64)).all()
    assert not (points == SobolEngine(3, scramble=True, seed=6).draw(64)).all()
    for column in points.numpy().T:  # one point in each of 64 intervals
        assert sorted((column * 64).astype(int)) == list(range(64))


@pytest.mark.parametrize("scramble", [False, True])
def test_points_and_states_are_pytorchs(scramble: bool) -> None:
    torch = pytest.importorskip("torch")
    for dimension in (1, 3, 40):
        theirs = torch.quasirandom.SobolEngine(dimension, scramble=scramble, seed=11)
        ours = SobolEngine(dimension, scramble=scramble, seed=11)
        assert repr(ours) == repr(theirs)
        for n in (1, 5, 2, 100):
            for dtype in ("float32", "float64"):
                expected = theirs.draw(n, dtype=getattr(torch, dtype)).numpy()
                np.testing.assert_array_equal(ours.draw(n, dtype=getattr(flambeau, dtype)).numpy(), expected)
        for name in ("sobolstate", "shift", "quasi"):
            np.testing.assert_array_equal(getattr(ours, name).numpy(), getattr(theirs, name).numpy())
        ours.fast_forward(17)
        theirs.fast_forward(17)
        np.testing.assert_array_equal(ours.draw(2).numpy(), theirs.draw(2).numpy())
        np.testing.assert_array_equal(ours.reset().draw(4).numpy(), theirs.reset().draw(4).numpy())
    torch.manual_seed(3)
    flambeau.manual_seed(3)
    a, b = SobolEngine(4, scramble=True), torch.quasirandom.SobolEngine(4, scramble=True)
    np.testing.assert_array_equal(a.draw(8).numpy(), b.draw(8).numpy())


def test_out_copies_and_forwarding() -> None:
    engine = SobolEngine(2, scramble=True, seed=0)
    points = engine.draw(70000)
    engine.reset().fast_forward(69999)
    for same in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine))):
        assert (same.draw() == points[-1]).all()
    out = flambeau.empty(0)
    assert engine.draw(1, out=out) is out and (out == points[-1]).all()


def test_errors() -> None:
    for dimension in (0, -1, 21202):
        with pytest.raises(ValueError, match="21201"):
            SobolEngine(dimension)
    engine = SobolEngine(1)
    engine.draw(3)
    with pytest.raises(ValueError, match="power of 2"):
        engine.draw_base2(2)
    for call in (engine.draw, engine.fast_forward):
        with pytest.raises(RuntimeError, match="negative"):
            call(-1)
    with pytest.raises(ValueError, match="too many"):
        engine.draw(1 << 30)
    assert engine.num_generated == 3
    assert engine.draw_base2(0).item() == pytest.approx(0.25)
