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

from pipeline.reporting.figures.canvas import SKY, SOFT, Drawing, joined, plot_style, sheet
from pipeline.reporting.figures.focus import Area, Map, Picture

_HEAT = colormaps["inferno"]
_DIM = 0.55
"""How much of the frame's brightness stays under a map."""


@dataclass(frozen=True)
class Strip:
    """One video: frames (T, H, W, 3), where they move (T, H, W), a map (T, H, W) per row.

    For CAM, of an `image` and a `difference` network, areas and the difference network's map
    belong to neighbouring frames: there are T - 1 of them.
    """

    name: str
    frames: Picture
    moving: Area
    maps: Mapping[str, Map]
    objects: Area | None = None
    """Where the true object is, for a generated video."""

    def pair(self, t: int) -> Strip:
        """The frames t and t + 1 alone, with their maps (CAM)."""
        return Strip(
            self.name,
            self.frames[t : t + 2],
            self.moving[t : t + 1],
            {
                "image": self.maps["image"][t : t + 2],
                "difference": self.maps["difference"][t : t + 1],
            },
            None if self.objects is None else self.objects[t : t + 1],
        )


def blend(frame_HWC: Picture, map_HW: Map, highest: float) -> npt.NDArray[np.uint8]:
    """A map over a frame made grey: 0 leaves the frame, `highest` covers it."""
    strength = np.clip(map_HW / highest, 0, 1) if highest > 0 else np.zeros(map_HW.shape)
    grey = frame_HWC.astype(np.float64).mean(axis=2, keepdims=True) * _DIM
    colour = 255 * _HEAT(0.15 + 0.85 * strength)[..., :3]
    cover = 0.9 * strength[..., None] ** 0.8
    return np.asarray(np.rint(grey * (1 - cover) + colour * cover), dtype=np.uint8)


Panel = tuple[Picture, Area, str]
"""An image, the area that is outlined in it, and the outline's colour."""


def _over_map(strip: Strip, t: int) -> tuple[Area, str]:
    """What is outlined over a map: the true object where it is known, else what moves."""
    return (strip.moving[t], SKY) if strip.objects is None else (strip.objects[t], "white")


def _panels(strip: Strip, t: int, highest: slice) -> list[Panel]:
    """The frame of segment t, then every row's map over it, up to its maximum in `highest`."""
    frame, outline = strip.frames[t], _over_map(strip, t)
    maps = [blend(frame, one[t], float(one[highest].max())) for one in strip.maps.values()]
    return [(frame, strip.moving[t], SKY), *((image, *outline) for image in maps)]


def _draw(axes: Axes, panel: Panel, side: str = "") -> None:
    """An image without axes, with the outline of an area; `side` is written left of it."""
    image, area, colour = panel
    axes.imshow(image, interpolation="none")
    if area.any() and not area.all():
        # Half a pixel of frame all around, so that an outline at the edge closes.
        ys, xs = (np.arange(-1, n + 1) for n in area.shape)
        padded = np.pad(area, 1).astype(float)
        axes.contour(xs, ys, padded, [0.5], colors=[colour], linewidths=0.9)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(image.shape[0] - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if side:
        style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 7.5, "color": SOFT}
        axes.set_ylabel(fill(side, 20), rotation=0, labelpad=6, **style)


@plot_style()
def _draw_grid(
    size: tuple[float, float], heads: Sequence[str], lines: Sequence[tuple[str, list[Panel]]]
) -> Sheet:
    """One line of panels per video, and its name left of them."""
    page = sheet(*size)
    grid = page.subplots(len(lines), len(heads), squeeze=False)
    for row, (name, panels) in zip(grid, lines, strict=True):
        for column, panel in enumerate(panels):
            _draw(row[column], panel, "" if column else name)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, loc="center", fontsize=8.5)
    return page


def draw_center(
    labels: Mapping[str, str], strips: Sequence[Strip], numbers: Mapping[str, Any]
) -> Drawing:
    """One line per video: its middle segment's frame, then every row's map over it."""
    heads = ["frame", *labels.values()]
    size = 1.55 * len(heads) + 1.5, 1.62 * len(strips) + 0.35
    middles = [(strip, len(strip.frames) // 2) for strip in strips]
    lines = [(strip.name, _panels(strip, t, slice(t, t + 1))) for strip, t in middles]
    return Drawing(_draw_grid(size, heads, lines), _alt(labels, strips), numbers)


@plot_style()
def draw_all(
    labels: Mapping[str, str], strips: Sequence[Strip], numbers: Mapping[str, Any]
) -> Drawing:
    """Per video a block: its T frames, then one line of maps per row."""
    sides = ["frames", *labels.values()]
    T, block = len(strips[0].frames), 0.98 * len(sides) + 0.32
    wide, high = 0.95 * T + 1.1, block * len(strips)
    page = sheet(wide, high)
    # Placed by hand: a layout of so many axes is slow, and not the same to the last digit.
    page.set_layout_engine("none")
    for video, strip in enumerate(strips):
        top = 1 - (0.2 + block * video) / high
        page.text(0.08 / wide, top, strip.name, fontsize=8.5, fontweight="bold", va="center")
        for t in range(T):
            panels = _panels(strip, t, slice(None))
            for line, (side, panel) in enumerate(zip(sides, panels, strict=True)):
                left, top = 1.0 + 0.95 * t, 0.34 + 0.98 * line + block * video
                place = (left / wide, 1 - (top + 0.9) / high, 0.88 / wide, 0.9 / high)
                _draw(page.add_axes(place), panel, "" if t else side)
    return Drawing(page, _alt(labels, strips), numbers)


def draw_cam(strips: Sequence[Strip], numbers: Mapping[str, Any]) -> Drawing:
    """The five columns of Ng and Davis's figure 3, one line per video (`Strip.pair`)."""
    heads = ("image 1", "image 2", "image network\non image 1", "image network\non image 2",
             "difference network\non their mean")  # fmt: skip
    lines: list[tuple[str, list[Panel]]] = []
    for strip in strips:
        image, difference = strip.maps["image"], strip.maps["difference"][0]
        mean = strip.frames.astype(np.float64).mean(axis=0).astype(np.uint8)
        over = [
            *(blend(strip.frames[n], image[n], float(image.max())) for n in range(2)),
            blend(mean, difference, float(difference.max())),
        ]
        plain: list[Panel] = [(frame, strip.moving[0], SKY) for frame in strip.frames]
        lines.append((strip.name, [*plain, *((one, *_over_map(strip, 0)) for one in over)]))
    names = joined([strip.name for strip in strips])
    alt = f"Heat maps over frames of {len(strips)} videos: {names}."
    return Drawing(_draw_grid((9.2, 1.62 * len(strips) + 0.45), heads, lines), alt, numbers)


def _alt(labels: Mapping[str, str], strips: Sequence[Strip]) -> str:
    names = joined([strip.name for strip in strips])
    return f"Heat maps of {joined(list(labels.values()))} over frames of {names}."
