"""Training curves: loss and training accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.reporting.figures.canvas import MARKERS, SERIES, Drawing, joined, plot_style, sheet

Histories = Mapping[str, Sequence[Mapping[str, Any]]]
"""Per row: one entry per epoch with `epoch` (from 0), `loss` and, with one label, `top1_pct`."""


@plot_style()
def draw_curves(labels: Mapping[str, str], histories: Histories) -> Drawing:
    """Two panels, one line per row; numbers are the last epoch's."""
    page = sheet(7.6, 3.1)
    panels = page.subplots(1, 2)
    columns = (("loss", "training loss"), ("top1_pct", "training accuracy (%)"))
    for axes, (name, title) in zip(panels, columns, strict=True):
        for index, (row, epochs) in enumerate(histories.items()):
            points = [(e["epoch"] + 1, e[name]) for e in epochs if e.get(name) is not None]
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
        axes.set_title(title)
        axes.grid(axis="y")
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
    handles = panels[0].get_legend_handles_labels()
    page.legend(*handles, loc="outside lower center", ncols=min(4, len(histories)))
    ends = {row: epochs[-1] for row, epochs in histories.items()}
    words = [f"{labels[row]} {end['loss']:.2f}" for row, end in ends.items()]
    alt = f"Line charts of training loss and accuracy by epoch. Loss at the end: {joined(words)}."
    accuracies = {
        row: end["top1_pct"] for row, end in ends.items() if end.get("top1_pct") is not None
    }
    numbers = {
        "epochs": {row: len(epochs) for row, epochs in histories.items()},
        "final_loss": {row: end["loss"] for row, end in ends.items()},
        "final_train_top1_pct": accuracies,
    }
    return Drawing(page, alt, numbers)
