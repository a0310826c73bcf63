"""A table's order by the means over all trainings of each row that are known.

One training per row leaves open how far another one would move the numbers. Where the profile's
reference distribution has trainings of every row of a column, their means are compared instead:
over the trainings of both rows, and over the videos that both were tested on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # loads `stats`, which takes a second, when it is used

from pipeline.reporting.cells import Cell
from pipeline.reporting.ordering import (
    LEAST_RANKED,
    Ordering,
    Pair,
    PairOfMeans,
    decided,
    verdict_of,
)
from pipeline.scores.reference import Bounds
from pipeline.scores.statistics import (
    SEED,
    Floats,
    Interval,
    Spread,
    difference_p,
    holm,
    with_trainings,
)

DRAWS = 2000


@dataclass(frozen=True)
class Trainings:
    """All trainings of a row under a protocol that are known, this run's own among them."""

    known: Bounds
    own_pct: float
    """This run's number."""
    own_videos: Interval
    """Its interval over videos alone, in percent."""

    @property
    def of_mean(self) -> Spread:
        """How far the mean over as many other trainings would be from it."""
        return Spread(self.known.spread_pct / self.known.trainings**0.5, self.known.df)


@dataclass(frozen=True)
class RowMean:
    """A row's mean over its trainings in percent, its interval over trainings and videos."""

    row: str
    trainings: int
    mean: float
    sd: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class TrainingOrder:
    """One column's order by means; `tau` (from LEAST_RANKED rows on) has a 95 % interval over
    trainings."""

    column: str
    of_trainings: str
    """How many each row has, in words: '5', '4 to 5'."""
    rows: tuple[RowMean, ...]
    tau: float | None
    tau_low: float | None
    tau_high: float | None
    pairs: tuple[PairOfMeans, ...]
    in_words: str


def order_of_means(
    ordering: Ordering, cells: Sequence[Cell], known: Mapping[str, Trainings]
) -> TrainingOrder | None:
    """The order of a column's cells whose order in this run is `ordering`.

    `known`: by row of the table; other rows are left out. None of fewer than two rows, and where
    the videos are of one cluster.
    """
    names = {*ordering.rows, *(row for pair in ordering.pairs for row in (pair.first, pair.second))}
    ordered = [cell for cell in cells if cell.row in names & known.keys()]
    if len(ordered) < 2 or any(pair.videos_error is None for pair in ordering.pairs):
        return None
    both = [pair for pair in ordering.pairs if {pair.first, pair.second} <= known.keys()]
    tested = [_difference(pair, known) for pair in both]
    adjusted = holm([p_value for _, _, p_value in tested])
    pairs = tuple(
        PairOfMeans(
            first=pair.first,
            second=pair.second,
            claimed_difference=pair.claimed_difference,
            measured_difference=round(difference, 4),
            ci_low=round(interval.low, 4),
            ci_high=round(interval.high, 4),
            p_holm=float(f"{p_holm:.4g}"),
            verdict=verdict_of(pair.claimed_difference, difference, p_holm),
        )
        for pair, (difference, interval, _), p_holm in zip(both, tested, adjusted, strict=True)
    )
    rows = tuple(_row_mean(cell.row, known[cell.row]) for cell in ordered)
    counts = sorted({row.trainings for row in rows})
    of = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    tau = _tau([cell for cell in ordered if cell.row in ordering.rows], known)
    words = _in_words(of, len(names) - len(ordered), tau, pairs)
    return TrainingOrder(ordering.column, of, rows, *tau, pairs, words)


def _difference(pair: Pair, known: Mapping[str, Trainings]) -> tuple[float, Interval, float]:
    first, second = known[pair.first], known[pair.second]
    difference = first.known.mean_pct - second.known.mean_pct
    videos = Spread(pair.videos_error or 0.0, pair.n_clusters - 1)
    return difference, *difference_p(difference, videos, first.of_mean, second.of_mean)


def _row_mean(row: str, trainings: Trainings) -> RowMean:
    """The interval over videos is this run's, moved to the mean."""
    known, videos = trainings.known, trainings.own_videos
    shift = known.mean_pct - trainings.own_pct
    moved = Interval(max(0.0, videos.low + shift), min(100.0, videos.high + shift))
    ends = with_trainings(known.mean_pct, moved, trainings.of_mean)
    return RowMean(
        row=row,
        trainings=known.trainings,
        mean=round(known.mean_pct, 4),
        sd=round(known.sd_pct, 4),
        ci_low=round(ends.low, 4),
        ci_high=round(ends.high, 4),
    )


def _tau(
    ranked: Sequence[Cell], known: Mapping[str, Trainings]
) -> tuple[float | None, float | None, float | None]:
    """Kendall's tau-b of the means with the claims, and the middle 95 % of it over draws of means
    from the rows' own uncertainty."""
    if len(ranked) < LEAST_RANKED:
        return None, None, None
    claimed = [float(cell.claimed or "nan") for cell in ranked]
    rows = [known[cell.row] for cell in ranked]
    means = np.array([row.known.mean_pct for row in rows])
    tau = float(scipy.stats.kendalltau(means, claimed).statistic)
    if not np.isfinite(tau):
        return None, None, None
    generator = np.random.default_rng(SEED)
    errors = np.array([row.of_mean.sd_pct for row in rows])
    steps = generator.standard_t([row.of_mean.df for row in rows], (DRAWS, len(rows)))
    low, high = np.nanquantile(taus(means + errors * steps, np.array(claimed)), [0.025, 0.975])
    return round(tau, 4), round(min(tau, float(low)), 4), round(max(tau, float(high)), 4)


def taus(draws_DR: Floats, claimed_R: Floats) -> Floats:
    """Kendall's tau-b of each draw with the claims, (D,): scipy's, of thousands at once; NaN
    for a draw of equal numbers."""
    first, second = np.triu_indices(len(claimed_R), 1)
    ours_DP = np.sign(draws_DR[:, first] - draws_DR[:, second])
    theirs_P = np.sign(claimed_R[first] - claimed_R[second])
    untied = np.count_nonzero(ours_DP, axis=1) * np.count_nonzero(theirs_P)
    with np.errstate(invalid="ignore"):
        return np.asarray(ours_DP @ theirs_P / np.sqrt(untied), dtype=np.float64)


def _in_words(
    of: str,
    left_out: int,
    tau: tuple[float | None, float | None, float | None],
    pairs: Sequence[PairOfMeans],
) -> str:
    text = f"By the means of {of} trainings of each row"
    if left_out:
        text += f" but {left_out}, of which one is known"
    if tau[0] is not None:
        text += f": tau {tau[0]:.2f} (95 % interval {tau[1]:.2f} to {tau[2]:.2f})"
    if pairs:
        text += f"; of {len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} {decided(pairs)}"
    return f"{text}."
