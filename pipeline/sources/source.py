"""A listed video: one class from the annotation to the ledger and the decoder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One listed video, or one file that no list names; a row of the ledger.

    A reader fills in what the annotation says and which file it means; `check` measures the file.
    """

    video_id: str | None
    """None for a file that no list names."""
    relpath: str | None
    """The file or frame folder below the raw folder; None when there is none."""
    labels: list[int]
    splits: list[str]
    files: int
    """1, or the number of frames of a frame folder."""
    bytes: int
    sha256: str | None
    """Of the file; of names, sizes and contents for a frame folder."""
    status: str
    """One of `pipeline.schema.status`; `ok`: the file is there."""
    reason: str
    frames_listed: int | None = None
    """Frames that the annotation states; None when it states none."""


@dataclass(frozen=True)
class Remark:
    """Something to know about the lists or files as a whole; `kind` groups equal ones."""

    kind: str
    text: str
