"""Kinetics-400 as people have it: official csv lists, and files under every naming convention.

Which convention a clip's file follows goes by its number within its class, so that all of them are
there. A file of the mirror may be broken and its sound version lie in the replacement folder; some
rows have no file, and some files no row.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from pipeline.mini.motion_plan import Clip
from pipeline.schema.miniature import Miniature

BROKEN = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41\x00\x00\x40\x00mdat" + bytes(
    900
)
"""An MP4 whose download stopped: its index (`moov`), which comes last, is not there."""

_REPLACED = 9
"""Number, within its class, of the clip whose file on the mirror is broken."""


def place(clip: Clip) -> str:
    """Path of a clip's sound file inside the data set's folder."""
    stem = _stem(clip)
    if _replaced(clip):
        return f"replacement_for_corrupted_k400/{stem}.mp4"
    return _usual_place(clip)


def files(miniature: Miniature, clips: Sequence[Clip]) -> dict[str, bytes]:
    """`label,youtube_id,time_start,time_end,split`; broken files; one file that is in no list.

    The validation list is of another edition: times with a point, a column more, `val`. The test
    list has no labels.
    """
    found = {_usual_place(clip): BROKEN for clip in clips if _replaced(clip)}
    found[f"part_0/{_youtube_id('unlisted')}_000001_000011.mp4"] = BROKEN
    for subset, split in miniature.splits.items():
        rows = [
            (clip.label if split.labelled else "", _youtube_id(clip.clip_id), _start(clip.clip_id))
            for clip in clips
            if clip.subset == subset
        ]
        for number in range(miniature.missing_rows.get(subset, 0)):
            gone = f"gone/{subset}/{number}"
            rows.append(
                (
                    miniature.classes[number % len(miniature.classes)],
                    _youtube_id(gone),
                    _start(gone),
                )
            )
        lines = [_line(subset, *row) for row in sorted(rows)]
        found[f"{subset}.csv"] = "".join(
            f"{line}\n" for line in [_HEADERS[subset], *lines]
        ).encode()
    return found


_HEADERS = {
    "train": "label,youtube_id,time_start,time_end,split",
    "validate": "label,youtube_id,time_start,time_end,split,is_cc",
    "test": "youtube_id,time_start,time_end,split",
}


def _line(subset: str, label: str, youtube_id: str, start: int) -> str:
    if subset == "train":
        return f"{label},{youtube_id},{start},{start + 10},train"
    if subset == "validate":
        return f"{label},{youtube_id},{start:.1f},{start + 10:.1f},val,0"
    return f"{youtube_id},{start},{start + 10},test"


def _usual_place(clip: Clip) -> str:
    """Where a clip's file would be had it not been replaced: one convention after the other."""
    stem, label = _stem(clip), clip.label
    bare = "".join(char for char in label if char not in "()'")
    youtube_id, start = _youtube_id(clip.clip_id), _start(clip.clip_id)
    folder = {"train": "train", "validate": "val", "test": "test"}[clip.subset]
    return (
        f"{folder}/{label}/{stem}.mp4",  # the official crawler
        f"videos_{folder}/{label.replace(' ', '_')}/{stem}.mp4",  # mmaction2
        f"{folder}_256/{bare.replace(' ', '_')}/{stem}.mkv",  # TSM's class names
        f"part_0/{stem}.mp4",  # the public mirror, flat
        f"part_0/{youtube_id}_{start}_{start + 10}.mp4",
        f"academic_torrents/{youtube_id}.mp4",
    )[clip.number % 6]


def _stem(clip: Clip) -> str:
    start = _start(clip.clip_id)
    return f"{_youtube_id(clip.clip_id)}_{start:06d}_{start + 10:06d}"


def _replaced(clip: Clip) -> bool:
    return clip.number == _REPLACED


def _youtube_id(key: str) -> str:
    """Eleven letters, digits, dashes and underscores; a dash may come first, as in the original."""
    digest = hashlib.sha256(f"youtube/{key}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:11]


def _start(key: str) -> int:
    return hashlib.sha256(f"start/{key}".encode()).digest()[0]
