"""The pictures of the digits example, drawn with matplotlib from NumPy arrays and graph nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # files only: no display is needed

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch  # noqa: E402
from matplotlib.path import Path as Path2D  # noqa: E402

BLUE, ORANGE, GREEN, GREY = "#2f6db3", "#d9722b", "#3f8f5b", "#6b7280"


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


@dataclass
class GraphNode:
    """A node of the autograd graph as it is drawn."""

    label: str
    colour: str
    parameter: bool
    depth: int = 0
    x: float = 0.0
    children: list[int] = field(default_factory=list)


def walk_graph(loss: Any, parameters: Mapping[str, Any]) -> list[GraphNode]:
    """The nodes that the loss depends on, its own first, each after all nodes that lead to it."""
    names = {id(tensor): name for name, tensor in parameters.items()}
    order: list[Any] = []
    seen: set[Any] = set()
    stack = [(loss.grad_fn, False)]
    while stack:  # depth first, without recursion: graphs can be deep
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child, _ in node.next_functions if child is not None)
    order.reverse()
    index = {node: i for i, node in enumerate(order)}

    nodes = []
    for node in order:
        tensor = getattr(node, "variable", None)
        if tensor is None:
            drawn = GraphNode(node.name(), BLUE, False)
        else:
            name = names.get(id(tensor), "leaf")
            drawn = GraphNode(f"{name}\n{' x '.join(map(str, tensor.shape))}", GREEN, True)
        drawn.children = list(dict.fromkeys(index[c] for c, _ in node.next_functions if c is not None))
        nodes.append(drawn)
    return nodes


def lay_out(nodes: list[GraphNode]) -> None:
    """Depth is the longest way from the loss; the deepest branch below a node goes straight down."""
    height = [0] * len(nodes)
    for i in reversed(range(len(nodes))):
        height[i] = 1 + max((height[c] for c in nodes[i].children), default=-1)
    above: list[list[float]] = [[] for _ in nodes]
    for node in nodes:
        for child in node.children:
            nodes[child].depth = max(nodes[child].depth, node.depth + 1)
    taken: dict[int, set[int]] = {}
    for i, node in enumerate(nodes):
        wanted = round(min(above[i], default=0.0))
        used = taken.setdefault(node.depth, set())
        while wanted in used:
            wanted += 1
        used.add(wanted)
        node.x = wanted
        # A straight line for what goes deepest; parameters to the right of it.
        for offset, child in enumerate(sorted(node.children, key=lambda c: -height[c])):
            above[child].append(node.x + offset)


def draw_graph(loss: Any, parameters: Mapping[str, Any], path: Path) -> Path:
    """The graph that ``loss.backward()`` walks, from the loss at the top to the parameters."""
    nodes = walk_graph(loss, parameters)
    lay_out(nodes)
    wide, high = 2.8, 1.0
    columns = 1 + max(round(node.x) for node in nodes)
    rows = 1 + max(node.depth for node in nodes)
    figure, axes = plt.subplots(figsize=(wide * columns * 0.85 + 0.5, high * (rows + 1.2) * 0.8))
    for node in nodes:
        for child in node.children:
            draw_edge(axes, node, nodes[child], wide, high)
    for node in nodes:
        x, y = node.x * wide, -node.depth * high
        box = FancyBboxPatch(
            (x - 1.2, y - 0.25),
            2.4,
            0.5,
            boxstyle="round,pad=0.02,rounding_size=0.12",
            facecolor="white" if node.parameter else node.colour,
            edgecolor=node.colour,
            lw=1.4,
        )
        axes.add_patch(box)
        size = 8.5 * min(1.0, 25 / max(map(len, node.label.splitlines())))
        colour = node.colour if node.parameter else "white"
        axes.text(x, y, node.label, ha="center", va="center", fontsize=size, color=colour)
    axes.text(
        0, 0.62 * high, f"loss = {loss.item():.4f}", ha="center", va="center", fontsize=10, fontweight="bold"
    )
    axes.set(xlim=(-1.4, (columns - 1) * wide + 1.4), ylim=(-(rows - 1) * high - 0.5, high))
    axes.set_title("The graph of one training step, in the order of the backward pass", fontsize=11)
    axes.set_axis_off()
    return save(figure, path)


def draw_edge(axes: Axes, start: GraphNode, end: GraphNode, wide: float, high: float) -> None:
    """An arrow down to a box of the next row; along the side of the boxes between where it skips rows."""
    x0, y0 = start.x * wide, -start.depth * high - 0.27
    x1, y1 = end.x * wide, -end.depth * high + 0.27
    corners = [(x0, y0), (x1, y1)]
    first, last = -(start.depth + 0.5) * high, -(end.depth - 0.5) * high  # half-way between two rows
    if end.depth > start.depth + 1:
        first, last = first + 0.1 * high, last - 0.1 * high  # beside the lines that go to the next row
        aside = max(x0, x1) - wide / 2 if x0 != x1 else x0 + wide / 2
        corners[1:1] = [(x0, first), (aside, first), (aside, last), (x1, last)]
    elif x0 != x1:
        corners[1:1] = [(x0, first), (x1, first)]
    axes.add_patch(
        FancyArrowPatch(
            path=Path2D(corners), arrowstyle="-|>", mutation_scale=9, color=GREY, lw=1.0, zorder=0
        )
    )
