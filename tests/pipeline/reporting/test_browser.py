"""The report in a browser: nothing overflows, nothing fails, nothing leaves the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import unescape
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import ROOT
from tests.pipeline.reporting import fakes
from tests.pipeline.reporting.test_dataset_pages import page as dataset_page
from tests.stages.conftest import store

__all__ = ["store"]  # a fixture

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
WIDTHS_PX = (360, 768, 1280)
PROBE = """
<script>
window.failures = [];
addEventListener("error", e => failures.push(String(e.message || e.target.outerHTML)), true);
addEventListener("securitypolicyviolation", e => failures.push(e.blockedURI));
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  const wide = [...document.querySelectorAll("body *")].filter(e => {
    if (e.closest(".scroll, a.picture, .plot")) return false;
    return e.getBoundingClientRect().right > innerWidth + 1;
  });
  const named = e => {
    const label = e.getAttribute("aria-label") || e.textContent || e.title || "";
    return label.trim() !== "" || e.querySelector("img[alt]");
  };
  const found = {
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    wide: wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120)),
    failures: failures,
    requests: performance.getEntriesByType("resource").map(r => r.name),
    unnamed: [...document.querySelectorAll("a[href]")].filter(e => !named(e)).length,
    noAlt: document.querySelectorAll("img:not([alt])").length,
    noScope: document.querySelectorAll("th:not([scope])").length,
    broken: [...document.images].filter(i => i.complete && i.naturalWidth === 0).length,
    first: document.querySelector("main h2").getBoundingClientRect().top,
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script>
"""
USE = """
<script>
addEventListener("load", () => {
  const form = document.getElementById("filters");
  const set = values => {
    form.reset();
    for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
    form.dispatchEvent(new Event("input"));
  };
  const tables = () => [...document.querySelectorAll("section.printed:not([hidden])")];
  const rows = () => tables().map(section => [...section.querySelectorAll("tr[data-statuses]")]
    .filter(row => !row.hidden).map(row => row.cells[0].firstChild.textContent.trim()));
  const found = { before: form.hidden, all: rows(), said: {} };
  set({ text: "none_at" }); found.text = rows();
  set({ text: "conflict" }); found.title = rows();
  set({ status: "claim-conflict" }); found.status = rows();
  set({ dataset: "toy", status: "not-run" }); found.nothing = rows();
  found.said = form.querySelector("output").value;
  set({}); found.again = rows();
  const table = tables()[0].querySelector("table");
  const heading = [...table.tHead.rows[0].cells].find(th => /measured/.test(th.textContent));
  const name = row => row.cells[0].firstChild.textContent.trim();
  const column = () => [...table.tBodies[0].rows].map(name);
  found.orders = [1, 2, 3].map(() => {
    heading.querySelector("button").click();
    return [heading.getAttribute("aria-sort"), column()];
  });
  found.copies = Object.fromEntries(Object.entries(tdn.formats).map(([name, format]) =>
    [name, format(tdn.grid(table))]));
  parent.postMessage(JSON.stringify(found), "*");
});
</script>
"""
"""Uses the filters, a column's sorting and the three formats, and says what was in sight."""
HOST = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>host</title></head><body>
<script>addEventListener("message", e => {
  const out = document.createElement("pre");
  out.dataset.frame = [...document.querySelectorAll("iframe")]
    .findIndex(frame => frame.contentWindow === e.source);
  out.textContent = e.data;
  document.body.append(out);
});</script>
FRAMES</body></html>
"""
FRAME = '<iframe src="{}" style="border:0;width:{}px;height:900px"></iframe>'
"""A window is at least 500 px wide; a frame may be as narrow as a telephone."""
AXE = find_spec("axe_playwright_python")
"""The package that brings axe-core, of which nothing else is used."""
AUDIT = """
<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  axe.run(document).then(found => parent.postMessage(JSON.stringify(found.violations
    .filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => [one.id, one.help, ...one.nodes.slice(0, 3).map(node => node.html.slice(0, 200))])
  ), "*"));
});
</script>
"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A made report and, copied with its figures, the committed one."""
    made = fakes.full(tmp_path_factory.mktemp("project"))
    fakes.make_tables(made)
    fakes.make_report(made)
    committed = tmp_path_factory.mktemp("committed") / "mini"
    shutil.copytree(ROOT / "reports" / "mini" / "figures", committed / "figures")
    shutil.copy(ROOT / "reports" / "mini" / "index.html", committed)
    return {
        "made": made.reports / "index.html",
        "row": made.reports / "trace" / "rows" / "net_full.html",
        "trace": made.reports / "trace" / "doc" / "1.html",
        "committed": committed / "index.html",
    }


def seen(page: Path, width_px: int, profile: Path, probe: str = PROBE) -> dict[str, Any]:
    """What a script finds on a page in a browser of that width."""
    (found,) = seen_all([(page, width_px)], profile, probe)
    assert isinstance(found, dict)
    return found


