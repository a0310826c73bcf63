"""The page: self-contained, every number typed, nothing that the reader cannot resolve."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from pipeline.core.errors import AbsentData
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from tests.pipeline.reporting import fakes

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting and collects ids, links and tables without a caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.captions = self.tables = 0
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        self.captions += tag == "caption"
        self.tables += tag == "table"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return fakes.full(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def page(work: Workspace) -> str:
    about = {
        "status": "ok",
        "counts": {"ok": 298, "error": 2},
        "splits": {"val": {"listed": 300, "usable": 298}},
    }
    write_json(work.decoded("toy"), about)
    fakes.make_tables(work)
    return fakes.make_report(work)


def links_resolve(path: Path) -> Page:
    """Every link of a page leads to a file of the report, and to an id where it names one."""
    found = Page(path.read_text("utf-8"))
    assert found.open == []
    assert len(set(found.ids)) == len(found.ids)
    for link in found.links:
        place, _, name = link.partition("#")
        other = path.parent / place if place else path
        assert other.is_file(), link
        assert not name or name in Page(other.read_text("utf-8")).ids, link
    return found


def test_the_page_is_well_formed_and_its_links_resolve(page: str, work: Workspace) -> None:
    links_resolve(work.reports / "index.html")


def test_the_trace_pages_are_well_formed_and_their_links_resolve(
    page: str, work: Workspace
) -> None:
    pages = sorted((work.reports / "trace").rglob("*.html"))
    assert len(pages) > 2
    for path in pages:
        links_resolve(path)
        assert str(work.root) not in path.read_text("utf-8")


def test_every_measured_number_leads_to_its_trace(page: str) -> None:
    numbers = re.findall(r'<(a|span) class="value"([^>]*)>', page)
    assert len(numbers) > 10
    assert {tag for tag, _ in numbers} == {"a"}
    assert all('href="trace/' in rest for _, rest in numbers)


def test_a_verdict_leads_to_its_cells_and_they_to_their_files(page: str, work: Workspace) -> None:
    cell = '<a class="value" href="trace/doc/1.html#trace-doc-1-full-top1">{}</a>'
    assert f"1/full/top1 {cell.format('51.3')}" in page
    assert f"1/full/top1 {cell.format('63.00')}" in page
    assert '<a class="value" href="trace/prose.html#prose-doc-better">100</a> % of draws' in page
    walks = (work.reports / "trace" / "prose.html").read_text("utf-8")
    section = walks.partition('id="prose-doc-better"')[2].partition("</section>")[0]
    assert "51.3 &gt; 45.2" in section and "63 &gt; 45" in section
    assert '<a href="doc/1.html#trace-doc-1-full-top1">doc/1/full/top1</a>' in section
    assert "printed 51.3, measured 63.00" in section
    assert "prose-doc-set" not in walks, "a setting rests on no cell"


def test_what_a_verdict_lacks_is_named_and_linked(tmp_path: Path) -> None:
    work = fakes.make(tmp_path)
    fakes.make_tables(work)
    page = fakes.make_report(work)
    link = '<a class="value" href="trace/doc/1.html#trace-doc-1-mid-top1">1/mid/top1</a>'
    assert f"not measured: {link}" in page
    links_resolve(work.reports / "index.html")


def test_a_captions_numbers_and_rows_lead_to_what_they_rest_on(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    fakes.make_tables(work)
    fakes.make_figures(work)
    page = fakes.make_report(work)
    found = links_resolve(work.reports / "index.html")
    assert "trace/figures.html#figure-order-one" in found.links
    number = '<a class="value" href="trace/figures.html#figure-order-one">0.50</a>'
    assert f"3 things. Tau {number} (95 % interval" in page
    row = '<a class="value" href="trace/runs.html#run-net-full">net_full</a>'
    assert f"rows {row}, net_unscored." in page
    walks = (work.reports / "trace" / "figures.html").read_text("utf-8")
    links_resolve(work.reports / "trace" / "figures.html")
    assert '<a href="runs.html#run-net-full">net_full</a>' in walks
    assert '<a href="doc/1.html#trace-doc-1-full-top1">doc/1/full/top1</a>' in walks
    assert "reports/mini/figures/order_one.png" in walks
    assert "net_unscored" in walks


def test_a_column_is_named_where_a_table_has_several_orders(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    layout = work.manifests / "tables" / "doc_1.yaml"
    text = layout.read_text("utf-8")
    assert "<b>Top1.</b>" not in _page(work)
    layout.write_text(text.replace("ordering:\n- top1", "ordering:\n- top1\n- flops"), "utf-8")
    page = _page(work)
    assert "<b>Top1.</b>" in page and "<b>FLOPs.</b>" in page


def _page(work: Workspace) -> str:
    fakes.make_tables(work)
    return fakes.make_report(work)


def test_every_table_has_a_caption(page: str) -> None:
    found = Page(page)
    assert found.tables == found.captions > 3


def test_the_page_fetches_nothing(page: str) -> None:
    assert not re.search(r"https?://|<script[^>]|<link|@import|url\(", page)


def test_labels_are_escaped(page: str) -> None:
    assert "theirs &lt;b&gt;" in page and "theirs <b>" not in page


def test_what_a_reader_must_see(page: str) -> None:
    for text in (
        "Smoke results.",
        "Blind to frame order, at most 50 %.",
        "2 error, 298 ok",
        "in the paper&#39;s order",
        "data set toy is not on this machine",
        "3 of 4, 1 training each",
        "claim-conflict",
        "F⊙H (ticked)",
    ):
        assert text in page, text


def test_dark_and_small_screens_are_served(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "max-width: 40rem" in page and 'name="viewport"' in page


def test_real_results_carry_no_smoke_banner(tmp_path: Path) -> None:
    work = fakes.full(tmp_path, smoke=False)
    fakes.make_tables(work, smoke=False)
    page = fakes.make_report(work, smoke=False)
    assert "Smoke results." not in page
    assert "Blind to frame order" not in page


def test_the_report_needs_tables(tmp_path: Path) -> None:
    with pytest.raises(AbsentData, match="no tables"):
        fakes.make_report(fakes.make(tmp_path))


def test_the_page_states_the_tolerances_of_the_layouts(tmp_path: Path) -> None:
    work = fakes.full(tmp_path)
    path = work.manifests / "tables" / "doc_1.yaml"
    layout = yaml.safe_load(path.read_text("utf-8"))
    layout["columns"]["flops"]["tolerance"] = {"last_digit_units": 0.25, "relative_pct": 3.5}
    layout["columns"]["top1"]["tolerance"] = {"points": 1.5}
    path.write_text(yaml.safe_dump(layout, sort_keys=False, allow_unicode=True), "utf-8")
    fakes.make_tables(work)
    page = " ".join(fakes.make_report(work).split())
    assert "operations 0.25 units of the last printed digit or 3.5 %" in page
    assert "accuracies on the real data sets 1.5 points" in page
