from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from matplotlib.image import imread

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.figures.canvas import Figure, joined, save
from pipeline.reporting.figures.curves import draw_curves
from pipeline.reporting.figures.figures_view import figures_section

HISTORY = {"row": [{"epoch": e, "loss": 2.0 - e, "top1_pct": 40.0 * e} for e in range(2)]}


def figure() -> Figure:
    drawing = draw_curves({"row": "TSN & co"}, HISTORY)
    return Figure("curves", "curves", "A <title>", "Caption.", drawing)


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(figure(), tmp_path / name)
    for suffix in ("png", "svg"):
        one, two = (tmp_path / name / f"curves.{suffix}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert imread(tmp_path / "one" / "curves.png").std() > 0.05


def test_files_carry_no_date_and_no_program(tmp_path: Path) -> None:
    save(figure(), tmp_path)
    assert b"dc:date" not in (tmp_path / "curves.svg").read_bytes()
    assert b"Software" not in (tmp_path / "curves.png").read_bytes()


def test_a_users_own_settings_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(figure(), tmp_path / "plain")
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 9.0)
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 20.0)
    save(figure(), tmp_path / "loud")
    plain, loud = (tmp_path / name / "curves.png" for name in ("plain", "loud"))
    assert plain.read_bytes() == loud.read_bytes()
    assert matplotlib.rcParams["lines.linewidth"] == 9.0


def test_a_figure_that_was_not_drawn_has_no_files(tmp_path: Path) -> None:
    nothing = Figure("cam", "cam", "Title", "Caption", reason="row x: not trained")
    assert save(nothing, tmp_path) == []
    assert nothing.as_json()["files"] == {}
    assert nothing.as_json()["state"] == "not-run"


def test_lists_are_joined_as_in_a_sentence() -> None:
    assert [joined(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def report(work: Workspace) -> str:
    missing = Figure("cam", "cam", "Title", "", reason="x: not trained")
    entries = [figure().as_json(), missing.as_json()]
    write_json(work.reports / "figures" / "figures.json", {"figures": entries})
    return str(figures_section(work, set()))


def test_the_section_shows_files_beside_the_page_with_text_for_all(tmp_path: Path) -> None:
    page = report(Workspace(tmp_path))
    assert '<img src="figures/curves.svg" alt="Line charts' in page
    assert 'href="figures/curves.png"' in page
    assert "A &lt;title&gt;" in page
    assert "TSN &amp; co" in page


def test_the_section_says_why_a_figure_is_not_there(tmp_path: Path) -> None:
    page = report(Workspace(tmp_path))
    assert "x: not trained" in page
    assert "figures/cam." not in page


def test_no_figures_leave_no_section(tmp_path: Path) -> None:
    assert figures_section(Workspace(tmp_path), set()) == ""
