"""What `check` says of data sets whose files are all there, and when it fails for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.schema.dataset import Fold
from pipeline.sources.remarks import recording, refuse_shared, remarks_on
from pipeline.sources.source import Source
from tests.pipeline.samples import dataset, write_clip
from tests.pipeline.sources.test_readers import own

FOLDS = {"default": Fold(train="train", val="val")}


def row(video_id: str, split: str, label: int = 0, content: str = "") -> Source:
    return Source(video_id, video_id, [label], split.split(), 1, 9, content or video_id, "ok", "")


def kinds(rows: list[Source], *classes: str) -> Counter[str]:
    return Counter(remark.kind for remark in remarks_on(dataset(folds=FOLDS), classes, rows))


def test_nothing_is_odd_about_a_clean_set() -> None:
    rows = [row(f"{k}{s}", s, k) for k in (0, 1) for s in ("train", "val")]
    assert kinds(rows, "a", "b") == {}


def test_a_video_in_training_and_validation_is_named() -> None:
    rows = [
        row("both", "train val"),
        row("x", "train", content="same"), row("y", "val", content="same"),
        row("v_Run_g01_c01", "train"), row("v_Run_g01_c02.avi", "val"), row("v_Run_g02_c01", "val"),
        row("--07WQ2iBlw_000001_000011", "train"), row("--07WQ2iBlw_000020_000030", "val"),
        row("z", "val test"),
    ]  # fmt: skip
    assert kinds(rows, "a") == {
        "one class in all": 1,
        "a video in training and validation": 1,
        "equal files in training and validation": 1,
        "clips of one recording in training and validation": 2,
    }


@pytest.mark.parametrize("name", ["a0.mp4", "clip_000001_000011", "g01_c01", "daria_run"])
def test_other_names_tell_of_no_recording(name: str) -> None:
    assert recording(name) is None


def test_too_many_shared_videos_are_an_error() -> None:
    rows = [row(f"t{n}", "train") for n in range(10)] + [row(f"v{n}", "val") for n in range(8)]
    rows += [row("both", "train val"), row("copy", "val", content="t3")]
    refuse_shared(dataset(folds=FOLDS, max_shared_fraction=0.2), rows)
    with pytest.raises(DataError) as caught:
        refuse_shared(dataset(folds=FOLDS, max_shared_fraction=0.19), rows)
    message = str(caught.value)
    assert "2 of 10 videos of val are in train, too, more than the allowed 19 %" in message
    assert "both is in train and val" in message
    assert "copy (val) has the content of t3 (train)" in message


def test_labels_from_one_and_classes_without_videos() -> None:
    rows = [row(f"{k}{s}", s, k) for k in (1, 2, 4) for s in ("train", "val")]
    assert kinds(rows, *"01234") == {"labels start at 1": 1, "class without videos": 1}


def test_a_class_of_one_split_only_is_counted() -> None:
    rows = [row("a", "train", 0), row("b", "val", 0), row("c", "val", 1), row("d", "train", 2)]
    assert kinds(rows, "a", "b", "c") == {"class in val only": 1, "class in train only": 1}


def test_a_video_without_a_label_is_counted_where_it_is_trained_or_scored_on() -> None:
    rows = [row("a", "train", 0), row("b", "train", 1)]
    rows += [
        replace(row(name, split), labels=[]) for name, split in (("c", "train"), ("d", "test"))
    ]
    assert kinds(rows, "a", "b") == {"video without a label": 1}


def test_check_ends_with_remarks_by_kind_and_fails_on_shared_videos(tmp_path: Path) -> None:
    from stages.check import remark_lines
    from tests.pipeline.samples import Made

    raw = tmp_path / "raw"
    for number in range(4):
        write_clip(raw / "v" / f"c{number}.avi", 4 + number)
    (raw / "train.txt").write_text("c0.avi 1\nc1.avi 1\nc1.avi 1\n")
    (raw / "val.txt").write_text("c2.avi 2\nc3.avi 1\nc1.avi 1\n")
    options = own({"train": "train.txt", "val": "val.txt"})
    about = dataset(options=options, folds=FOLDS, max_shared_fraction=0.5)
    made = Made(about, raw, tmp_path / "s.json", tmp_path / "frames")
    summary = made.check()
    assert {kind: about["count"] for kind, about in summary["remarks"].items()} == {
        "listed twice": 1, "labels start at 1": 1, "class in val only": 1,
        "a video in training and validation": 1,
    }  # fmt: skip
    assert "    1 × listed twice: c1.avi is listed twice in train" in remark_lines(summary)
    strict = about.model_copy(update={"max_shared_fraction": 0.1})
    with pytest.raises(DataError, match="1 of 3 videos of val are in train"):
        Made(strict, raw, made.summary, made.frames).check()
    assert made.summary.is_file()


def test_frames_missing_in_a_folder_are_a_remark_and_partial(tmp_path: Path) -> None:
    from pipeline.store.index import read_index
    from tests.pipeline.samples import Made, jpeg

    raw = tmp_path / "raw"
    for name, numbers in {
        "whole": [1, 2, 3],
        "hole": [1, 2, 4],
        "short": [1, 2],
        "more": [1, 2],
    }.items():
        (raw / "v" / name).mkdir(parents=True)
        for number in numbers:
            (raw / "v" / name / f"{number:05d}.jpg").write_bytes(jpeg(number))
    (raw / "train.txt").write_text("whole 3 0\nhole 4 0\nshort 5 1\nmore 1 1\n")
    options = own({"train": "train.txt"}, columns=["path", "frames", "labels"])
    made = Made(dataset(options=options), raw, tmp_path / "s.json", tmp_path / "frames")
    remarks = made.check()["remarks"]
    assert remarks["frames missing in a folder"]["count"] == 2
    assert remarks["more frames in a folder than listed"]["count"] == 1
    made.decode()
    assert {v.video_id: (v.status, v.reason) for v in read_index(made.frames).videos} == {
        "whole": ("ok", ""),
        "more": ("ok", ""),
        "hole": (
            "partial", "3 of 4 frames: missing in the numbering: 3; the list states 4"
        ),
        "short": ("partial", "2 of 5 frames: the list states 5"),
    }  # fmt: skip
