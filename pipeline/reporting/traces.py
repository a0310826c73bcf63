"""One page per table, and one for the runs: where each number comes from, file by file.

Static pages beside `index.html`; every number there links to its place here. They show what the
records say and verify nothing: that is `tdn audit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2

from pipeline.audit.evidence import Evidence
from pipeline.audit.root import read_root
from pipeline.audit.trace import claim_of, walk
from pipeline.digests import read_json
from pipeline.reporting.results import Results, load_results
from pipeline.reporting.style import STYLE
from pipeline.reporting.tables import number
from pipeline.reporting.view import SHORT_DIGEST, SYMBOL, anchor
from pipeline.workspace import Workspace

RUNS = "runs.html"
SHEET = "style.css"

TEMPLATE = """\
{% macro steps(found) %}
<ul>
{% for step in found %}
<li><code>{{ step.sha256[:short] }} {{ step.path }}</code>
{%- if step.run %} <span class="soft">by {{ step.run }}{{ ', see above' if step.again }}</span>
{%- endif %}
{% if step.before %}{{ steps(step.before) }}{% endif %}
</li>
{% endfor %}
</ul>
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tdn-bench · {{ profile }} · {{ title }}</title>
<link rel="stylesheet" href="{{ style }}">
</head>
<body class="trace">
<header class="top">
<h1>Where the numbers come from: {{ title }}</h1>
<p class="soft"><a href="{{ up }}index.html{{ back }}">Back to the report</a>. Every line is a file
with the start of its sha256 and the run that made it; below it, what that run read. Evidence root
<code>{{ root }}</code>. <code>tdn audit{{ how }}</code> checks it all.</p>
</header>
<main>
{% for item in items %}
<section id="{{ item.id }}"><h2>{{ item.name }}</h2>
<p>{{ item.text }}{% if item.symbol %} <span class="badge {{ item.status }}">
<span aria-hidden="true">{{ item.symbol }}</span>{{ item.status }}</span>{% endif %}
{% if item.reason %}<span class="soft">{{ item.reason }}</span>{% endif %}</p>
{% if item.claim %}<p class="small soft">{{ item.claim }}</p>{% endif %}
{% if item.steps %}{{ steps(item.steps) }}{% endif %}
</section>
{% endfor %}
</main>
</body>
</html>
"""


def render_traces(work: Workspace, params: Mapping[str, Any]) -> dict[str, str]:
    """{path below `reports/P/trace/`: text}: '<document>/<table>.html' each, RUNS, their SHEET."""
    evidence = Evidence(work)
    found = read_json(work.reports / "tables" / "cells.json")
    stated = read_root(work)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(TEMPLATE)
    shared = {
        "short": SHORT_DIGEST,
        "profile": params["profile"],
        "root": stated["root"] if stated is not None else "none",
    }
    pages = {SHEET: STYLE.lstrip()}
    for table in found["tables"]:
        name = f"{table['document']}/{table['table']}"
        pages[table_page(name)] = template.render(
            **shared,
            title=name,
            style=f"../{SHEET}",
            up="../../",
            back=f"#{anchor(table['document'], table['table'])}",
            how=f" --table {name}",
            items=list(_cells(evidence, found, table)),
        )
    results = load_results(work, list(params["rows"]))
    combined = read_json(work.reports / "tables" / "combinations.json")
    items = [*_runs(evidence, results, combined), *_datasets(work, evidence, params["datasets"])]
    pages[RUNS] = template.render(
        **shared, title="runs and data sets", style=SHEET, up="../", back="", how="", items=items
    )
    return pages


def table_page(table_id: str) -> str:
    """The page of a table, below `reports/P/trace/`."""
    return f"{table_id}.html"


def _cells(
    evidence: Evidence, found: Mapping[str, Any], table: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    decimals = {column["key"]: column["decimals"] for column in table["columns"]}
    for row in table["rows"]:
        for column in row["cells"]:
            cell = found["cells"][f"{table['document']}/{table['table']}/{row['row']}/{column}"]
            measured = number(cell["measured"], decimals[column])
            yield {
                "id": anchor("trace", cell["cell_id"]),
                "name": cell["cell_id"],
                "text": f"measured {measured} {cell['unit']}" if measured else "",
                "status": cell["status"],
                "symbol": SYMBOL[cell["status"]],
                "reason": _reason(cell),
                "claim": claim_of(cell, found["documents"]),
                "steps": walk(evidence, cell["lineage"]["sources"]),
            }


def _reason(cell: Mapping[str, Any]) -> str:
    lineage = cell["lineage"]
    parts = [str(cell["reason"])]
    if cell["note"] and cell["note"] != cell["reason"]:
        parts.append(f"({cell['note']})")
    if lineage["rule"]:
        parts.append(f"{lineage['rule']} of {', '.join(lineage['runs'])}")
    if lineage["protocol"]:
        parts.append(f"under {lineage['protocol']}")
    if cell["n_expected"] is not None:
        parts.append(f"{cell['n_scored']} of {cell['n_expected']} videos")
    return ", ".join(parts)


def _runs(
    evidence: Evidence, results: Results, combined: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    for key, result in results.runs.items():
        if result.metrics is not None:
            sources = [{"path": s.path, "sha256": s.sha256} for s in result.sources]
            yield _item(anchor("run", key), key, _said(result.metrics), walk(evidence, sources))
    for key, metrics in combined.items():
        members = [results.runs[member] for member in metrics["members"] if member in results.runs]
        sources = [
            {"path": s.path, "sha256": s.sha256} for member in members for s in member.sources
        ]
        text = f"{metrics['rule']} of {', '.join(metrics['members'])}: {_said(metrics)}"
        yield _item(anchor("run", key), key, text, walk(evidence, sources))


def _said(metrics: Mapping[str, Any]) -> str:
    found = []
    for protocol, values in metrics["protocols"].items():
        name = "map" if metrics["metric"] == "map" else "top1"
        found.append(f"{name} {number(values.get(f'{name}_pct'), 2)} % under {protocol}")
    return ", ".join(found) or str(metrics["reason"])


def _datasets(
    work: Workspace, evidence: Evidence, datasets: Iterable[str]
) -> Iterable[dict[str, Any]]:
    for name in datasets:
        path = work.relative(work.decoded(name))
        made = evidence.made(path)
        found = [] if made is None else [{"path": path, "sha256": made.sha256}]
        text = "videos listed and decoded" if found else "no record says how it was decoded"
        yield _item(anchor("data", name), name, text, walk(evidence, found))


def _item(place: str, name: str, text: str, steps: Sequence[Any]) -> dict[str, Any]:
    empty = {"status": "", "symbol": "", "reason": "", "claim": ""}
    return {**empty, "id": place, "name": name, "text": text, "steps": steps}
