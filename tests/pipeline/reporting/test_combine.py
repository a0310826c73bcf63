"""Numbers made from several runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.core.errors import DataError, ManifestError
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.scores import predictions
from pipeline.scores.reference import Result, reference_path, write_results
from tests.pipeline.reporting import fakes


def combine(work: Workspace, **rule: Any) -> dict[str, Any]:
    """Write one combination, make the tables, return its metrics ({} when it was not made)."""
    value = {"label": "both", "protocols": ["center"], **rule}
    path = work.manifests / "combinations.yaml"
    path.write_text(yaml.safe_dump({"combinations": {"both": value}}), encoding="utf-8")
    layout_path = work.manifests / "tables" / "doc_1.yaml"
    layout = yaml.safe_load(layout_path.read_text("utf-8"))
    layout["rows"]["blank"]["run"] = "both"
    layout_path.write_text(yaml.safe_dump(layout, sort_keys=False), encoding="utf-8")
    fakes.make_tables(work)
    combined = json.loads((work.reports / "tables" / "combinations.json").read_text("utf-8"))
    found: dict[str, Any] = combined.get("both", {})
    return found


def cell(work: Workspace) -> dict[str, Any]:
    found = json.loads((work.reports / "tables" / "cells.json").read_text("utf-8"))["cells"]
    one: dict[str, Any] = found["doc/1/blank/top1"]
    return one


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "clipped_logit_sum"},
        {"rule": "softmax_mean"},
        {"rule": "stream_fusion", "weights": [1.0, 1.5]},
    ],
)
def test_an_ensemble_is_scored_on_its_members_videos(tmp_path: Path, rule: dict[str, Any]) -> None:
    work = fakes.full(tmp_path)
    metrics = combine(work, members=["net_mid", "net_full"], **rule)
    found = metrics["protocols"]["center"]
    assert found["n_scored"] == fakes.VIDEOS
    assert 40 < found["top1_pct"] < 75
    assert found["views"] == 2
    lineage = cell(work)["lineage"]
    assert lineage["runs"] == ["net_mid", "net_full"] and len(lineage["sources"]) == 2
    assert cell(work)["status"] == "smoke"
    assert "both" in fakes.make_report(work)


def test_folds_are_pooled(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.predict(work, "net_mid", 0.2, start=1000)
    fakes.score_row(work, "net_mid")
    metrics = combine(work, members=["net_mid", "net_none"], rule="pool_folds")
    found = metrics["protocols"]["center"]
    assert found["n_scored"] == 2 * fakes.VIDEOS
    assert found["top1_pct"] == pytest.approx((20 + 45) / 2, abs=0.5)


def test_splits_are_averaged_with_an_interval_over_their_videos(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    metrics = combine(work, members=["net_mid", "net_full"], rule="mean_of_folds")
    found = metrics["protocols"]["center"]
    single = [
        json.loads(work.metrics(row).read_text("utf-8"))["protocols"]["center"]
        for row in ("net_mid", "net_full")
    ]
    mean = sum(one["top1_pct"] for one in single) / 2
    assert found["top1_pct"] == pytest.approx(mean, abs=1e-3)
    low, high = found["top1_ci95_pct"]
    assert low < mean < high
    # Correlated folds over the same videos narrow little: not as if the videos were twice as many.
    widths = [one["top1_ci95_pct"][1] - one["top1_ci95_pct"][0] for one in single]
    assert high - low > 0.8 * min(widths)


def test_a_mean_over_splits_is_compared_with_other_rows(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    mean = combine(work, members=["net_mid", "net_full"], rule="mean_of_folds")
    top1_pct = mean["protocols"]["center"]["top1_pct"]
    tables = json.loads((work.reports / "tables" / "cells.json").read_text("utf-8"))
    (ordering,) = tables["tables"][0]["orderings"]
    pairs = [p for p in ordering["pairs"] if "blank" in (p["first"], p["second"])]
    assert pairs
    for pair in pairs:
        other = pair["second"] if pair["first"] == "blank" else pair["first"]
        difference = top1_pct - tables["cells"][f"doc/1/{other}/top1"]["measured"]
        sign = 1 if pair["first"] == "blank" else -1
        assert pair["measured_difference"] == pytest.approx(sign * difference, abs=1e-3)
        assert pair["n_videos"] == fakes.VIDEOS


def test_a_member_that_was_not_run_is_named(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    assert combine(work, members=["net_mid", "net_never"], rule="softmax_mean") == {}
    assert cell(work)["status"] == "not-run"
    assert "net_never: data set toy" in cell(work)["reason"]


def test_a_member_outside_the_profile_leaves_it_cited(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    assert combine(work, members=["net_mid", "net_else"], rule="softmax_mean") == {}
    found = json.loads((work.reports / "tables" / "cells.json").read_text("utf-8"))["cells"]
    assert "doc/1/blank/top1" not in found


def test_only_a_mean_takes_combinations(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    with pytest.raises(ManifestError, match="needs trained rows"):
        path = work.manifests / "combinations.yaml"
        pair = {"label": "l", "members": ["net_mid", "net_full"], "protocols": ["center"]}
        value = {
            "a": {**pair, "rule": "softmax_mean"},
            "b": {**pair, "rule": "softmax_mean", "members": ["a", "net_mid"]},
        }
        path.write_text(yaml.safe_dump({"combinations": value}), encoding="utf-8")
        fakes.make_tables(work)
    value["b"]["rule"] = "mean_of_folds"
    path.write_text(yaml.safe_dump({"combinations": value}), encoding="utf-8")
    fakes.make_tables(work)
    combined = json.loads((work.reports / "tables" / "combinations.json").read_text("utf-8"))
    assert combined["b"]["protocols"]["center"]["top1_ci95_pct"] is not None


def test_rows_of_several_data_sets_are_not_combined(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    metrics = json.loads(work.metrics("net_mid").read_text("utf-8"))
    work.metrics("net_mid").write_text(json.dumps({**metrics, "dataset": "other"}), "utf-8")
    with pytest.raises(ManifestError, match="several data sets: other, toy"):
        combine(work, members=["net_mid", "net_full"], rule="softmax_mean")


def test_rows_with_other_labels_are_not_combined(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    path = work.run("net_mid") / "predict" / "center.parquet"
    found = predictions.read(path)
    turned = tuple(((label + 1) % fakes.CLASSES,) for (label,) in found.labels)
    predictions.write(path, replace(found, labels=turned))
    with pytest.raises(DataError, match="video0000 has label") as caught:
        combine(work, members=["net_mid", "net_full"], rule="softmax_mean")
    assert caught.value.where == "manifests/combinations.yaml, combinations.both"


def test_trainings_of_one_number_are_combined_and_their_mean_is_shown(tmp_path: Path) -> None:
    rule = {"members": ["net_mid", "net_full"], "rule": "softmax_mean"}
    single = combine(fakes.full(tmp_path / "one"), **rule)["protocols"]["center"]["top1_pct"]
    work = fakes.full(tmp_path / "two")
    for row, accuracy in (("net_mid", 0.3), ("net_full", 0.4)):
        fakes.predict(work, row, accuracy, number=1)
        fakes.score_row(work, row, seeds=2)
    both = combine(work, **rule)["protocols"]["center"]["top1_pct"]
    for row, accuracy in (("net_mid", 0.3), ("net_full", 0.4)):
        fakes.predict(work, row, accuracy)
        fakes.predict(work, row, accuracy, number=1)
        fakes.score_row(work, row)
    assert min(single, both) > 0 and both < single - 3


def test_a_mean_over_splits_has_the_spread_of_its_members_trainings(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    mean: dict[str, Any] = {"members": ["net_mid", "net_full"], "rule": "mean_of_folds"}
    before = combine(work, **mean)["protocols"]["center"]["top1_pct"]
    assert cell(work)["interval_over"] == "videos"
    lines = []
    for member, values in (("net_mid", (30, 40, 50, 90)), ("net_full", (40, 50, 60))):
        metrics = json.loads(work.metrics(member).read_text("utf-8"))
        metrics["identity"] = member
        write_json(work.metrics(member), metrics)
        lines += [
            Result(member, "center", "top1_pct", n, "cpu", "2", member, 300, f"{member} {n}", v)
            for n, v in enumerate(map(float, values), start=1)
        ]
    write_results(reference_path(work.root, work.profile), lines)
    combine(work, **mean)
    after = cell(work)
    assert (after["measured"], after["interval_over"]) == (before, "videos and trainings")
    # The common seeds 1 to 3 gave 35, 45 and 55, ten points apart: t with two degrees of freedom.
    half = (after["ci_high"] - after["ci_low"]) / 2
    assert half > 25
