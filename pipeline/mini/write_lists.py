"""ACT and FCVID: videos in one folder and generic lists; their own formats are not public."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.mini.motion_plan import Clip
from pipeline.schema.miniature import Miniature


def act_place(clip: Clip) -> str:
    """Path of a clip's file inside the data set's folder."""
    return f"videos/{clip.label}/{clip.clip_id}.avi"


def fcvid_place(clip: Clip) -> str:
    """Path of a clip's file; a clip may have several labels, so no folder is named after one."""
    return f"videos/{clip.clip_id}.mp4"


def act_files(miniature: Miniature, clips: Sequence[Clip]) -> dict[str, bytes]:
    """`path label` per clip, labels from 0 in the order of `classes.txt`."""
    return _files(miniature, clips, act_place)


def fcvid_files(miniature: Miniature, clips: Sequence[Clip]) -> dict[str, bytes]:
    """`path label [label]` per clip, labels from 0 in the order of `classes.txt`."""
    return _files(miniature, clips, fcvid_place)


def _files(
    miniature: Miniature, clips: Sequence[Clip], place: Callable[[Clip], str]
) -> dict[str, bytes]:
    index = {name: str(number) for number, name in enumerate(miniature.classes)}
    found = {"classes.txt": "".join(f"{name}\n" for name in miniature.classes)}
    for subset in miniature.splits:
        chosen = sorted((clip for clip in clips if clip.subset == subset), key=place)
        found[f"{subset}.txt"] = "".join(
            " ".join([place(clip).removeprefix("videos/"), *(index[name] for name in clip.labels)])
            + "\n"
            for clip in chosen
        )
    return {name: text.encode() for name, text in found.items()}
