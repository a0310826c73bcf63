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
from pipeline.sources.ledger import Progress, Source
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary
from pipeline.video.frame_folder import frame_files

COLUMNS = ("status", "video_id", "path", "reason")


@dataclass(frozen=True)
class Finding:
    """One thing to look at; `problem` is about the lists as a whole."""

    status: str
    video_id: str
    path: str
    reason: str


def findings(problems: Iterable[str], rows: Iterable[Source]) -> list[Finding]:
    """Every problem of the lists, then every row of the ledger that is not ready to be decoded."""
    found = [Finding("problem", "", "", sentence) for sentence in problems]
    for row in rows:
        if row.status not in ("ok", "skipped"):
            found.append(Finding(row.status, row.video_id or "", row.relpath or "", row.reason))
    return found


def write_findings(path: Path, found: Sequence[Finding]) -> None:
    """The list as csv, with a header."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((f.status, f.video_id, f.path, f.reason) for f in found)
    write_atomic(path, sink.getvalue().encode("utf-8"))


def read_findings(path: Path) -> list[Finding]:
    """The list as `write_findings` wrote it."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Finding(**row) for row in csv.DictReader(file)]


def probe(
    dataset: Dataset,
    raw: Path,
    rows: Sequence[Source],
    workers: int,
    progress: Progress | None = None,
) -> list[Finding]:
    """Videos of the ledger that hold no frame (`unreadable`) or fewer than the policy's minimum
    (`short`), by decoding that many and no more; `workers` are looked at side by side."""
    program = binary()
    fewest = dataset.decode.min_frames
    changes = {"max_frames": fewest, "short_side_px": 16, "upscale": False}
    policy = dataset.decode.model_copy(update=changes)
    ready = [row for row in rows if row.status == "ok"]

    def look(row: Source) -> Finding | None:
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
            return Finding("unreadable", *about, reason or "no frames")
        return Finding("short", *about, f"{count} frames, the minimum is {fewest}")

    bad = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, finding in enumerate(pool.map(look, ready), start=1):
            if finding is not None:
                bad.append(finding)
            if progress is not None and (done % 16 == 0 or done == len(ready)):
                progress(done, len(ready))
    return bad
