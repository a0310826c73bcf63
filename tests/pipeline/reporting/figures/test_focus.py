from __future__ import annotations

import numpy as np
import pytest

from pipeline.reporting.figures.focus import (
    Overlap,
    in_words,
    moving,
    overlap,
    summarise,
    video_overlap,
)

SIDE = 24


def square(top: int, left: int, size: int = 8) -> np.ndarray:
    area = np.zeros((SIDE, SIDE), dtype=bool)
    area[top : top + size, left : left + size] = True
    return area


def frame(area: np.ndarray) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), 90, dtype=np.uint8)
    picture[area] = 200
    return picture


def test_a_map_on_the_area_beats_one_beside_it() -> None:
    area = square(2, 2)
    on, beside = (overlap(where.astype(float), area) for where in (area, square(14, 14)))
    assert on is not None
    assert beside is not None
    assert (on.auc, on.share) == (1.0, 1.0)
    assert on.lift == pytest.approx(area.size / area.sum())
    assert beside.auc < 0.5
    assert beside.share == 0


def test_an_even_map_is_chance() -> None:
    found = overlap(np.ones((SIDE, SIDE)), square(2, 2))
    assert found is not None
    assert found.auc == 0.5
    assert found.lift == pytest.approx(1)


def test_an_empty_map_is_chance_and_not_an_error() -> None:
    found = overlap(np.zeros((SIDE, SIDE)), square(2, 2))
    assert found is not None
    assert (found.auc, found.lift) == (0.5, 1.0)


def test_the_auc_counts_pairs_and_halves_ties() -> None:
    area = np.array([[True, False, False]])
    found = overlap(np.array([[1.0, 1.0, 0.0]]), area)
    assert found is not None
    assert found.auc == 0.75


@pytest.mark.parametrize("area", [np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), bool)])
def test_nothing_is_said_without_an_inside_and_an_outside(area: np.ndarray) -> None:
    assert overlap(np.ones((SIDE, SIDE)), area) is None
    assert video_overlap(np.ones((1, SIDE, SIDE)), area[None]) is None


def test_what_moved_is_found_and_what_rests_is_not() -> None:
    before, after = square(4, 4), square(4, 8)
    found = moving(frame(before), frame(after))
    changed = before ^ after
    assert found[changed].mean() > 0.8
    assert found[12:, 12:].sum() == 0
    assert not moving(frame(before), frame(before)).any()


def constant(auc: float) -> list[Overlap | None]:
    return [Overlap(auc, 0.1, 1.0)] * 5


def test_rows_are_compared_on_the_videos_that_all_have() -> None:
    first, second = constant(0.5), constant(0.75)
    second[0] = None
    found = summarise({"baseline": first, "tdn": second})
    assert found["videos"] == 4
    assert found["rows"]["tdn"]["auc"] == {"mean": 0.75, "ci95": [0.75, 0.75]}
    assert found["minus_first"]["tdn"]["auc"]["mean"] == 0.25
    said = in_words(found, {"baseline": "TSN", "tdn": "TDN"}, "the moving area")
    assert "TDN minus TSN: +0.25 (0.25 to 0.25), supported." in said


def test_a_difference_around_zero_is_not_called_supported() -> None:
    spread: list[Overlap | None] = [Overlap(a, 0.1, 1.0) for a in (0.4, 0.6, 0.45, 0.55)]
    found = summarise({"a": [Overlap(0.5, 0.1, 1.0)] * 4, "b": spread})
    assert "B minus A: +0.00 (" in in_words(found, {"a": "A", "b": "B"}, "the moving area")
    assert "not supported" in in_words(found, {"a": "A", "b": "B"}, "the moving area")


def test_videos_without_an_area_are_said_to_be_none() -> None:
    found = summarise({"a": [None, None]})
    assert found["videos"] == 0
    assert in_words(found, {"a": "A"}, "the moving area") == "No video here has the moving area."
