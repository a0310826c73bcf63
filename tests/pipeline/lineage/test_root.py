"""A published root stands for the run records and files as they were."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.lineage.records import observe, write_record
from pipeline.lineage.root import compute, root_holds, root_path


def record(work: Workspace, code: str) -> None:
    made = work.metrics("row")
    write_json(made, {"top1_pct": 50.0})
    write_record(
        work,
        "score",
        "row",
        plan={"params": {}, "code": {"digest": 64 * code}},
        inputs=[],
        outputs={"metrics": made},
        observed=observe(work, datetime.now(UTC), ["tdn"]),
    )


def publish(work: Workspace) -> None:
    reads = [work.relative(work.metrics("row"))]
    write_json(root_path(work), compute(Evidence(work), reads))


def test_a_root_holds_until_a_record_behind_it_changes(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    record(work, "a")
    publish(work)
    assert root_holds(work)
    record(work, "b")  # the same result, made by other code
    assert not root_holds(work)
    publish(work)
    assert root_holds(work)


def test_a_missing_or_damaged_root_does_not_hold(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    assert not root_holds(work)
    root_path(work).parent.mkdir(parents=True)
    root_path(work).write_text("{", encoding="utf-8")
    assert not root_holds(work)
