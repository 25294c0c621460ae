"""Copies of views, scatters, complex pairs, views in place, storages and rarer methods."""

import numpy as np
import pytest

import flambeau as torch


def leaf(*shape):
    return torch.tensor(np.random.default_rng(2).normal(size=shape), requires_grad=True)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("permute", ((1, 0),)),
        ("transpose", (0, 1)),
        ("unsqueeze", (1,)),
        ("squeeze", ()),
        ("diagonal", ()),
        ("narrow", (0, 1, 2)),
        ("select", (0, 1)),
        ("t", ()),
    ],
)
def test_copies_do_not_alias(name, args):
    x = leaf(3, 4)
    of = getattr(torch, name)(x, *args)
    copy = getattr(torch, name + "_copy")(x, *args)
    assert torch.equal(of, copy)
    assert copy.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()
    copy.sum().backward()
    g = x.grad.clone()
    x.grad = None
    getattr(torch, name)(x, *args).sum().backward()
    assert torch.equal(g, x.grad)


def test_scatters_into_views():
    x, s = leaf(4, 5), leaf(4)
    y = torch.select_scatter(x, s, 1, 2)
    want = x.detach().numpy().copy()
    want[:, 2] = s.detach().numpy()
    np.testing.assert_array_equal(y.detach().numpy(), want)
    assert torch.autograd.gradcheck(lambda a, b: torch.select_scatter(a, b, 1, 2), (x, s))
    assert torch.autograd.gradcheck(lambda a, b: torch.diagonal_scatter(a, b), (x, s))
    assert torch.autograd.gradcheck(lambda a, b: torch.slice_scatter(a, b, 0, 1, 4, 2), (x, leaf(2, 5)))
    assert torch.autograd.gradcheck(
        lambda a, b: torch.as_strided_scatter(a, b, (2, 2), (5, 1), 3), (x, leaf(2, 2))
    )
    with pytest.raises(RuntimeError, match="size equal to the slice"):
        torch.select_scatter(x, leaf(3), 1, 2)


def test_complex_numbers_as_pairs():
    z = torch.tensor([1 + 2j, 3 - 1j], dtype=torch.complex128)
    pairs = torch.view_as_real(z)
    assert pairs.tolist() == [[1, 2], [3, -1]]
    pairs[0, 1] = 7
    assert z[0].item() == 1 + 7j
    assert torch.autograd.gradcheck(lambda x: torch.view_as_complex(x) * (1 + 2j), (leaf(3, 2),))
    for bad in (torch.ones(3), torch.ones(2, 2, dtype=torch.int64), torch.ones(2, 4)[:, ::2]):
        with pytest.raises(RuntimeError):
            torch.view_as_complex(bad)


def test_views_in_place_share_memory_and_history():
    x = torch.arange(6.0).reshape(2, 3).clone()
    row = x[0]
    assert x.t_() is x
    assert x.shape == (3, 2)
    x[0, 0] = 9
    assert row.tolist() == [9, 1, 2]
    a = leaf(2, 2)
    b = a * 1
    row = b[0]
    b.t_().mul_(torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert torch.equal(row, b[:, 0])
    (b[0] * 3).sum().backward()
    assert a.grad.tolist() == [[3, 0], [6, 0]]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        a.unsqueeze_(0)
    assert a.shape == (2, 2)
    assert torch.func.vmap(lambda v: v.clone().unsqueeze_(0))(torch.ones(2, 3)).shape == (2, 1, 3)


def test_storages():
    x = torch.arange(6.0)
    s = x[2:].untyped_storage()
    assert s.nbytes() == 24
    assert s == x.untyped_storage()
    assert x.storage().tolist() == x.tolist()
    version = x._version
    x.storage()[1] = 5
    assert x[1].item() == 5
    assert torch.is_storage(s)
    assert x._version == version + 1
    assert torch.empty(0).set_(s, 1, (2,), (2,)).tolist() == [5, 3]
    with pytest.raises(RuntimeError, match="resizable"):
        s.resize_(0)


def test_python_functions_on_elements():
    x = torch.tensor([1, 2, 3])
    assert x.clone().apply_(lambda v: v * v).tolist() == [1, 4, 9]
    assert x.clone().map_(x, lambda a, b: a + b).tolist() == [2, 4, 6]
    with pytest.raises(RuntimeError, match="requires grad"):
        leaf(2).apply_(abs)
    x = x.float()
    with pytest.raises(ZeroDivisionError):
        x.apply_(lambda v: 1 / (v - 2))
    assert x.tolist() == [1, 2, 3]


def test_fill_diagonal_and_sum_to_size():
    x = np.zeros((7, 3))
    np.fill_diagonal(x, 2, wrap=True)
    assert torch.zeros(7, 3, dtype=torch.float64).fill_diagonal_(2, wrap=True).tolist() == x.tolist()
    assert torch.ones(2, 3).sum_to_size(3).tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="not expandable"):
        torch.ones(2, 3).sum_to_size(2)
    with pytest.raises(RuntimeError):
        torch.ones(3).fill_diagonal_(1)


