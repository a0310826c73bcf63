"""Which status a cell gets."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.reporting.cells import MEANING, Measurement, Status, judge, make_cell
from pipeline.schema.base import validate
from pipeline.schema.claims import Claim
from pipeline.schema.table_layouts import Column
from tests.pipeline.reporting.fakes import FLOPS, TOP1


def column(**changes: Any) -> Column:
    return validate(Column, {**TOP1, **changes}, where="here")


def claim(value: str = "51.3", unit: str = "percent", note: str = "") -> Claim:
    place = {"document": "d", "table": "1", "row": "a", "column": "c"}
    record = {"claim_id": "d/1/a/c", **place, "value": value, "unit": unit, "note": note}
    return validate(Claim, record, where="here")


def measured(value: float = 51.0, **changes: Any) -> Measurement:
    given = {"known": True, "measured": value, "n_expected": 10, "n_scored": 10, **changes}
    return Measurement(**given)


CONFLICT = claim(note="claim-conflict x/1/a/c: the other prints 52.3")


@pytest.mark.parametrize(
    ("given", "found", "status"),
    [
        (claim(), Measurement(known=False), Status.CITED),
        (claim(), Measurement(known=True, missing="why"), Status.NOT_RUN),
        (claim(), measured(smoke=True), Status.SMOKE),
        (claim(), measured(51.3, smoke=True), Status.SMOKE),
        (claim(), measured(n_scored=9), Status.PARTIAL),
        (claim(), measured(n_scored=12, n_expected=24777), Status.PARTIAL),
        (claim(), measured(n_scored=985, n_expected=1000), Status.PARTIAL),
        (claim(), measured(n_scored=990, n_expected=1000), Status.WITHIN),
        (claim(), measured(n_scored=9999, n_expected=10_000), Status.VERIFIED),
        (claim(), measured(subset="a laptop's disk"), Status.PARTIAL),
        (None, measured(), Status.MEASURED),
        (claim(), measured(50.3), Status.VERIFIED),
        (claim(), measured(50.29), Status.DIFFERS),
        (claim(), measured(60.0), Status.DIFFERS),
        (CONFLICT, measured(51.3), Status.CLAIM_CONFLICT),
        (CONFLICT, measured(51.3, smoke=True), Status.CLAIM_CONFLICT),
        (CONFLICT, Measurement(known=False), Status.CLAIM_CONFLICT),
    ],
)
def test_the_rules_in_order(given: Claim | None, found: Measurement, status: Status) -> None:
    assert judge(given, found, column())[0] is status


def test_nothing_measured_on_smoke_data_is_ever_compared() -> None:
    for value in (0.0, 51.3, 100.0):
        status, reason = judge(claim(), measured(value, smoke=True), column())
        assert status is Status.SMOKE and "away" not in reason


@pytest.mark.parametrize(
    ("printed", "counted", "status"),
    [
        ("33", 32.7, Status.VERIFIED),
        ("35", 34.5, Status.VERIFIED),
        ("35", 34.49, Status.WITHIN),
        ("38", 37.47, Status.WITHIN),
        ("33", 33.9, Status.DIFFERS),
    ],
)
def test_costs_are_compared_also_on_smoke_data(
    printed: str, counted: float, status: Status
) -> None:
    flops = validate(
        Column, {**FLOPS, "tolerance": {"last_digit_units": 0.5, "relative_pct": 2.0}}, where="h"
    )
    found = Measurement(measured=counted, smoke=True)
    found_status, reason = judge(claim(printed, "gflops"), found, flops)
    assert found_status is status
    assert (" % of the printed number" in reason) == (status is Status.WITHIN)


def test_a_time_is_never_compared() -> None:
    measure = {"kind": "timing", "name": "latency_ms", "protocol": "center"}
    timing = column(measure=measure, unit="ms")
    found = Measurement(measured=900.0, machine="a laptop")
    status, reason = judge(claim("22.1", "ms"), found, timing)
    assert status is Status.MEASURED and "a laptop" in reason


def test_a_cell_keeps_the_printed_text_and_its_address() -> None:
    cell = make_cell(("d/1", "a", "top1"), claim("48.0"), measured(47.5), column())
    assert cell.cell_id == "d/1/a/top1"
    assert cell.claimed == "48.0"
    assert cell.as_json()["status"] == "verified"
    assert not cell.smoke


def test_every_status_is_explained() -> None:
    assert set(MEANING) == set(Status)
