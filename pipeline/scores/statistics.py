"""Intervals and paired tests over clusters of videos: no model and no file.

    V   videos
    C   clusters: videos that came about together (one person, one film, one scene)
    R   rows (models) scored on the same videos
    B   bootstrap draws

Videos of one cluster are right or wrong together, so that clusters count, not videos (Miller 2024,
arXiv 2411.00640). Where nothing is known of clusters each video is one of its own.

Videos do not tell how far a second training would move a number. Where that is known (`Spread`),
the variances of videos and of trainings are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # loads `stats`, which takes a second, when it is used

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
"""(V,) each video's cluster as a number from 0; None stands for clusters of one video."""

N_RESAMPLES = 2000
SEED = 20210
LEVEL_PCT = 95.0
POWER_PCT = 80.0
"""How often a test should see a true difference of the size that is asked for."""

_GRID = 2520
"""Parts of a right answer that a difference is counted in: all of 1 to 10 divide it."""


@dataclass(frozen=True)
class Interval:
    """A two-sided 95 % interval; NaN at both ends where one cluster allows none."""

    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """How far a row's number would move with other trainings."""

    sd_pct: float
    """The standard deviation of the mean over the row's trainings, in points."""
    df: float
    """Degrees of freedom of the estimate."""


@dataclass(frozen=True)
class PairedTest:
    """Two rows on the same videos.

    `first_only` and `second_only` count videos that one of the two gets right more often than the
    other; `difference_pct` is first minus second in points. `p_value` is that of `sign_flip_p`,
    over videos; where both rows' `Spread` is known, at least that of a t test over both.
    """

    first_only: int
    second_only: int
    n_clusters: int
    difference_pct: float
    interval: Interval
    p_value: float
    df: float
    """Degrees of freedom of the interval."""
    videos_error_pct: float
    """The standard error over clusters of videos alone, in points."""
    trainings: bool = False
    """Whether interval and p value cover trainings besides videos."""

    @property
    def detectable_pct(self) -> float:
        """The true difference, in points, that POWER_PCT of such tests would see (uncorrected)."""
        if self.n_clusters < 2:
            return float("nan")
        half = (self.interval.high - self.interval.low) / 2
        power = float(scipy.stats.t.ppf(POWER_PCT / 100, self.df))
        return half * (1 + power / _t_quantile(self.df))

    def clusters_needed(self, difference_pct: float) -> int:
        """As many clusters like these see a true difference of that many points as often, as far
        as videos are concerned."""
        ends = scipy.stats.norm.ppf([0.5 + LEVEL_PCT / 200, POWER_PCT / 100]).sum()
        needed = float(ends * self.videos_error_pct / difference_pct) ** 2
        return int(np.ceil(self.n_clusters * needed))


def cluster_codes(names: Sequence[str]) -> Codes:
    """(V,) numbers of the clusters named."""
    return np.asarray(np.unique(np.array(names, dtype=object), return_inverse=True)[1], np.int64)


def mean_interval(values: Floats, clusters: Codes | None = None) -> Interval:
    """The interval of the mean of `values` (V,): Student's t with C - 1 degrees of freedom and the
    standard error that is robust to clusters (Liang & Zeger 1986)."""
    error, n_clusters = _standard_error(values, clusters)
    if n_clusters < 2:
        return Interval(float("nan"), float("nan"))
    half = _t(n_clusters) * error
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def share_interval(values: Floats, clusters: Codes | None = None) -> Interval:
    """The interval of a share between 0 and 1, the mean of `values` (V,).

    Wilson's, with the number of videos that independent ones would need for the same standard
    error, V at most, and t for z (Korn & Graubard 1998; Dean & Pagano 2015). So 40 of 40 right is
    no certainty.
    """
    share = float(values.mean())
    error, n_clusters = _standard_error(values, clusters)
    if n_clusters < 2:
        return Interval(float("nan"), float("nan"))
    spread = share * (1 - share)
    n = float(n_clusters) if spread <= 0 else float(values.size)
    if spread > 0 and error > 0:
        n = min(n, spread / error**2)
    t2 = _t(n_clusters) ** 2
    centre = (share + t2 / (2 * n)) / (1 + t2 / n)
    half = np.sqrt(t2 * (max(spread, 0.0) / n + t2 / (4 * n * n))) / (1 + t2 / n)
    return Interval(max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def jackknife_interval(value: float, without: Floats) -> Interval:
    """The interval of a statistic from its values (C,) with each cluster left out (Tukey 1958).

    For what a bootstrap distorts: a video drawn twice raises average precision.
    """
    n_clusters = without.size
    if n_clusters < 2:
        return Interval(float("nan"), float("nan"))
    around = without - without.mean()
    error = float(np.sqrt((n_clusters - 1) / n_clusters * (around**2).sum()))
    return Interval(value - _t(n_clusters) * error, value + _t(n_clusters) * error)


def resampled_means(values: Floats, clusters: Codes | None = None, *, stream: int = 0) -> Floats:
    """(B, R) means of `values` (V, R) over B bootstrap draws of the clusters.

    One draw is shared by all rows. Where a comparison spans several data sets, number n of them
    takes the independent stream (SEED, n). Clusters are drawn with replacement; equal ones are
    counted first, as there are few kinds.
    """
    if values.shape[0] == 0:
        raise ValueError("a bootstrap needs at least one video")
    sums, sizes = _totals(values, clusters)
    kinds, counts = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    generator = np.random.default_rng((SEED, stream))
    draws = generator.multinomial(sizes.size, counts / sizes.size, size=N_RESAMPLES) @ kinds
    return np.asarray(draws[:, :-1] / draws[:, -1:])


def with_trainings(value: float, videos: Interval, spread: Spread | None) -> Interval:
    """An interval over videos, in percent, widened by what trainings add on either side."""
    if spread is None or np.isnan(videos.low):
        return videos
    half = _t_quantile(spread.df) * spread.sd_pct
    low, high = np.hypot(value - videos.low, half), np.hypot(videos.high - value, half)
    return Interval(max(0.0, float(value - low)), min(100.0, float(value + high)))


def paired_test(
    first: Floats | npt.NDArray[np.bool_],
    second: Floats | npt.NDArray[np.bool_],
    clusters: Codes | None = None,
    spreads: tuple[Spread | None, Spread | None] = (None, None),
) -> PairedTest:
    """Compare two rows' correctness (V,) on the same videos in the same order: right or wrong, or
    the share of trainings that are right."""
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"need two equal non-empty vectors, got {first.shape} and {second.shape}")
    difference = first.astype(np.float64) - second.astype(np.float64)
    mean = 100.0 * float(difference.mean())
    error, n_clusters = _standard_error(difference, clusters)
    if n_clusters < 2:
        error = float("nan")
    error, df = 100 * error, n_clusters - 1.0
    videos_error, total = error, error
    sums, _ = _totals(difference[:, None], clusters)
    p_value = sign_flip_p(sums[:, 0])
    one, other = spreads
    trainings = one is not None and other is not None and n_clusters > 1
    if trainings:
        assert one is not None and other is not None
        total, df = _combined(videos_error, df, one, other)
        videos = Spread(videos_error, n_clusters - 1.0)
        p_value = max(p_value, difference_p(mean, videos, one, other)[1])
    half = _t_quantile(df) * total if n_clusters > 1 else float("nan")
    return PairedTest(
        first_only=int((first > second).sum()),
        second_only=int((second > first).sum()),
        n_clusters=n_clusters,
        difference_pct=mean,
        interval=Interval(max(-100.0, mean - half), min(100.0, mean + half)),
        p_value=p_value,
        df=df,
        videos_error_pct=videos_error,
        trainings=trainings,
    )


