"""Claims and layouts: what is transcribed, what is placed, what a mistake is told."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from pipeline.core.errors import ManifestError
from pipeline.schema.base import validate
from pipeline.schema.claims import Claim, load_claims
from pipeline.schema.experiments import load_rows
from pipeline.schema.table_layouts import (
    Combination,
    Layout,
    Tolerance,
    check_placement,
    check_runs,
    load_combinations,
    load_layouts,
)

ROOT = Path(__file__).resolve().parents[3]
CLAIMS = ROOT / "manifests" / "claims.csv"
PER_TABLE = {
    ("tdn-iclr2021", "1a"): 5,
    ("tdn-iclr2021", "1b"): 5,
    ("tdn-iclr2021", "1c"): 5,
    ("tdn-iclr2021", "1d"): 19,
    ("tdn-iclr2021", "2"): 56,
    ("tdn-iclr2021", "3"): 63,
    ("tdn-iclr2021", "4"): 21,
    ("tdn-iclr2021", "5"): 8,
    ("tdn-iclr2021", "6"): 14,
    ("tdn-cvpr2021-supp", "1"): 21,
    ("tdn-cvpr2021-supp", "2"): 14,
    ("tdn-ng2018", "1"): 27,
    ("tdn-ng2018", "2"): 15,
    ("tdn-ng2018", "3"): 4,
    ("tdn-ng2018", "4"): 5,
    ("sotaverified", "benchmark"): 3,
}
FROM_PAGES = {
    ("checkpoints", "tdn"): 28,
    ("checkpoints", "tanet"): 12,
    ("checkpoints", "tsm"): 17,
}
# Per table: the seed text's number and the text between two markers that holds the table.
PRINTED = {
    ("tdn-iclr2021", "1a"): ("001", "Fusion	Top1", "(a) Study on S-TDM."),
    ("tdn-iclr2021", "1b"): ("001", "Fusion	Top1", "(a) Study on S-TDM."),
    ("tdn-iclr2021", "1c"): ("001", "S-TDM		Res3", "(c) S-TDM vs. L-TDM."),
    ("tdn-iclr2021", "1d"): ("001", "model	FLOPs", "(d) Comparison with"),
    ("tdn-iclr2021", "2"): ("001", "Method	Backbone	Frames	FLOPs", "Table 2:"),
    ("tdn-iclr2021", "3"): ("001", "Method	Backbone	Frames × Clips", "Table 3:"),
    ("tdn-iclr2021", "4"): ("001", "Method	Pretrain	Backbone", "Table 4:"),
    ("tdn-iclr2021", "5"): ("001", "S-TDM	L-TDM	FLOPs", "Table 5:"),
    ("tdn-iclr2021", "6"): ("001", "Method	Frames × Clips × Crops	Time", "Table 6:"),
    ("tdn-cvpr2021-supp", "1"): ("000", "Method	Pretrain	Backbone", "Table 1."),
    ("tdn-cvpr2021-supp", "2"): ("000", "Method | Frames", "Table 2."),
    ("tdn-ng2018", "1"): ("002", "Method	RGB	Flow	Fusion", "Table 1:"),
    ("tdn-ng2018", "2"): ("002", "Method	RGB	Flow	Fusion\nTwo Stream	66.8", "Table 2:"),
    ("tdn-ng2018", "3"): ("002", "Method	mAP (%)", "Table 3:"),
    ("tdn-ng2018", "4"): ("002", "TDN Layers	mAP (%)", "Table 4:"),
    ("sotaverified", "benchmark"): ("003", "DatasetModelMetric", "Reproductions"),
}
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def test_every_table_is_transcribed() -> None:
    claims = load_claims(CLAIMS).values()
    assert Counter((c.document, c.table) for c in claims) == PER_TABLE | FROM_PAGES
    assert sum(PER_TABLE.values()) == 285


def _printed(document: str, table: str) -> str:
    folder = os.environ.get("TDN_TEST_SEEDS")
    if not folder:
        pytest.skip("TDN_TEST_SEEDS is not set: the papers' texts are not here")
    number, start, end = PRINTED[document, table]
    (path,) = Path(folder).glob(f"{number}_*.txt")
    text = path.read_text(encoding="utf-8")
    begin = text.index(start) + text[text.index(start) :].index("\n")
    return text[begin : text.index(end, begin)].replace("Verified", "")


@pytest.mark.parametrize(("document", "table"), PER_TABLE)
def test_every_claim_is_printed_where_it_says(document: str, table: str) -> None:
    """Each value occurs in its table's text at least as often as it is claimed."""
    text = _printed(document, table)
    printed = Counter(NUMBER.findall(text))
    claimed = Counter(
        c.value for c in load_claims(CLAIMS).values() if (c.document, c.table) == (document, table)
    )
    assert not claimed - printed


