"""A trained row: its network, its test clips, and the maps of its network over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.clips.clip_dataset import EvalRule, Reader, eval_crop, read_eval_clip
from pipeline.clips.jpeg_decode import read_frames
from pipeline.clips.sampling import rng_for
from pipeline.clips.transforms import Frames, normalise
from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import PredictPlan
from pipeline.store.index import FrameIndex, Video
from stages.figure_data.truth import Truth
from stages.rows.device import set_up_device
from stages.rows.row_clips import absent_data, eval_clips, open_index
from stages.rows.row_network import build_network
from stages.rows.tensor_files import load_tensors
from tdn_model.attribution import class_activation, enlarge, grad_cam
from tdn_model.contract import ClipNetwork

Params = dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """A trained row: its network in evaluation mode and its data set's index."""

    row: str
    plan: PredictPlan
    model: ClipNetwork
    index: FrameIndex
    device: torch.device


@dataclass(frozen=True)
class Clip:
    """One clip as input of a network and as pictures.

    `network` (1, T, F, C, H, W) normalised; `frames` (T, H, W, 3), each segment's middle frame;
    `before` and `after` its neighbours in the video; `indices` (T,) their places there.
    """

    network: Tensor
    frames: npt.NDArray[np.uint8]
    before: npt.NDArray[np.uint8]
    after: npt.NDArray[np.uint8]
    indices: tuple[int, ...]


def missing(work: Workspace, row: str, plan: PredictPlan) -> str:
    """Why a row has no network to draw maps of; empty when it has one."""
    outcome = work.run(row) / "train" / "outcome.json"
    if plan.data.input != "frames":
        return f"it reads {plan.data.input}, and maps are drawn over frames"
    if absent := absent_data(work, plan.data):
        return absent
    if not outcome.is_file():
        return "the row is not trained"
    trained = read_json(outcome)
    if trained["status"] != "ok":
        return str(trained["reason"])
    return "" if (outcome.parent / "weights.pt").is_file() else "the row has no weights"


def open_row(work: Workspace, row: str, plan: PredictPlan) -> Opened:
    """The row's network with its trained weights. Raises AbsentData when there are none."""
    if reason := missing(work, row, plan):
        do = f"run `make repro`, or `tdn train {row}`, in profile {work.profile}"
        raise AbsentData(f"cannot look into {row}: {reason}", do=do)
    device = set_up_device(plan.compute)
    index = open_index(work, plan.data)
    model = build_network(row, plan.network, len(index.classes), seed=plan.seed)
    weights = work.run(row) / "train" / "weights.pt"
    do = f"run `tdn train {row} --profile {work.profile}`"
    model.load_state_dict(load_tensors(weights, what=f"the weights of {row}", do=do))
    return Opened(row, plan, model.to(device).eval(), index, device)


def clip_rule(opened: Opened, protocol: str) -> EvalRule:
    """The protocol's first clip with the row's own T and one crop in the middle."""
    known = opened.plan.protocols
    if protocol not in known:
        raise UsageError(
            f"{opened.row} is not tested under protocol '{protocol}'",
            where="manifests/",
            do=f"its protocols: {', '.join(known)}",
        )
    row = eval_clips(opened.plan, opened.index, opened.model.window, protocol)
    rule = row.dataset.rule
    assert isinstance(rule, EvalRule)
    crops = "full" if rule.protocol.crops == "full" else "center"
    plain = rule.protocol.model_copy(update={"segments": None, "crops": crops})
    return EvalRule(rule.segments, rule.window, plain, rule.resize_px, rule.crop_px)


