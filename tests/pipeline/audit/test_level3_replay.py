"""What level 3 draws from the split, what it finds, and how far a logit may move."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.audit import level3_replay as replay
from pipeline.audit.context import Plans
from pipeline.audit.links import Link, Status
from pipeline.audit.replay_sample import Sample, draw, miss
from pipeline.core.errors import UsageError
from pipeline.lineage.evidence import Run
from tests.pipeline.audit import forgeries as forge
from tests.pipeline.audit.project import Project
from tests.pipeline.audit.test_forgeries import context_of

LOGITS = np.array([[10.0, 0.5, -3.0], [0.25, 4.0, 1.0]], dtype=np.float32)
EVERY = Sample(share=1.0)


def status(stored: Any, again: Any, precision: str) -> Status:
    """What is said of a row whose network gives `again` where its file has `stored`."""
    before, after = (
        {(f"video{n}", 0, 0): (row, (0,), "ok") for n, row in enumerate(rows)}
        for rows in (stored, again)
    )
    limits = replay.tolerances(precision, float(np.abs(again).max()))
    return replay.compare(Run("predict", "row", ""), "file", before, after, limits).status


@pytest.mark.parametrize(
    ("precision", "moved", "expected"),
    [
        ("float32", 0.0, Status.OK),
        ("float32", 0.0009, Status.OK),
        ("float32", 0.05, Status.REPLAY_MISMATCH),
        ("bfloat16", 0.0, Status.OK),
        ("bfloat16", 0.1, Status.OK),
        ("bfloat16", 0.3, Status.REPLAY_MISMATCH),
    ],
)
@pytest.mark.parametrize("place", [(0, 0), (1, 0)], ids=["the largest", "the smallest"])
def test_a_logit_may_move_as_far_as_its_precision_explains(
    precision: str, moved: float, expected: Status, place: tuple[int, int]
) -> None:
    again = LOGITS.copy()
    again[place] -= moved
    assert status(LOGITS, again, precision) is expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_forged_logit_does_not_widen_what_is_allowed(precision: str) -> None:
    forged = LOGITS.copy()
    forged[1, 0] = 1000.0
    forged[0, 1] += 1.0
    assert status(forged, LOGITS, precision) is Status.REPLAY_MISMATCH


def test_answers_that_a_tolerance_lets_change_are_counted() -> None:
    near = np.array([[1.0, 1.0004]], dtype=np.float32)
    views = [{("video", 0, 0): (row, (0,), "ok")} for row in (near[0], near[0, ::-1])]
    limits = replay.tolerances("float32", 1.0)
    link = replay.compare(Run("predict", "row", ""), "file", views[0], views[1], limits)
    assert link.status is Status.OK
    assert link.detail == "1 views predicted again, within 4.0e-04, 1 other answers"


def test_the_chance_to_miss_a_forgery_is_hypergeometric() -> None:
    assert miss(10, 5, 1) == 0.5
    assert miss(10, 3, 2) == pytest.approx(7 / 10 * 6 / 9)
    assert miss(10, 10, 1) == 0
    assert miss(4, 1, 5) == 0, "there are no five videos"


def test_a_sample_is_a_count_or_a_share() -> None:
    assert [Sample.parse("8").of(n) for n in (3, 100)] == [3, 8]
    assert [Sample.parse("5%").of(n) for n in (10, 100, 1000)] == [1, 5, 50]
    for wrong in ("0", "-1", "0%", "101%", "five", "%", "nan%"):
        with pytest.raises(UsageError, match="is no sample"):
            Sample.parse(wrong)


def replayed(project: Project, plans: Plans, sample: Sample = EVERY, seed: int = 1) -> list[Link]:
    context = context_of(project, plans)
    context.scope = frozenset({f"predict/{forge.ROW}"})
    return list(replay.check(context, sample, seed))


def broken(links: list[Link]) -> list[tuple[str, str]]:
    return [(link.path, link.detail) for link in links if link.broken]


def predict_a_right_answer(project: Project) -> None:
    found = forge.read(project)
    logits = found.logits.copy()
    logits[0, found.labels[0][0]] = np.abs(logits).max() + 1
    forge.predict(project, logits=logits)


def train_other_weights(project: Project) -> None:
    path = project.work.run(forge.ROW) / "train" / "weights.pt"
    weights = torch.load(path)
    last = next(name for name in reversed(weights) if weights[name].is_floating_point())
    torch.save({**weights, last: weights[last] + 0.5}, path)


def relabel_everywhere(project: Project) -> None:
    forge.set_labels_to_the_answers(project)


def fail_a_video_everywhere(project: Project) -> None:
    """A video that decodes, said to have failed in the store and among the predictions."""
    forge.fail_a_video_in_its_shard_too(project)
    found = forge.read(project)
    statuses = list(found.statuses)
    statuses[0] = "error"
    forge.predict(project, statuses=tuple(statuses))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forgery", "found"),
    [
        (predict_a_right_answer, "(other logits)"),
        (train_other_weights, "(other logits)"),
        (relabel_everywhere, "(another label or status)"),
        (fail_a_video_everywhere, "or another status, than the store has"),
        (forge.choose_the_lucky_view, "(other views)"),
        (forge.take_another_rows_logits_and_blur_them, "(other logits)"),
        (forge.drop_hard_videos, "(other views)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_replaying_every_video_finds_what_was_forged(
    project: Project, plans: Plans, forgery: Callable[[Project], None], found: str
) -> None:
    forgery(project)
    project.reseal_all()
    told = broken(replayed(project, plans))
    assert any(found in detail for _, detail in told), told


@pytest.mark.slow
def test_honest_rows_replay_and_what_was_drawn_is_said(project: Project, plans: Plans) -> None:
    links = replayed(project, plans, Sample(4), seed=5)
    assert broken(links) == []
    (told,) = (link.detail for link in links if link.source == "sample")
    assert told.startswith("seed 5: 5 of 28 test videos of 1 of 1 rows; a forgery of one row is")
    assert "1 videos 8" in told, "four of 25 videos that the row got wrong are few"


@pytest.mark.slow
def test_the_sample_has_failed_and_wrong_videos_and_follows_the_seed(
    project: Project, plans: Plans
) -> None:
    forge.fail_a_video_in_the_index(project)
    context = context_of(project, plans)
    run = context.evidence.runs[f"predict/{forge.ROW}"]
    drawn = [draw(context, run, Sample(4), seed).videos for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    videos = draw(context, run, Sample(4), 1).index.videos
    failed = {video.video_id for video in videos if video.status == "error"}
    assert failed, "one failed"
    assert all(failed <= videos for videos in drawn)


@pytest.mark.slow
def test_weights_and_store_are_enough_to_replay(project: Project, plans: Plans) -> None:
    shutil.rmtree(project.work.raw("ssv1", generated=True))
    links = replayed(project, plans, Sample(4))
    assert broken(links) == []
    decoded = [link for link in links if link.source == "record:decode/ssv1"]
    assert [link.status for link in decoded] == [Status.UNAVAILABLE]
    assert [link.status for link in links if link.source == f"record:predict/{forge.ROW}"] == [
        Status.OK
    ]


@pytest.mark.slow
def test_frames_of_another_ffmpeg_are_not_compared(project: Project, plans: Plans) -> None:
    forge.index(project, list, ffmpeg="ffmpeg 99")
    (link,) = (x for x in replayed(project, plans) if x.source == "record:decode/ssv1")
    assert link.status is Status.UNAVAILABLE
    assert link.detail.startswith("made by ffmpeg ffmpeg 99, here is ")
