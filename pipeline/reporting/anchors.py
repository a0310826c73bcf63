"""Where things are on the pages: ids, the report's links to trace pages, and numbers as links.

Links are relative to the report; a trace page reaches another through `beside`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from markupsafe import Markup, escape

TRACE = "trace/"
RUNS, PROSE, FIGURES = "runs.html", "prose.html", "figures.html"
"""Trace pages beside those of the tables."""
_NUMBER = re.compile(
    r"(?<![\w.])(?<!\de[+−-])[+−-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+−-]?\d+)?"
    r"(?!\.?\w)(?! % interval)(?! is no preference)",
    re.IGNORECASE,
)
"""A number that was measured (5,000 and 1e-05 are one): no part of a name, and neither an
interval's level nor a null."""


def anchor(*parts: str) -> str:
    """An id for links within the page."""
    return "-".join(part.replace("/", "-").replace("_", "-") for part in parts)


def table_page(table_id: str) -> str:
    """The page of a table, below `reports/P/trace/`."""
    return f"{table_id}.html"


def cell_link(cell_id: str) -> str:
    """Where a cell's walk is shown."""
    page = table_page("/".join(cell_id.split("/")[:2]))
    return f"{TRACE}{page}#{anchor('trace', cell_id)}"


def run_link(row: str) -> str:
    """Where a run's walk is shown."""
    return f"{TRACE}{RUNS}#{anchor('run', row)}"


def data_link(dataset: str) -> str:
    """Where a data set's walk is shown."""
    return f"{TRACE}{RUNS}#{anchor('data', dataset)}"


def prose_link(prose_id: str) -> str:
    """Where a sentence's cells are shown."""
    return f"{TRACE}{PROSE}#{anchor('prose', prose_id)}"


def figure_link(key: str) -> str:
    """Where a figure's rows, cells and files are shown."""
    return f"{TRACE}{FIGURES}#{anchor('figure', key)}"


def beside(link: str) -> str:
    """A link as a trace page in `reports/P/trace/` itself writes it."""
    return link.removeprefix(TRACE)


def value(text: str, link: str) -> Markup:
    """A number (or what stands for one) that leads to where it comes from."""
    return Markup('<a class="value" href="{}">{}</a>').format(link, text)


def linked(text: str, link: str) -> Markup:
    """The text with each measured number leading to `link`."""
    return _woven(_NUMBER, text, lambda found: link)


def named(text: str, links: Mapping[str, str]) -> Markup:
    """The text with each of these words leading to its link."""
    if not links:
        return escape(text)
    words = "|".join(re.escape(word) for word in sorted(links, key=len, reverse=True))
    return _woven(re.compile(rf"(?<!\w)(?:{words})(?!\w)"), text, links.__getitem__)


def _woven(pattern: re.Pattern[str], text: str, link_of: Callable[[str], str]) -> Markup:
    woven, place = Markup(), 0
    for match in pattern.finditer(text):
        woven += escape(text[place : match.start()]) + value(match[0], link_of(match[0]))
        place = match.end()
    return woven + escape(text[place:])