def _combined(error_pct: float, df: float, *spreads: Spread) -> tuple[float, float]:
    """The standard error of videos and trainings together, and its degrees of freedom
    (Welch-Satterthwaite). Trainings of two rows are taken as independent."""
    parts = [(error_pct, df), *((spread.sd_pct, spread.df) for spread in spreads)]
    total = sum(sd**2 for sd, _ in parts)
    if total == 0:
        return 0.0, df
    return float(np.sqrt(total)), total**2 / sum(sd**4 / own for sd, own in parts if sd)


def difference_p(mean_pct: float, *errors: Spread) -> tuple[Interval, float]:
    """The interval of a difference whose standard errors are independent, and its two-sided p."""
    total, df = _combined(errors[0].sd_pct, errors[0].df, *errors[1:])
    half = _t_quantile(df) * total
    p_value = (
        2 * float(scipy.stats.t.sf(abs(mean_pct) / total, df)) if total else float(not mean_pct)
    )
    return Interval(max(-100.0, mean_pct - half), min(100.0, mean_pct + half)), p_value


def sign_flip_p(sums: Floats) -> float:
    """Two-sided p of differences summed by cluster (C,), each as likely to have the other sign.

    Exact: with single videos it is McNemar's exact test. Sums are right answers more or fewer, or
    shares of trainings, and are rounded to 1/2520, of which shares of up to ten trainings are
    multiples. With C clusters that differ, p cannot be below 2 / 2^C, whatever the data.
    """
    steps = np.rint(sums * _GRID).astype(np.int64)
    steps = steps[steps != 0]
    if steps.size == 0:
        return 1.0
    steps //= np.gcd.reduce(np.abs(steps))
    chances = np.ones(1)
    for size, count in zip(*np.unique(np.abs(steps), return_counts=True), strict=True):
        longer = np.zeros(chances.size + 2 * size * count)
        for ups, chance in enumerate(scipy.stats.binom.pmf(np.arange(count + 1), count, 0.5)):
            longer[2 * size * ups :][: chances.size] += chance * chances
        chances = longer
    totals = np.arange(chances.size) - chances.size // 2
    return min(1.0, float(chances[np.abs(totals) >= abs(int(steps.sum()))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down adjusted p values (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: (p_values[index], index))
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _totals(values: Floats, clusters: Codes | None) -> tuple[Floats, Floats]:
    """Sums (C, R) of `values` (V, R) within each cluster, and how many videos (C,) it has."""
    if clusters is None:
        return values, np.ones(values.shape[0])
    sums = np.zeros((int(clusters.max()) + 1, values.shape[1]))
    np.add.at(sums, clusters, values)
    return sums, np.bincount(clusters).astype(np.float64)


def _standard_error(values: Floats, clusters: Codes | None) -> tuple[float, int]:
    """That of the mean of `values` (V,), and the number of clusters."""
    sums, sizes = _totals(values[:, None], clusters)
    n_clusters = sizes.size
    residuals = sums[:, 0] - values.mean() * sizes
    correction = n_clusters / max(1, n_clusters - 1)
    return float(np.sqrt(correction * (residuals**2).sum()) / values.size), n_clusters


def _t(n_clusters: int) -> float:
    return _t_quantile(n_clusters - 1)


def _t_quantile(df: float) -> float:
    return float(scipy.stats.t.ppf(0.5 + LEVEL_PCT / 200, df))
