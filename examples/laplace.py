"""A network that knows how sure it is: Laplace's approximation through the Hessian of its loss.

    python examples/laplace.py [--steps 1500] [--seed 0] [--out demo-output] [--library torch]

From the body-mass index of 442 patients follows how their diabetes went on (Efron et al., 2004). The most probable
weights are found by gradient descent. Near them the posterior is taken as normal, its covariance being the inverse of
the Hessian of the negative logarithm; what it means for the prediction comes from the Jacobian.
"""

from __future__ import annotations

import math

from common import Run, new_figure, nn, optim, torch
from sklearn.datasets import load_diabetes

PRIOR_VARIANCE = 2.0

functional_call, hessian, jacrev, vmap = (
    torch.func.functional_call,
    torch.func.hessian,
    torch.func.jacrev,
    torch.func.vmap,
)


def load() -> tuple[torch.Tensor, torch.Tensor]:
    """Index and progression, (442, 1) each, with mean 0 and standard deviation 1."""
    data = load_diabetes()
    x, y = torch.from_numpy(data.data[:, 2:3].copy()), torch.from_numpy(data.target).unsqueeze(1)
    return (x - x.mean()) / x.std(), (y - y.mean()) / y.std()


def main() -> None:
    torch.set_default_dtype(torch.float64)  # second derivatives deserve it
    run = Run(__doc__, steps=1500)
    x, y = load()
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    log_noise = nn.Parameter(torch.zeros(()))  # logarithm of the variance of the measurements

    shapes = {name: p.shape for name, p in model.named_parameters()}

    def predict(vector: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The network's output for weights given as one vector."""
        pieces = vector.split([shape.numel() for shape in shapes.values()])
        weights = {name: piece.view(shapes[name]) for name, piece in zip(shapes, pieces)}
        return functional_call(model, weights, (x,))

    def energy(vector: torch.Tensor, log_noise: torch.Tensor) -> torch.Tensor:
        """Negative logarithm of likelihood times prior, but for a constant."""
        misfit = ((y - predict(vector, x)) ** 2 / log_noise.exp() + log_noise).sum()
        return 0.5 * (misfit + (vector**2).sum() / PRIOR_VARIANCE)

    vector = nn.utils.parameters_to_vector(model.parameters()).detach().requires_grad_()
    optimizer = optim.Adam([vector, log_noise], lr=2e-2)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, run.count, eta_min=1e-4)
    for _ in run.steps():
        loss = energy(vector, log_noise) / len(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.report(loss.item())

    vector, log_noise = vector.detach(), log_noise.detach()
    values, directions = torch.linalg.eigh(hessian(energy)(vector, log_noise))
    # Where descent has not quite arrived the curvature may be negative: no less certain than the prior, then.
    values = values.clamp(min=1 / PRIOR_VARIANCE)
    evidence = -energy(vector, log_noise) - 0.5 * (values * PRIOR_VARIANCE).log().sum()
    evidence = evidence - 0.5 * len(x) * math.log(2 * math.pi)

    line = torch.linspace(-4, 6, 200).unsqueeze(1)
    center = predict(vector, line)[:, 0]
    slopes = vmap(jacrev(lambda v, x: predict(v, x)[0]), in_dims=(None, 0))(vector, line)
    doubt = ((slopes @ directions) ** 2 / values).sum(1)
    spread = (doubt + log_noise.exp()).sqrt()
    print(f"noise {(log_noise / 2).exp().item():.3f}, log evidence {evidence.item():.1f}")
    inside, outside = doubt[80].sqrt().item(), doubt[-1].sqrt().item()
    print(f"doubt about the curve: {inside:.3f} among the patients, {outside:.3f} beyond them")

    figure, axes = new_figure(figsize=(7, 4))
    axes.plot(x.numpy(), y.numpy(), ".", color="#6b7280", markersize=3)
    axes.plot(line.numpy(), center.numpy(), color="#2f6db3")
    for width, label in ((doubt.sqrt(), "of the curve"), (spread, "with noise")):
        low, high = (center - 2 * width).numpy(), (center + 2 * width).numpy()
        axes.fill_between(line[:, 0].numpy(), low, high, color="#2f6db3", alpha=0.2, label=f"95 % {label}")
    axes.set(xlabel="body-mass index", ylabel="progression", title="both in standard deviations")
    axes.legend(frameon=False, loc="upper left")
    run.finish(run.save(figure))


if __name__ == "__main__":
    main()
