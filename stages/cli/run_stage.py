"""Running one stage from the command line: its plan, its switches, its progress bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import ImportPlan
from pipeline.schema.settings import settings
from stages.cli.options import workspace


def run_stage(name: str, key: str, profile: str, graph: bool, **switches: Any) -> None:
    """Run a stage on a key. Outside the graph its plan is resolved first."""
    from stages import plan
    from stages.graph import execute

    work = workspace(profile)
    if switches.get("workers", 0) is None:
        switches["workers"] = settings(work).decode_workers
    if not graph:
        plan.run(work, wanted=(name, key))
        if name == "train":
            _provide_scratch(work, key)
    with progress_bar(f"{name} {key}" if key != "all" else name) as progress:
        execute(work, name, key, in_graph=graph, progress=progress, **switches)


def _provide_scratch(work: Workspace, row: str) -> None:
    """Make the empty start of a row that is trained from scratch: nobody should have to ask."""
    from stages.graph import execute, typed_plan

    plan = typed_plan(work, "train", row)
    begins = "scratch" if isinstance(plan, ImportPlan) else plan.start.source
    if begins == "scratch" and not (work.run("scratch") / "train" / "outcome.json").is_file():
        execute(work, "pretrain", "scratch")


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """A progress bar with an ETA on a terminal; silence elsewhere (logs stay readable)."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
