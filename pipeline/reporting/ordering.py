"""Does a table's order of rows agree with the paper's, and which differences do the data support?

Kendall's tau-b compares measured with claimed numbers over the rows that have both, with a 95 %
interval from a bootstrap over videos (every row re-scored on the same draw). A pair of rows counts
as supported when McNemar's exact test separates them at 5 % after Holm's correction over the
table's pairs; anything else the data leave undecided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.reporting.cells import Cell
from pipeline.scores.scoring import shared_videos
from pipeline.scores.statistics import (
    PairedTest,
    holm,
    kendall_tau_b,
    paired_test,
    percentile_interval,
    resampled_means,
)
from pipeline.scores.video_scores import Outcomes

ALPHA = 0.05


@dataclass(frozen=True)
class Pair:
    """Two rows of a table on the same videos; differences are first minus second, in points.

    `verdict`: 'agrees' or 'contradicts' (supported, with or against the claim), 'supported' (there
    is no claimed difference to hold it against) or 'undecided'.
    """

    first: str
    second: str
    claimed_difference: float | None
    measured_difference: float
    ci_low: float
    ci_high: float
    n_videos: int
    first_only: int
    second_only: int
    p_value: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Ordering:
    """One column's order: tau over `rows` (None when fewer than two can be ranked), its pairs."""

    column: str
    rows: tuple[str, ...]
    smoke: bool
    tau: float | None
    tau_low: float | None
    tau_high: float | None
    pairs: tuple[Pair, ...]
    in_words: str


def find_ordering(
    column: str, cells: Sequence[Cell], outcomes: Mapping[tuple[str, str], Outcomes]
) -> Ordering | None:
    """The ordering of one column's `cells` (table order); None when nothing can be compared."""
    measured = [cell for cell in cells if cell.measured is not None]
    if len(measured) < 2:
        return None
    correct = _align(measured, outcomes)
    ranked = [cell for cell in measured if cell.claimed is not None]
    tau, low, high = _tau(ranked, correct)
    pairs = _pairs(measured, correct)
    if tau is None and not pairs:
        return None
    return Ordering(
        column=column,
        rows=tuple(cell.row for cell in ranked),
        smoke=any(cell.smoke for cell in measured),
        tau=tau,
        tau_low=low,
        tau_high=high,
        pairs=pairs,
        in_words=_in_words(len(ranked), tau, low, high, pairs),
    )


Correct = Mapping[str, npt.NDArray[np.bool_]]
"""Correctness (V,) of the rows that have outcomes, over the videos that all of them scored."""


def _align(cells: Sequence[Cell], outcomes: Mapping[tuple[str, str], Outcomes]) -> Correct:
    scored: dict[str, tuple[Sequence[str], npt.NDArray[np.bool_]]] = {}
    for cell in cells:
        outcome = outcomes.get((cell.lineage.run or "", cell.lineage.protocol or ""))
        if outcome is not None and (correct := outcome.correct(cell.lineage.metric)) is not None:
            scored[cell.row] = outcome.video_ids, correct
    if len(scored) < 2:
        return {}
    places = shared_videos(*(video_ids for video_ids, _ in scored.values()))
    return {
        row: correct[at]
        for (row, (_, correct)), at in zip(scored.items(), places, strict=True)
        if len(at)
    }


def _tau(
    ranked: Sequence[Cell], correct: Correct
) -> tuple[float | None, float | None, float | None]:
    if len(ranked) < 2:
        return None, None, None
    claimed = np.array([float(cell.claimed or "nan") for cell in ranked])
    measured = np.array([cell.measured for cell in ranked], dtype=np.float64)
    tau = float(kendall_tau_b(measured, claimed))
    if not np.isfinite(tau):
        return None, None, None
    if any(cell.row not in correct for cell in ranked):
        return round(tau, 4), None, None
    videos = np.stack([correct[cell.row] for cell in ranked], axis=1).astype(np.float64)
    interval = percentile_interval(kendall_tau_b(resampled_means(videos), claimed))
    if not np.isfinite(interval.low):
        return round(tau, 4), None, None
    return round(tau, 4), round(interval.low, 4), round(interval.high, 4)


def _pairs(cells: Sequence[Cell], correct: Correct) -> tuple[Pair, ...]:
    tested = [
        (first, second, paired_test(correct[first.row], correct[second.row]))
        for first, second in combinations([c for c in cells if c.row in correct], 2)
        if first.lineage.run != second.lineage.run
    ]
    adjusted = holm([test.p_value for _, _, test in tested])
    return tuple(_pair(*one, p_holm) for one, p_holm in zip(tested, adjusted, strict=True))


def _pair(first: Cell, second: Cell, test: PairedTest, p_holm: float) -> Pair:
    claimed = None
    if first.claimed is not None and second.claimed is not None:
        claimed = round(float(first.claimed) - float(second.claimed), 6)
    verdict = "undecided"
    if p_holm <= ALPHA and not claimed:
        verdict = "supported"
    elif p_holm <= ALPHA and claimed:
        verdict = "agrees" if claimed * test.difference_pct > 0 else "contradicts"
    return Pair(
        first=first.row,
        second=second.row,
        claimed_difference=claimed,
        measured_difference=round(test.difference_pct, 4),
        ci_low=round(test.interval.low, 4),
        ci_high=round(test.interval.high, 4),
        n_videos=test.n_videos,
        first_only=test.first_only,
        second_only=test.second_only,
        p_value=float(f"{test.p_value:.4g}"),
        p_holm=float(f"{p_holm:.4g}"),
        verdict=verdict,
    )


def _in_words(
    n_rows: int,
    tau: float | None,
    low: float | None,
    high: float | None,
    pairs: Sequence[Pair],
) -> str:
    sentences = []
    if tau is not None:
        known = low is not None and high is not None
        interval = f" (95 % interval {low:.2f} to {high:.2f})" if known else ""
        sentences.append(
            f"Order of {n_rows} rows against the paper's: Kendall's tau {tau:.2f}{interval}."
        )
    if len(pairs) == 1 and pairs[0].claimed_difference is None:
        sentences.append(_one_difference(pairs[0]))
    elif pairs:
        count = Counter(pair.verdict for pair in pairs)
        parts = []
        if any(pair.claimed_difference is not None for pair in pairs):
            parts += [f"{count['agrees']} ordered as in the paper"]
            parts += [f"{count['contradicts']} reversed"]
        if count["supported"]:
            parts.append(f"{count['supported']} apart without a printed difference")
        parts.append(f"{count['undecided']} undecided")
        noun = "pair" if len(pairs) == 1 else "pairs"
        sentences.append(f"Of {len(pairs)} {noun} on the same videos: {', '.join(parts)}.")
    return " ".join(sentences)


def _one_difference(pair: Pair) -> str:
    p_value = "p < 0.001" if pair.p_value < 0.001 else f"p = {pair.p_value:.3f}"
    return (
        f"{pair.first} minus {pair.second}: {pair.measured_difference:+.2f} points "
        f"(95 % interval {pair.ci_low:+.2f} to {pair.ci_high:+.2f}; McNemar's exact test on "
        f"{pair.n_videos} videos: {pair.first_only} against {pair.second_only}, {p_value})."
    )
