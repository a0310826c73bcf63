"""Orders by the means over all trainings that are known of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy

from pipeline.core.files import read_json
from pipeline.reporting.results import load_trainings
from pipeline.reporting.training_order import taus
from pipeline.scores.reference import Result, reference_path, write_results
from tests.pipeline.reporting import fakes

RUN = {"net_none": 45.0, "net_mid": 49.5, "net_full": 63.0}
"""About what this run measures."""


def reference(root: Path, rows: Mapping[str, Sequence[float]]) -> None:
    """Trainings of rows as `fakes.score_row` scores them, from seeds 1, 2, …"""
    write_results(
        reference_path(root, "mini"),
        [
            Result(
                row, "center", "top1_pct", n, "cpu", "2", row.ljust(64, "0"), 300, f"{row}{n}", v
            )
            for row, values in rows.items()
            for n, v in enumerate(values, start=1)
        ],
    )


def tables(root: Path, rows: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The first table of a small project that has this reference."""
    work = fakes.full(root)
    reference(root, rows)
    fakes.make_tables(work)
    found: dict[str, Any] = read_json(work.reports / "tables" / "cells.json")["tables"][0]
    return found


def test_means_are_over_the_runs_own_training_and_the_references(tmp_path: Path) -> None:
    steady = {"net_none": [44.0, 46.0], "net_mid": [50.0, 49.0], "net_full": [62.0, 64.0]}
    table = tables(tmp_path, steady)
    own = {
        row: read_json(tmp_path / f"reports/mini/metrics/{row}.json")["protocols"]["center"][
            "top1_pct"
        ]
        for row in steady
    }
    (means,) = table["means"]
    assert means["of_trainings"] == "3"
    for row in means["rows"]:
        values = [own[f"net_{row['row']}"], *steady[f"net_{row['row']}"]]
        assert row["mean"] == pytest.approx(np.mean(values), abs=1e-4)
        assert row["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-4)
        assert row["ci_low"] < row["mean"] < row["ci_high"]
    text = (tmp_path / "reports/mini/tables/doc/1.md").read_text("utf-8")
    assert means["in_words"] in text and "means of 3 trainings" in text


def test_a_row_without_trainings_is_left_out_and_counted(tmp_path: Path) -> None:
    known = {"net_none": [44.0, 46.0], "net_mid": [50.0, 49.0]}
    (means,) = tables(tmp_path / "two", known)["means"]
    assert [row["row"] for row in means["rows"]] == ["none", "mid"]
    (pair,) = means["pairs"]
    assert {pair["first"], pair["second"]} == {"none", "mid"}
    words = "By the means of 3 trainings of each row but 1, of which one is known; of 1 pair "
    assert means["in_words"].startswith(words)
    assert tables(tmp_path / "one", {"net_none": [44.0, 46.0]})["means"] == []


def test_pairs_are_decided_by_means_and_undecided_where_trainings_scatter(tmp_path: Path) -> None:
    steady = {row: [value + step for step in (-0.4, 0.0, 0.4)] for row, value in RUN.items()}
    wide = {row: [value + step for step in (-20.0, 0.0, 20.0)] for row, value in RUN.items()}
    found = {}
    for name, rows in (("steady", steady), ("wide", wide)):
        (means,) = tables(tmp_path / name, rows)["means"]
        pair = next(p for p in means["pairs"] if {p["first"], p["second"]} == {"none", "full"})
        found[name] = pair
    assert found["steady"]["verdict"] == "agrees"
    assert found["steady"]["p_holm"] < 0.05 < found["wide"]["p_holm"]
    assert found["wide"]["verdict"] == "undecided"
    assert found["wide"]["ci_low"] < 0 < found["wide"]["ci_high"]


def test_a_reference_that_holds_this_run_alone_says_nothing_more(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    metrics = {"net_none": read_json(work.metrics("net_none"))}
    scored = metrics["net_none"]["protocols"]["center"]
    (digest,) = scored["predictions_content"]
    path = reference_path(tmp_path, "mini")
    identity = metrics["net_none"]["identity"]
    one = Result("net_none", "center", "top1_pct", 0, "cpu", "2", identity, 300, digest, 45.0)
    write_results(path, [one])
    assert load_trainings(metrics, path) == {}


def test_videos_of_one_cluster_leave_the_order_to_the_run_and_the_file_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.scores.video_scores.cluster_codes", lambda names: np.zeros(len(names), int)
    )
    table = tables(tmp_path, {row: [value, value + 1.0] for row, value in RUN.items()})
    assert {pair["videos_error"] for pair in table["orderings"][0]["pairs"]} == {None}
    assert table["means"] == []


def test_taus_of_many_draws_are_scipys() -> None:
    draws = np.random.default_rng(0).integers(0, 6, (200, 7)).astype(float)  # with ties
    claimed = np.array([1.0, 2.0, 2.0, 5.0, 4.0, 3.0, 0.5])
    want = [scipy.stats.kendalltau(draw, claimed).statistic for draw in draws]
    np.testing.assert_allclose(taus(draws, claimed), want, atol=1e-12)
    assert np.isnan(taus(np.zeros((1, 7)), claimed)).all()