def test_frexp_and_hash():
    x = np.array([0.0, 3.0, -5.0, 1e-310, np.inf])
    mantissa, exponent = torch.frexp(torch.tensor(x))
    np.testing.assert_array_equal(mantissa.numpy(), np.frexp(x)[0])
    np.testing.assert_array_equal(exponent.numpy()[:4], np.frexp(x)[1][:4])
    assert torch.autograd.gradcheck(lambda v: torch.frexp(v)[0], (leaf(4),))
    bits = np.array([1.5, -2.0]).view(np.uint64)
    assert torch.hash_tensor(torch.tensor([1.5, -2.0])).item() == int(bits[0] ^ bits[1])
    assert torch.cross(torch.eye(3)[0], torch.eye(3)[1]).tolist() == [0, 0, 1]


def test_settings_and_types():
    assert torch.LongTensor([1, 2]).dtype is torch.int64
    assert torch.FloatTensor(2, 3).shape == (2, 3)
    assert isinstance(torch.ones(2), torch.FloatTensor)
    assert not isinstance(torch.ones(2), torch.DoubleTensor)
    assert torch.typename(torch.ones(1)) == "torch.FloatTensor"
    with pytest.raises(RuntimeError):
        torch.set_float32_matmul_precision("low")
    with pytest.raises(AssertionError):
        torch.set_default_device("cuda")
    assert torch.get_default_device() == torch.device("cpu")
    assert not torch.backends.mps.is_available()
    assert isinstance(torch.sort(torch.ones(2)), torch.return_types.sort)


VIEWS = {
    "whole": lambda b: b,
    "part": lambda b: b[5:15],
    "every second": lambda b: b[1::2],
    "block": lambda b: b.reshape(4, 5)[1:3, 1:4],
    "transposed": lambda b: b.reshape(4, 5).t(),
}


@pytest.mark.parametrize("offset", [None, 0, 6, 8, 13, 15])
@pytest.mark.parametrize("name", VIEWS)
def test_as_strided_scatter_counts_from_the_beginning_of_the_memory(name: str, offset: int | None) -> None:
    """Where `input` is a part of its memory, a write may fall beside it."""
    base = torch.arange(20.0)
    x = VIEWS[name](base)
    memory = base.clone()
    memory.as_strided((2, 2), (1, 2), x.storage_offset() if offset is None else offset).fill_(-1)
    got = torch.as_strided_scatter(x, -torch.ones(2, 2), (2, 2), (1, 2), offset)
    assert got.tolist() == VIEWS[name](memory).tolist() and got.stride() == x.stride()
    assert base.tolist() == list(range(20))


@pytest.mark.parametrize("name", ["bernoulli", "poisson", "normal"])
def test_what_was_drawn_for_parameters_with_a_gradient_can_be_written_to(name: str) -> None:
    p = torch.full((3, 4), 0.5, requires_grad=True)
    drawn = getattr(torch, name)(p, *((1.0,) if name == "normal" else ()))
    before = drawn.detach().clone()
    assert torch.equal(drawn.mul_(2).detach(), before * 2)
