from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.dataset import load_dataset
from pipeline.schema.recipes import load_recipes
from stages.commands import list_rows
from tests.checkout import ROOT, Checkout, copy_to

FULL = "tdn_r50_8f_ssv1"


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    checkout: Checkout = copy_to(tmp_path)
    work = Workspace(checkout.root, "paper")
    write_json(work.reports / "costs.json", {FULL: {"gmacs": 36.0}})
    return work


def test_epochs_and_iterations_count_clips() -> None:
    recipes = load_recipes(ROOT / "manifests")
    ssv1 = load_dataset(ROOT / "manifests", "ssv1")
    # 86,017 videos in whole batches of 128, fifty times.
    assert list_rows.training_clips(recipes["tdn_sthsth_8f_paper"], ssv1, "default") == 50 * 86_016
    assert list_rows.training_clips(recipes["tsn_fcvid"], ssv1, "default") == 30_000 * 128


def test_a_row_knows_its_cost_and_what_it_aims_at(work: Workspace) -> None:
    line = next(line for line in list_rows.run(work, 50.0) if line.row == FULL)
    assert line.petamacs == pytest.approx(3 * 36.0 * 50 * 86_016 / 1e6)
    assert line.hours == pytest.approx(line.petamacs * 1e15 * 2 / 50e12 / 3600)
    assert "tdn-iclr2021/1d/tdm/top1" in line.aims


def test_a_member_aims_at_its_combinations_numbers(work: Workspace) -> None:
    lines = {line.row: line for line in list_rows.run(work, None)}
    assert any("/4/tdn/ucf101" in place for place in lines["tdn_r50_16f_ucf101_s2"].aims)
    assert lines["tdn_r50_16f_ucf101_s2"].petamacs is None
    assert lines[FULL].hours is None


def test_a_checkpoint_aims_at_the_numbers_that_it_is_measured_for(work: Workspace) -> None:
    lines = {line.row: line for line in list_rows.run(work, None)}
    aims = lines["tdn_r101_8f_ssv2_checkpoint"].aims
    assert any(place.startswith("sotaverified/benchmark/") for place in aims)


def test_networks_that_are_not_counted_yet_are_counted(tmp_path: Path) -> None:
    work = Workspace(copy_to(tmp_path).root, "local")
    lines = {line.row: line for line in list_rows.run(work, 50.0)}
    assert lines["tdn_r50_8f_weizmann_daria"].petamacs and lines["tdn_r50_8f_weizmann_daria"].hours
    assert not work.reports.exists()


def test_hours_follow_from_a_measured_training_step(work: Workspace) -> None:
    with pytest.raises(UsageError, match="has not been timed"):
        list_rows.measured_tflops(work, "cuda")
    step = {"what": "training step", "ms per video": 20.0}
    report = {
        "settings": {"multiply-adds per video, G": 40.0},
        "rows": [
            {**step, "way": "reference", "ms per video": 30.0},
            {**step, "way": "our network"},
        ],
    }
    write_json(work.root / "reports" / "bench" / "model.cuda.json", report)
    # Three passes of 40 G multiply-adds, two operations each, in 20 ms.
    assert list_rows.measured_tflops(work, "cuda") == pytest.approx(12.0)
