"""`tdn audit`, `tdn trace`, `tdn why`: what the audit needs of the stages, handed to it."""

from __future__ import annotations

import importlib
import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.audit import signatures
from pipeline.audit.committed import earlier
from pipeline.audit.context import Context, Files, Plans, Tools, open_context
from pipeline.audit.links import HARMLESS, REMARKS, Level, Status, counts
from pipeline.audit.replay_sample import Sample
from pipeline.audit.run_levels import Result, audit, find
from pipeline.audit.why import Reason
from pipeline.audit.why import why as reasons
from pipeline.core.errors import UsageError
from pipeline.core.files import canonical_json, read_strict_json, write_atomic, write_json
from pipeline.core.workspace import Workspace, for_stages
from pipeline.lineage.evidence import UNREADABLE
from pipeline.lineage.resolve_plans import resolve
from pipeline.lineage.root import read_root_file, root_path, signed_path
from pipeline.lineage.trace import Walks, walks
from pipeline.reporting.prose_view import CellTexts
from pipeline.reporting.trace_items import Section, cell_section, figure_section, prose_section
from pipeline.schema.base import nearest
from pipeline.schema.plan_models import parse_plan, stage_module
from stages.graph import STAGES
from stages.networks import Catalogue
from stages.profile_graph import graph_path


def tools(work: Workspace) -> Tools:
    """How to resolve plans, where the lock is, which stages are made again and how."""
    return Tools(
        plans=_plans,
        files=_files,
        stages=frozenset(STAGES),
        lock=graph_path(work).with_name("dvc.lock"),
        pure=frozenset(name for name, stage in STAGES.items() if stage.pure),
        sampled=frozenset(name for name, stage in STAGES.items() if stage.sampled),
        again=_again,
        command=(sys.executable, "-m", "stages"),
    )


def run(
    work: Workspace,
    *,
    level: int = int(Level.RECOMPUTE),
    cell: str | None = None,
    table: str | None = None,
    sample: Sample = Sample(),
    seed: int | None = None,
    against: str | None = None,
    signers: Path | None = None,
    cached: bool = False,
) -> Result:
    """Audit a profile, a table or a cell; changes nothing.

    `sample` videos of each row, drawn by `seed` (None: a fresh one), are replayed at level 3. With
    `cached`, digests from before are believed of files whose inode, size and times have stayed.
    `against` is a published root: its digest, or a file that `tdn sign` or the tables wrote;
    `signers` a file of keys. Raises UsageError when there is nothing to audit, no such cell or
    table, no such root or file.
    """
    published = None if against is None else _published(work, against)
    if signers is not None and not signers.is_file():
        raise UsageError("there is no such file", where=str(signers), do="give a file of keys")
    context = find(work, tools(work), cell=cell, table=table)
    context.cached = cached
    drawn_by = secrets.randbelow(1 << 32) if seed is None else seed
    return audit(
        context, Level(level), published=published, signers=signers, sample=sample, seed=drawn_by
    )


def _published(work: Workspace, given: str) -> dict[str, Any]:
    """A root as it was published; of a digest what it covers, where git's history has it."""
    if Path(given).is_file():
        stated = read_root_file(Path(given))
        if stated is None:
            do = f"give a {root_path(work).name} or a {signed_path(work).name} as it was published"
            raise UsageError("it is no root", where=given, do=do)
        return stated
    if len(given) != 64 or set(given) - set("0123456789abcdef"):
        do = "give all 64 digits of a root digest, or the file that has it"
        raise UsageError(f"'{given}' is not a sha256", do=do)
    places = [work.relative(path(work)) for path in (root_path, signed_path)]
    with suppress(*UNREADABLE):
        for text in earlier(work.root, places):
            value = json.loads(text)
            if value.get("root") == given:
                return dict(value)
    return {"root": given}


def sign(work: Workspace, key: Path) -> Path:
    """Write the root of all results and its signature by an SSH key; the path of the signature.

    Raises UsageError when there are no results, when their records contradict each other, or when
    ssh-keygen refuses.
    """
    context = find(work, tools(work))
    broken = [link for link in audit(context, Level.LOCK).broken if link.status not in REMARKS]
    if broken:
        do = "look with `tdn audit --level 0` and mend that first"
        raise UsageError("what is broken is not signed", where=broken[0].path, do=do)
    path = signed_path(work)
    write_json(path, context.everything)
    signature = signatures.signature_path(path)
    write_atomic(signature, signatures.sign(path, key))
    return signature


@dataclass(frozen=True)
class Traced:
    """What `tdn trace` shows of a `kind` (cell, prose or figure).

    `about` is its entry in `file` (below `reports/P/`), `section` what it rests on in words, and
    `walks` has a walk from each measured cell and each row among that.
    """

    kind: str
    number: str
    file: str
    about: Mapping[str, Any]
    section: Section
    walks: Walks
    context: Context


_LISTS = {
    "prose": ("tables/prose.json", "verdicts", "prose_id", "tables"),
    "figure": ("figures/figures.json", "figures", "key", "figures"),
}
"""Where sentences and figures are: file, list in it, name of an entry, the stage that writes it."""
_DAMAGED = (KeyError, ValueError, TypeError)
"""What reading a file raises that this version did not write."""


