"""Level 0: do sentences and figures rest on what they say they rest on?

Every sentence of `manifests/prose_claims.csv` must be there with its own words and rules, and no
other. Its verdict must follow from the cells that the rules read: the paper's side in full, ours
from the measured numbers or from the share of draws that is stated (level 2 draws again, where the
scores are here). Every figure that the plan asks for must be there, and name only rows and cells
that are its own; each cell must be in a table, and a run of each row behind the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.audit.context import Context
from pipeline.audit.differ import changes
from pipeline.audit.links import Level, Link, Status
from pipeline.core.errors import TdnError
from pipeline.core.files import read_json
from pipeline.reporting.prose import UNDECIDED, decide
from pipeline.reporting.rules import Rule, parse
from pipeline.schema.base import validate
from pipeline.schema.claims import load_prose
from pipeline.schema.figure_list import Cost, Figure, Figures, Ordering

CLAIMS, FIGURES = "prose_claims.csv", "figures.yaml"
_SHOWN = 4
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, TdnError)
_TWICE = "it is there twice"
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class _Kind:
    """Where statements are (a list in a JSON file), which run made them, and how they fail."""

    source: str
    file: str
    among: str
    name: str
    run: str
    relation: str
    failure: Status
    do: str


_PROSE = _Kind(
    "prose", "tables/prose.json", "verdicts", "prose_id", "tables/all", "follows from",
    Status.RECOMPUTE_MISMATCH, "make the tables again: `tdn tables`",
)  # fmt: skip
_FIGURES = _Kind(
    "figure", "figures/figures.json", "figures", "key", "figures/all", "drawn from",
    Status.UNRECORDED, "draw the figures again: `tdn figures`",
)  # fmt: skip


class _Held(Protocol):
    """What statements are held against. The first two raise what a malformed entry raises."""

    def unasked(self, entry: Entry) -> list[str]:
        """In what an entry is not what the manifests ask for."""

    def wrong(self, entry: Entry) -> list[str]:
        """What an entry says that is not so."""

    def lacking(self, names: set[str]) -> list[str]:
        """What the manifests ask for beside `names`."""


def check(context: Context) -> Iterator[Link]:
    """One link per sentence and one per figure; none where there are no tables or no figures."""
    if not context.tables:
        return
    try:
        sentences = _Sentences(context)
    except _UNREADABLE as error:
        path, do = context.work.relative(context.work.manifests / CLAIMS), "restore it from git"
        detail = _unread(error)
        yield Link(Level.LOCK, "prose", "says", path, Status.UNREADABLE, detail=detail, do=do)
    else:
        yield from _each(context, _PROSE, sentences)
    if context.place(_path(context, _FIGURES)).is_file():
        yield from _each(context, _FIGURES, _Drawn(context))


def _path(context: Context, kind: _Kind) -> str:
    return context.work.relative(context.work.reports / kind.file)


def _each(context: Context, kind: _Kind, held: _Held) -> Iterator[Link]:
    path = _path(context, kind)
    # A manifest that was edited since is no tampering: what was made before is stale.
    failure = Status.STALE_INPUT if _edited(context, kind.run) else kind.failure

    def link(name: str, status: Status, words: list[str]) -> Link:
        more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
        detail, do = "; ".join(words[:_SHOWN]) + more, kind.do if words else ""
        source = f"{kind.source}:{name}"
        return Link(Level.LOCK, source, kind.relation, path, status, detail=detail, do=do)

    try:
        entries = list(read_json(context.place(path))[kind.among])
    except _UNREADABLE as error:
        yield link("?", Status.UNREADABLE, [_unread(error)])
        return
    names = set[str]()
    for entry in entries:
        name = "?"
        try:
            name = str(entry[kind.name])
            unasked, wrong = held.unasked(entry), held.wrong(entry)
        except _UNREADABLE as error:
            yield link(name, Status.UNREADABLE, [_unread(error)])
        else:
            wrong += [_TWICE] if name in names else []
            status = kind.failure if wrong else failure if unasked else Status.OK
            yield link(name, status, unasked + wrong)
        names.add(name)
    for name in held.lacking(names):
        yield link(name, failure, ["the manifests ask for it and it is not there"])


def _unread(error: Exception) -> str:
    return f"does not parse: {error.what if isinstance(error, TdnError) else repr(error)}"


def _edited(context: Context, run: str) -> bool:
    """Whether the manifests ask for something else now than when a run was made."""
    made, plans = context.evidence.runs.get(run), context.plans
    if made is None or isinstance(plans, TdnError) or run not in plans:
        return False
    return any(changes(made.params, plans[run]["params"]))


class _Sentences:
    """Verdicts against the sentences of the manifest and the cells of the tables.

    Raises ManifestError where the manifest does not validate.
    """

    def __init__(self, context: Context) -> None:
        self.cells = context.cells
        # Rules may name the cells with a printed number; without any, no sentence is judged.
        self.printed = [name for name, cell in self.cells.items() if cell.get("claim_id")]
        claims = load_prose(context.work.manifests / CLAIMS)
        self.claims = claims if self.printed else {}

    def unasked(self, verdict: Entry) -> list[str]:
        claim = self.claims.get(verdict["prose_id"])
        if claim is None:
            return [f"{CLAIMS} has no such sentence"]
        said = {**verdict, "ours": verdict["ours_rule"]}
        others = [name for name, text in claim.model_dump().items() if said[name] != text]
        return [f"its {name} is not that of {CLAIMS}" for name in others]

    def wrong(self, verdict: Entry) -> list[str]:
        printed = {name: float(self.cells[name]["claimed"]) for name in verdict["cells"]}
        measured = {name: self.cells[name]["measured"] for name in verdict["ours_cells"]}
        sides = (
            ("paper", verdict["rule"], printed, None),
            ("ours", verdict["ours_rule"], measured, verdict["draws_pct"]),
        )
        found = []
        for side, text, numbers, share in sides:
            rule = self._rule(text, verdict["document"]) if text else None
            if set(rule.cells() if rule else ()) != set(numbers):
                found.append(f"{side}: it names other cells than its rule reads")
                continue
            says = UNDECIDED
            if rule is not None and None not in numbers.values():
                says = decide(bool(rule.evaluate(numbers.__getitem__)), share)
            if verdict[side] != says:
                found.append(f"{side}: it says '{verdict[side]}', its cells say '{says}'")
        return found

    def lacking(self, names: set[str]) -> list[str]:
        return [name for name in self.claims if name not in names]

    def _rule(self, text: str, document: str) -> Rule:
        return parse(text, document, self.printed, where="its rule")


class _Drawn:
    """Figures against their plan, the cells of the tables and the runs behind them."""

    def __init__(self, context: Context) -> None:
        self.cells = context.cells
        behind = context.evidence.behind([_path(context, _FIGURES)])
        self.rows = {run.partition("/")[2] for run in behind}
        self.specs: Mapping[str, Figure] | None = None
        # Manifests that do not parse are a link of their own.
        if not isinstance(context.plans, TdnError) and _FIGURES.run in context.plans:
            asked = context.plans[_FIGURES.run]["params"]["figures"]
            self.specs = validate(Figures, {"figures": asked}, where=f"manifests/{FIGURES}").figures

    def unasked(self, figure: Entry) -> list[str]:
        if self.specs is None:
            return []
        key = next((key for key in self.specs if self._is_of(key, figure["key"])), None)
        if key is None:
            return [f"{FIGURES} has no such figure"]
        spec = self.specs[key]
        others = [row for row in figure["rows"] if row not in spec.rows_named]
        found = [f"{FIGURES} does not give it the row {row}" for row in others]
        if figure["state"] == "drawn":
            absent = [row for row in spec.rows_named if row not in figure["rows"]]
            found += [f"it is 'drawn' and does not name its row {row}" for row in absent]
        strange = [cell for cell in figure["cells"] if not _draws(key, spec, figure["key"], cell)]
        return found + [f"{FIGURES} does not give it the cell {cell}" for cell in strange]

    def wrong(self, figure: Entry) -> list[str]:
        found = [f"no table has its cell {c}" for c in figure["cells"] if c not in self.cells]
        strange = [row for row in figure["rows"] if row not in self.rows]
        return found + [f"no run of its row {row} is behind it" for row in strange]

    def lacking(self, names: set[str]) -> list[str]:
        return [k for k in self.specs or () if not any(self._is_of(k, name) for name in names)]

    def _is_of(self, key: str, name: str) -> bool:
        """Whether a figure is that of `key`, or one of those that an `ordering` makes."""
        assert self.specs is not None
        ordered = isinstance(self.specs[key], Ordering) and name not in self.specs
        return name == key or (ordered and name.startswith(f"{key}_"))


def _draws(key: str, spec: Figure, name: str, cell: str) -> bool:
    """Whether a figure called `name` may be drawn from a cell; see `stages/figures.py`."""
    document, table, _, column = cell.split("/")
    if isinstance(spec, Cost):
        columns = (spec.printed.cost, spec.printed.accuracy)
        return f"{document}/{table}" == spec.printed.table and column in columns
    ordered = f"{key}_{document}_{table}_{column}".replace("-", "_")
    return isinstance(spec, Ordering) and name == ordered
