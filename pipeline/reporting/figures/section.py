"""The report's section of figures: `reports/P/figures/figures.json` → HTML."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.anchors import anchor, figure_link, linked, named, run_link

PICTURES = ("cam", "gradcam")
"""Kinds that show frames: as PNG. The others are lines and text: as SVG."""
KINDS = {
    "curves": "Training",
    "cost": "Accuracy and cost",
    "ordering": "Order of the rows",
    "reversal": "Classes",
    "gains": "Classes",
    "cam": "Where networks look",
    "gradcam": "Where networks look",
    "kernels": "Kernels along time",
}

STYLE = """
figure.drawn { margin: 1.2rem 0 2rem; }
figure.drawn a.picture { display: block; background: #fff; border: 1px solid var(--line);
  border-radius: .45rem; padding: .6rem; overflow-x: auto; }
figure.drawn img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figure.drawn figcaption { font-size: .875rem; color: var(--soft); max-width: 52rem;
  margin-top: .5rem; }
figure.drawn figcaption b { color: var(--ink); }
@media (max-width: 40rem) { figure.drawn img { max-width: none; width: 42rem; } }
"""
"""What the section adds to the report's style sheet."""

_TEMPLATE = """\
<h2 id="figures">Figures</h2>
{% for group, figures in groups.items() %}
<h3>{{ group }}</h3>
{% for figure in figures %}
<figure class="drawn" id="{{ figure.id }}">
{% if figure.files %}
<a class="picture" href="figures/{{ figure.files.png }}">
<img src="figures/{{ figure.source }}" alt="{{ figure.alt }}" loading="lazy"></a>
{% endif %}
<figcaption><b>{{ figure.title }}.</b> {{ figure.said }}
{% if figure.state == 'not-run' %}<br><b>Not drawn:</b> {{ figure.reason }}.
{% elif figure.reason %}<br><b>Not in it:</b> {{ figure.reason }}.{% endif %}
{% if figure.files %}<br><a href="figures/{{ figure.files.png }}">png</a>,
<a href="figures/{{ figure.files.svg }}">svg</a>,
<a href="figures/figures.json">numbers</a>, {% else %}<br>{% endif %}
<a href="{{ figure.trace }}">where they come from</a></figcaption>
</figure>
{% endfor %}
{% endfor %}
"""


def read_figures(work: Workspace) -> list[Mapping[str, Any]]:
    """The entries of `reports/P/figures/figures.json`; none when no figures were made."""
    path = work.reports / "figures" / "figures.json"
    found: list[Mapping[str, Any]] = read_json(path)["figures"] if path.is_file() else []
    return found


def caption_links(entry: Mapping[str, Any], runs: Container[str]) -> Markup:
    """A figure's caption: measured numbers lead to the figure's trace, rows in `runs` to theirs."""
    rows = {row: run_link(row) for row in entry["rows"] if row in runs}
    parts = entry["caption"], "", ""
    before, found, after = parts[0].partition(entry["found"]) if entry["found"] else parts
    return named(before, rows) + linked(found, figure_link(entry["key"])) + named(after, rows)


def figures_section(work: Workspace, runs: Container[str]) -> Markup:
    """The section with heading and every figure; empty when none were made.

    Pictures are referenced relative to the report, `figures/x.png`. `runs` are those that have a
    place on the trace page of runs.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in read_figures(work):
        suffix = "png" if entry["kind"] in PICTURES else "svg"
        shown = {
            **entry,
            "source": entry["files"].get(suffix, ""),
            "id": anchor("figure", entry["key"]),
            "said": caption_links(entry, runs),
            "trace": figure_link(entry["key"]),
        }
        groups.setdefault(KINDS[entry["kind"]], []).append(shown)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return Markup(environment.from_string(_TEMPLATE).render(groups=groups)) if groups else Markup()
