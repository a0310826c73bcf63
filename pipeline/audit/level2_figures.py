"""Levels 2 and 3: figures drawn again, with their numbers and captions.

Level 2 draws those that follow from histories, scores, metrics, costs and tables; level 3 those for
which a network looks at frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from pipeline.audit.context import Context
from pipeline.audit.differ import changes, close, show
from pipeline.audit.links import Level, Link, Status, some
from pipeline.audit.shadow import link_in, shadow_of
from pipeline.audit.stage_runner import StageRunner
from pipeline.core.errors import stage_command
from pipeline.core.files import read_strict_json, sha256_path
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Run
from pipeline.schema.figure_list import FROM_NETWORKS

READ = ("frames", "flow", "plan")
"""Folders of a profile's data that figures read."""
TOLERANCE = 1e-6
Params = dict[str, Any]
_BY_MACHINE = ("made_from", "sha256")
"""What of an entry also covers versions; a picture is compared where its numbers are equal."""


class Figures:
    """The figures of an audit, drawn again in shadows of their own by `runner`.

    Level 2's are those for which no network looks at frames, level 3's the others.
    """

    def __init__(self, context: Context, level: Level, runner: StageRunner) -> None:
        self._context, self._level, self._runner = context, level, runner
        self._shadows = ExitStack()
        self._started = [started for run in context.runs() for started in self._start(run)]

    def _start(self, run: Run) -> Iterator[tuple[Run, str, Params, Workspace, Future[None]] | Link]:
        context = self._context
        place = next((item.path for item in run.outputs if item.role == "figures"), None)
        if place is None or not context.place(place).is_dir():
            return
        params = dict(context.params(run))
        networks = self._level is Level.REPLAY
        figures = [f for f in params["figures"] if (f[1]["kind"] in FROM_NETWORKS) is networks]
        absent = [r.path for r in run.inputs if not context.place(r.path).exists()]
        if absent:
            detail = f"cannot be drawn again: {some(absent, 2)} not here"
            yield _link(self._level, run, place, Status.UNAVAILABLE, detail)
        elif figures:
            shadow = self._shadows.enter_context(shadow_of(context.work))
            stores = [context.work.relative(context.work.data / n) for n in READ]
            for path in [*stores, *(read.path for read in run.inputs)]:
                if not (shadow.root / path).exists():
                    link_in(context.place(path), shadow.root / path)
            params["figures"] = figures
            yield run, place, params, shadow, self._runner.submit(shadow, run, params)

    def compared(self) -> Iterator[Link]:
        """One link per figure that differs, or one for all."""
        with self._shadows:
            for started in self._started:
                if isinstance(started, Link):
                    yield started
                    continue
                run, place, params, shadow, done = started
                try:
                    if (error := self._runner.outcome(done, shadow, run, params)) is not None:
                        raise error
                    links = [*_compare(self._context, shadow, self._level, run, place, params)]
                except Exception as error:  # a stage may stumble in any way over what was forged
                    what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
                    first = str(what).splitlines()[0]
                    links = [_link(self._level, run, place, Status.UNREADABLE, first)]
                yield from links


def _compare(
    context: Context, shadow: Workspace, level: Level, run: Run, place: str, params: Params
) -> Iterator[Link]:
    ours, again = context.place(place), shadow.root / place
    kinds = {figure["kind"] for _, figure in params["figures"]}
    before, after = (
        {
            f["key"]: f
            for f in read_strict_json(path / "figures.json")["figures"]
            if f["kind"] in kinds
        }
        for path in (ours, again)
    )
    bad = 0
    for key in sorted({*before, *after}):
        old, new = before.get(key, {}), after.get(key, {})
        one, two = ({k: v for k, v in e.items() if k not in _BY_MACHINE} for e in (old, new))
        wrong = []
        if not close(one, two, TOLERANCE):
            found = list(changes(one, two))
            wrong = [f"{at} {show(was)}, drawn again {show(now)}" for at, was, now in found]
        elif one == two:
            files = new.get("files", {}).values()
            wrong = [
                f"{file} is another picture"
                for file in files
                if sha256_path(ours / file) != sha256_path(again / file)
            ]
        if wrong:
            bad += 1
            detail = f"{key}: {some(wrong, 3)}"
            path = f"{place}/figures.json"
            yield _link(level, run, path, Status.RECOMPUTE_MISMATCH, detail)
    if level is Level.RECOMPUTE:
        curves = [sha256_path(path / "curves") for path in (ours, again)]
        if curves[0] != curves[1]:
            bad += 1
            detail = "training curves differ from the histories"
            yield _link(level, run, f"{place}/curves", Status.RECOMPUTE_MISMATCH, detail)
    if not bad:
        yield _link(level, run, place, Status.OK, f"{len(after)} figures drawn again")


def _link(level: Level, run: Run, path: str, status: Status, detail: str) -> Link:
    do = "" if status is Status.OK else f"run {stage_command(run.stage, run.key)} again"
    return Link(level, f"record:{run.name}", "drawn", path, status, detail=detail, do=do)