def trace(work: Workspace, number: str) -> Traced:
    """What a cell, `prose/<id>` or `figure/<key>` rests on.

    Raises UsageError naming the nearest when there is none, and when the file that says what a
    sentence or figure rests on is damaged or an earlier version's.
    """
    context = find(work, tools(work))
    texts = CellTexts({"cells": context.cells, "tables": context.tables})
    if number in context.cells:
        cell = context.cells[number]
        section = cell_section(context.evidence, cell, texts, documents(work))
        file = "tables/cells.json"
        return Traced("cell", number, file, cell, section, {number: section.steps}, context)
    kind, _, name = number.partition("/")
    if kind in _LISTS:
        with _in_words(work, kind):
            if (entry := _entries(work, kind).get(name)) is not None:
                return _traced(context, texts, kind, entry)
    known = list(context.cells)
    for other in _LISTS:
        with suppress(*_DAMAGED):
            known += [f"{other}/{name}" for name in _entries(work, other)]
    raise UsageError(f"no cell, sentence or figure '{number}'", do=nearest(number, known))


def _entries(work: Workspace, kind: str) -> dict[str, Mapping[str, Any]]:
    """Sentences or figures by name; none where they were not made."""
    file, among, name, _ = _LISTS[kind]
    path = work.reports / file
    entries = read_strict_json(path)[among] if path.is_file() else []
    return {entry[name]: entry for entry in entries}


def _traced(context: Context, texts: CellTexts, kind: str, entry: Mapping[str, Any]) -> Traced:
    """A sentence or figure; KeyError or ValueError where it lacks what is shown of it."""
    rows: list[str] = []
    if kind == "prose":
        section, cells = prose_section(entry, texts), entry["ours_cells"]
    else:
        rows, cells = entry["rows"], entry["cells"]
        section = figure_section(context.evidence, entry, texts, dict.fromkeys(rows, ""))
    starts = {row: _metrics(context, row) for row in rows}
    starts |= {cell: context.cells[cell]["lineage"]["sources"] for cell in cells}
    file, _, name, _ = _LISTS[kind]
    found = walks(context.evidence, starts)
    return Traced(kind, entry[name], file, entry, section, found, context)


@contextmanager
def _in_words(work: Workspace, kind: str) -> Iterator[None]:
    """Inside, what a file of an earlier version or a damaged one raises becomes a UsageError."""
    file, _, _, maker = _LISTS[kind]
    try:
        yield
    except _DAMAGED as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise UsageError(
            f"{Path(file).name} was made by an earlier version or is damaged: {why}",
            where=work.relative(work.reports / file),
            do=f"run `tdn {maker} --profile {work.profile}`",
        ) from None


def _metrics(context: Context, row: str) -> list[dict[str, str]]:
    """The metrics of a row as a file that a walk starts from; none where it was not scored."""
    path = context.work.relative(context.work.metrics(row))
    output = context.evidence.made(path)
    return [] if output is None else [{"path": path, "sha256": output.sha256}]


def why(work: Workspace, key: str) -> list[Reason]:
    """What would run again for a row, and why."""
    return reasons(open_context(work, tools(work)), key)


def documents(work: Workspace) -> dict[str, dict[str, Any]]:
    """The documents that the cells speak of."""
    found: dict[str, dict[str, Any]] = read_strict_json(work.reports / "tables" / "cells.json")
    return found["documents"]


def export(work: Workspace, form: str, cell: str | None, table: str | None) -> dict[str, Any]:
    """The records as 'ro-crate' or 'prov' (JSON values); UsageError for another form."""
    from pipeline.audit.provenance_export import FORMS

    if form not in FORMS:
        raise UsageError(f"cannot export as '{form}'", do=nearest(form, list(FORMS)))
    return FORMS[form](find(work, tools(work), cell=cell, table=table))


def state(result: Result, path: Path) -> None:
    """Write an audit's result as in-toto statements, one a line (JSON Lines)."""
    from pipeline.audit.provenance_export import statements

    write_atomic(path, b"".join(canonical_json(item) + b"\n" for item in statements(result)))


def closing(work: Workspace) -> tuple[bool, str]:
    """Whether a finished `repro` passes level 2, and the line that says so."""
    result = run(work, cached=True)
    failing = [link for link in result.broken if link.status not in REMARKS]
    remarks = counts(link for link in result.broken if link.status in REMARKS)
    remark_words = "; ".join(f"{n} {status}" for status, n in remarks.items())
    intact = sum(status == Status.OK for status in result.cells.values())
    absent = sum(status == Status.UNAVAILABLE for status in result.cells.values())
    line = f"audit: {len(result.links) - len(result.broken)} of {len(result.links)} links hold, "
    line += f"{intact} of {len(result.cells)} numbers trace back"
    line += f" and {absent} as far as the files are here" if absent else ""
    if result.prose:
        follow = sum(status in HARMLESS for status in result.prose.values())
        line += f", {follow} of {len(result.prose)} verdicts follow, their measured cells intact"
    if remark_words:
        line += f" ({remark_words}: see `tdn audit`)"
    for link in failing[:5]:
        line += f"\n  {link.status}: {link.path}: {link.detail}"
    return not failing, line


def _plans(work: Workspace) -> Plans:
    plans = resolve(work, Catalogue(work.root))
    return {f"{stage}/{key}": plan for (stage, key), plan in plans.items()}


def _files(work: Workspace, stage: str, key: str, params: Mapping[str, Any]) -> Files | None:
    if stage not in STAGES:
        return None
    try:
        plan = parse_plan(stage, params, where="")
    except UsageError:
        return None
    found = STAGES[stage]
    inputs, outputs = (
        {role: work.relative(path) for role, path in places(work, key, plan).items()}
        for places in (found.inputs, found.outputs)
    )
    return Files(inputs, outputs, frozenset(filter(found.may_lack, inputs)))


def _again(work: Workspace, stage: str, key: str, params: dict[str, Any]) -> None:
    switches = {"workers": 0} if "workers" in STAGES[stage].takes else {}
    plan = parse_plan(stage, params, where=work.relative(work.record(stage, key)))
    run = importlib.import_module(stage_module(stage, plan)).run
    run(for_stages(work), key, plan, **switches)
