"""What a data set is: `manifests/datasets/<name>.yaml`, checked.

A manifest says where a data set comes from, how it lies on disk, which lists make its folds, how it
is decoded and what is known to be odd about it. Numbers are the official ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.errors import ManifestError
from pipeline.core.workspace import OWN
from pipeline.schema.base import Identifier, Strict, load_named

Layout = Literal["ssv1", "ssv2", "kinetics", "ucf101", "hmdb51", "weizmann", "list"]
SplitName = Annotated[str, Field(min_length=1)]


class Fold(Strict):
    """Which listed splits a row trains on and is scored on."""

    train: SplitName
    val: SplitName


class DecodePolicy(Strict):
    """How a data set's videos become frames; part of the identity of every frame."""

    short_side_px: Annotated[int, Field(ge=16, le=4096)] | None
    """Scale the shorter side to this, rounded to even pixels; null keeps the size."""
    upscale: bool
    """False leaves videos smaller than `short_side_px` as they are."""
    quality: Annotated[int, Field(ge=2, le=31)]
    """ffmpeg's JPEG quantiser: 2 is best (about libjpeg 90), 3 is a fifth smaller."""
    fps: Annotated[float, Field(gt=0)] | None
    """Frames per second to resample to; null keeps every frame as it was coded."""
    max_frames: Annotated[int, Field(gt=0)] | None
    """Stop after this many frames; null takes the whole video."""
    min_frames: Annotated[int, Field(ge=1)]
    """Fewer decoded frames than this make the video unusable (status `short`)."""
    min_frame_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    """A video that was not decoded in full needs at least this share of its frames: with less it
    is unusable (status `error`), with more it is used and counted as `partial`."""
    timeout_s: Annotated[float, Field(gt=0)]
    """Wall-clock limit of one video's decoding."""
    videos_per_shard: Annotated[int, Field(ge=1, le=4096)]


class ReaderOptions(Strict):
    """Where a layout's files lie below the raw folder; each reader uses the keys it knows."""

    videos: str
    """Folder that holds the videos or frame folders."""
    lists: dict[SplitName, str] = Field(default_factory=dict)
    """Layout `list`: the list file of each split."""
    columns: list[Literal["path", "frames", "labels", "skip"]] = Field(default_factory=list)
    """Layout `list`: what the columns of a line mean."""
    header: bool = False
    """Layout `list`: whether the first line of each list names its columns and is left out."""
    separator: str = " "
    """Layout `list`: what stands between columns (a space means any white space)."""
    classes: str | None = None
    """Layout `list`: file of class names, one per line; null when lists hold names themselves."""
    suffix: str = ""
    """Layout `list`: appended to a path that has no extension (`.mp4`)."""
    frame_prefix: str | None = None
    """Frame folders: only files whose name starts so are frames; null takes every numbered JPEG."""


class Clusters(Strict):
    """Which videos came about together, so that intervals count them as one."""

    what: str
    """One cluster in words: `person`, `source film`."""
    pattern: str
    """Finds it in a video's id, as the group named `cluster`."""

    @field_validator("pattern")
    @classmethod
    def _has_the_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if "cluster" not in groups:
            raise ValueError("needs a group (?P<cluster>…)")
        return pattern

    def of(self, video_id: str) -> str:
        """A video's cluster; its own id where the pattern does not find one."""
        found = re.search(self.pattern, video_id)
        return video_id if found is None else found["cluster"]


class Dataset(Strict):
    """One data set."""

    name: Identifier
    title: str
    homepage: str
    licence: str
    obtain: str
    """What a user puts where, in a sentence; printed when the data are absent."""
    layout: Layout
    metric: Literal["top1", "map"]
    multi_label: bool
    label_order: Literal["sorted", "file"]
    """Class indices follow the sorted names or the order of the official class file."""
    num_classes: Annotated[int, Field(ge=1)] | None
    """Null (a user's own data only): as many as the lists name."""
    folds: Annotated[dict[Identifier, Fold], Field(min_length=1)]
    decode_splits: list[SplitName] | None
    """Videos in none of these splits are listed but not decoded; null decodes all."""
    expected: dict[SplitName, int]
    """Official number of listed videos per split."""
    flip_pairs: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    """Class names that change places when a clip is mirrored."""
    decode: DecodePolicy
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)]
    """More unusable videos than this fraction of those to decode fail `check` and `decode`."""
    max_shared_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """More of a fold's validation videos than this fraction in its training split (by name, or as
    equal files) fail `check`; fewer are remarks."""
    clusters: Clusters | None = Field(default=None, exclude=True)
    """Null: every video is a cluster of its own. Only scores depend on it."""
    options: ReaderOptions
    quirks: list[str]
    """What is known to be odd, in sentences."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Dataset:
        flipped = [name for pair in self.flip_pairs for name in pair]
        if len(set(flipped)) != len(flipped):
            raise ValueError("flip_pairs names a class twice")
        if (self.metric == "map") != self.multi_label:
            raise ValueError("metric map goes with multi_label: true, top1 with false")
        if self.layout == "list" and (not self.options.lists or "path" not in self.options.columns):
            raise ValueError("layout list needs options.lists and a path in options.columns")
        return self


class Subset(Strict):
    """The part of a data set that is meant to be here: what a profile declares."""

    reason: Annotated[str, Field(min_length=3)]
    videos: list[str] | None
    """Their ids; null: those whose files are here."""

    def leaves_out(self, video_id: str, *, is_here: bool) -> bool:
        """Whether a listed video is not meant to be here."""
        return not is_here if self.videos is None else video_id not in self.videos


class PartOfDataset(Dataset):
    """A data set of which a profile declares a subset."""

    subset: Subset


def declared_subset(dataset: Dataset) -> Subset | None:
    """The part of a data set that is meant to be here; None for all of it."""
    return dataset.subset if isinstance(dataset, PartOfDataset) else None


def load_dataset(manifests: Path, name: str) -> Dataset:
    """The data set called `name`, tracked or the user's own; a UsageError naming the nearest one
    when there is none, a ManifestError when there are two."""
    tracked, own = (folder / "datasets" for folder in (manifests, manifests.with_name(OWN)))
    if not (own / f"{name}.yaml").is_file():
        return load_named(Dataset, tracked, name, "data set", "name")
    if (tracked / f"{name}.yaml").is_file():
        raise ManifestError(
            f"there are two data sets '{name}', yours and a tracked one",
            where=f"{OWN}/datasets/{name}.yaml",
            do="give yours another name (in the file, its name and the rows that use it)",
        )
    return load_named(Dataset, own, name, "data set", "name")
