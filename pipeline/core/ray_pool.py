"""Many tasks on many processes: the only module that starts Ray.

`workers=0` runs tasks in this process, one after another. Otherwise a private Ray on this machine,
listening on loopback only, or the cluster that RAY_ADDRESS names. A worker that dies is retried by
Ray; one that keeps dying comes back as a `Crash`, so that the caller can look for the culprit.
Inside a task of a pool, a further pool hands its tasks to the same Ray: the outer task's core is
free for them while it waits.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from pipeline.core.errors import TdnError, UsageError, refused
from pipeline.core.machine import cores
from pipeline.core.ray_start import cluster_address, own_sigterm, starting
from pipeline.core.signals import deferred

T = TypeVar("T")
R = TypeVar("R")

RETRIES = 2
_PREFIX = "tdn-"
_HELD = ".held"
_REACH_S = 10.0
_ANSWER_S = 60.0
_WAIT_S = 0.5  # that a signal may wait for Ray
_STORE_BYTES = 128 << 20
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Named for other systems; on Linux, too, it is what binds every listener to 127.0.0.1.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Crash:
    """A task whose worker process died every time it was tried."""

    reason: str


@dataclass(frozen=True)
class _Answer(Generic[R]):
    """What a worker sends back: a result, or the error as data (Ray would wrap it)."""

    value: R | None
    error: TdnError | None


def _guarded(function: Callable[[T], R], task: T) -> _Answer[R]:
    try:
        return _Answer(function(task), None)
    except TdnError as error:
        return _Answer(None, error)
    except OSError as error:
        return _Answer(None, refused(error))


class _Worker:
    """What this process knows of itself."""

    is_one = False


_worker = _Worker()


def _in_worker(function: Callable[[T], R], task: T, threads: str | None) -> _Answer[R]:
    _worker.is_one = True
    # Else Ray gives its workers one thread each: another number than a process of its own has.
    os.environ["OMP_NUM_THREADS"] = threads or str(cores())
    return _guarded(function, task)


def _value(answer: _Answer[R]) -> R:
    if answer.error is not None:
        raise answer.error
    return answer.value  # type: ignore[return-value]  # no error: there is a value


@contextmanager
def _cluster() -> Iterator[None]:
    """For connecting to the cluster of RAY_ADDRESS: UsageError where there is none."""
    address = cluster_address()
    place = re.fullmatch(r"(?:\w+://)?\[?([^/\[\]]+)\]?:(\d{1,5})", address)
    try:
        if place is not None:  # Ray itself would try for minutes, and print while it does
            socket.create_connection((place[1], int(place[2])), _REACH_S).close()
        yield
    except (OSError, OverflowError, UnicodeError, ValueError, RuntimeError, ImportError):
        raise UsageError(
            f"no Ray cluster answers at {address}, which RAY_ADDRESS names",
            do="start it, correct RAY_ADDRESS, or unset it to work on this machine alone",
        ) from None


def _sweep(place: Path) -> None:
    """Remove the Ray folders that killed drivers left in `place`; the living hold theirs."""
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            hold = os.open(folder / _HELD, os.O_RDWR)
        except OSError:  # not ours, or about to be held
            continue
        try:
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(hold)


def _new_folder(place: Path) -> tuple[str, int]:
    """A folder for Ray in `place`, and the open file that holds it."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
        try:
            hold = os.open(Path(folder) / _HELD, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(hold, fcntl.LOCK_EX)
        except OSError:
            shutil.rmtree(folder)  # without a hold nobody would ever remove it
            raise
        if os.fstat(hold).st_nlink:
            return folder, hold
        os.close(hold)  # swept by another driver before it was held


class Queue(Generic[T, R]):
    """Tasks that run, or wait for a worker; use as a context manager, which cancels what is left.

    Without Ray (`ray` is None) a task runs in this process when its result is asked for.
    """

    def __init__(
        self, function: Callable[[T], R], result: Callable[[Any], Any], ray: Any, retries: int
    ) -> None:
        self._function = function
        self._result = result
        self._ray = ray
        self._retries = retries
        self._remote = None if ray is None else ray.remote(_in_worker)
        self._running: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self._running)

    def submit(self, number: int, task: T, *, accelerators: int = 0) -> None:
        """Hand in a task that takes one core and so many accelerators of its machine."""
        if self._remote is None:
            self._running[number] = task
            return
        options = {"num_cpus": 1, "num_gpus": accelerators, "max_retries": self._retries}
        remote, threads = self._remote.options(**options), os.environ.get("OMP_NUM_THREADS")
        self._running[remote.remote(self._function, task, threads)] = number

    def next(self) -> tuple[int, R | Crash]:
        """The number and the result (or Crash) of a task that has finished; waits for one."""
        if self._remote is None:
            number = next(iter(self._running))
            return number, _value(_guarded(self._function, self._running.pop(number)))
        finished: list[Any] = []
        while not finished:
            with deferred():
                finished, _ = self._ray.wait(list(self._running), timeout=_WAIT_S)
        return self._running.pop(finished[0]), self._result(finished[0])

    def __enter__(self) -> Queue[T, R]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._remote is not None:
            for pending in self._running:
                self._ray.cancel(pending, force=True)
        self._running = {}


