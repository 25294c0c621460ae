"""Fine-tuning: a network trained on the digits 0 to 4 learns 5 to 9 from ten images each.

    python examples/finetune.py [--steps 300] [--seed 0] [--out demo-output] [--library torch]

The first part writes the checkpoint ``finetune.pt`` unless it is there; the second reads it, gives the network a new
last layer, and trains that fast and the rest slowly. The file is PyTorch's: either library reads the other's.
"""

from __future__ import annotations

from pathlib import Path

from common import F, Run, new_figure, nn, optim, torch
from sklearn.datasets import load_digits

SHOTS = 10  # images of each new digit to learn from


def network() -> nn.Sequential:
    body = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()),
    )
    return nn.Sequential(body, nn.Linear(512, 5))


def load() -> tuple[torch.Tensor, torch.Tensor]:
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    return images, torch.tensor(digits.target)


def train(
    model: nn.Module, optimizer: optim.Optimizer, images: torch.Tensor, labels: torch.Tensor, run: Run
) -> None:
    model.train()
    for _ in run.steps():
        batch = torch.randint(len(images), (32,))
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.report(loss.item())


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    return (model(images).argmax(1) == labels).float().mean().item()


def pretrain(images: torch.Tensor, labels: torch.Tensor, path: Path, run: Run) -> None:
    print("training on 0 to 4")
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    train(model, optimizer, images, labels, run)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)


def main() -> None:
    run = Run(__doc__, steps=300)
    images, labels = load()
    old = labels < 5
    path = run.file(".pt")
    if not path.exists():
        pretrain(images[old], labels[old], path, run)

    new_images, new_labels = images[~old], labels[~old] - 5
    few = torch.cat([(new_labels == digit).nonzero()[:SHOTS, 0] for digit in range(5)])
    rest = torch.ones(len(new_labels), dtype=torch.bool).index_fill(0, few, False)

    results = {}
    for start in ("from the checkpoint", "from scratch"):
        print(f"learning 5 to 9 {start}")
        torch.manual_seed(run.seed)
        model = network()
        rate = 1e-3
        if start == "from the checkpoint":
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            model.load_state_dict(checkpoint["model"])
            model[1] = nn.Linear(512, 5)
            rate = 2e-4
        optimizer = optim.AdamW(
            [{"params": model[0].parameters(), "lr": rate}, {"params": model[1].parameters()}], lr=1e-3
        )
        train(model, optimizer, new_images[few], new_labels[few], run)
        results[start] = accuracy(model, new_images[rest], new_labels[rest])
        print(f"{results[start]:.2%} of {int(rest.sum())} other images right")

    figure, axes = new_figure(figsize=(6, 4))
    for start, losses in zip(results, (run.losses[-2 * run.count : -run.count], run.losses[-run.count :])):
        axes.semilogy(losses, label=f"{start}: {results[start]:.1%}")
    axes.set(xlabel="step", ylabel="loss", title=f"{SHOTS} images of each of the digits 5 to 9")
    axes.legend(frameon=False)
    run.finish(path, run.save(figure))


if __name__ == "__main__":
    main()