def test_conflicts_name_each_other() -> None:
    claims = load_claims(CLAIMS)
    conflicts = {c.claim_id: c.conflicts_with for c in claims.values() if c.conflicts_with}
    assert len(conflicts) == 2
    for claim_id, other in conflicts.items():
        assert other is not None and conflicts[other] == claim_id
        assert claims[claim_id].value != claims[other].value


def test_layouts_on_disk_fit_their_claims() -> None:
    layouts, claims = load_layouts(ROOT / "manifests" / "tables"), load_claims(CLAIMS)
    shown = {(layout.document, layout.table) for layout in layouts}
    assert {("tdn-iclr2021", table) for table in ("1a", "1b", "1c", "1d", "5")} <= shown
    here = {k: c for k, c in claims.items() if (c.document, c.table) in shown}
    assert check_placement(layouts, here) == []


def test_unplaced_and_doubly_placed_claims_are_named() -> None:
    claims = load_claims(CLAIMS)
    layouts = load_layouts(ROOT / "manifests" / "tables")
    only = {"tdn-iclr2021/1a/f_mul_h/top1": claims["tdn-iclr2021/1a/f_mul_h/top1"]}
    first = next(layout for layout in layouts if layout.table_id == "tdn-iclr2021/1a")
    (unplaced,) = check_placement([], only)
    assert "no cell shows it" in unplaced
    assert any("2 cells show it" in problem for problem in check_placement([first, first], only))


def test_combinations_on_disk_are_valid() -> None:
    assert load_combinations(ROOT / "manifests" / "combinations.yaml")
    assert load_combinations(ROOT / "manifests" / "none.yaml") == {}


def test_what_a_page_prints_for_v2_is_measured_of_published_weights_too() -> None:
    """Until such networks are trained here: the same ensemble of the same authors' files."""
    manifests = ROOT / "manifests"
    combinations = load_combinations(manifests / "combinations.yaml")
    rows = load_rows(manifests, "experiments.yaml")
    layouts = {layout.table_id: layout for layout in load_layouts(manifests / "tables")}
    layout = layouts["sotaverified/benchmark"]
    found = {name: row for name, row in layout.rows.items() if row.checkpoint}
    assert set(found) == {"ssv2_three_crops", "ssv2_center"}
    for row in found.values():
        theirs, ours = combinations[str(row.checkpoint)], combinations[str(row.run)]
        assert (theirs.rule, len(theirs.members)) == (ours.rule, len(ours.members))
        assert (row.protocol or "center_1x1") in theirs.protocols
        for member, counterpart in zip(theirs.members, ours.members, strict=True):
            assert rows[member].values["train"] == "none"
            for name in ("dataset", "architecture", "backbone", "segments"):
                assert rows[member].values[name] == rows[counterpart].values[name]


def _claims_file(folder: Path, *lines: str) -> Path:
    path = folder / "claims.csv"
    header = "claim_id,document,table,row,column,value,unit,note"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["d/1/a/top1,d,1,a,top1,about 5,percent,"], "value"),
        (["d/1/a/top1,d,1,a,top1,45.2,percentage,"], "unit"),
        (["d/1/b/top1,d,1,a,top1,45.2,percent,"], "not the claim's address"),
        (["d/1/a/top1,d,1,a,top1,45.2,percent,"] * 2, "written twice"),
        (
            ["d/1/a/top1,d,1,a,top1,45.2,percent,claim-conflict x/1/a/top1: why"],
            "conflicting claim: unknown",
        ),
        (["d/1/A-b/top1,d,1,A-b,top1,45.2,percent,"], "row"),
    ],
)
def test_a_bad_claim_is_refused_with_its_line(tmp_path: Path, lines: list[str], what: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(what)) as caught:
        load_claims(_claims_file(tmp_path, *lines))
    assert "/claims.csv, " in caught.value.where


def test_a_wrong_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims.csv").write_text("claim,value\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="header"):
        load_claims(tmp_path / "claims.csv")
    with pytest.raises(ManifestError, match="there is no"):
        load_claims(tmp_path / "nothing.csv")


