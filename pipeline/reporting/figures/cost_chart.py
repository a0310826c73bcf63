"""Accuracy against multiply-adds: what a table prints beside what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from pipeline.reporting.figures.canvas import (
    BLUE,
    ORANGE,
    SOFT,
    Drawing,
    joined,
    plot_style,
    sheet,
)


@dataclass(frozen=True)
class Point:
    """One network: giga multiply-adds of one view at the paper's size, accuracy in percent."""

    label: str
    gmacs: float
    accuracy: float
    low: float | None = None
    high: float | None = None
    ours: bool = False
    """Whether it is one of the networks the text is about, drawn in another colour and marker."""

    def as_json(self) -> dict[str, Any]:
        ends = [self.low, self.high]
        return {
            "label": self.label, "gmacs": self.gmacs, "top1_pct": self.accuracy, "ci95_pct": ends
        }  # fmt: skip


@plot_style()
def draw_cost(printed: Sequence[Point], measured: Sequence[Point]) -> Drawing:
    """Two panels with axes of their own; a panel without points is left out."""
    panels = {"printed": printed, "measured here": measured}
    panels = {name: points for name, points in panels.items() if points}
    page = sheet(4.1 * len(panels), 3.7)
    grid = page.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, points) in zip(grid, panels.items(), strict=True):
        _scatter(axes, points)
        axes.set_title(name)
        counted = "as printed" if name == "printed" else "counted, one view at 224 px"
        axes.set_xlabel(f"multiply-adds (G), {counted}")
        axes.set_ylabel("top-1 accuracy (%)")
    best = [f"{name}: {max(p, key=lambda q: q.accuracy).label}" for name, p in panels.items()]
    alt = f"Scatter plots of accuracy against multiply-adds. Most accurate, {joined(best)}."
    numbers = {name.split()[0]: [p.as_json() for p in points] for name, points in panels.items()}
    return Drawing(page, alt, numbers)


def _scatter(axes: Axes, points: Sequence[Point]) -> None:
    """Points with intervals and labels; labels step aside where they would meet."""
    for point in points:
        colour, marker = (ORANGE, "D") if point.ours else (BLUE, "o")
        if point.low is not None and point.high is not None:
            axes.plot([point.gmacs] * 2, [point.low, point.high], color=colour, linewidth=1.1)
        axes.plot([point.gmacs], [point.accuracy], marker, color=colour, markersize=5.5)
    costs = [p.gmacs for p in points]
    if max(costs) > 6 * min(costs):
        axes.set_xscale("log")
        ticks = [t for t in (5, 10, 20, 50, 100, 200, 500, 1000) if min(costs) <= t <= max(costs)]
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        axes.set_xlim(min(costs) / 1.35, max(costs) * 1.5)
    else:
        room = max(costs) - min(costs) or 1.0
        axes.set_xlim(min(costs) - 0.12 * room, max(costs) + 0.35 * room)
    lows = [p.accuracy if p.low is None else p.low for p in points]
    highs = [p.accuracy if p.high is None else p.high for p in points]
    room = max(highs) - min(lows) or 1.0
    axes.set_ylim(min(lows) - 0.1 * room, max(highs) + 0.1 * room)
    axes.grid()
    _labels(axes, points)


_CHAR_PX, _LINE_PX = 5.6, 11.0
"""Size of a label's letters in the pixels of a 100 dpi screen, a little generous."""


def _labels(axes: Axes, points: Sequence[Point]) -> None:
    """Put each label where it covers the least: right, left, above, below of its point."""
    figure = axes.get_figure()
    assert figure is not None
    figure.canvas.draw()
    box = axes.get_window_extent()
    places = [axes.transData.transform((p.gmacs, p.accuracy)) for p in points]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for point, (x, y) in sorted(zip(points, places, strict=True), key=lambda item: -item[1][1]):
        wide = _CHAR_PX * len(point.label)
        options = []
        for dx, dy, side in _AROUND:
            left = x + dx - (0 if side == "left" else wide if side == "right" else wide / 2)
            area = (left, y + dy - _LINE_PX / 2, left + wide, y + dy + _LINE_PX / 2)
            crossed = sum(_overlap(area, other) for other in taken)
            outside = max(0.0, area[2] - box.x1) + max(0.0, box.x0 - area[0])
            outside += max(0.0, area[3] - box.y1) + max(0.0, box.y0 - area[1])
            options.append((crossed + 50 * outside + 0.2 * (abs(dx) + abs(dy)), dx, dy, side, area))
        _, dx, dy, side, area = min(options, key=lambda option: option[0])
        taken.append(area)
        axes.annotate(
            point.label,
            (point.gmacs, point.accuracy),
            xytext=(dx * 0.72, dy * 0.72),  # points, at 100 dpi
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=7.5,
            color=SOFT,
            arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.4, "shrinkB": 2}
            if abs(dy) > 14
            else None,
        )


_AROUND = [
    (dx, dy, side)
    for dy in (0, 12, -12, 24, -24, 36, -36, 50, -50)
    for dx, side in ((9, "left"), (-9, "right"), (0, "center"))
    if dy or dx
]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0
