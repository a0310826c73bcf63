"""Levels 2 and 3: figures drawn again, with their numbers and captions.

Level 2 draws those that follow from histories, scores, metrics, costs and tables; level 3 those for
which a network looks at frames.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from pipeline.audit.context import Context
from pipeline.audit.differ import changes, close, show
from pipeline.audit.links import Level, Link, Status, some
from pipeline.audit.shadow import link_in, shadow_of
from pipeline.core.errors import stage_command
from pipeline.core.files import read_strict_json, sha256_path
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Run
from pipeline.schema.figure_list import FROM_NETWORKS

TOLERANCE = 1e-6
_BY_MACHINE = ("made_from", "sha256")
"""What of an entry also covers versions; a picture is compared where its numbers are equal."""


def check(context: Context, level: Level) -> Iterator[Link]:
    """One link per figure that differs, or one for all."""
    networks = level is Level.REPLAY
    for run in context.runs():
        made = next((item for item in run.outputs if item.role == "figures"), None)
        if made is None or context.tools.again is None or not context.place(made.path).is_dir():
            continue
        params = dict(context.params(run))
        figures = [f for f in params["figures"] if (f[1]["kind"] in FROM_NETWORKS) is networks]
        absent = [r.path for r in run.inputs if not context.place(r.path).exists()]
        if absent:
            detail = f"cannot be drawn again: {some(absent, 2)} not here"
            yield _link(level, run, made.path, Status.UNAVAILABLE, detail)
        elif figures:
            yield from _again(context, level, run, made.path, {**params, "figures": figures})


def _again(
    context: Context, level: Level, run: Run, place: str, params: dict[str, Any]
) -> Iterator[Link]:
    assert context.tools.again is not None
    with shadow_of(context.work) as shadow:
        stores = [context.work.relative(context.work.data / n) for n in ("frames", "flow", "plan")]
        for path in [*stores, *(read.path for read in run.inputs)]:
            if context.place(path).exists() and not (shadow.root / path).exists():
                link_in(context.place(path), shadow.root / path)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                context.tools.again(shadow, run.stage, run.key, params)
            links = list(_compare(context, shadow, level, run, place, params))
        except Exception as error:  # a stage may stumble in any way over what was forged
            what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
            links = [_link(level, run, place, Status.UNREADABLE, str(what).splitlines()[0])]
    yield from links


def _compare(
    context: Context, shadow: Workspace, level: Level, run: Run, place: str, params: dict[str, Any]
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
