"""Paired timing takes turns, forms ratios by round, and reports without names."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.benchmark import (
    Report,
    Sample,
    compare,
    median_s,
    paired,
    ratio,
    table,
    timed,
    write_benchmark,
)
from pipeline.core.errors import UsageError


def test_contenders_take_turns_and_the_order_turns_round() -> None:
    calls: list[str] = []
    found = paired(
        {name: lambda name=name: calls.append(name) for name in "ab"},  # type: ignore[misc]  # a lambda with a default
        rounds=3,
        warmup=1,
    )
    assert "".join(calls[2:]) == "abbaab"
    assert len(calls) == 8
    assert {name: len(samples) for name, samples in found.items()} == {"a": 3, "b": 3}


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(UsageError, match="0 contenders"):
        paired({}, rounds=1)


def test_processor_time_counts_the_process_and_its_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.15: pass"
    child = timed(lambda: subprocess.run([sys.executable, "-c", burn], check=True))
    own = timed(lambda: sum(range(2_000_000)))
    assert child.cpu_s >= 0.14
    assert own.cpu_s > 0


def test_ratios_are_formed_by_round() -> None:
    walls = {"slow": [2.0, 30.0, 8.0], "fast": [1.0, 10.0, 2.0]}
    samples = {name: [Sample(wall, 0.5) for wall in found] for name, found in walls.items()}
    assert ratio(samples, "slow", "fast") == {"median": 3.0, "low": 2.5, "high": 3.5}
    assert ratio(samples, "slow", "fast", "cpu_s")["median"] == 1.0
    assert median_s(samples["slow"]) == 8.0
    one = {name: found[:1] for name, found in samples.items()}
    assert ratio(one, "slow", "fast") == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_contenders_are_compared_in_a_row_each() -> None:
    calls = {"a": lambda: sum(range(1000)), "b": lambda: sum(range(1000))}
    rows = compare(calls, against="a", rounds=2, count=4, unit="clip")
    assert [row["way"] for row in rows] == ["a", "b"]
    assert rows[0]["speed-up"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert all(row["ms per clip"] > 0 and row["against"] == "a" for row in rows)


def test_a_report_is_json_and_tables_and_names_no_host(tmp_path: Path) -> None:
    rows = [{"way": "a|b", "ms": 1.25}, {"way": "c", "x": {"median": 2, "low": 1, "high": 3}}]
    text = write_benchmark(tmp_path, Report("thing", "A thing", {"rounds": 3}, rows))
    report = json.loads((tmp_path / "thing.json").read_text())
    assert text == (tmp_path / "thing.md").read_text()
    assert report["machine"]["cores"] >= 1 and report["machine"]["packages"]["numpy"]
    assert "| a\\|b | 1.25 |  |" in text and "| c |  | 2 (1–3) |" in text
    host = platform.node()
    assert len(host) < 4 or (host not in text and host not in json.dumps(report))


def test_a_table_has_every_key_as_a_column() -> None:
    assert table([{"a": True}, {"b": 12345.6}]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| yes |  |",
        "|  | 12,346 |",
    ]
