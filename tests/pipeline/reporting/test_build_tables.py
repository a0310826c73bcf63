"""From predictions to tables: statuses, frames, texts, what a removed row leaves behind."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
import yaml

from pipeline.core.errors import AbsentData, ManifestError, RecordError
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.prose import check_manifests
from pipeline.reporting.results import load_spreads
from pipeline.scores.reference import Result, reference_path, write_results
from tests.pipeline.reporting import fakes


def cells(work: Workspace) -> dict[str, Any]:
    path = work.reports / "tables" / "cells.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))["cells"]
    return found


def rows_of(work: Workspace, table: str = "1") -> dict[str, dict[str, str]]:
    path = work.reports / "tables" / "doc" / f"{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {record["row"]: record for record in csv.DictReader(file)}


def test_tables_build_when_nothing_was_run(tmp_path: Path) -> None:
    work = fakes.make(tmp_path)
    fakes.make_tables(work)
    found = cells(work)
    assert found["doc/1/none/top1"]["status"] == "not-run"
    assert "not scored" in found["doc/1/none/top1"]["reason"]
    assert found["doc/1/none/flops"]["status"] == "not-run"
    assert found["doc/1/theirs/top1"]["status"] == "cited"
    assert found["doc/2/full/top1"]["status"] == "claim-conflict"
    assert "No frames" in fakes.make_report(work)


def test_smoke_is_shown_and_not_compared_costs_are(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    statuses = {cell_id: cell["status"] for cell_id, cell in cells(work).items()}
    assert statuses == {
        "doc/1/none/top1": "smoke",
        "doc/1/none/flops": "verified",
        "doc/1/mid/top1": "smoke",
        "doc/1/mid/flops": "differs",
        "doc/1/full/top1": "smoke",
        "doc/1/full/flops": "verified",
        "doc/1/never/top1": "not-run",
        "doc/1/never/flops": "measured",
        "doc/1/theirs/top1": "cited",
        "doc/2/full/top1": "claim-conflict",
    }
    conflict = cells(work)["doc/2/full/top1"]
    assert conflict["smoke"] and conflict["measured"] is not None


def test_real_data_are_compared(tmp_path: Path) -> None:
    work = fakes.full(tmp_path, smoke=False)
    fakes.make_tables(work, smoke=False)
    found = cells(work)
    assert found["doc/1/none/top1"]["status"] == "verified"
    assert found["doc/1/full/top1"]["status"] == "differs"
    assert "Smoke" not in (work.reports / "tables" / "doc" / "1.md").read_text("utf-8")


def test_published_weights_are_measured_where_a_row_has_no_result(tmp_path: Path) -> None:
    work = fakes.full(tmp_path, smoke=False)
    path = work.manifests / "tables" / "doc_1.yaml"
    layout = yaml.safe_load(path.read_text("utf-8"))
    for row, run in (("never", "net_full"), ("mid", "net_full"), ("theirs", "net_never")):
        layout["rows"][row]["checkpoint"] = run
    path.write_text(yaml.safe_dump(layout, sort_keys=False), "utf-8")
    fakes.make_tables(work, smoke=False)
    found = cells(work)
    never, full = found["doc/1/never/top1"], found["doc/1/full/top1"]
    assert (never["measured"], never["lineage"]) == (full["measured"], full["lineage"])
    assert never["status"] == "differs" and "that its authors published" in never["note"]
    assert found["doc/1/mid/top1"]["lineage"]["run"] == "net_mid", "trained here: that counts"
    theirs = found["doc/1/theirs/top1"]
    assert theirs["status"] == "not-run" and "not on this machine" in theirs["reason"]


def test_a_cell_knows_where_it_comes_from(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    lineage = cells(work)["doc/1/full/top1"]["lineage"]
    assert lineage["runs"] == ["net_full"]
    assert (lineage["protocol"], lineage["metric"]) == ("center", "top1_pct")
    (source,) = lineage["sources"]
    assert source["path"] == "reports/mini/metrics/net_full.json"
    assert len(source["sha256"]) == 64
    cost = cells(work)["doc/1/full/flops"]["lineage"]
    assert cost["sources"][0]["path"] == "reports/mini/costs.json"


def test_the_frame_has_the_stated_columns(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    found = rows_of(work)
    assert list(found) == ["none", "mid", "full", "never", "theirs", "blank"]
    head = ["row", "label", "ticked", "also", "top1_claimed", "top1_measured", "top1_status"]
    assert list(found["none"])[:7] == head
    assert found["mid"]["label"] == "F⊙H" and found["mid"]["ticked"] == "✓"
    assert found["none"]["top1_claimed"] == "45.2"
    low, value, high = (
        float(found["none"][f"top1_{name}"]) for name in ("ci_low", "measured", "ci_high")
    )
    assert value == pytest.approx(45.0, abs=0.4)
    assert low < value < high
    assert found["none"]["flops_measured"] == "32.75"
    assert found["never"]["top1_measured"] == ""
    assert found["blank"]["top1_status"] == ""


def test_failed_videos_make_a_real_result_partial(tmp_path: Path) -> None:
    work = fakes.full(tmp_path, smoke=False)
    fakes.predict(work, "net_full", 0.5, failed=4)
    fakes.score_row(work, "net_full", smoke=False)
    fakes.make_tables(work, smoke=False)
    cell = cells(work)["doc/1/full/top1"]
    assert cell["status"] == "partial"
    assert cell["reason"] == "296 of 300 videos scored"


def test_partial_stands_beside_failed_wherever_videos_are_counted(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.predict(work, "net_full", 0.5, failed=3, partial=7)
    fakes.score_row(work, "net_full")
    counts = {"listed": 300, "usable": 297, "partial": 7}
    about = {"status": "ok", "counts": {"ok": 290, "partial": 7}, "splits": {"val": counts}}
    write_json(work.decoded("toy"), about)
    fakes.make_tables(work)
    page = fakes.make_report(work)
    found = cells(work)["doc/1/full/top1"]
    assert (found["n_failed"], found["n_partial"]) == (3, 7)
    reason = json.loads(work.metrics("net_full").read_text("utf-8"))["reason"]
    assert reason == "center: of 300 videos 3 failed, 7 were decoded in part"
    table = rows_of(work)
    assert {row: (r["n_failed"], r["n_partial"]) for row, r in table.items()} == {
        "none": ("0", "0"), "mid": ("0", "0"), "full": ("3", "7"),
        "never": ("", ""), "theirs": ("", ""), "blank": ("", ""),
    }  # fmt: skip
    folder = work.reports / "tables" / "doc"
    assert "| failed | partial |\n" in (folder / "1.md").read_text("utf-8")
    assert "| 3 | 7 |\n" in (folder / "1.md").read_text("utf-8")
    assert "& 3 & 7 \\\\\n" in (folder / "1.tex").read_text("utf-8")
    trace = (work.reports / "trace" / "doc" / "1.html").read_text("utf-8")
    assert "297 of 300 videos, 3 failed, 7 partial" in trace
    pairs = re.findall(r'>3</td>\s*<td class="num">7</td>', page)
    assert len(pairs) == 4  # two tables, the data set, the run


def test_a_removed_row_leaves_no_trace_and_its_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    assert capsys.readouterr().out == ""
    rest = [row for row in fakes.ROWS if row != "net_mid"]
    fakes.make_tables(work, rest)
    assert "orphan: reports/mini/metrics/net_mid.json" in capsys.readouterr().out
    assert rows_of(work)["mid"]["top1_status"] == "cited"
    assert rows_of(work)["mid"]["top1_measured"] == ""
    page = fakes.make_report(work, rest)
    assert "metrics/net_mid.json" not in page


def test_a_removed_layout_takes_its_files_with_it(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    (work.manifests / "tables" / "doc_2.yaml").unlink()
    fakes.make_tables(work)
    names = sorted(path.name for path in (work.reports / "tables" / "doc").iterdir())
    assert names == ["1.csv", "1.md", "1.tex"]


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        work = fakes.full(tmp_path / name)
        fakes.make_tables(work)
        fakes.make_report(work)
        files = sorted(p for p in work.reports.rglob("*") if p.is_file())
        texts.append({p.relative_to(work.reports).as_posix(): p.read_bytes() for p in files})
    assert texts[0] == texts[1]
    assert not any(str(tmp_path).encode() in data for data in texts[0].values())


def test_markdown_and_latex_escape_what_they_must(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    folder = work.reports / "tables" / "doc"
    markdown = (folder / "1.md").read_text("utf-8")
    assert r"none\_at\_all" in markdown and r"theirs \<b\>" in markdown
    assert "in the paper's order" in markdown and "**Smoke:" in markdown
    latex = (folder / "1.tex").read_text("utf-8")
    assert r"none\_at\_all" in latex and r"F$\odot$H \& co." in latex and r"(\%)" in latex
    assert latex.count(r"\begin") == latex.count(r"\end") == 2
    widths = {line.count("&") for line in latex.splitlines() if line.endswith(r"\\")}
    assert len(widths) == 1


def test_a_profile_without_the_papers_rows_shows_none_of_their_tables(tmp_path: Path) -> None:
    work = fakes.make(tmp_path, profile="local")
    fakes.make_tables(work, ["my_row"], smoke=False)
    assert cells(work) == {}


def test_every_claim_must_have_a_cell(tmp_path: Path) -> None:
    work = fakes.make(tmp_path)
    assert check_manifests(work.manifests) == 9
    path = work.manifests / "claims.csv"
    line = fakes.claim("doc/1/nonne/top1", "1.0", "percent")
    path.write_text(path.read_text("utf-8") + line, encoding="utf-8")
    with pytest.raises(ManifestError, match="did you mean 'doc/1/none/top1'"):
        check_manifests(work.manifests)


def test_a_network_may_be_counted_without_being_run(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    costs = {"net_unknown": {"params": 1, "gmacs": 40.0, "input": [1]}}
    write_json(work.reports / "costs.json", costs)
    fakes.make_tables(work)
    found = cells(work)
    assert found["doc/1/theirs/flops"]["status"] == "measured"
    assert found["doc/1/theirs/top1"]["status"] == "cited"
    assert found["doc/1/none/flops"]["status"] == "not-run"


def test_times_views_and_other_protocols_are_data(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    path = work.manifests / "tables" / "doc_1.yaml"
    layout = yaml.safe_load(path.read_text("utf-8"))
    for name, unit, kind, metric in (
        ("time", "ms", "timing", "ms_per_video"),
        ("views", "views", "views", "views"),
    ):
        measure = {"kind": kind, "name": metric, "protocol": "center"}
        layout["columns"][name] = fakes.column(name, unit, measure)
    layout["rows"]["mid"]["protocol"] = "crops"
    path.write_text(yaml.safe_dump(layout, sort_keys=False), encoding="utf-8")
    timed = {"row": "net_full", "protocol": "center", "ms per video, loading included": 12.5}
    times = {
        "machine": {"accelerators": [], "cpu": "a laptop", "cores": 2},
        "rows": [
            {**timed, "in tables": True},
            {**timed, "in tables": False, "ms per video, loading included": 7.5},
        ],
    }
    write_json(work.root / "reports" / "bench" / "timings.cpu.json", times)
    fakes.make_tables(work)
    found = cells(work)
    assert found["doc/1/full/time"]["measured"] == 12.5
    assert found["doc/1/full/time"]["status"] == "measured"
    assert found["doc/1/none/time"]["reason"] == "not timed: run `tdn bench timings`"
    assert (found["doc/1/full/views"]["measured"], found["doc/1/full/views"]["smoke"]) == (1, False)
    assert found["doc/1/mid/top1"]["reason"] == "not evaluated under protocol crops"


def test_damaged_metrics_are_told(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    work.metrics("net_full").write_text("{", encoding="utf-8")
    with pytest.raises(RecordError, match="not readable as JSON"):
        fakes.make_tables(work)


def test_score_needs_predictions(tmp_path: Path) -> None:
    work = fakes.make(tmp_path)
    with pytest.raises(AbsentData, match="has no predictions"):
        fakes.score_row(work, "net_full")


def test_a_protocol_that_is_dropped_leaves_no_scores(tmp_path: Path) -> None:
    work = fakes.make(tmp_path)
    fakes.predict(work, "net_full", 0.5)
    stale = work.run("net_full") / "scores" / "old.parquet"
    stale.parent.mkdir(parents=True)
    stale.touch()
    fakes.score_row(work, "net_full")
    assert [path.name for path in stale.parent.iterdir()] == ["center.parquet"]


def test_a_printed_cost_is_that_of_the_network_which_names_it_and_says_why_it_differs(
    tmp_path: Path,
) -> None:
    work = fakes.full(tmp_path)
    claim = "doc/1/mid/flops"
    costs = {
        "net_full": {"params": 1, "gmacs": 1.0},
        "a_network": {"params": 1, "gmacs": 500.0, "claims": [claim], "note": "two clips"},
    }
    write_json(work.reports / "costs.json", costs)
    fakes.make_tables(work)
    cell = cells(work)[claim]
    assert (cell["measured"], cell["status"]) == (500.0, "differs")
    assert cell["reason"].endswith("; two clips")
    text = (work.reports / "tables" / "doc" / "1.md").read_text("utf-8")
    assert "printed, 500.0" in text and "two clips." in text


def test_an_interval_covers_trainings_where_their_spread_is_known(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    before = cells(work)["doc/1/none/top1"]
    assert before["interval_over"] == "videos"
    metrics = json.loads(work.metrics("net_none").read_text("utf-8"))
    results = [
        Result(
            row="net_none",
            protocol="center",
            metric="top1_pct",
            seed=seed,
            cpu="cpu",
            torch="2",
            identity=metrics["identity"],
            videos=300,
            predictions=f"digest {seed}",
            value_pct=value,
        )
        for seed, value in enumerate((30.0, 40.0, 50.0), start=1)
    ]
    path = reference_path(work.root, work.profile)
    path.parent.mkdir(parents=True)
    write_results(path, results)
    fakes.make_tables(work)
    after = cells(work)["doc/1/none/top1"]
    assert after["interval_over"] == "videos and trainings"
    assert after["ci_low"] < before["ci_low"] - 5 and after["ci_high"] > before["ci_high"] + 5
    assert after["measured"] == before["measured"]
    assert cells(work)["doc/1/full/top1"]["interval_over"] == "videos"
    write_results(path, [replace(one, identity="another") for one in results])
    fakes.make_tables(work)
    assert cells(work)["doc/1/none/top1"] == before


def test_several_trainings_of_a_row_say_how_far_they_lie_apart(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    metrics = json.loads(work.metrics("net_none").read_text("utf-8"))
    metrics["protocols"]["center"]["trainings"] = [40.0, 50.0]
    write_json(work.metrics("net_none"), metrics)
    fakes.make_tables(work)
    note = cells(work)["doc/1/none/top1"]["note"]
    assert note == "2 trainings, standard deviation 7.07"
    assert "trainings" not in cells(work)["doc/1/none/flops"]["note"]


@pytest.mark.parametrize("value", [104.0, -1.0, float("nan")])
def test_a_percentage_that_is_none_is_refused(tmp_path: Path, value: float) -> None:
    work = fakes.full(tmp_path)
    metrics = json.loads(work.metrics("net_mid").read_text("utf-8"))
    metrics["protocols"]["center"]["top1_pct"] = value
    work.metrics("net_mid").write_text(json.dumps(metrics), "utf-8")
    with pytest.raises(RecordError, match=r"top1_pct under center .* no percentage") as caught:
        fakes.make_tables(work)
    assert caught.value.where == "reports/mini/metrics/net_mid.json"


def metrics_of(identity: str, trainings: Sequence[float]) -> dict[str, Any]:
    known = {"trainings": list(trainings), "predictions_content": [f"own {v}" for v in trainings]}
    protocols = {"center": {**known, "n_scored": 300}}
    return {"metric": "top1", "identity": identity, "protocols": protocols}


def test_the_spread_is_that_of_all_known_trainings(tmp_path: Path) -> None:
    own = (50.0, 50.5, 51.0, 51.5)
    rows = {
        "both": metrics_of("i", own[:1]),
        "own": metrics_of("j", own),
        "one": metrics_of("k", own[:1]),
        "two": metrics_of("l", own[:2]),
    }
    path = tmp_path / "mini.csv"
    one = Result("both", "center", "top1_pct", 0, "cpu", "2", "i", 300, "", 0.0)
    values = (40.0, 60.0, own[0])
    digests = ("1", "2", f"own {own[0]}")  # the last is this run's
    lines = [
        replace(one, seed=seed, predictions=digest, value_pct=value)
        for seed, (digest, value) in enumerate(zip(digests, values, strict=True))
    ]
    write_results(path, lines)
    found = load_spreads(rows, path)
    assert set(found) == {("both", "center", "top1_pct"), ("own", "center", "top1_pct")}
    assert found["both", "center", "top1_pct"].sd_pct == pytest.approx(stdev(values), rel=0.2)
    # The number is the mean of four, whose spread is half of one's.
    alone = load_spreads(rows, tmp_path / "none.csv")
    assert alone.keys() == {("own", "center", "top1_pct")}
    assert alone["own", "center", "top1_pct"].sd_pct == pytest.approx(stdev(own) / 2, rel=0.3)


def test_a_dash_is_where_a_printed_column_has_no_number(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    text = (work.reports / "tables/doc/1.md").read_text("utf-8")
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head, body = lines[0], lines[2:]
    claimed = [place for place, name in enumerate(head) if name.endswith("claimed")]
    for place in claimed:
        cells = [line[place] for line in body]
        assert "" not in cells and (set(cells) - {"–"})
    assert any(line[place] == "–" for line in body for place in claimed)
