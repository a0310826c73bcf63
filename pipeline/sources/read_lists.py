"""Generic lists, for a user's own videos and for sets whose own format is not public (ACT, FCVID).

    path label              path num_frames label             path,label            path l1 l2 …

White space (separator ' ') splits from the right, so a path may hold spaces unless the data set is
multi-label; any other separator is read as csv. Labels are class numbers or class names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.schema.dataset import Dataset
from pipeline.sources.annotations import (
    LARGEST_NUMBER,
    Row,
    needed,
    number,
    number_lines,
    order_classes,
    read_csv,
    read_lines,
    readable,
)
from pipeline.sources.inventory import VIDEO_SUFFIXES, Inventory, normalise, unsafe, video_folder
from pipeline.sources.lister import Lister, Listing
from pipeline.sources.source import Remark

HEADER_WORDS = frozenset(
    {"path", "paths", "video", "videos", "file", "files", "filename", "file_name", "name", "id"}
    | {"video_name", "video_path", "video_id", "clip", "label", "labels", "class", "class_id"}
    | {"classes", "category", "target", "frames", "num_frames", "n_frames"}
)
"""Cells that make the first line of a list a header, unless it names a video that is there."""
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?|[+-]?[0-9]+\.", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One line of a list; `where` names it in messages."""

    path: str
    labels: list[str]
    frames: int | None
    where: str


def read_list(dataset: Dataset, raw: Path) -> Listing:
    """The lists that `options.lists` names; ids are the paths as written, without `./`."""
    options = dataset.options
    folder = video_folder(dataset, raw)
    files = _Files(dataset, raw, folder)
    paths = {split: needed(dataset, raw, [name]) for split, name in options.lists.items()}
    remarks: list[Remark] = []
    found = {s: list(_entries(dataset, path, files, remarks)) for s, path in paths.items()}
    classes = _classes(dataset, raw, found.values())
    known = frozenset(classes)
    lister = Lister(dataset, raw, classes, files)
    for split, entries in found.items():
        lister.read(paths[split])
        for entry in entries:
            labels = [_class(label, known) for label in entry.labels]
            lister.add(entry.path, files.places(entry.path), labels, split, entry.frames)
    for remark in remarks:
        lister.remark(remark.kind, remark.text)
    return lister.finish()


def _entries(dataset: Dataset, path: Path, files: _Files, remarks: list[Remark]) -> Iterator[Entry]:
    """The lines of one list; DataError, with the line, for one that says too little or too much."""
    columns = dataset.options.columns
    for place, (line_number, cells) in enumerate(_rows(dataset, path)):
        where = f"{path.name}, line {line_number}"
        name = normalise(cells[columns.index("path")].strip()) if len(cells) >= len(columns) else ""
        if dataset.options.header and place == 0:
            if name and files.has(name):
                raise DataError(
                    f"{dataset.name}: `header: true`, but the first line names a video",
                    where=where,
                    do=f"write header: false, {_manifest(dataset)}",
                )
            continue
        if cells and cells[0].startswith("#") and not (name and files.has(name)):
            remarks.append(Remark("comment lines, left out", f"{where} begins with #"))
            continue
        if place == 0 and _is_header(cells) and not (name and files.has(name)):
            raise DataError(
                f"{dataset.name}: line {line_number} looks like a header: "
                f"{', '.join(map(readable, cells))[:80]}",
                where=where,
                do=f"write header: true, {_manifest(dataset)}, or remove the line",
            )
        _check_columns(dataset, cells, where, files)
        yield _entry(dataset, cells, name, where)


def _manifest(dataset: Dataset) -> str:
    return f"below options in manifests/datasets/{dataset.name}.yaml"


def _is_header(cells: list[str]) -> bool:
    words = [cell.strip().lower() for cell in cells]
    return any(word in HEADER_WORDS for word in words)


def _rows(dataset: Dataset, path: Path) -> list[Row]:
    """(line number, cells) of each line; not all of them have the right number of cells."""
    columns, separator = dataset.options.columns, dataset.options.separator
    if separator != " ":
        return read_csv(path, separator)
    lines = number_lines(path)
    if dataset.multi_label:
        return [(number, line.split()) for number, line in lines]
    return [(number, line.strip().rsplit(None, len(columns) - 1)) for number, line in lines]


def _check_columns(dataset: Dataset, cells: list[str], where: str, files: _Files) -> None:
    """DataError unless a line has the columns that the manifest names.

    Of several labels the last column may be many. In a line cut at white space a path may hold
    spaces: it has too many columns when its first word alone is a file.
    """
    columns = dataset.options.columns
    count = len(cells)
    many = dataset.multi_label and columns[-1] == "labels"
    if dataset.options.separator == " " and not dataset.multi_label and count == len(columns):
        path = cells[columns.index("path")]
        first = path.split()[0]
        if first != path and not files.has(normalise(path)) and files.has(normalise(first)):
            count += len(path.split()) - 1
    if count == len(columns) or (many and count > len(columns)):
        return
    found = ", ".join(repr(readable(cell)) for cell in cells)
    raise DataError(
        f"{dataset.name}: {count} columns where the manifest names {len(columns)} "
        f"({', '.join(columns)}): {found[:120]}",
        where=where,
        do="mend the line, or name every column "
        f"(`skip` for one that is not used), {_manifest(dataset)}",
    )


