"""From an authors' file to an audited cell, without training: rows with `train: none`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import DataError, UsageError
from pipeline.core.files import read_json, sha256_file
from pipeline.core.workspace import Workspace
from stages import graph as harness
from stages import plan, profile_graph
from stages.commands import audit_results
from tdn_model.build import build_from
from tdn_model.published import export_official
from tests.checkout import Checkout, copy_to
from tests.e2e.test_graph import keep, one_network_and_figure
from tests.pipeline import samples

pytestmark = pytest.mark.slow

TDN, TANET = "tdn_r50_8f_ssv1_checkpoint", "tanet_r50_8f_ssv1_checkpoint"
LABELS = [f"{word} something" for word in ("Turning", "Holding", "Dropping", "Moving", "Closing")]
"""In the order of the official file, which is not sorted."""
SIZE = {"backbone": "resnet50", "width": 16, "blocks": [1, 1, 1, 1], "num_classes": len(LABELS)}
CELL = "checkpoints/tdn/r50_8f_ssv1/top1"


def released(path: Path, architecture: str, **changes: Any) -> None:
    """A file as authors release it: their names behind `module.`, accuracy as numpy's number."""
    torch.manual_seed(len(architecture))
    model = build_from(architecture, {"num_segments": 8, "dropout": 0.5, **SIZE, **changes})
    state = {f"module.{name}": value for name, value in export_official(model).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 60, "state_dict": state, "best_prec1": np.float64(52.3)}, path)


