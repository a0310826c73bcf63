"""Do all machines of a cluster see the same files? Asked before any of them works.

Videos and store must lie under the same path on storage that all nodes share. A node without it
would fail its shards hours later, or fill a folder of its own that nobody reads.
"""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic
from pipeline.core.ray_pool import Crash, Pool
from pipeline.video.ffmpeg import binary, build


@dataclass(frozen=True)
class View:
    """What every node must find."""

    mark: Path
    """A file in the store's folder, written by the driver a moment ago."""
    token: str
    """What it holds."""
    source: Path | None
    """A video file or frame folder; None where there is none to look at."""
    ffmpeg_build: str


def check_nodes(pool: Pool, folder: Path, source: Path | None) -> None:
    """UsageError naming the nodes that do not see `folder` and `source`, or cannot write there.

    Does nothing without a cluster: one machine sees what it sees.
    """
    if not pool.cluster:
        return
    mark = folder.absolute() / f".tmp-mark-{secrets.token_hex(8)}"
    place = None if source is None else source.absolute()
    view = View(mark, secrets.token_hex(16), place, build(binary()))
    write_atomic(mark, view.token.encode())
    try:
        answers = pool.everywhere(look, view)
    finally:
        mark.unlink(missing_ok=True)
    blind = [f"{name}: {_reason(answer)}" for name, answer in answers if _reason(answer)]
    if blind:
        raise UsageError(
            f"{len(blind)} of {len(answers)} nodes cannot take part\n    " + "\n    ".join(blind),
            do="put videos and store on storage that every node has under the same path, with one "
            "ffmpeg and this package on each; or take these nodes out of the cluster",
        )


def look(view: View) -> str:
    """Why the machine that runs this cannot take part; '' when it can."""
    try:
        if view.mark.read_text("ascii") != view.token:
            return "its frame store is another folder of the same name"
    except OSError as error:
        return f"it does not see the frame store ({error.strerror})"
    try:
        tempfile.TemporaryFile(prefix=".tmp-", dir=view.mark.parent).close()
    except OSError as error:
        return f"it cannot write to the frame store ({error.strerror})"
    if view.source is not None:
        try:
            view.source.stat()
        except OSError as error:
            return f"it does not see the videos ({view.source.name}: {error.strerror})"
    found = build(binary())
    if found != view.ffmpeg_build:
        return f"its ffmpeg is {found}, the driver's is {view.ffmpeg_build}"
    return ""


def _reason(answer: str | Crash) -> str:
    return answer.reason if isinstance(answer, Crash) else answer
