"""Pairs of classes that are each other's reverse in time: which rows tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.reporting.figures.canvas import (
    AMBER,
    BLUE,
    GREY,
    Drawing,
    joined,
    plot_style,
    sheet,
)
from pipeline.scores.video_scores import Outcomes

PARTS = (
    ("right", "right", BLUE, ""),
    ("reverse", "taken for the reverse", AMBER, "///"),
    ("other", "taken for another class", GREY, ""),
)


def count_pair(outcomes: Outcomes, first: int, second: int) -> dict[str, int]:
    """Videos of two classes (indices) by answer: `right`, `reverse`, `other`."""
    inside = np.isin(outcomes.labels, (first, second))
    labels, answers = outcomes.labels[inside], outcomes.predicted[inside]
    reverse = first + second - labels
    counts = {"right": int((answers == labels).sum()), "reverse": int((answers == reverse).sum())}
    return {**counts, "other": len(labels) - sum(counts.values())}


@plot_style()
def draw_reversal(
    labels: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    outcomes: Mapping[str, Outcomes],
    classes: Sequence[str],
) -> Drawing:
    """One panel per row of `outcomes`, one bar per pair of class names; all bars are shares."""
    counts = {
        row: [count_pair(by_row, classes.index(a), classes.index(b)) for a, b in pairs]
        for row, by_row in outcomes.items()
    }
    heights = range(len(pairs))
    page = sheet(2.6 + 1.75 * len(counts), 1.0 + 0.4 * len(pairs))
    panels = page.subplots(1, len(counts), squeeze=False, sharey=True)[0]
    for axes, (row, by_row) in zip(panels, counts.items(), strict=True):
        start = np.zeros(len(pairs))
        total = np.array([max(1, sum(one.values())) for one in by_row])
        for part, text, colour, hatch in PARTS:
            share = 100 * np.array([one[part] for one in by_row]) / total
            axes.barh(
                heights, share, 0.72, start,
                color=colour, hatch=hatch, edgecolor="white", linewidth=0.6, label=text,
            )  # fmt: skip
            start = start + share
        axes.axvline(50, color="black", linewidth=0.8, linestyle=":")
        axes.set_xlim(0, 100)
        axes.set_xticks([0, 50, 100], ["0", "50", "100 %"])
        axes.set_title(labels[row])
        axes.set_yticks(heights, [f"{a} /\n{b}" for a, b in pairs], fontsize=7)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].invert_yaxis()
    page.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    shares = {row: _shares(by_row) for row, by_row in counts.items()}
    by_pair = {
        row: [{"pair": list(pair), **one} for pair, one in zip(pairs, by_row, strict=True)]
        for row, by_row in counts.items()
    }
    words = [f"{labels[row]} {share['reverse_pct']:.0f} %" for row, share in shares.items()]
    alt = (
        f"Stacked bars per pair of classes. Taken for the reverse, over all pairs: {joined(words)}."
    )
    return Drawing(page, alt, {"all_pairs": shares, "by_pair": by_pair})


def _shares(pairs: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    sums = {part: sum(one[part] for one in pairs) for part, *_ in PARTS}
    videos, either = sum(sums.values()), sums["right"] + sums["reverse"]
    return {
        "videos": videos,
        **{f"{part}_pct": round(100 * count / max(1, videos), 2) for part, count in sums.items()},
        "direction_right_pct": round(100 * sums["right"] / either, 2) if either else None,
    }
