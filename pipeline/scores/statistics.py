"""Intervals and paired tests over videos: seeded, vectorised, no model and no file.

    V   videos
    R   rows (models) scored on the same videos
    B   resamples

A bootstrap draws V videos with replacement; one draw is shared by every row of a comparison. Every
one is seeded with SEED; where a comparison spans several data sets, data set number n of them takes
the independent stream (SEED, n), and (SEED, 0) is SEED's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

N_RESAMPLES = 2000
SEED = 20210
LEVEL_PCT = 95.0

_CHUNK_DRAWS = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A two-sided 95 % percentile interval."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two rows on the same videos.

    `first_only` and `second_only` count videos that exactly one of the two gets right;
    `difference_pct` is first minus second in points, `p_value` McNemar's exact two-sided one.
    """

    first_only: int
    second_only: int
    difference_pct: float
    interval: Interval
    p_value: float


def resample_weights(
    n_videos: int, *, n_resamples: int = N_RESAMPLES, seed: int = SEED
) -> Iterator[Floats]:
    """Blocks (b, V) of how often each video is drawn; the blocks together hold B rows."""
    generator = np.random.default_rng(seed)
    block = max(1, min(n_resamples, _CHUNK_DRAWS // max(1, n_videos)))
    done = 0
    while done < n_resamples:
        size = min(block, n_resamples - done)
        drawn = generator.integers(0, n_videos, size=(size, n_videos))
        offsets = np.arange(size)[:, None] * n_videos
        counts = np.bincount((drawn + offsets).ravel(), minlength=size * n_videos)
        yield counts.reshape(size, n_videos).astype(np.float64)
        done += size


def resampled_means(
    values: Floats, *, n_resamples: int = N_RESAMPLES, seed: int = SEED, stream: int = 0
) -> Floats:
    """(B, R) means of `values` (V, R) over B bootstrap draws of the videos, seeded (seed, stream).

    Drawing V videos with replacement draws each distinct line of `values` a multinomial number of
    times, so the lines are counted first: outcomes are few, videos are many.
    """
    n_videos = values.shape[0]
    if n_videos == 0:
        raise ValueError("a bootstrap needs at least one video")
    lines, counts = np.unique(values, axis=0, return_counts=True)
    generator = np.random.default_rng((seed, stream))
    drawn = generator.multinomial(n_videos, counts / n_videos, size=n_resamples)
    return np.asarray(drawn @ lines / n_videos)


def percentile_interval(samples: Floats) -> Interval:
    """The central 95 % of finite bootstrap samples (B,); NaN where none is finite."""
    if not np.isfinite(samples).any():
        return Interval(float("nan"), float("nan"))
    tail = (100.0 - LEVEL_PCT) / 2
    low, high = np.percentile(samples[np.isfinite(samples)], [tail, 100.0 - tail])
    return Interval(float(low), float(high))


def mean_interval(values: Floats, *, n_resamples: int = N_RESAMPLES, seed: int = SEED) -> Interval:
    """The bootstrap interval of the mean of `values` (V,)."""
    means = resampled_means(values[:, None], n_resamples=n_resamples, seed=seed)
    return percentile_interval(means[:, 0])


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided exact p of McNemar's test (McNemar 1947): the discordant videos as fair coins."""
    n_discordant = first_only + second_only
    if n_discordant == 0:
        return 1.0
    from scipy.stats import binom  # takes seconds, and an audit that looks at records needs none

    tail = binom.cdf(min(first_only, second_only), n_discordant, 0.5)
    return float(min(1.0, 2.0 * tail))


def paired_test(
    first: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = SEED,
) -> PairedTest:
    """Compare two rows' correctness (V,) on the same videos in the same order."""
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"need two equal non-empty vectors, got {first.shape} and {second.shape}")
    difference = first.astype(np.float64) - second.astype(np.float64)
    interval = mean_interval(difference, n_resamples=n_resamples, seed=seed)
    first_only = int((first & ~second).sum())
    second_only = int((second & ~first).sum())
    return PairedTest(
        first_only=first_only,
        second_only=second_only,
        difference_pct=100.0 * float(difference.mean()),
        interval=Interval(100.0 * interval.low, 100.0 * interval.high),
        p_value=mcnemar_exact(first_only, second_only),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down adjusted p values (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: (p_values[index], index))
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def kendall_tau_b(first: Floats, second: Floats) -> Floats:
    """Kendall's tau-b of `first` (…, R) against `second` (R,), along the last axis.

    NaN where either side is all ties. Kendall 1945; R is a table's rows, so pairs are enumerated.
    For 2,000 draws of ten rows that takes 10 ms, scipy's `kendalltau` 730 ms (1.17, `axis=1`).
    """
    left, right = np.triu_indices(second.shape[-1], k=1)
    signs_first = np.sign(first[..., left] - first[..., right])
    signs_second = np.sign(second[left] - second[right])
    concordance = (signs_first * signs_second).sum(axis=-1)
    untied_first = np.abs(signs_first).sum(axis=-1)
    untied_second = np.abs(signs_second).sum()
    scale = np.sqrt(untied_first * untied_second)
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = np.where(scale > 0, concordance / scale, np.nan)
    return np.asarray(tau, dtype=np.float64)
