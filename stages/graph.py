"""What every stage shares: its plan, its inputs and outputs, its lock and its run record.

The table below is the graph in one place: who reads what and writes what. `dvc.yaml` says the same
to DVC; a test holds the two together.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.benchmark import timing_files
from pipeline.core.errors import UsageError
from pipeline.core.files import read_json, sha256_json
from pipeline.core.locks import exclusive
from pipeline.core.workspace import Workspace
from pipeline.lineage.records import is_up_to_date, observe, read_inputs, write_record
from pipeline.lineage.root import root_path

Files = dict[str, Path]
Places = Callable[[Workspace, str, dict[str, Any]], Files]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Stage:
    """One stage: what it reads and writes, and which run-time switches its `run` takes.

    A `pure` stage makes its outputs from its inputs in seconds, without torch, the same anywhere:
    the audit makes them again. A `sampled` one works video by video: the audit makes it again for
    a few. One that `keeps` its earlier outputs goes on from them.
    """

    inputs: Places
    outputs: Places
    takes: frozenset[str] = field(default_factory=frozenset)
    pure: bool = False
    sampled: bool = False
    keeps: bool = False


def _clips(work: Workspace, key: str, params: dict[str, Any]) -> Files:
    """The store a row's clips come from."""
    return {params["data"]["input"]: work.store(params["data"]) / "index.json"}


def _beginning(work: Workspace, key: str, params: dict[str, Any]) -> Files:
    """The clips a row trains on and the weights it starts from."""
    begin = params["start"]
    files = {**_clips(work, key, params), "start": work.run(begin["from"]) / "train"}
    if begin["images"]:
        # DVC sees it through the start, which itself starts from images (a check when planning).
        files["images"] = work.run("images") / "train"
    return files


def _ledger(work: Workspace, key: str) -> Path:
    return work.sources(key).with_suffix(".parquet")


def _all_metrics(work: Workspace, key: str, params: dict[str, Any]) -> Files:
    names = ("claims.csv", "combinations.yaml", "documents.yaml", "prose_claims.csv")
    files = {f"manifest:{name}": work.manifests / name for name in names}
    files |= {"layouts": work.manifests / "tables"}
    found = {f"metrics:{row}": work.metrics(row) for row in params["rows"]}
    found["costs"] = work.reports / "costs.json"
    found |= {f"scores:{row}": work.run(row) / "scores" for row in params["rows"]}
    found |= {f"timings:{path.name}": path for path in timing_files(work.root)}
    # What was never run is a cell that says so, not a broken table.
    files |= {role: path for role, path in found.items() if path.exists()}
    return files


def _everything_reported(work: Workspace, key: str, params: dict[str, Any]) -> Files:
    found = {f"decoded:{name}": work.decoded(name) for name in params["datasets"]}
    found |= {f"metrics:{row}": work.metrics(row) for row in params["rows"]}
    present = {role: path for role, path in found.items() if path.is_file()}
    folders = {name: work.reports / name for name in ("figures", "tables")}
    return {**present, "root": root_path(work), **folders}


def _drawn_from(work: Workspace, key: str, params: dict[str, Any]) -> Files:
    found = {"costs": work.reports / "costs.json"}
    for row in params["rows"]:
        found[f"metrics:{row}"] = work.metrics(row)
        found[f"scores:{row}"] = work.run(row) / "scores"
        found[f"train:{row}"] = work.run(row) / "train"
        found[f"predict:{row}"] = work.run(row) / "predict"
    present = {role: path for role, path in found.items() if path.exists()}
    return {**present, "tables": work.reports / "tables"}


