"""What the examples share: the library they run on, their options, a progress bar, and the curve of the loss.

``--library torch`` runs any of them on PyTorch: ``torch``, ``nn``, ``F``, ``optim`` here are that library's then.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small products; more threads only wait for each other

Advance = Callable[[str], None]

_choice = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_choice.add_argument("--library", choices=("flambeau", "torch"), default="flambeau")

# Needed before the other options are known: the programs define their modules when they are imported.
torch: Any = importlib.import_module(_choice.parse_known_args()[0].library)
nn: Any = importlib.import_module(f"{torch.__name__}.nn")
F: Any = importlib.import_module(f"{torch.__name__}.nn.functional")
optim: Any = importlib.import_module(f"{torch.__name__}.optim")


class Run:
    """One training run: its options, its loss after each step, and where its results go."""

    def __init__(self, description: str, steps: int) -> None:
        parser = argparse.ArgumentParser(
            description=description.splitlines()[0],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            parents=[_choice],
        )
        parser.add_argument("--steps", type=_positive, default=steps, help="updates of the parameters")
        parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
        parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for results")
        options = parser.parse_args()
        self.name = Path(sys.argv[0]).stem
        self.count: int = options.steps
        self.seed: int = options.seed
        self.folder: Path = options.out
        self.losses: list[float] = []
        self._text = ""
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.seed)

    def steps(self, count: int | None = None) -> Iterator[int]:
        """Counts the steps, with a progress bar that shows what was reported last."""
        total = self.count if count is None else count
        with progress_bar(total) as advance:
            for step in range(total):
                yield step
                advance(self._text)

    def report(self, loss: float, text: str = "") -> str:
        """Notes the loss of a step, and a few words for the progress bar, which are returned."""
        self.losses.append(loss)
        self._text = f"loss {loss:.4g}" + (f", {text}" if text else "")
        return self._text

    def file(self, suffix: str) -> Path:
        """Where a result of this program belongs."""
        return self.folder / f"{self.name}{suffix}"

    def save(self, figure: Any) -> Path:
        """Writes a picture of this program."""
        path = self.file(".png")
        figure.savefig(path, dpi=120, bbox_inches="tight", facecolor="white")
        return path

    def finish(self, *written: Path) -> None:
        """Writes the losses; says where they are, and everything else that was written."""
        with self.file(".csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("step", "loss"))
            writer.writerows(enumerate(self.losses, start=1))
        print("written:", self.file(".csv"), *written)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


@contextmanager
def progress_bar(steps: int) -> Iterator[Advance]:
    """Gives a function to be called after each of `steps` steps with a line about how it goes."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        with _plain_progress_bar(steps) as advance:
            yield advance
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns) as bar:
        task = bar.add_task("", total=steps)
        yield lambda text: bar.update(task, advance=1, description=text)


@contextmanager
def _plain_progress_bar(steps: int, width: int = 30) -> Iterator[Advance]:
    """A bar that redraws itself in a terminal, and a line for each tenth of the way elsewhere."""
    done = 0
    live = sys.stdout.isatty()

    def advance(text: str) -> None:
        nonlocal done
        done += 1
        filled = width * done // steps
        line = f"[{'#' * filled}{'.' * (width - filled)}] {done}/{steps}  {text}"
        if live:
            print(f"\r{line}\x1b[K", end="", flush=True)
        elif done * 10 // steps > (done - 1) * 10 // steps:
            print(line, flush=True)

    yield advance
    if live:
        print()


def new_figure(*args: Any, **options: Any) -> tuple[Any, Any]:
    """``plt.subplots`` that needs no display."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(*args, layout="constrained", **options)
