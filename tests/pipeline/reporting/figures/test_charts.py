"""The charts' numbers, on results made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.reporting.figures.cost_chart import Point, draw_cost
from pipeline.reporting.figures.curves import draw_curves
from pipeline.reporting.figures.gains import accuracy_gains, draw_gains, precision_gains
from pipeline.reporting.figures.ranks import draw_ranks
from pipeline.reporting.figures.reversal import count_pair, draw_reversal
from pipeline.scores.scoring import VideoScores
from pipeline.scores.video_scores import Outcomes

CLASSES = ["opening", "closing", "resting"]


def outcomes(labels: list[int], answers: list[int], start: int = 0) -> Outcomes:
    right = np.array(labels) == np.array(answers)
    ids = tuple(f"v{start + i:03d}" for i in range(len(labels)))
    return Outcomes(
        ids,
        ids,
        np.array(labels, np.int32),
        np.array(answers, np.int32),
        right,
        right,
    )


def test_ranks_share_a_place_when_tied() -> None:
    values = [3.0, 9.0, 3.0, 1.0]
    rows: list[dict[str, Any]] = [
        {"row": f"r{n}", "label": "R", "claimed": f"{v}", "measured": v, "low": None}
        for n, v in enumerate(values)
    ]
    ordering = {"tau": 1.0, "tau_low": None, "tau_high": None, "pairs": []}
    ranks = draw_ranks(rows, ordering).numbers["ranks"]
    assert [ranks[row["row"]]["printed"] for row in rows] == [2.5, 1, 2.5, 4]
    assert [ranks[row["row"]]["measured"] for row in rows] == [2.5, 1, 2.5, 4]


def test_a_pair_is_counted_by_right_reverse_and_other() -> None:
    found = outcomes([0, 0, 1, 1, 2, 2], [0, 1, 0, 2, 0, 1])
    assert count_pair(found, 0, 1) == {"right": 1, "reverse": 2, "other": 1}


def test_the_share_of_right_directions_leaves_other_classes_out() -> None:
    found = {"row": outcomes([0, 0, 0, 1, 1, 1], [0, 1, 2, 1, 1, 2])}
    figure = draw_reversal({"row": "TSN"}, [("opening", "closing")], found, CLASSES)
    share = figure.numbers["all_pairs"]["row"]
    assert share["videos"] == 6
    assert share["direction_right_pct"] == 75.0
    assert share["reverse_pct"] == pytest.approx(100 / 6, abs=0.01)
    assert "TSN 17 %" in figure.alt


def test_classes_are_ranked_by_what_they_gain_on_the_shared_videos() -> None:
    first = outcomes([0, 0, 1, 1, 2], [1, 1, 1, 1, 2])
    second = outcomes([0, 0, 1, 1], [0, 0, 0, 1])
    found = accuracy_gains(first, second, CLASSES)
    assert [(g.name, g.gain, g.videos) for g in found] == [("opening", 100, 2), ("closing", -50, 2)]
    assert (found[0].low, found[0].high) == (100, 100)


def test_a_class_of_one_video_has_no_interval() -> None:
    (gain,) = accuracy_gains(outcomes([0], [1]), outcomes([0], [0]), CLASSES)
    assert (gain.gain, gain.low, gain.high) == (100, None, None)
    numbers = draw_gains(("A", "B"), [gain], most=4, printed={}).numbers
    assert numbers["ranked"][0]["ci95"] is None


def test_average_precision_gains_of_several_labels() -> None:
    labels = ((0,), (0, 1), (1,), (1,))
    good = np.array([[4.0, 0], [3, 3], [1, 4], [0, 2]])
    bad = np.array([[0.0, 0], [3, 3], [1, 4], [4, 2]])
    ids = ("a", "b", "c", "d")
    gains = precision_gains(
        VideoScores(ids, labels, bad, ()), VideoScores(ids, labels, good, ()), CLASSES
    )
    assert [(g.name, round(g.gain, 1)) for g in gains] == [("opening", 50.0), ("closing", 0.0)]


def test_only_the_most_gaining_and_losing_classes_are_drawn_but_all_are_listed() -> None:
    labels = list(range(9)) * 2
    answers = [label if label < 5 else 0 for label in labels]
    names = [f"class {i}" for i in range(9)]
    gains = accuracy_gains(outcomes(labels, [0] * 18), outcomes(labels, answers), names)
    printed = {"class 2": 14.0}
    figure = draw_gains(("A", "B"), gains, most=4, printed=printed)
    assert len(figure.sheet.axes[0].get_yticks()) == 4
    assert figure.numbers["classes"] == 9
    assert figure.numbers["ranked"][1]["printed_gain"] == 14.0


def test_the_order_figure_counts_pairs_and_ranks() -> None:
    rows = [
        {"row": "a", "label": "A", "claimed": "50.0", "measured": 70.0, "low": 68.0, "high": 72.0},
        {"row": "b", "label": "B", "claimed": "40.0", "measured": 80.0, "low": None, "high": None},
    ]
    ordering: dict[str, Any] = {
        "tau": -1.0,
        "tau_low": None,
        "tau_high": None,
        "pairs": [{"first": "a", "second": "b", "verdict": "contradicts"}],
    }
    figure = draw_ranks(rows, ordering)
    assert figure.numbers["ranks"]["a"] == {"printed": 1, "measured": 2}
    assert figure.numbers["pairs_reversed"] == 1
    assert "First as printed: A; first as measured: B" in figure.alt


def test_a_panel_without_points_is_left_out() -> None:
    points = [Point("TSN", 33.0, 30.0, 28.0, 32.0), Point("TDN", 36.0, 77.0, 75.0, 79.0, True)]
    figure = draw_cost([], points)
    assert [axes.get_title(loc="left") for axes in figure.sheet.axes] == ["measured here"]
    assert list(figure.numbers) == ["measured"]
    assert "TDN" in figure.alt


def test_curves_end_at_the_last_epochs_numbers() -> None:
    history = [{"epoch": 0, "loss": 2.5, "top1_pct": 10.0}, {"epoch": 1, "loss": 1.25}]
    figure = draw_curves({"row": "TSN"}, {"row": history})
    assert figure.numbers["final_loss"] == {"row": 1.25}
    assert figure.numbers["final_train_top1_pct"] == {}
    assert figure.numbers["epochs"] == {"row": 2}
