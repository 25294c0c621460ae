"""Counts of floating point operations, against PyTorch's."""

import pytest

import flambeau
from flambeau.utils.flop_counter import FlopCounterMode


def _layers(lib):
    nn = lib.nn
    return nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))


def _network(lib, x):
    _layers(lib)(lib.ones(3, 2, 8, 8)).sum().backward()


def _transposed(lib, x):
    lib.nn.Conv1d(4, 6, 3, groups=2)(lib.ones(2, 4, 7))
    lib.nn.ConvTranspose2d(2, 3, 3, stride=2)(lib.ones(1, 2, 5, 5, requires_grad=True)).sum().backward()


def _products(lib, x):
    lib.bmm(lib.ones(2, 3, 4), lib.ones(2, 4, 5))
    lib.addmm(lib.ones(3, 3), x, x.T).sum().backward()
    lib.matmul(lib.ones(5, 2, 3), lib.ones(3, 4))
    (x @ lib.ones(4, 2)).sum().backward()
    x.mm(lib.ones(4, 2))
    lib.baddbmm(lib.ones(2, 3, 5), lib.ones(2, 3, 4), lib.ones(2, 4, 5))
    lib.ones(3) @ lib.ones(3)
    lib.einsum("bij,bjk->bik", lib.ones(5, 2, 3), lib.ones(5, 3, 4))
    lib.mm(input=lib.ones(2, 2), mat2=lib.ones(2, 2))
    lib.addmm(lib.ones(2, 2), lib.ones(2, 2), lib.ones(2, 2), beta=2)
    lib.nn.MultiheadAttention(4, 2)(*[lib.ones(2, 3, 4)] * 3)
    x.sin() + 1


@pytest.mark.parametrize("program", [_network, _transposed, _products])
def test_counts_are_pytorchs(program):
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode as Reference

    found = []
    for lib, counter in ((flambeau, FlopCounterMode), (torch, Reference)):
        with counter(display=False) as flops:
            program(lib, lib.ones(3, 4, requires_grad=True))
        counts = flops.get_flop_counts()
        found.append(
            (flops.get_total_flops(), {p: {str(k): n for k, n in c.items()} for p, c in counts.items()})
        )
    assert found[0] == found[1]


def test_attention_and_the_table(capsys):
    q, k = flambeau.ones(1, 2, 3, 4), flambeau.ones(1, 2, 5, 4)
    with FlopCounterMode() as flops:
        flambeau.nn.functional.scaled_dot_product_attention(q, k, k)
    assert flops.get_total_flops() == 2 * (2 * 2 * 3 * 5 * 4)
    assert "Global" in capsys.readouterr().out and "100.00%" in flops.get_table()
    flambeau.ones(2, 2) @ flambeau.ones(2, 2)  # after the block nothing is counted
    assert flops.get_total_flops() == 480
