"""What decides a row's result besides its seeds, the code and the machine.

Two results of one identity are two draws from one distribution: data, recipe, network, start and
protocols are the same. Code is no part of it, so that a change of code is judged by results from
before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.files import sha256_json
from pipeline.schema.plan_models import ImportPlan, Plan, PredictPlan, PretrainPlan, TrainPlan

SEEDS = {"seed", "seeds"}
ABOUT_DATA = ("mini", "check", "decode", "flow")
"""Stages that find or make the clips of a data set; of a user's own files `check` has a digest of
names and sizes."""


def training_identity(plans: Mapping[tuple[str, str], Plan], row: str) -> str:
    """A digest of a row's plans, and of those of all that it starts from, without their seeds."""
    predict = plans["predict", row]
    assert isinstance(predict, PredictPlan)
    return sha256_json([_without_seeds(predict), _training(plans, row)])


def _training(plans: Mapping[tuple[str, str], Plan], row: str) -> list[Any]:
    train, images = plans["train", row], plans["pretrain", "images"]
    assert isinstance(train, TrainPlan | ImportPlan) and isinstance(images, PretrainPlan)
    data = [plans.get((stage, train.data.name)) for stage in ABOUT_DATA]
    parts: list[Any] = [_without_seeds(train), [d and d.model_dump(mode="json") for d in data]]
    if isinstance(train, ImportPlan):
        return parts
    if train.start.kind == "row":
        parts.append(_training(plans, train.start.source))
    if train.start.kind == "images" or train.start.two_stream:
        # A profile may pre-train other backbones beside the row's.
        own = {
            name: size for name, size in images.backbones.items() if name == train.network.backbone
        }
        value = _without_seeds(images.model_copy(update={"backbones": own}))
        if images.stills is not None:
            value["stills"] = _without_seeds(images.stills)
        parts.append(value)
    return parts


def _without_seeds(plan: Plan) -> dict[str, Any]:
    return plan.model_dump(mode="json", exclude=SEEDS)
