"""Running one stage from the command line: its plan, its switches, its progress bar."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.files import write_atomic
from pipeline.core.workspace import Workspace
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
        execute(work, name, key, record_absent=graph, progress=progress, **switches)


def _provide_scratch(work: Workspace, row: str) -> None:
    """Make the empty start of a row that is trained from scratch: nobody should have to ask."""
    from stages.graph import execute, read_plan

    begins = read_plan(work, "train", row)["params"]["start"]["from"]
    if begins == "scratch" and not (work.run("scratch") / "train" / "outcome.json").is_file():
        execute(work, "pretrain", "scratch")


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """A progress bar with an ETA on a terminal; silence elsewhere (logs stay readable)."""
    if note := os.environ.get("TDN_PROGRESS"):
        yield _note_in(Path(note), title)  # the driver shows it
        return
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _note_in(path: Path, title: str) -> Any:
    """A progress callback that leaves a line in a file, at most twice a second."""
    last = 0.0

    def note(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.5 or done == total:
            last = time.monotonic()
            write_atomic(path, f"{title} {done}/{total}".encode())

    return note