LAYOUT = {
    "document": "d",
    "table": "1",
    "caption": "c",
    "place": "p",
    "columns": {
        "top1": {
            "label": "Top1",
            "unit": "percent",
            "decimals": 1,
            "measure": {"kind": "metric", "name": "top1_pct", "protocol": "center_1x1"},
            "tolerance": {"points": 1.0},
        }
    },
    "ordering": ["top1"],
    "rows": {"a": {"label": "A", "run": "run_a"}},
}


def test_a_row_with_an_unknown_column_names_the_nearest() -> None:
    bad = {**LAYOUT, "rows": {"a": {"label": "A", "cells": {"top_1": {"run": "x"}}}}}
    with pytest.raises(ManifestError, match="did you mean 'top1'"):
        validate(Layout, bad, where="here")
    with pytest.raises(ManifestError, match="ordering names an unknown column 'top5'"):
        validate(Layout, {**LAYOUT, "ordering": ["top5"]}, where="here")
    with pytest.raises(ManifestError, match="colums: unknown key"):
        validate(Layout, {**LAYOUT, "colums": {}}, where="here")


@pytest.mark.parametrize(
    ("path", "name", "hint"),
    [
        ("tables/tdn-iclr2021_1a.yaml", "tdn_r50_8f_ssv1_stdm_mul", "tdn-iclr2021_1a.yaml, rows"),
        ("combinations.yaml", "stm_r50_16f_ucf101_s2", "combinations.yaml, stm_r50_16f_ucf101"),
    ],
)
def test_a_run_that_no_profile_has_is_an_error(
    tmp_path: Path, path: str, name: str, hint: str
) -> None:
    manifests = tmp_path / "manifests"
    shutil.copytree(ROOT / "manifests", manifests)
    check_runs(manifests)
    file = manifests / path
    file.write_text(file.read_text("utf-8").replace(name, name + "x", 1), encoding="utf-8")
    with pytest.raises(ManifestError, match=f"unknown '{name}x'") as caught:
        check_runs(manifests)
    assert hint in caught.value.where
    assert caught.value.do == f"did you mean '{name}'?"


def test_a_layout_must_bear_its_tables_name(tmp_path: Path) -> None:
    source = ROOT / "manifests" / "tables" / "tdn-iclr2021_1a.yaml"
    (tmp_path / "tdn-iclr2021_9.yaml").write_text(source.read_text("utf-8"), encoding="utf-8")
    with pytest.raises(ManifestError, match="this layout is of tdn-iclr2021/1a"):
        load_layouts(tmp_path)


def test_a_cell_may_name_its_own_run() -> None:
    row = {"label": "A", "runs": {"default": "one", "v2": "two"}, "cells": {"top1": {"run": "x"}}}
    layout = validate(Layout, {**LAYOUT, "rows": {"a": row}}, where="here")
    a = layout.rows["a"]
    assert a.run_for("top1", "default") == "x"
    assert a.run_for("top5", "v2") == "two"
    assert a.run_for("top5", "v3") is None
    assert a.named_runs == ["one", "two", "x"]
    with pytest.raises(ManifestError, match="not both"):
        validate(Layout, {**LAYOUT, "rows": {"a": {**row, "run": "one"}}}, where="here")


def test_combination_weights_belong_to_fusion() -> None:
    base = {"label": "l", "members": ["a", "b"], "protocols": ["p"]}
    for rule, weights in (("stream_fusion", None), ("pool_folds", [1.0, 1.0])):
        with pytest.raises(ManifestError, match="stream_fusion"):
            validate(Combination, {**base, "rule": rule, "weights": weights}, where="here")
    with pytest.raises(ManifestError, match="2 members but 3 weights"):
        value = {**base, "rule": "stream_fusion", "weights": [1.0, 1.0, 1.0]}
        validate(Combination, value, where="here")


def _claim(value: str, unit: str = "gflops") -> Claim:
    place = {"document": "d", "table": "1", "row": "a", "column": "c"}
    record = {"claim_id": "d/1/a/c", **place, "value": value, "unit": unit}
    return validate(Claim, record, where="here")


@pytest.mark.parametrize(
    ("value", "allowed"), [("33", 0.66), ("3.2", 0.064), ("71.38", 1.4276), ("8", 0.5)]
)
def test_the_widest_tolerance_rules(value: str, allowed: float) -> None:
    tolerance = Tolerance(last_digit_units=0.5, relative_pct=2.0)
    assert tolerance.allowed(_claim(value)) == pytest.approx(allowed)
