"""The parts of the spread between trainings, and the file that holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import RecordError
from pipeline.scores.components import Cell, components, grid_path, read_cells, write_cells
from tests.checkout import ROOT


def grid(
    rng: np.random.Generator, size: int, start: float, row: float, both: float
) -> dict[tuple[int, int], float]:
    """Results of `size` × `size` trainings, whose parts have these standard deviations."""
    of_start, of_row = start * rng.normal(size=size), row * rng.normal(size=size)
    rest = both * rng.normal(size=(size, size))
    return {
        (i, j): 70 + of_start[i] + of_row[j] + rest[i, j] for i in range(size) for j in range(size)
    }


def test_parts_of_a_grid_computed_by_hand() -> None:
    # Means by start 60 and 80, by seed 65 and 75; nothing is left over.
    found = components({(0, 0): 55, (0, 1): 65, (1, 0): 75, (1, 1): 85})
    assert found is not None and found.trainings == 4 and found.mean_pct == 70
    assert (found.start, found.row, found.both) == pytest.approx((200**0.5, 50**0.5, 0))
    assert found.total == pytest.approx(250**0.5)


def test_the_parts_of_many_grids_have_the_true_variances_on_average() -> None:
    rng = np.random.default_rng(1)
    parts = [components(grid(rng, 5, 4.0, 3.0, 2.0)) for _ in range(400)]
    variances = np.mean([(p.start**2, p.row**2, p.both**2) for p in parts if p], axis=0)
    # Parts below nought count as nought, which lifts the mean a little.
    np.testing.assert_allclose(variances, (16, 9, 4), rtol=0.15)


def test_nothing_is_said_of_a_grid_with_holes_or_of_one_seed() -> None:
    full = grid(np.random.default_rng(0), 3, 1, 1, 1)
    del full[1, 2]
    assert components(full) is None
    assert components({(0, 0): 1.0, (1, 0): 2.0}) is None


def cell(start_seed: int, value_pct: float) -> Cell:
    return Cell("tsn", "center_1x1", start_seed, 0, "a CPU", "2", "ab", 1.25, value_pct)


def test_a_later_result_of_a_training_replaces_the_earlier_one(tmp_path: Path) -> None:
    path = grid_path(tmp_path, "mini")
    write_cells(path, [cell(1, 50.0), cell(0, 40.0), cell(1, 60.5)])
    assert read_cells(path) == [cell(0, 40.0), cell(1, 60.5)]
    assert read_cells(tmp_path / "none.csv") == []


def test_a_file_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    path = grid_path(tmp_path, "mini")
    write_cells(path, [cell(0, 40.0)])
    path.write_text(path.read_text().replace("40.0", "many"))
    with pytest.raises(RecordError, match="this is no grid"):
        read_cells(path)


def test_the_documents_have_the_parts_of_the_committed_grid() -> None:
    grids: dict[str, dict[tuple[int, int], float]] = {}
    for one in read_cells(grid_path(ROOT, "mini")):
        if one.row == "tdn_r50_8f_ssv1":
            grids.setdefault(one.protocol, {})[one.start_seed, one.seed] = one.value_pct
    text = (ROOT / "docs" / "miniature.md").read_text("utf-8")
    for protocol, name in (("center_1x1", "one clip, centre crop"), ("center_1x3", "three crops")):
        parts = components(grids[protocol])
        assert parts is not None and parts.trainings == 25
        numbers = (parts.mean_pct, parts.start, parts.row, parts.both, parts.total)
        assert f"| {name} | " + " | ".join(f"{value:.1f}" for value in numbers) + " | " in text
