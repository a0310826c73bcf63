"""A chain in a worker: what runs, what is left as it is, and that nothing before it changes it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from pipeline.core.files import read_json, write_json
from pipeline.core.ray_pool import Pool, Queue
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import PredictPlan
from stages.driver.chains import Chain
from stages.driver.progress import ProgressLine
from stages.driver.run_chain import Done, Task, run_chain
from stages.driver.run_chains import _Run
from tests.checkout import ROOT
from tests.stages.conftest import predict_plan, train_plan

STAGES = (("train", "row"), ("predict", "row"))
FRESH = """
import sys
from pathlib import Path
from stages.driver.run_chain import Task, run_chain
root = Path(sys.argv[1])
stages = (("train", "row"), ("predict", "row"))
print(run_chain(Task(root, "mini", stages, root / "note", 0)).failure)
"""


@pytest.fixture
def task(work: Workspace) -> Task:
    shutil.copytree(ROOT / "manifests" / "profiles", work.manifests / "profiles")
    # As many threads as the process has, so that what it has shows.
    write_plan(work, "train", train_plan(epochs=2, compute={"threads": 0}))
    predict = predict_plan().model_dump(mode="json")
    predict["compute"]["threads"] = 0
    write_plan(work, "predict", PredictPlan.model_validate(predict))
    return Task(work.root, work.profile, STAGES, work.root / "note", 0)


def write_plan(work: Workspace, stage: str, plan: BaseModel) -> None:
    params = plan.model_dump(mode="json")
    write_json(work.plan(stage, "row"), {"params": params, "code": {"digest": "d"}})


def outputs(root: Path) -> dict[str, str]:
    """Digests of what the stages made, by their records."""
    found = {}
    for stage, key in STAGES:
        for made in read_json(Workspace(root).record(stage, key))["outputs"]:
            found[made["path"]] = made["sha256"]
    assert len(found) == 2
    return found


def test_a_chain_runs_once_and_is_then_left_as_it_is(task: Task) -> None:
    first = run_chain(task)
    assert (first.failure, first.ran, first.finished) == ("", STAGES, STAGES)
    again = run_chain(task)
    assert (again.failure, again.ran, again.finished) == ("", (), STAGES)
    assert not task.note.exists()


def test_only_what_an_edit_reaches_runs_again(task: Task, work: Workspace) -> None:
    run_chain(task)
    plan = read_json(work.plan("predict", "row"))
    plan["params"]["compute"]["eval_batch"] = 3
    write_json(work.plan("predict", "row"), plan)
    assert run_chain(task).ran == (("predict", "row"),)


def test_a_stage_begins_without_what_an_earlier_run_left(task: Task, work: Workspace) -> None:
    run_chain(task)
    stray = work.run("row") / "predict" / "stray.parquet"
    stray.touch()
    assert run_chain(task).ran == (("predict", "row"),)
    assert not stray.exists()


def test_a_failed_stage_ends_its_chain_and_says_why(task: Task, work: Workspace) -> None:
    plan = read_json(work.plan("train", "row"))
    plan["params"]["recipe"]["lr"] = 1e30
    write_json(work.plan("train", "row"), plan)
    done = run_chain(task)
    assert (done.finished, done.ran) == ((), ())
    assert "not finite" in done.failure or "DataError" in done.failure
    assert "Traceback" not in done.failure
    assert not (work.run("row") / "predict").exists()


def test_what_a_stage_remarks_is_handed_over_once_and_warnings_of_libraries_are_not(
    task: Task, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def execute(work: Workspace, stage: str, key: str, **_: object) -> None:
        print(f"{key}: 4 clips are fewer than the batch of {stage}", file=sys.stderr)
        print("/lib/torch/x.py:7: UserWarning: slow\n  warnings.warn(text)", file=sys.stderr)
        print("row: said of both")

    monkeypatch.setattr("stages.driver.run_chain.execute", execute)
    assert run_chain(task).remarks == (
        "row: 4 clips are fewer than the batch of train",
        "row: said of both",
        "row: 4 clips are fewer than the batch of predict",
    )


def test_a_driver_shows_remarks_below_their_chain(
    work: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Done(STAGES, STAGES, 1.0, remarks=("row: a remark",))
    chain = Chain(title="row row", group="rows", stages=STAGES)
    line = ProgressLine(work.root / "progress")
    run = _Run(work, {"row": chain}, Pool(0), Queue(run_chain, str, None, 0), line, False)
    run._finish("row", done)
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "1 of 1: row row ok in 1 s, about 0 s left",
        "  row: a remark",
    ]


def test_an_unexpected_error_comes_back_as_its_traceback(task: Task, work: Workspace) -> None:
    work.plan("train", "row").write_text("[]")
    done = run_chain(task)
    assert isinstance(done, Done)
    assert "Traceback" in done.failure


def test_what_ran_before_in_a_process_changes_no_number(task: Task, work: Workspace) -> None:
    """The same row first in this process, again after another has changed all it can change, and
    in a process of its own."""
    assert run_chain(task).failure == ""
    first = outputs(work.root)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)
    torch.manual_seed(99)
    torch.use_deterministic_algorithms(False)
    torch.backends.mkldnn.enabled = False
    torch.set_float32_matmul_precision("medium")
    for stage, key in STAGES:
        work.record(stage, key).unlink()
    again = run_chain(task)
    assert (again.failure, again.ran) == ("", STAGES)
    assert outputs(work.root) == first
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    for stage, key in STAGES:
        work.record(stage, key).unlink()
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(work.root)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "", done.stdout
    assert outputs(work.root) == first
