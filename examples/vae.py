"""A variational autoencoder of scanned digits (Kingma and Welling, 2014): images from two numbers each.

    python examples/vae.py [--steps 4000] [--seed 0] [--out demo-output] [--library torch]

The picture shows digits and what is left of them after the two numbers, and the plane those numbers span.
"""

from __future__ import annotations

import numpy as np
from common import F, Run, new_figure, nn, optim, torch
from sklearn.datasets import load_digits


class VAE(nn.Module):
    """64 pixels -> mean and log-variance of 2 latent numbers -> logits of 64 pixels."""

    def __init__(self, hidden: int = 128, latent: int = 2) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Linear(64, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()),
            nn.Linear(hidden, 2 * latent),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()),
            nn.Linear(hidden, 64),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return self.decoder(z), mean, log_variance


def negative_elbo(
    logits: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor
) -> torch.Tensor:
    """Reconstruction error plus the divergence of the latent numbers from a standard normal, per image."""
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
    return (reconstruction + divergence).mean()


def mosaic(images: torch.Tensor, columns: int) -> torch.Tensor:
    """Images (N, 64) in rows, with a margin around each."""
    tiles = F.pad(images.reshape(-1, columns, 8, 8), (1, 1, 1, 1))
    return tiles.transpose(1, 2).reshape(-1, 10 * columns)


def main() -> None:
    run = Run(__doc__, steps=4000)
    images = torch.from_numpy(load_digits().data).float() / 16
    model = VAE()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, run.count)
    for _ in run.steps():
        x = images[torch.randint(len(images), (128,))]
        logits, mean, log_variance = model(x)
        loss = negative_elbo(logits, x, mean, log_variance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.report(loss.item())

    # Equal shares of a normal distribution between the points of the grid.
    points = torch.special.ndtri(torch.linspace(0.02, 0.98, 12))
    with torch.no_grad():
        grid = torch.cartesian_prod(-points, points).flip(1)
        plane = model.decoder(grid).sigmoid()
        before = images[:12]
        after = model.decoder(model.encoder(before)[:, :2]).sigmoid()

    figure, (top, bottom) = new_figure(2, 1, figsize=(6, 7.5), height_ratios=(1, 6))
    top.imshow(mosaic(torch.cat([before, after]), 12).numpy(), cmap="gray_r")
    top.set_title("digits, and their reconstructions")
    bottom.imshow(mosaic(plane, 12).numpy(), cmap="gray_r")
    bottom.set_title("decoded plane")
    for axes in (top, bottom):
        axes.set_axis_off()
    print(f"mean loss of the last 100 steps: {np.mean(run.losses[-100:]):.2f} nats per image")
    run.finish(run.save(figure))


if __name__ == "__main__":
    main()
