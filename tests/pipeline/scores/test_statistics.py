"""Intervals and tests against independent implementations, and how often they are right."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest, t, ttest_1samp

from pipeline.scores.statistics import (
    Floats,
    Interval,
    Spread,
    cluster_codes,
    holm,
    jackknife_interval,
    mean_interval,
    paired_test,
    resampled_means,
    share_interval,
    sign_flip_p,
    with_trainings,
)

STREAMS: tuple[dict[str, int], ...] = ({"stream": 0}, {"stream": 1})
N_SIMULATED = 800


def test_the_interval_of_single_videos_is_students() -> None:
    values = np.random.default_rng(0).normal(2.0, 3.0, 40)
    expected = ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_equal_clusters_is_students_over_their_means() -> None:
    values = np.random.default_rng(1).normal(0.0, 1.0, 30)
    codes = np.repeat(np.arange(6), 5)
    expected = ttest_1samp(values.reshape(6, 5).mean(axis=1), 0.0).confidence_interval(0.95)
    found = mean_interval(values, codes)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("right", [0, 3, 28, 40])
def test_the_interval_of_a_share_of_single_videos_is_wilsons_or_a_little_wider(right: int) -> None:
    values = np.repeat([1.0, 0.0], [right, 40 - right])
    wilson = binomtest(right, 40).proportion_ci(0.95, method="wilson")
    found = share_interval(values)
    assert found.low <= wilson.low and found.high >= wilson.high
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=0.02)


def test_videos_of_one_cluster_count_less_than_as_many_single_ones() -> None:
    values = np.repeat([1.0, 0.0], [30, 30])
    together, alone = (share_interval(values, c) for c in (np.repeat(np.arange(12), 5), None))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize("videos", [1, 7])
def test_one_cluster_gives_no_interval(videos: int) -> None:
    codes = np.zeros(videos, dtype=np.int64)
    for found in (
        share_interval(np.ones(videos), codes),
        mean_interval(np.ones(videos), codes),
        jackknife_interval(1.0, np.ones(1)),
    ):
        assert np.isnan(found.low) and np.isnan(found.high)


def clustered(
    rng: np.random.Generator, clusters: int, videos: int, share: float, alike: float
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Right or wrong, `alike` being the correlation within a cluster."""
    scale = (1 - alike) / alike
    each = rng.beta(share * scale, (1 - share) * scale, clusters)
    right = rng.random(clusters * videos) < np.repeat(each, videos)
    return right.astype(np.float64), np.repeat(np.arange(clusters), videos)


@pytest.mark.parametrize(
    ("clusters", "videos", "share", "alike"),
    [
        (9, 10, 0.7, 0.1),
        (9, 10, 0.4, 0.2),
        (24, 2, 0.4, 0.3),
        (40, 4, 0.5, 0.3),
        (616, 2, 0.8, 0.3),
    ],
)
def test_intervals_of_a_share_hold_the_truth_as_often_as_they_say(
    clusters: int, videos: int, share: float, alike: float
) -> None:
    rng = np.random.default_rng(5)
    hits = naive = 0
    for _ in range(N_SIMULATED):
        values, codes = clustered(rng, clusters, videos, share, alike)
        found, single = share_interval(values, codes), share_interval(values)
        hits += found.low <= share <= found.high
        naive += single.low <= share <= single.high
    assert 0.93 <= hits / N_SIMULATED <= 0.975
    assert naive < hits  # what counting videos would give


@pytest.mark.parametrize(("clusters", "videos"), [(9, 10), (40, 4), (150, 2)])
def test_intervals_and_tests_of_a_difference_err_as_often_as_they_say(
    clusters: int, videos: int
) -> None:
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(clusters), videos)
    covered = rejected = 0
    for _ in range(300):
        common = rng.normal(0, 1, clusters)
        first, second = (
            rng.random(codes.size)
            < 1 / (1 + np.exp(-np.repeat(common + rng.normal(0, 0.7, clusters), videos)))
            for _ in range(2)
        )
        found = paired_test(first, second, codes)
        covered += found.interval.low <= 0 <= found.interval.high
        rejected += found.p_value <= 0.05
    assert 0.92 <= covered / 300 <= 0.98
    assert rejected / 300 <= 0.07


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, 25)
    without = (values.sum() - values) / 24
    found, expected = jackknife_interval(float(values.mean()), without), mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_columns_share_each_draw() -> None:
    values = np.random.default_rng(0).random((200, 1)) < 0.4
    means = resampled_means(np.repeat(values.astype(np.float64), 2, axis=1))
    assert (means[:, 0] == means[:, 1]).all()
    with pytest.raises(ValueError, match="at least one video"):
        resampled_means(np.zeros((0, 1)))


def test_every_data_set_of_a_comparison_has_a_stream_of_the_one_seed() -> None:
    values = (np.random.default_rng(0).random((200, 1)) < 0.4).astype(np.float64)
    plain, first, second = (resampled_means(values, **given) for given in ({}, *STREAMS))
    assert (plain == first).all()
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.1


