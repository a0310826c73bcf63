from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import AbsentData, StoreError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.scores import predictions, video_scores
from stages import predict, score, train
from tests.stages.conftest import predict_plan, score_plan, train_plan


@pytest.fixture
def trained(work: Workspace) -> Workspace:
    train.run(work, "row", train_plan(epochs=1))
    return work


def table(work: Workspace) -> Path:
    return work.run("row") / "predict" / "center_1x1.parquet"


def test_every_listed_video_is_accounted_for(trained: Workspace) -> None:
    predict.run(trained, "row", predict_plan())
    found = predictions.read(table(trained), verify=True)
    assert sorted(found.video_ids) == ["109", "110", "111", "112"]
    assert dict(zip(found.video_ids, found.statuses, strict=True))["112"] != "ok"
    assert found.n_classes == 2


def test_predicting_twice_gives_the_same_bytes(trained: Workspace) -> None:
    predict.run(trained, "row", predict_plan())
    first = table(trained).read_bytes()
    predict.run(trained, "row", predict_plan())
    assert table(trained).read_bytes() == first


def test_the_score_counts_expected_scored_and_failed(trained: Workspace) -> None:
    predict.run(trained, "row", predict_plan())
    score.run(trained, "row", score_plan())
    metrics = read_json(trained.metrics("row"))
    found = metrics["protocols"]["center_1x1"]
    assert (found["n_expected"], found["n_scored"], found["n_failed"]) == (4, 3, 1)
    assert metrics["status"] == "partial"
    assert metrics["smoke"] is True


def test_videos_are_scored_in_the_clusters_that_the_manifest_finds(trained: Workspace) -> None:
    predict.run(trained, "row", predict_plan())
    clusters = {"what": "decade", "pattern": "^(?P<cluster>..)"}
    score.run(trained, "row", score_plan(clusters=clusters))
    found = video_scores.read(trained.run("row") / "scores" / "center_1x1.parquet")
    assert found is not None
    assert dict(zip(found.video_ids, found.clusters, strict=True)) == {
        "109": "10",
        "110": "11",
        "111": "11",
    }
    assert read_json(trained.metrics("row"))["protocols"]["center_1x1"]["n_clusters"] == 2


def test_an_untrained_row_says_what_to_run(work: Workspace) -> None:
    with pytest.raises(AbsentData, match="not trained") as caught:
        predict.run(work, "row", predict_plan())
    assert "tdn train row" in caught.value.do


def test_an_absent_row_is_an_outcome_up_to_its_metrics(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    train.run(work, "row", train_plan(), record_absent=True)
    predict.run(work, "row", predict_plan(), record_absent=True)
    score.run(work, "row", score_plan())
    metrics = read_json(work.metrics("row"))
    assert metrics["status"] == "not-run"
    assert "ssv1" in metrics["reason"]


def test_damaged_weights_are_one_sentence_and_leave_nothing_half_written(
    trained: Workspace,
) -> None:
    weights = trained.run("row") / "train" / "weights.pt"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(StoreError, match="the weights of row are damaged") as caught:
        predict.run(trained, "row", predict_plan())
    assert caught.value.do == "run `tdn train row --profile mini`"
    assert not (trained.run("row") / "predict").exists()
    assert not list(trained.run("row").glob(".tmp-*"))
