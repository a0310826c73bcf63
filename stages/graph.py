"""What every stage shares: its plan, its inputs and outputs, its lock and its run record.

The table below is the graph in one place: who reads what and writes what. `dvc.yaml` says the same
to DVC; a test holds the two together.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.benchmark import TIMINGS
from pipeline.core.errors import UsageError
from pipeline.core.files import read_json, sha256_json
from pipeline.core.locks import exclusive
from pipeline.core.workspace import Workspace, for_stages, manifests_of
from pipeline.lineage.loaded_code import check_loaded
from pipeline.lineage.records import is_up_to_date, observe, read_inputs, write_record
from pipeline.lineage.root import root_holds, root_path
from pipeline.schema.base import nearest
from pipeline.schema.plan_models import (
    FiguresPlan,
    ImportPlan,
    ReportPlan,
    RowData,
    TablesPlan,
    TrainPlan,
    parse_plan,
    stage_module,
)
from pipeline.schema.profiles import load_profile
from pipeline.schema.table_layouts import LAID_OUT_BY
from pipeline.scores.reference import reference_path

Files = dict[str, Path]
Places = Callable[[Workspace, str, Any], Files]
"""The files of a stage: of a profile, a key and the plan, which is the stage's own model."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Stage:
    """One stage: what it reads and writes, and which run-time switches its `run` takes.

    `optional` inputs (the words before the colon of their roles) are read where they are there:
    what was never run is a cell that says so, not a broken table.

    A `pure` stage makes its outputs from its inputs in seconds, the same anywhere: the audit makes
    them again. A `sampled` one works video by video: the audit makes it again for
    a few. One that `keeps` its earlier outputs goes on from them. One that is `lazy` imports most
    modules, and compares them with the plan, before it makes something anew. What it reads besides
    its inputs (run records, whose digests they cannot hold) is as it was when `besides` says so.
    """

    inputs: Places
    outputs: Places
    optional: frozenset[str] = frozenset()
    takes: frozenset[str] = field(default_factory=frozenset)
    pure: bool = False
    sampled: bool = False
    keeps: bool = False
    lazy: bool = False
    besides: Callable[[Workspace], bool] = lambda work: True

    def may_lack(self, role: str) -> bool:
        """Whether the stage also runs without this input."""
        return role.partition(":")[0] in self.optional

    def reads(self, work: Workspace, key: str, plan: Any) -> Files:
        """The inputs of a run: all but the optional ones that are not there."""
        files = self.inputs(work, key, plan)
        return {r: path for r, path in files.items() if path.exists() or not self.may_lack(r)}


def _clips(work: Workspace, data: RowData) -> Files:
    """The store a row's clips come from."""
    return {data.input: work.store(data.name, data.input) / "index.json"}


def _train_inputs(work: Workspace, key: str, plan: TrainPlan | ImportPlan) -> Files:
    """The clips a row trains on and the weights it starts from.

    Of a file of weights DVC sees the digest, in the plan; its graph has `scratch` in its place.
    """
    if isinstance(plan, ImportPlan):
        files = {**_clips(work, plan.data), "start": work.run("scratch") / "train"}
        given = {"checkpoint": plan.checkpoint.checkpoint, "names": plan.checkpoint.class_names}
        return files | {role: work.root / name for role, name in given.items() if name}
    files = {**_clips(work, plan.data), "start": work.run(plan.start.source) / "train"}
    if plan.start.images not in (None, plan.start.source):
        # DVC sees it through the start, which itself starts from it (a check when planning).
        files["images"] = work.run(plan.start.images) / "train"
    return files


def _ledger(work: Workspace, key: str) -> Path:
    return work.sources(key).with_suffix(".parquet")


def _tables_inputs(work: Workspace, key: str, plan: TablesPlan) -> Files:
    manifests = manifests_of(work.manifests, work.profile)
    files = {f"manifest:{name}": manifests / name for name in LAID_OUT_BY}
    files |= {"layouts": manifests / "tables", "costs": work.reports / "costs.json"}
    files |= {f"metrics:{row}": work.metrics(row) for row in plan.rows}
    files |= {f"scores:{row}": work.run(row) / "scores" for row in plan.rows}
    files["reference"] = reference_path(work.root, work.profile)
    return files | {f"timings:{name}": work.root / "reports" / "bench" / name for name in TIMINGS}


_OF_DATA, _OF_ROWS = ("decoded", "index", "videos"), ("metrics", "scores", "train")


