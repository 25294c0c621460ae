"""Train a small convolutional network on 1,797 scanned digits and draw what happened.

    python examples/digits.py [--steps 690] [--seed 0] [--out demo-output] [--library torch]

The images come with scikit-learn. The pictures show the curves of loss and accuracy, a confusion matrix, the digits
taken for others, and the graph that the backward pass of one training step walks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import graph_picture
import pictures
from common import F, Run, nn, optim, progress_bar, torch
from sklearn.datasets import load_digits

DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset

BATCH = 64
HELD_OUT = 360  # a fifth of the images, never trained on


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


def main() -> None:
    run = Run(__doc__, steps=690)
    training, held_out = load(run.seed)
    loader = DataLoader(training, batch_size=BATCH, shuffle=True)
    epochs = math.ceil(run.count / len(loader))
    model = DigitNet()
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs * len(loader))
    print(
        f"{len(training)} training images, {len(held_out)} held out, "
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {epochs} epochs"
    )

    labels = held_out.tensors[1]
    history = pictures.History()
    seconds = 0.0
    with progress_bar(epochs * len(loader)) as advance:
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            total = 0.0
            for size, loss in train_epoch(model, loader, optimizer, scheduler):
                total += size * loss
                last = f", held out {history.accuracy[-1]:.1%}" if history.accuracy else ""
                advance(run.report(loss, f"epoch {epoch}{last}"))
            seconds += time.perf_counter() - started
            held_out_loss, probabilities = evaluate(model, held_out)
            accuracy = (probabilities.argmax(dim=1) == labels).float().mean().item()
            history.append(total / len(training), held_out_loss, accuracy)

    images, _ = held_out.tensors
    started = time.perf_counter()
    evaluate(model, held_out)
    inference = len(held_out) / (time.perf_counter() - started)

    loss = F.cross_entropy(model.train()(images[:4]), labels[:4])
    folder = run.folder
    pictures.draw_curves(history, folder / "curves.png")
    pictures.draw_confusion(labels.numpy(), probabilities.numpy(), folder / "confusion.png")
    pictures.draw_mistakes(
        images[:, 0].numpy(), labels.numpy(), probabilities.numpy(), folder / "misclassified.png"
    )
    graph_picture.draw(loss, dict(model.named_parameters()), folder / "graph.png")

    wrong = round((1 - accuracy) * len(held_out))
    print(f"held-out accuracy {accuracy:.2%} ({wrong} of {len(held_out)} wrong)")
    print(
        f"training   {len(training) * epochs / seconds:,.0f} images/s ({seconds:.1f} s)\n"
        f"prediction {inference:,.0f} images/s"
    )
    run.finish(*(folder / f"{name}.png" for name in ("curves", "confusion", "misclassified", "graph")))


if __name__ == "__main__":
    main()
