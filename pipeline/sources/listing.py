"""What a data set's annotation says, reconciled with what lies on disk: one row per listed video.

Readers (`pipeline/datasets/*.py`) turn official lists into a `Listing`; nothing here opens a video.
Annotation text is not trusted: a name that could leave the data set's folder makes a refused row.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.core.errors import AbsentData, DataError, UsageError
from pipeline.schema.dataset import Dataset

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv")
MAX_ID_BYTES = 500  # LMDB takes keys of at most 511 bytes
LARGEST_NUMBER = 99_999
"""Class numbers and indices beyond this are not believed."""

_DEEPEST = 6
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. /()+-]{0,250}")


@dataclass(frozen=True)
class Item:
    """One listed video."""

    video_id: str
    source: str | None
    """The file or frame folder, relative to the raw folder, with forward slashes."""
    labels: tuple[int, ...]
    splits: tuple[str, ...]
    status: str
    """`ok`, `missing`, `refused` or `skipped`: see `pipeline.schema.status`."""
    reason: str


@dataclass(frozen=True)
class Listing:
    """A data set as its lists and its folder describe it; items sorted by id."""

    classes: tuple[str, ...]
    items: tuple[Item, ...]
    problems: tuple[str, ...]
    """What is wrong with the lists as a whole, in sentences."""
    unlisted: tuple[str, ...]
    """Files or folders that no row names, relative to the raw folder, sorted."""
    annotations: tuple[str, ...]
    """The annotation files read, relative to the raw folder."""


def unsafe(name: str) -> str:
    """Why a name from an annotation may not become a path below the data set; '' when it may.

    A leading dash is allowed (many YouTube ids have one): files are only ever opened by full path.
    """
    if _PLAIN.fullmatch(name) and ".." not in name:
        return ""
    if not name:
        return "the name is empty"
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "the name holds a control character"
    if "\\" in name or re.match("[A-Za-z]:/", name):
        return "the name holds a backslash or a drive letter"
    path = PurePosixPath(name)
    if path.is_absolute():
        return "the name is an absolute path"
    if ".." in path.parts:
        return "the name leads out of the data set with '..'"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        return f"the name is longer than {MAX_ID_BYTES} bytes"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "the name is not valid Unicode"
    return ""


def number(text: str) -> int | None:
    """The number that a list means: ASCII digits, at most LARGEST_NUMBER; None otherwise."""
    digits = text.strip().lstrip("0")
    if not re.fullmatch("[0-9]{1,20}", text.strip()) or len(digits) > len(str(LARGEST_NUMBER)):
        return None
    value = int(digits or "0")
    return value if value <= LARGEST_NUMBER else None


def readable(text: str) -> str:
    """A text with the bytes that are not UTF-8 escaped, so that it can be stored and printed."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Inventory:
    """The files below one folder, listed once, looked up by exact name, then ignoring case."""

    def __init__(self, raw: Path, folder: str, *, frame_folders: bool = False) -> None:
        self.folder = folder
        base = raw if folder == "." else raw / folder
        walk = _frame_folders(base) if frame_folders else _video_files(base, base, _DEEPEST)
        prefix = "" if folder == "." else folder + "/"
        self.names = {prefix + name for name in walk}
        self._folded: dict[str, str] | None = None

    def find(self, names: Iterable[str]) -> str | None:
        """The first of `names` (relative to the raw folder) that exists."""
        names = list(names)
        for name in names:
            if name in self.names:
                return name
        if self._folded is None:
            self._folded = {name.casefold(): name for name in sorted(self.names, reverse=True)}
        for name in names:
            found = self._folded.get(name.casefold())
            if found is not None:
                return found
        return None


