"""Where a row's weights begin: image pre-training, another row's weights, or random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from stages.tensor_files import load_tensors
from tdn_model.weights.imagenet import load_imagenet

Params = dict[str, Any]
State = dict[str, Tensor]

WEIGHTS = "weights.pt"


def absent_start(work: Workspace, params: Params) -> str:
    """Why the row's initial weights are not here; empty when they are."""
    begin = params["start"]
    for key in [begin["from"], *(["images"] if begin["images"] else [])]:
        outcome = work.run(key) / "train" / "outcome.json"
        if not outcome.is_file():
            return f"its start '{key}' is not trained"
        about = read_json(outcome)
        # Image pre-training may lack one backbone and have another.
        lacking: dict[str, str] = about.get("lacking", {})
        reason = about["reason"] or lacking.get(params["model"]["backbone"], "")
        if reason:
            return f"its start '{key}' has no weights: {reason}"
    return ""


def load_start(work: Workspace, params: Params, model: nn.Module) -> None:
    """Fill `model` as the row's `start` says; the classifier stays new unless the row it starts
    from has the same one.

    `images`: the pre-trained backbone, spread over other input channels where there are any
    (cross-modality) and inflated over time in 3-D networks. A row: everything but the classifier
    (Wang et al. 2021, appendix A); the image network alone where the start is a TSN and the row a
    two-stream difference network (Ng & Davis 2018, section 3.2), the difference network then
    starting from `images`. Raises UsageError naming what does not fit.
    """
    begin = params["start"]
    if begin["kind"] == "scratch":
        return
    backbone = params["model"]["backbone"]
    try:
        if begin["kind"] == "images":
            load_imagenet(model, _read(work, "images", f"{backbone}.pt"))
            return
        trained = _read(work, begin["from"], WEIGHTS)
        if begin["images"]:
            load_imagenet(model, _read(work, "images", f"{backbone}.pt"))
            model.get_submodule("image").load_state_dict(
                _fitting(model.get_submodule("image"), trained)
            )
        else:
            model.load_state_dict(_fitting(model, trained))
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"{params['row']} cannot start from {begin['from']}: {error}",
            where="manifests/",
            do="start it from a row of the same network, from images or from scratch",
        ) from None


def _read(work: Workspace, key: str, name: str) -> State:
    path: Path = work.run(key) / "train" / name
    if not path.is_file():
        raise ValueError(f"no {work.relative(path)}")
    command = "pretrain" if key == "images" else "train"
    return load_tensors(
        path, what=f"the weights of {key}", do=f"run `tdn {command} {key} --profile {work.profile}`"
    )


def _fitting(model: nn.Module, trained: State) -> State:
    """`trained` with the model's own classifier where the number of classes differs."""
    own = model.state_dict()
    merged = dict(trained)
    for name, value in own.items():
        other = trained.get(name)
        if other is not None and other.shape != value.shape and "classifier" in name:
            merged[name] = value
    wrong = [n for n in merged if n not in own or merged[n].shape != own[n].shape]
    lacking = [n for n in own if n not in merged]
    if wrong or lacking:
        raise ValueError(f"unknown or of another shape: {wrong[:3]}; missing: {lacking[:3]}")
    return merged
