"""Calls by PyTorch's names of arguments, in its old orders, and of functions that few programs call."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest

import flambeau
from parity import attempt, scenario


@scenario
def test_names_of_arguments(lib: Any) -> Iterator[Any]:
    x, v, square = lib.ones(2, 3), lib.arange(3.0), lib.eye(3) + 0.1
    yield lib.swapaxes(x, axis0=0, axis1=1), x.swapaxes(axis0=0, axis1=1), x.swapdims(dim0=0, dim1=1)
    yield (
        lib.pow(v, exponent=2),
        v.pow(exponent=2),
        v.clone().pow_(exponent=2),
        attempt(lambda: v.pow(other=2)),
    )
    yield lib.heaviside(x, values=v), lib.special.hermite_polynomial_h(v, n=2)
    yield lib.special.chebyshev_polynomial_t(v, n=lib.tensor(3))
    yield x.split(split_size=2), lib.split(x, split_size_or_sections=1), attempt(lambda: lib.split(x))
    yield x.split_with_sizes(split_sizes=[1, 2], dim=1), lib.split_with_sizes(x, [1, 1])
    yield lib.cholesky_solve(v[:, None], input2=square), lib.ormqr(square, input2=v, input3=square)
    yield (
        lib.zeros(2, 3).copy_(other=x),
        lib.ones(6).resize_as_(the_template=x),
        lib.ones(6).resize_(size=(2, 3)),
    )
    yield x.sum_to_size(size=(1, 3)), x.new(size=(2, 3)).shape, x.new(other=x), x.new().shape, x.new(x)
    yield lib.tensor_split(x, tensor_indices_or_sections=lib.tensor(2), dim=1)
    yield lib.nn.functional.threshold_(x.clone(), threshold=0.5, value=0)
    yield lib.repeat_interleave(repeats=lib.tensor([0, 2])), lib.tril_indices(2, 2, pin_memory=False)


@scenario
def test_several_arguments_for_one(lib: Any) -> Iterator[Any]:
    x = lib.ones(1, 2, 1, 3)
    yield x.squeeze(0, 2), x.count_nonzero(1, 3), lib.ones(2, 3).broadcast_to(4, 2, 3)
    yield lib.ones(1, 6, 6).hsplit(2, 5), lib.ones(4, 6).vsplit(1, 2), lib.ones(1, 2, 6).dsplit(1, 2)


@scenario
def test_the_order_of_old_programs(lib: Any) -> Iterator[Any]:
    x, y, v, m, b = lib.rand(2, 3), lib.rand(2, 3), lib.rand(3), lib.rand(3, 3), lib.rand(2, 3, 3)
    yield lib.add(x, 2, y), x.add(2, y), x.clone().add_(-0.5, y), lib.sub(x, 2, y), x.clone().sub_(2, y)
    yield (
        lib.addcmul(x, 0.5, y, y),
        x.clone().addcmul_(0.5, x, y),
        x.addcdiv(2, x, y),
        x.clone().addcdiv_(-1, x, y),
    )
    yield lib.addmm(0.5, m, m, m), lib.addmm(0.5, m, 2, m, m), m.addmm(0.5, m, m), m.addmm(0.5, 2, m, m)
    yield lib.addmv(0.5, v, m, v), lib.addr(0.5, m, v, v), lib.baddbmm(0.5, b, b, b), lib.addbmm(0.5, m, b, b)
    yield attempt(lambda: lib.add(x, 2, 3)), attempt(lambda: lib.addmm(m, m)), attempt(lambda: x.add(1, 2, y))
    p = lib.rand(3, requires_grad=True)
    lib.add(p, 3, p * p).sum().backward()
    yield p.grad


def test_the_old_order_warns() -> None:
    x = flambeau.ones(2)
    with pytest.warns(UserWarning, match="alpha"):
        x.add_(0.5, x)
    assert x.tolist() == [1.5, 1.5]


@scenario
def test_dim_order(lib: Any) -> Iterator[Any]:
    for x in (
        lib.rand(2, 3, 4, 5),
        lib.rand(2, 3, 4, 5).to(memory_format=lib.channels_last),
        lib.rand(1, 2, 3, 4),
    ):
        formats = [lib.contiguous_format, lib.channels_last]
        for check in (False, True, formats, [lib.channels_last], "other", [1]):
            yield attempt(lambda x=x, check=check: x.dim_order(ambiguity_check=check))


@scenario
def test_recurrences_with_weights_as_arguments(lib: Any) -> Iterator[Any]:
    nn = lib.nn
    x, lengths = lib.rand(5, 2, 3), lib.tensor([5, 3])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
    for name, kind, kwargs in (
        ("lstm", nn.LSTM, {"num_layers": 2, "bidirectional": True}),
        ("lstm", nn.LSTM, {"proj_size": 2, "bias": False}),
        ("gru", nn.GRU, {"bidirectional": True}),
        ("rnn_tanh", nn.RNN, {}),
        ("rnn_relu", nn.RNN, {"nonlinearity": "relu", "num_layers": 2}),
    ):
        net = kind(3, 4, **kwargs)
        sides = 2 if net.bidirectional else 1
        h = lib.rand(sides * net.num_layers, 2, net.proj_size or 4)
        state = (h, lib.rand(sides * net.num_layers, 2, 4)) if kind is nn.LSTM else h
        settings = (list(net.parameters()), net.bias, net.num_layers, 0.0, False, net.bidirectional)
        run = getattr(lib, name)
        yield run(x, state, *settings, False), run(x.transpose(0, 1), state, *settings, True)
        yield run(packed.data, packed.batch_sizes, state, *settings)
        too_few = functools.partial(run, x, state, settings[0][:-1], *settings[1:], False)
        yield attempt(too_few)
    x, h = lib.rand(2, 3), lib.rand(2, 4)
    for name, kind in (("lstm_cell", nn.LSTMCell), ("gru_cell", nn.GRUCell), ("rnn_tanh_cell", nn.RNNCell)):
        weights = list(kind(3, 4).parameters())
        yield getattr(lib, name)(x, [h, h] if kind is nn.LSTMCell else h, *weights)
        yield getattr(lib, name)(x, [h, h] if kind is nn.LSTMCell else h, *weights[:2])
    yield lib.rnn_relu_cell(x, h, *weights)


@scenario
def test_sizes_of_traced_programs(lib: Any) -> Iterator[Any]:
    yield lib.sym_max(3, 2.0), lib.sym_max(3, 2), lib.sym_min(3, 2.5), lib.sym_not(True), lib.sym_float(3)
    yield lib.sym_int(2.7), lib.sym_int(-2.7), lib.sym_ite(True, 1, 2), lib.sym_sqrt(9), lib.sym_sum([1, 2])


@scenario
def test_modules_each_time_they_are_met(lib: Any) -> Iterator[Any]:
    shared = lib.nn.ReLU()
    net = lib.nn.Sequential(shared, lib.nn.Sequential(shared), lib.nn.BatchNorm1d(3))
    yield (
        [type(m).__name__ for m in net.modules()],
        [type(m).__name__ for m in net.modules(remove_duplicate=False)],
    )
    yield lib.func.replace_all_batch_norm_modules_(net) is net, list(net.state_dict()), net(lib.rand(2, 3))
