"""Real clips through the real stages: the Weizmann actions, where they are at hand."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import CheckPlan, DecodePlan, PretrainPlan
from stages import check, decode, predict, pretrain, score, train
from tests.pipeline import samples
from tests.stages.conftest import predict_plan, score_plan, train_plan


def test_weizmann_is_decoded_trained_and_scored(tmp_path: Path) -> None:
    work = Workspace(tmp_path, "local")
    work.raw("weizmann", generated=False).parent.mkdir(parents=True)
    work.raw("weizmann", generated=False).symlink_to(samples.real("weizmann"))
    dataset = samples.load_dataset(samples.MANIFESTS, "weizmann")
    check.run(work, "weizmann", CheckPlan(dataset=dataset, generated=False, raw=None))
    decode.run(work, "weizmann", DecodePlan(dataset=dataset, generated=False), workers=0)
    counts = read_json(work.decoded("weizmann"))
    assert (counts["listed"], counts["frames"]) == (90, 5855)

    data = {"name": "weizmann", "generated": False}
    train_it = train_plan(architecture="tdn", data=data, crop_px=36, epochs=1, batch=20)
    test_it = predict_plan(architecture="tdn", data=data, crop_px=36, resize_px=40)
    pretrain.run(work, "scratch", PretrainPlan(kind="scratch"))
    train.run(work, "row", train_it.model_copy(update={"split": "daria/train"}))
    predict.run(work, "row", test_it.model_copy(update={"split": "daria/test"}))
    score.run(
        work, "row", score_plan(profile="local", smoke=False, dataset="weizmann", fold="daria")
    )
    found = read_json(work.metrics("row"))["protocols"]["center_1x1"]
    assert (found["n_expected"], found["n_scored"], found["n_failed"]) == (10, 10, 0)
