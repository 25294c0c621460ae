"""``numpy()`` of tensors that require grad, where gradients are not recorded."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau


def test_no_grad_takes_them_as_they_are() -> None:
    w = flambeau.ones(2, requires_grad=True)
    y = w * 2
    with flambeau.no_grad():
        assert y.numpy().tolist() == np.asarray(y).tolist() == [2, 2]
        assert np.shares_memory(w.numpy(), w.detach().numpy())
    for call in (w.numpy, y.numpy, lambda: np.asarray(y)):
        with pytest.raises(RuntimeError, match=r"Use tensor\.detach\(\)\.numpy\(\)"):
            call()
