"""Renders the files in `templates/`: every page's HTML (Jinja) and the style sheet.

`report.html.j2` is `index.html`, `figures.html.j2` its section of figures, `trace.html.j2` every
page below `trace/`; `report.css` is inline in the first and a file beside the others, `report.js`
in the first alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from pipeline.reporting.anchors import (
    anchor,
    cell_link,
    dataset_page,
    linked,
    row_page,
    table_link,
    trace_link,
)
from pipeline.reporting.build_tables import number

FOLDER = Path(__file__).parent / "templates"
"""The code digest of a stage that renders pages covers these files: their folder is named here."""
ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
SYMBOLS = {
    "verified": "✓",
    "within-tolerance": "≃",
    "differs": "≠",
    "measured": "●",
    "smoke": "≈",
    "cited": "“",
    "not-run": "○",
    "partial": "◐",
    "claim-conflict": "⇄",
    "holds": "✓",
    "fails": "✗",
    "undecided": "?",
    "setting": "·",
}


def signed(value: float | None, decimals: int) -> str:
    """'+1.30', '−0.40', '' for none."""
    return "" if value is None else f"{value:+.{decimals}f}".replace("-", "−")


ENVIRONMENT.filters |= {"number": number, "signed": signed, "linked": linked}
ENVIRONMENT.globals |= {
    "symbols": SYMBOLS,
    "anchor": anchor,
    "cell_link": cell_link,
    "row_page": row_page,
    "dataset_page": dataset_page,
    "table_link": table_link,
    "trace_link": trace_link,
}


def render_page(template: str, **values: Any) -> str:
    """The HTML of a template; jinja2.UndefinedError when a value that it prints is not given."""
    return ENVIRONMENT.get_template(f"{template}.html.j2").render(**values)


def style_sheet() -> str:
    """The text of `report.css`."""
    return (FOLDER / "report.css").read_text(encoding="utf-8")


def script() -> str:
    """The text of `report.js`."""
    return (FOLDER / "report.js").read_text(encoding="utf-8")
