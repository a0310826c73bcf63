from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.errors import RecordError
from pipeline.core.files import read_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.lineage.records import observe, write_record

PLAN = {"params": {"lr": 0.1}, "code": {"digest": "d"}}


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/in").write_text("in")
    (tmp_path / "data/out").mkdir()
    (tmp_path / "data/out/file").write_text("out")
    return Workspace(tmp_path)


def record(work: Workspace, **observed: object) -> Path:
    write_record(
        work,
        "train",
        "row",
        plan=PLAN,
        inputs={"in": work.root / "data/in"},
        outputs={"out": work.root / "data/out"},
        observed=dict(observed),
    )
    return work.record("train", "row")


def test_identity_is_the_same_on_every_honest_run(work: Workspace) -> None:
    first = record(work, seconds=1).read_bytes()
    again = record(work, seconds=2)
    assert again.read_bytes() == first
    assert read_json(again.with_suffix(".observed.json"))["seconds"] == 2


def test_identity_changes_with_what_was_made(work: Workspace) -> None:
    first = read_json(record(work))
    (work.root / "data/out/file").write_text("other")
    second = read_json(record(work))
    assert first["identity_sha256"] == second["identity_sha256"]
    assert first["record_sha256"] != second["record_sha256"]


def test_no_absolute_path_in_any_record(work: Workspace) -> None:
    path = record(work, **observe(work, datetime.now(UTC), ["tdn", "train", "row"]))
    for file in (path, path.with_suffix(".observed.json")):
        assert str(work.root) not in file.read_text()


def test_missing_output_fails_the_stage(work: Workspace) -> None:
    (work.root / "data/out/file").unlink()
    (work.root / "data/out").rmdir()
    with pytest.raises(RecordError, match="out is missing"):
        record(work)


def test_a_record_changed_by_hand_is_noticed(work: Workspace) -> None:
    path = record(work)
    value = read_json(path)
    value["identity"]["params"]["lr"] = 0.2
    write_json(path, value)
    found = Evidence(work).runs["train/row"]
    assert found.tampered and "record_sha256 does not fit" in found.problem


def test_an_unreadable_record_is_a_message(work: Workspace) -> None:
    path = record(work)
    path.write_bytes(b"{")
    assert "does not parse as a run record" in Evidence(work).runs["train/row"].problem
