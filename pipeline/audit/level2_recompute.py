"""Level 2: what can be made again in seconds is made again, and compared.

The pure stages run once more in a shadow of the project: what they read is linked in, what they
write stays there. A shadow's metrics come from its own scoring, so a metric that was forged
together with its record shows in the metric, in every table and in the page.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audit import level2_absent, level2_figures, level2_predictions
from pipeline.audit.context import Context
from pipeline.audit.differ import changes, close, show
from pipeline.audit.links import Level, Link, Status, some
from pipeline.audit.shadow import link_in, shadow_of
from pipeline.audit.stage_runner import StageRunner
from pipeline.core.errors import stage_command
from pipeline.core.files import files_below, read_strict_json
from pipeline.core.workspace import OWN, Workspace
from pipeline.lineage.evidence import Run

TOLERANCE = 1e-6
"""How far a float may move between processors; everything else is the same byte for byte."""
_SHOWN = 4


def check(context: Context) -> Iterator[Link]:
    """Every link of level 2."""
    yield from level2_predictions.check(context)
    again = context.tools.again
    if again is None:
        return
    runs = context.evidence.runs
    wanted = {run.name for run in context.runs() if run.stage in context.tools.pure}
    order = [name for name in context.evidence.in_order(wanted) if runs[name].plan]
    with shadow_of(context.work) as shadow, StageRunner(again, len(order)) as runner:
        for folder in ("manifests", OWN):
            link_in(context.work.root / folder, shadow.root / folder)
        link_in(context.work.reports / "records", shadow.reports / "records")
        if context.cached:  # counts of networks that the same code has made
            counts = f".tdn/costs.{context.work.profile}.json"
            link_in(context.work.root / counts, shadow.root / counts)
        figures = level2_figures.Figures(context, Level.RECOMPUTE, runner)
        for wave in _waves(context, order):
            started = [(run, _start(context, shadow, run, runner)) for run in wave]
            for run, done in started:
                yield from _finish(context, shadow, run, done, runner)
        yield from figures.compared()


def _waves(context: Context, order: Sequence[str]) -> Iterator[list[Run]]:
    """Runs in an order, cut into groups of which none reads what another of its group makes."""
    depth: dict[str, int] = {}
    for name in order:
        makers = (context.evidence.maker(read.path) for read in context.evidence.runs[name].inputs)
        depth[name] = 1 + max((depth[m] for m in makers if m in depth), default=0)
    for number in sorted(set(depth.values())):
        yield [context.evidence.runs[name] for name in order if depth[name] == number]


def _start(
    context: Context, shadow: Workspace, run: Run, runner: StageRunner
) -> Future[None] | str:
    """A pure stage run in the shadow; or the path of what it reads and is not here."""
    for path in _needed(context, {read.path for read in run.inputs}):
        if (shadow.root / path).exists():
            continue  # the shadow's own
        if not context.place(path).exists():
            return path
        link_in(context.place(path), shadow.root / path)
    return runner.submit(shadow, run, context.params(run))


def _finish(
    context: Context, shadow: Workspace, run: Run, done: Future[None] | str, runner: StageRunner
) -> Iterator[Link]:
    """Compare what a pure stage has made."""
    source = f"record:{run.name}"
    if isinstance(done, str):
        yield _unavailable(context, run, done)
        yield from level2_absent.check(context, run)
        return
    if (error := runner.outcome(done, shadow, run, context.params(run))) is not None:
        where = getattr(error, "where", "") or run.path
        what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
        do = f"run {stage_command(run.stage, run.key)} again"
        yield Link(
            Level.RECOMPUTE, source, "recomputed", where, Status.UNREADABLE, detail=what, do=do
        )
        return
    for made in run.outputs:
        yield from _compare(context, shadow, source, made.path)


def _needed(context: Context, reads: Iterable[str]) -> list[str]:
    """What a run lists, and what the makers of that read in turn: a combination of rows goes back
    to their predictions."""
    found = dict.fromkeys(sorted(reads))
    for path in sorted(reads):
        maker = context.evidence.maker(path)
        if maker is not None and context.evidence.runs[maker].stage in context.tools.pure:
            found |= dict.fromkeys(read.path for read in context.evidence.runs[maker].inputs)
    return list(found)


def _unavailable(context: Context, run: Run, path: str) -> Link:
    absent = context.absent(Level.RECOMPUTE, f"record:{run.name}", path, None)
    return Link(
        Level.RECOMPUTE,
        f"record:{run.name}",
        "recomputed",
        run.path,
        absent.status,
        detail=f"cannot be made again: {path} is not here",
        do=absent.do,
    )


def _compare(context: Context, shadow: Workspace, source: str, path: str) -> Iterator[Link]:
    """One link when all files are the same, else one per file that is not."""
    ours, again = context.place(path), shadow.root / path
    names = [""]
    if again.is_dir():
        below = {p.relative_to(b).as_posix() for b in (ours, again) for p in files_below(b)}
        names = sorted(below)
    bad, moved = 0, 0
    for name in names:
        status, detail = _same(ours / name, again / name)
        if status is Status.OK and detail:
            moved += 1
            # What follows starts from what was recorded, not from a last digit elsewhere.
            shutil.copyfile(ours / name, again / name)
        if status is not Status.OK:
            bad += 1
            place = f"{path}/{name}" if name else path
            do = "do not believe it: make it again, and find out who changed it"
            yield Link(Level.RECOMPUTE, source, "recomputed", place, status, detail=detail, do=do)
    if not bad:
        words = f"equal within {TOLERANCE:g}" if moved else "equal byte for byte"
        yield Link(Level.RECOMPUTE, source, "recomputed", path, Status.OK, detail=words)


def _same(ours: Path, again: Path) -> tuple[Status, str]:
    """Whether two files are equal, and what differs."""
    wrong = Status.RECOMPUTE_MISMATCH
    if not ours.is_file():
        return Status.MISSING, "recomputing makes it and it is not there"
    if not again.is_file():
        return wrong, "recomputing does not make it"
    before, after = ours.read_bytes(), again.read_bytes()
    if before == after:
        return Status.OK, ""
    try:
        if ours.suffix == ".json":
            return _json_differs(read_strict_json(ours), read_strict_json(again))
        if ours.suffix == ".parquet":
            old, new = pq.read_table(ours).to_pylist(), pq.read_table(again).to_pylist()
            return _json_differs(old, new)
        old_lines, new_lines = before.decode().splitlines(), after.decode().splitlines()
    except (ValueError, pa.ArrowException, OSError) as error:
        return Status.UNREADABLE, f"does not parse: {str(error).splitlines()[0]}"
    return wrong, _first_line(old_lines, new_lines)


def _json_differs(before: Any, after: Any) -> tuple[Status, str]:
    if close(before, after, TOLERANCE):
        return Status.OK, "within the tolerance"
    found = list(changes(before, after))
    words = [f"{place} {show(old)}, recomputed {show(new)}" for place, old, new in found]
    return Status.RECOMPUTE_MISMATCH, some(words, _SHOWN)


def _first_line(before: list[str], after: list[str]) -> str:
    for number, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old != new:
            at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
            start = max(0, at - 20)
            return f"line {number}: '{show(old[start:])}', recomputed '{show(new[start:])}'"
    return f"{len(before)} lines, recomputed {len(after)}"
