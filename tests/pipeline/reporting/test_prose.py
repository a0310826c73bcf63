"""Sentences: found in the texts, recomputed from the tables, tested on our own results."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import ManifestError
from pipeline.core.workspace import Workspace
from pipeline.reporting.build_tables import build_tables
from pipeline.reporting.prose import (
    Verdict,
    check_manifests,
    check_rules,
    judge,
    judge_prose,
    printed_cells,
    share_of_draws,
)
from pipeline.reporting.results import Results, RunResult
from pipeline.reporting.rules import parse
from pipeline.schema.claims import ProseClaim, load_claims, load_prose
from pipeline.schema.table_layouts import load_all
from pipeline.scores.statistics import Spread
from pipeline.scores.video_scores import Outcomes
from tests.pipeline.reporting import fakes
from tests.pipeline.reporting.test_training_order import reference

MANIFESTS = Path(__file__).resolve().parents[3] / "manifests"
SEEDS = {
    "tdn-iclr2021": "001",
    "tdn-cvpr2021-supp": "000",
    "tdn-ng2018": "002",
    "sotaverified": "003",
    "tam-supp": "004",
}


def squeeze(text: str) -> str:
    """Without line breaks, hyphenation, markup and reference numbers."""
    return re.sub(r"[\s\-*$]|\[\d+(, \d+)*\]", "", text)


@pytest.mark.parametrize("document", SEEDS)
def test_every_sentence_is_in_its_text(document: str) -> None:
    folder = os.environ.get("TDN_TEST_SEEDS")
    if not folder:
        pytest.skip("TDN_TEST_SEEDS is not set: the papers' texts are not here")
    (path,) = Path(folder).glob(f"{SEEDS[document]}_*.txt")
    text = squeeze(path.read_text(encoding="utf-8"))
    prose = load_prose(MANIFESTS / "prose_claims.csv").values()
    own = [claim for claim in prose if claim.document == document]
    assert own
    assert [c.prose_id for c in own if squeeze(c.sentence) not in text] == []


def test_every_rule_parses_and_the_contradictions_are_known() -> None:
    given = load_all(MANIFESTS)
    every = [
        f"{layout.table_id}/{row}/{column}"
        for layout in given.layouts
        for row in layout.rows
        for column in layout.columns
    ]
    check_rules(given.prose, given.claims, every)
    found = judge_prose(given.prose, unrun_cells(), lambda claim, rule: (None, ""))
    fails = {v.prose_id.partition("/")[2] for v in found if v.paper == "fails"}
    assert fails == {
        "above_slowfast_cheaper",
        "already_saturates",
        "hmdb51_more_evident",
        "hmdb51_by_2_5",
        "slower_than_previous",
        "layers_gradually",
        "layers_caption",
    }
    assert {v.ours for v in found} == {"undecided"}


def unrun_cells() -> dict[str, dict[str, Any]]:
    """The cells of a profile whose only row was not run."""
    given = load_all(MANIFESTS)
    row = {"tdn_r50_8f_ssv1": RunResult(None, (), ("tdn_r50_8f_ssv1",), missing="not here")}
    built = build_tables(given.layouts, given.claims, Results(row, {}, None))
    return {c.cell_id: c.as_json() for table in built for c in table.cells.values()}


def test_every_printed_claim_is_one_cell() -> None:
    claims = load_claims(MANIFESTS / "claims.csv")
    placed = [cell["claim_id"] for cell in unrun_cells().values() if cell["claim_id"]]
    # Those of published checkpoints where a profile has such rows.
    shown = [name for name, claim in claims.items() if claim.document != "checkpoints"]
    assert sorted(placed) == sorted(shown)


def verdicts(root: Path, **results: bool) -> dict[str, dict[str, Any]]:
    work = fakes.full(root) if results.get("run", True) else fakes.make(root)
    fakes.make_tables(work)
    found = json.loads((work.reports / "tables" / "prose.json").read_text("utf-8"))
    return {v["prose_id"]: v for v in found["verdicts"]}


def test_sentences_are_judged_on_both_sides(tmp_path: Path) -> None:
    found = verdicts(tmp_path)
    better, wrong, close = found["doc/better"], found["doc/wrong"], found["doc/close"]
    assert (better["paper"], better["ours"], better["smoke"]) == ("holds", "undecided", True)
    assert "how far trainings lie apart is not known" in better["ours_reason"]
    reference(tmp_path, {"net_none": [44.0, 45.0, 46.0], "net_full": [62.0, 63.0, 64.0]})
    fakes.make_tables(Workspace(tmp_path))
    again = json.loads((tmp_path / "reports/mini/tables/prose.json").read_text("utf-8"))
    ours = {v["prose_id"]: (v["ours"], v["draws_over"]) for v in again["verdicts"]}
    assert ours["doc/better"] == ("holds", "videos and trainings")
    assert (wrong["paper"], wrong["ours"]) == ("fails", "undecided")
    assert "1/full/top1 51.3" in wrong["paper_reason"]
    assert (close["paper"], close["ours"]) == ("undecided", "undecided")
    assert "% of draws" in close["ours_reason"]


def test_a_verdict_names_the_cells_and_the_numbers_it_rests_on(tmp_path: Path) -> None:
    found = verdicts(tmp_path)
    better, wrong, close = found["doc/better"], found["doc/wrong"], found["doc/close"]
    assert better["cells"] == better["ours_cells"] == ["doc/1/full/top1", "doc/1/none/top1"]
    assert better["paper_numbers"] == "51.3 > 45.2"
    assert better["ours_numbers"] == "63 > 45"
    assert better["draws_pct"] == 100
    assert wrong["paper_numbers"] == "near(51.3 - 45.2, 9)"
    assert (wrong["ours_cells"], wrong["ours_numbers"], wrong["draws_pct"]) == ([], "", None)
    assert (close["cells"], close["paper_numbers"]) == ([], "")
    assert close["ours_cells"] == ["doc/1/mid/top1", "doc/1/none/top1"]
    assert 2.5 < close["draws_pct"] < 97.5


def test_what_is_not_measured_is_spelled_as_a_gap(tmp_path: Path) -> None:
    better = verdicts(tmp_path, run=False)["doc/better"]
    assert better["ours_cells"] == ["doc/1/full/top1", "doc/1/none/top1"]
    assert (better["ours_numbers"], better["draws_pct"]) == ("… > …", None)


def test_without_results_ours_is_undecided(tmp_path: Path) -> None:
    found = verdicts(tmp_path, run=False)
    assert found["doc/better"]["ours"] == "undecided"
    assert found["doc/better"]["ours_reason"] == "not measured: 1/full/top1"


def test_a_rule_about_no_cell_is_refused(tmp_path: Path) -> None:
    work = fakes.make(tmp_path)
    path = work.manifests / "prose_claims.csv"
    path.write_text(path.read_text("utf-8").replace("1/full/top1", "1/fool/top1"), "utf-8")
    with pytest.raises(ManifestError, match="doc/1/fool/top1"):
        check_manifests(work.manifests)


def test_an_unknown_document_is_refused(tmp_path: Path) -> None:
    work = fakes.make(tmp_path)
    path = work.manifests / "documents.yaml"
    path.write_text(path.read_text("utf-8").replace("doc:", "dok:"), encoding="utf-8")
    with pytest.raises(ManifestError, match="document: unknown 'doc'"):
        check_manifests(work.manifests)


def number(claimed: str | None, measured: float | None, unit: str = "percent") -> dict[str, Any]:
    claim_id = None if claimed is None else "c"
    return {
        "claim_id": claim_id, "claimed": claimed, "measured": measured, "unit": unit, "smoke": True,
        "status": "smoke",
    }  # fmt: skip


def judged(ours: str, rule: str = "", draws_pct: float | None = 100.0) -> Verdict:
    """The verdict on a sentence about four cells of one table."""
    cells = {
        "d/1/a/acc": number("55.5", 60.0),
        "d/1/b/acc": number("51.1", 50.0),
        "d/1/a/time": number("22.1", 300.0, "ms"),
        "d/1/a/flops": number("33", 33.0, "gflops"),
        "d/1/b/flops": number(None, 11.9, "gflops"),
    }
    claim = ProseClaim(
        prose_id="d/s",
        document="d",
        place="p",
        kind="number",
        sentence="a sentence of it",
        rule=rule,
        ours=ours,
        note="",
    )
    over = "videos and trainings"
    return judge(claim, printed_cells(cells), cells, lambda claim, rule: (draws_pct, over))


def test_a_time_printed_for_another_machine_decides_nothing() -> None:
    found = judged("1000 / '1/a/time' >= 25", "1000 / '1/a/time' >= 25")
    assert (found.paper, found.ours) == ("holds", "undecided")
    assert found.ours_reason == "times of another machine than the printed ones"


def test_rows_that_a_profile_does_not_have_leave_a_sentence_open() -> None:
    found = judged("'extra/a/acc' > '1/b/acc'")
    assert (found.ours, found.ours_reason) == ("undecided", "this profile has no such rows")


def test_a_point_estimate_alone_decides_nothing() -> None:
    found = judged("'1/a/acc' > '1/b/acc'", draws_pct=None)
    assert (found.ours, found.draws_pct) == ("undecided", None)
    assert found.ours_reason.startswith("a point estimate alone")


def test_ours_may_name_a_number_that_no_text_prints_and_columns_hold_it() -> None:
    similar = "highest('1/*/flops') / lowest('1/*/flops') < 1.1"
    found = judged(similar, similar)
    assert (found.paper, found.ours) == ("holds", "fails")
    assert judged("'1/b/flops' < 20").ours == "holds"
    with pytest.raises(ManifestError, match="which no table has"):
        judged("", "'1/b/flops' < 20")


def test_a_printed_difference_that_ours_leaves_out_is_said_to_be_left_out() -> None:
    alone = "'1/a/acc' > '1/b/acc'"
    found = judged(alone, "near('1/a/acc' - '1/b/acc', 4.4)")
    assert (found.paper, found.ours) == ("holds", "holds")
    assert found.ours_reason.endswith("the direction alone, not the printed number")
    assert not judged(alone, alone).ours_reason.endswith("number")


def drawn(spread: Spread | None, *, outcomes: bool = True) -> tuple[float | None, str]:
    """How often "a above b" holds when 60 and 50 % of 400 videos are drawn again."""
    cells = {f"d/1/{row}/acc": number("1", value) for row, value in (("a", 60.0), ("b", 50.0))}
    found = {}
    for name, cell in cells.items():
        row = name.split("/")[2]
        about = {"run": row, "protocol": "center", "metric": "top1_pct", "dataset": "toy"}
        cell |= {"cell_id": name, "lineage": about}
        ids = tuple(f"v{n:03d}" for n in range(400))
        labels = np.zeros(400, np.int32)
        right = (np.arange(400) < 4 * cell["measured"]).astype(float)
        found[row, "center"] = Outcomes(ids, ids, labels, labels, right, right)
    spreads = {} if spread is None else {(row, "center", "top1_pct"): spread for row in "ab"}
    known = found if outcomes else {k: v for k, v in found.items() if k[0] == "a"}
    results = Results({}, {}, None, outcomes=known, spreads=spreads)
    rule = parse("'1/a/acc' > '1/b/acc'", "d", tuple(cells), where="here")
    claim = next(iter(load_prose(MANIFESTS / "prose_claims.csv").values()))
    return share_of_draws(cells, results)(claim, rule)


def test_a_sentence_is_drawn_over_trainings_where_their_spread_is_known() -> None:
    assert drawn(None) == (100.0, "videos")
    share, over = drawn(Spread(sd_pct=9.0, df=1e9))
    # 10 points of difference with a standard deviation of 9 √2
    assert share == pytest.approx(78.4, abs=3) and over == "videos and trainings"
    assert drawn(Spread(9.0, 1e9)) == (share, over)


def test_a_sentence_with_a_number_that_cannot_be_drawn_again_is_not_drawn() -> None:
    assert drawn(None, outcomes=False) == (None, "")
