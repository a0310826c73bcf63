"""Where the official distributions put their files and how they write their lists.

One entry of `LAYOUTS` per data set: where a clip goes, how it is encoded, which annotation files
there are. Quirks of the originals (separators, line ends, one odd file name) are kept on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.mini import write_kinetics as kinetics
from pipeline.mini import write_lists as lists
from pipeline.mini import write_splits as splits
from pipeline.mini.motion_plan import Clip
from pipeline.schema.miniature import Miniature, strip_brackets

Lists = dict[str, bytes]
"""Annotation files: path inside the data set's folder → content."""


@dataclass(frozen=True)
class Layout:
    """One distribution's habits."""

    codec: str
    """`jpeg` for a folder of frames, or a name in `pipeline.mini.encode.CODECS`."""
    place: Callable[[Clip], str]
    """Path of a clip's file or folder inside the data set's folder."""
    annotate: Callable[[Miniature, Sequence[Clip]], Lists]
    """The lists, and whatever else lies about in the distribution."""
    finish: Callable[[bytes], bytes] | None = None
    """What is done to an encoded file before it takes its place."""


def _ssv1_place(clip: Clip) -> str:
    return f"20bn-something-something-v1/{clip.clip_id}"


def _ssv1_lists(miniature: Miniature, clips: Sequence[Clip]) -> Lists:
    """`id;label` without a header; test has ids only; the label file is not sorted."""
    lists = {"labels": "".join(f"{name}\n" for name in miniature.classes)}
    for subset, split in miniature.splits.items():
        lists[subset] = "".join(
            f"{clip.clip_id};{clip.label}\n" if split.labelled else f"{clip.clip_id}\n"
            for clip in _by_id(clips, subset)
        )
    return {f"something-something-v1-{name}.csv": text.encode() for name, text in lists.items()}


def _ssv2_place(clip: Clip) -> str:
    return f"20bn-something-something-v2/{clip.clip_id}.webm"


def _ssv2_lists(miniature: Miniature, clips: Sequence[Clip]) -> Lists:
    """Labels sorted, numbers as strings; templates in brackets; test has ids and an answer file."""
    labels = {name: str(index) for index, name in enumerate(sorted(miniature.classes))}
    lists = {"labels/labels.json": _json_lines(labels)}
    for subset, split in miniature.splits.items():
        items = [_ssv2_item(clip, split.labelled) for clip in _by_id(clips, subset)]
        rows = ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)
        lists[f"labels/{subset}.json"] = f"[\n{rows}\n]\n"
        if not split.labelled:
            answers = (f"{c.clip_id};{strip_brackets(c.label)}\n" for c in _by_id(clips, subset))
            lists[f"labels/{subset}-answers.csv"] = "".join(answers)
    return {name: text.encode() for name, text in lists.items()}


def _ssv2_item(clip: Clip, labelled: bool) -> dict[str, object]:
    if not labelled:
        return {"id": clip.clip_id}
    things = ["blob", "disc", "pinwheel", "patch", "lid"]
    first = int(clip.clip_id)
    fillers = [things[(first + i) % len(things)] for i in range(clip.label.count("["))]
    label = clip.label
    for filler in fillers:
        label = label[: label.index("[")] + f"a {filler}" + label[label.index("]") + 1 :]
    return {
        "id": clip.clip_id,
        "label": label[0].lower() + label[1:],
        "template": clip.label,
        "placeholders": [f"a {filler}" for filler in fillers],
    }


def _ucf101_place(clip: Clip) -> str:
    return f"UCF-101/{_ucf101_name(clip)}"


def _ucf101_name(clip: Clip) -> str:
    # The original writes this one class with a capital S in file names, and only there.
    name = clip.label.replace("HandstandPushups", "HandStandPushups")
    return f"{clip.label}/v_{name}_g{clip.group:02d}_c{clip.number:02d}.avi"


def _ucf101_lists(miniature: Miniature, clips: Sequence[Clip]) -> Lists:
    """Three splits by group; CRLF line ends; classes from 1; test lists without the number."""
    assert miniature.groups is not None
    classes = sorted(miniature.classes)
    index = {name: number for number, name in enumerate(classes, start=1)}
    lists = {"classInd": [f"{index[name]} {name}" for name in classes]}
    ordered = sorted(clips, key=lambda clip: (index[clip.label], clip.group, clip.number))
    for number, test in enumerate(miniature.groups.test_groups, start=1):
        kept = {True: list[str](), False: list[str]()}
        for clip in ordered:
            held_out = clip.group in test
            line = _ucf101_name(clip) if held_out else f"{_ucf101_name(clip)} {index[clip.label]}"
            kept[held_out].append(line)
        lists[f"testlist{number:02d}"] = kept[True]
        lists[f"trainlist{number:02d}"] = kept[False]
    return {
        f"ucfTrainTestlist/{name}.txt": "".join(f"{line}\r\n" for line in lines).encode()
        for name, lines in lists.items()
    }


def _by_id(clips: Sequence[Clip], subset: str) -> list[Clip]:
    return sorted((c for c in clips if c.subset == subset), key=lambda clip: int(clip.clip_id))


def _json_lines(mapping: dict[str, str]) -> str:
    rows = ",\n".join(f" {json.dumps(key)}:{json.dumps(value)}" for key, value in mapping.items())
    return f"{{\n{rows}\n}}\n"


LAYOUTS: dict[str, Layout] = {
    "ssv1": Layout("jpeg", _ssv1_place, _ssv1_lists),
    "ssv2": Layout("vp9", _ssv2_place, _ssv2_lists),
    "kinetics400": Layout("h264", kinetics.place, kinetics.files),
    "ucf101": Layout("mpeg4", _ucf101_place, _ucf101_lists),
    "hmdb51": Layout("mpeg4", splits.hmdb51_place, splits.hmdb51_files, splits.one_frame_too_many),
    "weizmann": Layout("mpeg4", splits.weizmann_place, splits.weizmann_files),
    "act": Layout("mpeg4", lists.act_place, lists.act_files),
    "fcvid": Layout("h264", lists.fcvid_place, lists.fcvid_files),
}
