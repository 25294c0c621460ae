"""The pictures of the digits example, drawn with matplotlib from NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no display is needed

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

BLUE, ORANGE, GREY = "#2f6db3", "#d9722b", "#6b7280"


@dataclass
class History:
    """What was measured after each epoch."""

    training_loss: list[float] = field(default_factory=list)
    held_out_loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)

    def append(self, training_loss: float, held_out_loss: float, accuracy: float) -> None:
        self.training_loss.append(training_loss)
        self.held_out_loss.append(held_out_loss)
        self.accuracy.append(accuracy)


def save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    return path


def draw_curves(history: History, path: Path) -> Path:
    """Loss (logarithmic) and held-out accuracy over the epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    epochs = np.arange(1, len(history.accuracy) + 1)
    left.semilogy(epochs, history.training_loss, color=BLUE, label="training (shifted images, dropout)")
    left.semilogy(epochs, history.held_out_loss, color=ORANGE, label="held out")
    left.set(xlabel="epoch", ylabel="cross entropy", title="Loss")
    left.legend(frameon=False)

    percent = 100 * np.asarray(history.accuracy)
    right.plot(epochs, percent, color=ORANGE)
    right.set(
        xlabel="epoch",
        ylabel="%",
        title="Held-out accuracy",
        ylim=(max(0, min(97, percent.min()) - 1), 100.3),
    )
    right.annotate(
        f"{percent[-1]:.2f} %",
        (epochs[-1], percent[-1]),
        xytext=(-6, -26),
        textcoords="offset points",
        ha="right",
        color=ORANGE,
        fontweight="bold",
        arrowprops={"arrowstyle": "-", "color": ORANGE, "lw": 0.8},
    )
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return save(figure, path)


def draw_confusion(labels: np.ndarray, probabilities: np.ndarray, path: Path) -> Path:
    """How often each digit (row) was taken for each digit (column)."""
    classes = probabilities.shape[1]
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    figure, axes = plt.subplots(figsize=(6, 5.6), layout="constrained")
    shade = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # The square root shows single mistakes beside full rows.
    axes.imshow(np.sqrt(shade), cmap="Blues", vmin=0, vmax=1.15)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            mistake = row != column
            axes.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                color=ORANGE if mistake else "white",
                fontweight="bold" if mistake else "normal",
            )
    right = np.trace(counts)
    axes.set(
        xticks=range(classes),
        yticks=range(classes),
        xlabel="predicted",
        ylabel="true digit",
        title=f"{right} of {len(labels)} held-out digits right",
    )
    axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return save(figure, path)


def draw_mistakes(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, path: Path) -> Path:
    """The misclassified images, the surest mistakes first, and the hits with the least confidence."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = predicted != labels
    mistakes = [i for i in np.argsort(-confidence) if wrong[i]][:18]
    doubtful = [i for i in np.argsort(confidence) if not wrong[i]][:12]
    title = f"Misclassified: {wrong.sum()} of {len(labels)}" if mistakes else "Misclassified: none"
    heights = [0.35 + 1.95 * -(-len(chosen) // 6) for chosen in (mistakes, doubtful)]
    figure = plt.figure(figsize=(9.6, sum(heights)))
    upper, lower = figure.subfigures(2, 1, height_ratios=heights)
    draw_digits(
        upper, title, mistakes, images, [f"{a} read as {b}" for a, b in zip(labels, predicted, strict=True)]
    )
    draw_digits(
        lower,
        "Right, but least sure",
        doubtful,
        images,
        [f"{a}: {p:.0%}" for a, p in zip(labels, confidence, strict=True)],
    )
    return save(figure, path)


def draw_digits(figure: Any, title: str, chosen: list[int], images: np.ndarray, captions: list[str]) -> None:
    """Six images a row, each in a frame with its caption."""
    height = figure.bbox.height / figure.dpi
    figure.text(0.5, 1 - 0.22 / height, title, ha="center", va="center", fontsize=12, fontweight="bold")
    if not chosen:
        return
    grid = figure.subplots(-(-len(chosen) // 6), 6, squeeze=False)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.08 / height, top=1 - 0.65 / height, hspace=0.3)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    for axes, i in zip(grid.flat, chosen, strict=False):
        axes.imshow(images[i], cmap="gray_r", vmin=-1, vmax=1)
        axes.set_title(captions[i], fontsize=9, color=ORANGE if "read as" in captions[i] else GREY)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("#d5d8de")
