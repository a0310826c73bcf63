"""What is odd about a data set although every file is there: videos in training and validation,
classes without videos, counts that differ from the official ones."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pipeline.core.errors import DataError
from pipeline.schema.dataset import Dataset, Fold
from pipeline.sources.source import Remark, Source

SHARED_NAME = "a video in training and validation"
SHARED_CONTENT = "equal files in training and validation"
SHARED_SOURCE = "clips of one recording in training and validation"
_MOST_SHOWN = 5
_UCF_GROUP = re.compile(r"(.*_g[0-9]+)_c[0-9]+(\.[A-Za-z0-9]+)?")
_KINETICS_CLIP = re.compile(r"(.*[A-Za-z0-9_-]{11})_[0-9]{6}_[0-9]{6}(\.[A-Za-z0-9]+)?")


def remarks_on(dataset: Dataset, classes: Sequence[str], rows: Sequence[Source]) -> list[Remark]:
    """All remarks on the listed videos; `rows` with their digests."""
    wanted = [r for r in rows if r.video_id is not None and r.status not in ("skipped", "refused")]
    found = _on_classes(dataset, classes, wanted)
    judged = {split for fold in dataset.folds.values() for split in (fold.train, fold.val)}
    for row in wanted:
        if not row.labels and judged & set(row.splits):
            found.append(Remark("video without a label", f"{row.video_id} has no label"))
    for fold in _distinct(dataset.folds.values()):
        for kind, pairs in _shared(fold, wanted).items():
            found += [Remark(kind, text) for _, text in pairs]
    return found


def refuse_shared(dataset: Dataset, rows: Sequence[Source]) -> None:
    """DataError when more than `max_shared_fraction` of a fold's validation videos are training
    videos, too: by name, or as equal files."""
    ready = [row for row in rows if row.video_id is not None and row.status == "ok"]
    for name, fold in dataset.folds.items():
        total = sum(fold.val in row.splits for row in ready)
        shared = _shared(fold, ready)
        texts = dict([*shared[SHARED_NAME], *shared[SHARED_CONTENT]])
        if len(texts) <= dataset.max_shared_fraction * total:
            continue
        shown = [texts[video_id] for video_id in sorted(texts)[:_MOST_SHOWN]]
        if len(texts) > _MOST_SHOWN:
            shown.append(f"… and {len(texts) - _MOST_SHOWN} more")
        raise DataError(
            f"{dataset.name}: {len(texts)} of {total} videos of {fold.val} are in {fold.train}, "
            f"too, more than the allowed {100 * dataset.max_shared_fraction:g} %\n    "
            + "\n    ".join(shown),
            where=f"check {dataset.name}, fold {name}",
            do="take them out of one list, or raise max_shared_fraction in "
            f"manifests/datasets/{dataset.name}.yaml",
        )


def _distinct(folds: Iterable[Fold]) -> list[Fold]:
    return list({(fold.train, fold.val): fold for fold in folds}.values())


def recording(video_id: str) -> str | None:
    """The recording that a clip was cut from, where its name tells: UCF101's group (`…_g07`),
    Kinetics' YouTube id; None for other names."""
    match = _UCF_GROUP.fullmatch(video_id) or _KINETICS_CLIP.fullmatch(video_id)
    return None if match is None else match.group(1)


def _shared(fold: Fold, rows: Sequence[Source]) -> dict[str, list[tuple[str, str]]]:
    """By kind: (id of a validation video, what it shares with training). A video is counted for
    the strongest reason only."""
    train = [row for row in rows if fold.train in row.splits]
    ids = {row.video_id for row in train}
    contents = {row.sha256: row.video_id for row in train if row.sha256 is not None}
    recordings = _first_of(train, lambda row: recording(str(row.video_id)))
    found: dict[str, list[tuple[str, str]]] = {
        SHARED_NAME: [], SHARED_CONTENT: [], SHARED_SOURCE: []
    }  # fmt: skip
    for row in rows:
        if fold.val not in row.splits:
            continue
        name = str(row.video_id)
        clip_of = recording(name)
        if name in ids:
            found[SHARED_NAME].append((name, f"{name} is in {fold.train} and {fold.val}"))
        elif row.sha256 is not None and row.sha256 in contents:
            other = contents[row.sha256]
            text = f"{name} ({fold.val}) has the content of {other} ({fold.train})"
            found[SHARED_CONTENT].append((name, text))
        elif clip_of is not None and clip_of in recordings:
            text = (
                f"{name} ({fold.val}) is of the recording of {recordings[clip_of]} ({fold.train})"
            )
            found[SHARED_SOURCE].append((name, text))
    return found


def _first_of(rows: Iterable[Source], key: Callable[[Source], str | None]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        value = key(row)
        if value is not None:
            found.setdefault(value, str(row.video_id))
    return found


def _on_classes(dataset: Dataset, classes: Sequence[str], rows: Sequence[Source]) -> list[Remark]:
    used: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        for split in row.splits:
            used[split].update(row.labels)
    every = set().union(*used.values())
    found = []
    if len(classes) == 1 and rows:
        found.append(Remark("one class in all", f"every video is of class {classes[0]}"))
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike[" ".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    for names in alike.values():
        if len(names) > 1:
            text = " and ".join(ascii(name) for name in names)
            found.append(Remark("classes spelt alike", f"{text} are classes of their own"))
    empty = [number for number in range(len(classes)) if number not in every]
    from_one = classes[:1] == ("0",) and empty[:1] == [0] and 1 in every
    if from_one:
        text = "no video has label 0: numbers that start at 1 make a class too many"
        found.append(Remark("labels start at 1", text))
    for number in empty[from_one:]:
        found.append(Remark("class without videos", f"no list names a video of {classes[number]}"))
    for fold in _distinct(dataset.folds.values()):
        for one, other in ((fold.train, fold.val), (fold.val, fold.train)):
            if one in used and other in used:
                for number in sorted(used[one] - used[other]):
                    text = f"{classes[number]} has videos in {one}, none in {other}"
                    found.append(Remark(f"class in {one} only", text))
    return found
