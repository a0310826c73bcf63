"""Whether texts repeat the tables as they are."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.audit import quoted
from pipeline.audit.context import Context, Tools
from pipeline.audit.links import Status
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from tests.checkout import ROOT


def cell(measured: float, claimed: str) -> dict[str, Any]:
    return {"measured": measured, "claimed": claimed, "ci_low": 46.104, "ci_high": 51.623}


TABLE = {
    "document": "d",
    "table": "t",
    "rows": [
        {"row": "tsn", "label": "TSN", "cells": ["top1"]},
        {"row": "tdn", "label": "TDN", "cells": ["top1"]},
    ],
    "orderings": [{"in_words": "Kendall's tau 0.33", "pairs": [{"difference": -18.9123}]}],
    "means": [{"rows": [{"row": "tsn", "mean": 44.21, "sd": 1.87}], "in_words": "tau 0.52"}],
}
CELLS = {"d/t/tsn/top1": cell(48.7013, "19.7"), "d/t/tdn/top1": cell(81.4935, "51.3")}


@pytest.mark.parametrize(
    ("block", "wrong"),
    [
        ("| TSN | 19.7 | 48.70 [46.10, 51.62] | smoke |", 0),
        ("| TSN | 19.7 | 48.7 |\n| TDN | 51.3 | 81.49 |", 0),
        ("| TSN | 19.7 | 49.70 |", 1),
        ("| TSN | 51.3 | 81.49 |", 2),
        ("| TSN | 44.2 | 1.9 |", 0),
        ("| TDN | 44.2 |", 1),
        ("| TSN | | 48.71 |", 1),
        ("TDN is 18.91 above, tau 0.33", 1),
        ("TSN minus TDN: -18.91, tau 0.33", 0),
        ("7 of 21 pairs in Python 3.11.7", 0),
    ],
)
def test_a_number_with_decimals_is_the_tables(block: str, wrong: int) -> None:
    assert len(quoted.unlike(block, TABLE, CELLS)) == wrong


@pytest.mark.parametrize("profile", ["mini", "local"])
def test_readme_and_docs_quote_the_committed_tables(profile: str) -> None:
    work = Workspace(ROOT, profile)
    tools = Tools(plans=lambda _: {}, files=lambda *_: None, lock=ROOT / "dvc.lock")
    links = list(quoted.check(Context(work, tools, Evidence(work))))
    assert len(links) >= 2
    assert {(link.status, link.detail) for link in links} == {(Status.OK, "")}
