"""An LSTM that forecasts a recording of brain waves (EEG), four electrodes, ten seconds.

    python examples/lstm.py [--steps 200] [--seed 0] [--out demo-output] [--library torch]

The recording comes with matplotlib. The network sees the past of all electrodes and says how each goes on; trained on
the first eight seconds, it is measured on the last two, and compared with the forecast that nothing changes.
"""

from __future__ import annotations

import numpy as np
from common import F, Run, new_figure, nn, optim, torch
from matplotlib.cbook import get_sample_data

TRAINING = 640  # of 800 samples
WINDOW, BATCH = 40, 32


class Forecaster(nn.Module):
    """(N, T, 4) samples -> (N, T, 4) the sample that follows each."""

    def __init__(self, electrodes: int = 4, hidden: int = 16) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2 * electrodes, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.change = nn.Linear(hidden + 2 * electrodes, electrodes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        past = torch.cat([x, F.pad(x.diff(dim=1), (0, 0, 1, 0))], dim=-1)  # each sample, and its change
        memory, _ = self.lstm(past)
        return x + self.change(torch.cat([self.dropout(memory), past], dim=-1))


def load() -> torch.Tensor:
    """(800, 4): each electrode with mean 0 and standard deviation 1."""
    with get_sample_data("eeg.dat") as file:
        recording = torch.from_numpy(np.frombuffer(file.read(), dtype=float).reshape(800, 4).copy())
    return ((recording - recording.mean(0)) / recording.std(0)).float()


def main() -> None:
    run = Run(__doc__, steps=200)
    signal = load()
    model = Forecaster()
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=run.count)
    window = torch.arange(WINDOW + 1)
    for _ in run.steps():
        batch = signal[torch.randint(TRAINING - WINDOW, (BATCH, 1)) + window]
        loss = F.mse_loss(model(batch[:, :-1]), batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        run.report(loss.item())

    model.eval()
    with torch.no_grad():
        forecast = model(signal[None, :-1])[0, TRAINING:]
    truth, before = signal[TRAINING + 1 :], signal[TRAINING:-1]
    error, naive = F.mse_loss(forecast, truth).item(), F.mse_loss(before, truth).item()
    print(f"held-out mean squared error {error:.4f}; {naive:.4f} for the forecast that nothing changes")

    figure, rows = new_figure(4, 1, figsize=(9, 6), sharex=True)
    seconds = np.arange(TRAINING + 1, 800) / 80
    for electrode, axes in enumerate(rows):
        axes.plot(seconds, truth[:, electrode].numpy(), color="#6b7280", label="measured")
        axes.plot(seconds, forecast[:, electrode].numpy(), "--", color="#d9722b", label="one sample ahead")
        axes.set_ylabel(f"electrode {electrode}")
    rows[0].legend(frameon=False, ncols=2, loc="upper right")
    rows[-1].set_xlabel("seconds")
    run.finish(run.save(figure))


if __name__ == "__main__":
    main()
