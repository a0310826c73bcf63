"""Kernels along time: what TANet makes of each video, against I3D's fixed ones.

V videos, C channels, T segments, three taps. V (the importance) is (V, C, T) in 0..1, Θ (the
kernel) (V, C, 3) with taps that sum to 1, an I3D kernel (N, 3) for N pairs of channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from scipy.stats import wasserstein_distance

from pipeline.reporting.figures.canvas import BLUE, ORANGE, SOFT, Drawing, joined, plot_style, sheet

Floats = npt.NDArray[np.float64]
Sample = Mapping[str, Floats]
"""One data set's kernels at one place, by KINDS; what was not measured is left out."""
Places = Mapping[str, Mapping[str, Sample]]
"""Samples by place and data set."""

BIN = 1 / 32
"""Width of a histogram's bins, the same for every kernel, so that shapes can be compared."""
_MOST_DRAWN = 4000
_COLOURS = (BLUE, ORANGE)
KINDS = {"importance": "V, local branch", "kernel": "Θ, global branch", "i3d": "I3D 3×1×1"}


def describe(values: Floats) -> dict[str, Any]:
    """Spread, roughness and, over videos, variance of kernels (videos or pairs, …, positions).

    `roughness`: the sum of steps between neighbouring bins of the histogram of all values, 2 for
    one spike and near 0 for a flat one: a smoother distribution has less. `between_videos`: the
    part of a (channel, position)'s variance that differs from video to video; None for kernels
    that no video changes.
    """
    flat = values.ravel()
    low, high = np.quantile(flat, [0.25, 0.75])
    total = float(flat.var())
    across = float(values.var(axis=0).mean()) if values.ndim == 3 else None
    return {
        "count": int(flat.size),
        "mean": _round(flat.mean()),
        "std": _round(flat.std()),
        "iqr": _round(high - low),
        "roughness": _round(roughness(flat)),
        "mean_by_position": [_round(v) for v in values.reshape(-1, values.shape[-1]).mean(axis=0)],
        "variance_across_videos": None if across is None else float(f"{across:.4g}"),
        "between_videos": None if across is None else _round(across / total if total > 0 else 0.0),
    }


def roughness(flat: Floats) -> float:
    """The sum of |steps| of the histogram in shares, from nothing to nothing."""
    bins = np.floor(flat / BIN).astype(np.int64)
    counts = np.bincount(bins - bins.min())
    shares = np.concatenate([[0.0], counts / flat.size, [0.0]])
    return float(np.abs(np.diff(shares)).sum())


def distance(first: Floats, second: Floats) -> float:
    """Wasserstein-1 distance of two sets of kernels, the mean over positions."""
    positions = range(min(first.shape[-1], second.shape[-1]))
    parts = [wasserstein_distance(first[..., p].ravel(), second[..., p].ravel()) for p in positions]
    return float(np.mean(parts))


def halves(values: Floats) -> float:
    """The distance between two halves of the videos: what the same data set has with itself."""
    return distance(values[::2], values[1::2])


def measure(places: Places) -> dict[str, Any]:
    """Numbers by place, kind and data set, and what they say to the text's four sentences.

    Distances need two data sets.
    """
    result: dict[str, Any] = {}
    for place, datasets in places.items():
        entry: dict[str, Any] = {}
        for kind in KINDS:
            samples = {name: s[kind] for name, s in datasets.items() if kind in s}
            if samples:
                entry[kind] = {"by_dataset": {name: describe(v) for name, v in samples.items()}}
            if len(samples) == 2:
                first, second = samples.values()
                entry[kind]["distance"] = _round(distance(first, second))
                if first.ndim == 3:
                    entry[kind]["distance_within"] = _round((halves(first) + halves(second)) / 2)
        result[place] = {**entry, "sentences": sentences(entry)}
    return result


