"""`tdn repro`: one profile up to date, as many chains side by side as there are cores.

DVC says what may have changed; a stage's own run record says whether it has to run; DVC then
records what was done, and has the last word on whether all is up to date. Plain `dvc repro` does
the same work one stage after another, with the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import TdnError, UsageError
from pipeline.core.files import json_bytes
from pipeline.core.machine import accelerator_files, cores
from pipeline.core.workspace import Workspace
from pipeline.lineage.resolve_plans import ALL, resolve
from pipeline.schema.profiles import load_profile
from pipeline.schema.settings import settings
from stages import plan, profile_graph
from stages.commands import audit_results as audit
from stages.commands import judge_results
from stages.driver import dvc_record
from stages.driver.chains import (
    REPORT,
    Chain,
    StageKey,
    address,
    affected,
    behind,
    every_chain,
    resolve_targets,
)
from stages.driver.memory import Meter
from stages.driver.run_chains import clock, run_chains
from stages.driver.run_cost import run_cost
from stages.graph import as_planned, execute, say, up_to_date
from stages.networks import Catalogue


@dataclass(frozen=True)
class Choice:
    """What a user asks for: how many chains side by side, whether chains may use accelerators,
    targets (none: everything), whether only to say what would run; the rate that hours are told at
    (10^12 operations a second), and who is asked before a run of hours."""

    jobs: int
    accelerated: bool
    targets: list[str]
    dry_run: bool
    tflops: float | None = None
    agrees: Callable[[str], bool] = lambda question: True


def choice(
    work: Workspace,
    jobs: int,
    targets: list[str],
    dry_run: bool,
    tflops: float | None,
    agrees: Callable[[str], bool],
) -> Choice:
    """A user's words, completed from params.yaml and the profile; `jobs` 0 is no choice."""
    compute = load_profile(work.manifests, work.profile).compute
    accelerated = compute.device == "auto"
    # Rows of such a profile use all cores where there is no accelerator.
    alone = accelerated and not accelerator_files()
    # Several workers of a row take the accelerators themselves, when they are free; its
    # predictions are made on the first, so that one row runs at a time.
    alone = alone or (accelerated and compute.workers > 1)
    jobs = jobs or settings(work).jobs or (1 if alone else cores())
    return Choice(jobs, accelerated and compute.workers == 1, targets, dry_run, tflops, agrees)


def run(work: Workspace, choice: Choice) -> None:
    """Bring the profile, or what rests behind the targets, up to date.

    Raises TdnError naming what failed, after everything else has finished, and when DVC or the
    audit finds that not everything fits in the end.
    """
    if choice.dry_run:
        _preview(work, choice)
        return
    graph = profile_graph.use(work)
    began = time.monotonic()
    plan.run(work)  # also sees data put there since, which no dependency of DVC's shows
    chains = every_chain(work)
    wanted = resolve_targets(work, chains, choice.targets)
    changed = dvc_record.changed(work.root, graph)
    todo = _within(chains, wanted, affected(chains, changed))
    _ask(work, todo, choice)
    if todo or changed & {"plan"}:
        with Meter() as memory:
            # Before anything runs: an edit made meanwhile must be news to DVC afterwards.
            dvc_record.record(work.root, graph, changed & {"plan"})
            _run(work, graph, todo, choice)
        say(
            f"done in {clock(time.monotonic() - began)}; memory: at most "
            f"{memory.peak_bytes / 2**30:.2f} GiB at once, all processes together"
        )
    else:
        say(f"{', '.join(choice.targets) or work.profile}: up to date.")
    if not choice.targets:
        _close(work)


def _ask(work: Workspace, todo: Mapping[str, Chain], choice: Choice) -> None:
    """Say what the rows cost at the papers' schedules; UsageError where hours are not agreed to."""
    profile = load_profile(work.manifests, work.profile)
    full = profile.schedules is None and not profile.generated
    if full and not up_to_date(work, "cost", ALL):
        execute(work, "cost", ALL, in_graph=True)  # seconds, and hours are told by it
    computing = [name for name, chain in todo.items() if full and _computes(work, chain)]
    cost = run_cost(work, computing, choice.tflops)
    if cost is None or not (cost.hours or cost.unknown or cost.not_here):
        return
    for line in cost.lines():
        say(line)
    if cost.to_be_asked and not choice.agrees(f"run about {cost.total_h:,.0f} hours?"):
        raise UsageError(
            f"a run of about {cost.total_h:,.0f} hours is not begun without a yes",
            do=f"`tdn repro {' '.join([*choice.targets, '--yes'])}`; fewer rows: name them, or a "
            "table or data set; `tdn repro --dry-run` lists the stages",
        )


