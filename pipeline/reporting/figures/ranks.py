"""Printed against measured order of a table column's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from pipeline.reporting.figures.canvas import BLUE, GREY, ORANGE, SOFT, Figure, drawing, sheet

_WRAP = 38
STEP = 1.0


def rank(values: Sequence[float]) -> list[float]:
    """Ranks from 1, the highest first; ties share the mean of their places."""
    order = sorted(range(len(values)), key=lambda index: -values[index])
    found = [0.0] * len(values)
    for index in order:
        same = [place for place, other in enumerate(order, 1) if values[other] == values[index]]
        found[index] = sum(same) / len(same)
    return found


def draw_ranks(
    key: str,
    title: str,
    caption: str,
    rows: Sequence[Mapping[str, Any]],
    ordering: Mapping[str, Any],
) -> Figure:
    """Printed ranks left, measured ranks right, one line per row.

    `rows`: `row`, `label`, `claimed`, `measured`, `low`, `high`. A line is drawn strong when the
    data support some pair that the row is in: blue as printed, orange reversed, both when mixed.
    """
    claimed = rank([float(row["claimed"]) for row in rows])
    measured = rank([float(row["measured"]) for row in rows])
    verdicts = {row["row"]: set[str]() for row in rows}
    for pair in ordering["pairs"]:
        for side in (pair["first"], pair["second"]):
            if side in verdicts:
                verdicts[side].add(pair["verdict"])
    with drawing():
        page = sheet(9.0, 0.75 + 0.34 * len(rows))
        axes = page.subplots()
        left, right = _spread(claimed), _spread(measured)
        for index, row in enumerate(rows):
            colour, width, style = _line(verdicts[row["row"]])
            ends = (left[index], right[index])
            axes.plot((0, 1), ends, color=colour, linewidth=width, linestyle=style, marker="o")
            _texts(axes, row, ends)
        _frame(axes, len(rows))
    tau = ordering["tau"]
    reversed_ = sum(pair["verdict"] == "contradicts" for pair in ordering["pairs"])
    agreed = sum(pair["verdict"] == "agrees" for pair in ordering["pairs"])
    best = min(zip(measured, rows, strict=True), key=lambda item: item[0])[1]["label"]
    first = min(zip(claimed, rows, strict=True), key=lambda item: item[0])[1]["label"]
    alt = (
        f"Slope chart of {len(rows)} rows by printed and by measured accuracy. First as printed: "
        f"{first}; first as measured: {best}."
    )
    numbers = {
        "tau": tau,
        "pairs_as_printed": agreed,
        "pairs_reversed": reversed_,
        "pairs_undecided": sum(pair["verdict"] == "undecided" for pair in ordering["pairs"]),
        "ranks": {
            row["row"]: {"printed": a, "measured": b}
            for row, a, b in zip(rows, claimed, measured, strict=True)
        },
    }
    return Figure(key, "ordering", title, caption, alt, numbers=numbers, sheet=page)


def _spread(ranks: Sequence[float]) -> list[float]:
    """Heights for drawing: ties side by side, not on top of each other."""
    order = sorted(range(len(ranks)), key=lambda index: (ranks[index], index))
    heights = [0.0] * len(ranks)
    for place, index in enumerate(order):
        heights[index] = -STEP * place
    return heights


def _line(verdicts: set[str]) -> tuple[str, float, str]:
    agrees, against = "agrees" in verdicts, "contradicts" in verdicts
    if agrees and against:
        return ORANGE, 2.0, "--"
    if against:
        return ORANGE, 2.0, "-"
    return (BLUE, 2.0, "-") if agrees else (GREY, 1.2, "-")


def _texts(axes: Axes, row: Mapping[str, Any], ends: tuple[float, float]) -> None:
    label = row["label"] if len(row["label"]) <= _WRAP else row["label"][: _WRAP - 1] + "…"
    axes.text(-0.05, ends[0], f"{label}   {row['claimed']}", ha="right", va="center", fontsize=8.5)
    axes.text(1.05, ends[1], f"{row['measured']:.1f}", va="center", fontsize=8.5)
    if row["low"] is not None:
        text = f"{row['low']:.1f}–{row['high']:.1f}"
        axes.text(1.24, ends[1], text, va="center", color=SOFT, fontsize=7.5)
    axes.text(1.62, ends[1], label, va="center", fontsize=8.5)


def _frame(axes: Axes, count: int) -> None:
    axes.set_xlim(-1.45, 3.0)
    axes.set_ylim(-count + 0.4, 1.3)
    axes.axis("off")
    for text in axes.texts:
        text.set_in_layout(False)  # room for labels is the same in every figure
    axes.text(0, 0.85, "printed", ha="center", va="center", fontweight="bold", fontsize=9)
    axes.text(1, 0.85, "measured", ha="center", va="center", fontweight="bold", fontsize=9)
    axes.text(1.3, 0.85, "95 % interval", va="center", fontsize=7.5, color=SOFT)