def seen_all(pages: Sequence[tuple[Path, int]], profile: Path, probe: str) -> list[Any]:
    """The same for several pages, each of its own width, in one browser."""
    frames = ""
    for page, width_px in pages:
        probed = page.with_name(f"probed.{page.name}")
        text = page.read_text("utf-8")
        probed.write_text(text.replace("<head>", f"<head>{probe}", 1), encoding="utf-8")
        frames += FRAME.format(probed.as_uri(), width_px)
    host = pages[0][0].with_name("host.html")
    host.write_text(HOST.replace("FRAMES", frames), encoding="utf-8")
    assert BROWSER is not None
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words += [f"--user-data-dir={profile}", "--window-size=1400,1000", "--dump-dom"]
    words += ["--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND", host.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    found = dict(re.findall(r'<pre data-frame="(\d+)">(.*?)</pre>', done.stdout, re.S))
    assert len(found) == len(pages), done.stderr[-2000:]
    return [json.loads(unescape(found[str(number)])) for number in range(len(pages))]


@pytest.fixture(scope="module")
def probed(
    pages: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, int], dict[str, Any]]:
    """What the probe finds on three pages at every width."""
    places = list(product(("made", "row", "committed"), WIDTHS_PX))
    asked = [(pages[name], width_px) for name, width_px in places]
    found = seen_all(asked, tmp_path_factory.mktemp("browser"), PROBE)
    return dict(zip(places, found, strict=True))


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("name", ["made", "row", "committed"])
def test_a_page_fits_its_window_and_asks_nobody(
    probed: dict[tuple[str, int], dict[str, Any]], name: str, width_px: int
) -> None:
    found = probed[name, width_px]
    assert found["width"] == width_px
    assert found["page"] <= width_px, found["wide"]
    assert found["wide"] == []
    assert found["failures"] == []
    assert [name for name in found["requests"] if not name.startswith("file:")] == []
    assert (found["broken"], found["noAlt"], found["unnamed"], found["noScope"]) == (0, 0, 0, 0)


@pytest.mark.skipif(AXE is None, reason="axe-playwright-python is not installed")
def test_axe_finds_nothing_serious(pages: dict[str, Path], store: Path, tmp_path: Path) -> None:
    assert AXE is not None and AXE.origin is not None
    axe = Path(AXE.origin).with_name("axe.min.js").read_text("utf-8")
    data = pages["row"].with_name("ssv1.html")
    data.write_text(dataset_page(store, True), "utf-8")
    bad = tmp_path / "bad.html"
    bad.write_text("<html><head></head><body><img src='data:,'><button></button></body></html>")
    looked_at = [pages["made"], pages["row"], pages["trace"], data]
    asked = [*product(looked_at, (360, 1280)), (bad, 360)]
    *found, spoiled = seen_all(asked, tmp_path, f"<script>{axe}</script>{AUDIT}")
    assert found == [[]] * 8
    assert {"image-alt", "button-name", "html-has-lang"} <= {name for name, *_ in spoiled}


def test_the_probe_sees_each_defect(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(
        "<html><head></head><body><main><h2>a</h2></main><div style='width:2000px'>wide</div>"
        "<img src='https://example.org/a.png'><a href='#x'></a>"
        "<table><tr><th>a</th></tr></table><script>nothing()</script></body></html>",
        encoding="utf-8",
    )
    found = seen(page, 360, tmp_path / "profile")
    assert found["page"] > 360 and "wide" in found["wide"][0]
    assert any("nothing" in failure for failure in found["failures"])
    assert "https://example.org/a.png" in found["requests"]
    assert (found["noAlt"], found["unnamed"], found["noScope"]) == (1, 1, 1)


def test_the_first_page_is_light_and_starts_with_the_answer(pages: dict[str, Path]) -> None:
    text = pages["committed"].read_text("utf-8")
    assert len(text.encode()) <= 1_500_000
    assert text.index('class="overview"') < text.index("<nav")


def test_tables_are_filtered_sorted_and_copied(pages: dict[str, Path], tmp_path: Path) -> None:
    found = seen(pages["made"], 1280, tmp_path, USE)
    first, second = found["all"]
    assert not found["before"]
    assert first[0] == "none_at_all" and len(first) > 3 and second == ["full"]
    assert found["text"] == [["none_at_all"]]
    assert found["title"] == [second], "a table whose title has the word shows all its rows"
    assert found["status"] == [["full"]]
    assert found["nothing"] == [] and found["said"] == "0 of 2 tables, 0 rows"
    assert found["again"] == found["all"]
    (down, falling), (up, rising), (none, printed) = found["orders"]
    assert (down, up, none) == ("descending", "ascending", None)
    measured = ["none_at_all", "F⊙H", "F⊙H"]
    assert rising[:3] == measured and falling[:3] == measured[::-1] and printed == first
    csv, markdown, latex = (found["copies"][name] for name in ("CSV", "Markdown", "LaTeX"))
    assert csv.splitlines()[0].endswith(",failed videos,partial videos")
    assert csv.splitlines()[1].startswith("none_at_all,,,45.2,45.00,")
    assert "never,,,50.0,not-run," in csv
    assert markdown.splitlines()[2].startswith("| none\\_at\\_all |  |  | 45.2 |")
    assert "none\\_at\\_all &  &  & 45.2 &" in latex and "$\\checkmark$" in latex
    assert len({line.count("&") for line in latex.splitlines() if line.endswith(" \\\\")}) == 1
