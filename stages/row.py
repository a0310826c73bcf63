"""What training and predicting a row have in common: its clips, its network, its device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

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
from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.protocols import CROP_COUNTS, Protocol
from pipeline.store.index import FrameIndex, Video, read_index
from tdn_model.build import build_from
from tdn_model.contract import ClipNetwork

Params = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """The clips of one split under one rule, and the videos that have none."""

    dataset: ClipDataset
    unusable: list[Video]
    views: int = 1
    """Crops of each clip."""


def absent_reason(work: Workspace, data: Params) -> str:
    """Why a row's data set has no frames here; empty when it has."""
    dataset = data["name"]
    path = work.store(data) / "index.json"
    if not path.is_file():
        return f"{dataset} is not decoded (no {work.relative(path)})"
    about = read_json(path)
    return "" if about["status"] != "absent" else f"{dataset} is absent: {about['reason']}"


def how_to_get(work: Workspace, data: Params) -> str:
    """What a user does so that the row's data set has frames."""
    name = data["name"]
    steps = f"`tdn check {name}` and `tdn decode {name}`"
    then = f"{steps} with --profile {work.profile}"
    if data["input"] == "flow" and (work.frames(name) / "index.json").is_file():
        return f"run `tdn flow {name} --profile {work.profile}`"
    if data["generated"]:
        if work.profile == "mini":
            return f"run `make repro`, or `tdn mini {name}`, {steps}"
        return f"run `make repro PROFILE={work.profile}`, or `tdn mini {name}`, {then}"
    obtain = read_json(work.plan("check", name))["params"]["dataset"]["obtain"]
    return f"in {work.relative(work.raw(name))}/: {obtain}; then run {then}"


def start(params: Params) -> torch.device:
    """Set threads and determinism for this process; returns the device to compute on."""
    compute = params["compute"]
    if compute["threads"]:
        torch.set_num_threads(compute["threads"])
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads memory before writing it; filling it first is a fifth of a small step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property that torch sets on the module's class
    if compute["device"] == "auto" and torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        return torch.device("cuda")
    return torch.device("cpu")


def precision(params: Params) -> torch.dtype:
    """The data type of forward passes."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[params["compute"]["precision"]]


def build_network(
    params: Params, num_classes: int, *, seed: int, segments: int | None = None
) -> ClipNetwork:
    """The row's network at the profile's scale, initialised from `seed`.

    `segments` replaces the row's own T (a protocol of 25 snippets). Raises UsageError naming the
    row when the network refuses its options.
    """
    model = params["model"]
    torch.manual_seed(seed)
    try:
        return build_from(
            model["architecture"],
            {
                "backbone": model["backbone"],
                "num_classes": num_classes,
                "num_segments": segments or model["segments"],
                "width": model["width"],
                "blocks": model["blocks"],
                "dropout": params.get("recipe", {}).get("dropout", 0.0),
                **model["options"],
            },
        )
    except ValueError as error:
        raise UsageError(
            f"{params['row']}: {error}", where="manifests/", do="correct the row's options"
        ) from None


def train_clips(params: Params, index: FrameIndex, window: int, seed: int) -> Row:
    """The row's training clips."""
    recipe = params["recipe"]
    rule = TrainRule(
        segments=params["model"]["segments"],
        window=window,
        sampling=recipe["sampling"],
        crop_px=_size(params, recipe["crop_px"]),
        flip=recipe["flip"],
        flip_pairs=tuple((a, b) for a, b in params["data"]["flip_pairs"]),
        crop=recipe["crop"],
        colour_jitter=recipe["colour_jitter"],
    )
    cache_mb = params["compute"]["cache_mb"]
    return _row(params, index, params["data"]["train"], rule, seed, cache_mb)


def eval_clips(params: Params, index: FrameIndex, window: int, protocol: str) -> Row:
    """The row's test clips under one of its protocols."""
    words = {"title": protocol, "source": "planned"}  # plans hold no words
    rules = Protocol.model_validate({**params["protocols"][protocol], **words})
    rule = EvalRule(
        segments=params["model"]["segments"],
        window=window,
        protocol=rules,
        resize_px=None if rules.resize_px is None else _size(params, rules.resize_px),
        crop_px=_size(params, rules.crop_px),
    )
    row = _row(params, index, params["data"]["val"], rule, params["seed"], 0)
    return replace(row, views=CROP_COUNTS[rules.crops])


Place = tuple[int, int]
"""An epoch and a position in a ClipDataset."""


class _Epochs(TorchDataset[Sample]):
    """Clips of any epoch, so that one loader's processes serve a whole training."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, place: Place) -> Sample:
        epoch, position = place
        self.dataset.set_epoch(epoch)
        return self.dataset[position]


def batches(
    dataset: ClipDataset, groups: Iterable[list[Place]], workers: int, *, pinned: bool = False
) -> Iterator[Batch]:
    """The clips of each group of places as one batch, in order.

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


def in_order(count: int, size: int) -> list[list[Place]]:
    """Groups of at most `size` that go through `count` positions once."""
    return [[(0, n) for n in range(i, min(i + size, count))] for i in range(0, count, size)]


def open_index(work: Workspace, params: Params) -> FrameIndex:
    """The store of the row's data set: frames or flow."""
    return read_index(work.store(params["data"]))


def normaliser(params: Params) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns the row's uint8 clips into the network's input, on the device."""
    return normalise_flow if params["data"]["input"] == "flow" else normalise


def _row(
    params: Params,
    index: FrameIndex,
    split: str,
    rule: TrainRule | EvalRule,
    seed: int,
    cache_mb: int,
) -> Row:
    listed = index.split(split)
    dataset = ClipDataset(
        store=index.store(),
        videos=[video for video in listed if video.usable],
        classes=index.classes,
        rule=rule,
        seed=seed,
        multi_label=params["data"]["multi_label"],
        cache_mb=cache_mb,
    )
    return Row(dataset, [video for video in listed if not video.usable])


def _size(params: Params, paper_px: int) -> int:
    """A paper's size in pixels as this profile has it."""
    pixels = params["sizes_px"].get(str(paper_px))
    if pixels is None:
        raise UsageError(
            f"{params['row']}: the profile has no size for the papers' {paper_px} px",
            where=f"manifests/profiles/{params['profile']}.yaml, sizes_px",
            do=f"add {paper_px}: its size in this profile",
        )
    return int(pixels)
