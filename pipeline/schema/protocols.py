"""Test protocols: `manifests/protocols.yaml`, checked.

A protocol is a set of views (clips × crops) of a video and the way their logits become one score.
Sizes are the papers'; a profile may map them to its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.schema.base import Identifier, Strict, load

SamplingKind = Literal[
    "segments_center",
    "segments_center_unguarded",
    "segments_random",
    "segments_spread",
    "snippets_random",
    "twice",
    "uniform_n",
    "dense",
    "dense_tam",
    "spans",
]
"""How the frames of a clip are chosen: `pipeline.clips.sampling.starts`."""
Crops = Literal["center", "three", "ten", "full"]
CROP_COUNTS: dict[Crops, int] = {"center": 1, "three": 3, "ten": 10, "full": 1}
Aggregate = Literal["mean_logits", "mean_softmax"]
_ONE_CLIP = ("segments_center", "segments_center_unguarded")


class EvalViews(Strict):
    """The views of a video that are scored, and how their logits become one score."""

    sampling: SamplingKind
    clips: Annotated[int, Field(ge=1, le=100)]
    crops: Crops
    """`center`; `three` along x (left, right, centre); `ten` (corners and centre, each mirrored
    too); `full`: the whole frame squeezed into the square."""
    resize_px: Annotated[int, Field(ge=8)] | None
    """Shorter side after resizing; null takes frames as they are stored."""
    crop_px: Annotated[int, Field(ge=8)]
    aggregate: Aggregate
    segments: Annotated[int, Field(ge=1)] | None = None
    """Fixes T, whatever the network was trained with (25 snippets); null takes the row's own."""
    stride: Annotated[int, Field(ge=1)] = 1
    """Sampling `spans` only: frames from one segment to the next."""
    stream: Literal["both", "image", "difference"] = "both"
    """Which answer of a network with two streams is scored: their mean, or one of them."""
    seeded: bool = False
    """True when frames are drawn at random: from (seed, video, clip), so that they repeat."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> EvalViews:
        if self.sampling in _ONE_CLIP and self.clips != 1:
            raise ValueError(f"sampling {self.sampling} has one clip")
        if self.sampling == "twice" and self.clips != 2:
            raise ValueError("sampling twice has two clips")
        if self.seeded != (self.sampling in ("segments_random", "snippets_random")):
            raise ValueError("seeded is true exactly for the random samplings")
        if self.resize_px is not None and self.resize_px < self.crop_px and self.crops != "full":
            raise ValueError("crop_px is larger than resize_px")
        return self


class Protocol(EvalViews):
    """One named way to test."""

    title: str
    source: str
    """Whose protocol this is, and where it departs from their code."""


class Protocols(Strict):
    protocols: dict[Identifier, Protocol]


def load_protocols(manifests: Path) -> dict[str, Protocol]:
    """The named protocols."""
    return load(Protocols, manifests / "protocols.yaml").protocols
