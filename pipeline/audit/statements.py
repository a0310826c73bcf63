"""Level 0: do sentences and figures rest on what they say they rest on?

Every sentence of `manifests/prose_claims.csv` must be there with its own words and rules, and no
other; all that its verdict says must follow from the cells that its rules read and from the share
of draws that it states (level 2 draws again, where the scores are here). Every figure that the plan
asks for must be there, and name only rows and cells that are its own; each cell must be in a table,
and a run of each row behind the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.audit.context import Context
from pipeline.audit.differ import changes, show
from pipeline.audit.links import Level, Link, Status, some
from pipeline.core.errors import TdnError
from pipeline.core.files import read_strict_json
from pipeline.core.workspace import manifests_of
from pipeline.lineage.evidence import UNREADABLE
from pipeline.reporting.prose import judge, printed_cells
from pipeline.schema.base import validate
from pipeline.schema.claims import ProseClaim, load_prose
from pipeline.schema.figure_list import Cost, Figure, Figures, Ordering, StoredFrames

CLAIMS, FIGURES = "prose_claims.csv", "figures.yaml"
_UNREADABLE = (*UNREADABLE, TdnError)
_ABSENT = "the manifests ask for it and it is not there"
Entry = Mapping[str, Any]
Judge = Callable[[Entry], tuple[list[str], list[str]]]
"""In what an entry is not what the manifests ask for, and what it says that is not so."""


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


def check(context: Context) -> Iterator[Link]:
    """One link per sentence and one per figure; none where there are no tables or no figures."""
    if not context.tables:
        return
    path = manifests_of(context.work.manifests, context.work.profile) / CLAIMS
    try:
        claims = load_prose(path)
    except _UNREADABLE as error:
        place, do = context.work.relative(path), "restore it from git"
        detail = _unread(error)
        yield Link(Level.LOCK, "prose", "says", place, Status.UNREADABLE, detail=detail, do=do)
    else:
        yield from _sentences(context, claims)
    if context.place(_path(context, _FIGURES)).is_file():
        yield from _figures(context)


def _sentences(context: Context, claims: Mapping[str, ProseClaim]) -> Iterator[Link]:
    cells = context.cells_in_order
    # Rules may name the cells with a printed number; without any, no sentence is judged.
    addresses = printed_cells(cells)

    def judge_entry(verdict: Entry) -> tuple[list[str], list[str]]:
        own = {n: verdict["ours_rule" if n == "ours" else n] for n in ProseClaim.model_fields}
        stated = verdict["draws_pct"], verdict["draws_over"]
        again = judge(ProseClaim(**own), addresses, cells, lambda claim, rule: stated).as_json()
        wrong = [
            f"{name}: it says {show(verdict[name])}, its rules and cells say {show(value)}"
            for name, value in again.items()
            if verdict[name] != value
        ]
        claim = claims.get(verdict["prose_id"])
        if claim is None:
            return [f"{CLAIMS} has no such sentence"], wrong
        others = [name for name, text in claim.model_dump().items() if own[name] != text]
        return [f"its {name} is not that of {CLAIMS}" for name in others], wrong

    def absent(names: set[str]) -> list[str]:
        return [name for name in claims if name not in names] if addresses else []

    yield from _each(context, _PROSE, judge_entry, absent)


def _figures(context: Context) -> Iterator[Link]:
    behind = context.evidence.behind([_path(context, _FIGURES)])
    rows = {run.partition("/")[2] for run in behind}
    specs: Mapping[str, Figure] | None = None
    # Manifests that do not parse are a link of their own.
    if not isinstance(context.plans, TdnError) and _FIGURES.run in context.plans:
        asked = context.plans[_FIGURES.run]["params"]["figures"]
        specs = validate(Figures, {"figures": asked}, where=f"manifests/{FIGURES}").figures

    def is_of(key: str, name: str) -> bool:
        """Whether a figure is that of `key`, or one of those that it makes of tables or data."""
        if specs is None or name in specs or not isinstance(specs[key], Ordering | StoredFrames):
            return name == key
        return name.startswith(f"{key}_")

    def judge_entry(figure: Entry) -> tuple[list[str], list[str]]:
        wrong = [f"no table has its cell {c}" for c in figure["cells"] if c not in context.cells]
        wrong += [
            f"no run of its row {row} is behind it" for row in figure["rows"] if row not in rows
        ]
        key = next((key for key in specs or () if is_of(key, figure["key"])), None)
        if specs is None:
            return [], wrong
        return (
            _unplanned(key, specs[key], figure) if key else [f"{FIGURES} has no such figure"]
        ), wrong

    def absent(names: set[str]) -> list[str]:
        return [key for key in specs or () if not any(is_of(key, name) for name in names)]

    yield from _each(context, _FIGURES, judge_entry, absent)


def _unplanned(key: str, spec: Figure, figure: Entry) -> list[str]:
    """The rows and cells of a figure that its entry in the manifest does not give it."""
    others = [row for row in figure["rows"] if row not in spec.rows_named]
    found = [f"{FIGURES} does not give it the row {row}" for row in others]
    if figure["state"] == "drawn":
        absent = [row for row in spec.rows_named if row not in figure["rows"]]
        found += [f"it is 'drawn' and does not name its row {row}" for row in absent]
    strange = [cell for cell in figure["cells"] if not _draws(key, spec, figure["key"], cell)]
    return found + [f"{FIGURES} does not give it the cell {cell}" for cell in strange]


def _draws(key: str, spec: Figure, name: str, cell: str) -> bool:
    """Whether a figure called `name` may be drawn from a cell; see `stages/figures.py`."""
    document, table, _, column = cell.split("/")
    if isinstance(spec, Cost):
        columns = (spec.printed.cost, spec.printed.accuracy)
        return f"{document}/{table}" == spec.printed.table and column in columns
    ordered = f"{key}_{document}_{table}_{column}".replace("-", "_")
    return isinstance(spec, Ordering) and name == ordered


def _each(
    context: Context, kind: _Kind, judge_entry: Judge, absent: Callable[[set[str]], Iterable[str]]
) -> Iterator[Link]:
    """A link per entry of the file and per entry that is `absent` besides the names that are."""
    path = _path(context, kind)
    # A manifest that was edited since is no tampering: what was made before is stale.
    failure = Status.STALE_INPUT if _edited(context, kind.run) else kind.failure

    def link(name: str, status: Status, words: list[str]) -> Link:
        source, do = f"{kind.source}:{name}", kind.do if words else ""
        return Link(Level.LOCK, source, kind.relation, path, status, detail=some(words), do=do)

    try:
        entries = list(read_strict_json(context.place(path))[kind.among])
    except _UNREADABLE as error:
        yield link("?", Status.UNREADABLE, [_unread(error)])
        return
    names = set[str]()
    for entry in entries:
        name = "?"
        try:
            name = str(entry[kind.name])
            unasked, wrong = judge_entry(entry)
        except _UNREADABLE as error:
            yield link(name, Status.UNREADABLE, [_unread(error)])
        else:
            wrong += ["it is there twice"] if name in names else []
            status = kind.failure if wrong else failure if unasked else Status.OK
            yield link(name, status, unasked + wrong)
        names.add(name)
    for name in absent(names):
        yield link(name, failure, [_ABSENT])


def _path(context: Context, kind: _Kind) -> str:
    return context.work.relative(context.work.reports / kind.file)


def _unread(error: Exception) -> str:
    return f"does not parse: {error.what if isinstance(error, TdnError) else repr(error)}"


def _edited(context: Context, run: str) -> bool:
    """Whether the manifests ask for something else now than when a run was made."""
    made, plans = context.evidence.runs.get(run), context.plans
    if made is None or isinstance(plans, TdnError) or run not in plans:
        return False
    return any(changes(made.params, plans[run]["params"]))
