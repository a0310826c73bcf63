"""`tdn check-submission`: judges somebody's `reports/P`, without data, runs or weights.

What this checkout's manifests and code ask for is held against what was sent: structure, records
and counts by levels 0 and 1 of the audit, tables made again from the results alone, seeds and
predictions' digests, the description of the machine, and the reference distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.audit import level2_absent
from pipeline.audit.context import Context
from pipeline.audit.links import REMARKS, Level, Link, Status
from pipeline.audit.run_levels import audit, find
from pipeline.audit.shadow import link_in, shadow_of
from pipeline.core.errors import TdnError, UsageError
from pipeline.core.files import read_strict_json
from pipeline.core.workspace import OWN, Workspace, seed_suffix
from pipeline.lineage.evidence import UNREADABLE, Evidence
from pipeline.reporting.build_tables import frame
from pipeline.reporting.results_file import ResultsFile, collect, tables_of
from pipeline.reporting.system import trained_rows
from pipeline.reporting.writers import Footing, to_csv, to_latex, to_markdown
from pipeline.schema.profiles import load_profile
from pipeline.scores.reference import reference_path
from stages.commands import audit_results, judge_results
from stages.tables import SMOKE_REMARK

RESULTS = "results.json"
_CODE = ("manifests", OWN, "pipeline", "stages", "tdn_model", "dvc.yaml", "params.yaml")
_MACHINE = ("os", "cpu", "cores", "python", "packages")
_DAMAGED = (*UNREADABLE, TdnError)


@dataclass(frozen=True)
class Submission:
    """What was found: it is valid without `reasons`; `remarks` are no fault."""

    profile: str
    rows: int
    """With results."""
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def valid(self) -> bool:
        return not self.reasons


def run(root: Path, folder: Path) -> Submission:
    """Judge `folder` as reports of the profile that it says, by the checkout at `root`.

    Raises UsageError where there is no such folder, no run record in it or no such profile.
    """
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), do="name a `reports/P`")
    work = Workspace(root, _profile_of(folder))
    load_profile(work.manifests, work.profile)
    with _placed(work, folder) as placed:
        context = find(placed, audit_results.tools(placed))
        reasons, remarks = _links(context)
        for check in (_system, _metrics, _tables):
            try:
                reasons += check(context)
            except _DAMAGED as error:
                reasons.append(f"{check.__name__[1:]} cannot be read: {error}")
        try:
            verdict = judge_results.judge(placed, (), reference_path(work.root, work.profile))
            (remarks if verdict.holds in (True, None) else reasons).append(verdict.summary)
        except _DAMAGED as error:
            remarks.append(f"not held against a reference distribution: {error}")
        rows = sum(run.stage == "score" for run in context.runs())
    return Submission(work.profile, rows, tuple(dict.fromkeys(reasons)), tuple(remarks))


def _profile_of(folder: Path) -> str:
    """The profile that a folder of reports is of: as its cells say, else as it is called."""
    try:
        return str(read_strict_json(folder / "tables" / "cells.json")["profile"])
    except UNREADABLE:
        return folder.resolve().name


@contextmanager
def _placed(work: Workspace, folder: Path) -> Iterator[Workspace]:
    """The submission in the place of this checkout's reports, without data and runs; what its
    tables read besides (timings, say) from beside it, else from here."""
    with shadow_of(work) as placed:
        for name in _CODE:
            link_in(work.root / name, placed.root / name)
        link_in(folder, placed.reports)
        evidence = Evidence(placed)
        tables = evidence.runs.get("tables/all")
        for read in tables.inputs if tables is not None else ():  # timings, a reference
            if read.path.startswith("reports/") and evidence.maker(read.path) is None:
                sent = folder.resolve().parent / read.path.removeprefix("reports/")
                link_in(sent if sent.exists() else work.root / read.path, placed.root / read.path)
        yield placed


def _links(context: Context) -> tuple[list[str], list[str]]:
    """What levels 0 and 1, and what is left of 2 without data, find: faults, and remarks."""
    links = [*audit(context, Level.HASH).links]
    for one in context.runs():
        links += level2_absent.check(context, one)
    own = context.work.relative(context.work.reports / RESULTS)
    # DVC's lock is no part of a submission; its own results file is checked below.
    links = [link for link in links if link.source != "dvc.lock" and link.path != own]
    broken = [link for link in links if link.broken]
    faults = [_in_words(link) for link in broken if link.status not in REMARKS]
    remarks = [_in_words(link) for link in broken if link.status in REMARKS]
    never = sum(link.relation == "is" and link.status is Status.UNAVAILABLE for link in links)
    return faults, remarks + (
        [f"{never} runs that the manifests ask for are not in it"] * (never > 0)
    )


def _in_words(link: Link) -> str:
    return f"{link.status}: {link.path}: {link.detail}"


def _system(context: Context) -> Iterator[str]:
    """Rows whose record does not say what machine trained them."""
    for row in trained_rows(context.work):
        about: Any = context.evidence.observed(f"train/{row}") or {}
        absent = [name for name in _MACHINE if not about.get(name)]
        if absent or not about["packages"].get("torch"):
            names = ", ".join(absent or ["packages.torch"])
            yield f"system: the record of train/{row} does not tell the machine: {names}"


def _metrics(context: Context) -> Iterator[str]:
    """Seeds, predictions and numbers of videos that are not those of the plans and records."""
    runs = context.evidence.runs
    for one in (run for run in context.runs() if run.stage == "score"):
        metrics, plan = read_strict_json(context.work.metrics(one.key)), context.params(one)
        where = f"metrics/{one.key}.json"
        if metrics["seed"] != plan["seed"]:
            yield f"seeds: {where} has seed {metrics['seed']}, its plan {plan['seed']}"
        if metrics["protocols"] and {*metrics["protocols"]} != {*plan["protocols"]}:
            yield f"protocols: {where} has {', '.join(metrics['protocols'])}"
        made = runs.get(f"predict/{one.key}")
        files = made.outputs[0].files if made is not None and made.outputs else {}
        check: Any = runs.get(f"check/{plan['dataset']}")
        for protocol, scored in metrics["protocols"].items():
            names = [f"{protocol}{seed_suffix(n)}.parquet" for n in range(plan["seeds"])]
            if len(scored["trainings"]) != plan["seeds"]:
                yield f"seeds: {where}, {protocol}: not {plan['seeds']} trainings"
            if scored["predictions_sha256"] != [files.get(name) for name in names]:
                yield f"predictions: {where}, {protocol}: not those that predict/{one.key} made"
            if check is not None and not plan.get("subset"):
                dataset = check.params["dataset"]
                split = dataset["folds"][metrics["fold"]]["val"]
                asked = dataset["expected"].get(split)
                if asked not in (None, scored["n_expected"]):
                    yield f"counts: {where}, {protocol}: {scored['n_expected']} of {asked} videos"


def _tables(context: Context) -> Iterator[str]:
    """Tables that the results alone do not give, and a results file that is not theirs."""
    work, results = context.work, collect(context.work)
    folder = work.reports / "tables"
    texts = tables_again(results)
    there = {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}
    yield from (f"tables: {name} is in no layout" for name in sorted(there - texts.keys()))
    for name, text in texts.items():
        if name not in there or (folder / name).read_text("utf-8") != text:
            yield f"tables: {name} is not what the results give"
    sent = work.reports / RESULTS
    if sent.is_file() and read_strict_json(sent) != results.model_dump(mode="json"):
        yield f"results: {RESULTS} is not what metrics, tables and records give"


def tables_again(results: ResultsFile) -> dict[str, str]:
    """{'document/table.suffix': text} of all tables, from the results alone."""
    found = {}
    footing = Footing(SMOKE_REMARK if results.smoke else "", results.root)
    for table in tables_of(results):
        data, layout, about = frame(table), table.layout, replace(footing, notes=table.notes)
        name = f"{layout.document}/{layout.table}"
        found[f"{name}.csv"] = to_csv(data)
        found[f"{name}.md"] = to_markdown(data, layout, table.orders, about)
        found[f"{name}.tex"] = to_latex(data, layout, table.orders, about)
    return found