def _entry(dataset: Dataset, cells: list[str], name: str, where: str) -> Entry:
    columns = dataset.options.columns
    labels: list[str] = []
    if "labels" in columns:
        at = columns.index("labels")
        last = at == len(columns) - 1
        labels = [x for c in (cells[at:] if last else [cells[at]]) for x in _labels(dataset, c)]
        if not dataset.multi_label and labels == [""]:
            raise DataError(
                f"{dataset.name}: a line without a label", where=where, do="mend the line"
            )
        if dataset.options.classes is None:
            for label in labels:
                _check_number(dataset, label, where)
    frames = None
    if "frames" in columns:
        cell = cells[columns.index("frames")].strip()
        if not re.fullmatch("[0-9]{1,9}", cell):
            raise DataError(
                f"{dataset.name}: {readable(cell)[:40]!r} is no number of frames",
                where=where,
                do=f"mend the line, or name the column `skip`, {_manifest(dataset)}",
            )
        frames = int(cell)
    return Entry(name, labels, frames, where)


def _check_number(dataset: Dataset, label: str, where: str) -> None:
    """DataError for a label that is a number, but no class number (-1, 1.0)."""
    if _NUMBER.fullmatch(label) and not re.fullmatch("[0-9]+", label):
        raise DataError(
            f"{dataset.name}: the label {label} is no class number",
            where=where,
            do="write whole numbers from 0 on, or names of classes",
        )


def _labels(dataset: Dataset, cell: str) -> list[str]:
    """One label, or the several of a multi-label cell (`3;17` or, between commas, `3 17`)."""
    if not dataset.multi_label:
        return [cell.strip()]
    return [label.strip() for label in cell.replace(";", " ").split()]


def _class(label: str, known: frozenset[str]) -> str | int:
    """A class name as it is; the number of a class that no name stands for."""
    value = None if label in known else number(label)
    return label if value is None else value


def _classes(dataset: Dataset, raw: Path, lists: Iterable[list[Entry]]) -> tuple[str, ...]:
    """Class names: the class file's, or else the names (or numbers) that occur in the lists."""
    if dataset.options.classes is not None:
        path = needed(dataset, raw, [dataset.options.classes])
        names = [line.strip() for line in read_lines(path)]
        _check_class_file(dataset, names, path)
        return order_classes(dataset, names, path.name)
    found: dict[str, str] = {}
    for entry in (entry for entries in lists for entry in entries):
        for label in entry.labels:
            found.setdefault(label, entry.where)
    numbered = {label: number(label) for label in found if re.fullmatch("[0-9]+", label)}
    _check_labels(dataset, found, numbered)
    if not numbered:
        return tuple(sorted(found))
    count = max(dataset.num_classes or 0, 1 + max(value or 0 for value in numbered.values()))
    return tuple(str(value) for value in range(count))


def _check_labels(
    dataset: Dataset, found: Mapping[str, str], numbered: Mapping[str, int | None]
) -> None:
    """DataError, with the line, for a label that is several, for a number among names, and for a
    number that is too large. `found`: label → its first line."""
    for label, where in found.items():
        what = ""
        if re.fullmatch(r"[0-9]+([,;|:/\s]+[0-9]*)+", label):
            what = f"the label {readable(label)[:40]!r} looks like several columns"
        elif numbered and label not in numbered:
            what = f"the label {readable(label)[:40]!r} is a name, others are numbers"
        elif label in numbered and numbered[label] is None:
            what = f"the class number {label[:40]} is larger than {LARGEST_NUMBER}"
        if what:
            raise DataError(
                f"{dataset.name}: {what}",
                where=where,
                do="write one label per line: numbers from 0 on or names of classes, and state "
                f"the separator and every column {_manifest(dataset)}",
            )


def _check_class_file(dataset: Dataset, names: Sequence[str], path: Path) -> None:
    """DataError when the lines of a class file are numbered, or end in a separator."""
    heads = [re.match(r"([0-9]{1,6})[\s,;:]+\S", name) for name in names]
    numbers = [int(head.group(1)) for head in heads if head is not None]
    counted = numbers in (list(range(len(names))), list(range(1, len(names) + 1)))
    if names and (counted or all(re.search(r"[,;]\s*[0-9]*$", name) for name in names)):
        raise DataError(
            f"{dataset.name}: the lines hold more than a class name: {readable(names[0])[:60]!r}",
            where=f"{path.name}, line 1",
            do="leave one class name per line, in the order of their numbers",
        )


class _Files(Inventory):
    """Video files, and folders of frames where a path names one."""

    def __init__(self, dataset: Dataset, raw: Path, folder: str) -> None:
        super().__init__(raw, folder)
        self._suffix = dataset.options.suffix
        self._prefix = "" if folder == "." else folder + "/"

    def places(self, path: str) -> list[str]:
        """Where the file of a listed path may be: below the videos' folder, with the manifest's
        ending, or below the raw folder."""
        places = [self._prefix + path]
        if self._suffix and not path.lower().endswith(VIDEO_SUFFIXES):
            places.append(self._prefix + path + self._suffix)
        if self._prefix and path.startswith(self._prefix):
            places.append(path)
        return places

    def has(self, path: str) -> bool:
        """Whether a listed path means a file or folder that is there."""
        places = self.places(path)
        return not any(map(unsafe, [path, *places])) and self.find(places) is not None

    def find(self, names: Iterable[str]) -> str | None:
        names = list(names)
        # os.path.isdir, unlike Path.is_dir, says no to a name too long for the system.
        folders = (name for name in names if os.path.isdir(self._raw / name))
        return super().find(names) or next(folders, None)
