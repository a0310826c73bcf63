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
    train = plans["train", row]
    assert isinstance(train, TrainPlan | ImportPlan)
    data = [plans.get((stage, train.data.name)) for stage in ABOUT_DATA]
    parts: list[Any] = [_without_seeds(train), [plan and _stated(plan) for plan in data]]
    if isinstance(train, ImportPlan):
        return parts
    if train.start.kind == "row":
        parts.append(_training(plans, train.start.source))
    if train.start.images is not None:
        images = plans["pretrain", train.start.images]
        assert isinstance(images, PretrainPlan)
        value = _without_seeds(images)
        if images.stills is not None:
            value["stills"] = _without_seeds(images.stills)
        parts.append(value)
    return parts


def _without_seeds(plan: Plan) -> dict[str, Any]:
    return _stated(plan, SEEDS)


def _stated(plan: Plan, exclude: set[str] | None = None) -> dict[str, Any]:
    """A plan's values but the defaults: a setting that came later leaves identities as they were
    where it is not used."""
    return plan.model_dump(mode="json", exclude=exclude, exclude_defaults=True)
