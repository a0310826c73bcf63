"""Annotation files: where they lie, and their lines, cells and numbers."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.errors import AbsentData, DataError, UsageError
from pipeline.schema.dataset import Dataset

LARGEST_NUMBER = 99_999
"""Class numbers and indices beyond this are not believed."""

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; the longer ones come first, because UTF-32's begins with UTF-16's."""

Line = tuple[int, str]
Row = tuple[int, list[str]]
"""The number of a line in its file, from 1 on, and its text or cells."""


def annotation(raw: Path, names: Sequence[str]) -> Path | None:
    """The first of `names` found in the raw folder or in a folder directly below it."""
    for name in names:
        if (raw / name).is_file():
            return raw / name
    with os.scandir(raw) as entries:
        below = sorted(entry.name for entry in entries if entry.is_dir())
    if len(below) > 64:  # the raw folder is itself full of frame or class folders
        below = [name for name in ("annotations", "labels", "splits") if name in below]
    for folder in below:
        for name in names:
            if (raw / folder / name).is_file():
                return raw / folder / name
    return None


def needed(dataset: Dataset, raw: Path, names: Sequence[str]) -> Path:
    """As `annotation`, but AbsentData when none is there."""
    path = annotation(raw, names)
    if path is None:
        raise AbsentData(
            f"{dataset.name}: {names[0]} is not there",
            where=f"the raw folder of {dataset.name}",
            do=dataset.obtain,
        )
    return path


def read_text(path: Path) -> str:
    """The text of an annotation file: UTF-8, or UTF-16 and UTF-32 with their byte order mark.

    Bytes that are not UTF-8 become surrogates. DataError for a file that cannot be read or whose
    encoding is another one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"a list cannot be read: {error.strerror}",
            where=path.name,
            do="look at the file and its rights",
        ) from None
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    if encoding is not None:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise DataError(
                f"the list begins as {encoding.upper()} text, but is not: {error.reason}",
                where=path.name,
                do="save the file as UTF-8",
            ) from None
    if data[:400].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise DataError("it is a web page, not a list", where=path.name, do="fetch the file again")
    head = data[:400]
    if len(head) >= 4 and head.count(0) * 4 >= len(head):
        raise DataError(
            "a quarter of the bytes of the list are zero: it looks like UTF-16 without a byte mark",
            where=path.name,
            do="save the file as UTF-8",
        )
    return data.decode("utf-8-sig", errors="surrogateescape")


def number_lines(path: Path) -> list[Line]:
    """(line number, text) of the lines of a file that are not blank, whatever their line ends.

    DataError for the mark of a merge conflict.
    """
    lines = enumerate(re.split("\r\n|\r|\n", read_text(path)), start=1)
    found = [(number, line) for number, line in lines if line.strip()]
    for number, line in found:
        if re.match("<{7} |>{7} ", line):
            raise DataError(
                "the list holds an unsolved merge conflict",
                where=f"{path.name}, line {number}",
                do="mend the lines, or fetch the file again",
            )
    return found


def read_lines(path: Path) -> list[str]:
    """As `number_lines`, without the numbers."""
    return [line for _, line in number_lines(path)]


def read_csv(path: Path, separator: str = ",") -> list[Row]:
    """(line number, cells) of each line of a csv file; DataError where it is none."""
    lines = number_lines(path)
    rows = []
    try:
        reader = csv.reader((line for _, line in lines), delimiter=separator)
        begin = 0
        for cells in reader:
            rows.append((lines[begin][0], cells))
            begin = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"a list is not csv: {error}", where=path.name, do="mend it, or fetch the file again"
        ) from None
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"options.separator {separator!r} cannot separate csv columns: {error}",
            where=path.name,
            do="name one character in the data set's manifest",
        ) from None
    return rows


def number(text: str) -> int | None:
    """The number that a list means: ASCII digits, at most LARGEST_NUMBER; None otherwise."""
    digits = text.strip().lstrip("0")
    if not re.fullmatch("[0-9]{1,20}", text.strip()) or len(digits) > len(str(LARGEST_NUMBER)):
        return None
    value = int(digits or "0")
    return value if value <= LARGEST_NUMBER else None


def refuse_shared_numbers(dataset: Dataset, pairs: Sequence[tuple[int, str]], path: Path) -> None:
    """DataError when two classes of (number, name) `pairs` have one number."""
    names = dict(pairs)
    for value, name in pairs:
        if names[value] != name:
            raise DataError(
                f"{dataset.name}: {readable(name)} and {readable(names[value])} both have the "
                f"number {value}",
                where=path.name,
                do="mend the class list, or fetch it again",
            )


def readable(text: str) -> str:
    """A text with the bytes that are not UTF-8 escaped, so that it can be stored and printed."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def order_classes(dataset: Dataset, names: Sequence[str], where: str) -> tuple[str, ...]:
    """Class names in index order, as the manifest wants it; DataError when two are the same, or
    one holds a control character. `where` names what they were read from."""
    twice = sorted(readable(name) for name, count in Counter(names).items() if count > 1)
    odd = [name for name in names if re.search(r"[\x00-\x1f\x7f]", name)]
    if twice or odd:
        what = f"classes named twice: {', '.join(twice[:5])}"
        raise DataError(
            f"{dataset.name}: {what}"
            if twice
            else f"{dataset.name}: the class {odd[0]!r:.60} holds a control character",
            where=where,
            do="mend the class list, or fetch it again",
        )
    return tuple(sorted(names)) if dataset.label_order == "sorted" else tuple(names)
