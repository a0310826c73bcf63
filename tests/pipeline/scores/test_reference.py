"""The reference distribution: its file, and what it lets one expect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import RecordError
from pipeline.scores.reference import (
    LEVEL_PCT,
    Result,
    allowed_outside,
    bounds,
    read_results,
    write_results,
)


def result(row: str = "row", seed: int = 0, value_pct: float = 80.0, **other: str) -> Result:
    words = {"cpu": "a cpu", "torch": "2", "identity": "abc", **other}
    return Result(row, "center", "top1_pct", seed, words["cpu"], words["torch"],
                  words["identity"], value_pct)  # fmt: skip


def test_results_come_back_from_the_file_in_order(tmp_path: Path) -> None:
    path = tmp_path / "reference" / "mini.csv"
    path.parent.mkdir()
    written = [result(seed=seed, cpu='one, "two"') for seed in (2, 0, 1)]
    write_results(path, written)
    assert read_results(path) == sorted(written)
    text = path.read_bytes()
    write_results(path, reversed(written))
    assert path.read_bytes() == text


def test_the_same_training_stands_once_and_another_machine_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mini.csv"
    write_results(path, [result(value_pct=70.0), result(value_pct=71.0), result(cpu="another")])
    assert [(one.cpu, one.value_pct) for one in read_results(path)] == [
        ("a cpu", 71.0),
        ("another", 80.0),
    ]


@pytest.mark.parametrize("value", ["nan", "101", "-1", "many"])
def test_a_line_that_is_no_result_is_named(tmp_path: Path, value: str) -> None:
    path = tmp_path / "mini.csv"
    write_results(path, [result(seed=0), result(seed=1)])
    path.write_text(path.read_text().replace("80.0", value, 1).replace("80.0", "79.0"))
    with pytest.raises(RecordError, match="line 2 is no result"):
        read_results(path)


def test_no_file_has_no_results(tmp_path: Path) -> None:
    assert read_results(tmp_path / "none.csv") == []


def test_fewer_than_three_trainings_bound_nothing() -> None:
    assert set(bounds({"a": [80.0, 81.0], "b": [70.0, 71.0, 72.0]})) == {"b"}
    assert bounds({"a": [80.0]}) == {}


def test_bounds_stay_within_0_and_100_and_hold_the_mean() -> None:
    found = bounds(
        {"high": [99.9, 100.0, 99.8, 100.0], "low": [0.0, 0.2, 0.1], "mid": [40, 60, 50]}
    )
    for one in found.values():
        assert 0 <= one.low_pct <= one.mean_pct <= one.high_pct <= 100
        assert one.holds(one.mean_pct)
    assert found["high"].high_pct == pytest.approx(100)


@pytest.mark.parametrize("trainings", [3, 5])
def test_honest_results_lie_within_as_often_as_stated(trainings: int) -> None:
    generator = np.random.default_rng(0)
    means, inside, total = generator.uniform(0.7, 1.3, 40), 0, 0
    for _ in range(150):
        angles = means[:, None] + generator.normal(0, 0.03, (40, trainings + 1))
        shares = 100 * np.sin(angles) ** 2
        found = bounds({str(row): shares[row, 1:].tolist() for row in range(40)})
        inside += sum(found[str(row)].holds(shares[row, 0]) for row in range(40))
        total += 40
    assert abs(100 * inside / total - LEVEL_PCT) < 0.8


def test_a_shift_of_five_deviations_lies_outside_nine_times_in_ten() -> None:
    generator = np.random.default_rng(1)
    outside = 0
    for _ in range(100):
        angles = 1.0 + generator.normal(0, 0.02, (40, 6))
        shares = 100 * np.sin(angles) ** 2
        found = bounds({str(row): shares[row, 1:].tolist() for row in range(40)})
        spoiled = 100 * np.sin(angles[:, 0] - 0.1) ** 2
        outside += sum(not found[str(row)].holds(spoiled[row]) for row in range(40))
    assert outside / 4000 > 0.9


def test_chance_explains_few_results_outside_and_none_of_one_row() -> None:
    assert allowed_outside(1) == 0
    assert 0 < allowed_outside(40) < 5
    assert allowed_outside(40) <= allowed_outside(110) < 9
