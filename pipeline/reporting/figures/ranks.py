"""Printed against measured order of a table column's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from scipy.stats import rankdata

from pipeline.reporting.figures.canvas import BLUE, GREY, ORANGE, SOFT, Drawing, plot_style, sheet

_WRAP = 38


@plot_style()
def draw_ranks(rows: Sequence[Mapping[str, Any]], ordering: Mapping[str, Any]) -> Drawing:
    """Printed ranks left, measured ranks right, one line per row.

    `rows`: `row`, `label`, `claimed`, `measured`, `low`, `high`. A line is drawn strong when the
    data support some pair that the row is in: blue as printed, orange reversed, both when mixed.
    """
    values = {"printed": [float(row["claimed"]) for row in rows]}
    values["measured"] = [row["measured"] for row in rows]
    ranks = {side: rankdata([-v for v in given]) for side, given in values.items()}
    # Rows that share a rank lie side by side.
    left, right = (1 - rankdata(places, "ordinal") for places in ranks.values())
    verdicts = {row["row"]: set[str]() for row in rows}
    for pair in ordering["pairs"]:
        for side in (pair["first"], pair["second"]):
            verdicts.get(side, set()).add(pair["verdict"])
    page = sheet(9.0, 0.75 + 0.34 * len(rows))
    axes = page.subplots()
    for row, *ends in zip(rows, left, right, strict=True):
        colour, width, style = _line(verdicts[row["row"]])
        axes.plot((0, 1), ends, color=colour, linewidth=width, linestyle=style, marker="o")
        _texts(axes, row, *ends)
    _frame(axes, len(rows))
    first, best = (rows[int(places.argmin())]["label"] for places in ranks.values())
    alt = (
        f"Slope chart of {len(rows)} rows by printed and by measured accuracy. First as printed: "
        f"{first}; first as measured: {best}."
    )
    counts = Counter(pair["verdict"] for pair in ordering["pairs"])
    numbers = {
        "tau": ordering["tau"],
        "pairs_as_printed": counts["agrees"],
        "pairs_reversed": counts["contradicts"],
        "pairs_undecided": counts["undecided"],
        "ranks": {
            row["row"]: {side: float(places[n]) for side, places in ranks.items()}
            for n, row in enumerate(rows)
        },
    }
    return Drawing(page, alt, numbers)


def _line(verdicts: set[str]) -> tuple[str, float, str]:
    agrees, against = "agrees" in verdicts, "contradicts" in verdicts
    if agrees and against:
        return ORANGE, 2.0, "--"
    if against:
        return ORANGE, 2.0, "-"
    return (BLUE, 2.0, "-") if agrees else (GREY, 1.2, "-")


def _texts(axes: Axes, row: Mapping[str, Any], left: float, right: float) -> None:
    label = row["label"] if len(row["label"]) <= _WRAP else row["label"][: _WRAP - 1] + "…"
    axes.text(-0.05, left, f"{label}   {row['claimed']}", ha="right", va="center", fontsize=8.5)
    axes.text(1.05, right, f"{row['measured']:.1f}", va="center", fontsize=8.5)
    if row["low"] is not None:
        text = f"{row['low']:.1f}–{row['high']:.1f}"
        axes.text(1.24, right, text, va="center", color=SOFT, fontsize=7.5)
    axes.text(1.62, right, label, va="center", fontsize=8.5)


def _frame(axes: Axes, count: int) -> None:
    axes.set_xlim(-1.45, 3.0)
    axes.set_ylim(-count + 0.4, 1.3)
    axes.axis("off")
    for text in axes.texts:
        text.set_in_layout(False)  # room for labels is the same in every figure
    axes.text(0, 0.85, "printed", ha="center", va="center", fontweight="bold", fontsize=9)
    axes.text(1, 0.85, "measured", ha="center", va="center", fontweight="bold", fontsize=9)
    axes.text(1.3, 0.85, "95 % interval", va="center", fontsize=7.5, color=SOFT)
