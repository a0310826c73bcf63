"""A folder of numbered JPEGs as a video: which files are its frames, and which are missing."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

SUFFIXES = ("jpg", "jpeg")
_MOST_SHOWN = 3


@dataclass(frozen=True)
class FrameFile:
    """One frame of a folder: its name, and the name's beginning and number."""

    prefix: str
    number: int
    name: str


def list_frames(folder: Path, prefix: str | None = None) -> list[FrameFile]:
    """The frames in a folder, in frame order: JPEGs whose stem ends in a number.

    Everything else (desktop.ini, Thumbs.db, hidden files) is a stray and is left out.
    """
    frames = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, _, suffix = entry.name.rpartition(".")
            digits = re.search(r"([0-9]{1,18})$", stem)
            if suffix.lower() not in SUFFIXES or digits is None or stem.startswith("."):
                continue
            if prefix is None or entry.name.startswith(prefix):
                frames.append(FrameFile(stem[: digits.start()], int(digits.group(1)), entry.name))
    return sorted(frames, key=lambda frame: (frame.prefix, frame.number, frame.name))


def frame_files(folder: Path, prefix: str | None = None) -> list[str]:
    """Names of the frames in a folder, in frame order (see `list_frames`)."""
    return [frame.name for frame in list_frames(folder, prefix)]


def missing_frames(frames: Sequence[FrameFile], listed: int | None) -> tuple[int, str]:
    """(how many frames are missing, what is wrong with the numbering); (0, '') when all is well.

    A hole is a step wider than the smallest: folders of every second frame are whole.
    `listed` is the number of frames that an annotation states, None when it states none.
    """
    prefixes = sorted({frame.prefix for frame in frames})
    if len(prefixes) > 1:
        shown = ", ".join(f"'{prefix}'" for prefix in prefixes[:_MOST_SHOWN])
        return 0, f"its frames begin in {len(prefixes)} ways ({shown}): state options.frame_prefix"
    steps = [b.number - a.number for a, b in pairwise(frames)]
    holes = []
    count = 0
    usual = min(steps, default=0)
    for frame, step in zip(frames, steps, strict=False):
        if step == 0:
            return 0, f"two files have the number {frame.number}"
        lost = step // usual - 1 if usual else 0
        if lost > 0:
            count += lost
            first, last = frame.number + usual, frame.number + usual * lost
            holes.append(f"{first}" if lost == 1 else f"{first} to {last}")
    problems = []
    if holes:
        more = f" and {len(holes) - _MOST_SHOWN} more gaps" if len(holes) > _MOST_SHOWN else ""
        problems.append(f"missing in the numbering: {', '.join(holes[:_MOST_SHOWN])}{more}")
    if listed is not None and listed > len(frames):
        problems.append(f"the list states {listed}")
        count = max(count, listed - len(frames))
    return count, "; ".join(problems)


def why_empty(folder: Path, prefix: str | None) -> str:
    """Why a folder has no frames: which names count, and which it holds."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in names)
    held = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(_MOST_SHOWN))
    begin = "" if prefix is None else f", beginning with '{prefix}'"
    return (
        f"no frames: frames are files <name><number>.jpg or .jpeg{begin}; "
        f"the folder holds {held or 'nothing'}"
    )
