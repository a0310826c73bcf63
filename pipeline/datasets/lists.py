"""Generic lists, for a user's own videos and for sets whose own format is not public (ACT, FCVID).

    path label              path num_frames label             path,label            path l1 l2 …

White space (separator ' ') splits from the right, so a path may hold spaces unless the data set is
multi-label; any other separator is read as csv. Labels are class numbers or class names.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.datasets.listing import (
    VIDEO_SUFFIXES,
    Inventory,
    Lister,
    Listing,
    needed,
    order_classes,
    read_lines,
    video_folder,
)
from pipeline.errors import DataError
from pipeline.manifest_dataset import Dataset

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
            numbered = [int(x) if x not in known and x.isdigit() else x for x in labels]
            lister.add(path, names, numbered, split)
    return lister.finish()


def _rows(dataset: Dataset, path: Path) -> Iterator[Row]:
    columns, separator = dataset.options.columns, dataset.options.separator
    lines = read_lines(path)
    if separator != " ":
        cells: Iterable[list[str]] = csv.reader(lines, delimiter=separator)
    elif dataset.multi_label:
        cells = (line.split() for line in lines)
    else:
        cells = (line.strip().rsplit(None, len(columns) - 1) for line in lines)
    for number, row in enumerate(cells, start=1):
        if len(row) < len(columns):
            raise DataError(
                f"{dataset.name}: {len(row)} columns where the manifest names {len(columns)}",
                where=f"{path.name}, line {number}",
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


def _classes(dataset: Dataset, raw: Path, rows: dict[str, list[Row]]) -> tuple[str, ...]:
    """Class names: the class file's, or else the names (or numbers) that occur in the lists."""
    if dataset.options.classes is not None:
        lines = read_lines(needed(dataset, raw, [dataset.options.classes]))
        return order_classes(dataset, [line.strip() for line in lines])
    found = {label for row in rows.values() for _, labels in row for label in labels}
    if found and all(label.isdigit() for label in found):
        count = max(dataset.num_classes or 0, 1 + max(map(int, found)))
        return tuple(str(number) for number in range(count))
    return tuple(sorted(found))


class _Files(Inventory):
    """Video files, and folders of frames where a path names one."""

    def __init__(self, raw: Path, folder: str) -> None:
        super().__init__(raw, folder)
        self._raw = raw

    def find(self, names: Iterable[str]) -> str | None:
        names = list(names)
        folders = (name for name in names if (self._raw / name).is_dir())
        return super().find(names) or next(folders, None)