def _video_files(base: Path, folder: Path, depth: int) -> Iterator[str]:
    """Names of video files below `base`, following links to folders but never for ever."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if depth > 0:
                    yield from _video_files(base, Path(entry.path), depth - 1)
            elif entry.name.lower().endswith(VIDEO_SUFFIXES):
                yield Path(entry.path).relative_to(base).as_posix()


def _frame_folders(base: Path) -> Iterator[str]:
    with os.scandir(base) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                yield entry.name


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


def video_folder(dataset: Dataset, raw: Path) -> str:
    """`options.videos` once it is known to be a folder; AbsentData otherwise."""
    folder = dataset.options.videos
    if not (raw / folder).is_dir():
        raise AbsentData(
            f"{dataset.name}: the folder {folder} is not there",
            where=f"the raw folder of {dataset.name}",
            do=dataset.obtain,
        )
    return folder


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that are not blank, whatever their line ends, without a byte mark."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(
            f"a list cannot be read: {error.strerror}",
            where=path.name,
            do="look at the file and its rights",
        ) from None
    return [line.strip("\r\n") for line in text.split("\n") if line.strip()]


def read_csv(path: Path, separator: str = ",") -> list[list[str]]:
    """Cells of each line of a csv file; DataError where it is none."""
    try:
        return list(csv.reader(read_lines(path), delimiter=separator))
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


def order_classes(dataset: Dataset, names: Sequence[str]) -> tuple[str, ...]:
    """Class names in index order, as the manifest wants it; DataError when two are the same."""
    if len(set(names)) != len(names):
        twice = sorted(readable(name) for name, count in Counter(names).items() if count > 1)
        raise DataError(
            f"{dataset.name}: classes named twice: {', '.join(twice[:5])}",
            do="mend the class list",
        )
    return tuple(sorted(names)) if dataset.label_order == "sorted" else tuple(names)


@dataclass
class Lister:
    """Collects rows while a reader walks its lists; `finish` makes the Listing.

    DataError when a class has a name that is not Unicode: it could be stored nowhere.
    """

    dataset: Dataset
    raw: Path
    classes: tuple[str, ...]
    files: Inventory
    _rows: dict[str, _Row] = field(default_factory=dict)
    _problems: list[str] = field(default_factory=list)
    _annotations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        broken = [name for name in self.classes if readable(name) != name]
        if broken:
            raise DataError(
                f"{self.dataset.name}: a class name is not UTF-8: {readable(broken[0]):.80}",
                do="save the lists (or name the folders) in UTF-8",
            )
        self._index = {name: number for number, name in enumerate(self.classes)}

    def read(self, path: Path) -> None:
        """Note that an annotation file was used."""
        self._annotations.append(path.relative_to(self.raw).as_posix())

    def problem(self, sentence: str) -> None:
        """Note something wrong with the lists as a whole."""
        self._problems.append(readable(sentence))

    def add(
        self, video_id: str, names: Sequence[str], labels: Sequence[str | int], split: str | None
    ) -> None:
        """One row: `names` are where its file may be below the raw folder, best first."""
        reason = unsafe(video_id) or next((r for r in map(unsafe, names) if r), "")
        indices: list[int] = []
        for label in labels:
            index = self._index.get(label) if isinstance(label, str) else label
            if index is None or not 0 <= index < len(self.classes):
                reason = reason or f"label {label!r:.80} is not a class"
            else:
                indices.append(index)
        key = _printable(video_id)
        split = None if split is None else readable(split)
        row = self._rows.setdefault(key, _Row())
        if split is not None and split in row.splits:
            self.problem(f"{key} is listed twice in {split}")
        if row.reason == "":
            row.reason = reason
        found = sorted(set(indices))
        if row.labels is not None and row.labels != found:
            if self.dataset.multi_label:
                found = sorted({*row.labels, *found})
            else:
                row.reason = row.reason or "listed with two different labels"
        row.labels = found
        if split is not None and split not in row.splits:
            row.splits.append(split)
        if not row.reason and row.source is None:
            row.source = self.files.find(names)
            row.wanted = names[0]

    def finish(self) -> Listing:
        """The listing, sorted by id; a class count that contradicts the manifest is a DataError."""
        expected = self.dataset.num_classes
        if expected is not None and expected != len(self.classes):
            raise DataError(
                f"{self.dataset.name}: the lists name {len(self.classes)} classes, "
                f"the manifest {expected}",
                where=f"manifests/datasets/{self.dataset.name}.yaml, num_classes",
                do="get the complete lists or correct the manifest",
            )
        owners: dict[str, str] = {}
        items = [self._item(key, self._rows[key], owners) for key in sorted(self._rows)]
        unlisted = sorted(
            name.encode("utf-8", "backslashreplace").decode("utf-8")
            for name in self.files.names - owners.keys()
        )
        return Listing(
            classes=self.classes,
            items=tuple(items),
            problems=tuple(self._problems),
            unlisted=tuple(unlisted),
            annotations=tuple(sorted(set(self._annotations))),
        )

    def _item(self, key: str, row: _Row, owners: dict[str, str]) -> Item:
        status, reason = "ok", row.reason
        wanted = self.dataset.decode_splits
        if reason:
            status = "refused"
        elif wanted is not None and not set(wanted) & set(row.splits):
            status, reason = "skipped", "in no split that is decoded"
        elif row.source is None:
            status, reason = "missing", f"no file {row.wanted}"
        source = None if status == "refused" else row.source
        if source is not None:
            first = owners.setdefault(source, key)
            if first != key:
                self.problem(f"{key} and {first} name the same file {source}")
        labels = tuple(row.labels or ())
        return Item(key, source, labels, tuple(sorted(row.splits)), status, reason)


@dataclass
class _Row:
    labels: list[int] | None = None
    splits: list[str] = field(default_factory=list)
    source: str | None = None
    wanted: str = ""
    reason: str = ""


def _printable(video_id: str) -> str:
    """An id that can be printed, stored and compared: control characters and bad bytes escaped."""
    if unsafe(video_id) == "":
        return video_id
    shown = video_id.encode("unicode_escape", "surrogatepass").decode("ascii")
    return shown[:MAX_ID_BYTES] or "(empty)"