class Pool:
    """Runs tasks; use as a context manager. Starts Ray when the first task needs it."""

    def __init__(self, workers: int | None = None) -> None:
        self.cluster = bool(cluster_address()) and workers != 0
        self.workers = cores() if workers is None else workers
        if self.workers < 0:
            raise UsageError("workers must be 0 or more", do="0 runs everything in this process")
        self.slots = 1
        """How many tasks run at once; known when Ray has started."""
        self.accelerators = 0
        self._ray: Any = None
        self._inside = _worker.is_one
        self._folder = ""
        self._hold = -1

    def run(
        self, function: Callable[[T], R], tasks: Iterable[T], *, retries: int = RETRIES
    ) -> Iterator[tuple[int, R | Crash]]:
        """Yield (position in `tasks`, result or Crash) as tasks finish.

        A task is taken from `tasks` shortly before a worker can begin with it.

        `function` must be importable in a worker; a TdnError it raises is raised here, an OSError
        becomes a StoreError. UsageError when the cluster of RAY_ADDRESS does not answer.
        """
        if not self.workers and not self.cluster:
            for position, task in enumerate(tasks):
                yield position, _value(_guarded(function, task))
            return
        coming = iter(tasks)
        first = list(islice(coming, max(1, self.workers)))
        if not first:
            return
        self.start(len(first))
        waiting = enumerate(chain(first, coming))
        with self.queue(function, retries=retries) as queue:
            while True:
                while len(queue) < 2 * self.slots and (following := next(waiting, None)):
                    queue.submit(*following)
                if not queue:
                    return
                yield queue.next()

    def queue(self, function: Callable[[T], R], *, retries: int = RETRIES) -> Queue[T, R]:
        """Tasks of `function` handed in one by one, as the results of others come in."""
        remote = bool(self.workers or self.cluster)
        return Queue(function, self._result, self.start(self.workers) if remote else None, retries)

    def everywhere(self, function: Callable[[T], R], task: T) -> list[tuple[str, R | Crash]]:
        """(name, result) of `function(task)` on every machine of the cluster that takes tasks.

        A machine that dies, does not answer within a minute or lacks this package is a Crash.
        Without a cluster the one machine is this one.
        """
        if not self.cluster:
            return [("this machine", _value(_guarded(function, task)))]
        ray = self.start(1)
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote = ray.remote(num_cpus=0, max_retries=0)(_guarded)
        nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
        asked = []
        for node in sorted(nodes, key=lambda node: (node["NodeName"], node["NodeID"])):
            only_there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = remote.options(scheduling_strategy=only_there).remote(function, task)
            asked.append((f"{node['NodeName']} ({node['NodeID'][:8]})", answer))
        found = []
        for name, answer in asked:
            try:
                found.append((name, self._result(answer, _ANSWER_S)))
            except ray.exceptions.RayTaskError as error:  # `function` could not even be loaded
                reason = str(error.cause).partition("\n")[0]
                found.append((name, Crash(f"it cannot run this package ({reason:.200})")))
        return found

    def _result(self, reference: Any, timeout_s: float | None = None) -> Any:
        exceptions = self._ray.exceptions
        lost = (
            exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError,
            exceptions.TaskUnschedulableError,
        )  # fmt: skip
        try:
            answer = self._ray.get(reference, timeout=timeout_s)
        except lost:
            return Crash("its worker process was killed")
        except exceptions.OutOfMemoryError:
            return Crash("its worker process ran out of memory")
        except exceptions.GetTimeoutError:
            return Crash(f"it did not answer within {timeout_s:g} s")
        return _value(answer)

    def start(self, tasks: int) -> Any:
        """Ray, started if need be, with no more workers than `tasks`: those there are to begin
        with."""
        if self._ray is not None:
            return self._ray
        for name, value in _ENVIRONMENT.items():
            if not (self.cluster and name == "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
                os.environ.setdefault(name, value)
        if not self.cluster:
            os.environ.setdefault("OMP_NUM_THREADS", str(cores()))  # also of what starts at once
        with own_sigterm():
            if self._inside:
                import ray
            elif self.cluster:
                with _cluster():
                    import ray

                    ray.init(log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray = self._start_local(min(self.workers, tasks))
        self._ray = ray
        found = self._ray.cluster_resources()
        self.slots, self.accelerators = (int(found.get(kind, 0)) for kind in ("CPU", "GPU"))
        self.slots = max(1, self.slots)
        return ray

    def _start_local(self, processes: int) -> Any:
        """A private Ray in a folder of its own, on this machine alone."""
        # Socket paths are limited to 107 bytes, so the folder must be short.
        short = Path("/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir())
        _sweep(short)
        self._folder, self._hold = _new_folder(short)
        with starting(Path(self._folder)):
            import ray

            try:
                ray.init(
                    address="local",
                    num_cpus=processes,
                    include_dashboard=False,
                    object_store_memory=_STORE_BYTES,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=self._folder,
                )
            except BaseException:
                ray.shutdown()  # what of it had started
                raise
        return ray

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ray is not None and not self._inside:
            self._ray.shutdown()
        self._ray = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._hold)
            self._folder = ""
