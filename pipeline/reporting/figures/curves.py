"""Training curves: loss and training accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.reporting.figures.canvas import MARKERS, SERIES, Figure, drawing, joined, sheet

Histories = Mapping[str, Sequence[Mapping[str, Any]]]
"""Per row: one entry per epoch with `epoch` (from 0), `loss` and, with one label, `top1_pct`."""


def draw_curves(
    key: str, title: str, caption: str, labels: Mapping[str, str], histories: Histories
) -> Figure:
    """Two panels, one line per row; numbers are the last epoch's."""
    ends = {row: dict(histories[row][-1]) for row in histories if histories[row]}
    with_accuracy = [row for row in ends if ends[row].get("top1_pct") is not None]
    with drawing():
        page = sheet(7.6, 3.1)
        panels = page.subplots(1, 2)
        wanted = (("loss", "training loss"), ("top1_pct", "training accuracy (%)"))
        for axes, (name, unit) in zip(panels, wanted, strict=True):
            for index, row in enumerate(histories):
                points = [
                    (e["epoch"] + 1, e[name]) for e in histories[row] if e.get(name) is not None
                ]
                axes.plot(
                    [x for x, _ in points],
                    [y for _, y in points],
                    color=SERIES[index % len(SERIES)],
                    marker=MARKERS[index % len(MARKERS)],
                    markersize=4,
                    markevery=max(1, len(points) // 8),
                    label=labels[row],
                )
            axes.set_xlabel("epoch")
            axes.set_title(unit)
            axes.grid(axis="y")
            axes.set_ylim(bottom=0)
            axes.xaxis.get_major_locator().set_params(integer=True)
        page.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=min(4, len(ends)),
        )
    words = [f"{labels[row]} {ends[row]['loss']:.2f}" for row in ends]
    alt = f"Line charts of training loss and accuracy by epoch. Loss at the end: {joined(words)}."
    numbers = {
        "epochs": {row: len(histories[row]) for row in ends},
        "final_loss": {row: ends[row]["loss"] for row in ends},
        "final_train_top1_pct": {row: ends[row]["top1_pct"] for row in with_accuracy},
    }
    return Figure(key, "curves", title, caption, alt, numbers=numbers, sheet=page)
