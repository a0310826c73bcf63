"""Generic lists, for a user's own videos and for sets whose own format is not public (ACT, FCVID).

    path label              path num_frames label             path,label            path l1 l2 …

White space (separator ' ') splits from the right, so a path may hold spaces unless the data set is
multi-label; any other separator is read as csv. Labels are class numbers or class names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.schema.dataset import Dataset
from pipeline.sources.listing import (
    LARGEST_NUMBER,
    VIDEO_SUFFIXES,
    Inventory,
    Lister,
    Listing,
    needed,
    number,
    order_classes,
    read_csv,
    read_lines,
    video_folder,
)

Row = tuple[str, list[str]]


def read_list(dataset: Dataset, raw: Path) -> Listing:
    """The lists that `options.lists` names; ids are the paths as written."""
    options = dataset.options
    folder = video_folder(dataset, raw)
    paths = {split: needed(dataset, raw, [name]) for split, name in options.lists.items()}
    rows = {split: list(_rows(dataset, path)) for split, path in paths.items()}
    classes = _classes(dataset, raw, rows)
    known = frozenset(classes)
    lister = Lister(dataset, raw, classes, _Files(raw, folder))
    prefix = "" if folder == "." else folder + "/"
    for split, found in rows.items():
        lister.read(paths[split])
        for path, labels in found:
            names = [prefix + path]
            if options.suffix and not path.lower().endswith(VIDEO_SUFFIXES):
                names.append(prefix + path + options.suffix)
            lister.add(path, names, [_class(label, known) for label in labels], split)
    return lister.finish()


def _rows(dataset: Dataset, path: Path) -> Iterator[Row]:
    columns, separator = dataset.options.columns, dataset.options.separator
    if separator != " ":
        cells: Iterable[list[str]] = read_csv(path, separator)
    elif dataset.multi_label:
        cells = (line.split() for line in read_lines(path))
    else:
        cells = (line.strip().rsplit(None, len(columns) - 1) for line in read_lines(path))
    for line_number, row in enumerate(cells, start=1):
        if len(row) < len(columns):
            raise DataError(
                f"{dataset.name}: {len(row)} columns where the manifest names {len(columns)}",
                where=f"{path.name}, line {line_number}",
                do=f"mend the line, or options in manifests/datasets/{dataset.name}.yaml",
            )
        place = columns.index("path")
        at = columns.index("labels") if "labels" in columns else None
        labels: list[str] = []
        if at is not None:
            last = at == len(columns) - 1
            found = row[at:] if last else row[at : at + 1]
            labels = [label for cell in found for label in _labels(dataset, cell)]
        yield row[place].strip(), labels


def _labels(dataset: Dataset, cell: str) -> list[str]:
    """One label, or the several of a multi-label cell (`3;17` or, between commas, `3 17`)."""
    if not dataset.multi_label:
        return [cell.strip()]
    return [label.strip() for label in cell.replace(";", " ").split()]


def _class(label: str, known: frozenset[str]) -> str | int:
    """A class name as it is; the number of a class that no name stands for."""
    value = None if label in known else number(label)
    return label if value is None else value


def _classes(dataset: Dataset, raw: Path, rows: dict[str, list[Row]]) -> tuple[str, ...]:
    """Class names: the class file's, or else the names (or numbers) that occur in the lists."""
    if dataset.options.classes is not None:
        lines = read_lines(needed(dataset, raw, [dataset.options.classes]))
        return order_classes(dataset, [line.strip() for line in lines])
    found = {label for row in rows.values() for _, labels in row for label in labels}
    if found and all(re.fullmatch("[0-9]+", label) for label in found):
        numbers = [number(label) for label in found]
        believed = [value for value in numbers if value is not None]
        if len(believed) < len(numbers):
            raise DataError(
                f"{dataset.name}: a class number is larger than {LARGEST_NUMBER}",
                do="mend the lists, or name a file of class names (options.classes)",
            )
        count = max(dataset.num_classes or 0, 1 + max(believed))
        return tuple(str(value) for value in range(count))
    return tuple(sorted(found))


class _Files(Inventory):
    """Video files, and folders of frames where a path names one."""

    def __init__(self, raw: Path, folder: str) -> None:
        super().__init__(raw, folder)
        self._raw = raw

    def find(self, names: Iterable[str]) -> str | None:
        names = list(names)
        # os.path.isdir, unlike Path.is_dir, says no to a name too long for the system.
        folders = (name for name in names if os.path.isdir(self._raw / name))
        return super().find(names) or next(folders, None)
