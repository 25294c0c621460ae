"""Train a small convolutional network on 1,797 scanned digits and draw what happened.

    python examples/digits.py [--epochs 30] [--batch-size 64] [--seed 0] [--output demo-output]

Plain PyTorch code: ``import torch`` instead of the first import line below runs the same program there.
It needs scikit-learn (which ships the images) and matplotlib; rich, when installed, draws the progress bar.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import graph_picture
import pictures
from sklearn.datasets import load_digits

import flambeau as torch
from flambeau import nn, optim
from flambeau.nn import functional as F
from flambeau.utils.data import DataLoader, TensorDataset

HELD_OUT = 360  # a fifth of the images, never trained on

Report = Callable[[str], None]


class DigitNet(nn.Module):
    """Two convolutions and two linear layers: 8 x 8 pixels in, ten scores out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.hidden = nn.Linear(32 * 4 * 4, 64)
        self.dropout = nn.Dropout(0.3)
        self.scores = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.max_pool2d(x, 2).flatten(1)
        x = self.dropout(F.relu(self.hidden(x)))
        return self.scores(x)


def load(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """The images (N, 1, 8, 8) with values in [-1, 1] and their labels, split at random."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    labels = torch.tensor(digits.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    return TensorDataset(images[training], labels[training]), TensorDataset(
        images[held_out], labels[held_out]
    )


def shifted(images: torch.Tensor) -> torch.Tensor:
    """The batch moved by up to one pixel in each direction: a digit is the same digit a pixel further."""
    down, right = torch.randint(0, 3, (2,)).tolist()
    return F.pad(images, (1, 1, 1, 1), value=-1.0)[:, :, down : down + 8, right : right + 8]


def train_epoch(
    model: DigitNet,
    loader: DataLoader,
    optimizer: optim.Optimizer,
    scheduler: optim.lr_scheduler.LRScheduler,
) -> Iterator[tuple[int, float]]:
    """One pass over the training images; yields the size and the loss of each batch."""
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(shifted(images)), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        yield len(labels), loss.item()


@torch.no_grad()
def evaluate(model: DigitNet, data: TensorDataset) -> tuple[float, torch.Tensor]:
    """The mean loss and the class probabilities (N, 10)."""
    model.eval()
    images, labels = data.tensors
    scores = model(images)
    return F.cross_entropy(scores, labels).item(), scores.softmax(dim=1)


@contextmanager
def progress_bar(steps: int) -> Iterator[Report]:
    """Gives a function to be called after each of `steps` steps with a line about how it goes."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        with plain_progress_bar(steps) as report:
            yield report
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns) as bar:
        task = bar.add_task("", total=steps)
        yield lambda text: bar.update(task, advance=1, description=text)


@contextmanager
def plain_progress_bar(steps: int, width: int = 30) -> Iterator[Report]:
    """A bar that redraws itself in a terminal, and a line for each tenth of the way elsewhere."""
    done = 0
    live = sys.stdout.isatty()

    def report(text: str) -> None:
        nonlocal done
        done += 1
        filled = width * done // steps
        line = f"[{'#' * filled}{'.' * (width - filled)}] {done}/{steps}  {text}"
        if live:
            print(f"\r{line}\x1b[K", end="", flush=True)
        elif done * 10 // steps > (done - 1) * 10 // steps:
            print(line, flush=True)

    yield report
    if live:
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    training, held_out = load(options.seed)
    loader = DataLoader(training, batch_size=options.batch_size, shuffle=True)
    model = DigitNet()
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = options.epochs * len(loader)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    print(
        f"{len(training)} training images, {len(held_out)} held out, "
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {options.epochs} epochs"
    )

    labels = held_out.tensors[1]
    history = pictures.History()
    seconds = 0.0
    with progress_bar(steps) as report:
        for epoch in range(1, options.epochs + 1):
            started = time.perf_counter()
            total = 0.0
            for size, loss in train_epoch(model, loader, optimizer, scheduler):
                total += size * loss
                last = f", held out {history.accuracy[-1]:.1%}" if history.accuracy else ""
                report(f"epoch {epoch}: loss {loss:.3f}{last}")
            seconds += time.perf_counter() - started
            held_out_loss, probabilities = evaluate(model, held_out)
            accuracy = (probabilities.argmax(dim=1) == labels).float().mean().item()
            history.append(total / len(training), held_out_loss, accuracy)

    images, _ = held_out.tensors
    started = time.perf_counter()
    evaluate(model, held_out)
    inference = len(held_out) / (time.perf_counter() - started)

    loss = F.cross_entropy(model.train()(images[:4]), labels[:4])
    options.output.mkdir(parents=True, exist_ok=True)
    written = [
        pictures.draw_curves(history, options.output / "curves.png"),
        pictures.draw_confusion(labels.numpy(), probabilities.numpy(), options.output / "confusion.png"),
        pictures.draw_mistakes(
            images[:, 0].numpy(), labels.numpy(), probabilities.numpy(), options.output / "misclassified.png"
        ),
        graph_picture.draw(loss, dict(model.named_parameters()), options.output / "graph.png"),
    ]

    wrong = round((1 - accuracy) * len(held_out))
    print(f"held-out accuracy {accuracy:.2%} ({wrong} of {len(held_out)} wrong)")
    print(
        f"training   {len(training) * options.epochs / seconds:,.0f} images/s ({seconds:.1f} s)\n"
        f"prediction {inference:,.0f} images/s"
    )
    print("pictures:  " + "  ".join(str(path) for path in written))


if __name__ == "__main__":
    main()
