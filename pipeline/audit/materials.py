"""Level 0: did each run read and make what the graph's table says, and is every run recorded?

As the links of a supply chain are held against an in-toto layout: expected materials, expected
products, one maker for each file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, checked, some
from pipeline.core.errors import TdnError, stage_command
from pipeline.lineage.evidence import Artefact, Run
from pipeline.lineage.records import OBSERVED


def check(context: Context, run: Run) -> Iterator[Link]:
    """Did the run read and make what its stage reads and makes, in these roles, and all of it?"""
    files, source = context.files(run), f"record:{run.name}"
    if files is None:
        if (
            run.stage in context.tools.stages
        ):  # else its parameters are another version's: see above
            return
        wrong, late = [f"there is no stage called {run.stage}"], list[str]()
    else:
        optional, reads = files.optional, {item.role: item.path for item in run.inputs}
        late = [
            f"it was made without {path}, which is there now"
            for role, path in files.inputs.items()
            if role in optional and role not in reads and context.is_there(path)
        ]
        asked = {r: path for r, path in files.inputs.items() if r not in optional or r in reads}
        wrong = _unlike(run.inputs, asked, "read") + _unlike(run.outputs, files.outputs, "made")
    do = f"restore it from git, or run {stage_command(run.stage, run.key)} again"
    status = Status.RECORD_TAMPERED if wrong else Status.STALE_INPUT
    yield checked(Level.LOCK, source, "is made as", run.path, [*wrong, *late], status, do)


def _unlike(items: Sequence[Artefact], asked: Mapping[str, str], verb: str) -> list[str]:
    """In what a record's files are not the ones that the stage reads or makes."""
    found = sorted((item.role, item.path) for item in items)
    twice = {pair for pair in found if found.count(pair) > 1}
    other = [pair for pair in found if asked.get(pair[0]) != pair[1]]
    absent = asked.items() - set(found)
    return (
        [
            f"it says that it {verb} {path} as '{role}', which its stage does not"
            for role, path in other
        ]
        + [f"it does not say that it {verb} {path} ('{role}')" for role, path in sorted(absent)]
        + [f"it says twice that it {verb} {path}" for _, path in sorted(twice)]
    )


def unrecorded(context: Context) -> Iterator[Link]:
    """Runs that are asked for and have no record; unavailable where nothing knows of them."""
    plans = {} if isinstance(context.plans, TdnError) else context.plans
    lock = {} if isinstance(context.lock, TdnError) else context.lock
    for name in plans:
        if name in context.evidence.runs or not (context.scope is None or name in context.scope):
            continue
        stage, _, key = name.partition("/")
        made = [path for path, maker in context.products.items() if maker == name]
        here = [path for path in made if context.place(path).exists()]
        path = context.work.relative(context.work.record(stage, key))
        status, do = Status.UNRECORDED, f"restore it from git, or run {stage_command(stage, key)}"
        if f"{stage}@{key}" in lock or (key == "all" and stage in lock):
            detail = "dvc.lock knows this run and there is no record of it"
        elif here:
            detail = f"there is no record of the run that made {some(here)}"
        else:
            detail, status, do = "it never ran here", Status.UNAVAILABLE, "`make repro`"
        yield Link(Level.LOCK, f"record:{name}", "is", path, status, detail=detail, do=do)


def leftovers(context: Context) -> Iterator[Link]:
    """Runs of rows or data sets that are gone, by key: no evidence of anything, and no harm."""
    found: dict[str, list[Run]] = {}
    for name, run in context.evidence.runs.items():
        if not context.is_leftover(name):
            continue
        owners = {item.path: context.product_of(item.path) for item in run.outputs}
        taken = [f"it says that it made {path}, which {n} makes" for path, n in owners.items() if n]
        if taken or run.problem:
            wrong = [*taken, *([run.problem] if run.problem else [])]
            do = "remove it: no manifest asks for this run"
            yield checked(
                Level.LOCK, f"record:{name}", "is", run.path, wrong, Status.RECORD_TAMPERED, do
            )
        else:
            found.setdefault(run.key, []).append(run)
    for key, runs in found.items():
        records = [path for run in runs for path in (run.path, run.path[:-5] + OBSERVED)]
        made = [item.path for run in runs for item in run.outputs]
        yield Link(
            Level.LOCK,
            "leftovers",
            "keep",
            runs[0].path,
            Status.LEFTOVER,
            detail=f"no manifest asks for {', '.join(run.name for run in runs)} any more",
            do=f"if {key} shall not come back: `rm -rf {' '.join([*records, *made])}`",
        )
