"""Does a table's order of rows agree with the paper's, and which differences do the data support?

Kendall's tau-b compares measured with claimed numbers over the rows that have both; with fewer than
five rows the pairs are counted instead. A pair of rows counts as supported when a test separates
them at 5 % after Holm's correction over the table's pairs: a sign-flip test over clusters of videos
and, where it is known how far trainings of both rows lie apart, a t test over both. Anything else
the data leave undecided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np
import scipy  # loads `stats`, which takes a second, when it is used

from pipeline.reporting.cells import Cell, Lineage, Status
from pipeline.scores.statistics import PairedTest, Spread, holm, paired_test
from pipeline.scores.video_scores import Outcomes, compare

AllOutcomes = Mapping[tuple[str, str], Outcomes]
"""By row and protocol."""
SpreadOf = Callable[[Lineage], Spread | None]
"""How far trainings of the row behind a cell lie apart."""

ALPHA = 0.05
LEAST_RANKED = 5
"""Rows below which a rank correlation says less than its pairs."""


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
    n_clusters: int
    over: str
    """What interval and p values cover: 'videos' or 'videos and trainings'."""
    videos_error: float | None
    """Standard error of the difference over clusters of videos alone; None of a single cluster."""
    detectable: float | None
    """The true difference in points that four of five such tests would see, before correction."""
    first_only: int
    second_only: int
    p_value: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class PairOfMeans:
    """Two rows' difference of means, first minus second in points; `verdict` is as of `Pair`."""

    first: str
    second: str
    claimed_difference: float | None
    measured_difference: float
    ci_low: float
    ci_high: float
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Ordering:
    """One column's order: tau over `rows` (None for fewer than LEAST_RANKED or all ties), its
    pairs."""

    column: str
    rows: tuple[str, ...]
    smoke: bool
    tau: float | None
    pairs: tuple[Pair, ...]
    in_words: str


def find_ordering(
    column: str, cells: Sequence[Cell], outcomes: AllOutcomes, spread_of: SpreadOf
) -> Ordering | None:
    """The ordering of one column's `cells` (table order); None when nothing can be compared."""
    # A number of a part of the test videos is held against none.
    whole = [cell for cell in cells if cell.status is not Status.PARTIAL]
    measured = [cell for cell in whole if cell.measured is not None]
    if len(measured) < 2:
        return None
    ranked = [cell for cell in measured if cell.claimed is not None]
    pairs = _pairs(measured, outcomes, spread_of)
    if len(ranked) < 2 and not pairs:
        return None
    tau = _tau(ranked)
    return Ordering(
        column=column,
        rows=tuple(cell.row for cell in ranked),
        smoke=any(cell.smoke for cell in measured),
        tau=tau,
        pairs=pairs,
        in_words=_in_words(ranked, tau, pairs),
    )


def _tau(ranked: Sequence[Cell]) -> float | None:
    if len(ranked) < LEAST_RANKED:
        return None
    claimed = [float(cell.claimed or "nan") for cell in ranked]
    tau = float(scipy.stats.kendalltau([cell.measured for cell in ranked], claimed).statistic)
    return round(tau, 4) if np.isfinite(tau) else None


def _pairs(cells: Sequence[Cell], outcomes: AllOutcomes, spread_of: SpreadOf) -> tuple[Pair, ...]:
    at = {cell.row: (cell.lineage.run or "", cell.lineage.protocol or "") for cell in cells}
    scored = {
        c.row: (outcomes[at[c.row]], c.lineage.metric) for c in cells if at[c.row] in outcomes
    }
    right, clusters = compare(scored)
    tested = [
        (
            first,
            second,
            paired_test(
                right[first.row],
                right[second.row],
                clusters,
                (spread_of(first.lineage), spread_of(second.lineage)),
            ),
        )
        for first, second in combinations([cell for cell in cells if cell.row in right], 2)
        if first.lineage.run != second.lineage.run
    ]
    adjusted = holm([test.p_value for _, _, test in tested])
    return tuple(
        _pair(first, second, test, p_holm, right[first.row].size)
        for (first, second, test), p_holm in zip(tested, adjusted, strict=True)
    )