STAGES: dict[str, Stage] = {
    "mini": Stage(
        inputs=lambda work, key, params: {},
        outputs=lambda work, key, params: {"stamp": work.stamp(key)},
        takes=frozenset({"workers", "progress"}),
        keeps=True,
    ),
    "check": Stage(
        inputs=lambda work, key, params: {"stamp": work.stamp(key)} if params["generated"] else {},
        outputs=lambda work, key, params: {
            "summary": work.sources(key),
            "ledger": _ledger(work, key),
        },
        takes=frozenset({"record_absent", "progress"}),
    ),
    "decode": Stage(
        inputs=lambda work, key, params: {"sources": work.sources(key)},
        outputs=lambda work, key, params: {
            "index": work.frames(key) / "index.json",
            "store": work.frames(key),
            "summary": work.decoded(key),
        },
        takes=frozenset({"record_absent", "workers", "progress", "retry_failed"}),
        sampled=True,
        keeps=True,
    ),
    "flow": Stage(
        inputs=lambda work, key, params: {"frames": work.frames(key) / "index.json"},
        outputs=lambda work, key, params: {
            "index": work.flow(key) / "index.json",
            "store": work.flow(key),
        },
        takes=frozenset({"record_absent", "workers", "progress", "retry_failed"}),
        sampled=True,
        keeps=True,
    ),
    "pretrain": Stage(
        inputs=lambda work, key, params: {},
        outputs=lambda work, key, params: {"train": work.run(key) / "train"},
        takes=frozenset({"record_absent", "progress"}),
    ),
    "train": Stage(
        inputs=_beginning,
        outputs=lambda work, key, params: {"train": work.run(key) / "train"},
        takes=frozenset({"record_absent", "progress", "identity"}),
    ),
    "predict": Stage(
        inputs=lambda work, key, params: {
            **_clips(work, key, params),
            "train": work.run(key) / "train",
        },
        outputs=lambda work, key, params: {"predictions": work.run(key) / "predict"},
        takes=frozenset({"record_absent", "progress"}),
        sampled=True,
    ),
    "score": Stage(
        inputs=lambda work, key, params: {"predictions": work.run(key) / "predict"},
        outputs=lambda work, key, params: {
            "metrics": work.metrics(key),
            "scores": work.run(key) / "scores",
        },
        pure=True,
    ),
    "cost": Stage(
        inputs=lambda work, key, params: {},
        outputs=lambda work, key, params: {"costs": work.reports / "costs.json"},
    ),
    "tables": Stage(
        inputs=_all_metrics,
        outputs=lambda work, key, params: {
            "root": root_path(work),
            "tables": work.reports / "tables",
        },
        pure=True,
    ),
    "figures": Stage(
        inputs=_drawn_from,
        outputs=lambda work, key, params: {"figures": work.reports / "figures"},
        takes=frozenset({"progress"}),
    ),
    "report": Stage(
        inputs=_everything_reported,
        outputs=lambda work, key, params: {
            "report": work.reports / "index.html",
            "trace": work.reports / "trace",
        },
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
    before the stage ran. Raises UsageError for a key without a plan, RecordError when an input
    changed meanwhile, and whatever the stage raises; without a record a stage has failed.
    """
    stage = STAGES[name]
    plan = read_plan(work, name, key)
    params = plan["params"]
    started = datetime.now(UTC)
    run = importlib.import_module(f"stages.{name}").run
    kind = "row" if name in ("train", "predict", "score") else name  # a row's stages share a lock
    lock = work.root / ".tdn" / "locks" / f"{work.profile}.{kind}.{key}.lock"
    with exclusive(lock, f"{name} {key} ({work.profile})"):
        outputs = stage.outputs(work, key, params)
        inputs = read_inputs(work, stage.inputs(work, key, params))
        if in_graph and not stage.keeps:
            _remove(outputs.values())
        switches["record_absent"] = in_graph
        if "identity" in stage.takes:
            switches["identity"] = sha256_json([plan, [reading.entry for reading in inputs]])
        given = {switch: value for switch, value in switches.items() if switch in stage.takes}
        run(work, key, params=params, **given)
        observed = observe(work, started, ["tdn", name, key, "--profile", work.profile])
        write_record(work, name, key, plan=plan, inputs=inputs, outputs=outputs, observed=observed)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def up_to_date(work: Workspace, name: str, key: str) -> bool:
    """Whether the stage's record fits its plan and the files on disk: it need not run."""
    stage = STAGES[name]
    plan = read_plan(work, name, key)
    inputs = stage.inputs(work, key, plan["params"])
    outputs = stage.outputs(work, key, plan["params"])
    return is_up_to_date(work, name, key, plan=plan, inputs=inputs, outputs=outputs)


def read_plan(work: Workspace, name: str, key: str) -> dict[str, Any]:
    """The plan of a stage and key; UsageError naming the nearest key when there is none."""
    prefix = f"{name}."
    folder = work.data / "plan"
    known = [path.name[len(prefix) : -5] for path in folder.glob(f"{prefix}*.json")]
    if key not in known:
        from pipeline.schema.base import nearest

        raise UsageError(
            f"{name}: nothing called '{key}' in profile {work.profile}",
            where="manifests/",
            do=nearest(key, known) if known else "run `tdn plan` first",
        )
    plan: dict[str, Any] = read_json(work.plan(name, key))
    return plan


def say(text: str) -> None:
    """One line for the person at the terminal (stderr: stdout is for results)."""
    print(text, file=sys.stderr, flush=True)