def _decoded(work: Workspace, datasets: Iterable[str]) -> Files:
    files: Files = {}
    for name in datasets:
        files[f"decoded:{name}"] = work.decoded(name)
        files[f"index:{name}"] = work.frames(name) / "index.json"
        files[f"videos:{name}"] = work.frames(name) / "index.parquet"
    return files


def _report_inputs(work: Workspace, key: str, plan: ReportPlan) -> Files:
    files = _decoded(work, plan.datasets)
    for row in plan.rows:
        files[f"metrics:{row}"] = work.metrics(row)
        files |= {f"{part}:{row}": work.run(row) / part for part in ("scores", "train")}
    folders = {name: work.reports / name for name in ("figures", "tables")}
    return {**files, "root": root_path(work), **folders}


def _figures_inputs(work: Workspace, key: str, plan: FiguresPlan) -> Files:
    files = _decoded(work, plan.datasets)
    files |= {"costs": work.reports / "costs.json", "tables": work.reports / "tables"}
    for row in plan.rows:
        files[f"metrics:{row}"] = work.metrics(row)
        files |= {f"{part}:{row}": work.run(row) / part for part in ("scores", "train", "predict")}
    return files


STAGES: dict[str, Stage] = {
    "mini": Stage(
        inputs=lambda work, key, plan: {},
        outputs=lambda work, key, plan: {"generated": work.generated(key)},
        takes=frozenset({"workers", "progress"}),
        keeps=True,
    ),
    "check": Stage(
        inputs=lambda work, key, plan: {"generated": work.generated(key)} if plan.generated else {},
        outputs=lambda work, key, plan: {
            "summary": work.sources(key),
            "ledger": _ledger(work, key),
        },
        takes=frozenset({"record_absent", "progress"}),
    ),
    "decode": Stage(
        inputs=lambda work, key, plan: {"sources": work.sources(key)},
        outputs=lambda work, key, plan: {
            "index": work.frames(key) / "index.json",
            "store": work.frames(key),
            "summary": work.decoded(key),
        },
        takes=frozenset({"record_absent", "workers", "progress", "retry_failed"}),
        sampled=True,
        keeps=True,
    ),
    "flow": Stage(
        inputs=lambda work, key, plan: {"frames": work.frames(key) / "index.json"},
        outputs=lambda work, key, plan: {
            "index": work.flow(key) / "index.json",
            "store": work.flow(key),
        },
        takes=frozenset({"record_absent", "workers", "progress", "retry_failed"}),
        sampled=True,
        keeps=True,
    ),
    "pretrain": Stage(
        inputs=lambda work, key, plan: {},
        outputs=lambda work, key, plan: {"train": work.run(key) / "train"},
        takes=frozenset({"record_absent", "progress"}),
    ),
    "train": Stage(
        inputs=_train_inputs,
        optional=frozenset({"checkpoint", "names"}),
        outputs=lambda work, key, plan: {"train": work.run(key) / "train"},
        takes=frozenset({"record_absent", "progress", "identity", "loader"}),
    ),
    "predict": Stage(
        inputs=lambda work, key, plan: {
            **_clips(work, plan.data),
            "train": work.run(key) / "train",
        },
        outputs=lambda work, key, plan: {"predictions": work.run(key) / "predict"},
        takes=frozenset({"record_absent", "progress", "loader"}),
        sampled=True,
    ),
    "score": Stage(
        inputs=lambda work, key, plan: {"predictions": work.run(key) / "predict"},
        outputs=lambda work, key, plan: {
            "metrics": work.metrics(key),
            "scores": work.run(key) / "scores",
        },
        pure=True,
    ),
    "cost": Stage(
        inputs=lambda work, key, plan: {},
        outputs=lambda work, key, plan: {"costs": work.reports / "costs.json"},
        pure=True,
    ),
    "tables": Stage(
        inputs=_tables_inputs,
        outputs=lambda work, key, plan: {
            "root": root_path(work),
            "tables": work.reports / "tables",
        },
        optional=frozenset({"metrics", "costs", "scores", "timings", "reference"}),
        pure=True,
        besides=root_holds,
    ),
    "figures": Stage(
        inputs=_figures_inputs,
        outputs=lambda work, key, plan: {"figures": work.reports / "figures"},
        optional=frozenset({"costs", *_OF_DATA, *_OF_ROWS, "predict"}),
        takes=frozenset({"code", "progress"}),
        keeps=True,
        lazy=True,
    ),
    "report": Stage(
        inputs=_report_inputs,
        outputs=lambda work, key, plan: {
            "report": work.reports / "index.html",
            "trace": work.reports / "trace",
        },
        optional=frozenset({*_OF_DATA, *_OF_ROWS}),
        pure=True,
    ),
}


