from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from pipeline.clips.clip_dataset import collate
from pipeline.clips.transforms import normalise
from pipeline.core.errors import AbsentData, DataError, UsageError
from pipeline.core.files import read_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import PredictPlan
from pipeline.store.index import read_index
from stages.commands import explain_row
from stages.figure_data.clip_maps import Opened, Viewer, read_clip
from stages.rows.row_clips import eval_clips
from stages.rows.row_network import build_network
from tests.pipeline import samples
from tests.stages.conftest import LABELS, predict_plan

CPU = torch.device("cpu")


def planned(row: str, architecture: str = "tsn", **views: Any) -> PredictPlan:
    """A tiny row's plan at a size that every network takes."""
    return predict_plan(row, architecture, **{"crop_px": 48, "resize_px": 56, **views})


@pytest.fixture
def trained(work: Workspace) -> Workspace:
    for row, architecture in (("row", "tdn"), ("pair", "featdiff")):
        folder = work.run(row) / "train"
        folder.mkdir(parents=True)
        model = build_network(row, planned(row, architecture).network, len(LABELS), seed=1)
        torch.save(model.state_dict(), folder / "weights.pt")
        write_json(folder / "outcome.json", {"status": "ok", "reason": ""})
    return work


def test_a_video_of_the_data_set_is_shown_for_its_label(trained: Workspace, tmp_path: Path) -> None:
    plan = planned("row", "tdn")
    figure, paths = explain_row.run(trained, plan, "110", tmp_path / "out")
    assert [path.suffix for path in paths] == [".png", ".svg", ".json"]
    assert imread(paths[0]).std() > 0.05
    facts = read_json(paths[2])["numbers"]
    assert facts["target"] == facts["label"] in LABELS
    assert facts["answer"] in LABELS
    assert len(facts["frames"]) == 4
    assert figure.kind == "gradcam"


def test_a_video_of_the_users_own_is_shown_for_the_answer(
    trained: Workspace, tmp_path: Path
) -> None:
    clip = samples.write_clip(tmp_path / "my clip.mp4", 30)
    _, paths = explain_row.run(trained, planned("row", "tdn"), str(clip), tmp_path / "out")
    facts = read_json(paths[2])["numbers"]
    assert facts["label"] is None
    assert facts["target"] == facts["answer"]
    assert paths[0].name == "row.my_clip_mp4.res5.png"
    assert facts["motion"]["auc"] >= 0


@pytest.mark.parametrize("crops", ["center", "full"])
def test_a_row_is_looked_into_with_the_clips_it_was_tested_on(work: Workspace, crops: str) -> None:
    plan = planned("row", "tdn", resize_px=57, crops=crops)
    model = build_network("row", plan.network, len(LABELS), seed=1)
    opened = Opened("row", plan, model.eval(), read_index(work.frames("ssv1")), CPU)
    viewer = Viewer(opened, "center_1x1")
    tested = eval_clips(plan, opened.index, 5, "center_1x1").dataset
    expected = normalise(collate([tested[1]]).frames)
    video = tested.videos[1]
    clip = viewer.clip(video)
    assert torch.equal(clip.network, expected)
    subject = explain_row.find(opened, video.video_id)
    again = read_clip(viewer.rule, subject.read, video.n_frames, subject.name, 0)
    assert torch.equal(again.network, expected)
    assert np.array_equal(again.frames, clip.frames)


def test_a_real_video_is_shown(trained: Workspace, tmp_path: Path) -> None:
    data = os.environ.get("TDN_TEST_DATA")
    if not data:
        pytest.skip("TDN_TEST_DATA names no folder of real videos")
    clip = sorted((Path(data) / "videos" / "ucf101").glob("*.avi"))[0]
    figure, paths = explain_row.run(
        trained, planned("row", "tdn"), str(clip), tmp_path, layer="res3"
    )
    assert figure.as_json()["numbers"]["layer"] == "res3"
    assert imread(paths[0]).std() > 0.05


def test_two_streams_show_both_their_maps(trained: Workspace, tmp_path: Path) -> None:
    figure, _ = explain_row.run(trained, planned("pair", "featdiff"), "110", tmp_path)
    assert figure.kind == "cam"
    assert [set(pair) for pair in figure.as_json()["numbers"]["motion"]] == [
        {"image", "difference"}
    ] * 3


def test_another_class_and_layer_can_be_asked_for(trained: Workspace, tmp_path: Path) -> None:
    plan = planned("row", "tdn")
    figure, _ = explain_row.run(trained, plan, "110", tmp_path, layer="res2", target=LABELS[1])
    assert (figure.as_json()["numbers"]["layer"], figure.as_json()["numbers"]["target"]) == (
        "res2",
        LABELS[1],
    )


@pytest.mark.parametrize(
    ("video", "options", "kind", "message"),
    [
        ("nowhere.mp4", {}, UsageError, "no video of ssv1 and no file"),
        ("112", {}, DataError, "has no frames"),
        ("110", {"layer": "res9"}, UsageError, "res5"),
        ("110", {"target": "Flying"}, UsageError, "no class of ssv1"),
        ("110", {"protocol": "views_10x3"}, UsageError, "not tested under"),
    ],
)
def test_a_mistake_is_said_in_words(
    trained: Workspace,
    tmp_path: Path,
    video: str,
    options: dict[str, str],
    kind: type[Exception],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        explain_row.run(trained, planned("row", "tdn"), video, tmp_path, **options)


def test_a_file_that_is_no_video_says_so(trained: Workspace, tmp_path: Path) -> None:
    bad = tmp_path / "notes.mp4"
    bad.write_bytes(b"not a video at all")
    with pytest.raises(DataError, match=r"notes\.mp4 cannot be shown"):
        explain_row.run(trained, planned("row", "tdn"), str(bad), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_row_without_weights_says_what_to_run(trained: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(trained.run("row"))
    with pytest.raises(AbsentData, match="not trained") as caught:
        explain_row.run(trained, planned("row", "tdn"), "110", tmp_path)
    assert "tdn train row" in caught.value.do


def test_a_flow_row_is_refused(trained: Workspace, tmp_path: Path) -> None:
    plan = predict_plan("row", "tdn", data={"input": "flow"})
    with pytest.raises(AbsentData, match="reads flow"):
        explain_row.run(trained, plan, "110", tmp_path)
