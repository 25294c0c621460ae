"""Model-agnostic meta-learning (Finn, Abbeel and Levine, 2017): a network that learns a sine wave from ten points.

    python examples/maml.py [--steps 1500] [--seed 0] [--out demo-output] [--library torch]

What is trained is the start: the loss is that after one step of gradient descent on a new task, and its gradient goes
through that step. ``vmap`` runs the tasks side by side.
"""

from __future__ import annotations

import math

from common import F, Run, new_figure, nn, optim, torch

TASKS, POINTS, RATE = 25, 10, 0.02

functional_call, grad, vmap = torch.func.functional_call, torch.func.grad, torch.func.vmap
Weights = dict[str, torch.Tensor]


def sines(tasks: int) -> tuple[torch.Tensor, ...]:
    """Points to learn from and points to be judged by, (tasks, 10, 1) each, on waves of random height and shift."""
    height = torch.empty(tasks, 1, 1).uniform_(0.1, 5.0)
    shift = torch.empty(tasks, 1, 1).uniform_(0.0, math.pi)
    x = torch.empty(tasks, 2 * POINTS, 1).uniform_(-5.0, 5.0)
    y = height * torch.sin(x - shift)
    return x[:, :POINTS], y[:, :POINTS], x[:, POINTS:], y[:, POINTS:]


def main() -> None:
    run = Run(__doc__, steps=1500)
    model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))

    def loss_of(weights: Weights, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(functional_call(model, weights, (x,)), y)

    def adapted(weights: Weights, x: torch.Tensor, y: torch.Tensor, steps: int = 1) -> Weights:
        for _ in range(steps):
            slopes = grad(loss_of)(weights, x, y)
            weights = {name: w - RATE * slopes[name] for name, w in weights.items()}
        return weights

    def loss_after_learning(
        weights: Weights, x: torch.Tensor, y: torch.Tensor, new_x: torch.Tensor, new_y: torch.Tensor
    ) -> torch.Tensor:
        return loss_of(adapted(weights, x, y), new_x, new_y)

    weights = dict(model.named_parameters())
    optimizer = optim.Adam(weights.values(), lr=2e-3)
    over_tasks = vmap(loss_after_learning, in_dims=(None, 0, 0, 0, 0))
    for _ in run.steps():
        loss = over_tasks(weights, *sines(TASKS)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.report(loss.item())

    weights = {name: w.detach() for name, w in weights.items()}
    x, y, new_x, new_y = sines(500)
    for steps in (0, 1, 5):
        learnt = vmap(lambda x, y, n=steps: adapted(weights, x, y, n))(x, y) if steps else weights
        losses = vmap(loss_of, in_dims=(0 if steps else None, 0, 0))(learnt, new_x, new_y)
        print(f"error on 500 new waves after {steps} steps: {losses.mean().item():.3f}")

    figure, axes = new_figure(figsize=(7, 4))
    line = torch.linspace(-5, 5, 200).unsqueeze(1)
    axes.plot(x[0].numpy(), y[0].numpy(), "o", color="#6b7280", label="ten points")
    for steps, style in ((0, ":"), (1, "--"), (5, "-")):
        curve = functional_call(model, adapted(weights, x[0], y[0], steps), (line,)).detach()
        axes.plot(line.numpy(), curve.numpy(), style, color="#2f6db3", label=f"after {steps} steps")
    axes.legend(frameon=False)
    run.finish(run.save(figure))


if __name__ == "__main__":
    main()
