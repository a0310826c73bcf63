"""Which classes gain most when one network replaces another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.reporting.figures.canvas import AMBER, BLUE, ORANGE, SOFT, Drawing, plot_style, sheet
from pipeline.scores.scoring import VideoScores, shared_videos
from pipeline.scores.statistics import cluster_codes, mean_interval
from pipeline.scores.video_scores import Outcomes


@dataclass(frozen=True)
class Gain:
    """One class: both rows' score and the difference, in points, with its 95 % interval."""

    name: str
    videos: int
    first: float
    second: float
    low: float | None = None
    high: float | None = None

    @property
    def gain(self) -> float:
        return self.second - self.first


def accuracy_gains(first: Outcomes, second: Outcomes, classes: Sequence[str]) -> list[Gain]:
    """Per-class accuracy of two rows on the videos both scored, highest gain first.

    The interval is that of the paired difference over the class's clusters of videos.
    """
    one, other = shared_videos(first.video_ids, second.video_ids)
    before, after = (
        100.0 * outcomes.correct1[places] for outcomes, places in ((first, one), (second, other))
    )
    labels = first.labels[one]
    gains = []
    for number, name in enumerate(classes):
        of_class = labels == number
        if of_class.any():
            codes = cluster_codes([first.clusters[place] for place in one[of_class]])
            ends = mean_interval(after[of_class] - before[of_class], codes)
            known = [] if np.isnan(ends.low) else [ends.low, ends.high]  # one cluster has no spread
            means = float(before[of_class].mean()), float(after[of_class].mean())
            gains.append(Gain(name, int(of_class.sum()), *means, *known))
    return ranked(gains)


def precision_gains(first: VideoScores, second: VideoScores, classes: Sequence[str]) -> list[Gain]:
    """Per-class average precision of two rows, highest gain first (Ng & Davis 2018)."""
    from sklearn.metrics import average_precision_score  # takes seconds, and few sets need it

    one, other = shared_videos(first.video_ids, second.video_ids)
    scores = first.scores[one], second.scores[other]
    gains = []
    for number, name in enumerate(classes):
        truth = np.array([number in first.labels[i] for i in one], dtype=np.bool_)
        if truth.any():
            both = [100 * float(average_precision_score(truth, s[:, number])) for s in scores]
            gains.append(Gain(name, int(truth.sum()), both[0], both[1]))
    return ranked(gains)


def ranked(gains: Sequence[Gain]) -> list[Gain]:
    """Highest gain first; equal ones by name."""
    return sorted(gains, key=lambda one: (-round(one.gain, 9), one.name))


@plot_style()
def draw_gains(
    labels: Sequence[str], gains: Sequence[Gain], *, most: int, printed: Mapping[str, float]
) -> Drawing:
    """Bars from 0, highest gain on top; a diamond where a text prints the class's gain."""
    half = most // 2
    shown = list(gains) if len(gains) <= most else [*gains[: most - half], *gains[-half:]]
    page = sheet(7.6, 1.1 + 0.235 * len(shown))
    axes = page.subplots()
    colours = [BLUE if one.gain >= 0 else ORANGE for one in shown]
    axes.barh(range(len(shown)), [one.gain for one in shown], 0.7, color=colours)
    for height, one in enumerate(shown):
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [height] * 2, color="#1C2024", linewidth=1)
        if one.name in printed:
            axes.plot([printed[one.name]], [height], "D", color=AMBER, markersize=5)
    axes.axvline(0, color=SOFT, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [one.name for one in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(f"points gained by {labels[1]} over {labels[0]}")
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if len(shown) < len(gains):
        axes.axhline(most - half - 0.5, color=SOFT, linewidth=0.8, linestyle=":")
    top = shown[0]
    alt = (
        f"Bars of {len(shown)} classes by gain of {labels[1]} over {labels[0]}, from "
        f"{top.name} ({top.gain:+.1f} points) down to {shown[-1].name} ({shown[-1].gain:+.1f})."
    )
    numbers = {
        "classes": len(gains),
        "gaining": sum(one.gain > 0 for one in gains),
        "losing": sum(one.gain < 0 for one in gains),
        "supported_gain": sum(one.low is not None and one.low > 0 for one in gains),
        "supported_loss": sum(one.high is not None and one.high < 0 for one in gains),
        "ranked": [
            {
                "class": one.name,
                "videos": one.videos,
                "first_pct": round(one.first, 4),
                "second_pct": round(one.second, 4),
                "gain": round(one.gain, 4),
                "ci95": None if one.low is None else [round(one.low, 4), round(one.high or 0, 4)],
                **({"printed_gain": printed[one.name]} if one.name in printed else {}),
            }
            for one in gains
        ],
    }
    return Drawing(page, alt, numbers)
