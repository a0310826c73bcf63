"""Figures of where networks look: CAM and Grad-CAM, and their overlap with what moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.core.errors import AbsentData
from pipeline.reporting.figures import focus
from pipeline.reporting.figures.canvas import Figure
from pipeline.reporting.figures.focus import Area, Map, Overlap, moving, video_overlap
from pipeline.reporting.figures.maps import Strip, draw_all, draw_cam, draw_center
from pipeline.schema.figure_list import Cam, GradCam
from pipeline.store.index import Video
from stages.figure_data.clip_maps import (
    Viewer,
    activation,
    attention,
    eval_videos,
    map_side,
    one_per_class,
    sample_videos,
)
from stages.figure_data.figure_inputs import Context, each, make_figure
from stages.figure_data.truth import Truth

_SHORT = 12
COARSE = 4
"""Maps of fewer places than this across hardly tell one part of a frame from another."""
AREAS = {"motion": "the moving area", "object": "the true object"}


class Tally:
    """Overlaps by area and by row (or network), one entry per measured video."""

    def __init__(self) -> None:
        self._overlaps: dict[str, dict[str, list[Overlap | None]]] = {area: {} for area in AREAS}

    def add(self, row: str, maps: Map, strip: Strip) -> None:
        """Count one video of a row."""
        areas: dict[str, Area | None] = {"motion": strip.moving, "object": strip.objects}
        for area, mask in areas.items():
            value = None if mask is None else video_overlap(maps, mask)
            self._overlaps[area].setdefault(row, []).append(value)

    def numbers(self) -> dict[str, Any]:
        """The summary per area that any video has."""
        return {
            area: focus.summarise(rows)
            for area, rows in self._overlaps.items()
            if any(value is not None for values in rows.values() for value in values)
        }


def see(viewer: Viewer, truth: Truth | None, video: Video, layer: str) -> Strip:
    """Grad-CAM of the video's labelled class."""
    clip = viewer.clip(video)
    maps = attention(viewer.opened, clip, layer, video.labels[0])
    changed = np.stack([moving(a, b) for a, b in zip(clip.before, clip.after, strict=True)])
    objects = viewer.objects(truth, video, clip)
    return Strip(_name(viewer, video), clip.frames, changed, {viewer.opened.row: maps}, objects)


def see_pairs(viewer: Viewer, truth: Truth | None, video: Video) -> Strip:
    """CAM of the video's labelled class in both networks."""
    clip = viewer.clip(video)
    image, difference = activation(viewer.opened, clip, video.labels[0])
    changed = np.stack([moving(a, b) for a, b in pairwise(clip.frames)])
    objects = viewer.objects(truth, video, clip)
    either = None if objects is None else objects[:-1] | objects[1:]
    maps = {"image": image, "difference": difference}
    return Strip(_name(viewer, video), clip.frames, changed, maps, either)


def gradcam(context: Context, key: str, spec: GradCam) -> Figure:
    """Grad-CAM of one layer, row by row, and its overlap with motion over more videos."""
    rows, absent = each(spec.rows, context.row)
    labels = {row: spec.rows[row] for row in rows}
    first = next(iter(rows))
    truth = context.truth(rows[first].data.name)
    shown, measured = _videos(context, context.viewer(first, spec.protocol), key, spec)
    tally, strips = Tally(), dict[str, Strip]()
    side = (0, 0)
    for row in labels:
        viewer = context.viewer(row, spec.protocol)
        seen = {v.video_id: see(viewer, truth, v, spec.layer) for v in shown}
        for video in measured:
            one = seen.get(video.video_id) or see(viewer, truth, video, spec.layer)
            tally.add(row, one.maps[row], one)
        for video_id, one in seen.items():
            before = strips.setdefault(video_id, one)
            strips[video_id] = replace(before, maps={**before.maps, **one.maps})
        side = map_side(viewer.opened, viewer.clip(shown[0]), spec.layer)
    ids = {"layer": spec.layer, "map_px": list(side), "shown": list(strips)}
    numbers = {**ids, **tally.numbers()}
    found = describe(numbers, labels, spec.layer)
    draw = draw_all if spec.frames == "all" else draw_center
    drawing = draw(labels, list(strips.values()), numbers)
    caption = context.caption(spec, labels, spec.protocol, found=found)
    return make_figure(key, spec, drawing, caption, labels, absent, found=found)


def cam(context: Context, key: str, spec: Cam) -> Figure:
    """CAM of the image and the difference network on neighbouring snippets."""
    rows, _ = each([spec.row], context.row)
    viewer = context.viewer(spec.row, spec.protocol)
    truth = context.truth(rows[spec.row].data.name)
    shown, measured = _videos(context, viewer, key, spec)
    tally = Tally()
    for video in measured:
        one = see_pairs(viewer, truth, video)
        # The image network's two maps of a pair stand against the difference network's one.
        image = one.maps["image"]
        tally.add("image", (image[:-1] + image[1:]) / 2, one)
        tally.add("difference", one.maps["difference"], one)
    strips = [see_pairs(viewer, truth, video) for video in shown]
    side = map_side(viewer.opened, viewer.clip(shown[0]), "image.res5")
    ids = {"map_px": list(side), "shown": [video.video_id for video in shown]}
    numbers = {**ids, **tally.numbers()}
    labels = {"image": "image network", "difference": "difference network"}
    found = describe(numbers, labels, "res5")
    drawing = draw_cam([s.pair((len(s.frames) - 2) // 2) for s in strips], numbers)
    caption = context.caption(spec, rows, spec.protocol, found=found)
    return make_figure(key, spec, drawing, caption, rows, found=found)


def describe(numbers: Mapping[str, Any], labels: Mapping[str, str], layer: str) -> str:
    """What the maps are, what the outlines are, and the overlaps in words."""
    high, wide = numbers["map_px"]
    parts = [
        f"Maps of {layer} ({high} × {wide}, enlarged) for the labelled class"
        + (", too coarse to point at a place." if max(high, wide) < COARSE else "."),
        "Only what speaks for the class is coloured.",
        "Blue outline: where the picture changes; white: the true object."
        if "object" in numbers
        else "Blue outline: where the picture changes.",
    ]
    parts += [focus.in_words(numbers[a], labels, AREAS[a]) for a in AREAS if a in numbers]
    return " ".join(parts)


def _videos(
    context: Context, viewer: Viewer, key: str, spec: GradCam | Cam
) -> tuple[list[Video], list[Video]]:
    """The videos to show and those to measure."""
    videos = eval_videos(viewer.opened)
    if not videos:
        raise AbsentData("no usable test video", do="look at the decode counts in the report")
    by_id = {video.video_id: video for video in videos}
    named = spec.show_ids.get(context.plan.profile, [])
    shown = [by_id[video_id] for video_id in named if video_id in by_id]
    return shown or one_per_class(videos, spec.show), sample_videos(videos, spec.measure, key)


def _name(viewer: Viewer, video: Video) -> str:
    """The class, and the id where it is short enough for a label; the numbers have it in full."""
    name = viewer.opened.index.classes[video.labels[0]]
    return f"{name} ({video.video_id})" if len(video.video_id) <= _SHORT else name
