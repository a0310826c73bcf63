"""From logits per view to video scores, and from video scores to metrics.

    V   videos that could be scored
    K   classes

A video counts as scored when every one of its views has logits; otherwise it is a failed one and
enters no mean. Ties are broken towards the lower class index, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import DataError, UsageError
from pipeline.scores.predictions import Predictions
from pipeline.scores.statistics import (
    Codes,
    Floats,
    Interval,
    cluster_codes,
    jackknife_interval,
    share_interval,
)

TOP_K = (1, 5)
METRICS = ("top1", "map")


@dataclass(frozen=True)
class VideoScores:
    """One score vector per video: `scores` (V, K), sorted by video id; `failed` could not be."""

    video_ids: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    scores: Floats
    failed: tuple[str, ...]
    partial: tuple[str, ...] = ()
    """Those scored of which only a part of the frames could be decoded, sorted."""

    @property
    def n_expected(self) -> int:
        return len(self.video_ids) + len(self.failed)


def softmax(logits: Floats) -> Floats:
    """Softmax along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


# How the views of a video become one vector: a map per view, then the mean or the sum over views.
_AGGREGATES: dict[str, tuple[Callable[[Floats], Floats], bool]] = {
    "mean_logits": (np.asarray, True),
    "mean_softmax": (softmax, True),
    "sum_clipped_logits": (lambda logits: np.maximum(logits, 0.0), False),
}
AGGREGATES = tuple(_AGGREGATES)


def score_videos(predictions: Predictions, aggregate: str) -> VideoScores:
    """Combine each video's views; `aggregate` is one of AGGREGATES.

    `mean_logits`: TSM, TEA, TANet. `mean_softmax`: TDN over several views. `sum_clipped_logits`:
    one member of the TDN authors' 8+16 ensemble, which sets negative logits to 0.
    """
    if aggregate not in _AGGREGATES:
        raise UsageError(
            f"unknown aggregate '{aggregate}'", do=f"choose one of: {', '.join(AGGREGATES)}"
        )
    per_view, average = _AGGREGATES[aggregate]
    groups: dict[str, list[int]] = {}
    for index, video_id in enumerate(predictions.video_ids):
        groups.setdefault(video_id, []).append(index)
    ok = predictions.ok
    scored = sorted(v for v, rows in groups.items() if all(ok[row] for row in rows))
    failed = tuple(sorted(groups.keys() - set(scored)))
    rows = [row for video_id in scored for row in groups[video_id]]
    counts = np.array([len(groups[video_id]) for video_id in scored], dtype=np.int64)
    scores = np.zeros((0, predictions.n_classes))
    if scored:
        views = per_view(predictions.logits[rows].astype(np.float64))
        scores = np.add.reduceat(views, np.concatenate([[0], np.cumsum(counts)[:-1]]), axis=0)
        if average:
            scores = scores / counts[:, None]
    labels = tuple(predictions.labels[groups[video_id][0]] for video_id in scored)
    partial = tuple(v for v in scored if predictions.statuses[groups[v][0]] == "partial")
    return VideoScores(tuple(scored), labels, np.asarray(scores), failed, partial)


