"""A network as boxes and arrows: its parts, their outputs' shapes and multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.text import Text

from pipeline.reporting.figures.canvas import BLUE, LINE, SOFT, Drawing, joined, plot_style, sheet

INPUT = "input"
WIDE_IN, HIGH_IN = 1.35, 1.5
"""Of a box with its gaps."""


class Part(NamedTuple):
    """A part: its class, how many modules of which class are in it, its first output's shape, 10⁹
    multiply-adds, the parts (or INPUT) whose outputs it reads, and whether it has more than a
    ResNet's modules."""

    name: str
    kind: str
    contents: Mapping[str, int]
    shape: list[int]
    gmacs: float
    reads: list[str]
    ours: bool


@plot_style()
def draw_architecture(parts: Sequence[Part]) -> Drawing:
    """One box a part, left to right by what it reads. A branch from the input has a line of its
    own; parts with more than a ResNet's modules are blue."""
    column, lane = {INPUT: 0}, {INPUT: 0}
    for part in parts:
        column[part.name] = 1 + max(column[name] for name in part.reads)
        branch = part.name.rpartition(".")[0]
        own = [lane[name] for name in part.reads if name.rpartition(".")[0] == branch]
        opens = part.reads == [INPUT] and part is not parts[0]
        beside = own or [lane[name] for name in part.reads]
        lane[part.name] = 1 + max(lane.values()) if opens else min(beside)
    wide, high = 1 + max(column.values()), 1 + max(lane.values())
    page = sheet(WIDE_IN * wide, HIGH_IN * high)
    axes = page.subplots()
    axes.set(xlim=(-0.5, wide - 0.5), ylim=(high - 0.5, -0.5))
    axes.axis("off")
    boxes: dict[str, Text] = {}
    for name, text, ours in [(INPUT, INPUT, False), *((p.name, _text(p), p.ours) for p in parts)]:
        frame = {"boxstyle": "round", "facecolor": "white", "edgecolor": BLUE if ours else LINE}
        place = column[name], lane[name]
        boxes[name] = axes.text(*place, text, bbox=frame, ha="center", va="center", fontsize=7)
    for part in parts:
        for one, other in ((boxes[name], boxes[part.name]) for name in part.reads):
            ends = {"patchA": one.get_bbox_patch(), "patchB": other.get_bbox_patch()}
            arrow = {"arrowstyle": "-|>", "color": SOFT, **ends}
            places = other.get_position(), one.get_position()
            axes.annotate("", *places, arrowprops=arrow, zorder=4)
    words = [f"{part.name} reads {joined(part.reads)}" for part in parts]
    alt = f"Boxes and arrows: {'; '.join(words)}."
    rounded = [part._replace(gmacs=round(part.gmacs, 3)) for part in parts]
    return Drawing(page, alt, {"parts": [part._asdict() for part in rounded]})


def _text(part: Part) -> str:
    kind = [part.kind] if part.kind not in ("", "Sequential", "Conv2d", "Linear") else []
    inside = [f"{count} {name}" for name, count in part.contents.items()]
    cost = [f"{part.gmacs:.2f} G"] if part.gmacs >= 0.005 else []
    return "\n".join([part.name, *kind, *inside, " × ".join(map(str, part.shape)), *cost])
