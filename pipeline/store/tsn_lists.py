"""A data set as the lists that other code bases read (TSN, TSM, TDN, mmaction2, SlowFast)."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic
from pipeline.store.index import FrameIndex, Video

FORMATS = ("frames", "videos", "csv")


def lists(index: FrameIndex, split: str, form: str) -> str:
    """The list of a split's usable videos, sorted by id.

    `frames`: `path num_frames label` (frame folders); `videos`: `path label`; `csv`: `path,label`.
    Paths are those of the source below the raw folder; several labels stand side by side (`csv`:
    with spaces between). A path with a space cannot stand in a space-separated list: UsageError.
    """
    if form not in FORMATS:
        raise UsageError(f"unknown list format '{form}'", do=f"valid: {', '.join(FORMATS)}")
    lines = [_line(video, form) for video in index.split(split) if video.usable]
    return "".join(line + "\n" for line in lines)


def _line(video: Video, form: str) -> str:
    path = str(video.source)
    labels = " ".join(str(label) for label in video.labels)
    if form == "csv":
        if "," in path:
            raise UsageError(f"'{path}' holds a comma and cannot be listed as csv")
        return f"{path},{labels}"
    if " " in path:
        raise UsageError(
            f"'{path}' holds a space and cannot be listed in format '{form}'",
            do="export as csv, or rename the file",
        )
    return f"{path} {video.n_frames} {labels}" if form == "frames" else f"{path} {labels}"


def write_lists(index: FrameIndex, out: Path, form: str) -> list[Path]:
    """One list per split and `classes.txt` in index order; returns the files written."""
    splits = sorted({split for video in index.videos for split in video.splits})
    texts = {f"{split.replace('/', '_')}.{form}.txt": lists(index, split, form) for split in splits}
    texts["classes.txt"] = "".join(f"{name}\n" for name in index.classes)
    for name, text in texts.items():
        write_atomic(out / name, text.encode("utf-8"))
    return [out / name for name in texts]
