"""Numbers in sentences become links; names, levels and nulls do not."""

from __future__ import annotations

import re

import pytest

from pipeline.reporting.anchors import anchor, beside, cell_link, linked, named

FOUND = re.compile(r'<a class="value" href="x">([^<]*)</a>')


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Kendall's tau -0.67 (95 % interval 0.00 to 0.32).", ["-0.67", "0.00", "0.32"]),
        ("Of 10 pairs: 5 as printed, 2 undecided.", ["10", "5", "2"]),
        ("TDN minus TSN: −0.04 (−0.08 to +0.01)", ["−0.04", "−0.08", "+0.01"]),
        ("(95 % intervals; 0.5 is no preference)", []),
        ("Maps of res5 (6 × 6) by I3D under center_1x1, table 1a", ["6", "6"]),
        ("V holds at 1 of 3 places: p < 0.001", ["1", "3", "0.001"]),
        ("of 5,000 draws, 1,234,567.5 in all", ["5,000", "1,234,567.5"]),
        ("1,2 and 3,0000 are lists", ["1", "2", "3", "0000"]),
        ("p = 1e-05, 2.5E+3 or −4e−7", ["1e-05", "2.5E+3", "−4e−7"]),
        ("2e, 1e-5x and x1e-05 are names", []),
    ],
)
def test_measured_numbers_are_linked(text: str, numbers: list[str]) -> None:
    woven = linked(text, "x")
    assert FOUND.findall(woven) == numbers
    assert woven.striptags() == text


def test_names_are_linked_whole_and_text_is_escaped() -> None:
    links = {"tdn": "x", "tdn_none": "y"}
    woven = named("rows tdn_none, tdn & <tdn_none_more>.", links)
    assert woven == (
        'rows <a class="value" href="y">tdn_none</a>, <a class="value" href="x">tdn</a>'
        " &amp; &lt;tdn_none_more&gt;."
    )
    assert named("a < b", {}) == "a &lt; b"


def test_a_trace_page_reaches_a_cell_beside_it() -> None:
    link = cell_link("doc/1/f_plus/top1")
    assert link == "trace/doc/1.html#trace-doc-1-f-plus-top1"
    assert beside(link) == "doc/1.html#trace-doc-1-f-plus-top1"
    assert anchor("run", "a_b/c") == "run-a-b-c"
