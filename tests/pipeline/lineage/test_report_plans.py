from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.lineage.report_plans import figures_plan
from pipeline.schema.profiles import load_profile
from tests.checkout import ROOT
from tests.pipeline.samples import dataset
from tests.stages.conftest import predict_plan

CURVES = {"kind": "curves", "title": "Training", "rows": {"tsn": "TSN", "gone": "Gone"}}
MINI = load_profile(ROOT / "manifests", "mini")
PLANS = {
    ("predict", "tsn"): predict_plan("tsn"),
    ("predict", "other"): predict_plan("other", data={"name": "ssv2"}),
}
DATASETS = {name: dataset(name) for name in ("ssv1", "ssv2")}


def write(folder: Path) -> Path:
    other = {**CURVES, "experiments": "experiments_local.yaml"}
    text = yaml.safe_dump({"figures": {"one": CURVES, "two": other}})
    (folder / "figures.yaml").write_text(text, "utf-8")
    return folder


def test_named_rows_and_all_data_sets_are_planned(tmp_path: Path) -> None:
    found = figures_plan(write(tmp_path), MINI, PLANS, DATASETS, {})
    assert found.rows == {"tsn": PLANS["predict", "tsn"]}
    assert {name: about.split for name, about in found.datasets.items()} == dict.fromkeys(
        DATASETS, "validation"
    )
    assert found.datasets["ssv1"].miniature is None


def test_figures_of_other_experiments_are_left_out(tmp_path: Path) -> None:
    local = MINI.model_copy(update={"experiments_file": "experiments_local.yaml"})
    for profile, key in ((MINI, "one"), (local, "two")):
        assert list(figures_plan(write(tmp_path), profile, PLANS, DATASETS, {}).figures) == [key]
