"""The clips of a row: its store, its training and test clips, and their batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pipeline.clips.clip_dataset import (
    Batch,
    ClipDataset,
    EvalRule,
    Sample,
    TrainRule,
    collate,
)
from pipeline.clips.transforms import normalise, normalise_flow
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import PredictPlan, RowData, TrainPlan
from pipeline.schema.protocols import CROP_COUNTS, EvalViews
from pipeline.store.index import FrameIndex, Video, read_index


@dataclass(frozen=True)
class RowClips:
    """The clips of one split under one rule, and the videos that have none."""

    dataset: ClipDataset
    unusable: list[Video]
    crops: int = 1
    """Crops of each clip."""


def absent_data(work: Workspace, data: RowData) -> str:
    """Why a row's data set has no frames here; empty when it has."""
    path = work.store(data.name, data.input) / "index.json"
    if not path.is_file():
        return f"{data.name} is not decoded (no {work.relative(path)})"
    index = read_json(path)
    return "" if index["status"] != "absent" else f"{data.name} is absent: {index['reason']}"


def advice(work: Workspace, data: RowData) -> str:
    """What a user does so that the row's data set has frames."""
    name = data.name
    steps = f"`tdn check {name}` and `tdn decode {name}`"
    then = f"{steps} with --profile {work.profile}"
    if data.input == "flow" and (work.frames(name) / "index.json").is_file():
        return f"run `tdn flow {name} --profile {work.profile}`"
    if data.generated:
        if work.profile == "mini":
            return f"run `make repro`, or `tdn mini {name}`, {steps}"
        return f"run `make repro PROFILE={work.profile}`, or `tdn mini {name}`, {then}"
    obtain = read_json(work.plan("check", name))["params"]["dataset"]["obtain"]
    return f"in {work.relative(work.raw(name, generated=False))}/: {obtain}; then run {then}"


def open_index(work: Workspace, data: RowData) -> FrameIndex:
    """The store of the row's data set: frames or flow."""
    return read_index(work.store(data.name, data.input))


def normaliser(data: RowData) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns the row's uint8 clips into the network's input, on the device."""
    return normalise_flow if data.input == "flow" else normalise


def train_clips(
    plan: TrainPlan, index: FrameIndex, window: int, seed: int, *, cache_mb: int = 0
) -> RowClips:
    """The row's training clips."""
    recipe = plan.recipe
    rule = TrainRule(
        segments=plan.network.segments,
        window=window,
        sampling=recipe.sampling,
        crop_px=recipe.crop_px,
        flip=recipe.flip,
        flip_pairs=tuple((a, b) for a, b in plan.flip_pairs),
        crop=recipe.crop,
        colour_jitter=recipe.colour_jitter,
    )
    return _clips(plan.data, index, plan.split, rule, seed, cache_mb)


def validation_clips(plan: TrainPlan, index: FrameIndex, window: int) -> RowClips:
    """The clips that a plateau of the training is seen by."""
    assert plan.validation is not None and plan.validation_split is not None
    rule = _eval_rule(plan.validation, plan.network.segments, window)
    return _clips(plan.data, index, plan.validation_split, rule, plan.seed)


def eval_clips(plan: PredictPlan, index: FrameIndex, window: int, protocol: str) -> RowClips:
    """The row's test clips under one of its protocols."""
    views = plan.protocols[protocol]
    rule = _eval_rule(views, plan.network.segments, window)
    crops = CROP_COUNTS[views.crops]
    return _clips(plan.data, index, plan.split, rule, plan.seed, crops=crops)


def _eval_rule(views: EvalViews, segments: int, window: int) -> EvalRule:
    return EvalRule(
        segments=segments,
        window=window,
        protocol=views,
        resize_px=views.resize_px,
        crop_px=views.crop_px,
    )


def _clips(
    data: RowData,
    index: FrameIndex,
    split: str,
    rule: TrainRule | EvalRule,
    seed: int,
    cache_mb: int = 0,
    crops: int = 1,
) -> RowClips:
    listed = index.split(split)
    dataset = ClipDataset(
        store=index.store(),
        videos=[video for video in listed if video.usable],
        classes=index.classes,
        rule=rule,
        seed=seed,
        multi_label=data.multi_label,
        cache_mb=cache_mb,
    )
    return RowClips(dataset, [video for video in listed if not video.usable], crops)


Position = tuple[int, int]
"""An epoch and a position in a ClipDataset."""


class _Epochs(TorchDataset[Sample]):
    """Clips of any epoch, so that one loader's processes serve a whole training."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, position: Position) -> Sample:
        epoch, number = position
        self.dataset.set_epoch(epoch)
        return self.dataset[number]


def batches(
    dataset: ClipDataset, groups: Iterable[list[Position]], workers: int, *, pinned: bool = False
) -> Iterator[Batch]:
    """The clips of each group of positions as one batch, in order.

    `workers` processes load ahead for as long as there are groups; 0 loads when asked. `pinned`
    batches are copied to an accelerator while it computes. Draws nothing from torch's global
    stream of random numbers.
    """
    loader = DataLoader(
        _Epochs(dataset),
        batch_sampler=groups,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        pin_memory=pinned,
        generator=torch.Generator(),
    )
    yield from loader


def in_order(count: int, size: int) -> list[list[Position]]:
    """Groups of at most `size` that go through `count` positions once."""
    return [[(0, n) for n in range(i, min(i + size, count))] for i in range(0, count, size)]
