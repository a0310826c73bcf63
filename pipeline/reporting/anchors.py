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
_PAGES = {"run": RUNS, "data": RUNS, "prose": PROSE, "figure": FIGURES}
_NUMBER = (
    r"(?<![\w.])(?<!\de[+−-])[+−-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+−-]?\d+)?"
    r"(?!\.?\w)(?! % interval)(?! is no preference)"
)
"""A number that was measured (5,000 and 1e-05 are one): no part of a name, and neither an
interval's level nor a null."""


def anchor(*parts: str) -> str:
    """An id for links within the page."""
    return "-".join(part.replace("/", "-").replace("_", "-") for part in parts)


def table_link(table_id: str) -> str:
    """The page with the files behind a table's cells."""
    return f"{TRACE}{table_id}.html"


def cell_link(cell_id: str) -> str:
    """The place of a cell on its table's page."""
    return f"{table_link('/'.join(cell_id.split('/')[:2]))}#{anchor('trace', cell_id)}"


def trace_link(kind: str, name: str) -> str:
    """The place of a `run`, `data` set, `prose` sentence or `figure` on the trace pages."""
    return f"{TRACE}{_PAGES[kind]}#{anchor(kind, name)}"


def row_page(row: str) -> str:
    """The page about a row."""
    return f"{TRACE}rows/{row}.html"


def dataset_page(name: str) -> str:
    """The page about a data set."""
    return f"{TRACE}data/{name}.html"


def beside(link: str) -> str:
    """A link as a trace page in `reports/P/trace/` itself writes it."""
    return link.removeprefix(TRACE)


def linked(text: str, link: str) -> Markup:
    """The text with each measured number leading to `link`."""
    return _link_matches(_NUMBER, text, lambda number: link)


def named(text: str, links: Mapping[str, str]) -> Markup:
    """The text with each of these words leading to its link."""
    if not links:
        return escape(text)
    words = "|".join(re.escape(word) for word in sorted(links, key=len, reverse=True))
    return _link_matches(rf"(?<!\w)(?:{words})(?!\w)", text, links.__getitem__)


def _link_matches(pattern: str, text: str, link_of: Callable[[str], str]) -> Markup:
    parts = re.split(f"({pattern})", text, flags=re.IGNORECASE)
    link = Markup('<a class="value" href="{}">{}</a>')
    return Markup().join(
        link.format(link_of(part), part) if odd % 2 else escape(part)
        for odd, part in enumerate(parts)
    )
