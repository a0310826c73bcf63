"""A user's folder of videos, as a data set. No video is opened: the files here are empty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.sources.own_videos import read_own_videos


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def tree(folder: Path, per_class: int = 10) -> Path:
    names = [f"{label}/{n}.mp4" for label in ("clap", "wave hand") for n in range(per_class)]
    return put(folder, *names, "clap/notes.txt", ".cache/x.mp4")


def test_a_tree_is_split_by_class_and_the_same_way_each_time(tmp_path: Path) -> None:
    found = read_own_videos(tree(tmp_path / "a"))
    assert found.classes == ["clap", "wave hand"] and found.is_split_here
    assert {s: len(videos) for s, videos in found.splits.items()} == {"train": 16, "val": 4}
    assert sorted(label for _, label in found.splits["val"]) == ["clap"] * 2 + ["wave hand"] * 2
    assert len({name for videos in found.splits.values() for name, _ in videos}) == 20
    assert read_own_videos(tree(tmp_path / "b")).splits == found.splits


@pytest.mark.parametrize("val", ["val", "validation", "test"])
def test_a_tree_that_is_split_stays_as_it_is(tmp_path: Path, val: str) -> None:
    found = read_own_videos(put(tmp_path, "train/a/1.avi", "train/b/2.avi", f"{val}/a/3.avi"))
    assert found.splits["val"] == [(f"{val}/a/3.avi", "a")] and not found.is_split_here


def test_folders_of_frames_are_videos_where_there_is_no_video_file(tmp_path: Path) -> None:
    names = [f"{label}/{n}/00001.jpg" for label in "ab" for n in range(2)]
    found = read_own_videos(put(tmp_path, *names))
    assert len(found.splits["train"]) == len(found.splits["val"]) == 2
    assert found.splits["train"][0][0].count("/") == 1


def test_lists_say_labels_and_may_say_the_split(tmp_path: Path) -> None:
    put(tmp_path, "x/1.mp4", "x/2 b.mp4", "x/3.mp4", "x/4.mp4")
    one = tmp_path / "all.txt"
    one.write_text(f"x/1.mp4 10\nx/2 b.mp4 9\n./x/3.mp4 9\n{tmp_path}/x/4.mp4 10\n", "utf-8")
    found = read_own_videos(one)
    assert found.classes == ["9", "10"] and found.is_split_here
    assert ("x/3.mp4", "9") in found.splits["train"] + found.splits["val"]
    (tmp_path / "train.csv").write_text('x/1.mp4,"a, b"\nx/2 b.mp4,c\n', "utf-8")
    (tmp_path / "val.csv").write_text("x/3.mp4,c\n", "utf-8")
    found = read_own_videos(tmp_path)
    assert found.splits["train"] == [("x/1.mp4", "a, b"), ("x/2 b.mp4", "c")]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no video is here"),
        (["a/readme.txt"], "no video is here"),
        (["1.mp4", "a/2.mp4"], "in no folder of a class: 1.mp4"),
        (["a/1.mp4", "a/2.mp4"], "2 videos of one class, a"),
        (["a/1.mp4", "A/2.mp4", "b/1.mp4"], "upper and lower case alone: A, a"),
        (["a/1.mp4", "a/2.mp4", "b/1.mp4"], "none to validate with: b"),
        (["train/a/1.mp4", "val/b/1.mp4"], "no video to train on: b"),
        (["a/1\n.mp4", "b/1.mp4"], "1 names cannot be used"),
        (["a /1.mp4", "b/1.mp4"], "begins or ends with a space"),
        ([os.fsdecode(b"a/\xff.mp4"), "b/1.mp4"], "not valid Unicode"),
    ],
)
def test_a_folder_that_makes_no_data_set_is_refused_with_a_remedy(
    tmp_path: Path, names: list[str], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_own_videos(put(tmp_path, *names))
    assert words in caught.value.what and caught.value.do
    assert str(caught.value).encode("utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.mp4 a\ngone.mp4 b\n", "1 of 2 files are not there: gone.mp4"),
        ("1.mp4 a\n2.mp4\n", "line 2 is not `path label`"),
        ("1.mp4 a\n/dev/null b\n", "absolute path"),
        ("1.mp4 a\n../other.mp4 b\n", "leads out of the data set"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_a_remedy(
    tmp_path: Path, text: str, words: str
) -> None:
    put(tmp_path, "other.mp4", "in/1.mp4", "in/2.mp4")
    (tmp_path / "in/list.txt").write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        read_own_videos(tmp_path / "in/list.txt")
    assert words in caught.value.what and caught.value.do


def test_a_name_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_own_videos(tmp_path / "gone")
