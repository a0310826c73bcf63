"""A tiny data set through the real stages: frame folders in, a frame store out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import (
    CheckPlan,
    DecodePlan,
    PredictPlan,
    PretrainPlan,
    ScorePlan,
    TrainPlan,
)
from pipeline.schema.recipes import TrainingRecipe
from stages import check, decode, pretrain
from tests.pipeline import samples

LABELS = ["Holding something", "Pushing something"]
RECIPE = {
    "unit": "epochs",
    "epochs": 3,
    "phase1_epochs": 0,
    "batch": 4,
    "lr": 0.05,
    "decay": "cosine",
    "milestones": [2],
    "warmup_epochs": 0.0,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "dropout": 0.5,
    "clip_norm": 20.0,
    "flip": "plain",
    "crop": "multi_scale",
    "colour_jitter": False,
    "sampling": "segments_random",
    "partial_bn": False,
    "group_rates": "tsn",
}
VIEWS = {
    "sampling": "segments_center",
    "clips": 1,
    "crops": "center",
    "resize_px": 36,
    "crop_px": 32,
    "aggregate": "mean_logits",
}
DATA = {"name": "ssv1", "input": "frames", "generated": True, "multi_label": False}
NETWORK = {
    "factory": "",
    "backbone": "resnet50",
    "segments": 4,
    "width": 4,
    "blocks": [1, 1, 1, 1],
    "options": {},
}
SCRATCH = {"kind": "scratch", "source": "scratch", "two_stream": False, "keep_classifier": False}
COMPUTE = {"device": "cpu", "precision": "float32", "threads": 1}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose `ssv1` has nine training and four validation videos, one without files."""
    root = tmp_path_factory.mktemp("root")
    work = Workspace(root)
    videos = {
        str(100 + n): ("train" if n < 9 else "validation", LABELS[n % 2], 10 + n) for n in range(13)
    }
    samples.something_v1(work.raw("ssv1", generated=True), videos, LABELS)
    for file in (
        work.raw("ssv1", generated=True) / "20bn-something-something-v1" / "112"
    ).iterdir():
        file.unlink()
    dataset = samples.dataset("ssv1", max_failed_fraction=0.5, num_classes=2)
    check.run(work, "ssv1", CheckPlan(dataset=dataset, generated=True, raw=None))
    decode.run(work, "ssv1", DecodePlan(dataset=dataset, generated=True), workers=0)
    return root


@pytest.fixture
def work(store: Path, tmp_path: Path) -> Workspace:
    """A workspace of its own runs over a copy of the frame store."""
    shutil.copytree(store / "data" / "mini" / "frames", tmp_path / "data" / "mini" / "frames")
    work = Workspace(tmp_path)
    pretrain.run(work, "scratch", PretrainPlan(kind="scratch"))
    return work


def train_plan(
    row: str = "row",
    architecture: str = "tsn",
    *,
    crop_px: int = 32,
    resize_px: int = 36,
    seed: int = 0,
    seeds: int = 1,
    data: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    start: dict[str, Any] | None = None,
    compute: dict[str, Any] | None = None,
    **recipe: Any,
) -> TrainPlan:
    """What `plan` would hand to the train stage of a tiny row."""
    trained_by = TrainingRecipe.model_validate({**RECIPE, "crop_px": crop_px, **recipe})
    plateau = trained_by.decay == "plateau"
    views = {"crop_px": crop_px, "resize_px": resize_px}
    return TrainPlan.model_validate(
        {
            "row": row,
            "smoke": True,
            "data": {**DATA, **(data or {})},
            "split": "train",
            "flip_pairs": [],
            "validation_split": "validation" if plateau else None,
            "validation": {**VIEWS, **views} if plateau else None,
            "network": {**NETWORK, "architecture": architecture, **(network or {})},
            "recipe": trained_by,
            "start": {**SCRATCH, **(start or {})},
            "seed": seed,
            "seeds": seeds,
            "compute": {**COMPUTE, **(compute or {})},
        }
    )


def predict_plan(
    row: str = "row",
    architecture: str = "tsn",
    *,
    seeds: int = 1,
    data: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    **views: Any,
) -> PredictPlan:
    """What `plan` would hand to its predict stage; `views` are those of its one protocol."""
    return PredictPlan.model_validate(
        {
            "row": row,
            "smoke": True,
            "data": {**DATA, **(data or {})},
            "split": "validation",
            "network": {**NETWORK, "architecture": architecture, **(network or {})},
            "protocols": {"center_1x1": {**VIEWS, **views}},
            "seed": 0,
            "seeds": seeds,
            "compute": {**COMPUTE, "eval_batch": 2},
        }
    )


def score_plan(**changes: Any) -> ScorePlan:
    """What `plan` would hand to its score stage."""
    whole = {
        "row": "row",
        "profile": "mini",
        "smoke": True,
        "dataset": "ssv1",
        "fold": "default",
        "metric": "top1",
        "seed": 0,
        "seeds": 1,
        "identity": "0" * 64,
        "protocols": {"center_1x1": "mean_logits"},
    }
    return ScorePlan.model_validate({**whole, **changes})
