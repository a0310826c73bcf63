"""Which figures a profile shows, and of which rows: `manifests/figures.yaml`, checked.

A figure may name rows that a profile does not have: it is then left empty with a reason. A table's
ordering figures need no entry of rows: they follow from the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from pipeline.schema.base import Identifier, Strict, load
from pipeline.schema.network_list import Network


def _from_pairs(value: Any) -> Any:
    return dict(value) if isinstance(value, list) else value


def _to_pairs(value: Mapping[str, Any]) -> list[list[Any]]:
    return [list(item) for item in value.items()]


# A plan's JSON sorts its keys, and here their order counts: there a mapping is a list of pairs.
Ordered = (BeforeValidator(_from_pairs), PlainSerializer(_to_pairs, when_used="json"))
Labelled = Annotated[dict[Identifier, str], Field(min_length=1), *Ordered]
"""Rows of the experiments file and how the figure names them, in drawing order."""
Layer = Annotated[str, Field(pattern=r"^[a-z0-9_.]+$")]
ROWS_OF = "experiments.yaml"
FROM_NETWORKS = ("cam", "gradcam", "kernels")
"""Kinds for which a network looks at frames, or its weights are shown."""


class Figure(Strict):
    """What every figure says of itself."""

    title: str
    stands_for: str = ""
    """The printed figure or sentence that it regenerates; empty for one of our own."""
    experiments: str = ROWS_OF
    """The experiments file its rows are in: profiles with another one leave the figure out; empty
    for a figure of data sets alone."""
    remark: str = ""
    """What a reader must know beyond data, protocol and rows, which the caption says anyway."""

    @property
    def rows_named(self) -> list[str]:
        """Keys of the rows that it shows."""
        return list(getattr(self, "rows", ()))


class Curves(Figure):
    """Training loss and accuracy by epoch."""

    kind: Literal["curves"]
    rows: Labelled


class Printed(Strict):
    """Where the printed numbers of a cost figure are: a table's columns."""

    table: str
    cost: Identifier
    accuracy: Identifier


class Cost(Figure):
    """Accuracy against multiply-adds, printed beside measured."""

    kind: Literal["cost"]
    printed: Printed
    rows: Labelled
    protocol: Identifier


class Ordering(Figure):
    """Printed against measured rank: one figure per table column whose order the tables compare."""

    kind: Literal["ordering"]


class StoredFrames(Figure):
    """The middle frame of some test videos: one figure for each data set, on the page about it."""

    kind: Literal["frames"]
    experiments: str = ""
    show: Annotated[int, Field(ge=1, le=12)] = 6


class Architecture(Figure):
    """A network as it is built: its parts, who reads whose output, their sizes and what they cost.

    `part`: the parts of one of its modules in place of those of the whole network.
    """

    kind: Literal["architecture"]
    network: Network
    part: str = ""


class Reversal(Figure):
    """Pairs of classes that are each other's reverse in time: right, taken for the reverse, else.

    `pairs` counts where the videos are real; a generated data set knows its own.
    """

    kind: Literal["reversal"]
    rows: Labelled
    protocol: Identifier
    pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list
    )


class Gains(Figure):
    """Per-class accuracy (average precision where videos have several labels), second over first.

    `printed`: gains that a text prints, in points, by class.
    """

    kind: Literal["gains"]
    rows: Annotated[dict[Identifier, str], Field(min_length=2, max_length=2), *Ordered]
    protocol: Identifier
    most: Annotated[int, Field(ge=2)] = 40
    """Classes drawn at most; when there are more, those that gain and lose most."""
    printed: dict[str, float] = Field(default_factory=dict)


class _Shown(Figure):
    """A figure of some test videos, and numbers over more of them."""

    protocol: Identifier
    show: Annotated[int, Field(ge=1, le=12)] = 3
    show_ids: dict[Identifier, list[str]] = Field(default_factory=dict)
    """Videos to show, by profile; without an entry, the first video of `show` spread classes."""
    measure: Annotated[int, Field(ge=0, le=2000)] = 48
    """Test videos, drawn once, over which the overlap with motion is measured."""


class Cam(_Shown):
    """Class activation maps of an image and a difference network."""

    kind: Literal["cam"]
    row: Identifier

    @property
    def rows_named(self) -> list[str]:
        return [self.row]


class GradCam(_Shown):
    """Grad-CAM of one layer, row by row; the first row is the baseline."""

    kind: Literal["gradcam"]
    rows: Labelled
    layer: Layer
    frames: Literal["center", "all"]


class Place(Strict):
    """A residual block: stage 2-5 and its number from 1; past the end, the stage's last."""

    stage: Annotated[int, Field(ge=2, le=5)]
    block: Annotated[int, Field(ge=1)]
    reading: str
    """Why this block: which printed name it is taken for."""


class Kernels(Figure):
    """TANet's importance V and kernel Θ against the kernels of I3D 3×1×1, by data set."""

    kind: Literal["kernels"]
    tanet: Labelled
    i3d: Labelled
    places: Annotated[dict[str, Place], Field(min_length=1, max_length=4), *Ordered]
    videos: Annotated[int, Field(ge=2, le=2000)] = 48

    @property
    def rows_named(self) -> list[str]:
        return [*self.tanet, *self.i3d]


AnyFigure = Annotated[
    Architecture
    | Curves
    | Cost
    | Ordering
    | StoredFrames
    | Reversal
    | Gains
    | Cam
    | GradCam
    | Kernels,
    Field(discriminator="kind"),
]
OrderedFigures = Annotated[dict[Identifier, AnyFigure], *Ordered]


class Figures(Strict):
    figures: OrderedFigures


def load_figures(manifests: Path) -> dict[str, AnyFigure]:
    """Every figure of the manifest, in the order written; none when there is no manifest."""
    path = manifests / "figures.yaml"
    return load(Figures, path).figures if path.is_file() else {}
