"""The table of stages and the graph say the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipeline.core.workspace import Workspace
from stages.graph import STAGES
from tests.checkout import ROOT

PLAN = SimpleNamespace(
    generated=True,
    data=SimpleNamespace(name="DATASET", input="frames"),
    start=SimpleNamespace(source="START", images=None),
    rows=["KEY"],
    datasets=["DATASET"],
)
"""What the inputs and outputs of any stage ask of its plan."""
WIDER = {"metrics": "reports/mini/metrics", "decoded": "data/mini/decoded"}


def graph() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


def place(text: str, key: str) -> str:
    for name, value in (
        ("${profile}", "mini"),
        ("${key}", key),
        ("${item.dataset}", "DATASET"),
        ("${item.input}", "frames"),
        ("${item.start}", "START"),
        ("${item}", key),
    ):
        text = text.replace(name, value)
    return text


def places(items: list[Any], key: str) -> set[str]:
    return {place(next(iter(i)) if isinstance(i, dict) else i, key) for i in items}


def test_every_stage_is_in_the_graph() -> None:
    assert set(graph()) == {"plan", *STAGES}


@pytest.mark.parametrize("name", list(STAGES))
def test_inputs_and_outputs_are_those_of_the_graph(name: str, tmp_path: Path) -> None:
    key = "all" if name in ("cost", "tables", "figures", "report") else "KEY"
    work = Workspace(tmp_path)
    stage, node = STAGES[name], graph()[name]
    for path in (work.metrics("KEY"), work.reports / "costs.json", work.decoded("DATASET")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    reads = {
        WIDER.get(role.partition(":")[0], work.relative(path))
        for role, path in stage.reads(work, key, PLAN).items()
    }
    records = work.relative(work.reports / "records")
    deps = {place for place in places(node["deps"], key) if not place.startswith(records)}
    assert reads | {work.relative(work.plan(name, key))} == deps
    writes = {work.relative(path) for path in stage.outputs(work, key, PLAN).values()}
    assert {path.removesuffix("/index.json") for path in writes} == places(node["outs"], key)


def test_every_command_runs_in_the_projects_environment() -> None:
    for name, node in graph().items():
        assert node["cmd"].startswith(f"sh stages/run {name} "), name