def sentences(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The supplement's four statements at one place: `says`, and `holds` or None if undecided."""

    def over(kind: str, name: str) -> list[float]:
        return [d[name] for d in entry.get(kind, {}).get("by_dataset", {}).values()]

    def all_below(small: list[float], large: list[float]) -> bool | None:
        return max(small) < min(large) if small and large else None

    i3d, theta = (entry.get(kind, {}).get("distance") for kind in ("i3d", "kernel"))
    shares = over("importance", "between_videos")
    verdicts = {
        "V is smoother than Θ": all_below(
            over("importance", "roughness"), over("kernel", "roughness")
        ),
        "V differs from video to video (a tenth of its variance or more)": min(shares) >= 0.1
        if shares
        else None,
        "I3D's kernels are narrower than Θ (only Θ is a softmax)": all_below(
            over("i3d", "std"), over("kernel", "std")
        ),
        "Θ differs between the data sets (more than twice as far as within one)": None
        if theta is None
        else theta > 2 * entry["kernel"]["distance_within"],
        "I3D's kernels differ less between the data sets than Θ": None
        if i3d is None or theta is None
        else i3d < theta,
    }
    return [{"says": text, "holds": holds} for text, holds in verdicts.items()]


@plot_style()
def draw_kernels(places: Places, heads: Mapping[str, str] | None = None) -> Drawing:
    """A column per place, a line each for V, Θ and I3D; a violin half per data set and position.

    `heads` are the columns' titles where they are not the places' names.
    """
    names = list(dict.fromkeys(name for datasets in places.values() for name in datasets))
    present = {kind for datasets in places.values() for s in datasets.values() for kind in s}
    kinds = [kind for kind in KINDS if kind in present]
    page = sheet(2.7 * len(places) + 0.9, 1.75 * len(kinds) + 0.6)
    grid = page.subplots(len(kinds), len(places), squeeze=False, sharey="row")
    for column, (place, datasets) in enumerate(places.items()):
        grid[0][column].set_title((heads or {}).get(place, place), fontsize=8.5)
        for line, kind in enumerate(kinds):
            for name, sample in datasets.items():
                if kind in sample:
                    _violins(grid[line][column], sample[kind], names.index(name))
            _label(grid[line][column], kind, first=column == 0)
    for index, name in enumerate(names):
        grid[0][0].plot([], [], "s", color=_COLOURS[index % 2], label=name)
    handles = grid[0][0].get_legend_handles_labels()
    page.legend(*handles, loc="outside lower center", ncols=len(names))
    numbers = measure(places)
    alt = f"Violin plots of kernel values at {joined(list(places))} on {joined(names)}. "
    words = {p: [s["says"] for s in n["sentences"] if s["holds"]] for p, n in numbers.items()}
    alt += " ".join(f"At {place}: {joined(says)}." for place, says in words.items() if says)
    return Drawing(page, alt, numbers)


def in_words(numbers: Mapping[str, Any]) -> str:
    """How often each of the text's statements holds, over the places where it can be decided."""
    parts = []
    for index, sentence in enumerate(next(iter(numbers.values()))["sentences"]):
        verdicts = [one["sentences"][index]["holds"] for one in numbers.values()]
        decided = [v for v in verdicts if v is not None]
        result = f"holds at {sum(decided)} of {len(decided)} places" if decided else "undecided"
        parts.append(f"{sentence['says']}: {result}")
    return f"What the text says in words: {'; '.join(parts)}."


def _violins(axes: Axes, values: Floats, index: int) -> None:
    flat = values.reshape(-1, values.shape[-1])
    flat = flat[:: max(1, len(flat) // _MOST_DRAWN)]
    columns = [flat[:, p] + 0.0 for p in range(flat.shape[1])]
    if any(np.ptp(column) == 0 for column in columns):
        return
    side: Literal["low", "high"] = "low" if index % 2 == 0 else "high"
    parts = axes.violinplot(
        columns, positions=range(len(columns)), widths=0.9, points=80, side=side, showextrema=False
    )
    for body in parts["bodies"]:  # type: ignore[attr-defined]  # a list; the stub says Collection
        body.set_facecolor(_COLOURS[index % 2])
        body.set_alpha(0.75)
    shift = -0.06 if side == "low" else 0.06
    for place, column in enumerate(columns):
        low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
        axes.plot([place + shift] * 2, [low, high], color="#1C2024", linewidth=1.4)
        axes.plot([place + shift], [middle], "o", color="white", markersize=2.2)


def _label(axes: Axes, kind: str, *, first: bool) -> None:
    taps = kind != "importance"
    if taps:
        axes.set_xticks([0, 1, 2], ["t−1", "t", "t+1"])
    axes.set_xlabel("" if taps else "segment", labelpad=1)
    axes.grid(axis="y")
    axes.axhline(0, color=SOFT, linewidth=0.6)
    if first:
        axes.set_ylabel(KINDS[kind])


def _round(value: Any) -> float:
    return round(float(value), 4)
