"""`tdn explain`: where a trained row looks in one video, the user's own included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pipeline.clips.jpeg_decode import decode_frame
from pipeline.core.errors import DataError, UsageError
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.figures.canvas import Drawing, Figure, save
from pipeline.reporting.figures.focus import Overlap, moving, video_overlap
from pipeline.reporting.figures.maps import Strip, draw_all, draw_cam
from pipeline.schema.base import nearest, one_of
from pipeline.schema.dataset import DecodePolicy
from pipeline.schema.plan_models import PredictPlan
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary
from stages.figure_data.clip_maps import (
    Clip,
    Opened,
    Viewer,
    activation,
    answer,
    attention,
    open_row,
    read_clip,
)

LAST = "res5"


@dataclass(frozen=True)
class Subject:
    """The video to explain: its frames, and its labelled class where it has one."""

    name: str
    label: int | None
    jpegs: Sequence[bytearray]

    def read(self, wanted: Sequence[int]) -> list[Tensor]:
        """Frames (3, H, W) for frame indices."""
        return [decode_frame(self.jpegs[frame]) for frame in wanted]


def run(
    work: Workspace,
    plan: PredictPlan,
    video: str,
    out: Path,
    *,
    layer: str = "",
    target: str = "",
    protocol: str = "",
) -> tuple[Figure, list[Path]]:
    """Draw one row's maps over one video; returns the figure and the files written to `out`.

    `video` is an id of its data set or a path to a file or a
    folder of frames. `target` names a class (default: the label, else the network's answer).
    Without `layer`, a network of two streams shows both their CAM, any other Grad-CAM of its last
    stage. Raises UsageError, AbsentData or DataError saying what to do.
    """
    opened = open_row(work, plan.row, plan)
    protocol = protocol or next(iter(plan.protocols))
    viewer = Viewer(opened, protocol)
    subject = find(opened, video)
    clip = read_clip(viewer.rule, subject.read, len(subject.jpegs), subject.name, plan.seed)
    predicted = answer(opened, clip)
    chosen = _target(opened, target, predicted if subject.label is None else subject.label)
    classes = opened.index.classes
    name = f"{subject.name}: {classes[chosen]}"
    numbers = {
        "video": subject.name,
        "row": plan.row,
        "protocol": protocol,
        "target": classes[chosen],
        "answer": classes[predicted],
        "label": None if subject.label is None else classes[subject.label],
        "frames": list(clip.indices),
    }
    two_streams = plan.network.architecture == "featdiff"
    if two_streams and not layer:
        kind, layer, title = "cam", LAST, "CAM"
        drawing, outlined = _two_maps(opened, clip, chosen, name, numbers), "pictures differ"
    else:
        kind, layer, title = "gradcam", layer or LAST, "Grad-CAM"
        drawing, outlined = _one_map(opened, clip, chosen, layer, name, numbers), "picture changes"
    caption = f"{plan.row}, {protocol}. Blue outline: where the {outlined}."
    key = _key(plan.row, subject.name, "cam" if kind == "cam" else layer)
    figure = Figure(key, kind, f"{title} of {layer}", caption, drawing)
    out.mkdir(parents=True, exist_ok=True)
    paths = save(figure, out)
    facts = out / f"{figure.key}.json"
    write_json(facts, figure.as_json())
    return figure, [*paths, facts]


def find(opened: Opened, video: str) -> Subject:
    """A video of the row's data set by id, else the file or folder of frames at that path.

    Raises UsageError naming the nearest id, DataError when the video has no frames.
    """
    by_id = {one.video_id: one for one in opened.index.videos}
    if video in by_id:
        known = by_id[video]
        if not known.usable:
            raise DataError(
                f"{video} has no frames: {known.status}: {known.reason}", do="choose another video"
            )
        label = known.labels[0] if known.labels else None
        return Subject(video, label, opened.index.store().jpegs(video))
    path = Path(video)
    if not path.exists():
        dataset = opened.plan.data.name
        raise UsageError(
            f"'{video}' is no video of {dataset} and no file",
            do=f"{nearest(video, list(by_id))}; or give the path of a video or a folder of frames",
        )
    policy = DecodePolicy.model_validate(opened.index.about["policy"])
    decoded = decode(path, policy, binary())
    if not decoded.n_frames:
        raise DataError(
            f"{path.name} cannot be shown: {decoded.reason}", do="give one that ffmpeg decodes"
        )
    ends = decoded.offsets
    jpegs = [bytearray(decoded.stream[a:b]) for a, b in pairwise(ends)]
    return Subject(path.name, None, jpegs)


def _target(opened: Opened, target: str, default: int) -> int:
    classes = list(opened.index.classes)
    if not target:
        return default
    one_of(target, classes, f"'{target}' is no class of {opened.plan.data.name}")
    return classes.index(target)


def _one_map(
    opened: Opened, clip: Clip, target: int, layer: str, name: str, numbers: dict[str, Any]
) -> Drawing:
    """Grad-CAM over every segment."""
    maps = attention(opened, clip, layer, target)
    changed = np.stack([moving(a, b) for a, b in zip(clip.before, clip.after, strict=True)])
    facts = {**numbers, "layer": layer, "motion": _rounded(video_overlap(maps, changed))}
    strip = Strip(name, clip.frames, changed, {opened.row: maps})
    return draw_all({opened.row: layer}, [strip], facts)


def _two_maps(
    opened: Opened, clip: Clip, target: int, name: str, numbers: dict[str, Any]
) -> Drawing:
    """CAM of the image and the difference network on every pair of neighbouring snippets."""
    image, difference = activation(opened, clip, target)
    changed = np.stack([moving(a, b) for a, b in pairwise(clip.frames)])
    strip = Strip(name, clip.frames, changed, {"image": image, "difference": difference})
    facts = []
    for k, own in enumerate(difference):
        both = {"image": (image[k] + image[k + 1]) / 2, "difference": own}
        area = changed[k][None]
        facts.append({n: _rounded(video_overlap(m[None], area)) for n, m in both.items()})
    pairs = [strip.pair(k) for k in range(len(difference))]
    return draw_cam(pairs, {**numbers, "motion": facts})


def _rounded(overlap: Overlap | None) -> dict[str, float] | None:
    if overlap is None:
        return None
    return {name: round(value, 4) for name, value in overlap._asdict().items()}


def _key(*parts: str) -> str:
    """A file name of letters, digits, dots, dashes and underscores."""
    kept = ["".join(c if c.isalnum() or c in "-_" else "_" for c in part) for part in parts]
    return ".".join(kept)
