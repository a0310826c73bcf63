"""The page about one row."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.reporting.results import load_results
from pipeline.reporting.row_pages import render_rows
from pipeline.schema.plan_models import ReportPlan
from pipeline.store.index import SCHEMA
from tests.pipeline.reporting import fakes
from tests.pipeline.reporting.test_build_report import links_resolve
from tests.pipeline.reporting.test_training_order import reference

CLASSES = ["open", "close", "lift", "lower", "push", "<turn>"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    work = fakes.full(tmp_path_factory.mktemp("project"))
    reference(work.root, {"net_full": [62.0, 64.0]})
    absent = {"schema": SCHEMA, "status": "absent", "reason": "no frames in this test"}
    write_json(work.frames("toy") / "index.json", {"classes": CLASSES, **absent})
    history = [{"epoch": n, "loss": 2.0 - n / 2, "top1_pct": 20.0 * n} for n in range(4)]
    write_json(work.run("net_full") / "train" / "history.json", history)
    fakes.make_tables(work)
    fakes.make_report(work)
    return work


def text(work: Workspace, row: str) -> str:
    """What one reads on a row's page."""
    page = (work.reports / "trace" / "rows" / f"{row}.html").read_text("utf-8")
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_every_scored_row_has_a_page_that_the_report_leads_to(work: Workspace) -> None:
    folder = work.reports / "trace" / "rows"
    assert {path.stem for path in folder.iterdir()} == set(fakes.ROWS)
    index = (work.reports / "index.html").read_text("utf-8")
    for path in folder.iterdir():
        assert f'href="trace/rows/{path.name}"' in index
        links_resolve(path)


def test_it_says_what_each_class_is_taken_for(work: Workspace) -> None:
    shown = text(work, "net_full")
    rows = re.findall(r"(\S+) 50 (\d+\.\d)(?: (\S+) \( ?(\d+) ?\))?", shown)
    assert [name for name, *_ in rows] == CLASSES
    assert all(other in CLASSES and other != name for name, _, other, _ in rows)
    mean = sum(float(right) for _, right, *_ in rows) / 6
    assert mean == pytest.approx(63.0, abs=0.1)


def test_it_shows_printed_numbers_trainings_curve_and_the_command(work: Workspace) -> None:
    shown = text(work, "net_full")
    assert "doc/1/full/top1 51.3 63.00" in shown
    assert "3 trainings are known under center" in shown
    assert (
        "4 epochs; loss from 2.00 to 0.50, training clips right in the last epoch 60.0 %" in shown
    )
    assert "tdn repro net_full --profile mini" in shown
    assert "trainings are known" not in text(work, "net_mid")


def test_pairs_of_generated_classes_are_counted_both_ways(work: Workspace) -> None:
    pair = {"forward": "open", "backward": "close", "decided_by": "across"}
    bound = {"order_blind_bound_pct": 50.0, "order_blind_reason": "", "pairs": [pair]}
    about = {"dataset": "toy", "fold": "default", "architecture": "net"}
    plan = ReportPlan.model_validate(
        {
            "profile": "mini",
            "title": "",
            "smoke": True,
            "datasets": {"toy": {"title": "Toys", "miniature": bound}},
            "rows": {"net_full": about},
        }
    )
    results = load_results(work, list(plan.rows))
    page = render_rows(work, plan, results, Evidence(work))["rows/net_full.html"]
    right, reverse, other = map(
        float, re.findall(r'<td class="num">(?:<a [^>]*>)?(\d+\.\d)', page.split("across")[-1])[:3]
    )
    assert right + reverse + other == pytest.approx(100, abs=0.2) and right > 50


def test_a_row_without_a_result_says_why(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    fakes.make_report(work)
    assert "not-run" in text(work, "net_never")
