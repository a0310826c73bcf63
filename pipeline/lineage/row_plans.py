"""The plans of rows and of the weights that they start from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pipeline.core.digest_cache import DigestCache
from pipeline.core.errors import ManifestError
from pipeline.schema.base import build_from, known_name
from pipeline.schema.dataset import Dataset
from pipeline.schema.experiments import Checkpoint, Experiment, images_key, starts
from pipeline.schema.miniature import Miniature
from pipeline.schema.plan_models import (
    CheckpointFile,
    ImportedScorePlan,
    ImportPlan,
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
from pipeline.schema.profiles import (
    BackboneSize,
    DeviceCompute,
    PredictCompute,
    Profile,
    Stills,
    TrainingCompute,
)
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
    recipe: Recipe | None,
    protocols: Mapping[str, Protocol],
    miniature: Miniature | None,
    root: Path,
) -> Plans:
    """The plans of one row's train, predict and score; `factory` builds its network.

    A row without a recipe takes its weights from a file below `root`.
    """
    row = rows[key]
    where = f"{profile.rows_where}, experiments.{key}"
    views = {name: eval_views(name, protocols, profile, where) for name in row.protocols}
    data = build_from(RowData, row, profile, dataset, name=row.dataset)
    size, fold = profile.backbones[row.backbone], dataset.folds[row.fold]
    network = build_from(NetworkSpec, row, size, factory=factory)
    seed = row.seed + profile.seed
    shared: dict[str, Any] = {"row": key, "data": data, "network": network, "seed": seed}
    scoring: dict[str, Any] = {
        "row": key,
        "protocols": {name: one.aggregate for name, one in views.items()},
        "miniature": miniature,
        "seed": seed,
        "identity": "",  # known when all rows are planned
        "official": None if profile.generated else dataset.expected.get(fold.val),
        "subset": profile.why_subset(row.dataset),
    }
    if isinstance(row.start, Checkpoint) or recipe is None:
        assert isinstance(row.start, Checkpoint)
        checkpoint = checkpoint_file(row.start, root)
        shared["seeds"] = scoring["seeds"] = 1  # however often the profile trains its rows
        scoring["checkpoint"] = row.start.checkpoint
        train: Plan = build_from(
            ImportPlan, profile, row=key, data=data, network=network, checkpoint=checkpoint
        )
        score: Plan = build_from(ImportedScorePlan, row, profile, dataset, **scoring)
    else:
        training: dict[str, Any] = {
            "recipe": (scaled := profile.scaled(recipe)),
            "start": start_of(row, rows, profile),
        }
        if scaled.decay == "plateau":
            training["validation_split"] = fold.val
            training["validation"] = eval_views(VALIDATION, protocols, profile, where)
        train = build_from(
            TrainPlan,
            row,
            profile,
            dataset,
            **shared,
            split=fold.train,
            **training,
            compute=build_from(TrainingCompute, profile.compute),
        )
        score = build_from(ScorePlan, row, profile, dataset, **scoring)
    # Float16 is for training, whose gradients are scaled; its weights are float32.
    narrow = profile.compute.precision == "float16"
    precision = "float32" if narrow else profile.compute.precision
    computed = build_from(PredictCompute, profile.compute, precision=precision)
    predict = build_from(
        PredictPlan, row, profile, **shared, split=fold.val, protocols=views, compute=computed
    )
    return {("train", key): train, ("predict", key): predict, ("score", key): score}


def checkpoint_file(start: Checkpoint, root: Path) -> CheckpointFile:
    """The file of weights and that of its class names, as they lie below `root` now."""
    cache = DigestCache(root / ".tdn" / "hashes" / f"{Path(start.checkpoint).name}.parquet")

    def digest(name: str | None) -> str | None:
        return cache.sha256(root / name) if name and (root / name).is_file() else None

    found = build_from(
        CheckpointFile,
        start,
        sha256=digest(start.checkpoint),
        class_names_sha256=digest(start.class_names),
    )
    with suppress(OSError):  # a tree that may only be read
        cache.save()
    return found


def eval_views(
    name: str, protocols: Mapping[str, Protocol], profile: Profile, where: str
) -> EvalViews:
    """A protocol without its words, so that rewording predicts nothing anew, in the profile's
    pixels."""
    known_name("protocols", name, protocols, where)
    values = protocols[name].model_dump(exclude={"title", "source"})
    for size in ("resize_px", "crop_px"):
        if values[size] is not None:
            values[size] = profile.size_px(values[size])
    return EvalViews.model_validate(values)


def start_of(row: Experiment, rows: Mapping[str, Experiment], profile: Profile) -> StartSpec:
    """The weights that a row starts from."""
    source = rows.get(row.begins)
    two_stream = source is not None and source.architecture != row.architecture
    uses_images = row.start == "images" or two_stream
    kind: Literal["scratch", "images", "row"] = "images" if row.start == "images" else "scratch"
    return StartSpec(
        kind=kind if source is None else "row",
        source=row.begins,
        images=images_key(row.backbone) if uses_images else None,
        # A two-stream network that starts from a TSN has its difference network start from images.
        two_stream=two_stream,
        keep_classifier=source is not None and source.dataset == row.dataset,
        own_images=uses_images and isinstance(profile.images, Stills),
        imported=source is not None and isinstance(source.start, Checkpoint),
    )


def start_plans(profile: Profile, rows: Mapping[str, Experiment], weights: Path) -> Plans:
    """The plans of the starts that are no rows; `weights` is where local ImageNet files lie."""
    sizes = {images_key(name): (name, size) for name, size in profile.backbones.items()}
    return {
        ("pretrain", key): (
            _images_plan(profile, *sizes[key], weights)
            if key in sizes
            else PretrainPlan(kind="scratch")
        )
        for key in starts(rows)
    }


def _images_plan(profile: Profile, backbone: str, size: BackboneSize, weights: Path) -> Plan:
    if profile.images == "none":
        raise ManifestError(
            "images: none, but rows start from images",
            where=profile.where,
            do="give the profile images, or let the rows start from scratch",
        )
    if profile.images == "imagenet":
        file = weights / f"{backbone}.pth"
        held = file.stat().st_size if file.is_file() else None
        return PretrainPlan(kind="imagenet", backbone=backbone, size=size, local_bytes=held)
    # Threads change the last digits, so that on a processor one machine's choice is another's.
    stills = build_from(
        StillsTraining,
        profile.images,
        weight_decay=STILLS_WEIGHT_DECAY,
        compute=build_from(DeviceCompute, profile.compute, threads=1),
        seed=profile.images.seed + profile.seed,
    )
    return PretrainPlan(
        kind="stills", backbone=backbone, size=size, stills=stills, seeds=profile.seeds
    )