def test_whole_clusters_are_drawn() -> None:
    values, codes = clustered(np.random.default_rng(3), 40, 5, 0.6, 0.5)
    draws = resampled_means(values[:, None], codes)[:, 0]
    interval = mean_interval(values, codes)
    expected = (interval.high - interval.low) / 2 / t.ppf(0.975, 39)
    assert draws.std() == pytest.approx(expected, rel=0.06)
    assert resampled_means(values[:, None]).std() < 0.8 * draws.std()


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (3, 3), (120, 135), (84, 149)])
def test_flipping_single_videos_is_mcnemars_exact_test(b: int, c: int) -> None:
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert sign_flip_p(np.repeat([1.0, -1.0, 0.0], [b, c, 9])) == pytest.approx(expected)


def test_few_clusters_are_flipped_in_every_way() -> None:
    sums = np.array([4.0, 2.0, -1.0, 3.0, 5.0, 0.0])
    flips = [abs(sum(s * x for s, x in zip(signs, sums, strict=True))) for signs in
             product((-1, 1), repeat=sums.size)]  # fmt: skip
    expected = np.mean([value >= 13.0 for value in flips])
    assert sign_flip_p(sums) == pytest.approx(float(expected))


def test_nine_people_cannot_give_less_than_one_in_256() -> None:
    assert sign_flip_p(np.array([3.0, 2, 4, 1, 5, 2, 3, 4, 6])) == pytest.approx(2 / 2**9)


def test_many_clusters_are_flipped_in_every_way_too() -> None:
    rng = np.random.default_rng(4)
    sums = rng.integers(-2, 3, 60).astype(np.float64)
    flips = rng.integers(0, 2, size=(100_000, 60)) * 2.0 - 1
    sampled = (np.abs(flips @ sums) >= abs(sums.sum())).mean()
    assert sign_flip_p(sums) == pytest.approx(float(sampled), abs=0.006)
    assert sign_flip_p(np.abs(sums) + 1) == pytest.approx(2.0**-59)


@pytest.mark.parametrize("trainings", [1, 3, 5, 7])
def test_shares_of_trainings_are_counted_in_their_own_unit(trainings: int) -> None:
    sums = np.random.default_rng(5).integers(-4, 5, 40).astype(np.float64)
    assert sign_flip_p(sums / trainings) == pytest.approx(sign_flip_p(sums))


def test_a_paired_test_counts_who_was_right_alone() -> None:
    first = np.array([True] * 60 + [False] * 40)
    second = np.array([True] * 50 + [False] * 10 + [True] * 5 + [False] * 35)
    found = paired_test(first, second, cluster_codes(["a", "b"] * 50))
    assert (found.first_only, found.second_only, found.n_clusters) == (10, 5, 2)
    assert found.difference_pct == pytest.approx(5.0)
    assert found.interval.low < 5.0 < found.interval.high
    with pytest.raises(ValueError, match="equal non-empty"):
        paired_test(first, second[:-1])


def test_clusters_are_numbered_from_nought() -> None:
    assert cluster_codes(["film b", "film a", "film b"]).tolist() == [1, 0, 1]
    assert cluster_codes([]).size == 0


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_four_of_five_tests_see_the_difference_that_is_called_detectable() -> None:
    rng = np.random.default_rng(8)
    planned = paired_test(rng.random(600) < 0.5, rng.random(600) < 0.5)
    gain = planned.detectable_pct / 100
    seen = [
        paired_test(rng.random(600) < 0.5 + gain, rng.random(600) < 0.5).interval.low > 0
        for _ in range(400)
    ]
    assert 0.73 <= np.mean(seen) <= 0.87
    assert planned.clusters_needed(planned.detectable_pct) == pytest.approx(600, rel=0.01)
    assert planned.clusters_needed(planned.detectable_pct / 2) == pytest.approx(2400, rel=0.01)


@pytest.mark.parametrize("sd_pct", [0.5, 3.0])
def test_a_test_over_videos_and_trainings_errs_as_often_as_it_says(sd_pct: float) -> None:
    rng = np.random.default_rng(7)
    df, videos, wrong, runs = 30.0, 400, 0, 600
    for _ in range(runs):
        estimates = sd_pct * np.sqrt(rng.chisquare(df, 2) / df)
        shares = 0.7 + rng.normal(0, sd_pct / 100, 2)
        first, second = (rng.random(videos) < share for share in shares)
        spreads = (Spread(estimates[0], df), Spread(estimates[1], df))
        found = paired_test(first, second, spreads=spreads)
        assert found.trainings and found.p_value >= paired_test(first, second).p_value
        wrong += not found.interval.low <= 0 <= found.interval.high
    assert 0.02 < wrong / runs < 0.08


def test_an_interval_widens_by_what_trainings_add_on_either_side() -> None:
    videos = Interval(60.0, 74.0)
    assert with_trainings(70.0, videos, None) == videos
    wide = with_trainings(70.0, videos, Spread(2.0, 1e9))
    half = 1.96 * 2.0
    assert wide.low == pytest.approx(70 - np.hypot(10, half), abs=0.01)
    assert wide.high == pytest.approx(70 + np.hypot(4, half), abs=0.01)
    assert with_trainings(99.0, Interval(97.0, 99.5), Spread(5.0, 10)).high == 100.0