def run(work: Workspace, *stages: str) -> None:
    """Plan, then the stages of every key, as the driver runs them."""
    plan.run(work)
    for stage in stages:
        for path in sorted((work.data / "plan").glob(f"{stage}.*.json")):
            harness.execute(work, stage, path.name.split(".")[1], in_graph=True, workers=0)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Something-Something V1 in its official layout with ten validation videos, decoded."""
    made = copy_to(tmp_path_factory.mktemp("published"))
    one_network_and_figure(made)

    def profile(value: dict[str, Any]) -> None:
        value.update(rows=[TDN, TANET], datasets=["ssv1"], flow=[], sizes_px={224: 48, 256: 54})
        keep(value, "backbones", "resnet50").update(width=16, blocks=[1, 1, 1, 1])
        value.update(seeds=3)
        value["loader"].update(workers=0)

    made.rewrite("manifests/profiles/paper.yaml", profile)
    expected = {"train": 1, "validation": 10}
    made.rewrite(
        "manifests/datasets/ssv1.yaml",
        lambda value: value.update(num_classes=len(LABELS), expected=expected, flip_pairs=[]),
    )
    work = Workspace(made.root, "paper")
    videos = {str(n): ("validation" if n else "train", LABELS[n % 5], 12 + n) for n in range(11)}
    samples.something_v1(work.raw("ssv1", generated=False), videos, LABELS)
    made.git("init", "-q")
    profile_graph.use(work)
    run(work, "check", "decode", "pretrain", "cost")
    return made


@pytest.fixture
def work(checkout: Checkout) -> Workspace:
    return Workspace(checkout.root, "paper")


def test_without_the_file_a_row_is_not_run_and_says_what_to_put_where(work: Workspace) -> None:
    run(work, "train", "predict", "score", "tables")
    cell = read_json(work.reports / "tables/cells.json")["cells"][CELL]
    assert cell["status"] == "not-run"
    assert "put this file there: data/weights/tdn_r50_8f_ssv1.pth.tar" in cell["reason"]
    assert "https://github.com/MCG-NJU/TDN" in cell["reason"]


def test_a_file_becomes_an_audited_cell_without_training(
    work: Workspace, checkout: Checkout
) -> None:
    before = work.plan("train", TDN).read_bytes()
    file = work.root / "data/weights/tdn_r50_8f_ssv1.pth.tar"
    released(file, "tdn")
    released(work.root / "data/weights/tanet_r50_8f_ssv1.pth.tar", "tanet")
    plan.run(work)
    assert work.plan("train", TDN).read_bytes() != before, "a new file is noticed"
    everything(work, checkout)
    cells = read_json(work.reports / "tables/cells.json")["cells"]
    assert cells[CELL]["status"] in ("differs", "verified"), cells[CELL]
    assert "another order than the data set" in cells[CELL]["reason"], "random weights score so"
    assert cells[CELL]["n_scored"] == 10 and cells[CELL]["claimed"] == "52.3"
    outcome = read_json(work.run(TDN) / "train/outcome.json")
    assert outcome["imported"] == {
        "file": "data/weights/tdn_r50_8f_ssv1.pth.tar",
        "sha256": sha256_file(file),
        "adapter": "tdn",
        "class_names": None,
        "class_order": None,
    }
    record = read_json(work.record("train", TDN))["identity"]["inputs"]
    assert sha256_file(file) in {item["sha256"] for item in record if item["role"] == "checkpoint"}
    other = read_json(work.run(TANET) / "train/outcome.json")["imported"]
    assert other["class_order"] == [LABELS.index(name) for name in sorted(LABELS)]
    page = (work.reports / "index.html").read_text("utf-8")
    assert "Checkpoints published by their authors" in page
    result = audit_results.run(work, level=3)
    assert not failures(result), failures(result)[:5]
    assert result.cells[CELL] == "ok"


def test_a_change_of_the_file_is_noticed_and_its_removal_is_no_forgery(work: Workspace) -> None:
    file = work.root / "data/weights/tdn_r50_8f_ssv1.pth.tar"
    kept = file.read_bytes()
    planned = work.plan("train", TDN).read_bytes()
    try:
        file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        plan.run(work)
        assert work.plan("train", TDN).read_bytes() != planned, "of equal size"
        file.unlink()
        assert not failures(audit_results.run(work, level=0))
    finally:
        file.write_bytes(kept)
        plan.run(work)


@pytest.mark.parametrize(
    ("architecture", "changes", "words"),
    [
        ("tanet", {"num_segments": 16}, "16 segments, and the row of 8"),
        ("tanet", {"num_classes": 7}, "7 classes, and ssv1 has 5"),
        ("tanet", {"blocks": [1, 1, 2, 1]}, "blocks"),
        ("tdn", {}, "not a checkpoint of tanet"),
    ],
)
def test_the_file_of_another_row_is_refused_in_words(
    work: Workspace, architecture: str, changes: dict[str, Any], words: str
) -> None:
    file = work.root / "data/weights/tanet_r50_8f_ssv1.pth.tar"
    kept = file.read_bytes()
    try:
        released(file, architecture, **changes)
        plan.run(work)
        with pytest.raises(UsageError, match="manifests") as caught:
            harness.execute(work, "train", TANET, in_graph=True)
        assert words in caught.value.what and caught.value.where.endswith(file.name)
    finally:
        file.write_bytes(kept)
        plan.run(work)


def test_class_names_of_another_data_set_are_refused(work: Workspace) -> None:
    names = work.raw("ssv1", generated=False) / "something-something-v1-labels.csv"
    kept = names.read_bytes()
    try:
        names.write_text("Juggling\n", "utf-8")
        plan.run(work)
        with pytest.raises(UsageError, match="1 class names, the data set has 5"):
            harness.execute(work, "train", TANET, in_graph=True)
    finally:
        names.write_bytes(kept)
        plan.run(work)


def test_a_declared_subset_fails_nothing_and_its_cells_are_partial(
    work: Workspace, checkout: Checkout
) -> None:
    """Last: it takes videos away."""
    folder = work.raw("ssv1", generated=False) / "20bn-something-something-v1"
    for video in ("3", "4"):
        shutil.rmtree(folder / video)
    expected = {"train": 86017, "validation": 11522}
    checkout.rewrite("manifests/datasets/ssv1.yaml", lambda value: value.update(expected=expected))
    plan.run(work)
    with pytest.raises(DataError, match="2 of 11 videos cannot be used"):
        harness.execute(work, "check", "ssv1", in_graph=True)
    declare(checkout, reason="a laptop's disk")
    everything(work, checkout)
    assert read_json(work.sources("ssv1"))["counts"]["skipped"] == 2
    assert about_cell(work)[0] == "partial"
    assert "8 of 11,522 videos scored; a declared subset: a laptop's disk" in about_cell(work)[1]
    assert "<b>A declared subset:</b> a laptop" in (work.reports / "index.html").read_text("utf-8")
    assert not failures(audit_results.run(work))

    (work.root / "my").mkdir()
    (work.root / "my/videos.txt").write_text("0\n1\n2\n\n", "utf-8")
    declare(checkout, reason="three for a test", videos="my/videos.txt")
    run(work, "check")
    assert read_json(work.sources("ssv1"))["counts"] == {"ok": 3, "skipped": 8}
    (work.root / "my/videos.txt").write_text("0\nnowhere\n", "utf-8")
    plan.run(work)
    with pytest.raises(DataError, match="in no list, nowhere for example"):
        harness.execute(work, "check", "ssv1", in_graph=True)


def declare(checkout: Checkout, **subset: str) -> None:
    checkout.rewrite(
        "manifests/profiles/paper.yaml", lambda value: value.update(subsets={"ssv1": subset})
    )


def everything(work: Workspace, checkout: Checkout) -> None:
    run(work, *(stage for stage in harness.STAGES if stage not in ("mini", "flow")))
    place = "manifests/profiles/paper/dvc.yaml"
    locked = checkout.run("commit", "--force", "--quiet", place, module="dvc")
    assert locked.returncode == 0, locked.stderr


def about_cell(work: Workspace) -> tuple[str, str]:
    cell = read_json(work.reports / "tables/cells.json")["cells"][CELL]
    return cell["status"], cell["reason"]


def failures(result: audit_results.Result) -> list[Any]:
    return [link for link in result.broken if link.status not in audit_results.REMARKS]
