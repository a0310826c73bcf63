"""The reference distribution: its file, and what it lets one expect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import RecordError
from pipeline.scores.reference import (
    PREDICTION_PCT,
    Result,
    allowed_outside,
    bounds,
    read_results,
    write_results,
)


def result(seed: int = 0, value_pct: float = 80.0, **other: str) -> Result:
    return Result(
        row="row",
        protocol="center",
        metric="top1_pct",
        seed=seed,
        cpu=other.get("cpu", "a cpu"),
        torch="2",
        identity="abc",
        videos=1232,
        predictions="123",
        value_pct=value_pct,
    )


def of(values: Sequence[float], videos: int = 1232) -> tuple[Sequence[float], int]:
    return values, videos


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


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b",80.0", b",nan", "line 2 is no result"),
        (b",80.0", b",101", "line 2 is no result"),
        (b",80.0", b",many", "line 2 is no result"),
        (b",80.0", b"", "line 2 is no result"),
        (b",1232", b",0", "line 2 is no result"),
        (b"row,protocol", b"protocol,row", "line 1 is no result: the header"),
        (b"row,center", b"\xff,center", "line 1 is no result"),
        (b"row,center", b"x" * 200_000, "is no result: field larger"),
        (b",1,a cpu", b",0,a cpu", "stands in it twice"),
    ],
)
def test_a_file_that_somebody_damaged_is_refused_in_words(
    tmp_path: Path, old: bytes, new: bytes, words: str
) -> None:
    path = tmp_path / "mini.csv"
    write_results(path, [result(seed=0), result(seed=1)])
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(RecordError, match=words):
        read_results(path)


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mini.csv"
    write_results(path, [result()])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_results(path) == [result()]


def test_no_file_has_no_results(tmp_path: Path) -> None:
    assert read_results(tmp_path / "none.csv") == []


def test_fewer_than_three_trainings_bound_nothing() -> None:
    assert set(bounds({"a": of([80.0, 81.0]), "b": of([70.0, 71.0, 72.0])})) == {"b"}
    assert bounds({"a": of([80.0])}) == {}


def test_bounds_stay_within_0_and_100_and_hold_the_mean() -> None:
    rows = {"high": [99.9, 100.0, 99.8, 100.0], "low": [0.0, 0.2, 0.1], "mid": [40.0, 60.0, 50.0]}
    found = bounds({name: of(values) for name, values in rows.items()})
    for one in found.values():
        assert 0 <= one.low_pct <= one.mean_pct <= one.high_pct <= 100
        assert one.holds(one.mean_pct)
    assert found["high"].high_pct == pytest.approx(100)


@pytest.mark.parametrize("trainings", [3, 5])
@pytest.mark.parametrize("unequal", [0.0, 0.4])
def test_honest_results_lie_within_as_often_as_stated(trainings: int, unequal: float) -> None:
    generator = np.random.default_rng(0)
    means, inside, total = generator.uniform(0.7, 1.3, 40), 0, 0
    for _ in range(150):
        sds = 0.03 * np.exp(generator.normal(0, unequal, (40, 1)))
        angles = means[:, None] + sds * generator.normal(0, 1, (40, trainings + 1))
        shares = 100 * np.sin(angles) ** 2
        found = bounds({str(row): of(shares[row, 1:].tolist()) for row in range(40)})
        inside += sum(found[str(row)].holds(shares[row, 0]) for row in range(40))
        total += 40
    assert abs(100 * inside / total - PREDICTION_PCT) < 0.8


def test_a_shift_of_five_deviations_lies_outside_nine_times_in_ten() -> None:
    generator = np.random.default_rng(1)
    outside = 0
    for _ in range(100):
        angles = 1.0 + generator.normal(0, 0.02, (40, 6))
        shares = 100 * np.sin(angles) ** 2
        found = bounds({str(row): of(shares[row, 1:].tolist()) for row in range(40)})
        spoiled = 100 * np.sin(angles[:, 0] - 0.1) ** 2
        outside += sum(not found[str(row)].holds(spoiled[row]) for row in range(40))
    assert outside / 4000 > 0.9


def test_small_and_large_test_sets_lend_each_other_nothing() -> None:
    generator = np.random.default_rng(2)
    rows = {}
    for row in range(60):
        videos = 1232 if row < 40 else 48
        angles = 1.0 + generator.normal(0, 0.02 if row < 40 else 0.1, 4)
        rows[row] = of((100 * np.sin(angles) ** 2).tolist(), videos)
    found = bounds(rows)
    widths = [one.high_pct - one.low_pct for one in found.values()]
    assert max(widths[:40]) < min(widths[40:])
    alone = bounds({row: value for row, value in rows.items() if row < 40})
    assert {row: found[row] for row in alone} == alone


def test_results_that_tie_leave_room_for_a_video() -> None:
    found = bounds({"a": of([50.0] * 3, 48), "b": of([100.0] * 3, 48)})
    assert found["a"].holds(50 + 100 / 48) and found["b"].holds(100 - 100 / 48)


def test_chance_explains_few_results_outside_and_none_of_one_row() -> None:
    assert allowed_outside(1) == 0
    assert 0 < allowed_outside(40) < 5
    assert allowed_outside(40) <= allowed_outside(110) < 9
