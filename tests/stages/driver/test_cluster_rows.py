"""Rows on a Ray cluster: two nodes as processes of this machine, one of which dies."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.files import read_json, write_json
from pipeline.core.machine import cores
from pipeline.core.workspace import Workspace
from stages.driver.run_chain import Task, run_chain
from tests.checkout import ROOT
from tests.stages.conftest import predict_plan, train_plan

ROWS = ("a", "b", "c")
DRIVER = """
import os, sys
from pathlib import Path
from tests.ray_nodes import ray_nodes

root = Path(sys.argv[1])
with ray_nodes("first", "second", head_cpus=0) as kill_last:
    from pipeline.core.ray_pool import Pool
    from pipeline.core.workspace import Workspace
    from stages.driver.chains import Chain
    from stages.driver.run_chains import run_chains

    os.environ.pop("OMP_NUM_THREADS", None)
    with Pool() as pool:
        print("threads", dict(pool.run(os.getenv, ["OMP_NUM_THREADS"])), flush=True)
    todo = {row: Chain(f"row {row}", "rows", (("train", row), ("predict", row))) for row in "abc"}
    # When both nodes train: the first steps of two rows are saved.
    kill_last(lambda: len({path.parent for path in root.glob("runs/mini/*/resume/*.pt")}) == 2)
    result = run_chains(Workspace(root), todo, 2, accelerated=False, record=lambda _: None)
    print("failed", result.failed, result.left_out, sorted(result.unrecorded))
"""


def prepare(work: Workspace) -> None:
    """Plans of the rows, the profiles and the runtime settings."""
    shutil.copytree(ROOT / "manifests" / "profiles", work.manifests / "profiles")
    shutil.copy(ROOT / "params.yaml", work.root)
    profile = work.manifests / "profiles" / "mini.yaml"
    text = re.sub(
        r"(?m)^loader: .*$", "loader: {checkpoint_minutes: 0}", profile.read_text("utf-8")
    )
    profile.write_text(text, "utf-8")
    for number, row in enumerate(ROWS):
        plans = {"train": train_plan(row, epochs=40, seed=number), "predict": predict_plan(row)}
        for stage, plan in plans.items():
            params = plan.model_dump(mode="json")
            write_json(work.plan(stage, row), {"params": params, "code": {"digest": "d"}})


def records(work: Workspace) -> dict[str, str]:
    names = [(stage, row) for row in ROWS for stage in ("train", "predict")]
    return {"/".join(n): read_json(work.record(*n))["record_sha256"] for n in names}


@pytest.mark.slow
def test_a_node_that_dies_changes_no_row(work: Workspace, tmp_path: Path) -> None:
    prepare(work)
    alone = Workspace(tmp_path / "alone")
    for part in ("data", "manifests", "runs"):
        shutil.copytree(work.root / part, alone.root / part)
    ran = subprocess.run(
        [sys.executable, "-c", DRIVER, str(work.root)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    own = f"threads {{0: '{cores()}'}}"
    assert own in ran.stdout, "as many as a process of that machine has, not one"
    assert "killed" in ran.stdout, "both nodes trained"
    stages = sorted((stage, row) for row in ROWS for stage in ("train", "predict"))
    assert f"failed [] [] {stages}" in ran.stdout, ran.stdout + ran.stderr[-2000:]
    for row in ROWS:
        stages_of_row = (("train", row), ("predict", row))
        done = run_chain(Task(alone.root, "mini", stages_of_row, alone.root / "note", 0))
        assert done.failure == ""
    assert records(work) == records(alone), "as one process makes them"