def _computes(work: Workspace, chain: Chain) -> bool:
    """Whether a chain is a row's whose network would be trained or tested."""
    stages = [(name, key) for name, key in chain.stages if name in ("train", "predict")]
    return any(not up_to_date(work, name, key) for name, key in stages)


def _run(work: Workspace, graph: str, todo: Mapping[str, Chain], choice: Choice) -> None:
    """Run the chains and have DVC record what is up to date; TdnError when something failed."""

    def record(stages: set[StageKey]) -> None:
        # Whoever runs `tdn plan` meanwhile gives a stage another plan than the one it ran with.
        fitting = {address(stage) for stage in stages if as_planned(work, *stage)}
        dvc_record.record(work.root, graph, fitting)

    result = run_chains(work, todo, choice.jobs, accelerated=choice.accelerated, record=record)
    record(result.unrecorded)
    if result.failed:
        without = f"; left out for it: {', '.join(result.left_out)}" if result.left_out else ""
        shown = " (tables and report show what was there before of these)" if REPORT in todo else ""
        raise TdnError(
            f"failed: {', '.join(result.failed)}{without}{shown}",
            do="read the messages above, mend the cause and run the same command again",
        )
    left = dvc_record.changed(work.root, graph) & {a for c in todo.values() for a in c.addresses}
    if left:
        raise TdnError(
            f"DVC says that {', '.join(sorted(left)[:5])} changed meanwhile",
            do="let nothing else write to this checkout, then run the same command again",
        )


def _within(
    chains: Mapping[str, Chain], wanted: set[str], todo: dict[str, Chain]
) -> dict[str, Chain]:
    """Of the chains `todo` those behind the `wanted` ones; all where none is wanted."""
    within = behind(chains, wanted) if wanted else chains
    return {name: chain for name, chain in todo.items() if name in within}


def _preview(work: Workspace, choice: Choice) -> None:
    """Say which stages would run, and which were done before and would only be recorded; write
    nothing, no plan either."""
    plans = resolve(work, Catalogue(work.root))
    chains = every_chain(work)
    wanted = resolve_targets(work, chains, choice.targets)
    changed = {address(stage) for stage in plans if not _is_written(work, *stage, plans[stage])}
    if profile_graph.is_used(work):
        changed |= dvc_record.changed(work.root, work.relative(profile_graph.graph_path(work)))
    else:
        changed |= {address(stage) for stage in plans}
    todo = _within(chains, wanted, affected(chains, changed))
    count = 0
    for chain in todo.values():
        follows = False
        for stage in chain.stages:
            # What follows a stage that runs is judged when that has run.
            done = not follows and _is_done(work, *stage, plans[stage])
            follows = follows or not done
            count += not done
            print(f"{address(stage)}{' (done before, to be recorded)' if done else ''}")
    say(f"{count} stages would run or be looked at, in {len(todo)} chains")
    cost = run_cost(work, todo.keys(), choice.tflops)
    for line in cost.lines() if cost else []:
        say(line)


def _is_written(work: Workspace, name: str, key: str, document: dict[str, Any]) -> bool:
    path = work.plan(name, key)
    wanted = {"params": document["params"], "code": document["code"]}
    return path.is_file() and path.read_bytes() == json_bytes(wanted)


def _is_done(work: Workspace, name: str, key: str, document: dict[str, Any]) -> bool:
    try:
        return up_to_date(work, name, key, document)
    except TdnError:
        return False


def _close(work: Workspace) -> None:
    """Say where the report is and whether its numbers trace back; TdnError when they do not."""
    say(f"report: {work.relative(work.reports / 'index.html')}")
    if verdict := judge_results.closing(work):
        say(verdict)
    clean, line = audit.closing(work)
    say(line)
    if not clean:
        raise TdnError(
            "the results do not trace back to what they are made from",
            do=f"look with `tdn audit --profile {work.profile}`, mend the cause and run this again",
        )
