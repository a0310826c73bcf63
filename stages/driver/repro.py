"""`tdn repro`: one profile up to date, data sets and rows side by side, over plain DVC.

DVC runs one stage at a time, so chains of stages (all of one data set, all of one row) are driven
as separate `dvc repro --single-item` processes that wait for each other's lock; plain `dvc repro`
does the same work serially with the same result.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from graphlib import TopologicalSorter

from pipeline.core.errors import TdnError
from pipeline.core.workspace import Workspace
from pipeline.schema.experiments import STARTS, load_experiments
from pipeline.schema.profiles import load_profile
from stages import plan, profile_graph
from stages.commands import audit_results as audit
from stages.driver.drive import Board, Dvc
from stages.driver.memory import Meter
from stages.driver.warm import forking, warm
from stages.graph import say

_DATA_STAGES = ("mini", "check", "decode", "flow")
_ROW_STAGES = ("train", "predict", "score")


@dataclass(frozen=True)
class Chain:
    """Stages of one data set, start or row, in order, and the chains that come before."""

    title: str
    group: str
    """Under which its time is counted."""
    stages: tuple[str, ...]
    after: frozenset[str]

    @property
    def pattern(self) -> str:
        """What all its stages match and no other's: DVC reads its files once for each target.

        The first letters tell a data set's stages from those of a row of the same name.
        """
        if len(self.stages) == 1:
            return self.stages[0]
        heads = "".join(sorted({stage[0] for stage in self.stages}))
        return f"[{heads}]*@{self.stages[0].partition('@')[2]}"


def run(work: Workspace, jobs: int) -> None:
    """Bring the profile up to date, `jobs` chains side by side; says where the report is.

    Raises TdnError naming what failed, after everything else has finished.
    """
    graph = profile_graph.use(work)
    began = time.monotonic()
    with Meter() as memory:
        with forking(work.root, "dvc") as forks:
            plan.run(work)  # sees data put there since, which no dependency of DVC's shows
            dvc = Dvc(work.root, forks)
            try:
                changed = _changed(dvc, graph)
                if changed:
                    with warm(work.root) as dvc.extra:
                        _bring_up_to_date(work, dvc, graph, jobs)
            except BaseException:
                dvc.stop()
                raise
        if changed:
            say(f"done in {_clock(time.monotonic() - began)}.")
        else:
            say(f"{work.profile} is up to date.")
        _close(work)
    if changed and memory.peak_bytes is not None:
        say(f"memory: at most {memory.peak_bytes / 2**30:.2f} GiB at once, all processes together")


def _bring_up_to_date(work: Workspace, dvc: Dvc, graph: str, jobs: int) -> None:
    code, printed = dvc("repro", "--quiet", f"{graph}:plan")
    if code:
        sys.stderr.write(printed)
        raise TdnError("plan failed", do="read the messages above and run again")
    todo = chains(work, _changed(dvc, graph))
    failed = _side_by_side(dvc, graph, todo, jobs) if todo else []
    if failed:
        raise TdnError(
            f"failed: {', '.join(failed)}; what follows from it was not run",
            do="read the messages above, mend the cause and run the same command again",
        )
    audit.put_back(work)
    say("tables, figures and report …")
    code, printed = dvc("repro", graph, capture=True)
    if code:
        sys.stderr.write(printed)
        raise TdnError("dvc repro failed", do="read the messages above, mend the cause, run again")
    audit.put_back(work)


def chains(work: Workspace, changed: list[str]) -> dict[str, Chain]:
    """What is to run, by name: every chain that holds a changed stage or follows one that does."""
    profile = load_profile(work.manifests, work.profile)
    rows = load_experiments(work.manifests, profile)
    every: dict[str, Chain] = {}
    for name in profile.datasets:
        stages = [f"{stage}@{name}" for stage in _DATA_STAGES]
        kept = stages if name in profile.flow else stages[:-1]
        kept = kept if profile.generated else kept[1:]
        every[f"data.{name}"] = Chain(f"data {name}", "data sets", tuple(kept), frozenset())
    for name in STARTS:
        every[name] = Chain(f"start {name}", "starts", (f"pretrain@{name}",), frozenset())
    for key, row in rows.items():
        stages = [f"{stage}@{key}" for stage in _ROW_STAGES]
        every[key] = Chain(
            f"row {key}",
            f"rows on {row.dataset}",
            tuple(stages),
            frozenset({f"data.{row.dataset}", row.start}),
        )
    every["cost.all"] = Chain("costs", "costs", ("cost",), frozenset())
    names = {address.rpartition(":")[2] for address in changed}
    todo: dict[str, Chain] = {}
    for name in TopologicalSorter(
        {key: chain.after for key, chain in every.items()}
    ).static_order():
        chain = every[name]
        if names & set(chain.stages) or todo.keys() & chain.after:
            todo[name] = chain
    return todo


def _side_by_side(dvc: Dvc, graph: str, todo: Mapping[str, Chain], jobs: int) -> list[str]:
    """Run every chain after those it follows, `jobs` at a time; returns the titles of those that
    failed. What follows a failed one is left out."""
    failed: list[str] = []
    left_out: set[str] = set()
    began = time.monotonic()
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    board = Board(dvc.root / ".tdn" / "progress")

    def one(name: str) -> tuple[int, str, float]:
        start = time.monotonic()
        target = f"{graph}:{todo[name].pattern}"
        words = ("--wait-for-lock", "repro", "--single-item", "--glob", target)
        code, printed = dvc(*words, capture=True, note=board.place(name))
        board.drop(name)
        return code, printed, time.monotonic() - start

    order = TopologicalSorter({name: todo.keys() & chain.after for name, chain in todo.items()})
    order.prepare()
    pending: dict[Future[tuple[int, str, float]], str] = {}
    spent: Counter[str] = Counter()
    number = 0
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        try:
            while order.is_active():
                for name in order.get_ready():
                    if todo[name].after & left_out:
                        left_out.add(name)
                        number += 1
                        order.done(name)
                    else:
                        pending[pool.submit(one, name)] = name
                if not pending:
                    continue
                future = next(as_completed(pending))
                code, printed, seconds = future.result()
                name = pending.pop(future)
                number += 1
                spent[todo[name].group] += round(seconds)
                left = (time.monotonic() - began) / number * (len(todo) - number)
                state = "ok" if code == 0 else f"failed ({code})"
                say(
                    f"{clear}{number} of {len(todo)}: {todo[name].title} {state} in "
                    f"{_clock(seconds)}, about {_clock(left)} left"
                )
                if code:
                    failed.append(todo[name].title)
                    left_out.add(name)
                    sys.stderr.write(printed)
                order.done(name)
        except BaseException:
            for future in pending:
                future.cancel()
            dvc.stop()
            raise
        finally:
            board.close()
    parts = [f"{group} {_clock(seconds)}" for group, seconds in spent.most_common()]
    say(f"where the time went ({jobs} side by side): {', '.join(parts)}")
    return failed


def _changed(dvc: Dvc, graph: str) -> list[str]:
    """Addresses of the graph's stages that DVC would run."""
    code, printed = dvc("status", "--json", graph, capture=True)
    start = printed.find("{")
    if code or start < 0:
        sys.stderr.write(printed)
        raise TdnError("dvc status failed", do="read the message above and mend the cause")
    found: dict[str, object] = json.loads(printed[start : printed.rindex("}") + 1])
    return sorted(found)


def _close(work: Workspace) -> None:
    """Say where the report is and whether its numbers trace back; TdnError when they do not."""
    say(f"report: {work.relative(work.reports / 'index.html')}")
    clean, line = audit.closing(work)
    say(line)
    if not clean:
        raise TdnError(
            "the results do not trace back to what they are made from",
            do=f"look with `tdn audit --profile {work.profile}`, mend the cause and run this again",
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
