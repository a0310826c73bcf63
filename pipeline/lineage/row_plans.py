"""The plans of rows and of the weights that they start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pipeline.core.errors import ManifestError
from pipeline.schema.base import nearest
from pipeline.schema.dataset import Dataset
from pipeline.schema.experiments import Experiment
from pipeline.schema.miniature import Miniature
from pipeline.schema.plan_models import (
    NetworkSpec,
    Plan,
    PredictPlan,
    PretrainPlan,
    RowData,
    ScorePlan,
    StartSpec,
    StillsTraining,
    TrainPlan,
)
from pipeline.schema.profiles import BackboneSize, Profile, Stills, TrainingCompute
from pipeline.schema.protocols import EvalViews, Protocol
from pipeline.schema.recipes import Recipe

VALIDATION = "center_1x1"
"""The protocol that a plateau is seen by: one clip, centre crop."""
STILLS_WEIGHT_DECAY = 0.0005

Plans = dict[tuple[str, str], Plan]


def row_plans(
    key: str,
    rows: Mapping[str, Experiment],
    factory: str,
    profile: Profile,
    dataset: Dataset,
    recipe: Recipe,
    protocols: Mapping[str, Protocol],
    miniature: Miniature | None,
) -> Plans:
    """The plans of one row's train, predict and score; `factory` builds its network."""
    row = rows[key]
    where = f"manifests/{profile.experiments_file}, experiments.{key}"
    views = {name: eval_views(name, protocols, profile, where) for name in row.protocols}
    data = RowData(
        name=row.dataset,
        input=row.input,
        generated=profile.generated,
        multi_label=dataset.multi_label,
    )
    size = profile.backbones[row.backbone]
    network = NetworkSpec(
        architecture=row.architecture,
        factory=factory,
        backbone=row.backbone,
        segments=row.segments,
        width=size.width,
        blocks=size.blocks,
        options=row.options,
    )
    fold = dataset.folds[row.fold]
    train = TrainPlan(
        row=key,
        smoke=profile.smoke,
        data=data,
        split=fold.train,
        flip_pairs=dataset.flip_pairs,
        network=network,
        recipe=profile.scaled(recipe),
        start=start_of(row, rows),
        seed=row.seed,
        seeds=profile.seeds,
        compute=TrainingCompute(**profile.compute.model_dump(exclude={"eval_batch"})),
    )
    if train.recipe.decay == "plateau":
        seen = {
            "validation_split": fold.val,
            "validation": eval_views(VALIDATION, protocols, profile, where),
        }
        train = train.model_copy(update=seen)
    predict = PredictPlan(
        row=key,
        smoke=profile.smoke,
        data=data,
        split=fold.val,
        network=network,
        protocols=views,
        seed=row.seed,
        seeds=profile.seeds,
        compute=profile.compute,
    )
    score = ScorePlan(
        row=key,
        profile=profile.profile,
        smoke=profile.smoke,
        dataset=row.dataset,
        fold=row.fold,
        metric=dataset.metric,
        seeds=profile.seeds,
        protocols={name: one.aggregate for name, one in views.items()},
        clusters=dataset.clusters,
        miniature=miniature,
    )
    return {("train", key): train, ("predict", key): predict, ("score", key): score}


def eval_views(
    name: str, protocols: Mapping[str, Protocol], profile: Profile, where: str
) -> EvalViews:
    """A protocol without its words, so that rewording predicts nothing anew, in the profile's
    pixels."""
    if name not in protocols:
        raise ManifestError(
            f"protocols: unknown '{name}'", where=where, do=nearest(name, list(protocols))
        )
    values = protocols[name].model_dump(exclude={"title", "source"})
    for size in ("resize_px", "crop_px"):
        if values[size] is not None:
            values[size] = profile.size_px(values[size])
    return EvalViews.model_validate(values)


def start_of(row: Experiment, rows: Mapping[str, Experiment]) -> StartSpec:
    """The weights that a row starts from."""
    source = rows.get(row.start)
    if source is None:
        kind: Literal["images", "scratch"] = "images" if row.start == "images" else "scratch"
        return StartSpec(kind=kind, source=kind, two_stream=False, keep_classifier=False)
    return StartSpec(
        kind="row",
        source=row.start,
        # A two-stream network that starts from a TSN has its difference network start from images.
        two_stream=source.architecture != row.architecture,
        keep_classifier=source.dataset == row.dataset,
    )


def start_plans(profile: Profile, rows: Mapping[str, Experiment], weights: Path) -> Plans:
    """The plans of the two starts that are no rows; `weights` is where local ImageNet files lie."""
    starts = [(row, start_of(row, rows)) for row in rows.values()]
    wanted = {row.backbone for row, start in starts if start.kind == "images" or start.two_stream}
    backbones = {name: size for name, size in profile.backbones.items() if name in wanted}
    return {
        ("pretrain", "images"): _images_plan(profile, backbones, weights),
        ("pretrain", "scratch"): PretrainPlan(kind="scratch"),
    }


def _images_plan(
    profile: Profile, backbones: dict[str, BackboneSize], weights: Path
) -> PretrainPlan:
    if isinstance(profile.images, Stills):
        # Threads change the last digits, so that on a processor one machine's choice is another's.
        compute = TrainingCompute(
            device=profile.compute.device, precision=profile.compute.precision, threads=1
        )
        stills = StillsTraining(
            **profile.images.model_dump(), weight_decay=STILLS_WEIGHT_DECAY, compute=compute
        )
        return PretrainPlan(kind="stills", backbones=backbones, stills=stills)
    if profile.images == "imagenet":
        files = {name: weights / f"{name}.pth" for name in sorted(backbones)}
        sizes = {name: f.stat().st_size if f.is_file() else None for name, f in files.items()}
        return PretrainPlan(kind="imagenet", backbones=backbones, local_bytes=sizes)
    if backbones:
        raise ManifestError(
            "images: none, but rows start from images",
            where=profile.where,
            do="give the profile images, or let the rows start from scratch",
        )
    return PretrainPlan(kind="none", reason="the profile has no image pre-training")
