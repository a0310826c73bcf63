"""Which classes gain most when one network replaces another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from pipeline.reporting.figures.canvas import AMBER, BLUE, ORANGE, SOFT, Figure, drawing, sheet
from pipeline.scores.scoring import VideoScores
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
    place = {video_id: index for index, video_id in enumerate(second.video_ids)}
    shared = [i for i, video_id in enumerate(first.video_ids) if video_id in place]
    other = np.array([place[first.video_ids[i]] for i in shared], dtype=np.int64)
    labels = first.labels[shared]
    right = first.correct1[shared].astype(float), second.correct1[other].astype(float)
    found = []
    for number, name in enumerate(classes):
        inside = labels == number
        if not inside.any():
            continue
        before, after = right[0][inside], right[1][inside]
        codes = cluster_codes([first.clusters[shared[i]] for i in np.flatnonzero(inside)])
        interval = mean_interval(after - before, codes)
        found.append(
            Gain(
                name,
                int(inside.sum()),
                100 * float(before.mean()),
                100 * float(after.mean()),
                100 * interval.low,
                100 * interval.high,
            )
        )
    return ranked(found)


def precision_gains(first: VideoScores, second: VideoScores, classes: Sequence[str]) -> list[Gain]:
    """Per-class average precision of two rows, highest gain first (Ng & Davis 2018)."""
    place = {video_id: index for index, video_id in enumerate(second.video_ids)}
    shared = [i for i, video_id in enumerate(first.video_ids) if video_id in place]
    scores = first.scores[shared], second.scores[[place[first.video_ids[i]] for i in shared]]
    found = []
    for number, name in enumerate(classes):
        truth: npt.NDArray[np.bool_] = np.array([number in first.labels[i] for i in shared])
        if not truth.any():
            continue
        both = [100 * float(average_precision_score(truth, s[:, number])) for s in scores]
        found.append(Gain(name, int(truth.sum()), both[0], both[1]))
    return ranked(found)


def ranked(gains: Sequence[Gain]) -> list[Gain]:
    """Highest gain first; equal ones by name."""
    return sorted(gains, key=lambda one: (-round(one.gain, 9), one.name))


def draw_gains(
    key: str,
    title: str,
    caption: str,
    labels: tuple[str, str],
    gains: Sequence[Gain],
    *,
    most: int,
    printed: Mapping[str, float],
) -> Figure:
    """Bars from 0, highest gain on top; a diamond where a text prints the class's gain."""
    half = most // 2
    shown = list(gains) if len(gains) <= most else [*gains[: most - half], *gains[-half:]]
    with drawing():
        page = sheet(7.6, 1.1 + 0.235 * len(shown))
        axes = page.subplots()
        places = list(range(len(shown)))
        values = [one.gain for one in shown]
        colours = [BLUE if value >= 0 else ORANGE for value in values]
        axes.barh(places, values, 0.7, color=colours)
        for place, one in zip(places, shown, strict=True):
            if one.low is not None and one.high is not None:
                axes.plot([one.low, one.high], [place] * 2, color="#1C2024", linewidth=1)
            if one.name in printed:
                axes.plot([printed[one.name]], [place], "D", color=AMBER, markersize=5)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        axes.set_yticks(places, [one.name for one in shown], fontsize=8)
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
    return Figure(key, "gains", title, caption, alt, numbers=_numbers(gains, printed), sheet=page)


def _numbers(gains: Sequence[Gain], printed: Mapping[str, float]) -> dict[str, Any]:
    """Every class, drawn or not, and how many gain, lose and are sure to."""
    return {
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
