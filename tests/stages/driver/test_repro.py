"""What the driver has DVC record."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from stages.driver import repro
from stages.driver.run_chains import Result

RAN = {"params": {"seed": 0}, "code": {"digest": "d"}}


@pytest.mark.parametrize("other", [{"params": {"seed": 1}}, {"code": {"digest": "e"}}, None])
def test_a_stage_whose_plan_changed_during_the_run_is_not_recorded_as_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, object] | None
) -> None:
    work = Workspace(tmp_path)
    stages = {("train", "kept"), ("train", "edited")}
    for stage in stages:
        write_json(work.record(*stage), {"identity": RAN})
        write_json(work.plan(*stage), RAN)
    recorded: list[set[str]] = []

    def run_chains(*_: object, **__: object) -> Result:
        # What `tdn plan` in another terminal does after an edit.
        if other is None:
            work.plan("train", "edited").unlink()
        else:
            write_json(work.plan("train", "edited"), RAN | other)
        return Result(unrecorded=set(stages))

    monkeypatch.setattr(repro, "run_chains", run_chains)
    monkeypatch.setattr(repro.dvc_record, "record", lambda _, __, names: recorded.append(names))
    monkeypatch.setattr(repro.dvc_record, "changed", lambda *_: set())
    choice = repro.Choice(jobs=1, accelerated=False, targets=[], dry_run=False)
    repro._run(work, "dvc.yaml", {}, choice)
    assert recorded == [{"train@kept"}]
