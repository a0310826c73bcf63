"""What would run again for a row, and which changed parameter, module or file is the cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.audit.context import Context
from pipeline.audit.differ import plan_changes
from pipeline.audit.dvc_lock import find_stage
from pipeline.core.errors import TdnError, UsageError
from pipeline.core.files import sha256_path
from pipeline.lineage.evidence import Run
from pipeline.schema.base import nearest


@dataclass(frozen=True)
class Reason:
    """A run and why it would run again; no causes: it would not."""

    run: str
    causes: tuple[str, ...]


def why(context: Context, key: str) -> list[Reason]:
    """Every run of `key` (a row, a data set, 'all'), what they come from and what comes from them.

    In order; a run that only follows another says so. Raises UsageError naming the nearest key, and
    the manifests' own errors.
    """
    if isinstance(context.plans, TdnError):
        raise context.plans
    own = [name for name in context.plans if name.partition("/")[2] == key]
    if not own:
        known = sorted({name.partition("/")[2] for name in context.plans})
        raise UsageError(f"no row, data set or stage is called '{key}'", do=nearest(key, known))
    found: dict[str, tuple[str, ...]] = {}
    for name in _related(context, own):
        run = context.evidence.runs.get(name)
        if run is None or not run.plan:
            found[name] = ("it never ran here" if run is None else run.problem,)
        else:
            found[name] = tuple(_causes(context, run, {n for n, c in found.items() if c}))
    return [Reason(name, causes) for name, causes in found.items()]


def _related(context: Context, own: list[str]) -> list[str]:
    """Recorded runs before and after `own`, then those of `own` that never ran."""
    evidence = context.evidence
    recorded = [name for name in own if name in evidence.runs]
    related = set(recorded)
    for name in recorded:
        related |= evidence.behind(read.path for read in evidence.runs[name].inputs)
    after = set(recorded)
    for name in evidence.in_order(evidence.runs):
        makers = {evidence.maker(read.path) for read in evidence.runs[name].inputs}
        if makers & after:
            after.add(name)
    assert isinstance(context.plans, dict)
    wanted = [name for name in related | after if name in context.plans]
    return [*evidence.in_order(wanted), *(name for name in own if name not in evidence.runs)]


def _causes(context: Context, run: Run, moving: set[str]) -> Iterable[str]:
    assert isinstance(context.plans, dict)
    yield from plan_changes(run.plan, context.plans[run.name], run.code)
    locked = None if isinstance(context.lock, TdnError) else find_stage(context.lock, run)
    command = context.commands.get(run.stage)
    if locked is not None and command is not None and not command.fullmatch(locked.command):
        yield f"its command in dvc.yaml is no longer `{locked.command}`"
    followed = set()
    for read in run.inputs:
        maker = context.evidence.maker(read.path)
        if maker is not None and maker in moving:
            followed.add(f"follows {maker}, unless that makes the same again")
        elif (now := sha256_path(context.place(read.path))) != read.sha256:
            what = "is missing" if now is None else "changed"
            yield f"its input {read.path} {what}"
    yield from sorted(followed)
    for made in run.outputs:
        now = sha256_path(context.place(made.path))
        if now != made.sha256:
            yield f"its output {made.path} {'is missing' if now is None else 'changed'}"
