"""What a data set's annotation says, reconciled with what lies on disk: one row per listed video.

Readers (`pipeline/sources/read_*.py`) turn official lists into a `Listing`; nothing here opens a
video. Annotation text is not trusted: a name that could leave the data set's folder is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.errors import DataError
from pipeline.schema.dataset import Dataset, declared_subset
from pipeline.sources.annotations import readable
from pipeline.sources.inventory import MAX_ID_BYTES, Inventory, normalise, unsafe
from pipeline.sources.source import Remark, Source


@dataclass(frozen=True)
class Listing:
    """A data set as its lists and its folder describe it; rows sorted by id, files not measured."""

    classes: tuple[str, ...]
    rows: tuple[Source, ...]
    remarks: tuple[Remark, ...]
    """What is odd about the lists as a whole."""
    unlisted: tuple[str, ...]
    """Files or folders that no row names, relative to the raw folder, sorted."""
    annotations: tuple[str, ...]
    """The annotation files read, relative to the raw folder."""


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
    _remarks: list[Remark] = field(default_factory=list)
    _annotations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        broken = [name for name in self.classes if readable(name) != name]
        if broken:
            raise DataError(
                f"{self.dataset.name}: a class name is not UTF-8: {readable(broken[0]):.80}",
                where=f"the lists of {self.dataset.name}",
                do="save the lists (or name the folders) in UTF-8",
            )
        folds = self.dataset.folds.values()
        self._judged = {split for fold in folds for split in (fold.train, fold.val)}
        self._index = {name: number for number, name in enumerate(self.classes)}

    def read(self, path: Path) -> None:
        """Note that an annotation file was used."""
        self._annotations.append(path.relative_to(self.raw).as_posix())

    def remark(self, kind: str, text: str) -> None:
        """Note something odd about the lists as a whole."""
        self._remarks.append(Remark(kind, readable(text)))

    def add(
        self,
        video_id: str,
        names: Sequence[str],
        labels: Sequence[str | int],
        split: str | None,
        frames: int | None = None,
    ) -> None:
        """One row: `names` are where its file may be below the raw folder, best first; `frames` is
        how many the list states."""
        names = [normalise(name) for name in names]
        video_id = normalise(video_id)
        reason = unsafe(video_id) or next((r for r in map(unsafe, names) if r), "")
        indices, problem = self._indices(labels)
        reason = reason or problem
        key = _printable(video_id)
        split = None if split is None else readable(split)
        row = self._rows.setdefault(key, _Row())
        if split is not None and split in row.splits:
            self.remark("listed twice", f"{key} is listed twice in {split}")
        if row.reason == "":
            row.reason = reason
        if row.labels is not None and row.labels != indices:
            if self.dataset.multi_label:
                indices = sorted({*row.labels, *indices})
            else:
                row.reason = row.reason or "listed with two different labels"
        row.labels = indices
        row.frames = frames if frames is not None else row.frames
        if split is not None and split not in row.splits:
            row.splits.append(split)
        if not row.reason and row.source is None:
            row.source = self.files.find(names)
            row.wanted = names[0]

    def _indices(self, labels: Sequence[str | int]) -> tuple[list[int], str]:
        """(class indices, sorted; what is wrong with them)."""
        indices = set()
        problem = ""
        for label in labels:
            index = self._index.get(label) if isinstance(label, str) else label
            if index is None or not 0 <= index < len(self.classes):
                problem = problem or f"label {label!r:.80} is not a class"
            else:
                indices.add(index)
        if len(indices) > 1 and not self.dataset.multi_label:
            problem = f"{len(indices)} labels in a data set of one label per video"
        return sorted(indices), problem

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
        rows = [self._source(key, self._rows[key], owners) for key in sorted(self._rows)]
        for name, found in sorted(self.files.respelt.items()):
            text = f"the list writes {name}, the file is {found}"
            kind = "upper and lower case differ"
            if name.casefold() != found.casefold():
                kind = "accents are composed differently (Unicode NFC and NFD)"
                text += f" ({name!a}, {found!a})"
            self.remark(kind, text)
        unlisted = sorted(readable(name) for name in self.files.names - owners.keys())
        return Listing(
            classes=self.classes,
            rows=tuple(rows),
            remarks=tuple(self._remarks),
            unlisted=tuple(unlisted),
            annotations=tuple(sorted(set(self._annotations))),
        )

    def _source(self, key: str, row: _Row, owners: dict[str, str]) -> Source:
        status, reason = "ok", row.reason
        wanted, subset = self.dataset.decode_splits, declared_subset(self.dataset)
        if reason:
            status = "refused"
        elif not row.labels and not self.dataset.multi_label and self._judged & set(row.splits):
            status, reason = "refused", "listed without a label"
        elif wanted is not None and not set(wanted) & set(row.splits):
            status, reason = "skipped", "in no split that is decoded"
        elif subset and subset.leaves_out(key, is_here=row.source is not None):
            status, reason = "skipped", "not in the declared subset"
        elif row.source is None:
            status, reason = "missing", f"no file {row.wanted}"
            if similar := self.files.similar(row.wanted):
                reason += f"; there is {readable(similar)}"
        relpath = None if status == "refused" else row.source
        if relpath is not None:
            first = owners.setdefault(relpath, key)
            if first != key:
                self.remark(
                    "one file, two names", f"{key} and {first} name the same file {relpath}"
                )
        labels, splits = list(row.labels or ()), sorted(row.splits)
        return Source(key, relpath, labels, splits, 0, 0, None, status, reason, row.frames)


@dataclass
class _Row:
    labels: list[int] | None = None
    splits: list[str] = field(default_factory=list)
    source: str | None = None
    wanted: str = ""
    reason: str = ""
    frames: int | None = None


def _printable(video_id: str) -> str:
    """An id that can be printed, stored and compared: control characters and bad bytes escaped."""
    if unsafe(video_id) == "":
        return video_id
    shown = video_id.encode("unicode_escape", "surrogatepass").decode("ascii")
    return shown[:MAX_ID_BYTES] or "(empty)"
