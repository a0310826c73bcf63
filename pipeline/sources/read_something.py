"""Something-Something V1 (frame folders, `;` lists) and V2 (WebM, JSON lists)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError
from pipeline.schema.dataset import Dataset
from pipeline.sources.annotations import (
    annotation,
    needed,
    number,
    order_classes,
    read_lines,
    read_text,
    refuse_shared_numbers,
)
from pipeline.sources.inventory import Inventory, any_form, video_folder
from pipeline.sources.lister import Lister, Listing

V1_SPLITS = ("train", "validation", "test")
V2_SPLITS = ("train", "validation", "test")


def read_v1(dataset: Dataset, raw: Path) -> Listing:
    """`something-something-v1-{labels,train,validation,test}.csv` and a folder of JPEGs per id."""
    labels = needed(dataset, raw, ["something-something-v1-labels.csv"])
    folder = video_folder(dataset, raw)
    classes = order_classes(dataset, [line.strip() for line in read_lines(labels)], labels.name)
    lister = Lister(dataset, raw, classes, Inventory(raw, folder, frame_folders=True))
    lister.read(labels)
    for split in V1_SPLITS:
        names = [f"something-something-v1-{split}.csv"]
        path = annotation(raw, names) if split == "test" else needed(dataset, raw, names)
        if path is None:
            continue
        lister.read(path)
        for line in read_lines(path):
            video_id, separator, label = line.partition(";")
            known = [label.strip()] if separator else []
            lister.add(video_id.strip(), [f"{folder}/{video_id.strip()}"], known, split)
    return lister.finish()


def read_v2(dataset: Dataset, raw: Path) -> Listing:
    """`{labels,train,validation,test}.json`, in either naming style, and `<id>.webm`, or the same
    videos encoded otherwise or as folders of frames."""
    labels = needed(dataset, raw, _v2_names("labels"))
    folder = video_folder(dataset, raw)
    by_name = _json(dataset, labels, dict)
    numbers = {name: number(str(value)) for name, value in by_name.items()}
    if None in numbers.values():
        raise DataError(
            f"{dataset.name}: a class has no number",
            where=labels.name,
            do="fetch the file again",
        )
    refuse_shared_numbers(dataset, [(value or 0, name) for name, value in numbers.items()], labels)
    classes = order_classes(
        dataset, sorted(by_name, key=lambda name: numbers[name] or 0), labels.name
    )
    lister = Lister(dataset, raw, classes, Inventory(raw, folder, else_folders_at=1))
    lister.read(labels)
    answers = _answers(raw, lister)
    for split in V2_SPLITS:
        names = _v2_names(split)
        path = annotation(raw, names) if split == "test" else needed(dataset, raw, names)
        if path is None:
            continue
        lister.read(path)
        for item in _json(dataset, path, list):
            video_id = str(item.get("id", "")) if isinstance(item, dict) else ""
            known = []
            if isinstance(item, dict) and "template" in item:
                known = [str(item["template"]).replace("[", "").replace("]", "")]
            elif video_id in answers:
                known = [answers[video_id]]
            lister.add(video_id, any_form(f"{folder}/{video_id}", ".webm"), known, split)
    return lister.finish()


def _v2_names(kind: str) -> list[str]:
    return [f"{kind}.json", f"something-something-v2-{kind}.json"]


def _answers(raw: Path, lister: Lister) -> dict[str, str]:
    """Labels of the test videos, where the publisher's answer file is present."""
    path = annotation(raw, ["test-answers.csv"])
    if path is None:
        return {}
    lister.read(path)
    pairs = (line.partition(";") for line in read_lines(path))
    return {video_id.strip(): label.strip() for video_id, _, label in pairs}


def _json(dataset: Dataset, path: Path, kind: type) -> Any:
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{dataset.name}: the file is not JSON: {error}",
            where=path.name,
            do="fetch the file again",
        ) from None
    if not isinstance(value, kind):
        raise DataError(
            f"{dataset.name}: the file holds no JSON {kind.__name__}",
            where=path.name,
            do="fetch the file again",
        )
    return value
