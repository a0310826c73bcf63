"""Rows trained from every pair of seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import AbsentData, TdnError, UsageError
from pipeline.scores.components import grid_path, read_cells
from stages.driver import seed_grid
from tests.pipeline.audit.conftest import copy, counted_once, pristine, project
from tests.pipeline.audit.project import Project

__all__ = ["copy", "counted_once", "pristine", "project"]
pytestmark = pytest.mark.slow
ROW = "tconv_r50_8f_ssv1"


@pytest.fixture
def trainings(project: Project, warm_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of the grid run the project's code, in a Python that has imported torch."""
    monkeypatch.setenv("PYTHONPATH", str(project.work.root))
    monkeypatch.setattr("sys.executable", str(warm_python))


@pytest.mark.usefixtures("trainings")
def test_a_full_grid_tells_the_parts_and_is_not_trained_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = seed_grid.run(project.work, [ROW], 2, 2)
    assert (line.row, line.trainings) == (ROW, 4) and line.parts is not None
    cells = read_cells(grid_path(project.work.root, "mini"))
    assert [(cell.start_seed, cell.seed) for cell in cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    keys = [ROW, *(f"{ROW}@start-seed-{i}_seed-{j}" for i in (0, 1) for j in (0, 1))]
    weights = [(project.work.run(key) / "train/weights.pt").read_bytes() for key in keys]
    assert weights[0] == weights[1], "the pair of the row's own seeds is the row itself"
    assert len(set(weights)) == 4
    monkeypatch.setattr(seed_grid.subprocess, "run", None)
    assert seed_grid.run(project.work, [ROW], 2, 2) == [line]
    assert seed_grid.run(project.work, [], 5, 2) == [line]


@pytest.mark.usefixtures("trainings")
def test_a_training_that_fails_is_named_with_what_it_said(project: Project) -> None:
    index = project.work.frames("ssv1") / "index.json"
    kept = index.read_bytes()
    try:
        index.unlink()
        with pytest.raises(TdnError, match="2 trainings failed; the first: ") as caught:
            seed_grid.run(project.work, [ROW], 2, 2)
        assert "is not decoded" in caught.value.what
    finally:
        index.write_bytes(kept)


def test_rows_that_cannot_have_a_grid_are_refused_before_anything_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_grid.subprocess, "run", None)
    with pytest.raises(UsageError, match="tsn_r50_8f_ssv1 does not start from an image"):
        seed_grid.run(project.work, [ROW, "tsn_r50_8f_ssv1"], 2, 2)
    with pytest.raises(UsageError, match="nothing called 'tconv'"):
        seed_grid.run(project.work, ["tconv"], 2, 2)


def test_without_a_file_the_command_that_makes_one_is_named(project: Project) -> None:
    with pytest.raises(AbsentData) as caught:
        seed_grid.run(project.work, [], 5, 1)
    assert "tdn variance ROW --profile mini" in caught.value.do
