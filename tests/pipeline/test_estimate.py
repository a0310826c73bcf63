from __future__ import annotations

from pathlib import Path

from pipeline.estimate import estimate
from pipeline.sources import read_ledger
from tests.pipeline.samples import numbered, own_videos


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
    assert found.wall_s == found.cpu_s / 4
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
