"""The report in a browser: nothing overflows, nothing fails, nothing leaves the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import ROOT
from tests.pipeline.reporting import fakes

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
HOST = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>host</title></head><body>
<script>addEventListener("message", e => {
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = e.data;
  document.body.append(out);
});</script>
<iframe src="probed.html" style="border:0;width:WIDTHpx;height:900px"></iframe></body></html>
"""
"""A window is at least 500 px wide; a frame may be as narrow as a telephone."""

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
    return {"made": made.reports / "index.html", "committed": committed / "index.html"}


def seen(page: Path, width_px: int, profile: Path) -> dict[str, Any]:
    """What a browser of that width finds on a page."""
    probed = page.with_name("probed.html")
    text = page.read_text("utf-8")
    probed.write_text(text.replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    host = page.with_name("host.html")
    host.write_text(HOST.replace("WIDTH", str(width_px)), encoding="utf-8")
    assert BROWSER is not None
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words += [f"--user-data-dir={profile}", "--window-size=1400,1000", "--dump-dom"]
    words += ["--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND", host.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(unescape(found[1]))
    return answer


@pytest.mark.parametrize("width_px", WIDTHS_PX)
@pytest.mark.parametrize("name", ["made", "committed"])
def test_a_page_fits_its_window_and_asks_nobody(
    pages: dict[str, Path], name: str, width_px: int, tmp_path: Path
) -> None:
    found = seen(pages[name], width_px, tmp_path)
    assert found["width"] == width_px
    assert found["page"] <= width_px, found["wide"]
    assert found["wide"] == []
    assert found["failures"] == []
    assert [name for name in found["requests"] if not name.startswith("file:")] == []
    assert (found["broken"], found["noAlt"], found["unnamed"], found["noScope"]) == (0, 0, 0, 0)


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
