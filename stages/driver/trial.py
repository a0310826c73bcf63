"""`tdn repro ROW --set NAME=VALUE`: a row once with other values, its results beside its own.

They are called `ROW@VALUES` wherever the row's are called ROW, have run records that tell every
value, and belong to no table: DVC, git and the audit leave them alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from pipeline.core.errors import UsageError
from pipeline.core.files import read_json, write_json
from pipeline.core.locks import exclusive
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import TRIAL
from pipeline.schema.base import nearest, parse_yaml, validate
from pipeline.schema.plan_models import Plan, PretrainPlan, TrainPlan, parse_plan
from pipeline.schema.profiles import load_profile
from stages import plan as planning
from stages.graph import execute, read_plan, say, up_to_date

STAGES = ("train", "predict", "score")
START_SEED = "start.seed"
"""Sets the seed of the image pre-training that the row starts from, apart from the row's own."""
_SAME_EXPERIMENT = ("compute.", "seed=", "seeds=", f"{START_SEED}=")
"""Values that leave a result comparable with the row's; any other makes it `smoke`."""

Progress = Callable[[str], AbstractContextManager[Any]]


def run(work: Workspace, row: str, settings: list[str], progress: Progress) -> dict[str, Any]:
    """Train, predict and score `row` with `settings` (`recipe.epochs=2`); its metrics.

    Raises UsageError naming the nearest value for one that the row does not have, and what the
    stages raise.
    """
    planning.run(work, wanted=("train", row))
    key = trial_key(row, settings)
    documents = {stage: read_plan(work, stage, row) for stage in STAGES}
    plans = {stage: parse_plan(stage, documents[stage]["params"], where="") for stage in STAGES}
    smoke = any(not text.startswith(_SAME_EXPERIMENT) for text in settings)
    start_seeds = [text for text in settings if text.startswith(f"{START_SEED}=")]
    for text in settings:
        if text not in start_seeds:
            plans = _changed(plans, text)
    if start_seeds:
        plans["train"] = _from_images(work, row, plans["train"], start_seeds[-1], progress)
    else:
        _check_trainings(work, row, plans["train"])
    paths = {stage: work.plan(stage, key) for stage in STAGES}
    try:
        for stage, changed in plans.items():
            update = {"row": key, **({"smoke": True} if smoke else {})}
            params = changed.model_copy(update=update).model_dump(mode="json")
            write_json(paths[stage], {"params": params, "code": documents[stage]["code"]})
        for stage in STAGES:
            if not up_to_date(work, stage, key):
                with progress(f"{stage} {key}") as bar:
                    execute(work, stage, key, progress=bar)
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)
    metrics: dict[str, Any] = read_json(work.metrics(key))
    say(f"{key}: {'smoke, ' if metrics['smoke'] else ''}{work.relative(work.metrics(key))}")
    return metrics


def trial_key(name: str, settings: list[str]) -> str:
    """What the results of `name`, a row or a start, with `settings` are called."""
    return f"{name}{TRIAL}{'_'.join(re.sub(r'[^A-Za-z0-9]+', '-', text) for text in settings)}"


def check_start(plan: Mapping[str, Any], row: str, where: str) -> None:
    """UsageError for a row, planned so, that starts from no image pre-training of the profile's."""
    start = plan.get("start") or {}
    if start.get("kind") != "images" or not start["own_images"]:
        raise UsageError(
            f"{row} does not start from an image pre-training that this profile makes",
            where=where,
            do="take a row that does: `tdn rows ROW` says what it starts from",
        )


def _from_images(work: Workspace, row: str, plan: Plan, text: str, progress: Progress) -> Plan:
    """The row's plan with an image pre-training from another seed, which is made if need be."""
    check_start(plan.model_dump(mode="json"), row, f"--set {text}")
    assert isinstance(plan, TrainPlan)
    document = read_plan(work, "pretrain", plan.start.source)
    images = parse_plan("pretrain", document["params"], where="")
    assert isinstance(images, PretrainPlan) and images.stills is not None
    seed = parse_yaml(text.partition("=")[2])
    stills = validate(
        type(images.stills), {**images.stills.model_dump(), "seed": seed}, where=f"--set {text}"
    )
    changed = images.model_copy(update={"stills": stills, "seeds": plan.seeds})
    key = trial_key(plan.start.source, [text, f"seeds={plan.seeds}"])
    own = {"params": changed.model_dump(mode="json"), "code": document["code"]}
    # A finished start serves trials that run side by side; one at a time makes it.
    if not up_to_date(work, "pretrain", key, own):
        with exclusive(work.root / ".tdn" / "locks" / f"{work.profile}.{key}.lock", key):
            if not up_to_date(work, "pretrain", key, own):
                _make_start(work, key, own, progress)
    start = plan.start.model_copy(update={"source": key, "images": key})
    return plan.model_copy(update={"start": start})


def _make_start(work: Workspace, key: str, plan: dict[str, Any], progress: Progress) -> None:
    path = work.plan("pretrain", key)
    write_json(path, plan)
    try:
        with progress(f"pretrain {key}") as bar:
            execute(work, "pretrain", key, progress=bar)
    finally:
        path.unlink(missing_ok=True)


def _check_trainings(work: Workspace, row: str, plan: Plan) -> None:
    """UsageError where a trial asks for more trainings than its start has."""
    if not isinstance(plan, TrainPlan) or plan.seeds == 1 or plan.start.kind == "scratch":
        return
    if plan.start.kind == "images" and not plan.start.own_images:
        return  # all trainings start from one
    own = load_profile(work.manifests, work.profile).seeds
    if plan.seeds > own:
        raise UsageError(
            f"{row} starts from {plan.start.source}, which has {own} training"
            f"{'' if own == 1 else 's'}: each training of a row has a start of its own",
            where=f"--set seeds={plan.seeds}",
            do=f"write `seeds: {plan.seeds}` into manifests/profiles/{work.profile}.yaml",
        )


def _changed(plans: Mapping[str, Plan], text: str) -> dict[str, Plan]:
    """The plans with the value that `text` (`NAME=VALUE`, a value as in YAML) sets."""
    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"--set {text} sets nothing", do="write NAME=VALUE: --set recipe.epochs=2")
    section, _, leaf = name.rpartition(".")
    found = dict(plans)
    for stage, plan in plans.items():
        holder = getattr(plan, section, None) if section else plan
        if isinstance(holder, Plan) and leaf in type(holder).model_fields:
            whole = {**holder.model_dump(), leaf: parse_yaml(value)}
            changed = validate(type(holder), whole, where=f"--set {text}")
            found[stage] = plan.model_copy(update={section: changed}) if section else changed
    if found == dict(plans) and not any(name in set(_names(plan)) for plan in plans.values()):
        known = sorted({START_SEED, *(name for plan in plans.values() for name in _names(plan))})
        raise UsageError(f"--set: the row has no value '{name}'", do=nearest(name, known))
    return found


def _names(plan: Plan) -> Iterator[str]:
    """What can be set: a plan's own values and those of its sections."""
    for name in type(plan).model_fields:
        fields = getattr(type(getattr(plan, name)), "model_fields", None)
        yield from [name] if fields is None else (f"{name}.{leaf}" for leaf in fields)
