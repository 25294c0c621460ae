"""RNN, LSTM, GRU, their cells and packed sequences against PyTorch: values, gradients, errors."""

import numpy as np
import pytest

import flambeau
from flambeau.nn.utils import rnn as rnn_utils

torch = pytest.importorskip("torch")

RTOL, ATOL = 1e-5, 1e-6


def arrays(x):
    """All tensors in a result, in order, as arrays."""
    if x is None:
        return []
    if hasattr(x, "detach"):
        return [np.asarray(x.detach().numpy())]
    return [a for part in x for a in arrays(part)]


def both(scenario):
    ours, theirs = arrays(scenario(flambeau)), arrays(scenario(torch))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=False):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=RTOL, atol=ATOL)


def outcome(fn):
    try:
        fn()
    except Exception as e:
        return type(e).__name__, str(e)
    return "no error"


def with_gradients(m, x, *results):
    total = sum((r * r).sum() for r in results)
    total.backward()
    return [*results, x.grad, *[p.grad for p in m.parameters()]]


SETTINGS = [
    {},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"bias": False},
    {"num_layers": 3, "dropout": 0.4},
]
KINDS = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {}),
    ("LSTM", {"proj_size": 2}),
    ("GRU", {}),
]


def flat_state(h):
    return list(h) if isinstance(h, tuple) else [h]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_sequences(kind, settings):
    def scenario(lib):
        lib.manual_seed(1)
        m = getattr(lib.nn, kind[0])(3, 4, **settings, **kind[1])
        x = lib.randn(5, 2, 3).requires_grad_()
        lib.manual_seed(2)
        y, h = m(x)
        return with_gradients(m, x, y, *flat_state(h))

    both(scenario)


@pytest.mark.parametrize("settings", SETTINGS[:4], ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_packed_with_initial_state(kind, settings):
    def scenario(lib):
        lib.manual_seed(1)
        m = getattr(lib.nn, kind[0])(3, 4, **settings, **kind[1])
        x = lib.randn(6, 4, 3).requires_grad_()
        count = settings.get("num_layers", 1) * (2 if settings.get("bidirectional") else 1)
        h = lib.randn(count, 4, kind[1].get("proj_size", 4))
        state = (h, lib.randn(count, 4, 4)) if kind[0] == "LSTM" else h
        pack = lib.nn.utils.rnn.pack_padded_sequence(x, [3, 6, 1, 3], enforce_sorted=False)
        y, h = m(pack, state)
        padded, lengths = lib.nn.utils.rnn.pad_packed_sequence(y)
        return [lengths, y.batch_sizes, y.sorted_indices, *with_gradients(m, x, padded, *flat_state(h))]

    both(scenario)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_unbatched(kind):
    def scenario(lib):
        lib.manual_seed(1)
        m = getattr(lib.nn, kind[0])(3, 4, batch_first=True, **kind[1])
        x = lib.randn(5, 3)
        y, h = m(x)
        again, _ = m(x, h)
        return y, h, again

    both(scenario)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(kind):
    def scenario(lib):
        lib.manual_seed(1)
        m = getattr(lib.nn, kind)(3, 4)
        x = lib.randn(5, 3).requires_grad_()
        h = m(x)
        h = m(x, h)
        single = m(x[0].detach())
        return [*with_gradients(m, x, *flat_state(h)), single]

    both(scenario)


def test_errors():
    def scenario(lib):
        nn = lib.nn
        x = lib.zeros(5, 2, 3)
        lstm, gru = nn.LSTM(3, 4), nn.GRU(3, 4)
        calls = [
            lambda: nn.LSTM(3, 4, dropout=2),
            lambda: nn.LSTM(3, 4, bias=1),
            lambda: nn.LSTM(3.0, 4),
            lambda: nn.LSTM(0, 4),
            lambda: nn.LSTM(3, 0),
            lambda: nn.LSTM(3, 4, 0),
            lambda: nn.LSTM(3, 4, proj_size=5),
            lambda: nn.LSTM(3, 4, proj_size=-1),
            lambda: nn.GRU(3, 4, proj_size=2),
            lambda: nn.RNN(3, 4, nonlinearity="x"),
            lambda: nn.RNNBase("x", 3, 4),
            lambda: lstm(lib.zeros(5, 2, 4)),
            lambda: lstm(lib.zeros(5)),
            lambda: lstm(x.double()),
            lambda: lstm(x, (lib.zeros(1, 2, 4), lib.zeros(1, 2, 5))),
            lambda: lstm(x, (lib.zeros(2, 4), lib.zeros(2, 4))),
            lambda: gru(x, lib.zeros(1, 3, 4)),
            lambda: gru(x, lib.zeros(3, 4)),
            lambda: gru(lib.zeros(5, 3), lib.zeros(1, 1, 4)),
            lambda: nn.GRUCell(3, 4)(x),
            lambda: nn.GRUCell(3, 4)(lib.zeros(2, 4)),
            lambda: nn.GRUCell(3, 4)(lib.zeros(2, 3), lib.zeros(3, 4)),
            lambda: nn.GRUCell(3, 4)(lib.zeros(2, 3), lib.zeros(2, 5)),
            lambda: nn.RNNCell(3, 4, nonlinearity="x")(lib.zeros(2, 3)),
            lambda: nn.utils.rnn.pack_padded_sequence(x, [5]),
            lambda: nn.utils.rnn.pack_padded_sequence(x, [1, 5]),
            lambda: nn.utils.rnn.pack_padded_sequence(x, [1, 0]),
            lambda: nn.utils.rnn.pad_packed_sequence(
                nn.utils.rnn.pack_padded_sequence(x, [5, 4]), total_length=3
            ),
        ]
        return [outcome(call)[0] for call in calls]

    ours, theirs = scenario(flambeau), scenario(torch)
    assert ours == theirs
    assert "no error" not in ours


def test_padding_and_packing():
    def scenario(lib):
        u = lib.nn.utils.rnn
        parts = [lib.arange(n * 2.0).reshape(n, 2) for n in (3, 1, 2)]
        out = []
        for side in ("left", "right"):
            out.append(u.pad_sequence(parts, batch_first=True, padding_value=-1.0, padding_side=side))
        padded = u.pad_sequence(parts)
        packed = u.pack_sequence(parts, enforce_sorted=False)
        out += [padded, packed.data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices]
        back, lengths = u.pad_packed_sequence(packed, batch_first=True, padding_value=9.0, total_length=4)
        out += [back, lengths, *u.unpad_sequence(padded.clone(), lengths), *u.unpack_sequence(packed)]
        return out

    both(scenario)


def test_lengths_beyond_the_sequences():
    with pytest.raises(RuntimeError, match="only 5 steps"):
        rnn_utils.pack_padded_sequence(flambeau.zeros(5, 1, 2), [6])


def test_weights_load_from_pytorch():
    theirs = torch.nn.LSTM(3, 4, 2, bidirectional=True)
    ours = flambeau.nn.LSTM(3, 4, 2, bidirectional=True)
    ours.load_state_dict({k: flambeau.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(
        ours(flambeau.from_numpy(x))[0].detach().numpy(),
        theirs(torch.from_numpy(x))[0].detach().numpy(),
        rtol=RTOL,
        atol=ATOL,
    )
