"""From a folder of clips to a trained, audited table: manifests in `my/`, then every stage."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from pipeline.audit.level0_records import OWN_MANIFESTS
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from stages import profile_graph
from stages.cli import user_links
from stages.commands import audit_results, new_dataset
from stages.driver import dvc_record, repro
from stages.graph import STAGES, execute
from tests.checkout import ROOT, Checkout, copy_to
from tests.e2e.test_published_checkpoint import released, run
from tests.pipeline import samples

pytestmark = pytest.mark.slow

NAMES = ["tsn", "tsm", "tdn", "from_weights"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A committed checkout and twenty clips of two classes beside it, trained for one epoch; one
    row starts from a published file of seven classes."""
    folder = tmp_path_factory.mktemp("own")
    made = copy_to(folder / "checkout")
    (made.root / ".dvc/.gitignore").write_bytes((ROOT / ".dvc/.gitignore").read_bytes())
    made.rewrite(
        "manifests/profiles/local.yaml",
        lambda value: value["backbones"]["resnet50"].update(width=4),
    )
    file = folder / "tdn_seven.pth.tar"
    released(file, "tdn", width=4, num_classes=7)
    made.git("init", "-q")
    made.git("add", "-A")
    made.git("commit", "-qm", "start")
    for number in range(20):
        label = ("wave hand", "clap")[number % 2]
        clip = folder / "gestures" / label / f"{number}.mp4"
        samples.write_clip(clip, 12 + number // 4, tone=number % 4)
    work = Workspace(made.root, "my")
    new_dataset.run(work, folder / "gestures", None, full=False, checkpoint=file)

    def smaller(value: dict[str, Any]) -> None:
        value.update(sizes_px={224: 48, 256: 54})
        value["schedules"]["fine_tuning"]["epochs"] = 1

    made.rewrite("my/profiles/my.yaml", smaller)
    user_links.arrange(made.root)
    graph = profile_graph.use(work)
    first = ("check", "decode", "pretrain")
    run(work, *first)
    execute(work, "train", "tdn_weights_gestures", in_graph=True)  # before what starts from it
    run(work, *(stage for stage in STAGES if stage not in ("mini", "flow", *first)))
    dvc_record.record(made.root, graph, dvc_record.changed(made.root, graph))
    return made


@pytest.fixture
def work(checkout: Checkout) -> Workspace:
    return Workspace(checkout.root, "my")


def test_the_table_has_a_measured_number_for_each_network(work: Workspace) -> None:
    lines = (work.reports / "tables/my/gestures.csv").read_text("utf-8").splitlines()
    table = list(csv.DictReader(lines))
    assert {row["row"] for row in table} == set(NAMES)
    assert all(0 <= float(row["top1_measured"]) <= 100 for row in table)
    cells = read_json(work.reports / "tables/cells.json")["cells"]
    assert [cells[f"my/gestures/{name}/top1"]["n_scored"] for name in NAMES] == [4] * 4
    outcome = read_json(work.run("tdn_weights_gestures") / "train/outcome.json")
    assert outcome["imported"]["file"] == "data/weights/tdn_seven.pth.tar"


def test_the_driver_finds_nothing_to_do_and_the_audit_holds(
    work: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    repro.run(work, repro.choice(work, 1, [], False, None, lambda question: False))
    said = capsys.readouterr().err
    assert "my: up to date" in said
    assert "4 of 4 numbers trace back" in said and "dirty-code" not in said


def test_the_audit_names_the_users_own_files_and_raises_no_alarm(work: Workspace) -> None:
    result = audit_results.run(work, level=1)
    assert not result.broken
    (own,) = (link for link in result.links if link.source == OWN_MANIFESTS)
    assert own.detail.startswith("your own manifests, in no commit: ")
    for name in ("datasets/gestures.yaml", "profiles/my.yaml", "experiments_my.yaml", "claims.csv"):
        assert f"my/{name}" in own.detail


def test_git_sees_nothing_of_it(checkout: Checkout) -> None:
    assert checkout.git("status", "--porcelain", "--untracked-files=all") == ""


def test_an_edit_of_ones_own_rows_is_news_to_the_audit(work: Workspace, checkout: Checkout) -> None:
    """Last: what was trained is then another row's."""
    checkout.edit("my/experiments_my.yaml", "segments: 8", "segments: 4")
    broken = audit_results.run(work, level=0).broken
    assert {"stale-input"} == {str(link.status) for link in broken}
