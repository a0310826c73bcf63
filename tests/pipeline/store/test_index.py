"""The index: rows that are written as they come, and a digest that stands for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.core.files import sha256_json
from pipeline.store import index
from pipeline.store.index import Video, read_index, write_index, write_rows

FACTS = {"classes": ["a", "b"], "dataset": "own"}


def videos(count: int) -> Iterator[Video]:
    for number in range(count):
        failed = number % 5 == 4
        yield Video(
            video_id=f"v{number:04d} é",
            labels=[number % 2],
            splits=[["train"], ["train", "test"], []][number % 3],
            shard=-1 if failed else number // 64,
            n_frames=0 if failed else number + 1,
            width_px=64,
            height_px=48,
            fps=None if failed else 29.97,
            source=f"{number}.avi",
            source_sha256="ab" * 32,
            frames_sha256=None if failed else "cd" * 32,
            status="error" if failed else "ok",
            reason="no frame" if failed else "",
        )


@pytest.mark.parametrize("count", [0, 1, 16, 17, 64, 100])
def test_rows_that_come_one_by_one_are_those_of_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    write_rows(tmp_path, videos(count))
    whole = (tmp_path / "index.parquet").read_bytes()
    assert pq.ParquetFile(tmp_path / "index.parquet").num_row_groups == 1
    monkeypatch.setattr(index, "_BATCH", 8)
    rows = write_rows(tmp_path, videos(count))
    assert (tmp_path / "index.parquet").read_bytes() == whole, "batches do not show"
    monkeypatch.setattr(index, "_GROUP", 16)
    assert write_rows(tmp_path, videos(count)) == rows
    groups = pq.ParquetFile(tmp_path / "index.parquet").num_row_groups
    assert groups == max(1, -(-count // 16))
    write_index(tmp_path, rows, [], FACTS)
    found = read_index(tmp_path)
    expected = list(videos(count))
    assert list(found.videos) == expected
    assert rows.sha256 == sha256_json([list(asdict(video).values()) for video in expected])


def test_the_index_counts_its_rows(tmp_path: Path) -> None:
    about = write_index(tmp_path, write_rows(tmp_path, videos(10)), [], FACTS)
    assert (about["listed"], about["counts"]) == (10, {"error": 2, "ok": 8})
    assert about["splits"] == {
        "test": {"listed": 3, "usable": 2},
        "train": {"listed": 7, "usable": 5},
    }
    assert about["frames"] == sum(range(1, 11)) - 5 - 10
