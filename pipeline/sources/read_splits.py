"""The small sets with official splits or folds: UCF101, HMDB51 and Weizmann."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipeline.core.errors import AbsentData, DataError
from pipeline.schema.dataset import Dataset
from pipeline.sources.annotations import (
    needed,
    number,
    number_lines,
    order_classes,
    read_lines,
    refuse_shared_numbers,
)
from pipeline.sources.inventory import Inventory, any_form, video_folder
from pipeline.sources.lister import Lister, Listing

ROUNDS = (1, 2, 3)
HMDB51_MARKS = {"0": None, "1": "train", "2": "test"}


def read_ucf101(dataset: Dataset, raw: Path) -> Listing:
    """`classInd.txt`, `{train,test}list0{1,2,3}.txt`; splits `train01` … `test03`. Videos as
    published, encoded otherwise, or as folders of frames.

    The class is the folder in the list (HandstandPushups), never the file name
    (v_HandStandPushups_…).
    """
    class_file = needed(dataset, raw, ["classInd.txt"])
    folder = video_folder(dataset, raw)
    pairs = [_numbered(dataset, class_file, *line) for line in number_lines(class_file)]
    classes = order_classes(dataset, [name for _, name in sorted(pairs)], class_file.name)
    refuse_shared_numbers(dataset, pairs, class_file)
    numbered = dict(pairs)
    lister = Lister(dataset, raw, classes, Inventory(raw, folder, else_folders_at=2))
    lister.read(class_file)
    for kind in ("train", "test"):
        for turn in ROUNDS:
            path = needed(dataset, raw, [f"{kind}list{turn:02d}.txt"])
            lister.read(path)
            for line in read_lines(path):
                name, _, index = line.strip().partition(".avi")
                place = PurePosixPath(name)
                label = place.parent.name
                if index.strip() and numbered.get(number(index) or 0) != label:
                    lister.remark(
                        "class index and folder differ",
                        f"{path.name}: {name} is in {label}, its index says otherwise",
                    )
                places = any_form(f"{folder}/{name}", ".avi")
                lister.add(place.name, places, [label], f"{kind}{turn:02d}")
    return lister.finish()


def _numbered(dataset: Dataset, path: Path, line_number: int, line: str) -> tuple[int, str]:
    digits, *names = line.split(None, 1)
    index = number(digits)
    if index is None or not names:
        raise DataError(
            f"{dataset.name}: not '<number> <class>': {line.strip()[:60]!r}",
            where=f"{path.name}, line {line_number}",
            do="fetch the file again",
        )
    return index, names[0].strip()


def read_hmdb51(dataset: Dataset, raw: Path) -> Listing:
    """`<class>_test_split{1,2,3}.txt`: lines `<file> 0|1|2`; splits `train01` … `test03`.

    The class comes from the list's own name; a video's id is `<class>/<file name without .avi>`.
    """
    first = needed(dataset, raw, ["brush_hair_test_split1.txt", *_any_split_file(raw)])
    folder = video_folder(dataset, raw)
    suffix = "_test_split1.txt"
    names = sorted(p.name.removesuffix(suffix) for p in first.parent.glob("*" + suffix))
    files = Inventory(raw, folder, else_folders_at=2)
    lister = Lister(dataset, raw, order_classes(dataset, names, "the lists' names"), files)
    for name in names:
        for turn in ROUNDS:
            path = first.parent / f"{name}_test_split{turn}.txt"
            if not path.is_file():
                lister.remark("list missing", f"{path.name} is missing")
                continue
            lister.read(path)
            lines = read_lines(path)
            if not lines:
                lister.remark("list without lines", f"{path.name} is empty")
            for line in lines:
                *words, mark = line.rsplit(None, 1)
                file = "".join(words)
                if mark not in HMDB51_MARKS:
                    lister.remark(
                        "line without a mark",
                        f"{path.name}: no mark 0, 1 or 2 in {line.strip()[:60]!r}",
                    )
                    continue
                kind = HMDB51_MARKS[mark]
                stem = file.strip().removesuffix(".avi")
                places = any_form(f"{folder}/{name}/{stem}", ".avi")
                split = f"{kind}{turn:02d}" if kind else None
                lister.add(f"{name}/{stem}", places, [name], split)
    return lister.finish()


def _any_split_file(raw: Path) -> list[str]:
    """Names of first-split files, so that a subset of the classes reads too."""
    places = [*raw.glob("*_test_split1.txt"), *raw.glob("*/*_test_split1.txt")]
    return sorted(path.name for path in places)


def read_weizmann(dataset: Dataset, raw: Path) -> Listing:
    """`<class>/<person>_<class>.avi`, no lists: folds leave one person out (`daria/test`)."""
    folder = video_folder(dataset, raw)
    files = Inventory(raw, folder)
    prefix = "" if folder == "." else folder + "/"
    found = {name: PurePosixPath(name.removeprefix(prefix)) for name in sorted(files.names)}
    clips = {name: path for name, path in found.items() if len(path.parts) == 2}
    if not clips:
        raise AbsentData(
            f"{dataset.name}: no <class>/<person>_<class>.avi",
            where=f"the raw folder of {dataset.name}",
            do=dataset.obtain,
        )
    classes = order_classes(dataset, sorted({path.parts[0] for path in clips.values()}), folder)
    lister = Lister(dataset, raw, classes, files)
    people = sorted({path.stem.partition("_")[0] for path in clips.values()})
    for name, path in clips.items():
        person = path.stem.partition("_")[0]
        for left_out in people:
            kind = "test" if person == left_out else "train"
            lister.add(path.stem, [name], [path.parts[0]], f"{left_out}/{kind}")
    return lister.finish()
