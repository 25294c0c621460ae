"""A picture of what ``loss.backward()`` walks, found through ``grad_fn`` and ``next_functions``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Path2D

BLUE, GREEN, GREY = "#2f6db3", "#3f8f5b", "#6b7280"
LINE = 0.25  # height of a line of text
GAP = 0.5  # between two rows of boxes
WIDE = 2.8  # from column to column
BOX = 2.4  # width of a box


@dataclass
class Box:
    """A parameter, or operations each of which leads to the next one only; `children` index boxes."""

    lines: list[str]
    parameter: bool
    children: list[int] = field(default_factory=list)
    row: int = 0
    column: int = 0
    top: float = 0.0
    row_bottom: float = 0.0  # of the tallest box in the row

    @property
    def bottom(self) -> float:
        return self.top - LINE * (len(self.lines) + 1)


def nodes_of(loss: Any) -> list[Any]:
    """The nodes that the loss depends on, its own first, each after all nodes that lead to it."""
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
    return order[::-1]


def boxes_of(loss: Any, parameters: Mapping[str, Any]) -> list[Box]:
    """A box for each parameter and each chain of operations without a branch, ordered as `nodes_of`."""
    names = {id(tensor): name for name, tensor in parameters.items()}
    order = nodes_of(loss)
    # dict.fromkeys: x * x leads to one node twice, and that is one arrow
    below = {node: list(dict.fromkeys(c for c, _ in node.next_functions if c is not None)) for node in order}
    parents = Counter(child for children in below.values() for child in children)
    boxes: list[Box] = []
    box_of: dict[Any, int] = {}
    for node in order:
        tensor = getattr(node, "variable", None)
        if node not in box_of:
            box_of[node] = len(boxes)
            boxes.append(Box([], tensor is not None))
        box = boxes[box_of[node]]
        if tensor is not None:
            box.lines = [names.get(id(tensor), "leaf"), " x ".join(map(str, tensor.shape))]
            continue
        box.lines.append(node.name())
        only = below[node][0] if len(below[node]) == 1 else None
        if only is not None and parents[only] == 1 and getattr(only, "variable", None) is None:
            box_of[only] = box_of[node]
    for node in order:
        children = [box_of[child] for child in below[node] if box_of[child] != box_of[node]]
        boxes[box_of[node]].children.extend(children)
    return boxes


def lay_out(boxes: list[Box]) -> None:
    """The row is the longest way from the loss; the deepest branch below a box goes straight down."""
    remaining = [0] * len(boxes)
    for i in reversed(range(len(boxes))):
        remaining[i] = 1 + max((remaining[c] for c in boxes[i].children), default=-1)
    for box in boxes:
        for child in box.children:
            boxes[child].row = max(boxes[child].row, box.row + 1)
    rows = [
        [i for i, box in enumerate(boxes) if box.row == row] for row in range(1 + max(b.row for b in boxes))
    ]
    wanted: dict[int, tuple[int, int]] = {0: (0, 0)}  # (how far from straight down, column)
    for members in rows:
        taken: set[int] = set()
        for i in sorted(members, key=lambda i: wanted[i]):
            box = boxes[i]
            box.column = wanted[i][1]
            while box.column in taken:
                box.column += 1
            taken.add(box.column)
            for offset, child in enumerate(sorted(box.children, key=lambda c: -remaining[c])):
                wish = (offset, box.column + offset)
                wanted[child] = min(wish, wanted.get(child, wish))
    top = 0.0
    for members in rows:
        for i in members:
            boxes[i].top = top
        lowest = min(boxes[i].bottom for i in members)
        for i in members:
            boxes[i].row_bottom = lowest
        top = lowest - GAP


def draw(loss: Any, parameters: Mapping[str, Any], path: Path) -> Path:
    """Write the picture; `parameters` gives tensors their names."""
    boxes = boxes_of(loss, parameters)
    lay_out(boxes)
    right = WIDE * max(box.column for box in boxes) + BOX / 2
    bottom = min(box.bottom for box in boxes)
    figure, axes = plt.subplots(figsize=(0.85 * (right + BOX / 2 + 0.6), 0.8 * (1.2 - bottom)))
    lanes: Counter[int] = Counter()
    for box in boxes:
        for child in box.children:
            draw_arrow(axes, box, boxes[child], lanes)
    for box in boxes:
        draw_box(axes, box)
    axes.text(0, 0.35, f"loss = {loss.item():.4f}", ha="center", va="center", fontsize=10, fontweight="bold")
    axes.set(xlim=(-BOX / 2 - 0.3, right + 0.3), ylim=(bottom - 0.2, 0.7))
    axes.set_title("What one backward pass walks: operations in blue, parameters in green", fontsize=11)
    axes.set_axis_off()
    figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)
    return path


def draw_box(axes: Axes, box: Box) -> None:
    x = box.column * WIDE
    colour = GREEN if box.parameter else BLUE
    axes.add_patch(
        FancyBboxPatch(
            (x - BOX / 2, box.bottom),
            BOX,
            box.top - box.bottom,
            boxstyle="round,pad=0.0,rounding_size=0.12",
            facecolor="white" if box.parameter else colour,
            edgecolor=colour,
            lw=1.4,
        )
    )
    for i, line in enumerate(box.lines):
        y = box.top - LINE * (i + 1)
        size = 8.5 * min(1.0, 25 / max(1, len(line)))
        text = colour if box.parameter else "white"
        axes.text(x, y, line, ha="center", va="center", fontsize=size, color=text)


def draw_arrow(axes: Axes, start: Box, end: Box, lanes: Counter[int]) -> None:
    """From a box to one of a later row; where it skips rows, in a lane of its own beside the boxes."""
    x0, x1 = start.column * WIDE, end.column * WIDE
    corners = [(x0, start.bottom), (x1, end.top)]
    arrives = end.top + GAP * (0.35 + 0.15 * (start.column % 3))  # a height for each column to come from
    if end.row > start.row + 1:
        left = min(start.column, end.column)
        lane = left * WIDE + BOX / 2 + 0.08 + 0.08 * (lanes[left] % 4)
        lanes[left] += 1
        leaves, arrives = start.row_bottom - 0.2 * GAP, end.top + 0.7 * GAP
        corners[1:1] = [(x0, leaves), (lane, leaves), (lane, arrives), (x1, arrives)]
    elif x0 != x1:
        corners[1:1] = [(x0, arrives), (x1, arrives)]
    arrow = FancyArrowPatch(
        path=Path2D(corners), arrowstyle="-|>", mutation_scale=9, color=GREY, lw=1.0, zorder=0
    )
    axes.add_patch(arrow)
