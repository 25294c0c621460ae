"""Programs to trace, for flambeau and for PyTorch: each gets the library and gives what to trace and its arguments."""

import math
from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[Any], tuple[Any, tuple[Any, ...]]]] = {}


def program(make: Callable[[Any], tuple[Any, tuple[Any, ...]]]) -> Callable[[Any], Any]:
    PROGRAMS[make.__name__] = make
    return make


def filled(torch: Any, model: Any) -> Any:
    """A module with parameters and buffers that are the same in both libraries."""
    with torch.no_grad():
        for i, t in enumerate([*model.parameters(), *model.buffers()]):
            if t.is_floating_point():
                t.copy_(0.1 + 0.5 * torch.sin(torch.arange(t.numel()) * 1.0 + i).abs().reshape(t.shape))
    return model


def wave(torch: Any, *shape: int) -> Any:
    return torch.sin(torch.arange(math.prod(shape)) * 0.7).reshape(shape)


@program
def operators(torch: Any) -> Any:
    def f(x, y):
        a = x + y - 1
        b = 2 * a / (y * y + 3) ** 2
        c = -b @ x.t()
        d = (c > 0) & (c < 10) | (c == 3) ^ (c != 2)
        e = abs(c) // 0.5 % 3
        return c, ~d, +e, 1 - x, 2**y, 1.5 / (y * y + 1), x[0], x[:, 1:2], x[..., None], (x >= 0), (x <= 0)

    return f, (wave(torch, 3, 4), wave(torch, 3, 4))


@program
def functions(torch: Any) -> Any:
    def f(x, y):
        z = torch.relu(torch.cat([x, y], dim=1)) + torch.sigmoid(torch.sum(x, dim=1, keepdim=True))
        m = torch.max(z, dim=0)
        w = torch.einsum("ij,kj->ik", z, z)
        s = torch.split(w, 2, dim=0)
        u = torch.stack((s[0], s[0]), dim=-1).mean((0, 1)), torch.where(x > 0, x, y), torch.flatten(y, 0)
        return {"a": [m.values, m[1]], "b": u}, torch.nn.functional.softmax(w, dim=-1), torch.linalg.norm(w)

    return f, (wave(torch, 4, 4), wave(torch, 4, 4))


@program
def functional(torch: Any) -> Any:
    F = torch.nn.functional

    def f(x, w):
        y = F.conv2d(x, w, padding=1)
        y = F.relu(y, inplace=False)
        y = F.max_pool2d(y, 2)
        y = F.gelu(F.avg_pool2d(F.pad(y, (1, 1)), 2))
        y = F.interpolate(y, scale_factor=2)
        y = F.dropout(F.leaky_relu(y, 0.2), 0.5, training=False)
        return F.layer_norm(y, (y.size(-1),)), F.linear(y, y[0, 0]), F.adaptive_avg_pool2d(y, (1, 1))

    return f, (wave(torch, 1, 2, 8, 8), wave(torch, 3, 2, 3, 3))


@program
def methods(torch: Any) -> Any:
    def f(x, k=2):
        b, c = x.shape[0], x.size(1)
        y = x.view(b, -1).transpose(0, 1).contiguous().clamp(min=-0.5).mul_(k)
        one, two = y.chunk(2)
        one = one + 1
        z = x.new_zeros(c) + x.to(torch.float64).sum(dim=1)[0, 0].sqrt().item()
        return y.unsqueeze(0).expand(3, -1, -1), one, two.type_as(x), z, x.T, x.dtype

    return f, (wave(torch, 2, 4, 2).abs(),)


@program
def sizes(torch: Any) -> Any:
    def f(x):
        n = x.size(0)
        return torch.arange(n), math.sqrt(n) + x, x.reshape(n // 2, 2, -1), x.permute(*range(2)), x.device

    return f, (wave(torch, 4, 2),)


@program
def containers(torch: Any) -> Any:
    def f(x, *rest, scale=3.0, **more):
        return (
            {"x": x * scale, "rest": [rest[0], (more["k"],)], 3: None},
            slice(1, x),
            float("inf"),
            [torch.float32],
        )

    return f, ()


@program
def annotated(torch: Any) -> Any:
    def f(x: torch.Tensor, y: list[torch.Tensor], n: int = 3) -> torch.Tensor:
        return x + y[0] * n

    return f, (wave(torch, 3), [wave(torch, 3)])


@program
def module(torch: Any) -> Any:
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
            self.bn = nn.BatchNorm2d(3)
            self.scale = nn.Parameter(torch.ones(3, 1, 1))
            self.register_buffer("shift", torch.zeros(3, 1, 1))
            self.plain = torch.ones(1)

        def forward(self, x):
            y = self.bn(self.conv(x)) * self.scale + self.shift
            return torch.relu(y + x) - self.plain * torch.ones(1) + self.shift.abs()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([Block(), Block()])
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            y = self.head(x)
            return self.head[2](y @ self.head[2].weight) + self.layers[0].scale.sum()

    return filled(torch, Net()).eval(), (wave(torch, 2, 3, 6, 6),)


@program
def constants_on_the_left(torch: Any) -> Any:
    class M(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("b", torch.ones(2, 2) * 3)

        def forward(self, x):
            b = self.b
            return (
                *(b + x, b - x, b * x, b / x, b**x, b @ x, b == x, b < x, b >= x, b % x, b // x, b.add(x)),
                *(
                    torch.add(b, x),
                    b.reshape(x.shape[0], -1),
                    b.index_select(0, x.argmax(0)),
                    torch.eye(2) + x,
                ),
            )

    return M(), (wave(torch, 2, 2).abs() + 1,)


@program
def transformer_layer(torch: Any) -> Any:
    nn = torch.nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x):
            b, n, c = x.shape
            q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
            w = ((q @ k.transpose(-2, -1)) * (c // 2) ** -0.5).softmax(dim=-1)
            y = nn.functional.scaled_dot_product_attention(q, k, v) + w @ v
            return x + self.out(y.transpose(1, 2).reshape(b, n, c))

    return filled(torch, Attention()), (wave(torch, 2, 3, 8),)
