from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.core.errors import AbsentData
from pipeline.sources.ledger import read_ledger
from pipeline.store.estimate import estimate, finished, unchecked
from tests.pipeline.samples import dataset, numbered, own_videos


def test_a_whole_sample_is_nearly_the_truth(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(9), max_failed_fraction=1.0)
    (made.raw / "videos" / "clip008.avi").unlink()
    made.check()
    rows = read_ledger(made.summary.with_suffix(".parquet"))
    found = estimate(made.dataset, made.raw, rows, workers=4)
    assert not made.frames.exists()
    about = made.decode()
    assert (found.videos, found.shards, found.sampled) == (8, 3, 8)
    assert found.frames == about["frames"]
    # Each of these tiny shards carries a few pages of its own.
    assert 0.5 * about["bytes"] < found.store_bytes < 1.1 * about["bytes"]
    assert found.cpu_s > 0
    assert found.wall_s == found.wall_on(4) == found.cpu_s / 3  # three shards feed three cores
    assert found.wall_on(2) == found.cpu_s * 2 / 3
    assert found.wall_on(1) == found.cpu_s
    assert found.cpu_s_error == 0


def test_a_sample_says_how_sure_it_is(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(9))
    made.check()
    rows = read_ledger(made.summary.with_suffix(".parquet"))
    found = estimate(made.dataset, made.raw, rows, workers=1, sample=3)
    assert (found.videos, found.sampled) == (9, 3)
    assert 50 < found.frames < 74
    assert found.store_bytes_error > 0


def test_nothing_to_decode_costs_nothing(tmp_path: Path) -> None:
    found = estimate(own_videos(tmp_path, []).dataset, tmp_path, [], workers=2)
    assert (found.videos, found.store_bytes, found.cpu_s) == (0, 0, 0.0)


def test_what_was_never_checked_is_listed_without_being_read(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(5), max_failed_fraction=1.0)
    (made.raw / "videos" / "clip002.avi").unlink()
    (made.raw / "videos" / "clip003.avi").write_bytes(b"")
    made.check()
    checked = read_ledger(made.summary.with_suffix(".parquet"))
    plain = [replace(row, sha256=None, reason="", files=0) for row in checked]
    seen = unchecked(made.dataset, made.raw)
    assert [replace(row, reason="", files=0) for row in seen] == plain


def test_finished_shards_are_counted(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(7))
    made.check()
    made.decode()
    rows = read_ledger(made.summary.with_suffix(".parquet"))
    assert finished(made.dataset, rows, made.frames) == 3
    (made.frames / "shard-00001.json").unlink()
    assert finished(made.dataset, rows, made.frames) == 2
    policy = made.dataset.decode.model_copy(update={"quality": 7})
    other = made.dataset.model_copy(update={"decode": policy})
    assert finished(other, rows, made.frames) == 0


def test_a_packed_data_set_says_how_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "20bn-something-something-v1-00").write_bytes(b"x")
    with pytest.raises(AbsentData, match="packed in 1 parts") as caught:
        unchecked(dataset("ssv1"), tmp_path)
    assert "tdn check ssv1" in caught.value.do
