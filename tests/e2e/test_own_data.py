"""Own videos in place of Weizmann in profile `local`, as docs/your-own-videos.md has it by hand."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from pipeline.audit.links import Status
from pipeline.core.workspace import Workspace
from stages import profile_graph
from stages.commands import audit_results
from stages.driver import dvc_record
from stages.graph import STAGES
from tests.checkout import ROOT, Checkout, copy_to
from tests.e2e.test_published_checkpoint import run
from tests.pipeline import samples

pytestmark = pytest.mark.slow


def place_own_data(made: Checkout) -> None:
    """Twelve clips of two classes, their lists and manifest, and one row in place of Weizmann's."""
    raw = made.root / "data/raw/gestures"
    for number in range(12):
        clip = raw / "videos" / f"{'ab'[number % 2]}{number}.mp4"
        samples.write_clip(clip, 12 + number // 4, tone=number % 4)
    names = [f"{'ab'[n % 2]}{n}.mp4 {n % 2}\n" for n in range(12)]
    (raw / "train.txt").write_text("".join(names[:8]), "utf-8")
    (raw / "val.txt").write_text("".join(names[8:]), "utf-8")
    datasets = made.root / "manifests/datasets"
    shutil.copy(datasets / "own_list.yaml", datasets / "gestures.yaml")
    made.rewrite("manifests/datasets/gestures.yaml", lambda value: value.update(name="gestures"))

    def rows(value: dict[str, Any]) -> None:
        row = value["experiments"]["tsn_r50_8f_weizmann"]
        del row["folds"]
        value["experiments"] = {"tsn_r50_8f_gestures": {**row, "dataset": "gestures"}}

    def profile(value: dict[str, Any]) -> None:
        value.update(datasets=["gestures"], sizes_px={224: 48, 256: 54})
        value["backbones"]["resnet50"]["width"] = 4
        for schedule in value["schedules"].values():
            schedule["epochs"] = 1

    made.rewrite("manifests/experiments_local.yaml", rows)
    made.rewrite("manifests/profiles/local.yaml", profile)


def commit(made: Checkout, words: str) -> None:
    made.git("add", "-A")
    made.git("commit", "-qm", words)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A clone with the committed results on Weizmann, then own data through every stage."""
    made = copy_to(tmp_path_factory.mktemp("own") / "checkout")
    places = ("reports/local", "reports/bench")
    tracked = subprocess.run(
        ["git", "ls-files", *places], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in [*tracked.stdout.split(), "manifests/profiles/local/dvc.lock"]:
        (made.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, made.root / name)
    made.git("init", "-q")
    commit(made, "as cloned")
    work = Workspace(made.root, "local")
    place_own_data(made)
    graph = profile_graph.use(work)
    commit(made, "own data")
    run(work, *(stage for stage in STAGES if stage not in ("mini", "flow")))
    dvc_record.record(made.root, graph, dvc_record.changed(made.root, graph))
    return work


def test_the_audit_is_clean_and_names_what_is_left_with_a_command_that_removes_it(
    work: Workspace,
) -> None:
    result = audit_results.run(work, level=1)
    assert [(str(x.status), x.path, x.detail) for x in result.links if x.broken] == []
    hints = [link for link in result.links if link.status is Status.LEFTOVER]
    told = " ".join(link.detail for link in hints)
    for name in (
        "check/weizmann",
        "train/tsn_r50_8f_weizmann_ido",
        "score/tdn_r50_8f_weizmann_ido",
    ):
        assert name in told
    for hint in hints:
        command = hint.do.partition("`")[2].rstrip("`")
        subprocess.run(["sh", "-c", command], cwd=work.root, check=True)
    after = audit_results.run(work, level=0)
    assert {str(link.status) for link in after.links} == {"ok"}
    left = [path for path in (work.reports / "records").rglob("*weizmann*") if path.is_file()]
    assert left == []
    assert not list((work.reports / "trace").rglob("*weizmann*"))
