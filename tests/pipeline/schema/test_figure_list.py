from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import ManifestError
from pipeline.core.files import canonical_json
from pipeline.schema.base import validate
from pipeline.schema.figure_list import Figures, load_figures
from tests.pipeline.reporting.test_prose import SEEDS

ROOT = Path(__file__).resolve().parents[3]
CURVES = {"kind": "curves", "title": "Training", "rows": {"tsn": "TSN", "gone": "Gone"}}


def write(folder: Path, **figures: Any) -> Path:
    (folder / "figures.yaml").write_text(yaml.safe_dump({"figures": figures}), "utf-8")
    return folder


def test_the_projects_own_manifest_is_valid() -> None:
    kinds = {figure.kind for figure in load_figures(ROOT / "manifests").values()}
    expected = {"curves", "cost", "ordering", "reversal", "gains", "cam", "gradcam", "kernels"}
    assert kinds == {*expected, "frames", "architecture"}


@pytest.mark.parametrize("document", SEEDS)
def test_every_printed_figure_has_a_counterpart(document: str) -> None:
    folder = os.environ.get("TDN_TEST_SEEDS")
    if not folder:
        pytest.skip("TDN_TEST_SEEDS is not set: the papers' texts are not here")
    (path,) = Path(folder).glob(f"{SEEDS[document]}_*.txt")
    printed = set(re.findall(r"^Figure (\d+)[.:]", path.read_text("utf-8"), re.MULTILINE))
    figures = load_figures(ROOT / "manifests").values()
    named = [re.findall(rf"{document}, figures? (\d)(?: and (\d))?", f.stands_for) for f in figures]
    assert printed - {number for pairs in named for pair in pairs for number in pair} == set()


def test_the_order_written_survives_a_plans_sorted_keys(tmp_path: Path) -> None:
    rows = {"zebra": "first", "ant": "second"}
    folder = tmp_path
    text = yaml.safe_dump(
        {"figures": {"b": {**CURVES, "rows": rows}, "a": CURVES}}, sort_keys=False
    )
    (folder / "figures.yaml").write_text(text, "utf-8")
    planned = json.loads(
        canonical_json(Figures(figures=load_figures(folder)).model_dump(mode="json"))
    )
    found = validate(Figures, {"figures": planned["figures"]}, where="plan").figures
    assert list(found) == ["b", "a"]
    assert found == load_figures(folder)
    assert found["b"].rows_named == ["zebra", "ant"]


def test_no_manifest_is_no_figure(tmp_path: Path) -> None:
    assert load_figures(tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "curve"}, "curve"),
        ({"row": {"tsn": "TSN"}}, "row: unknown key"),
        ({"rows": {}}, "at least 1"),
    ],
)
def test_a_mistake_names_the_key(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        load_figures(write(tmp_path, one={**CURVES, **change}))
    assert caught.value.where == "figures.yaml" or "figures.yaml" in caught.value.where
