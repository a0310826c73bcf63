"""The report's template (Jinja). A module and not a file beside one, so that an edit to it changes
the digest of the code that the report stage runs."""

TEMPLATE = """\
{% macro badge(status, symbol, title='') -%}
<span class="badge {{ status }}"{% if title %} title="{{ title }}"{% endif %}>
<span aria-hidden="true">{{ symbol }}</span>{{ status }}</span>
{%- endmacro %}
{% macro interval_plot(plot, bound_at=none) -%}
<span class="plot" aria-hidden="true"><i class="rail"></i>
{%- if bound_at is not none %}<i class="bound" style="left:{{ bound_at }}%"></i>{% endif %}
{%- if plot %}<i class="bar" style="left:{{ plot.left }}%;width:{{ plot.width }}%"></i>
<i class="dot" style="left:{{ plot.dot }}%"></i>{% endif %}</span>
{%- endmacro %}
{% macro ends(scale) -%}
<span class="ends"><span>{{ '%g' % scale.low }}</span><span>{{ '%g' % scale.high }}</span></span>
{%- endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tdn-bench · {{ profile }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<header class="top">
<h1>Temporal Difference Networks, measured again</h1>
<p class="soft">Profile <b>{{ profile }}</b>: {{ title }}.
{{ n_scored }} of {{ n_runs }} runs scored, {{ n_cells }} table cells.</p>
{% if smoke %}
<div class="banner" role="note"><p><b>Smoke results.</b> Every accuracy on this page comes from
generated videos, not from the papers' data. It shows that the pipe works and in which order the
methods come out; it is never compared with a number printed in a paper. Operations and parameters
are counted on the full-size networks and are compared.</p></div>
{% endif %}
<nav aria-label="Tables and sections"><ul>
{% for document, tables in documents.items() %}
{% for table in tables %}
<li><a href="#{{ table.id }}">{{ document }} {{ table.table }}</a></li>
{% endfor %}
{% endfor %}
{% for dataset in datasets %}
<li><a href="#{{ dataset.id }}">data: {{ dataset.name }}</a></li>
{% endfor %}
{% if figures %}
<li><a href="#figures">figures</a></li>
{% endif %}
{% if prose.count %}
<li><a href="#prose">claims in prose</a></li>
{% endif %}
<li><a href="#method">how it was measured</a></li>
</ul></nav>
<dl class="legend">
{% for item in statuses %}
<dt>{{ badge(item.status, item.symbol) }}</dt><dd class="count">{{ item.count }}</dd>
<dd class="meaning soft">{{ item.meaning }}</dd>
{% endfor %}
</dl>
</header>
<main>
{% for document, tables in documents.items() %}
<h2 id="{{ document }}">{{ about[document].title }}</h2>
<p class="soft">{{ about[document].about }} <code>{{ document }}</code></p>
{% for table in tables %}
<section id="{{ table.id }}" aria-labelledby="h-{{ table.id }}">
<h3 id="h-{{ table.id }}">{{ table.title }}: {{ table.caption.rstrip('.') }}</h3>
<p class="small soft">{{ table.note }}</p>
{% for ordering in table.orderings %}
<div class="finding"><p>{% if table.orderings | length > 1 %}<b>{{ ordering.label }}.</b>
{% endif %}{{ ordering.said }}</p></div>
{% endfor %}
<div class="scroll" tabindex="0" role="region" aria-labelledby="h-{{ table.id }}">
<table>
<caption><span><b>{{ document }}, {{ table.title | lower }}</b> ({{ table.place }}):
{{ 'printed and measured numbers' if table.claimed else 'measured numbers' }}.
Ranges are {{ method.level }} % intervals over videos.</span></caption>
<thead><tr>
<th class="label" scope="col">{{ table.label_title or 'row' }}</th>
{% for setting in table.settings %}
<th scope="col" class="center">{{ setting.label }}</th>
{% endfor %}
{% for column in table.columns %}
{% if column.claimed %}
<th scope="col" class="first">{{ column.label }}
<small>claimed{% if column.unit_text %}, {{ column.unit_text }}{% endif %}</small></th>
{% endif %}
<th scope="col"{% if not column.claimed %} class="first"{% endif %}>
{{ 'measured' if column.claimed else column.label }}
<small>{{ column.protocol or 'full-size network' }}</small></th>
{% if column.scale %}
<th scope="col" class="wide text"><small>measured, {{ column.unit_text }}</small>
{{ ends(column.scale) }}</th>
{% endif %}
{% endfor %}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>
<th class="label" scope="row">{{ row.label }}{% for run in row.runs %}<code>{{ run }}</code>
{% endfor %}</th>
{% for text in row.settings %}
<td class="center">{{ text }}</td>
{% endfor %}
{% for cell in row.cells %}
{% set column = table.columns[loop.index0] %}
{% if cell %}
{% if column.claimed %}
<td class="num first">{{ cell.claimed or '–' }}</td>
{% endif %}
<td class="num{% if not column.claimed %} first{% endif %}"><span class="pair">
{{ badge(cell.status, cell.symbol, cell.reason) }}
{% if cell.smoke and cell.status != 'smoke' %}{{ badge('smoke', '≈') }}{% endif %}
{% if cell.measured %}<a class="value" href="{{ cell.trace }}">{{ cell.measured }}</a>{% endif %}
</span>{% if cell.interval %}<span class="ci">{{ cell.interval }}</span>{% endif %}</td>
{% else %}
{% if column.claimed %}
<td class="num first soft">–</td>
{% endif %}
<td></td>
{% endif %}
{% if column.scale %}
<td class="wide">{% if cell %}{{ interval_plot(cell.plot) }}{% endif %}</td>
{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% for ordering in table.orderings if ordering.pairs %}
<details><summary>Which differences in {{ ordering.label }} the data support
({{ ordering.pairs | length }} pair{{ '' if ordering.pairs | length == 1 else 's' }})</summary>
<div class="scroll" tabindex="0"><table>
<caption><span>Pairs of rows on the same {{ ordering.pairs[0].n_videos }} videos: McNemar's exact
test, p after Holm's correction within this table; intervals from a paired bootstrap.</span>
</caption>
<thead><tr><th class="text" scope="col">first row</th><th class="text" scope="col">second row</th>
<th scope="col">claimed<small>points</small></th><th scope="col">measured<small>points</small></th>
<th scope="col">{{ method.level }} % interval</th>
<th scope="col">only first / second right</th><th scope="col">p</th><th scope="col">order</th></tr>
</thead><tbody>
{% for pair in ordering.pairs %}
<tr><td class="text">{{ pair.first_label }}</td><td class="text">{{ pair.second_label }}</td>
<td class="num">{{ pair.claimed_text or '–' }}</td>
<td class="num"><a class="value" href="{{ table.trace }}">{{ pair.measured_text }}</a></td>
<td class="num">{{ pair.interval }}</td>
<td class="num">{{ pair.first_only }} / {{ pair.second_only }}</td>
<td class="num">{{ pair.p_text }}</td>
<td class="num"><span class="badge {{ pair.verdict }}">{{ pair.words }}</span></td></tr>
{% endfor %}
</tbody></table></div></details>
{% endfor %}
<p class="small soft"><a href="{{ table.trace }}">Where each number comes from</a>, file by file.
Evidence root <code>{{ root[:12] }}</code>.</p>
<p class="small soft">This table as
{% for file in table.files %}<a href="{{ file }}">{{ file.rsplit('.')[-1] }}</a>
{%- if not loop.last %}, {% endif %}{% endfor %}</p>
</section>
{% endfor %}
{% endfor %}
{{ figures }}
<h2>Data sets and runs</h2>
{% for dataset in datasets %}
<section id="{{ dataset.id }}" aria-labelledby="h-{{ dataset.id }}">
<h3 id="h-{{ dataset.id }}">{{ dataset.name }}{% if smoke %}: miniature of {% else %}: {% endif %}
{{ dataset.title }}</h3>
{% if dataset.bound is not none %}
<p><b>Blind to frame order, at most {{ '%g' % dataset.bound }} %.</b>
<span class="soft">{{ dataset.bound_reason }}</span></p>
{% endif %}
{% if dataset.counts.splits %}
<div class="scroll" tabindex="0"><table>
<caption><span>Videos of <b>{{ dataset.name }}</b>:
{{ dataset.counts.statuses | join(', ') }}</span></caption>
<thead><tr><th class="label" scope="col">split</th><th scope="col">expected</th>
<th scope="col">decoded</th><th scope="col">failed</th></tr></thead><tbody>
{% for split in dataset.counts.splits %}
<tr><th class="label" scope="row">{{ split.name }}</th><td class="num">{{ split.listed }}</td>
<td class="num"><a class="value" href="{{ dataset.trace }}">{{ split.usable }}</a></td>
<td class="num">{{ split.failed }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p class="small soft">No frames: {{ dataset.counts.reason }}.</p>
{% endif %}
{% if dataset.runs %}
<div class="scroll" tabindex="0" role="region" aria-labelledby="h-{{ dataset.id }}"><table>
<caption><span>Runs on <b>{{ dataset.name }}</b>. Ranges are {{ method.level }} % intervals over
videos.{% if dataset.bound_at is not none %} The dashed line is the order-blind bound.{% endif %}
</span></caption>
<thead><tr><th class="label" scope="col">run</th><th class="text" scope="col">protocol</th>
<th scope="col">accuracy<small>%</small></th>
{% if dataset.scale %}<th scope="col" class="wide">{{ ends(dataset.scale) }}</th>{% endif %}
<th scope="col">top-5<small>%</small></th><th scope="col">videos scored</th>
<th scope="col">status</th></tr></thead><tbody>
{% for run in dataset.runs %}
<tr><th class="label" scope="row">{{ run.row }}<code>{{ run.architecture }}
{%- if run.fold and run.fold != 'default' %}, {{ run.fold }}{% endif %}</code></th>
<td class="text">{{ run.protocol or '–' }}</td>
{% if run.value is not none %}
<td class="num"><a class="value" href="{{ run.trace }}">{{ run.text }}</a>
{% if run.interval %}<span class="ci">{{ run.interval }}</span>{% endif %}</td>
{% else %}<td class="num soft">–</td>{% endif %}
{% if dataset.scale %}
<td class="wide">{{ interval_plot(run.plot, dataset.bound_at) }}</td>
{% endif %}
{% if run.top5 %}<td class="num"><a class="value" href="{{ run.trace }}">{{ run.top5 }}</a></td>
{% else %}<td class="num">–</td>{% endif %}
<td class="num">{{ run.videos or '–' }}</td>
<td class="num">{{ badge(run.status, run.symbol, run.reason) }}
{% if run.reason %}<span class="ci why">{{ run.reason }}</span>{% endif %}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
</section>
{% endfor %}
{% if prose.count %}
<h2 id="prose">Claims made in prose</h2>
<p>{{ prose.count }} sentences of the texts hold a number or an ordering. Each is recomputed from
the printed tables where they decide it and, for orderings, from our own measurements: there
{{ prose.ours.holds }} hold, {{ prose.ours.fails }} do not and {{ prose.open }} are open, because a
row is missing or the difference is within what another draw of videos could
change.{% if smoke %} Ours are smoke results.{% endif %}</p>
{% for group in prose.groups %}
<details{% if group.key == 'fails' %} open{% endif %}><summary>{{ group.verdicts | length }}
{{ group.title }}</summary>
<div class="scroll" tabindex="0"><table class="stacked">
<caption><span>Sentences that {{ group.title }}</span></caption>
<thead><tr><th class="label" scope="col">where</th><th class="text" scope="col">sentence</th>
<th class="text" scope="col">printed numbers</th><th class="text" scope="col">ours</th></tr></thead>
<tbody>
{% for verdict in group.verdicts %}
<tr><th class="label" scope="row">{{ verdict.document }}<code>{{ verdict.place }}</code>
{%- if verdict.trace %} <a class="small" href="{{ verdict.trace }}">its cells</a>{% endif %}</th>
<td class="text">{{ verdict.sentence }}{% if verdict.note %}
<span class="ci">{{ verdict.note }}</span>{% endif %}</td>
<td class="text" data-of="printed numbers">{{ badge(verdict.paper, symbols[verdict.paper]) }}
{% if verdict.rule %}<span class="ci">{{ verdict.paper_said }}</span>{% endif %}</td>
<td class="text" data-of="ours">{{ badge(verdict.ours, symbols[verdict.ours]) }}
{% if verdict.smoke %}{{ badge('smoke', symbols.smoke) }}{% endif %}
{% if verdict.ours_rule %}<span class="ci">{{ verdict.ours_said }}</span>{% endif %}</td></tr>
{% endfor %}
</tbody></table></div></details>
{% endfor %}
{% endif %}
<h2 id="method">How it was measured</h2>
<p>A video is scored from the stored logits of all its views; a video whose frames could not be
decoded is counted as failed and enters no mean. Intervals are {{ method.level }} % percentile
intervals of a bootstrap over videos ({{ method.resamples }} draws, seed {{ method.seed }}); two
rows are compared on the same videos by McNemar's exact test and by a bootstrap of the difference.
They say how far another draw of test videos could move a number, not another training seed.</p>
<p>Kendall's tau-b compares a column's measured order with the printed one: 1 is the same order, −1
the reverse. Pairs whose difference the data do not support are left undecided.</p>
<p>The papers' FLOPs are multiply-adds; they are counted on the full-size network for one clip of
224 × 224 pixels and accepted within half a unit of the last printed digit or 2 %, whichever is
wider. Accuracies on the real data sets are accepted within the points their layout states.</p>
</main>
<footer><p>Every cell with its lineage: <a href="tables/cells.json">tables/cells.json</a>,
sha256 <code>{{ cells_digest }}</code>. Evidence root of all tables:
<a href="root.json">root.json</a>, <code>{{ root }}</code>.
<code>tdn audit --against</code> checks a published one.</p></footer>
</body>
</html>
"""
