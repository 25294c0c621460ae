"""Whole training runs: the same seed, data and model give PyTorch's losses."""

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


def losses(lib, build, make_batch, steps, optimizer, **options):
    lib.manual_seed(0)
    model = build(lib.nn)
    opt = getattr(lib.optim, optimizer)(model.parameters(), **options)
    rng = np.random.default_rng(0)
    criterion = lib.nn.CrossEntropyLoss()
    out = []
    for _ in range(steps):
        x, y = (lib.from_numpy(a) for a in make_batch(rng))
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        out.append(loss.item())
    model.eval()
    with lib.no_grad():
        out.append(criterion(model(x), y).item())
    return out


def images(rng):
    y = rng.integers(0, 4, 16)
    x = rng.normal(size=(16, 1, 8, 8)).astype(np.float32)
    x[np.arange(16), 0, y, y] += 4
    return x, y


def convolutional(nn):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.2),
        nn.Conv2d(8, 8, 3),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.LayerNorm(16),
        nn.Dropout(0.3),
        nn.Linear(16, 4),
    )


def sequences(rng):
    return rng.integers(0, 10, (8, 6)), rng.integers(0, 4, 8)


def recurrent(nn):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 6, padding_idx=0)
            self.lstm = nn.LSTM(6, 8, 2, batch_first=True, dropout=0.2)
            self.gru = nn.GRU(8, 5, bidirectional=True, batch_first=True)
            self.head = nn.Linear(10, 4)

        def forward(self, x):
            y, _ = self.lstm(self.embedding(x))
            y, _ = self.gru(y)
            return self.head(y[:, -1])

    return Tagger()


def attentive(nn):
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 8)
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.encoder(self.embedding(x)).mean(1))

    return Classifier()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "make_batch", "optimizer", "options"),
    [
        (convolutional, images, "SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}),
        (convolutional, images, "Adam", {"lr": 3e-3}),
        (recurrent, sequences, "AdamW", {"lr": 1e-2}),
        (attentive, sequences, "Adam", {"lr": 1e-3}),
    ],
    ids=["conv-sgd", "conv-adam", "recurrent", "transformer"],
)
def test_fifty_steps(build, make_batch, optimizer, options):
    ours = losses(flambeau, build, make_batch, 50, optimizer, **options)
    theirs = losses(torch, build, make_batch, 50, optimizer, **options)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ours[:10], theirs[:10], rtol=1e-5)
