"""Rows on a Ray cluster: two nodes as processes of this machine, one of which dies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.files import read_json, write_json
from pipeline.core.workspace import Workspace
from stages.driver.run_chain import Task, run_chain
from tests.checkout import ROOT
from tests.stages.conftest import predict_plan, train_plan

ROWS = ("a", "b", "c")
# Its own process: Ray takes its settings from the environment when it is first imported.
DRIVER = """
import os, shutil, sys, tempfile, threading, time
from pathlib import Path

root = Path(sys.argv[1])
short = tempfile.mkdtemp(prefix="tdn-", dir="/tmp")
os.mkdir(short + "/ray")  # the cluster's address is written there, whether or not it exists
os.environ |= {
    "RAY_TMPDIR": short,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on 127.0.0.1 alone
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "2",
}
from ray.cluster_utils import Cluster

from pipeline.core.workspace import Workspace
from stages.driver.chains import Chain
from stages.driver.run_chains import run_chains

size = {"object_store_memory": 100 << 20}
cluster = Cluster(
    initialize_head=True,
    head_node_args={
        "num_cpus": 0, "include_dashboard": False, "temp_dir": short + "/ray", **size,
    },
)
try:
    nodes = [cluster.add_node(num_cpus=1, **size) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = cluster.address
    todo = {
        row: Chain(f"row {row}", "rows", (("train", row), ("predict", row))) for row in "abc"
    }

    def kill() -> None:
        # When both nodes train: the first epochs of two rows are saved.
        while len(list(root.glob("runs/mini/*/resume/checkpoint.pt"))) < 2:
            time.sleep(0.02)
        cluster.remove_node(nodes[1], allow_graceful=False)
        print("killed", flush=True)

    threading.Thread(target=kill, daemon=True).start()
    result = run_chains(Workspace(root), todo, 2, accelerated=False, record=lambda _: None)
    print("failed", result.failed, result.left_out, sorted(result.unrecorded))
finally:
    cluster.shutdown()
    shutil.rmtree(short, ignore_errors=True)
"""


def prepare(work: Workspace) -> None:
    """Plans of the rows, the profiles and the runtime settings."""
    shutil.copytree(ROOT / "manifests" / "profiles", work.manifests / "profiles")
    shutil.copy(ROOT / "params.yaml", work.root)
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
    assert "killed" in ran.stdout, "both nodes trained"
    stages = sorted((stage, row) for row in ROWS for stage in ("train", "predict"))
    assert f"failed [] [] {stages}" in ran.stdout, ran.stdout + ran.stderr[-2000:]
    for row in ROWS:
        stages_of_row = (("train", row), ("predict", row))
        done = run_chain(Task(alone.root, "mini", stages_of_row, alone.root / "note", 0))
        assert done.failure == ""
    assert records(work) == records(alone), "as one process makes them"
