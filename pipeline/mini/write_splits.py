"""HMDB51 and Weizmann: small sets that are tested in turns over one pool of clips."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from pipeline.mini.motion_plan import Clip
from pipeline.schema.miniature import Miniature

_TITLES = (
    "Turnk_r!_Pippi_Michel", "#437_How_To_Ride", "April_09_(brush)", "Trailer;fall+jump",
    "A&B@home", "[HQ]_Prelinger", "likebeckam~2", "RATRACE", "50_FIRST_DATES", "20060723sfjff",
)  # fmt: skip
"""Names of sources, as odd as the original's."""


def hmdb51_place(clip: Clip) -> str:
    """Path of a clip's file inside the data set's folder."""
    return f"hmdb51_org/{clip.label}/{_hmdb51_name(clip)}"


def _hmdb51_name(clip: Clip) -> str:
    title = _TITLES[(clip.group - 1) % len(_TITLES)]
    return f"{title}_{clip.label}_f_cm_np1_ba_med_{clip.group * 100 + clip.number}.avi"


def hmdb51_files(miniature: Miniature, clips: Sequence[Clip]) -> dict[str, bytes]:
    """One list per class and split: `<file> <mark> `, 0 unused, 1 train, 2 test."""
    assert miniature.groups is not None
    found = {}
    for split, tested in enumerate(miniature.groups.test_groups):
        trained = miniature.groups.train_groups(split)
        for label in miniature.classes:
            lines = []
            for clip in clips:
                if clip.label == label:
                    mark = 2 if clip.group in tested else int(clip.group in trained)
                    lines.append(f"{_hmdb51_name(clip)} {mark} \n")
            name = f"testTrainMulti_7030_splits/{label}_test_split{split + 1}.txt"
            found[name] = "".join(sorted(lines)).encode()
    return found


def one_frame_too_many(avi: bytes) -> bytes:
    """The file with headers that promise one frame more than it holds, as the original's do."""
    data = bytearray(avi)
    for tag, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):  # dwTotalFrames, dwLength
        at = data.index(tag) + offset
        (frames,) = struct.unpack_from("<I", data, at)
        struct.pack_into("<I", data, at, frames + 1)
    return bytes(data)


def weizmann_place(clip: Clip) -> str:
    """Path of a clip's file; the group is the person."""
    return f"{clip.label}/{PEOPLE[clip.group - 1]}_{clip.label}.avi"


def weizmann_files(miniature: Miniature, clips: Sequence[Clip]) -> dict[str, bytes]:
    """No lists: folders and file names say it all."""
    return {}


PEOPLE = ("daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar")
