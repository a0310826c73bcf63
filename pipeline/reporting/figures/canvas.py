"""What all figures share: colours, a sheet to draw on, and files that are equal byte for byte.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; whatever a colour says, a
marker, a position or a word says too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet

from pipeline.core.files import write_atomic

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#8A9199"
SERIES = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SOFT, LINE = "#5B636B", "#D9DEE3"
DPI = 144
DPI_OF = {"cam": 110, "gradcam": 110}
"""Frames weigh more than lines, and have fewer pixels than this anyway."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": "#1C2024",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
    "svg.hashsalt": "tdn-bench",  # else ids in the file are random
    "svg.fonttype": "path",
}

State = Literal["drawn", "partial", "not-run"]


@dataclass(frozen=True)
class Figure:
    """One figure as the report shows it; `sheet` is None exactly when nothing was drawn.

    `numbers` are JSON values, rounded; `reason` says what is missing when the state is not 'drawn'.
    `found` is the part of the caption with measured numbers, word for word. They rest on `rows` of
    the experiments and on `cells` of the tables.
    """

    key: str
    kind: str
    title: str
    caption: str
    alt: str = ""
    state: State = "drawn"
    reason: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    sheet: Sheet | None = None
    found: str = ""
    rows: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The entry of figures.json."""
        drawn = self.sheet is not None
        return {
            "key": self.key,
            "kind": self.kind,
            "title": self.title,
            "caption": self.caption,
            "found": self.found,
            "rows": list(self.rows),
            "cells": list(self.cells),
            "alt": self.alt,
            "state": self.state,
            "reason": self.reason,
            "numbers": dict(self.numbers),
            "files": {"png": f"{self.key}.png", "svg": f"{self.key}.svg"} if drawn else {},
        }


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, sheets have the house's style, whatever the user's own settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]  # a plain dict of settings
        yield


def sheet(width_in: float, height_in: float) -> Sheet:
    """An empty sheet; made without pyplot, so nothing keeps it alive."""
    made = Sheet(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(figure: Figure, folder: Path) -> list[Path]:
    """Write `<key>.png` and `<key>.svg`, whole; the same bytes for the same numbers."""
    if figure.sheet is None:
        return []
    _settle(figure.sheet)
    paths = []
    dpi = DPI_OF.get(figure.kind, DPI)
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        data = io.BytesIO()
        with drawing():
            figure.sheet.savefig(data, format=suffix, dpi=dpi, metadata=metadata)
        path = folder / f"{figure.key}.{suffix}"
        write_atomic(path, data.getvalue())
        paths.append(path)
    return paths


def _settle(page: Sheet) -> None:
    """Lay the sheet out once and round where its axes are: a solver's last digits may differ."""
    with drawing():
        page.draw_without_rendering()
    page.set_layout_engine("none")
    for axes in page.axes:
        left, bottom, width, height = axes.get_position(original=True).bounds
        axes.set_position(
            (round(left, 5), round(bottom, 5), round(width, 5), round(height, 5)), which="both"
        )


def empty(key: str, kind: str, title: str, caption: str, reason: str) -> Figure:
    """A figure that could not be drawn, and why."""
    return Figure(key, kind, title, caption, state="not-run", reason=reason)


def joined(parts: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
