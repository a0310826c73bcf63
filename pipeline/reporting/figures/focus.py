"""How much of a map lies where something moves: the number behind 'focuses on motion'.

T segments, H, W pixels. A map is (H, W) float, higher where it supports the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter
from scipy.stats import rankdata

from pipeline.scores.statistics import mean_interval

Picture = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float64]
Area = npt.NDArray[np.bool_]

_LEAST_LEVELS = 2.0
"""Frames whose largest blurred difference is below this many of 255 levels do not move."""


class Overlap(NamedTuple):
    """A map against an area.

    `auc`: how often a place inside has a higher value than one outside (Mann-Whitney), 0.5 for a
    map that does not care. `share`: the part of the map's positive sum that lies inside; `lift`:
    that over the part of the picture that is inside, 1 for an even map.
    """

    auc: float
    share: float
    lift: float


def moving(before_HWC: Picture, after_HWC: Picture) -> Area:
    """Where two frames differ: mean |difference| over channels, averaged over a square of a twelfth
    of the picture, above its mean plus one standard deviation; nowhere when they hardly differ."""
    change = np.abs(after_HWC.astype(np.float64) - before_HWC.astype(np.float64)).mean(axis=2)
    blurred = uniform_filter(change, size=max(3, min(change.shape) // 12 | 1))
    if blurred.max() < _LEAST_LEVELS:
        return np.zeros(change.shape, dtype=np.bool_)
    return np.asarray(blurred > blurred.mean() + blurred.std())


def overlap(map_HW: Map, area_HW: Area) -> Overlap | None:
    """The map against the area; None where the area is empty or everything."""
    if not area_HW.any() or area_HW.all():
        return None
    part = float(area_HW.mean())
    positive = np.maximum(map_HW, 0)
    total = float(positive.sum())
    share = float(positive[area_HW].sum()) / total if total > 0 else part
    inside = int(area_HW.sum())
    ranks = float(rankdata(map_HW, axis=None)[area_HW.ravel()].sum())
    auc = (ranks - inside * (inside + 1) / 2) / (inside * (area_HW.size - inside))
    return Overlap(auc, share, share / part)


def video_overlap(maps_THW: Map, areas_THW: Area) -> Overlap | None:
    """The mean over a video's segments; None when no segment has an area."""
    by_segment = [overlap(m, a) for m, a in zip(maps_THW, areas_THW, strict=True)]
    present = [one for one in by_segment if one is not None]
    return Overlap(*np.mean(present, axis=0).tolist()) if present else None


def summarise(videos: Mapping[str, Sequence[Overlap | None]]) -> dict[str, Any]:
    """Per row the mean AUC and lift with 95 % intervals, and each later row minus the first.

    Rows' lists go over the same videos; a video without an area in any row counts in none.
    """
    kept = [rows for rows in zip(*videos.values(), strict=True) if None not in rows]
    result: dict[str, Any] = {"videos": len(kept), "rows": {}, "minus_first": {}}
    first: dict[str, npt.NDArray[np.float64]] = {}
    for number, row in enumerate(videos if kept else ()):
        by_video = np.array([rows[number] for rows in kept])
        values = dict(zip(Overlap._fields, by_video.T, strict=True))
        result["rows"][row] = {name: _mean(found) for name, found in values.items()}
        if first:
            differences = {name: _mean(values[name] - first[name]) for name in ("auc", "lift")}
            result["minus_first"][row] = differences
        first = first or values
    return result


def _mean(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    interval = mean_interval(values)
    ends = [round(interval.low, 4), round(interval.high, 4)]
    return {"mean": round(float(values.mean()), 4), "ci95": ends}


def in_words(summary: Mapping[str, Any], labels: Mapping[str, str], area: str) -> str:
    """One sentence for a caption: what `summarise` measured against `area`."""
    if not summary["rows"]:
        return f"No video here has {area}."
    means = [
        f"{labels[row]} {one['auc']['mean']:.2f} ({_range(one['auc'])})"
        for row, one in summary["rows"].items()
    ]
    text = (
        f"Over {summary['videos']} test videos, a place in {area} has a higher value than one "
        f"outside with probability {'; '.join(means)} (95 % intervals; 0.5 is no preference)."
    )
    first = labels[next(iter(summary["rows"]))]
    for row, one in summary["minus_first"].items():
        low, high = one["auc"]["ci95"]
        verdict = "supported" if low > 0 or high < 0 else "not supported by these videos"
        text += f" {labels[row]} minus {first}: {_number(one['auc']['mean'], '+')}"
        text += f" ({_range(one['auc'])}), {verdict}."
    return text


def _range(one: Mapping[str, Any]) -> str:
    return " to ".join(_number(end) for end in one["ci95"])


def _number(value: float, sign: str = "") -> str:
    """Two decimals with a true minus, and no minus before a zero."""
    return f"{value:{sign}z.2f}".replace("-", "−")
