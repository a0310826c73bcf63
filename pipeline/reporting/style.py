"""The report's style sheet: inline, no fonts or scripts from elsewhere, light and dark.

Status colours are Okabe and Ito's, which stay apart for colour-blind readers; every status is also
a word and a symbol.
"""

STYLE = """
:root {
  --paper: #ffffff; --ink: #1c2024; --soft: #5b636b; --line: #d9dee3; --tint: #f5f7f9;
  --link: #0059b3; --head: #eef2f5;
  --verified: #00684a; --differs: #a83c00; --measured: #0b5394; --smoke: #6b5200;
  --cited: #5b636b; --not-run: #5b636b; --partial: #8a3d72; --claim-conflict: #8f2d14;
  --smoke-tint: #fdf3d1; --bar: #8fb8de; --dot: #0b5394; --bound: #a83c00;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181c; --ink: #e4e8eb; --soft: #9aa5ae; --line: #333b43; --tint: #1b2127;
    --link: #7db8f0; --head: #20272e;
    --verified: #4fd1a5; --differs: #ff9a5c; --measured: #7db8f0; --smoke: #e8c454;
    --cited: #9aa5ae; --not-run: #9aa5ae; --partial: #e39cc9; --claim-conflict: #ff8f73;
    --smoke-tint: #332b10; --bar: #35587a; --dot: #9ccaf5; --bound: #ff9a5c;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans",
    sans-serif;
}
main, header.top, footer { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
header.top { padding-top: 2rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-bottom: .35rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2.2rem 0 .2rem; }
p { margin: .45rem 0; max-width: 46rem; }
a { color: var(--link); text-underline-offset: .15em; }
code, .mono { font: .86em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono",
  monospace; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.small { font-size: .875rem; }
.banner { background: var(--smoke-tint); border-left: .3rem solid var(--smoke);
  padding: .7rem 1rem; margin: 1.1rem 0; border-radius: 0 .35rem .35rem 0; }
.banner p { margin: 0; max-width: none; }
nav ul { list-style: none; padding: 0; margin: .6rem 0 0; display: flex; flex-wrap: wrap;
  gap: .35rem .5rem; }
nav a { display: inline-block; padding: .2rem .65rem; border: 1px solid var(--line);
  border-radius: 1rem; text-decoration: none; font-size: .875rem; }
nav a:hover { background: var(--tint); }
dl.legend { display: grid; grid-template-columns: auto auto 1fr; gap: .35rem .8rem;
  margin: .8rem 0 0; font-size: .875rem; align-items: baseline; }
dl.legend dt { grid-column: 1; }
dl.legend dd { margin: 0; }
dl.legend .count { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }
.badge { display: inline-block; white-space: nowrap; font-size: .75rem; line-height: 1.35;
  font-weight: 600; padding: 0 .45rem; border: 1px solid currentColor; border-radius: .7rem; }
.badge span { font-weight: 400; margin-right: .2rem; }
.verified { color: var(--verified); } .differs { color: var(--differs); }
.measured { color: var(--measured); } .smoke { color: var(--smoke); }
.cited { color: var(--cited); } .not-run { color: var(--not-run); }
.partial { color: var(--partial); } .claim-conflict { color: var(--claim-conflict); }
.agrees, .holds { color: var(--verified); } .contradicts, .fails { color: var(--differs); }
.supported { color: var(--measured); } .undecided { color: var(--soft); }
.cited, .not-run { border-style: dashed; }
.scroll { overflow-x: auto; margin: .7rem 0; border: 1px solid var(--line);
  border-radius: .45rem; }
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; padding: .55rem .8rem; color: var(--soft); font-size: .875rem;
  background: var(--tint); border-bottom: 1px solid var(--line); }
caption > span { position: sticky; left: .8rem; display: inline-block;
  max-width: min(68rem, calc(100vw - 3.6rem)); }
caption b { color: var(--ink); }
th, td { padding: .45rem .8rem; text-align: right; vertical-align: top; }
thead th { background: var(--head); font-weight: 600; font-size: .82rem; vertical-align: bottom;
  white-space: nowrap; }
thead th small { display: block; font-weight: 400; color: var(--soft); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 500; }
th.label, th.text, td.text { text-align: left; }
th.label { position: sticky; left: 0; background: var(--paper); z-index: 1; min-width: 12.5rem;
  overflow-wrap: break-word; }
thead th.label { background: var(--head); }
th.label code { display: block; color: var(--soft); font-weight: 400; font-size: .76rem; }
td.num { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.first { border-left: 1px solid var(--line); }
thead th.first { border-left: 1px solid var(--line); }
td .value { font-weight: 600; color: inherit; text-decoration: none; }
td a.value { color: var(--ink); text-decoration: underline dotted var(--soft); }
.ci a.value { font-weight: 500; }
.finding a.value, figcaption a.value { color: inherit;
  text-decoration: underline dotted var(--soft); }
td .ci { display: block; color: var(--soft); font-size: .8rem; }
td .pair { display: inline-flex; justify-content: flex-end; gap: .2rem .5rem;
  align-items: center; }
td .why { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; max-width: 20rem;
  margin-left: auto; }
td.center, th.center { text-align: center; }
.plot { position: relative; display: block; width: 9rem; height: 1.5rem; }
.plot i { position: absolute; top: 50%; display: block; }
.plot .rail { left: 0; right: 0; height: 1px; background: var(--line); }
.plot .bar { height: .5rem; margin-top: -.25rem; background: var(--bar); border-radius: .25rem; }
.plot .dot { width: .5rem; height: .5rem; margin: -.25rem 0 0 -.25rem; border-radius: 50%;
  background: var(--dot); }
.plot .bound { top: 0; bottom: 0; width: 0; border-left: 2px dashed var(--bound); }
th .ends { display: flex; justify-content: space-between; width: 9rem; font-weight: 400;
  color: var(--soft); font-variant-numeric: tabular-nums; }
details { margin: .4rem 0; font-size: .9rem; }
summary { cursor: pointer; color: var(--link); padding: .15rem 0; }
.finding { border-left: .2rem solid var(--line); padding: .1rem 0 .1rem .9rem; margin: .6rem 0; }
.trace h2 { font-size: 1rem; margin: 1.6rem 0 .2rem; }
.trace ul { list-style: none; margin: .1rem 0; padding-left: 1.1rem;
  border-left: 1px solid var(--line); }
.trace section:target { background: var(--tint); }
tr:target > * { background: var(--smoke-tint); }
footer { margin-top: 3.5rem; padding-top: 1rem; padding-bottom: 3rem;
  border-top: 1px solid var(--line); color: var(--soft); font-size: .875rem; }
@media (max-width: 40rem) {
  body { font-size: 15px; }
  main, header.top, footer { padding-left: .9rem; padding-right: .9rem; }
  th, td { padding: .4rem .5rem; }
  th.label { min-width: 8rem; max-width: 9.5rem; overflow-wrap: anywhere; }
  .wide { display: none; }
  table.stacked thead { display: none; }
  table.stacked tr, table.stacked td, table.stacked th.label { display: block; max-width: none; }
  table.stacked tr > * + * { border-top: 0; padding-top: 0; }
  table.stacked td[data-of]::before { content: attr(data-of) ": "; color: var(--soft);
    font-size: .8rem; }
  td .pair { flex-direction: column-reverse; align-items: flex-end; }
  dl.legend { grid-template-columns: auto 1fr; }
  dl.legend dd:last-of-type, dl.legend dd.meaning { grid-column: 1 / -1; margin-bottom: .4rem; }
}
@media print { nav, summary { display: none; } .scroll { overflow: visible; } }
"""
