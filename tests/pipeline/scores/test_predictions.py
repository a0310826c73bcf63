"""The per-view logits file: whole, sorted, the same bytes for the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import DataError, RecordError
from pipeline.scores.predictions import (
    Predictions,
    ViewLogits,
    collect,
    content_digest,
    read,
    write,
)

VIEWS = [
    ViewLogits("b", (1,), 0, 1, [0.5, -1.0, 2.0]),
    ViewLogits("b", (1,), 0, 0, np.array([1.0, 2.0, 3.0], dtype=np.float32)),
    ViewLogits("gone", (2,), status="missing"),
    ViewLogits("a", (0, 2), 1, 0, [0.0, 0.0, 0.25]),
]


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    content = write(path, collect("row_a", "center_1x1", VIEWS))
    found = read(path)
    assert (found.row, found.protocol) == ("row_a", "center_1x1")
    assert found.video_ids == ("a", "b", "b", "gone")
    assert found.labels == ((0, 2), (1,), (1,), (2,))
    assert found.crops.tolist() == [0, 0, 1, 0]
    assert found.ok.tolist() == [True, True, True, False]
    assert found.logits[1].tolist() == [1.0, 2.0, 3.0]
    assert found.n_classes == 3 and found.views_per_video == 2
    assert content_digest(found) == content


def test_the_order_of_views_changes_no_byte(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    write(first, collect("r", "p", VIEWS))
    write(second, collect("r", "p", VIEWS[::-1]))
    assert first.read_bytes() == second.read_bytes()


def test_the_digest_sees_every_field(tmp_path: Path) -> None:
    base = collect("r", "p", VIEWS)
    digests = {content_digest(base), content_digest(collect("r2", "p", VIEWS))}
    for changed in (
        ViewLogits("b", (2,), 0, 1, [0.5, -1.0, 2.0]),
        ViewLogits("b", (1,), 2, 1, [0.5, -1.0, 2.0]),
        ViewLogits("b", (1,), 0, 1, [0.5, -1.0, 2.0001]),
        ViewLogits("b", (1,), 0, 1, status="corrupt"),
    ):
        digests.add(content_digest(collect("r", "p", [changed, *VIEWS[1:]])))
    assert len(digests) == 6


def test_no_video_and_only_failed_videos_can_be_written(tmp_path: Path) -> None:
    for name, views in (("none", []), ("failed", [ViewLogits("a", (1,), status="corrupt")])):
        write(tmp_path / name, collect("r", "p", views))
        found = read(tmp_path / name, verify=True)
        assert len(found.video_ids) == len(views)
        assert not found.ok.any() and found.n_classes == 0


@pytest.mark.parametrize(
    ("views", "what"),
    [
        ([VIEWS[0], VIEWS[0]], "given twice"),
        ([ViewLogits("a", (0,), 0, 0, [1.0]), VIEWS[0]], "several lengths"),
        ([ViewLogits("a", (0,), 0, 0, [float("nan")])], "not finite"),
        ([ViewLogits("a", (0,))], "no logits"),
        ([ViewLogits("a", (0,), 0, 0, [1.0], "corrupt")], "exactly where"),
    ],
)
def test_views_that_do_not_fit_are_refused(views: list[ViewLogits], what: str) -> None:
    with pytest.raises(DataError) as caught:
        collect("r", "p", views)
    assert what in str(caught.value)


def test_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    with pytest.raises(RecordError, match="there is no"):
        read(path)
    path.write_bytes(b"not parquet")
    with pytest.raises(RecordError, match="unreadable"):
        read(path)
    write(path, collect("r", "p", VIEWS))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"tdn.schema": "other/9"}), path)
    with pytest.raises(RecordError, match="schema 'other/9'"):
        read(path)


def test_changed_rows_fail_verification(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write(path, collect("r", "p", VIEWS))
    table = pq.read_table(path)
    forged = table.take([3, 1, 2, 0])
    pq.write_table(forged, path)
    read(path)
    with pytest.raises(RecordError, match="do not match the digest"):
        read(path, verify=True)


def test_another_rows_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write(path, collect("r", "p", VIEWS))
    read(path, row="r", protocol="p")
    with pytest.raises(RecordError, match="of row r, not of q"):
        read(path, row="q", protocol="p")
    with pytest.raises(RecordError, match="of protocol p, not of center"):
        read(path, row="r", protocol="center")


def changed(**fields: Any) -> Predictions:
    """Two views of two videos, with some fields replaced, which `collect` does not see."""
    views = [ViewLogits(name, (0,), 0, crop, [1.0, 2.0]) for name in "ab" for crop in (0, 1)]
    return Predictions(**{**collect("r", "p", views).__dict__, **fields})


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"logits": np.full((4, 2), np.nan, dtype=np.float32)}, "not finite"),
        ({"logits": np.full((4, 2), np.inf, dtype=np.float32)}, "not finite"),
        ({"crops": np.array([0, 0, 0, 1], dtype=np.int32)}, "video a is there twice"),
        ({"video_ids": ("a", "a", "b", "c")}, "video b has other views"),
        ({"clips": np.array([0, 0, 1, 1], dtype=np.int32)}, "video b has other views"),
    ],
)
def test_what_cannot_be_scored_is_told(tmp_path: Path, fields: dict[str, Any], what: str) -> None:
    path = tmp_path / "p.parquet"
    write(path, changed())
    read(path, verify=True)
    write(path, changed(**fields))
    with pytest.raises(RecordError, match=what):
        read(path, verify=True)
