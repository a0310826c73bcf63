"""What all figures share: colours, a sheet to draw on, and files that are equal byte for byte.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; whatever a colour says, a
marker, a position or a word says too.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
FILES = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
"""The files of a figure, and the metadata that would differ between equal ones."""
DPI_OF = {"cam": 110, "gradcam": 110}
"""Frames make larger files than lines, and have fewer pixels than this."""

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


class Drawing(NamedTuple):
    """A sheet (or finished files by suffix), what it shows in words, and its numbers (JSON values,
    rounded)."""

    sheet: Sheet | Mapping[str, bytes]
    alt: str
    numbers: Mapping[str, Any]

    @property
    def suffixes(self) -> Iterable[str]:
        """Of its files."""
        return FILES if isinstance(self.sheet, Sheet) else self.sheet


@dataclass(frozen=True)
class Figure:
    """One figure as the report shows it; `reason` says why rows, or the whole drawing, are missing.

    `found` is the part of the caption with measured numbers, word for word. They rest on `rows` of
    the experiments and on `cells` of the tables.
    """

    key: str
    kind: str
    title: str
    caption: str
    drawing: Drawing | None = None
    reason: str = ""
    found: str = ""
    rows: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """'not-run' without a drawing, 'partial' when rows are missing in it, else 'drawn'."""
        if self.drawing is None:
            return "not-run"
        return "partial" if self.reason else "drawn"

    def as_json(self) -> dict[str, Any]:
        """The entry of figures.json."""
        entry = {**vars(self), "rows": list(self.rows), "cells": list(self.cells)}
        drawing = entry.pop("drawing")
        return {
            **entry,
            "state": self.state,
            "alt": drawing.alt if drawing else "",
            "numbers": dict(drawing.numbers) if drawing else {},
            "files": {suffix: f"{self.key}.{suffix}" for suffix in drawing.suffixes}
            if drawing
            else {},
        }


@contextmanager
def plot_style() -> Iterator[None]:
    """Inside (or in a function decorated with it), sheets look alike on every machine, whatever
    the user's own settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]  # a plain dict of settings
        yield


def sheet(width_in: float, height_in: float) -> Sheet:
    """An empty sheet, created without pyplot, which would keep a reference to it."""
    page = Sheet(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(page)
    return page


@plot_style()
def save(figure: Figure, folder: Path) -> list[Path]:
    """Write `<key>.png` and `<key>.svg`, whole; the same bytes for the same numbers. Of finished
    files, these."""
    if figure.drawing is None:
        return []
    page = figure.drawing.sheet
    if not isinstance(page, Sheet):
        for suffix, content in page.items():
            write_atomic(folder / f"{figure.key}.{suffix}", content)
        return [folder / f"{figure.key}.{suffix}" for suffix in page]
    page.draw_without_rendering()
    page.set_layout_engine("none")
    for axes in page.axes:  # the last digits of the layout's solver may differ
        bounds = [round(value, 5) for value in axes.get_position(original=True).bounds]
        axes.set_position(tuple(bounds), which="both")
    paths = []
    for suffix, metadata in FILES.items():
        data, dpi = io.BytesIO(), DPI_OF.get(figure.kind, DPI)
        page.savefig(data, format=suffix, dpi=dpi, metadata=metadata)
        paths.append(folder / f"{figure.key}.{suffix}")
        write_atomic(paths[-1], data.getvalue())
    return paths


def joined(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
