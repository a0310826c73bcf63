"""Two rows, and two sets of results, held against each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import read_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.scores.statistics import paired_test
from stages.cli.main import app
from stages.commands.compare_results import compare_reports, compare_rows
from tests.pipeline.reporting import fakes


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return fakes.full(tmp_path_factory.mktemp("project"))


@pytest.fixture
def work(scored: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(scored.root, tmp_path / "project")
    return Workspace(tmp_path / "project", scored.profile)


def test_two_rows_are_compared_on_the_videos_that_both_scored(scored: Workspace) -> None:
    (found,) = compare_rows(scored, "net_full", "net_none")
    assert (found.protocol, found.videos) == ("center", fakes.VIDEOS)
    difference = found.first_pct - found.second_pct
    assert found.test.difference_pct == pytest.approx(difference) and difference > 10
    assert len(found.first_only) == found.test.first_only
    assert len(found.second_only) == found.test.second_only
    assert sum(c.first_right - c.second_right for c in found.classes) == (
        found.test.first_only - found.test.second_only
    )
    assert sum(c.videos for c in found.classes) == fakes.VIDEOS
    alone = np.repeat([True, False], [found.test.first_only, found.test.second_only])
    assert found.test.p_value == pytest.approx(paired_test(alone, ~alone).p_value)


def test_a_row_against_itself_differs_in_nothing(scored: Workspace) -> None:
    (found,) = compare_rows(scored, "net_mid", "net_mid")
    assert (found.test.difference_pct, found.test.p_value) == (0.0, 1.0)
    assert found.first_only == found.second_only == ()


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (("net_full", "net_nome"), UsageError, "no row 'net_nome'"),
        (("net_full", "net_never"), AbsentData, "no common protocol"),
    ],
)
def test_what_cannot_be_compared_is_said(
    scored: Workspace, rows: tuple[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        compare_rows(scored, *rows)


def test_absent_scores_name_the_command_that_makes_them(work: Workspace) -> None:
    shutil.rmtree(work.run("net_mid") / "scores")
    with pytest.raises(AbsentData, match="not on this machine") as caught:
        compare_rows(work, "net_full", "net_mid")
    assert caught.value.do == "run `tdn repro net_mid`"


def moved(work: Workspace, row: str, points: float) -> None:
    """Another machine's result of a row."""
    metrics = read_json(work.metrics(row))
    metrics["protocols"]["center"]["top1_pct"] += points
    metrics["protocols"]["center"]["predictions_content"] = "other"
    write_json(work.metrics(row), metrics)


def test_results_of_another_folder_are_held_against_these(
    scored: Workspace, work: Workspace
) -> None:
    moved(work, "net_mid", -2.0)
    moved(work, "net_full", 20.0)
    work.metrics("net_never").unlink()
    for other in (work.root, work.reports):
        found = compare_reports(scored, str(other))
        assert found.only_here == ("net_never",) and found.only_there == ()
        assert found.summary() == {
            "results": 3,
            "equal_predictions": 1,
            "mean_points_apart": pytest.approx(22 / 3),
            "most_points_apart": pytest.approx(20.0),
            "outside_printed_interval": 1,
        }


def test_results_of_a_revision_are_read_from_git(work: Workspace) -> None:
    git = ["git", "-C", str(work.root), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "results"]):
        subprocess.run([*git, *command], check=True)
    moved(work, "net_none", 3.0)
    found = compare_reports(work, "HEAD")
    assert found.summary()["most_points_apart"] == pytest.approx(3.0)
    assert found.summary()["equal_predictions"] == 2


def test_an_unknown_place_is_a_sentence(scored: Workspace) -> None:
    with pytest.raises(UsageError, match="neither a folder with metrics nor a revision"):
        compare_reports(scored, "no-such-revision")


def test_damaged_metrics_are_a_sentence(scored: Workspace, work: Workspace) -> None:
    work.metrics("net_mid").write_text("{", "utf-8")
    with pytest.raises(UsageError, match="the metrics of net_mid are not readable"):
        compare_reports(scored, str(work.root))


def test_the_command_prints_both_kinds(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (work.root / "dvc.yaml").touch()
    monkeypatch.chdir(work.root)
    rows = CliRunner().invoke(app, ["compare", "net_full", "net_none"])
    assert rows.exit_code == 0
    assert f"center, {fakes.VIDEOS} videos, top-1:" in rows.output
    assert "more often right with net_full: " in rows.output
    power = CliRunner().invoke(app, ["compare", "net_full", "net_none", "--difference", "2"])
    assert "for 2 points they need " in power.output
    reports = CliRunner().invoke(app, ["compare", "--with", str(work.reports)])
    assert "3 results: 0.0 points apart on average, 0.0 at most; 3 with equal" in reports.output
    as_json = CliRunner().invoke(app, ["compare", "net_full", "net_mid", "--json"])
    assert '"second_only"' in as_json.output
    alone = CliRunner().invoke(app, ["compare", "net_full"])
    assert isinstance(alone.exception, UsageError)


def test_a_page_shows_both_and_tells_experiments_apart(
    scored: Workspace, work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(work, "net_full", 20.0)
    metrics = read_json(work.metrics("net_mid"))
    write_json(work.metrics("net_mid"), {**metrics, "identity": "another"})
    (scored.root / "dvc.yaml").touch()
    monkeypatch.chdir(scored.root)
    done = CliRunner().invoke(app, ["report", "--compare", str(work.root), "--output", "both.html"])
    assert "both.html: 3 results of both" in done.output
    page = (scored.root / "both.html").read_text("utf-8")
    same, other = page.partition("Rows whose data or parameters differ")[::2]
    assert "net_full" in same and "outside the interval" in same and "net_mid" in other
    assert "−20.00" in page and not re.search(r"https?://|<script|<link", page)
