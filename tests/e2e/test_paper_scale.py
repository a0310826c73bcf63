"""The papers' network at full width, from Something-Something V2's official layout to a cell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from stages import plan, profile_graph
from stages.commands import audit_results
from tests.checkout import Checkout, copy_to
from tests.e2e.test_graph import keep, one_network_and_figure
from tests.e2e.test_published_checkpoint import everything, failures, run
from tests.pipeline import samples

pytestmark = pytest.mark.slow

ROW = "tdn_r50_8f_ssv2"
CELL = "tdn-iclr2021/2/tdn_8f/v2_top1"
TEMPLATES = ["Holding [something]", "Moving [something] up"]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Two training and two validation videos as a declared subset, two epochs of one step; random
    weights where those of ImageNet are wanted."""
    made = copy_to(tmp_path)
    one_network_and_figure(made)

    def profile(value: dict[str, Any]) -> None:
        value.update(rows=[ROW], datasets=["ssv2"], flow=[])
        value.update(subsets={"ssv2": {"reason": "four clips for a test"}})
        value["loader"] = {"workers": 0, "cache_mb": 0, "checkpoint_minutes": 0}
        value["compute"].update(device="cpu", micro_batch=1, eval_batch=1)
        assert keep(value, "backbones", "resnet50") == {"width": 64, "blocks": [3, 4, 6, 3]}

    made.rewrite("manifests/profiles/paper.yaml", profile)
    made.rewrite(
        "manifests/recipes.yaml",
        lambda value: value["recipes"]["tdn_sthsth_8f_paper"].update(epochs=2, batch=2),
    )
    made.rewrite(
        "manifests/datasets/ssv2.yaml", lambda value: value.update(num_classes=2, flip_pairs=[])
    )
    work = Workspace(made.root, "paper")
    splits = ("train", "train", "validation", "validation")
    videos = {str(n): (split, TEMPLATES[n % 2], 10 + n) for n, split in enumerate(splits)}
    samples.something_v2(work.raw("ssv2", generated=False), videos, long_names=True)
    torch.manual_seed(0)
    weights = made.root / "data/weights/resnet50.pth"
    weights.parent.mkdir(parents=True)
    torch.save(torchvision.models.resnet50().state_dict(), weights)
    made.git("init", "-q")
    profile_graph.use(work)
    return made


def killed_after_a_step(checkout: Checkout, work: Workspace) -> None:
    """Train in a process of its own and kill it when its first checkpoint is there."""
    command = [sys.executable, "-m", "stages", "train", ROW, "--profile", "paper"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TDN_", "COV_"))}
    environment["PYTHONPATH"] = str(checkout.root)
    process = subprocess.Popen(command, cwd=checkout.root, env=environment)
    try:
        while not list((work.run(ROW) / "resume").glob("*-*.pt")):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_row_goes_from_official_videos_to_an_audited_cell_killed_once(checkout: Checkout) -> None:
    work = Workspace(checkout.root, "paper")
    run(work, "check", "decode", "pretrain")
    killed_after_a_step(checkout, work)
    plan.run(work)
    everything(work, checkout)
    log = (work.run(ROW) / "log.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in log][-1] == 2
    history = read_json(work.run(ROW) / "train/history.json")
    assert [epoch["epoch"] for epoch in history] == [0, 1]
    cell = read_json(work.reports / "tables/cells.json")["cells"][CELL]
    assert cell["status"] == "partial" and cell["claimed"] == "63.1"
    assert "2 of 24,777 videos scored; a declared subset: four clips for a test" in cell["reason"]
    cost = read_json(work.reports / "costs.json")[ROW]
    assert cost["gmacs"] == pytest.approx(35.6, abs=0.1), "the papers' network"
    result = audit_results.run(work, level=3)
    assert not failures(result), failures(result)[:5]
