"""A character-level GPT that learns the style of Python's own documentation and then writes some.

    python examples/gpt.py [--steps 1200] [--seed 0] [--out demo-output] [--library torch]

The text is what ``help("topics")`` shows; it comes with Python.
"""

from __future__ import annotations

import math
from pydoc_data.topics import topics

from common import F, Run, nn, optim, torch

CONTEXT, WIDTH, HEADS, LAYERS, BATCH = 64, 64, 4, 2, 24


class Block(nn.Module):
    """Attention to what came before, then a small network for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.merge = nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.merge(heads.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Scores (N, T, characters) of the character that follows each of (N, T) characters."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.token = nn.Embedding(characters, WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.scores = nn.Linear(WIDTH, characters, bias=False)
        self.scores.weight = self.token.weight  # tied: one matrix reads and writes characters
        nn.init.normal_(self.token.weight, std=0.1)
        nn.init.normal_(self.place.weight, std=0.1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        return self.scores(self.norm(self.blocks(x)))

    @torch.no_grad()
    def write(self, tokens: torch.Tensor, length: int, temperature: float = 0.7) -> torch.Tensor:
        """`tokens` (T,) and `length` more, each drawn from the model's probabilities."""
        for _ in range(length):
            scores = self(tokens[None, -CONTEXT:])[0, -1] / temperature
            tokens = torch.cat([tokens, torch.multinomial(scores.softmax(0), 1)])
        return tokens


def parameter_groups(model: GPT) -> list[dict[str, object]]:
    """Weight decay for matrices, none for biases and the scales of the norms."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]


def main() -> None:
    run = Run(__doc__, steps=1200)
    lines = "\n".join(topics[name] for name in sorted(topics)).splitlines()
    text = "\n".join(line for line in lines if not line.strip().startswith(("|", "+-")))  # no tables
    characters = sorted(set(text))
    number = {c: i for i, c in enumerate(characters)}
    data = torch.tensor([number[c] for c in text])
    model = GPT(len(characters))
    size = sum(p.numel() for p in model.parameters())
    print(f"{len(text):,} characters, {len(characters)} different ones; {size:,} parameters")

    optimizer = optim.AdamW(parameter_groups(model), lr=1e-2, betas=(0.9, 0.99))
    warm_up = max(1, run.count // 20)
    scheduler = optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm_up, 0.55 + 0.45 * math.cos(math.pi * step / run.count)),
    )
    window = torch.arange(CONTEXT)
    for _ in run.steps():
        places = torch.randint(len(data) - CONTEXT, (BATCH, 1)) + window
        loss = F.cross_entropy(model(data[places]).flatten(0, 1), data[places + 1].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        run.report(loss.item())

    model.eval()
    start = torch.tensor([number[c] for c in "The "])
    sample = "".join(characters[i] for i in model.write(start, 400).tolist())
    run.file(".txt").write_text(sample + "\n", encoding="utf-8")
    print(f"\n{sample}\n")
    run.finish(run.file(".txt"))


if __name__ == "__main__":
    main()
