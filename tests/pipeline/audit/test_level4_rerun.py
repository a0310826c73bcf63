"""A row trained again on another kind of machine is judged by trainings that differ in seeds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.audit.context import Context
from pipeline.audit.level4_rerun import _within
from pipeline.audit.links import Status
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Run
from pipeline.scores.reference import Result, reference_path, write_results

PATH = "reports/mini/metrics/row.json"


def metrics(value: float) -> dict[str, Any]:
    scored = {"top1_pct": value, "top1_ci95_pct": [value - 2, value + 2], "n_scored": 1232}
    return {"identity": "same", "metric": "top1", "protocols": {"center_1x1": scored}}


def result(seed: int, value: float, identity: str = "same") -> Result:
    about = ("row", "center_1x1", "top1_pct", seed, "a processor", "2.14", identity)
    return Result(*about, videos=1232, predictions=f"{seed}", value_pct=value)


@pytest.mark.parametrize(
    ("known", "again", "status"),
    [
        ([result(n, 90.0 + n) for n in range(5)], 93.0, Status.OK),
        ([result(n, 90.0 + n) for n in range(5)], 95.5, Status.OK),
        ([result(n, 90.0 + n) for n in range(5)], 70.0, Status.RERUN_MISMATCH),
        ([result(n, 90.0 + n) for n in range(2)], 92.0, Status.UNAVAILABLE),
        ([result(n, 90.0 + n, "other") for n in range(5)], 92.0, Status.UNAVAILABLE),
        ([], 92.0, Status.UNAVAILABLE),
    ],
)
def test_accuracies_are_judged_by_the_reference_not_by_videos(
    tmp_path: Path, known: list[Result], again: float, status: Status
) -> None:
    here, clone = Workspace(tmp_path / "here"), Workspace(tmp_path / "clone")
    write_json(here.root / PATH, metrics(92.0))
    write_json(clone.root / PATH, metrics(again))
    if known:
        write_results(reference_path(here.root, here.profile), known)
    context = SimpleNamespace(work=here, place=lambda path: here.root / path)
    run = cast(Run, SimpleNamespace(name="score/row", path=PATH))
    link = _within(cast(Context, context), clone, run, PATH)
    assert link.status is status
    assert status is Status.OK or f"92.0, again {again}" in link.detail
    assert (link.do == "") == (status is Status.OK)
