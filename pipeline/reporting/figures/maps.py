"""Maps over frames: Grad-CAM row by row, and CAM of an image and a difference network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet

from pipeline.reporting.figures.canvas import SKY, SOFT, Figure, drawing, joined, sheet
from pipeline.reporting.figures.focus import Area, Map, Picture

_HEAT = colormaps["inferno"]
_DIM = 0.55
"""How much of the frame's brightness stays under a map."""


@dataclass(frozen=True)
class Strip:
    """One video: frames (T, H, W, 3), where they move (T, H, W), a map (T, H, W) per row."""

    name: str
    frames: Picture
    moving: Area
    maps: Mapping[str, Map]
    objects: Area | None = None
    """Where the true object is, for a generated video."""

    def areas(self, t: int) -> tuple[Area, Area | None]:
        return self.moving[t], None if self.objects is None else self.objects[t]


def blend(frame_HWC: Picture, map_HW: Map, highest: float) -> npt.NDArray[np.uint8]:
    """A map over a frame made grey: 0 leaves the frame, `highest` covers it."""
    strength = np.clip(map_HW / highest, 0, 1) if highest > 0 else np.zeros(map_HW.shape)
    grey = frame_HWC.astype(np.float64).mean(axis=2, keepdims=True) * _DIM
    colour = 255 * _HEAT(0.15 + 0.85 * strength)[..., :3]
    cover = 0.9 * strength[..., None] ** 0.8
    return np.asarray(np.rint(grey * (1 - cover) + colour * cover), dtype=np.uint8)


def _picture(axes: Axes, image: Picture, area: Area | None, colour: str) -> None:
    """An image without axes, with the outline of an area."""
    axes.imshow(image, interpolation="none")
    if area is not None and area.any() and not area.all():
        # Half a pixel of frame all around, so that an outline at the edge closes.
        ys, xs = (np.arange(-1, n + 1) for n in area.shape)
        padded = np.pad(area, 1).astype(float)
        axes.contour(xs, ys, padded, [0.5], colors=[colour], linewidths=0.9)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def _outline(moving: Area, objects: Area | None) -> tuple[Area, str]:
    """What is outlined over a map: the true object where it is known, else what moves."""
    return (moving, SKY) if objects is None else (objects, "white")


def draw_center(
    key: str,
    title: str,
    caption: str,
    labels: Mapping[str, str],
    strips: Sequence[Strip],
    numbers: Mapping[str, Any],
) -> Figure:
    """One line per video: its middle segment's frame, then every row's map over it."""
    rows = list(labels)
    with drawing():
        page = sheet(1.55 * (1 + len(rows)) + 1.5, 1.62 * len(strips) + 0.35)
        panels = page.subplots(len(strips), 1 + len(rows), squeeze=False)
        for line, strip in zip(panels, strips, strict=True):
            t = len(strip.frames) // 2
            _picture(line[0], strip.frames[t], strip.moving[t], SKY)
            _side(line[0], strip.name)
            for axes, row in zip(line[1:], rows, strict=True):
                found = strip.maps[row]
                image = blend(strip.frames[t], found[t], float(found[t].max()))
                _picture(axes, image, *_outline(*strip.areas(t)))
        for axes, text in zip(panels[0], ["frame", *labels.values()], strict=True):
            axes.set_title(text, loc="center", fontsize=8.5)
    return _figure(key, "gradcam", title, caption, labels, strips, numbers, page)


def draw_all(
    key: str,
    title: str,
    caption: str,
    labels: Mapping[str, str],
    strips: Sequence[Strip],
    numbers: Mapping[str, Any],
) -> Figure:
    """Per video a block: its T frames, then one line of maps per row."""
    rows = list(labels)
    T = len(strips[0].frames)
    # Placed by hand: a layout of so many axes is slow, and not the same to the last digit.
    wide, high = 0.95 * T + 1.1, (0.98 * (1 + len(rows)) + 0.32) * len(strips)

    def place(page: Sheet, video: int, line: int, t: int) -> Axes:
        left, top = 1.0 + 0.95 * t, 0.34 + 0.98 * line + high / len(strips) * video
        return page.add_axes((left / wide, 1 - (top + 0.9) / high, 0.88 / wide, 0.9 / high))

    with drawing():
        page = sheet(wide, high)
        page.set_layout_engine("none")
        for video, strip in enumerate(strips):
            top = 1 - (0.2 + high / len(strips) * video) / high
            page.text(0.08 / wide, top, strip.name, fontsize=8.5, fontweight="bold", va="center")
            for t in range(T):
                first = place(page, video, 0, t)
                _picture(first, strip.frames[t], strip.moving[t], SKY)
                if t == 0:
                    _side(first, "frames")
                for line, row in enumerate(rows, start=1):
                    axes, found = place(page, video, line, t), strip.maps[row]
                    image = blend(strip.frames[t], found[t], float(found.max()))
                    _picture(axes, image, *_outline(*strip.areas(t)))
                    if t == 0:
                        _side(axes, labels[row])
    return _figure(key, "gradcam", title, caption, labels, strips, numbers, page)


@dataclass(frozen=True)
class Pair:
    """Two neighbouring snippets: frames (2, H, W, 3), the image network's maps (2, H, W), the
    difference network's (H, W), where the two frames differ (H, W)."""

    name: str
    frames: Picture
    image: Map
    difference: Map
    moving: Area
    objects: Area | None = None


def draw_cam(
    key: str, title: str, caption: str, pairs: Sequence[Pair], numbers: Mapping[str, Any]
) -> Figure:
    """The five columns of Ng and Davis's figure 3, one line per video."""
    heads = ("image 1", "image 2", "image network\non image 1", "image network\non image 2",
             "difference network\non their mean")  # fmt: skip
    with drawing():
        page = sheet(9.2, 1.62 * len(pairs) + 0.45)
        panels = page.subplots(len(pairs), 5, squeeze=False)
        for line, pair in zip(panels, pairs, strict=True):
            top = float(pair.image.max())
            mean = pair.frames.astype(np.float64).mean(axis=0).astype(np.uint8)
            images = [
                pair.frames[0],
                pair.frames[1],
                blend(pair.frames[0], pair.image[0], top),
                blend(pair.frames[1], pair.image[1], top),
                blend(mean, pair.difference, float(pair.difference.max())),
            ]
            for column, (axes, image) in enumerate(zip(line, images, strict=True)):
                outline = _outline(pair.moving, pair.objects if column > 1 else None)
                _picture(axes, image, *outline)
            _side(line[0], pair.name)
        for axes, text in zip(panels[0], heads, strict=True):
            axes.set_title(text, loc="center", fontsize=8.5)
    alt = f"Heat maps over frames of {len(pairs)} videos: {joined([p.name for p in pairs])}."
    return Figure(key, "cam", title, caption, alt, numbers=numbers, sheet=page)


def _side(axes: Axes, text: str) -> None:
    axes.set_ylabel(
        fill(text, 20), rotation=0, ha="right", va="center", fontsize=7.5, color=SOFT, labelpad=6
    )


def _figure(
    key: str,
    kind: str,
    title: str,
    caption: str,
    labels: Mapping[str, str],
    strips: Sequence[Strip],
    numbers: Mapping[str, Any],
    page: Sheet,
) -> Figure:
    names = joined([strip.name for strip in strips])
    alt = f"Heat maps of {joined(list(labels.values()))} over frames of {names}."
    return Figure(key, kind, title, caption, alt, numbers=numbers, sheet=page)
