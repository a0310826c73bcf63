"""The report's section of figures: `reports/P/figures/figures.json` → HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.digests import read_json
from pipeline.workspace import Workspace

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
<figure class="drawn" id="figure-{{ figure.key }}">
{% if figure.files %}
<a class="picture" href="figures/{{ figure.files.png }}">
<img src="figures/{{ figure.source }}" alt="{{ figure.alt }}" loading="lazy"></a>
{% endif %}
<figcaption><b>{{ figure.title }}.</b> {{ figure.caption }}
{% if figure.state == 'not-run' %}<br><b>Not drawn:</b> {{ figure.reason }}.
{% elif figure.reason %}<br><b>Not in it:</b> {{ figure.reason }}.{% endif %}
{% if figure.files %}<br><a href="figures/{{ figure.files.png }}">png</a>,
<a href="figures/{{ figure.files.svg }}">svg</a>,
<a href="figures/figures.json">numbers</a>{% endif %}</figcaption>
</figure>
{% endfor %}
{% endfor %}
"""


def figures_section(work: Workspace) -> Markup:
    """The section with heading and every figure; empty when none were made.

    Pictures are referenced relative to the report, `figures/x.png`.
    """
    path = work.reports / "figures" / "figures.json"
    if not path.is_file():
        return Markup("")
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in read_json(path)["figures"]:
        suffix = "png" if entry["kind"] in PICTURES else "svg"
        shown = {**entry, "source": entry["files"].get(suffix, "")}
        groups.setdefault(KINDS[entry["kind"]], []).append(shown)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return Markup(environment.from_string(_TEMPLATE).render(groups=groups)) if groups else Markup()
