"""Level 0: do sentences and figures rest on what they say they rest on?

A sentence's verdict must follow from the cells that its rules read: the paper's side in full, ours
from the measured numbers or from the share of draws that is stated (level 2 draws again, where the
scores are here). A figure must name cells that there are and rows that it was drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status
from pipeline.digests import read_json
from pipeline.errors import TdnError
from pipeline.reporting.prose import UNDECIDED, decide
from pipeline.reporting.rules import parse

_SHOWN = 4
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, TdnError)
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class _Kind:
    """Where statements are (a list in a JSON file), what each must do, and how it fails."""

    source: str
    file: str
    among: str
    name: str
    relation: str
    failure: Status
    do: str


_PROSE = _Kind(
    "prose", "tables/prose.json", "verdicts", "prose_id", "follows from",
    Status.RECOMPUTE_MISMATCH, "make the tables again: `tdn tables`",
)  # fmt: skip
_FIGURES = _Kind(
    "figure", "figures/figures.json", "figures", "key", "drawn from",
    Status.UNRECORDED, "draw the figures again: `tdn figures`",
)  # fmt: skip


def check(context: Context) -> Iterator[Link]:
    """One link per sentence and one per figure; none where there are no tables or no figures."""
    if not context.tables:
        return
    yield from _each(context, _PROSE, lambda verdict: _verdict(context.cells, verdict))
    path = context.work.relative(context.work.reports / _FIGURES.file)
    if context.place(path).is_file():
        rows = {run.partition("/")[2] for run in context.evidence.behind([path])}
        yield from _each(context, _FIGURES, lambda figure: _figure(context.cells, rows, figure))


def _each(context: Context, kind: _Kind, wrong_in: Callable[[Entry], list[str]]) -> Iterator[Link]:
    path = context.work.relative(context.work.reports / kind.file)
    name = "?"
    try:
        for entry in read_json(context.place(path))[kind.among]:
            name = str(entry[kind.name])
            wrong = wrong_in(entry)
            status = kind.failure if wrong else Status.OK
            words, do = "; ".join(wrong[:_SHOWN]), kind.do if wrong else ""
            source = f"{kind.source}:{name}"
            yield Link(Level.LOCK, source, kind.relation, path, status, detail=words, do=do)
    except _UNREADABLE as error:
        what = error.what if isinstance(error, TdnError) else repr(error)
        source, detail = f"{kind.source}:{name}", f"does not parse: {what}"
        yield Link(
            Level.LOCK, source, kind.relation, path, Status.UNREADABLE, detail=detail, do=kind.do
        )


def _verdict(cells: Mapping[str, Entry], verdict: Entry) -> list[str]:
    """What a verdict says that its cells do not; raises what a malformed one raises."""
    printed = {name: float(cells[name]["claimed"]) for name in verdict["cells"]}
    measured = {name: cells[name]["measured"] for name in verdict["ours_cells"]}
    sides = (
        ("paper", verdict["rule"], printed, None),
        ("ours", verdict["ours_rule"], measured, verdict["draws_pct"]),
    )
    wrong = []
    for side, text, numbers, share in sides:
        says = UNDECIDED
        if text:
            # Rules may name the cells with a printed number.
            known = [name for name, cell in cells.items() if cell["claim_id"]]
            rule = parse(text, verdict["document"], known, where="its rule")
            if set(rule.cells()) != set(numbers):
                wrong.append(f"{side}: it names other cells than its rule reads")
                continue
            if None not in numbers.values():
                says = decide(bool(rule.evaluate(numbers.__getitem__)), share)
        if verdict[side] != says:
            wrong.append(f"{side}: it says '{verdict[side]}', its cells say '{says}'")
    return wrong


def _figure(cells: Mapping[str, Entry], rows: set[str], figure: Entry) -> list[str]:
    wrong = [f"no table has its cell {name}" for name in figure["cells"] if name not in cells]
    return wrong + [f"no run of its row {r} is behind it" for r in figure["rows"] if r not in rows]
