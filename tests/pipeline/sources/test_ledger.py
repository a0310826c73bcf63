from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.core.errors import AbsentData, DataError
from pipeline.core.files import read_json, sha256_file
from pipeline.sources.ledger import check, read_ledger
from tests.pipeline.samples import (
    Made,
    dataset,
    jpeg,
    numbered,
    own_videos,
    something_v1,
    write_clip,
)


def ledger(made: Made) -> dict[str, tuple[str, str]]:
    rows = read_ledger(made.summary.with_suffix(".parquet"))
    return {str(row.video_id or row.relpath): (row.status, row.reason) for row in rows}


def test_every_listed_video_has_a_row(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(5), max_failed_fraction=1.0)
    videos = made.raw / "videos"
    (videos / "clip001.avi").unlink()
    (videos / "clip002.avi").write_bytes(b"")
    (videos / "clip003.avi").unlink()
    os.mkfifo(videos / "clip003.avi")
    write_clip(videos / "stray.avi")
    summary = made.check()
    assert ledger(made) == {
        "clip000.avi": ("ok", ""),
        "clip001.avi": ("missing", "no file videos/clip001.avi"),
        "clip002.avi": ("empty", "the file is empty"),
        "clip003.avi": ("refused", "not a regular file"),
        "clip004.avi": ("ok", ""),
        "videos/stray.avi": ("unlisted", "no list names it"),
    }
    assert summary["counts"] == {"empty": 1, "missing": 1, "ok": 2, "refused": 1, "unlisted": 1}
    assert summary["listed"] == 5
    assert summary["splits"]["train"] == {"listed": 5, "expected": None, "usable": 2}


def test_too_many_bad_files_fail_with_a_list_and_the_ledger_is_there(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(4), max_failed_fraction=0.3)
    for name in numbered(4)[:2]:
        (made.raw / "videos" / name).unlink()
    with pytest.raises(DataError, match=r"(?s)2 of 4 videos.*30 %.*clip001\.avi: missing"):
        made.check()
    assert len(ledger(made)) == 4
    made = Made(
        made.dataset.model_copy(update={"max_failed_fraction": 0.5}),
        made.raw, made.summary, made.frames,
    )  # fmt: skip
    assert made.check()["counts"] == {"missing": 2, "ok": 2}


def test_counts_are_held_against_the_official_ones(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(3), expected={"train": 4, "val": 0})
    assert made.check()["problems"] == ["train lists 3 videos, officially 4"]


def test_a_manifest_that_does_not_fit_the_lists_is_told(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(3))
    problem = "fold default uses the split val, in which no video is listed"
    assert made.check()["problems"] == [problem]
    made = own_videos(tmp_path, numbered(3), flip_pairs=[["a", "left"]])
    with pytest.raises(DataError, match="no list: left"):
        made.check()


def test_the_digest_follows_content_labels_and_splits_alone(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(4))
    first = made.check()
    clip = made.raw / "videos" / "clip000.avi"
    os.utime(clip, ns=(1, 1))
    write_clip(made.raw / "videos" / "stray.avi")
    assert made.check()["digest"] == first["digest"]
    data = bytearray(clip.read_bytes())
    data[-1] ^= 1
    clip.write_bytes(data)
    second = made.check()["digest"]
    assert second != first["digest"]
    lists = made.raw / "train.csv"
    lists.write_text(lists.read_text().replace("clip002.avi,a", "clip002.avi,b"))
    assert made.check()["digest"] != second


def test_an_unchanged_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.core.digest_cache.FRESH_NS", 0)  # the clips are just made
    made = own_videos(tmp_path, numbered(4))
    cache = tmp_path / "cache.parquet"
    first = made.check(cache=cache)
    stored = [made.summary.read_bytes(), made.summary.with_suffix(".parquet").read_bytes()]
    monkeypatch.setattr("pipeline.sources.ledger.sha256_file", annotation_only)
    assert made.check(cache=cache) == first
    assert [made.summary.read_bytes(), made.summary.with_suffix(".parquet").read_bytes()] == stored


def annotation_only(path: Path) -> str:
    assert path.suffix == ".csv", f"{path.name} was read again"
    return sha256_file(path)


def test_a_changed_or_damaged_cache_is_not_believed(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(2))
    cache = tmp_path / "cache.parquet"
    first = made.check(cache=cache)["digest"]
    write_clip(made.raw / "videos" / "clip000.avi", 11)
    assert made.check(cache=cache)["digest"] != first
    cache.write_bytes(b"not parquet")
    made.check(cache=cache)


def test_frame_folders_are_digested_over_their_frames(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    something_v1(raw, {"1": ("train", "a", 5), "2": ("train", "b", 4)}, ["a", "b"])
    made = Made(dataset("ssv1"), raw, tmp_path / "sources.json", tmp_path / "frames")
    cache = tmp_path / "cache.parquet"
    first = made.check(cache=cache)
    assert (first["files"], first["counts"]) == (9, {"ok": 2})
    folder = raw / "20bn-something-something-v1" / "1"
    (folder / "Thumbs.db").write_bytes(b"stray")
    assert made.check(cache=cache)["digest"] == first["digest"]
    (folder / "00003.jpg").write_bytes(jpeg(99))
    second = made.check(cache=cache)["digest"]
    assert second != first["digest"]
    (folder / "00003.jpg").rename(folder / "00009.jpg")
    assert made.check(cache=cache)["digest"] not in (first["digest"], second)
    for path in folder.glob("*.jpg"):
        path.unlink()
    loose = dataset("ssv1", max_failed_fraction=1.0)
    assert check(loose, raw, made.summary)["counts"] == {"empty": 1, "ok": 1}


def test_absent_data_say_what_to_put_where(tmp_path: Path) -> None:
    made = Made(dataset("ssv2"), tmp_path / "raw", tmp_path / "s.json", tmp_path / "f")
    with pytest.raises(AbsentData) as caught:
        made.check()
    assert caught.value.exit_code == 2
    assert "20bn-something-something-v2/<id>.webm" in caught.value.do
    assert not made.summary.exists()
    record = made.check(record_absent=True)
    assert read_json(made.summary) == record
    assert (record["status"], record["dataset"]) == ("absent", "ssv2")
    assert record["reason"]
    assert ledger(made) == {}


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(3))
    seen: list[tuple[int, int]] = []
    made.check(progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)
