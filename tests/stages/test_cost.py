"""The cost stage counts rows and, beside them, every network whose cost a table prints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import CostPlan
from stages import cost, network_cost

TSN: dict[str, Any] = {
    "title": "TSN",
    "architecture": "tsn",
    "backbone": "resnet50",
    "segments": 2,
    "side_px": 64,
    "classes": 5,
    "options": {},
    "claims": ["doc/1/tsn/flops"],
    "clips": 3,
    "views": None,
    "note": "three clips",
}
ROW = {
    "architecture": "tsn",
    "backbone": "resnet50",
    "segments": 2,
    "num_classes": 5,
    "side_px": 64,
    "options": {},
}


def test_a_listed_network_counts_the_clips_that_its_print_counts(tmp_path: Path) -> None:
    both = {"title": "pair", "members": ["one", "three"], "claims": ["doc/1/pair/flops"]}
    params = {
        "rows": {"row": ROW},
        "networks": {"one": {**TSN, "clips": 1, "claims": [], "note": ""}, "three": TSN},
        "ensembles": {"pair": {**both, "views": None, "note": ""}},
    }
    work = Workspace(tmp_path)
    cost.run(work, "all", CostPlan.model_validate(params))
    found = json.loads((work.reports / "costs.json").read_text())
    one, three, pair = (found[key] for key in ("one", "three", "pair"))
    assert abs(three["gmacs"] - 3 * one["gmacs"]) < 0.002
    assert abs(pair["gmacs"] - 4 * one["gmacs"]) < 0.003
    assert pair["params"] == 2 * one["params"] == 2 * found["row"]["params"]
    assert found["row"]["gmacs"] == one["gmacs"]
    assert three["claims"] == TSN["claims"] and three["note"] == "three clips"
    assert three["input"] == "3 × 2 × 64²"


def test_a_plan_without_listed_networks_counts_rows_alone(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    cost.run(work, "all", CostPlan.model_validate({"rows": {"row": ROW}}))
    assert list(json.loads((work.reports / "costs.json").read_text())) == ["row"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The architectures that are counted and not taken from the file of earlier counts."""
    names: list[str] = []

    def count(architecture: str, *rest: Any) -> Any:
        names.append(architecture)
        return network_cost.clip_cost(architecture, *rest)

    monkeypatch.setattr(cost, "clip_cost", count)
    return names


def test_a_network_counted_before_is_not_counted_again(tmp_path: Path, counted: list[str]) -> None:
    work = Workspace(tmp_path)
    plan = CostPlan.model_validate({"rows": {"row": ROW}, "networks": {"one": TSN}})
    cost.run(work, "all", plan)
    first = (work.reports / "costs.json").read_bytes()
    assert counted == ["tsn"]
    (work.reports / "costs.json").unlink()
    cost.run(work, "all", plan)
    assert counted == ["tsn"]
    assert (work.reports / "costs.json").read_bytes() == first, "as a fresh run writes it"
    (work.root / ".tdn" / "costs.mini.json").write_text("{")
    cost.run(work, "all", plan)
    assert counted == ["tsn", "tsn"], "a damaged file is counted anew"


def test_an_edit_of_one_network_recounts_that_network_alone(
    tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    for package in ("pipeline", "stages", "tdn_model"):
        shutil.copytree(cost.SOURCE / package, source / package)
    monkeypatch.setattr(cost, "SOURCE", source)
    work = Workspace(tmp_path)
    rows = {name: {**ROW, "architecture": name} for name in ("tsn", "stm", "tea")}
    rows["tea"]["backbone"] = "res2net50"
    plan = CostPlan.model_validate({"rows": rows})
    cost.run(work, "all", plan)
    assert sorted(counted) == ["stm", "tea", "tsn"]
    counted.clear()
    module = source / "tdn_model" / "models" / "stm.py"
    text = module.read_text("utf-8")
    module.write_text(text.replace("\ndef stm(", "\nEXTRA = 1\n\n\ndef stm("), "utf-8")
    cost.run(work, "all", plan)
    assert counted == [], "nothing runs that line"
    changed = text.replace("    return network\n", "    network.train()\n    return network\n")
    module.write_text(changed, "utf-8")
    cost.run(work, "all", plan)
    assert counted == ["stm"]