def execute(
    work: Workspace, name: str, key: str, *, in_graph: bool = False, **switches: Any
) -> None:
    """Run one stage on one key: read its plan, hold its lock, do the work, write the record.

    A stage run `in_graph` records absent data instead of failing, and begins without the outputs of
    an earlier run unless it `keeps` them. `switches` are run-time choices that change no result
    (`workers`, `progress`); a stage sees only those it takes. Inputs are recorded as they were
    before the stage ran. Raises UsageError for a key without a plan, RecordError when the code is
    not the planned one or an input changed meanwhile, and whatever the stage raises; without a
    record a stage has failed.
    """
    stage = STAGES[name]
    document = read_plan(work, name, key)
    plan = typed_plan(work, name, key)
    started = datetime.now(UTC)
    run = importlib.import_module(stage_module(name, plan)).run
    if "loader" in stage.takes:
        switches["loader"] = load_profile(work.manifests, work.profile).loader
    with stage_lock(work, name, key):
        if (parts := work.planned_code(document["code"]["digest"])).is_file():
            check_loaded(read_json(parts), imported=stage.lazy)
        outputs = stage.outputs(work, key, plan)
        inputs = read_inputs(work, stage.reads(work, key, plan))
        if in_graph and not stage.keeps:
            _remove(outputs.values())
        switches |= {"record_absent": in_graph, "code": document["code"]["digest"]}
        if "identity" in stage.takes:
            entries = [reading.entry for reading in inputs]
            switches["identity"] = sha256_json([document, entries])
        given = {switch: value for switch, value in switches.items() if switch in stage.takes}
        run(for_stages(work), key, plan, **given)
        observed = observe(work, started, ["tdn", name, key, "--profile", work.profile])
        write_record(
            work, name, key, plan=document, inputs=inputs, outputs=outputs, observed=observed
        )


def stage_lock(work: Workspace, name: str, key: str) -> AbstractContextManager[None]:
    """Held while a stage's outputs are written; UsageError where another process holds it."""
    kind = "row" if name in ("train", "predict", "score") else name  # a row's stages share a lock
    lock = work.root / ".tdn" / "locks" / f"{work.profile}.{kind}.{key}.lock"
    return exclusive(lock, f"{name} {key} ({work.profile})")


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def as_planned(work: Workspace, name: str, key: str) -> bool:
    """Whether the stage's record is of the plan that lies there now."""
    try:
        identity = read_json(work.record(name, key))["identity"]
        plan = read_json(work.plan(name, key))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return all(identity.get(part) == plan[part] for part in ("params", "code"))


def up_to_date(
    work: Workspace, name: str, key: str, document: dict[str, Any] | None = None
) -> bool:
    """Whether the stage's record fits its plan (the written one, or `document`) and the files on
    disk: it need not run."""
    stage = STAGES[name]
    document = read_plan(work, name, key) if document is None else document
    plan = parse_plan(name, document["params"], where=work.relative(work.plan(name, key)))
    inputs, outputs = stage.reads(work, key, plan), stage.outputs(work, key, plan)
    fits = is_up_to_date(work, name, key, plan=document, inputs=inputs, outputs=outputs)
    return fits and stage.besides(work)


def read_plan(work: Workspace, name: str, key: str) -> dict[str, Any]:
    """The plan of a stage and key; UsageError naming the nearest key when there is none."""
    prefix = f"{name}."
    folder = work.data / "plan"
    known = [path.name[len(prefix) : -5] for path in folder.glob(f"{prefix}*.json")]
    if key not in known:
        raise UsageError(
            f"{name}: nothing called '{key}' in profile {work.profile}",
            where="manifests/",
            do=nearest(key, known) if known else "run `tdn plan` first",
        )
    plan: dict[str, Any] = read_json(work.plan(name, key))
    return plan


def typed_plan(work: Workspace, name: str, key: str) -> Any:
    """The plan of a stage and key as the stage's model; errors as of `read_plan`."""
    params = read_plan(work, name, key)["params"]
    return parse_plan(name, params, where=work.relative(work.plan(name, key)))


def say(text: str) -> None:
    """One line for the person at the terminal (stderr: stdout is for results)."""
    print(text, file=sys.stderr, flush=True)
