"""Real clips through the real stages: the Weizmann actions, where they are at hand."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from stages import check, decode, predict, pretrain, score, train
from tests.pipeline import samples
from tests.stages.conftest import params


def test_weizmann_is_decoded_trained_and_scored(tmp_path: Path) -> None:
    work = Workspace(tmp_path, "local")
    work.raw("weizmann").parent.mkdir(parents=True)
    work.raw("weizmann").symlink_to(samples.real("weizmann"))
    dataset = {
        "dataset": samples.load_dataset(samples.MANIFESTS, "weizmann").model_dump(mode="json")
    }
    check.run(work, "weizmann", params=dataset)
    decode.run(work, "weizmann", params=dataset, workers=0)
    counts = read_json(work.decoded("weizmann"))
    assert (counts["listed"], counts["frames"]) == (90, 5855)

    plan = params(architecture="tdn", epochs=1, batch=20)
    plan["sizes_px"] = {"224": 36, "256": 40}
    plan["data"] |= {"name": "weizmann", "train": "daria/train", "val": "daria/test"}
    pretrain.run(work, "scratch", params={"kind": "scratch", "backbones": {}})
    train.run(work, "row", params=plan)
    predict.run(work, "row", params=plan)
    scored = {"row": "row", "profile": "local", "smoke": False, "dataset": "weizmann"}
    scored |= {"fold": "daria", "metric": "top1", "seeds": 1}
    score.run(
        work,
        "row",
        params={**scored, "protocols": {"center_1x1": {"aggregate": "mean_logits"}}},
    )
    found = read_json(work.metrics("row"))["protocols"]["center_1x1"]
    assert (found["n_expected"], found["n_scored"], found["n_failed"]) == (10, 10, 0)
