"""Kinetics-400: official csv lists, and videos under any of the names and folders people have.

A row's video is looked for as `<id>_<start:06d>_<end:06d>`, `<id>_<start>_<end>`, `<id>` and, as
some extraction scripts name frame folders, `<id>_<start>`, in any folder. Where there is no video
file at all, folders of JPEGs are taken. Class folders match on letters and digits alone, so
`massaging_person's_head` and `massaging persons head` are both the class. A file in a folder whose
name holds `replacement` comes before its namesake elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.core.errors import AbsentData, DataError
from pipeline.schema.dataset import Dataset
from pipeline.sources.annotations import annotation, needed, read_csv, readable
from pipeline.sources.inventory import Inventory, video_folder
from pipeline.sources.lister import Lister, Listing
from pipeline.sources.source import Remark

_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
SPLITS = {"train": "train", "val": "validate", "validate": "validate", "test": "test"}
_DEEPEST = 3
_FILES = {
    split: [f"{prefix}{word}.csv" for prefix in ("", "kinetics_", "kinetics-400_", "kinetics400_")
            for word in words]
    for split, words in {
        "train": ("train",), "validate": ("validate", "val"), "test": ("test",)
    }.items()
}  # fmt: skip


def read_kinetics(dataset: Dataset, raw: Path) -> Listing:
    """`{train,validate|val,test}.csv`: `label,youtube_id,time_start,time_end,split[,is_cc]`.

    A header may leave columns out (the first test list has no labels) or put them in another order.
    Ids are `<youtube id>_<start:06d>_<end:06d>`; splits `train`, `validate`, `test`.
    """
    paths = {split: annotation(raw, names) for split, names in _FILES.items()}
    if not any(paths.values()):
        needed(dataset, raw, _FILES["train"])
    folder = video_folder(dataset, raw)
    remarks: list[Remark] = []
    rows = {split: _rows(path, split, remarks) for split, path in paths.items() if path is not None}
    classes = tuple(sorted({row[0] for found in rows.values() for row in found if row[0]}))
    files = _Files(raw, folder, classes)
    if not files.names:
        raise AbsentData(
            f"{dataset.name}: there is no video file and no folder of frames",
            where=f"the raw folder of {dataset.name}",
            do=dataset.obtain,
        )
    lister = Lister(dataset, raw, classes, files)
    for split, found in rows.items():
        path = paths[split]
        if path is not None:
            lister.read(path)
        for label, youtube_id, start, end, word in found:
            video_id, stems = _names(youtube_id, start, end)
            if word and SPLITS.get(word, split) != split:
                text = f"{video_id} is of split {word} in the list of {split}"
                lister.remark("split column and list differ: the column counts", text)
            places = [f"{label}/{stem}.mp4" if label else f"{stem}.mp4" for stem in stems]
            lister.add(video_id, places, [label] if label else [], SPLITS.get(word, split))
    for remark in remarks:
        lister.remark(remark.kind, remark.text)
    return lister.finish()


def _rows(
    path: Path, split_of_list: str, remarks: list[Remark]
) -> list[tuple[str, str, str, str, str]]:
    """(label, id, start, end, split) of each line, '' where a line has none; no header.

    DataError for a header without the columns that are needed, and for a line that is too short.
    """
    columns = list(_COLUMNS)
    needs = {"youtube_id"} if split_of_list == "test" else {"label", "youtube_id"}
    rows = []
    for line, (line_number, cells) in enumerate(read_csv(path)):
        filled = [cell.strip() for cell in cells]
        where = f"{path.name}, line {line_number}"
        lost = needs - set(filled)
        if "youtube_id" in filled and not lost:
            columns = filled
            continue
        if filled[0].startswith("#"):
            remarks.append(Remark("comment lines, left out", f"{where} begins with #"))
            continue
        named = {"label", "split", "time_start"} & {cell.lower() for cell in filled}
        if "youtube_id" in filled or (line == 0 and named):
            raise DataError(
                f"a header without {sorted(lost)[-1]}: {', '.join(map(readable, filled))[:80]}",
                where=where,
                do=f"name the columns {','.join(_COLUMNS)}",
            )
        by_name = dict(zip(columns, filled, strict=False))
        if not by_name.get("youtube_id") or ("time_end" in columns and "time_end" not in by_name):
            raise DataError(
                f"{len(filled)} columns where {','.join(columns[:5])} are needed: "
                f"{', '.join(map(readable, filled))[:80]!r}",
                where=where,
                do="mend the line, or fetch the file again",
            )
        label, youtube_id, start, end, split = (by_name.get(name, "") for name in _COLUMNS)
        rows.append((label, youtube_id, start, end, split))
    return rows


def _names(youtube_id: str, start: str, end: str) -> tuple[str, list[str]]:
    """The video's id and the stems its file may have, likeliest first."""
    raw_times = f"{youtube_id}_{start}_{end}"
    try:
        official = f"{youtube_id}_{int(float(start)):06d}_{int(float(end)):06d}"
    except (ValueError, OverflowError):
        return raw_times, [raw_times, youtube_id, f"{youtube_id}_{start}"]
    first = int(float(start))
    plain = f"{youtube_id}_{first}_{int(float(end))}"
    starts = [f"{youtube_id}_{first:06d}", f"{youtube_id}_{first}"]
    return official, [official, raw_times, plain, youtube_id, *starts]


def _bare(name: str) -> str:
    """Letters and digits of a name, lower case: how class folders are compared."""
    return "".join(char for char in name.lower() if char.isalnum())


def _frame_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders below that hold a JPEG; none inside another."""
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith((".jpg", ".jpeg")):
                yield folder
                return
            if not entry.name.startswith(".") and entry.is_dir():
                below.append(Path(entry.path))
    for path in sorted(below) if depth else []:
        yield from _frame_folders(path, depth - 1)


class _Files(Inventory):
    """Video files (or else frame folders) by stem, whatever their folder."""

    def __init__(self, raw: Path, folder: str, classes: Iterable[str]) -> None:
        super().__init__(raw, folder)
        extracted = not self.names
        if extracted:
            base = raw if folder == "." else raw / folder
            self.names = {p.relative_to(raw).as_posix() for p in _frame_folders(base, _DEEPEST)}
        self._classes = {_bare(name) for name in classes}
        self._by_stem: dict[str, list[str]] = {}
        for name in sorted(self.names):
            path = PurePosixPath(name)
            self._by_stem.setdefault(path.name if extracted else path.stem, []).append(name)

    def find(self, names: Iterable[str]) -> str | None:
        """The best file for `<class>/<stem>.mp4` names; one in another class's folder is not it."""
        for name in names:
            label, _, file = name.rpartition("/")
            stem = file.removesuffix(".mp4")
            fits = [p for p in self._by_stem.get(stem, []) if self._fits(p, _bare(label))]
            if fits:
                fits.sort(key=lambda p: ("replacement" not in p, _bare(label) not in _bare(p), p))
                self.names.difference_update(fits[1:])  # its older or doubled copies
                return fits[0]
        return None

    def _fits(self, path: str, label: str) -> bool:
        if not label:
            return True
        folders = [_bare(part) for part in PurePosixPath(path).parts[:-1]]
        return label in folders or not any(part in self._classes for part in folders)
