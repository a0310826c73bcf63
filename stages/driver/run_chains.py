"""Many chains, each as soon as those that it waits for have finished: on Ray, or here."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.core.errors import TdnError
from pipeline.core.ray_pool import Crash, Pool, Queue
from pipeline.core.workspace import Workspace
from pipeline.schema.settings import settings
from stages.driver.chains import COSTS, REPORT, Chain, StageKey
from stages.driver.progress import ProgressLine
from stages.driver.run_chain import Done, Task, run_chain
from stages.graph import say

Record = Callable[[set[StageKey]], None]
"""Has DVC record stages that are up to date."""
RECORD_EVERY_S = 600.0


@dataclass
class Result:
    """What became of all chains: titles of those that failed, of those left out for it, and the
    stages that are up to date and not yet recorded."""

    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unrecorded: set[StageKey] = field(default_factory=set)


def run_chains(
    work: Workspace, todo: Mapping[str, Chain], jobs: int, *, accelerated: bool, record: Record
) -> Result:
    """Run the chains, `jobs` at a time on this machine, or as many as the cluster of RAY_ADDRESS
    has cores.

    A chain whose predecessor failed is left out; the report is made nevertheless, of what is there.
    `accelerated` chains that compute take one accelerator each where there are any. What has
    finished is recorded every ten minutes, so that a killed run of days has lost little in DVC's
    eyes; the rest is left to the caller.
    """
    alone = sum(name not in (COSTS, REPORT) for name in todo) <= 1
    with Pool(jobs) as pool:
        if alone and not pool.cluster:
            pool.workers = 0
        else:
            pool.start(jobs)
        with (
            ProgressLine(work.root / ".tdn" / "progress") as line,
            pool.queue(run_chain) as queue,
        ):
            run = _Run(work, todo, pool, queue, line, accelerated and pool.accelerators > 0)
            return run.all(record)


class _Run:
    """The state of one `run_chains`."""

    def __init__(
        self,
        work: Workspace,
        todo: Mapping[str, Chain],
        pool: Pool,
        queue: Queue[Task, Done],
        line: ProgressLine,
        accelerated: bool,
    ) -> None:
        self.work, self.todo, self.pool, self.queue = work, todo, pool, queue
        self.line, self.accelerated = line, accelerated
        self.names = list(todo)
        self.waiting = dict(todo)
        self.over: set[str] = set()
        self.bad: set[str] = set()
        self.result = Result()
        self.spent: Counter[str] = Counter()
        self.not_run: dict[str, list[str]] = {}
        self.began = time.monotonic()

    def all(self, record: Record) -> Result:
        recorded = time.monotonic()
        while self.waiting or self.queue:
            self._submit()
            if not self.queue:
                continue
            number, done = self.queue.next()
            self._finish(self.names[number], done)
            if time.monotonic() - recorded > RECORD_EVERY_S:
                recorded = time.monotonic()
                try:
                    record(self.result.unrecorded)
                    self.result.unrecorded = set()
                except TdnError as error:  # another DVC at work, say: there is time until the end
                    say(f"not recorded yet: {error.what}")
        for reason, titles in self.not_run.items():
            more = " …" if len(titles) > 3 else ""
            say(f"not run: {len(titles)} rows ({', '.join(titles[:3])}{more}): {reason}")
        parts = [f"{group} {clock(seconds)}" for group, seconds in self.spent.most_common()]
        say(f"where the time went ({self.pool.slots} side by side): {', '.join(parts)}")
        return self.result

    def _submit(self) -> None:
        """Hand in chains that need wait for none, no more than can run at once."""
        for name, chain in list(self.waiting.items()):
            before = chain.after & self.todo.keys()
            if before & self.bad and name != REPORT:
                del self.waiting[name]
                self.over.add(name)
                self.bad.add(name)
                self.result.left_out.append(chain.title)
            elif before <= self.over and len(self.queue) < self.pool.slots:
                del self.waiting[name]
                self.queue.submit(
                    self.names.index(name),
                    self._task(name, chain),
                    accelerators=int(self.accelerated and chain.computes),
                )

    def _task(self, name: str, chain: Chain) -> Task:
        workers = settings(self.work).decode_workers
        if workers is None and self.pool.workers and not self.pool.cluster:
            # As many data sets as cores go on at once; only then is a core left for their shards.
            data = sum(one.group == chain.group for one in self.todo.values())
            workers = 0 if data >= self.pool.slots else None
        place = self.line.place(name)
        return Task(self.work.root, self.work.profile, chain.stages, place, workers)

    def _finish(self, name: str, done: Done | Crash) -> None:
        chain = self.todo[name]
        if isinstance(done, Crash):
            done = Done((), (), 0.0, f"{done.reason}, each time that it was tried")
        self.over.add(name)
        self.result.unrecorded |= set(done.finished)
        self.spent[chain.group] += round(done.seconds)
        number = len(self.over)
        left = (time.monotonic() - self.began) / number * (len(self.todo) - number)
        what = "ok" if done.ran else "was done before"
        if done.failure:
            what = "failed"
            self.bad.add(name)
            self.result.failed.append(chain.title)
        if done.not_run:  # a line for all of them, when everything else is done
            self.not_run.setdefault(done.not_run, []).append(chain.title.removeprefix("row "))
            return
        say(
            f"{self.line.clear}{number} of {len(self.todo)}: {chain.title} {what} in "
            f"{clock(done.seconds)}, about {clock(left)} left"
        )
        for line in done.remarks:
            say(f"  {line}")
        if done.failure:
            sys.stderr.write(done.failure.rstrip() + "\n")


def clock(seconds: float) -> str:
    """'3 min 05 s', '12 s'."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
