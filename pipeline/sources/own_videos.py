"""A user's videos as they lie in a folder: which there are, of which class, in which split.

    DIR/<class>/…                             a tree: a fifth of each class is for validation
    DIR/train/<class>/…, DIR/val/<class>/…    a tree that is split already
    DIR/train.txt, DIR/val.txt                lists, `path label` a line (`.csv`: `path,label`)
    LIST                                      one such list, split as a tree is

Videos are files, or folders of frames where there is no video file. Paths in a list are below the
list's folder. No video is opened.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import sha256_bytes
from pipeline.sources.annotations import number_lines, read_csv, readable
from pipeline.sources.inventory import Inventory, normalise, unsafe

TRAIN, VAL = "train", "val"
SPLITS = {TRAIN: (TRAIN, "training"), VAL: (VAL, "valid", "validation", "test")}
"""How folders and lists of a split are called."""
_VAL_EVERY = 5

Labelled = tuple[str, str]
"""A video's path below the folder, and its class."""


@dataclass(frozen=True)
class OwnVideos:
    """What was found; paths are below `folder`, classes in the order of their indices."""

    folder: Path
    splits: dict[str, list[Labelled]]
    classes: list[str]
    is_split_here: bool
    """Whether the split is this module's, not the user's."""


def read_own_videos(place: Path) -> OwnVideos:
    """The videos of a folder or a list; UsageError for what cannot be trained on."""
    if not place.exists():
        raise UsageError("there is no such folder or list", where=str(place), do="check the name")
    folder = place if place.is_dir() else place.parent
    found = _lists(place) if place.is_dir() else {"": _list(place)}
    if not found:
        found = _tree(folder)
    every = [video for videos in found.values() for video in videos]
    _check_names(every, folder)
    classes = sorted({label for _, label in every})
    if all(label.isdecimal() for label in classes):
        classes.sort(key=int)
    _check_classes(classes, len(every), folder)
    splits = found if "" not in found else _split(found[""], folder)
    if lacking := set(classes) - {label for _, label in splits[TRAIN]}:
        raise UsageError(
            f"no video to train on: {_some(lacking)}",
            where=str(folder),
            do=f"give each class videos in {TRAIN}, or leave the class out",
        )
    return OwnVideos(folder.absolute(), splits, classes, "" in found)


def _lists(folder: Path) -> dict[str, list[Labelled]]:
    """The two lists of a folder; none where one of them is not there."""
    found = {}
    for split, names in SPLITS.items():
        paths = [folder / (name + ending) for name in names for ending in (".txt", ".csv")]
        found[split] = next((path for path in paths if path.is_file()), None)
    return {s: _list(path) for s, path in found.items() if path} if all(found.values()) else {}


def _list(path: Path) -> list[Labelled]:
    rows = read_csv(path) if path.suffix == ".csv" else _columns(path)
    entries: list[Labelled] = []
    for line, cells in rows:
        if len(cells) != 2 or not all(cell.strip() for cell in cells):
            wanted = "path,label" if path.suffix == ".csv" else "path label"
            raise UsageError(
                f"line {line} is not `{wanted}`", where=str(path), do=f"write {wanted} a line"
            )
        name = Path(cells[0].strip())
        base = path.parent.absolute()
        name = name.relative_to(base) if name.is_relative_to(base) else name
        entries.append((normalise(name.as_posix()), cells[1].strip()))
    missing = [name for name, _ in entries if not os.path.exists(path.parent / name)]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(entries)} files are not there: {_some(missing)}",
            where=str(path),
            do="write paths as they are below the list's folder, or take these lines away",
        )
    return entries


def _columns(path: Path) -> list[tuple[int, list[str]]]:
    return [(line, text.strip().rsplit(None, 1)) for line, text in number_lines(path)]


def _tree(folder: Path) -> dict[str, list[Labelled]]:
    """Videos by split, '' for a tree that is not split."""
    below = {path.name for path in folder.iterdir() if path.is_dir()}
    parts = {s: [name for name in names if name in below][:1] for s, names in SPLITS.items()}
    is_split = all(parts.values())
    names = sorted(Inventory(folder, ".", else_folders_at=2 + is_split).names)
    flat = [name for name in names if name.count("/") < 1 + is_split]
    if not names or flat:
        raise UsageError(
            f"videos in no folder of a class: {_some(flat)}" if flat else "no video is here",
            where=str(folder),
            do="put videos into one folder per class, DIR/CLASS/VIDEO.mp4, or give a list with "
            "`path label` a line",
        )
    if not is_split:
        return {"": [(name, name.split("/")[0]) for name in names]}
    return {
        split: [(n, n.split("/")[1]) for n in names if n.split("/")[0] in parts[split]]
        for split in SPLITS
    }


def _check_names(videos: Iterable[Labelled], folder: Path) -> None:
    """UsageError for names that cannot be stored or written into a list."""
    odd = {
        readable(name): unsafe(name) or "a part begins or ends with a space"
        for name, label in videos
        if unsafe(name) or unsafe(label) or label != label.strip() or name != name.strip()
    }
    if odd:
        first = next(iter(odd))
        raise UsageError(
            f"{len(odd)} names cannot be used: {_some(odd)} ({odd[first]})",
            where=readable(str(folder)),
            do="rename them: UTF-8, no control characters, no backslash, no space at an end",
        )


def _check_classes(classes: list[str], count: int, folder: Path) -> None:
    if len(classes) < 2:
        raise UsageError(
            f"{count} videos of one class, {_some(classes)}: nothing to tell apart",
            where=str(folder),
            do="put the videos of each class into a folder of its own",
        )
    alike = Counter(unicodedata.normalize("NFC", name).casefold() for name in classes)
    same = [n for n in classes if alike[unicodedata.normalize("NFC", n).casefold()] > 1]
    if same:
        raise UsageError(
            f"classes that differ in upper and lower case alone: {_some(same)}",
            where=str(folder),
            do="make one class of them, or rename one",
        )


def _split(videos: list[Labelled], folder: Path) -> dict[str, list[Labelled]]:
    """A fifth of each class for validation, at least one video; by digests of their names, so that
    it is the same on every machine. UsageError for a class with one video."""
    splits: dict[str, list[Labelled]] = {TRAIN: [], VAL: []}
    by_class: dict[str, list[str]] = {}
    for name, label in sorted(set(videos)):
        by_class.setdefault(label, []).append(name)
    if single := [label for label, names in by_class.items() if len(names) < 2]:
        raise UsageError(
            f"one video alone, none to validate with: {_some(single)}",
            where=str(folder),
            do="add videos to these classes, or leave the classes out",
        )
    for label, names in by_class.items():
        names.sort(key=lambda name: sha256_bytes(name.encode()))
        count = max(1, len(names) // _VAL_EVERY)
        splits[VAL] += [(name, label) for name in names[:count]]
        splits[TRAIN] += [(name, label) for name in names[count:]]
    return {split: sorted(entries) for split, entries in splits.items()}


def _some(names: Iterable[str]) -> str:
    ordered = sorted(map(readable, names))
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
