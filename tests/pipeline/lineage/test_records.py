from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.errors import RecordError
from pipeline.core.files import read_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.lineage.records import is_up_to_date, observe, read_inputs, write_record

PLAN = {"params": {"lr": 0.1}, "code": {"digest": 64 * "d"}}


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
        inputs=read_inputs(work, {"in": work.root / "data/in"}),
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


def written(work: Workspace, path: str, text: str) -> None:
    (work.root / path).write_text(text)


@pytest.mark.parametrize(
    ("role", "path", "where"),
    [("in", "data/in", "data/in"), ("folder", "data/out", "data/out/file")],
)
def test_an_input_that_changes_while_the_stage_runs_is_not_recorded(
    work: Workspace, role: str, path: str, where: str
) -> None:
    inputs = read_inputs(work, {role: work.root / path})
    written(work, where, "other")
    with pytest.raises(RecordError, match=f"'{role}' changed while the stage ran") as caught:
        write_record(
            work, "train", "row", plan=PLAN, inputs=inputs, outputs={}, observed={}
        )  # fmt: skip
    assert caught.value.where == where
    assert not work.record("train", "row").exists()


def test_an_input_rewritten_with_the_same_content_is_recorded(work: Workspace) -> None:
    inputs = read_inputs(work, {"in": work.root / "data/in"})
    (work.root / "data/in").unlink()
    written(work, "data/in", "in")
    write_record(work, "train", "row", plan=PLAN, inputs=inputs, outputs={}, observed={})
    assert read_json(work.record("train", "row"))["identity"]["inputs"][0]["bytes"] == 2


def test_a_missing_input_fails_the_stage(work: Workspace) -> None:
    inputs = read_inputs(work, {"in": work.root / "data/none"})
    with pytest.raises(RecordError, match="in is missing"):
        write_record(work, "train", "row", plan=PLAN, inputs=inputs, outputs={}, observed={})


def fits(work: Workspace, plan: dict[str, object] = PLAN) -> bool:
    files = {"inputs": {"in": work.root / "data/in"}, "outputs": {"out": work.root / "data/out"}}
    return is_up_to_date(work, "train", "row", plan=plan, **files)


def test_a_stage_is_up_to_date_while_plan_and_files_are_those_of_its_record(
    work: Workspace,
) -> None:
    assert not fits(work), "it never ran"
    record(work)
    assert fits(work)
    assert not fits(work, {**PLAN, "params": {"lr": 0.2}})
    assert not fits(work, {**PLAN, "code": {"digest": 64 * "e"}})


@pytest.mark.parametrize("path", ["data/in", "data/out/file", "data/out/more"])
def test_a_changed_or_further_file_makes_a_stage_run_again(work: Workspace, path: str) -> None:
    record(work)
    written(work, path, "other")
    assert not fits(work)


@pytest.mark.parametrize(
    "path", ["data/in", "data/out/file", "reports/mini/records/train/row.json"]
)
def test_a_missing_file_makes_a_stage_run_again(work: Workspace, path: str) -> None:
    record(work)
    (work.root / path).unlink()
    assert not fits(work)
