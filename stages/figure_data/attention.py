"""Figures of where networks look: CAM and Grad-CAM, and their overlap with what moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.core.errors import AbsentData
from pipeline.reporting.figures import focus
from pipeline.reporting.figures.canvas import Figure
from pipeline.reporting.figures.focus import Area, Map, Overlap, moving, video_overlap
from pipeline.reporting.figures.maps import Pair, Strip, draw_all, draw_cam, draw_center
from pipeline.schema.figure_list import Cam, GradCam
from pipeline.store.index import Video
from stages.figure_data.clip_maps import (
    Clip,
    Opened,
    Viewer,
    activation,
    attention,
    eval_videos,
    map_side,
    one_per_class,
    sample_videos,
)
from stages.figure_data.figure_inputs import Context
from stages.figure_data.truth import Truth

_SHORT = 12
COARSE = 4
"""Maps of fewer places than this across hardly tell one part of a frame from another."""
AREAS = {"motion": "the moving area", "object": "the true object"}


@dataclass(frozen=True)
class Seen:
    """One video as one row sees it: maps, where it moves, where the true object is (T, H, W)."""

    clip: Clip
    maps: Map
    areas: Mapping[str, Area | None]


@dataclass
class Tally:
    """Overlaps by area and by row (or network), one entry per measured video."""

    found: dict[str, dict[str, list[Overlap | None]]] = field(
        default_factory=lambda: {area: {} for area in AREAS}
    )

    def add(self, row: str, maps: Map, areas: Mapping[str, Area | None]) -> None:
        """Count one video of a row."""
        for area, where in areas.items():
            value = None if where is None else video_overlap(maps, where)
            self.found[area].setdefault(row, []).append(value)

    def numbers(self) -> dict[str, Any]:
        """The summary per area that any video has."""
        return {
            area: focus.summarise(rows)
            for area, rows in self.found.items()
            if any(value is not None for values in rows.values() for value in values)
        }


def see(viewer: Viewer, truth: Truth | None, video: Video, layer: str) -> Seen:
    """Grad-CAM of the video's labelled class."""
    clip = viewer.clip(video)
    maps = attention(viewer.opened, clip, layer, video.labels[0])
    changed = np.stack([moving(a, b) for a, b in zip(clip.before, clip.after, strict=True)])
    return Seen(clip, maps, {"motion": changed, "object": viewer.objects(truth, video, clip)})


def gradcam(context: Context, key: str, spec: GradCam) -> list[Figure]:
    """Grad-CAM of one layer, row by row, and its overlap with motion over more videos."""
    absent = {row: why for row in spec.rows if (why := context.missing(row))}
    labels = {row: label for row, label in spec.rows.items() if row not in absent}
    if not labels:
        return [context.nothing(key, spec, absent)]
    first = context.open(next(iter(labels)))
    truth = context.truth(first.plan.data.name)
    shown, measured = _videos(context, first, key, spec)
    tally, seen = Tally(), dict[str, dict[str, Seen]]()
    side = (0, 0)
    for row in labels:
        viewer = context.viewer(row, spec.protocol)
        seen[row] = {v.video_id: see(viewer, truth, v, spec.layer) for v in shown}
        for video in measured:
            one = seen[row].get(video.video_id) or see(viewer, truth, video, spec.layer)
            tally.add(row, one.maps, one.areas)
        side = map_side(viewer.opened, viewer.clip(shown[0]), spec.layer)
    numbers = {"layer": spec.layer, "map_px": list(side), **_ids(shown), **tally.numbers()}
    strips = [
        _strip(first, video, {row: seen[row][video.video_id] for row in labels}) for video in shown
    ]
    finding = describe(numbers, labels, spec.layer, side)
    caption = context.caption(spec, list(labels), spec.protocol, found=finding)
    draw = draw_all if spec.frames == "all" else draw_center
    figure = draw(key, spec.title, caption, labels, strips, numbers)
    return [context.note(figure, list(labels), absent, found=finding)]


