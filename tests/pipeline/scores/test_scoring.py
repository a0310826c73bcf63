"""Views to videos, videos to metrics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from pipeline.core.errors import DataError, UsageError
from pipeline.scores.predictions import Predictions, ViewLogits, collect, read, write
from pipeline.scores.scoring import (
    VideoScores,
    correct_at,
    ensemble_clipped_logit_sum,
    ensemble_softmax_mean,
    fuse_streams,
    map_interval,
    mean_average_precision,
    mean_correct,
    pool,
    predicted,
    score_videos,
    softmax,
    summarise,
)
from pipeline.scores.statistics import jackknife_interval


def views(logits: dict[str, list[list[float]]], label: int = 0) -> Predictions:
    """Predictions whose video id maps to the logits of its clips."""
    found = [
        ViewLogits(video_id, (label,), clip, 0, row)
        for video_id, rows in logits.items()
        for clip, row in enumerate(rows)
    ]
    return collect("row", "protocol", found)


def scores(rows: list[list[float]], labels: list[tuple[int, ...]]) -> VideoScores:
    ids = tuple(f"v{i}" for i in range(len(rows)))
    return VideoScores(ids, tuple(labels), np.array(rows, dtype=np.float64), ())


def test_aggregates() -> None:
    given = views({"a": [[2.0, -4.0], [0.0, 2.0]], "b": [[1.0, -1.0]]})
    assert score_videos(given, "mean_logits").scores.tolist() == [[1.0, -1.0], [1.0, -1.0]]
    clipped = score_videos(given, "sum_clipped_logits").scores
    assert clipped.tolist() == [[2.0, 2.0], [1.0, 0.0]]
    softened = score_videos(given, "mean_softmax").scores
    expected = (softmax(np.array([2.0, -4.0])) + softmax(np.array([0.0, 2.0]))) / 2
    assert softened[0] == pytest.approx(expected)
    with pytest.raises(UsageError, match="unknown aggregate"):
        score_videos(given, "median")


def test_a_video_with_a_failed_view_is_failed() -> None:
    found = [
        ViewLogits("a", (0,), 0, 0, [1.0, 0.0]),
        ViewLogits("a", (0,), 1, 0, status="corrupt"),
        ViewLogits("b", (0,), 0, 0, [1.0, 0.0]),
        ViewLogits("c", (0,), status="missing"),
    ]
    videos = score_videos(collect("r", "p", found), "mean_logits")
    assert videos.video_ids == ("b",)
    assert videos.failed == ("a", "c")
    summary = summarise([videos], "top1")
    assert (summary["n_expected"], summary["n_scored"], summary["n_failed"]) == (3, 1, 2)
    assert summary["top1_pct"] == 100.0


def test_ties_go_to_the_lower_class() -> None:
    videos = scores([[1.0, 1.0, 0.0]] * 2, [(0,), (1,)])
    assert predicted(videos).tolist() == [0, 0]
    assert correct_at(videos, 1).tolist() == [True, False]
    assert correct_at(videos, 2).tolist() == [True, True]


def test_top5_with_fewer_classes_is_always_right() -> None:
    videos = scores([[3.0, 2.0, 1.0]], [(2,)])
    assert not correct_at(videos, 1)[0]
    assert correct_at(videos, 5)[0]


def test_any_of_several_labels_counts() -> None:
    assert correct_at(scores([[0.0, 1.0, 2.0]], [(0, 2)]), 1).tolist() == [True]


def test_top1_agrees_with_a_plain_count() -> None:
    generator = np.random.default_rng(0)
    rows, labels = generator.normal(size=(500, 9)), generator.integers(0, 9, size=500)
    videos = scores(rows.tolist(), [(int(label),) for label in labels])
    summary = summarise([videos], "top1")
    assert summary["top1_pct"] == pytest.approx(100 * (rows.argmax(1) == labels).mean(), abs=1e-4)
    best5 = np.argsort(-rows, axis=1)[:, :5]
    expected = 100 * (best5 == labels[:, None]).any(axis=1).mean()
    assert summary["top5_pct"] == pytest.approx(expected, abs=1e-4)
    low, high = summary["top1_ci95_pct"]
    assert low < summary["top1_pct"] < high


def test_zero_percent_is_a_number_and_nothing_scored_is_not() -> None:
    assert summarise([scores([[0.0, 1.0]], [(0,)])], "top1")["top1_pct"] == 0.0
    empty = VideoScores((), (), np.zeros((0, 2)), ("a",))
    summary = summarise([empty], "top1")
    assert summary["top1_pct"] is None and summary["top1_ci95_pct"] is None
    with pytest.raises(UsageError, match="unknown metric"):
        summarise([empty], "f1")


def test_map_is_sklearns_over_classes_with_positives() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(60, 4))
    labels = [tuple({int(a), int(b)}) for a, b in generator.integers(0, 3, size=(60, 2))]
    videos = scores(rows.tolist(), labels)
    truth = np.array([[c in found for c in range(4)] for found in labels])
    expected = np.mean([average_precision_score(truth[:, c], rows[:, c]) for c in range(3)])
    assert mean_average_precision(videos) == pytest.approx(100 * expected)
    summary = summarise([videos], "map")
    assert summary["map_pct"] == pytest.approx(100 * expected, abs=1e-3)


def test_the_interval_of_map_is_the_jackknife_over_clusters() -> None:
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(40, 3))
    labels = [(int(a),) for a in generator.integers(0, 3, size=40)]
    videos = scores(rows.tolist(), labels)
    codes = np.arange(40) // 4
    truth = np.array([[c in found for c in range(3)] for found in labels])
    without = np.array(
        [
            100 * average_precision_score(truth[codes != c], rows[codes != c], average="macro")
            for c in range(10)
        ]
    )
    value = mean_average_precision(videos)
    expected, found = jackknife_interval(value, without), map_interval(videos, value, codes)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_clusters_widen_the_interval_of_a_share_and_are_counted() -> None:
    right = [[1.0, 0.0]] * 30 + [[0.0, 1.0]] * 30
    videos = scores(right, [(0,)] * 60)
    alone = summarise([videos], "top1")
    groups = {video_id: str(i // 10) for i, video_id in enumerate(videos.video_ids)}
    together = summarise([videos], "top1", groups)
    assert (alone["n_clusters"], together["n_clusters"]) == (60, 6)
    assert together["top1_pct"] == alone["top1_pct"] == 50.0
    widths = [one["top1_ci95_pct"][1] - one["top1_ci95_pct"][0] for one in (alone, together)]
    assert widths[1] > 2 * widths[0]
    one_cluster = summarise([videos], "top1", dict.fromkeys(videos.video_ids, "film"))
    assert one_cluster["top1_ci95_pct"] is None


def test_ensembles() -> None:
    first, second = views({"a": [[2.0, -1.0]]}), views({"a": [[-3.0, 1.0]]})
    assert ensemble_clipped_logit_sum([first, second]).scores.tolist() == [[2.0, 1.0]]
    soft = ensemble_softmax_mean([first, second]).scores
    expected = (softmax(np.array([2.0, -1.0])) + softmax(np.array([-3.0, 1.0]))) / 2
    assert soft[0] == pytest.approx(expected)


def test_streams_are_normalised_before_they_are_weighted() -> None:
    rgb, flow = views({"a": [[30.0, 10.0]]}), views({"a": [[1.0, 3.0]]})
    fused = fuse_streams([rgb, flow], [1.0, 1.5]).scores
    assert fused[0] == pytest.approx([0.75 + 1.5 * 0.25, 0.25 + 1.5 * 0.75])
    silent = views({"a": [[0.0, 0.0]]})
    assert fuse_streams([silent, flow], [1.0, 1.5]).scores[0] == pytest.approx([0.375, 1.125])


def test_an_ensemble_fails_what_any_member_fails() -> None:
    first = views({"a": [[1.0, 0.0]], "b": [[1.0, 0.0]]})
    second = collect(
        "r", "p", [ViewLogits("a", (0,), 0, 0, [1.0, 0.0]), ViewLogits("b", (0,), status="corrupt")]
    )
    found = ensemble_softmax_mean([first, second])
    assert found.video_ids == ("a",) and found.failed == ("b",)
    with pytest.raises(DataError, match="numbers of classes"):
        ensemble_softmax_mean([first, views({"a": [[1.0, 2.0, 3.0]]})])


@pytest.mark.parametrize("combined", [ensemble_clipped_logit_sum, ensemble_softmax_mean])
def test_networks_with_other_labels_are_not_combined(combined: Any) -> None:
    first = views({"a": [[1.0, 0.0]], "b": [[1.0, 0.0]]})
    other = views({"a": [[1.0, 0.0]], "b": [[1.0, 0.0]]}, label=1)
    with pytest.raises(DataError, match=r"video a has label 0 .* and 1 in another's"):
        combined([first, other])
    with pytest.raises(DataError, match="video a has label 0"):
        fuse_streams([first, other], [1.0, 1.0])


def test_folds_with_other_numbers_of_classes_are_not_pooled() -> None:
    first = score_videos(views({"a": [[1.0, 0.0]]}), "mean_logits")
    second = score_videos(views({"b": [[1.0, 0.0, 0.0]]}), "mean_logits")
    with pytest.raises(DataError, match="numbers of classes"):
        pool([first, second])


def test_folds_are_pooled_only_when_disjoint() -> None:
    first = score_videos(views({"b": [[1.0, 0.0]]}), "mean_logits")
    second = score_videos(views({"a": [[0.0, 1.0]]}), "mean_logits")
    pooled = pool([first, second])
    assert pooled.video_ids == ("a", "b")
    assert correct_at(pooled, 1).tolist() == [False, True]
    with pytest.raises(DataError, match="more than one fold: b"):
        pool([first, first])


def test_a_partial_video_is_scored_and_counted(tmp_path: Path) -> None:
    views = [
        ViewLogits("a", (0,), 0, 0, [2.0, 1.0]),
        ViewLogits("a", (0,), 1, 0, [2.0, 1.0]),
        ViewLogits("b", (0,), 0, 0, [2.0, 1.0], "partial"),
        ViewLogits("b", (0,), 1, 0, [3.0, 1.0], "partial"),
        ViewLogits("gone", (1,), status="error"),
    ]
    path = tmp_path / "p.parquet"
    write(path, collect("row_a", "center_1x1", views))
    found = read(path, verify=True)
    videos = score_videos(found, "mean_logits")
    assert (videos.video_ids, videos.failed, videos.partial) == (("a", "b"), ("gone",), ("b",))
    summary = summarise([videos], "top1")
    counts = {name: summary[f"n_{name}"] for name in ("expected", "scored", "failed", "partial")}
    assert counts == {"expected": 3, "scored": 2, "failed": 1, "partial": 1}
    assert summary["top1_pct"] == 100.0
    both = ensemble_clipped_logit_sum([found, found])
    assert both.partial == ("b",)


def test_several_labels_are_never_counted_as_top1() -> None:
    views = [ViewLogits("a", (0, 1), 0, 0, [2.0, 1.0])]
    videos = score_videos(collect("row_a", "center_1x1", views), "mean_logits")
    with pytest.raises(DataError, match="1 videos have several labels, a for example"):
        summarise([videos], "top1")
    assert summarise([videos], "map")["map_pct"] == 100.0


def test_of_several_trainings_numbers_are_means_over_the_same_videos() -> None:
    first = scores([[1.0, 0.0], [1.0, 0.0]], [(0,), (1,)])
    second = scores([[1.0, 0.0], [0.0, 1.0]], [(0,), (1,)])
    assert mean_correct([first, second], 1).tolist() == [1.0, 0.5]
    assert summarise([first, second], "top1")["top1_pct"] == 75.0
    other = replace(second, video_ids=("another", "video"))
    with pytest.raises(DataError, match="scored different videos"):
        summarise([first, other], "top1")
