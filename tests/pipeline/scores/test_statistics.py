"""Intervals and tests against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, kendalltau

from pipeline.scores.statistics import (
    holm,
    kendall_tau_b,
    mcnemar_exact,
    mean_interval,
    paired_test,
    percentile_interval,
    resample_weights,
    resampled_means,
)

STREAMS: tuple[dict[str, int], ...] = ({"stream": 0}, {"stream": 1})


def test_the_bootstrap_interval_of_a_share_is_the_binomial_one() -> None:
    values = np.repeat([1.0, 0.0], [700, 300])
    found = mean_interval(values)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 1000)
    assert found.low == pytest.approx(0.7 - half, abs=0.003)
    assert found.high == pytest.approx(0.7 + half, abs=0.003)
    assert mean_interval(values) == found
    assert mean_interval(values, seed=1) != found


def test_columns_share_each_draw() -> None:
    values = np.random.default_rng(0).random((200, 1)) < 0.4
    twice = np.repeat(values.astype(np.float64), 2, axis=1)
    means = resampled_means(twice, n_resamples=50)
    assert means.shape == (50, 2)
    assert (means[:, 0] == means[:, 1]).all()
    with pytest.raises(ValueError, match="at least one video"):
        resampled_means(np.zeros((0, 1)))


def test_every_data_set_of_a_comparison_has_a_stream_of_the_one_seed() -> None:
    values = (np.random.default_rng(0).random((200, 1)) < 0.4).astype(np.float64)
    plain, first, second = (resampled_means(values, **given) for given in ({}, *STREAMS))
    assert (plain == first).all()
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < 0.1


def test_weights_are_counts_of_draws() -> None:
    blocks = np.concatenate(list(resample_weights(7, n_resamples=30)))
    assert blocks.shape == (30, 7)
    assert (blocks.sum(axis=1) == 7).all()


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (3, 3), (120, 135), (84, 149)])
def test_mcnemar_is_the_binomial_test_of_discordant_videos(b: int, c: int) -> None:
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected)


def test_a_paired_test_counts_who_was_right_alone() -> None:
    first = np.array([True] * 60 + [False] * 40)
    second = np.array([True] * 50 + [False] * 10 + [True] * 5 + [False] * 35)
    found = paired_test(first, second)
    assert (found.first_only, found.second_only) == (10, 5)
    assert found.difference_pct == pytest.approx(5.0)
    assert found.interval.low < 5.0 < found.interval.high
    with pytest.raises(ValueError, match="equal non-empty"):
        paired_test(first, second[:-1])


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_tau_is_scipys() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        first = generator.integers(0, 5, size=6).astype(np.float64)
        second = generator.integers(0, 5, size=6).astype(np.float64)
        expected = kendalltau(first, second).statistic
        assert float(kendall_tau_b(first, second)) == pytest.approx(expected, nan_ok=True)
    stacked = kendall_tau_b(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0]]), np.array([0.0, 1.0]))
    assert stacked[:2].tolist() == [1.0, -1.0] and np.isnan(stacked[2])


def test_an_interval_of_nothing_finite_is_nan() -> None:
    found = percentile_interval(np.full(5, np.nan))
    assert np.isnan(found.low)
    assert np.isnan(found.high)
