"""REINFORCE (Williams, 1992) learns to balance a pole on a cart.

    python examples/reinforce.py [--steps 80] [--seed 0] [--out demo-output] [--library torch]

The cart is the one of Barto, Sutton and Anderson (1983); 32 of them run side by side, each until its pole has fallen
or 200 moves are made.
"""

from __future__ import annotations

import math

from common import Run, new_figure, nn, optim, torch

CARTS, LONGEST = 32, 200


class CartPole:
    """Position, speed, angle and angular speed of many carts: a tensor (carts, 4)."""

    gravity, cart, pole, half_length, force, seconds = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02

    def __init__(self) -> None:
        self.state = torch.rand(CARTS, 4) * 0.1 - 0.05
        self.up = torch.ones(CARTS, dtype=torch.bool)

    def push(self, right: torch.Tensor) -> None:
        """Pushes each cart to one side for a fiftieth of a second."""
        position, speed, angle, spin = self.state.unbind(1)
        force = torch.where(right, self.force, -self.force)
        mass = self.cart + self.pole
        pull = (force + self.pole * self.half_length * spin**2 * angle.sin()) / mass
        inertia = self.half_length * (4 / 3 - self.pole * angle.cos() ** 2 / mass)
        spin_change = (self.gravity * angle.sin() - angle.cos() * pull) / inertia
        change = pull - self.pole * self.half_length * spin_change * angle.cos() / mass
        self.state = self.state + self.seconds * torch.stack([speed, change, spin, spin_change], dim=1)
        self.up &= (self.state[:, 0].abs() < 2.4) & (self.state[:, 2].abs() < math.radians(12))


def play(policy: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the moves made, and which carts still had their pole up: (moves, carts) both."""
    world = CartPole()
    log_probabilities, alive = [], []
    for _ in range(LONGEST):
        alive.append(world.up.clone())
        log_p = policy(world.state).log_softmax(1)
        move = torch.multinomial(log_p.detach().exp(), 1)
        log_probabilities.append(log_p.gather(1, move)[:, 0])
        world.push(move[:, 0] == 1)
        if not world.up.any():
            break
    return torch.stack(log_probabilities), torch.stack(alive).to(log_p.dtype)


def returns(rewards: torch.Tensor, discount: float = 0.97) -> torch.Tensor:
    """What each move was followed by, later rewards counting less."""
    total = torch.zeros_like(rewards[0])
    sums = []
    for reward in rewards.flip(0):
        total = reward + discount * total
        sums.append(total)
    return torch.stack(sums).flip(0)


def main() -> None:
    torch.set_default_dtype(torch.float64)  # a rounding error can decide which way a cart goes
    run = Run(__doc__, steps=80)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = optim.Adam(policy.parameters(), lr=2e-2)
    lengths = []
    for _ in run.steps():
        log_p, alive = play(policy)
        worth = returns(alive)
        # Against what was usual at that time, in units of the spread among the carts.
        usual = (worth * alive).sum() / alive.sum()
        spread = (((worth - usual) ** 2 * alive).sum() / alive.sum()).sqrt()
        advantage = (worth - usual) / (spread + 1e-6)
        loss = -(log_p * advantage * alive).sum() / alive.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lengths.append(alive.sum(0).mean().item())
        run.report(loss.item(), f"{lengths[-1]:.0f} moves")

    last = lengths[-10:]
    print(
        f"the pole stays up for {sum(last) / len(last):.0f} of {LONGEST} moves (first run: {lengths[0]:.0f})"
    )
    figure, axes = new_figure(figsize=(7, 3.5))
    axes.plot(lengths, color="#2f6db3")
    axes.set(xlabel="update", ylabel="moves with the pole up", ylim=(0, LONGEST + 5))
    run.finish(run.save(figure))


if __name__ == "__main__":
    main()
