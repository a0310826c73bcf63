"""The network of a row, and the weights that it starts from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.schema.plan_models import NetworkSpec, TrainPlan
from stages.rows.tensor_files import load_tensors
from tdn_model.build import build_from
from tdn_model.contract import ClipNetwork
from tdn_model.weights.imagenet import load_imagenet

State = dict[str, Tensor]


def weights_file(number: int) -> str:
    """The name of the weights of a row's training `number` (from 0)."""
    return f"weights{seed_suffix(number)}.pt"


def build_network(
    row: str,
    network: NetworkSpec,
    num_classes: int,
    *,
    seed: int,
    segments: int | None = None,
    dropout: float = 0.0,
) -> ClipNetwork:
    """The row's network at the profile's size, initialised from `seed`.

    `segments` replaces the row's own T (a protocol of 25 snippets). Raises UsageError naming the
    row when the network refuses its options.
    """
    torch.manual_seed(seed)
    try:
        return build_from(
            network.architecture,
            {
                "backbone": network.backbone,
                "num_classes": num_classes,
                "num_segments": segments or network.segments,
                "width": network.width,
                "blocks": network.blocks,
                "dropout": dropout,
                **network.options,
            },
        )
    except ValueError as error:
        raise UsageError(
            f"{row}: {error}", where="manifests/", do="correct the row's options"
        ) from None


def absent_start(work: Workspace, plan: TrainPlan) -> str:
    """Why the row's initial weights are not here; empty when they are."""
    start = plan.start
    for key in dict.fromkeys([start.source, start.images or start.source]):
        path = work.run(key) / "train" / "outcome.json"
        if not path.is_file():
            return f"its start '{key}' is not trained"
        if reason := read_json(path)["reason"]:
            return f"its start '{key}' has no weights: {reason}"
    return ""


def load_start(work: Workspace, plan: TrainPlan, model: nn.Module, number: int) -> None:
    """Fill `model` with the weights that training `number` of the row (from 0) starts from.

    Each training starts from one of its own: another row's of the same number, and, where the
    profile trains them, image pre-training's. So trainings differ in all that a seed decides.

    `images`: the pre-trained backbone, spread over other input channels where there are any
    (cross-modality) and inflated over time in 3-D networks. A row: everything but the classifier,
    which is kept only where the two rows have the same data set (Wang et al. 2021, appendix A); the
    image network alone where the start is a TSN and the row a two-stream difference network (Ng &
    Davis 2018, section 3.2), the difference network then starting from `images`. Raises UsageError
    naming what does not fit.
    """
    start = plan.start
    try:
        if start.images is not None:
            images = weights_file(number if start.own_images else 0)
            load_imagenet(model, _read(work, start.images, images, "pretrain"))
        if start.kind != "row":
            return
        theirs = weights_file(0 if start.imported else number)
        trained = _read(work, start.source, theirs, "train")
        filled = model.get_submodule("image") if start.two_stream else model
        filled.load_state_dict(_fitting(filled, trained, keep_classifier=start.keep_classifier))
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"{plan.row} cannot start from {start.source}: {error}",
            where="manifests/",
            do="start it from a row of the same network, from images or from scratch",
        ) from None


def _read(work: Workspace, key: str, name: str, command: str) -> State:
    path: Path = work.run(key) / "train" / name
    if not path.is_file():
        raise ValueError(f"no {work.relative(path)}")
    return load_tensors(
        path, what=f"the weights of {key}", do=f"run `tdn {command} {key} --profile {work.profile}`"
    )


def _fitting(model: nn.Module, trained: State, *, keep_classifier: bool) -> State:
    """`trained`, with the model's own new classifier unless it is to be kept."""
    own = model.state_dict()
    merged = dict(trained)
    if not keep_classifier:
        merged |= {n: value for n, value in own.items() if n in trained and "classifier" in n}
    wrong = [n for n in merged if n not in own or merged[n].shape != own[n].shape]
    lacking = [n for n in own if n not in merged]
    if wrong or lacking:
        raise ValueError(f"unknown or of another shape: {wrong[:3]}; missing: {lacking[:3]}")
    return merged