def read_clip(rule: EvalRule, read: Reader, n_frames: int, video_id: str, seed: int) -> Clip:
    """The rule's first clip of a video of `n_frames`, with the neighbours of its middle frames."""
    chosen, network = read_eval_clip(rule, read, n_frames, video_id, seed, 0)
    middle = [int(frame) for frame in chosen[:, rule.window // 2]]
    before = [max(frame - 1, 0) for frame in middle]
    after = [min(frame + 1, n_frames - 1) for frame in middle]
    beside = _pictures(eval_crop(rule, read(before + after))[0])
    return Clip(
        network=normalise(network),
        frames=_pictures(network[0, :, rule.window // 2]),
        before=beside[: len(middle)],
        after=beside[len(middle) :],
        indices=tuple(middle),
    )


def _pictures(frames_NCHW: Tensor) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(frames_NCHW.permute(0, 2, 3, 1).numpy())


def crop_masks(
    rule: EvalRule, masks: npt.NDArray[np.bool_], indices: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """Masks (n, H, W) of a video's frames as the rule crops the frames at `indices`: (T, H, W)."""
    chosen = torch.from_numpy(np.ascontiguousarray(masks[list(indices)])).to(torch.uint8) * 255
    frames = [frame.expand(3, -1, -1) for frame in chosen.unsqueeze(1)]
    return np.asarray(_pictures(eval_crop(rule, frames)[0])[..., 0] > 127)


class Viewer:
    """One row's test videos under one protocol, clip by clip."""

    def __init__(self, opened: Opened, protocol: str) -> None:
        self.opened = opened
        self.rule = clip_rule(opened, protocol)
        self._store = opened.index.store()

    def clip(self, video: Video) -> Clip:
        """The video's clip."""

        def read(wanted: Sequence[int]) -> Frames:
            return read_frames(self._store, video.video_id, wanted)

        return read_clip(self.rule, read, video.n_frames, video.video_id, self.opened.plan.seed)

    def objects(
        self, truth: Truth | None, video: Video, clip: Clip
    ) -> npt.NDArray[np.bool_] | None:
        """(T, H, W) where the true objects are in the clip's frames, where that is known."""
        masks = None if truth is None else truth.masks(video.video_id)
        if masks is None or len(masks) != video.n_frames:
            return None
        return crop_masks(self.rule, masks, clip.indices)


def attention(opened: Opened, clip: Clip, layer: str, target: int) -> npt.NDArray[np.float64]:
    """Grad-CAM of a class at the frames' size: (T, H, W). UsageError names the layers there are."""
    classes = torch.tensor([target], device=opened.device)
    try:
        maps = grad_cam(opened.model, clip.network.to(opened.device), layer, classes)
    except ValueError as error:
        raise UsageError(f"{opened.row}: {error}", do="name one of these layers") from None
    return _at_frames(maps, clip)


def activation(
    opened: Opened, clip: Clip, target: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """CAM of a class in the image (T, H, W) and the difference network (T - 1, H, W)."""
    classes = torch.tensor([target], device=opened.device)
    maps = class_activation(opened.model, clip.network.to(opened.device), classes)
    if set(maps) != {"image", "difference"}:
        raise UsageError(
            f"{opened.row} is no pair of an image and a difference network",
            do="use a row of architecture featdiff, or a gradcam figure",
        )
    return _at_frames(maps["image"], clip), _at_frames(maps["difference"], clip)


def _at_frames(maps_1Thw: Tensor, clip: Clip) -> npt.NDArray[np.float64]:
    height, width = clip.frames.shape[1:3]
    return np.asarray(enlarge(maps_1Thw, height, width)[0].cpu().numpy(), dtype=np.float64)


def answer(opened: Opened, clip: Clip) -> int:
    """The class with the highest logit."""
    with torch.no_grad():
        return int(opened.model(clip.network.to(opened.device)).argmax())


def map_side(opened: Opened, clip: Clip, layer: str) -> tuple[int, int]:
    """(h, w) of a layer's own map before it is enlarged."""
    shapes: list[tuple[int, int]] = []

    def note(_module: nn.Module, _inputs: object, out: Tensor) -> None:
        shapes.append((int(out.shape[-2]), int(out.shape[-1])))

    handle = opened.model.get_submodule(layer).register_forward_hook(note)
    try:
        with torch.no_grad():
            opened.model(clip.network.to(opened.device))
    finally:
        handle.remove()
    return shapes[0]


def eval_videos(opened: Opened) -> list[Video]:
    """The row's usable, labelled test videos, by id."""
    listed = opened.index.split(opened.plan.split)
    return [video for video in listed if video.usable and video.labels]


def one_per_class(videos: Sequence[Video], count: int) -> list[Video]:
    """The first video of each of `count` classes that are spread evenly over all classes."""
    first: dict[int, Video] = {}
    for video in videos:
        first.setdefault(video.labels[0], video)
    classes = sorted(first)
    step = max(1.0, len(classes) / count)
    chosen = dict.fromkeys(classes[int(step * i)] for i in range(min(count, len(classes))))
    return [first[number] for number in chosen]


def sample_videos(videos: Sequence[Video], count: int, key: str) -> list[Video]:
    """`count` videos drawn once for `key`, the same for every row, in order of their ids."""
    if count >= len(videos):
        return list(videos)
    chosen = rng_for(0, key).permutation(len(videos))[:count]
    return [videos[int(i)] for i in sorted(chosen)]