def shared_videos(*video_ids: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """Where the videos that all of these lists have are in each list, in the order of the ids."""
    common = sorted(set.intersection(*map(set, video_ids)))
    places = [{video_id: place for place, video_id in enumerate(ids)} for ids in video_ids]
    return [np.array([at[video_id] for video_id in common], dtype=np.int64) for at in places]


# --- several networks on the same videos ---------------------------------------------------------


def _aligned(members: Sequence[VideoScores]) -> tuple[list[Floats], VideoScores]:
    """The members' scores over the videos that all of them scored, and the result's frame.

    Raises DataError when they differ in the number of classes or in a video's labels.
    """
    _same_classes(members)
    places = shared_videos(*(member.video_ids for member in members))
    common = tuple(members[0].video_ids[place] for place in places[0])
    expected = {v for m in members for v in (*m.video_ids, *m.failed)}
    first = dict(zip(members[0].video_ids, members[0].labels, strict=True))
    for member in members[1:]:
        for video_id, labels in zip(member.video_ids, member.labels, strict=True):
            if labels != first.get(video_id, labels):
                raise DataError(
                    f"video {video_id} has label {_shown(first[video_id])} in one network's "
                    f"predictions and {_shown(labels)} in another's",
                    do="combine rows of one data set; decode it, then predict all of them again",
                )
    picked = [member.scores[at] for member, at in zip(members, places, strict=True)]
    template = VideoScores(
        common,
        tuple(first[v] for v in common),
        np.zeros_like(picked[0]),
        tuple(sorted(expected.difference(common))),
        tuple(sorted({v for m in members for v in m.partial}.intersection(common))),
    )
    return picked, template


def _same_classes(members: Sequence[VideoScores]) -> None:
    counts = sorted({m.scores.shape[1] for m in members})
    if len(counts) > 1:
        raise DataError(
            f"the networks have different numbers of classes: {counts}",
            do="combine rows of one data set only",
        )


def _shown(labels: Sequence[int]) -> str:
    return ", ".join(map(str, labels)) or "none"


def ensemble_clipped_logit_sum(members: Sequence[Predictions]) -> VideoScores:
    """Sum over members and views of max(0, logit): 8+16 frames as the TDN authors' code has it."""
    picked, template = _aligned([score_videos(m, "sum_clipped_logits") for m in members])
    return replace(template, scores=np.sum(picked, axis=0))


def ensemble_softmax_mean(members: Sequence[Predictions]) -> VideoScores:
    """The plain mean of the members' mean softmax."""
    picked, template = _aligned([score_videos(m, "mean_softmax") for m in members])
    return replace(template, scores=np.mean(picked, axis=0))


def fuse_streams(members: Sequence[Predictions], weights: Sequence[float]) -> VideoScores:
    """Weighted sum of l1-normalised mean logits, RGB to flow 1 to 1.5 (Ng & Davis 2018, §3.3)."""
    picked, template = _aligned([score_videos(m, "mean_logits") for m in members])
    total = np.zeros_like(picked[0])
    for weight, scores in zip(weights, picked, strict=True):
        norm = np.abs(scores).sum(axis=1, keepdims=True)
        total += weight * scores / np.where(norm > 0, norm, 1.0)
    return replace(template, scores=total)


def pool(members: Sequence[VideoScores]) -> VideoScores:
    """Folds over disjoint videos as one (leave-one-out).

    Raises DataError when a video is in two, or when they differ in the number of classes.
    """
    _same_classes(members)
    video_ids = [v for m in members for v in (*m.video_ids, *m.failed)]
    if len(set(video_ids)) != len(video_ids):
        twice = sorted({v for v in video_ids if video_ids.count(v) > 1})[:3]
        raise DataError(
            f"videos in more than one fold: {', '.join(twice)}",
            do="pool folds with disjoint test sets; average overlapping splits instead",
        )
    scored = [
        (video_id, labels, scores)
        for m in members
        for video_id, labels, scores in zip(m.video_ids, m.labels, m.scores, strict=True)
    ]
    scored.sort(key=lambda item: item[0])
    return VideoScores(
        tuple(item[0] for item in scored),
        tuple(item[1] for item in scored),
        np.array([item[2] for item in scored]).reshape(len(scored), -1),
        tuple(sorted(v for m in members for v in m.failed)),
        tuple(sorted(v for m in members for v in m.partial)),
    )


# --- metrics -------------------------------------------------------------------------------------


def predicted(videos: VideoScores) -> npt.NDArray[np.int64]:
    """(V,) the class with the highest score, the lower index when tied."""
    if not videos.video_ids:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(videos.scores.argmax(axis=1), dtype=np.int64)


def correct_at(videos: VideoScores, k: int) -> npt.NDArray[np.bool_]:
    """(V,) whether any of a video's labels is among the k highest scores (k may exceed K)."""
    correct = np.zeros(len(videos.video_ids), dtype=np.bool_)
    classes = np.arange(videos.scores.shape[1])
    for index, labels in enumerate(videos.labels):
        scores = videos.scores[index]
        for label in labels:
            ahead = (scores > scores[label]) | ((scores == scores[label]) & (classes < label))
            correct[index] |= int(ahead.sum()) < k
    return correct


def mean_correct(trainings: Sequence[VideoScores], k: int) -> npt.NDArray[np.float64]:
    """(V,) the share of trainings in which a label is among the k highest scores.

    Raises DataError when they did not score the same videos.
    """
    if len({videos.video_ids for videos in trainings}) > 1:
        raise DataError(
            "two trainings of the row scored different videos",
            do="predict the row again: `tdn predict ROW`",
        )
    right = np.stack([correct_at(videos, k) for videos in trainings])
    return np.asarray(right.mean(axis=0), np.float64)


def mean_average_precision(videos: VideoScores) -> float:
    """mAP in percent over the classes that have a positive video; NaN when none has."""
    from sklearn.metrics import average_precision_score  # takes seconds, and few sets need it

    truth = _truth(videos)
    with_positives = np.flatnonzero(truth.any(axis=0))
    values = [
        average_precision_score(truth[:, c], videos.scores[:, c]) for c in with_positives.tolist()
    ]
    return 100.0 * float(np.mean(values)) if values else float("nan")


def _truth(videos: VideoScores) -> npt.NDArray[np.bool_]:
    truth = np.zeros(videos.scores.shape, dtype=np.bool_)
    for index, labels in enumerate(videos.labels):
        truth[index, list(labels)] = True
    return truth


def map_interval(videos: VideoScores, value: float, clusters: Codes) -> Interval:
    """The interval of mAP, whose `value` is in percent, from leaving each cluster out in turn.

    Classes that are left without a positive video sit it out.
    """
    truth = _truth(videos)
    n_clusters = int(clusters.max()) + 1
    kept = (clusters[None, :] != np.arange(n_clusters)[:, None]).astype(np.float64)  # (C, V)
    order = np.argsort(-videos.scores, axis=0, kind="stable")
    per_class = []
    for c in np.flatnonzero(truth.any(axis=0)).tolist():
        ranked = kept[:, order[:, c]]
        hits = ranked * truth[order[:, c], c]
        precision = np.cumsum(hits, axis=1) / np.maximum(np.cumsum(ranked, axis=1), 1.0)
        positives = hits.sum(axis=1)
        average = (hits * precision).sum(axis=1) / np.maximum(positives, 1.0)
        per_class.append(np.where(positives > 0, average, np.nan))
    stacked = np.stack(per_class)
    present = np.isfinite(stacked).sum(axis=0)
    without = 100.0 * np.nansum(stacked, axis=0) / np.maximum(present, 1)
    found = jackknife_interval(value, without[present > 0])
    return Interval(max(0.0, found.low), min(100.0, found.high))


def summarise(
    trainings: Sequence[VideoScores], metric: str, clusters: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The metrics of one protocol as JSON values; numbers are None when no video was scored.

    Of several `trainings` of a row each number is their mean. `metric` is 'top1' (top1_pct,
    top5_pct) or 'map' (map_pct beside them). Each comes with its 95 % interval as
    `<name>_ci95_pct`: [low, high], over clusters of videos; None for one cluster. `clusters` names
    the cluster of a video; one that it does not name is a cluster of its own.
    """
    videos = trainings[0]
    if metric not in METRICS:
        raise UsageError(f"unknown metric '{metric}'", do=f"choose one of: {', '.join(METRICS)}")
    several = [v for v, at in zip(videos.video_ids, videos.labels, strict=True) if len(at) > 1]
    if metric == "top1" and several:
        raise DataError(
            f"{len(several)} videos have several labels, {several[0]} for example: "
            "a single one is needed for top-1",
            do="mend the lists and run `tdn check DATASET` again, "
            "or say multi_label: true and metric: map",
        )
    result: dict[str, Any] = {
        "n_expected": videos.n_expected,
        "n_scored": len(videos.video_ids),
        "n_failed": len(videos.failed),
        "n_partial": len(videos.partial),
    }
    codes = cluster_codes([(clusters or {}).get(v, v) for v in videos.video_ids])
    result["n_clusters"] = int(codes.max()) + 1 if codes.size else 0
    for k in TOP_K:
        correct = mean_correct(trainings, k)
        interval = share_interval(correct, codes) if correct.size else None
        mean = float(correct.mean()) if correct.size else None
        _put(result, f"top{k}", mean and 100.0 * mean, interval, 100.0)
    if metric == "map":
        values = [mean_average_precision(one) for one in trainings if any(one.labels)]
        value = float(np.mean(values)) if values else None
        interval = None if value is None else map_interval(videos, value, codes)
        _put(result, "map", value, interval, 1.0)
    return result


def incomplete(found: Mapping[str, Any]) -> str:
    """How many videos of one protocol's metrics failed or were decoded in part; '' when none."""
    words = {"n_failed": "failed", "n_partial": "were decoded in part"}
    counts = [f"{found[name]} {word}" for name, word in words.items() if found[name]]
    return f"of {found['n_expected']} videos {', '.join(counts)}" if counts else ""


def _put(
    result: dict[str, Any], name: str, value: float | None, interval: Interval | None, scale: float
) -> None:
    result[f"{name}_pct"] = None if value is None else round(value, 4)
    result[f"{name}_ci95_pct"] = (
        None
        if interval is None or np.isnan(interval.low)
        else [round(scale * interval.low, 4), round(scale * interval.high, 4)]
    )