def cam(context: Context, key: str, spec: Cam) -> list[Figure]:
    """CAM of the image and the difference network on neighbouring snippets."""
    if reason := context.missing(spec.row):
        return [context.nothing(key, spec, {spec.row: reason})]
    viewer = context.viewer(spec.row, spec.protocol)
    opened = viewer.opened
    truth = context.truth(opened.plan.data.name)
    shown, measured = _videos(context, opened, key, spec)
    tally = Tally()
    for video in measured:
        one = see_pairs(viewer, truth, video)
        # The image network's two maps of a pair stand against the difference network's one.
        tally.add("image", (one.image[:-1] + one.image[1:]) / 2, one.areas)
        tally.add("difference", one.difference, one.areas)
    pairs = [see_pairs(viewer, truth, video).middle(_name(opened, video)) for video in shown]
    side = map_side(opened, viewer.clip(shown[0]), "image.res5")
    labels = {"image": "image network", "difference": "difference network"}
    numbers = {"map_px": list(side), **_ids(shown), **tally.numbers()}
    finding = describe(numbers, labels, "res5", side)
    caption = context.caption(spec, [spec.row], spec.protocol, found=finding)
    figure = draw_cam(key, spec.title, caption, pairs, numbers)
    return [context.note(figure, [spec.row], {}, found=finding)]


@dataclass(frozen=True)
class SeenPairs:
    """A video's neighbouring snippets: image maps (T, H, W), difference maps (T - 1, H, W)."""

    clip: Clip
    image: Map
    difference: Map
    areas: Mapping[str, Area | None]
    """Per pair: where the two frames differ; where the object is in either."""

    def middle(self, name: str) -> Pair:
        """The middle pair, for a figure."""
        k = (len(self.clip.frames) - 2) // 2
        changed, objects = self.areas["motion"], self.areas["object"]
        assert changed is not None
        return Pair(
            name,
            self.clip.frames[k : k + 2],
            self.image[k : k + 2],
            self.difference[k],
            changed[k],
            None if objects is None else objects[k],
        )


def see_pairs(viewer: Viewer, truth: Truth | None, video: Video) -> SeenPairs:
    """CAM of the video's labelled class in both networks."""
    clip = viewer.clip(video)
    image, difference = activation(viewer.opened, clip, video.labels[0])
    frames = clip.frames
    changed = np.stack([moving(a, b) for a, b in pairwise(frames)])
    objects = viewer.objects(truth, video, clip)
    either = None if objects is None else objects[:-1] | objects[1:]
    return SeenPairs(clip, image, difference, {"motion": changed, "object": either})


def describe(
    numbers: Mapping[str, Any], labels: Mapping[str, str], layer: str, side: tuple[int, int]
) -> str:
    """What the maps are, what the outlines are, and the overlaps in words."""
    parts = [
        f"Maps of {layer} ({side[0]} × {side[1]}, enlarged) for the labelled class"
        + (", too coarse to point at a place." if max(side) < COARSE else "."),
        "Only what speaks for the class is coloured.",
        "Blue outline: where the picture changes; white: the true object."
        if "object" in numbers
        else "Blue outline: where the picture changes.",
    ]
    parts += [focus.in_words(numbers[a], labels, AREAS[a]) for a in AREAS if a in numbers]
    return " ".join(parts)


def _videos(
    context: Context, opened: Opened, key: str, spec: GradCam | Cam
) -> tuple[list[Video], list[Video]]:
    """The videos to show and those to measure."""
    videos = eval_videos(opened)
    if not videos:
        raise AbsentData("no usable test video", do="look at the decode counts in the report")
    by_id = {video.video_id: video for video in videos}
    named = spec.show_ids.get(context.plan.profile, [])
    shown = [by_id[video_id] for video_id in named if video_id in by_id]
    return shown or one_per_class(videos, spec.show), sample_videos(videos, spec.measure, key)


def _ids(shown: Sequence[Video]) -> dict[str, Any]:
    return {"shown": [video.video_id for video in shown]}


def _strip(opened: Opened, video: Video, seen: Mapping[str, Seen]) -> Strip:
    first = next(iter(seen.values()))
    maps = {row: one.maps for row, one in seen.items()}
    changed = first.areas["motion"]
    assert changed is not None
    return Strip(_name(opened, video), first.clip.frames, changed, maps, first.areas["object"])


def _name(opened: Opened, video: Video) -> str:
    """The class, and the id where it is short enough for a label; the numbers have it in full."""
    name = opened.index.classes[video.labels[0]]
    return f"{name} ({video.video_id})" if len(video.video_id) <= _SHORT else name
