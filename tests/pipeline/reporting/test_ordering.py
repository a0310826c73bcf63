"""Kendall's tau against the claims, and which pairs the data support."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.reporting.cells import Cell, Lineage, Measurement, Status, make_cell
from pipeline.reporting.ordering import Ordering, find_ordering
from pipeline.schema.base import validate
from pipeline.schema.claims import Claim
from pipeline.schema.table_layouts import Column
from pipeline.scores.statistics import Spread
from pipeline.scores.video_scores import Outcomes
from tests.pipeline.reporting.fakes import TOP1

COLUMN = validate(Column, TOP1, where="here")


def unknown(lineage: Lineage) -> None:
    """How far trainings lie apart: not known."""


def cell(row: str, claimed: str | None, value: float) -> Cell:
    place = {"document": "d", "table": "1", "row": row, "column": "top1"}
    record = {"claim_id": f"d/1/{row}/top1", **place, "value": claimed, "unit": "percent"}
    given = None if claimed is None else validate(Claim, record, where="here")
    lineage = Lineage(run=row, protocol="center", metric="top1_pct")
    found = Measurement(measured=value, smoke=True, lineage=lineage)
    return make_cell(("d/1", row, "top1"), given, found, COLUMN)


def outcome(right: int, of: int = 400, start: int = 0) -> Outcomes:
    correct = np.arange(of) < right
    ids = tuple(f"v{start + i:04d}" for i in range(of))
    labels = np.zeros(of, dtype=np.int32)
    return Outcomes(ids, ids, labels, labels, correct.astype(float), np.ones(of))


def ordering(rows: dict[str, tuple[str | None, int]]) -> Ordering:
    cells = [cell(row, claimed, right / 4) for row, (claimed, right) in rows.items()]
    outcomes = {(row, "center"): outcome(right) for row, (_, right) in rows.items()}
    found = find_ordering("top1", cells, outcomes, unknown)
    assert found is not None
    return found


def test_the_same_order_is_one_and_the_reverse_minus_one() -> None:
    rights = dict(zip("abcde", (50, 120, 190, 260, 330), strict=True))
    same = ordering({row: (f"{40 + n}.0", right) for n, (row, right) in enumerate(rights.items())})
    assert same.tau == 1.0
    assert {pair.verdict for pair in same.pairs} == {"agrees"}
    reverse = ordering({row: (f"{60 - n}.0", r) for n, (row, r) in enumerate(rights.items())})
    assert reverse.tau == -1.0
    assert {pair.verdict for pair in reverse.pairs} == {"contradicts"}


def test_fewer_than_five_rows_are_counted_in_pairs() -> None:
    found = ordering({"a": ("40.0", 100), "b": ("50.0", 300), "c": ("60.0", 200)})
    assert found.tau is None
    assert found.in_words.startswith("As measured, 2 of 3 pairs are in the paper's order.")


def test_videos_of_one_cluster_support_less_than_as_many_single_ones() -> None:
    cells = [cell("a", "40.0", 20.0), cell("b", "50.0", 30.0)]
    single = {("a", "center"): outcome(80), ("b", "center"): outcome(120)}
    alone = find_ordering("top1", cells, single, unknown)
    films = tuple(f"film {i // 100}" for i in range(400))
    grouped = {key: replace(found, clusters=films) for key, found in single.items()}
    together = find_ordering("top1", cells, grouped, unknown)
    assert alone is not None and together is not None
    assert (alone.pairs[0].verdict, together.pairs[0].verdict) == ("agrees", "undecided")
    assert (alone.pairs[0].n_clusters, together.pairs[0].n_clusters) == (400, 4)


def test_a_difference_of_noise_is_undecided() -> None:
    found = ordering({"a": ("40.0", 200), "b": ("50.0", 202)})
    (pair,) = found.pairs
    assert pair.verdict == "undecided"
    assert pair.measured_difference == pytest.approx(-0.5)
    assert "1 undecided" in found.in_words


def test_a_supported_difference_without_a_claim_says_so() -> None:
    found = ordering({"a": (None, 100), "b": (None, 300)})
    assert found.tau is None
    assert found.pairs[0].verdict == "supported"
    assert found.pairs[0].claimed_difference is None
    assert found.in_words.startswith("a minus b: -50.00 points (95 % interval -5")
    assert "0 against 200, p < 0.001" in found.in_words


def test_without_outcomes_pairs_are_counted_as_measured() -> None:
    cells = [cell("a", "40.0", 20.0), cell("b", "50.0", 30.0)]
    found = find_ordering("top1", cells, {}, unknown)
    assert found is not None
    assert (found.tau, found.pairs) == (None, ())
    assert found.in_words == "As measured, 1 of 1 pair is in the paper's order."


def test_only_videos_that_all_rows_scored_are_compared() -> None:
    cells = [cell("a", "40.0", 20.0), cell("b", "50.0", 30.0)]
    outcomes = {("a", "center"): outcome(80, 300), ("b", "center"): outcome(90, 300, start=100)}
    found = find_ordering("top1", cells, outcomes, unknown)
    assert found is not None
    assert found.pairs[0].n_videos == 200


def test_one_row_or_no_number_has_no_order() -> None:
    assert find_ordering("top1", [cell("a", "40.0", 20.0)], {}, unknown) is None
    assert find_ordering("top1", [], {}, unknown) is None
    untold = [cell("a", None, 20.0), cell("b", None, 30.0)]
    assert find_ordering("top1", untold, {}, unknown) is None


def test_one_run_in_two_rows_is_no_pair() -> None:
    first, second = cell("a", "40.0", 20.0), cell("a", "50.0", 20.0)
    found = find_ordering("top1", [first, second], {("a", "center"): outcome(80)}, unknown)
    assert found is None or found.pairs == ()


def test_a_difference_within_the_spread_of_trainings_is_undecided() -> None:
    cells = [cell("a", "40.0", 45.0), cell("b", "50.0", 60.0)]
    outcomes = {("a", "center"): outcome(180), ("b", "center"): outcome(240)}
    videos = find_ordering("top1", cells, outcomes, unknown)
    both = find_ordering("top1", cells, outcomes, lambda lineage: Spread(sd_pct=9.0, df=20.0))
    assert videos is not None and both is not None
    assert (videos.pairs[0].verdict, videos.pairs[0].over) == ("agrees", "videos")
    assert (both.pairs[0].verdict, both.pairs[0].over) == ("undecided", "videos and trainings")
    assert both.pairs[0].ci_low < videos.pairs[0].ci_low
    assert both.pairs[0].ci_high > videos.pairs[0].ci_high


def test_pairs_whose_trainings_are_not_known_are_counted() -> None:
    known = {"a": Spread(3.0, 4.0), "b": Spread(3.0, 4.0)}
    cells = [cell("a", "40.0", 50.0), cell("b", "41.0", 55.0), cell("c", "42.0", 60.0)]
    outcomes = {
        (row, "center"): outcome(right) for row, right in zip("abc", (200, 220, 240), strict=True)
    }
    found = find_ordering("top1", cells, outcomes, lambda of: known.get(of.run or ""))
    assert found is not None
    assert "3 pairs on the same videos, trainings left out for 2 of them, " in found.in_words
    found = find_ordering("top1", cells, outcomes, lambda of: Spread(3.0, 4.0))
    assert found is not None and "3 pairs on the same videos none is decided." in found.in_words


def test_a_number_of_a_part_of_the_videos_is_held_against_none() -> None:
    cells = [cell("a", "40.0", 20.0), cell("b", "50.0", 30.0), cell("c", "60.0", 25.0)]
    part = [*cells[:2], replace(cells[2], status=Status.PARTIAL)]
    outcomes = {
        (row, "center"): outcome(right) for row, right in zip("abc", (80, 120, 100), strict=True)
    }
    found = find_ordering("top1", part, outcomes, unknown)
    assert found is not None and found.rows == ("a", "b")
    assert len(found.pairs) == 1
    assert find_ordering("top1", part[1:], outcomes, unknown) is None
