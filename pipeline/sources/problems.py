"""What `check` found wrong, as a list to work through, and a first look into every video.

The look decodes only the first frames: enough to find what cannot be opened and what is too short,
hours before decoding would.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.files import write_atomic
from pipeline.schema.dataset import Dataset
from pipeline.sources.ledger import Progress
from pipeline.sources.source import Source
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary
from pipeline.video.frame_folder import frame_files

COLUMNS = ("status", "video_id", "path", "reason")


@dataclass(frozen=True)
class Problem:
    """One thing to look at; `problem` is about the lists as a whole."""

    status: str
    video_id: str
    path: str
    reason: str


def list_problems(problems: Iterable[str], rows: Iterable[Source]) -> list[Problem]:
    """Every problem of the lists, then every row of the ledger that is not ready to be decoded."""
    found = [Problem("problem", "", "", sentence) for sentence in problems]
    for row in rows:
        if row.status not in ("ok", "skipped"):
            found.append(Problem(row.status, row.video_id or "", row.relpath or "", row.reason))
    return found


def write_problems(path: Path, found: Sequence[Problem]) -> None:
    """The list as csv, with a header."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((f.status, f.video_id, f.path, f.reason) for f in found)
    write_atomic(path, sink.getvalue().encode("utf-8"))


def read_problems(path: Path) -> list[Problem]:
    """The list as `write_problems` wrote it."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Problem(**row) for row in csv.DictReader(file)]


def probe(
    dataset: Dataset,
    raw: Path,
    rows: Sequence[Source],
    workers: int,
    progress: Progress | None = None,
) -> list[Problem]:
    """Videos of the ledger that hold no frame (`unreadable`) or fewer than the policy's minimum
    (`short`), by decoding that many and no more; `workers` are looked at side by side."""
    program = binary()
    fewest = dataset.decode.min_frames
    changes = {"max_frames": fewest, "short_side_px": 16, "upscale": False}
    policy = dataset.decode.model_copy(update=changes)
    ready = [row for row in rows if row.status == "ok"]

    def look(row: Source) -> Problem | None:
        path = raw / str(row.relpath)
        about = (str(row.video_id), str(row.relpath))
        if path.is_dir():
            count, reason = len(frame_files(path, dataset.options.frame_prefix)), ""
        else:
            found = decode(path, policy, program)
            count, reason = found.n_frames, found.reason
        if count >= fewest:
            return None
        if not count:
            return Problem("unreadable", *about, reason or "no frames")
        return Problem("short", *about, f"{count} frames, the minimum is {fewest}")

    bad = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, finding in enumerate(pool.map(look, ready), start=1):
            if finding is not None:
                bad.append(finding)
            if progress is not None and (done % 16 == 0 or done == len(ready)):
                progress(done, len(ready))
    return bad
