"""The first screen: the comparison it leads with, and what it says is decided."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.reporting.overview import data_counts, headline, orders, sentences


def cell(value: float, over: str = "videos") -> dict[str, Any]:
    ends = {"ci_low": value - 2, "ci_high": value + 2, "status": "smoke"}
    return {"measured": value, "claimed": "50.0", "interval_over": over, "cell_id": "d/1/x", **ends}


def pair(first: str, second: str, difference: float, verdict: str) -> dict[str, Any]:
    ends = {"ci_low": difference - 1.0, "ci_high": difference + 1.0, "over": "videos"}
    return {
        "first": first,
        "second": second,
        "measured_difference": difference,
        "verdict": verdict,
        **ends,
    }


def table(*pairs: dict[str, Any], rows: tuple[str, ...] = ("tsn", "tdn")) -> dict[str, Any]:
    labels = {"tsn": "TSN (Wang et al., 2016)", "tsm": "TSM", "tdn": "TDN"}
    return {
        "document": "d",
        "table": "1",
        "caption": "Networks.",
        "headline": ["tsn", "tsm", "tdn"],
        "columns": [{"key": "top1", "label": "Top1", "decimals": 2}],
        "rows": [{"row": key, "label": label} for key, label in labels.items()],
        "orderings": [{"column": "top1", "rows": list(rows), "pairs": list(pairs), "tau": None}],
        "means": [],
    }


CELLS = {"d/1/tsn/top1": cell(40.0), "d/1/tdn/top1": cell(60.0)}


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        (
            pair("tsn", "tdn", -20.0, "agrees"),
            "TDN is 20.0 points above TSN (95 % interval +19.0 to +21.0, over videos): "
            "as in the paper.",
        ),
        (
            pair("tdn", "tsn", -0.5, "undecided"),
            "TDN is 0.5 points below TSN (95 % interval −1.5 to +0.5, over videos): "
            "not decided by these videos.",
        ),
        (
            pair("tdn", "tsn", -3.0, "contradicts"),
            "TDN is 3.0 points below TSN (95 % interval −4.0 to −2.0, over videos): "
            "the reverse of the paper.",
        ),
    ],
)
def test_the_answer_says_how_far_and_how_sure(given: dict[str, Any], answer: str) -> None:
    found = headline([table(given)], CELLS)
    assert found is not None
    assert found["answer"] == answer
    assert [row["label"] for row in found["rows"]] == ["TSN", "TDN"]
    assert not found["trainings"]


def test_intervals_cover_trainings_only_where_every_cell_does() -> None:
    both = {key: cell(50.0, "videos and trainings") for key in CELLS}
    found, mixed = (
        headline([table()], both),
        headline([table()], {**CELLS, **dict([*both.items()][:1])}),
    )
    assert found is not None and mixed is not None
    assert found["trainings"] and not mixed["trainings"]
    assert found["answer"] == "", "no pair was tested"


def test_one_measured_row_is_no_comparison() -> None:
    assert headline([table()], {"d/1/tdn/top1": cell(60.0)}) is None
    assert (
        headline([table()], {**CELLS, "d/1/tsn/top1": {**cell(40.0), "status": "partial"}}) is None
    )
    assert headline([{**table(), "headline": []}], CELLS) is None


def test_the_same_rows_under_two_documents_are_listed_once() -> None:
    one = table(pair("tsn", "tdn", -20.0, "agrees"), pair("tsm", "tdn", -1.0, "undecided"))
    found = orders([one, {**one, "document": "e"}])
    assert [line["name"] for line in found] == ["d 1"]
    assert found[0]["counts"] == {"agrees": 1, "contradicts": 0, "undecided": 1}
    assert found[0]["shares"] == {"agrees": 50.0, "contradicts": 0.0, "undecided": 50.0}


def test_a_column_without_printed_numbers_has_no_order() -> None:
    assert orders([table(pair("tsn", "tdn", -20.0, "supported"))]) == []


def test_sentences_are_counted_and_taken_from_each_document_in_turn() -> None:
    verdicts = [
        {"ours": "holds", "ours_rule": "r", "document": name, "prose_id": f"{name}{n}"}
        for name in ("a", "b")
        for n in range(4)
    ]
    verdicts += [{"ours": "undecided", "ours_rule": "", "document": "a", "prose_id": "x"}]
    found = sentences(verdicts)
    assert found["holds"]["count"] == 8
    assert [v["prose_id"] for v in found["holds"]["shown"]] == ["a0", "b0", "a1", "b1", "a2"]
    assert found["undecided"] == {"title": "What nothing decides", "count": 0, "shown": []}


def test_a_video_counts_once_whatever_its_splits() -> None:
    statuses = {"ok": 7, "partial": 1, "missing": 1, "error": 1, "unlisted": 3, "skipped": 5}
    sets = [{"counts": {"by_status": statuses}}, {"counts": {"by_status": {}}}]
    assert data_counts(sets) == {"wanted": 10, "usable": 8, "failed": 2, "partial": 1}


def test_rows_without_printed_numbers_are_compared_too() -> None:
    bare = {key: {**value, "claimed": None} for key, value in CELLS.items()}
    given = table(pair("tsn", "tdn", -20.0, "supported"), rows=())
    found = headline([given], bare)
    assert found is not None
    assert found["answer"].endswith(": a difference that the data decide.")


def test_a_name_with_a_hyphen_keeps_it() -> None:
    given = table(pair("tsn", "tdn", 3.0, "agrees"))
    given["rows"][2]["label"] = "TDN-R50"
    found = headline([given], CELLS)
    assert found is not None
    assert found["answer"].startswith("TDN-R50 is 3.0 points below TSN (95 % interval −4.0 to −2.0")
