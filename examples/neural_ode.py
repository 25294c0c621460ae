"""A neural ordinary differential equation (Chen et al., 2018) of hares and lynxes.

    python examples/neural_ode.py [--steps 600] [--seed 0] [--out demo-output] [--library torch]

The data are the pelts, in thousands, that the Hudson's Bay Company collected each year from 1900 to 1920 (Howard, 2009).
A network says how fast both numbers change; the gradient comes from solving the adjoint equation backwards in time.
"""

from __future__ import annotations

from typing import Any

from common import F, Run, new_figure, nn, optim, torch

HARES = (30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1)
HARES += (40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7)
LYNXES = (4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4)
LYNXES += (8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6)
YEARS, SPAN = len(HARES), 8  # each training example covers 8 years
PARTS = 3  # of a year: steps of the solver

State = tuple[Any, ...]


def runge_kutta(rate: Any, state: State, years: float) -> State:
    """The state some years later (or earlier), by the classical method of fourth order."""
    h = years / PARTS

    def at(slopes: State, share: float) -> State:
        return tuple(y + h * share * slope for y, slope in zip(state, slopes))

    for _ in range(PARTS):
        k1 = rate(*state)
        k2 = rate(*at(k1, 0.5))
        k3 = rate(*at(k2, 0.5))
        k4 = rate(*at(k3, 1.0))
        slopes = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4))
        state = at(slopes, 1.0)
    return state


class Solve(torch.autograd.Function):
    """The states (years, N, 2) that `network` leads to from `start` (N, 2); nothing in between is kept."""

    @staticmethod
    def forward(
        ctx: Any, network: nn.Module, years: int, start: torch.Tensor, *parameters: torch.Tensor
    ) -> torch.Tensor:
        states = [start]
        for _ in range(years - 1):
            states += runge_kutta(lambda y: (network(y),), (states[-1],), 1.0)
        ctx.network = network
        ctx.save_for_backward(torch.stack(states), *parameters)
        return torch.stack(states)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        states, *parameters = ctx.saved_tensors

        def rate(y: torch.Tensor, adjoint: torch.Tensor, *_: torch.Tensor) -> State:
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                dy = ctx.network(y)
                return dy.detach(), *torch.autograd.grad(dy, (y, *parameters), -adjoint)

        adjoint, sums = gradient[-1], tuple(torch.zeros_like(p) for p in parameters)
        for year in range(len(states) - 1, 0, -1):
            _, adjoint, *sums = runge_kutta(rate, (states[year], adjoint, *sums), -1.0)
            adjoint = adjoint + gradient[year - 1]
        return None, None, adjoint, *sums


def main() -> None:
    run = Run(__doc__, steps=600)
    pelts = torch.tensor([HARES, LYNXES]).T.log()
    mean, spread = pelts.mean(0), pelts.std(0)
    data = (pelts - mean) / spread
    network = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
    parameters = tuple(network.parameters())
    optimizer = optim.Adam(parameters, lr=1e-2)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.02 ** (1 / run.count))
    spans = data.unfold(0, SPAN, 1).permute(2, 0, 1)  # (8 years, 14 starts, 2)
    for _ in run.steps():
        loss = F.mse_loss(Solve.apply(network, SPAN, spans[0], *parameters), spans)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.report(loss.item())

    with torch.no_grad():
        path = [data[:1]]
        for _ in range(10 * (YEARS - 1)):
            path += runge_kutta(lambda y: (network(y),), (path[-1],), 0.1)
        curve = (torch.cat(path) * spread + mean).exp()
    print(f"mean error over {SPAN} years: {run.losses[-1] ** 0.5:.3f} standard deviations")

    figure, axes = new_figure(figsize=(8, 4))
    for column, (name, color) in enumerate((("hares", "#2f6db3"), ("lynxes", "#d9722b"))):
        axes.plot(range(1900, 1900 + YEARS), pelts.exp()[:, column].numpy(), "o", color=color)
        axes.plot(
            1900 + 0.1 * torch.arange(len(curve)).numpy(), curve[:, column].numpy(), color=color, label=name
        )
    axes.set(
        xticks=range(1900, 1921, 5),
        ylabel="pelts, thousands",
        title="measured, and solved from the first year on",
    )
    axes.legend(frameon=False)
    run.finish(run.save(figure))


if __name__ == "__main__":
    main()