def _pair(first: Cell, second: Cell, test: PairedTest, p_holm: float, n_videos: int) -> Pair:
    claimed = None
    if first.claimed is not None and second.claimed is not None:
        claimed = round(float(first.claimed) - float(second.claimed), 6)
    return Pair(
        first=first.row,
        second=second.row,
        claimed_difference=claimed,
        measured_difference=round(test.difference_pct, 4),
        ci_low=round(test.interval.low, 4),
        ci_high=round(test.interval.high, 4),
        n_videos=n_videos,
        n_clusters=test.n_clusters,
        over="videos and trainings" if test.trainings else "videos",
        videos_error=round(test.videos_error_pct, 4)
        if np.isfinite(test.videos_error_pct)
        else None,
        detectable=round(test.detectable_pct, 2) if np.isfinite(test.detectable_pct) else None,
        first_only=test.first_only,
        second_only=test.second_only,
        p_value=float(f"{test.p_value:.4g}"),
        p_holm=float(f"{p_holm:.4g}"),
        verdict=verdict_of(claimed, test.difference_pct, p_holm),
    )


def verdict_of(claimed: float | None, measured: float, p_holm: float) -> str:
    """What a tested difference says of the printed one, as in `Pair`."""
    if p_holm > ALPHA:
        return "undecided"
    if not claimed:
        return "supported"
    return "agrees" if claimed * measured > 0 else "contradicts"


def _in_words(ranked: Sequence[Cell], tau: float | None, pairs: Sequence[Pair]) -> str:
    sentences = []
    if tau is not None:
        sentences.append(
            f"Order of {len(ranked)} rows against the paper's: Kendall's tau {tau:.2f}."
        )
    elif len(ranked) > 1:
        agree, of = _in_order(ranked)
        sentences.append(
            f"As measured, {agree} of {of} {'pair is' if of == 1 else 'pairs are'} "
            "in the paper's order."
        )
    if len(pairs) == 1 and pairs[0].claimed_difference is None:
        sentences.append(_one_difference(pairs[0]))
    elif pairs:
        noun = "pair" if len(pairs) == 1 else "pairs"
        alone = sum(pair.over == "videos" for pair in pairs)
        count_alone = f" for {alone} of them" if 0 < alone < len(pairs) else ""
        only = f", trainings left out{count_alone}," if alone else ""
        counts = decided(pairs)
        sentences.append(f"Of {len(pairs)} {noun} on the same videos{only} {counts}.")
        if sizes := [pair.detectable for pair in pairs if pair.detectable is not None]:
            sentences.append(
                f"Single tests of this size mostly see differences from {median(sizes):.1f} points."
            )
    return " ".join(sentences)


def decided(pairs: Sequence[Pair | PairOfMeans]) -> str:
    """How many pairs have which verdict, in words."""
    count = Counter(pair.verdict for pair in pairs)
    if count["undecided"] == len(pairs) > 1:
        return "none is decided"
    parts = []
    if any(pair.claimed_difference is not None for pair in pairs):
        parts += [f"{count['agrees']} ordered as in the paper", f"{count['contradicts']} reversed"]
    if count["supported"]:
        parts.append(f"{count['supported']} apart without a printed difference")
    return ", ".join([*parts, f"{count['undecided']} undecided"])


def _in_order(ranked: Sequence[Cell]) -> tuple[int, int]:
    """How many pairs are measured in the printed order, of those printed apart."""
    signs = [
        (
            float(a.claimed or "nan") - float(b.claimed or "nan"),
            (a.measured or 0) - (b.measured or 0),
        )
        for a, b in combinations(ranked, 2)
    ]
    apart = [(claimed, measured) for claimed, measured in signs if claimed]
    return sum(claimed * measured > 0 for claimed, measured in apart), len(apart)


def _one_difference(pair: Pair) -> str:
    p_value = "p < 0.001" if pair.p_value < 0.001 else f"p = {pair.p_value:.3f}"
    clusters = "" if pair.n_clusters == pair.n_videos else f" in {pair.n_clusters} clusters"
    return (
        f"{pair.first} minus {pair.second}: {pair.measured_difference:+.2f} points "
        f"(95 % interval {pair.ci_low:+.2f} to {pair.ci_high:+.2f}; test over {pair.over} on "
        f"{pair.n_videos} videos{clusters}: {pair.first_only} against {pair.second_only}, "
        f"{p_value})."
    )
