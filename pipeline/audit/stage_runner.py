"""Stages run again in a shadow of the project: in this process, or in several beside it."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

from pipeline.audit.context import Again
from pipeline.core.machine import cores
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Run
from pipeline.store.lmdb_store import close_shards

MANY = 40
"""Runs from which on processes pay: each takes seconds to start."""


class StageRunner:
    """Runs stages; use as a context manager. With 40 `runs` to come or more: as many at a time as
    there are cores."""

    def __init__(self, again: Again, runs: int = 0) -> None:
        self._again = again
        self._pool: ProcessPoolExecutor | None = None
        if runs >= MANY and cores() > 1:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(cores(), mp_context=spawn)

    def __enter__(self) -> StageRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, shadow: Workspace, run: Run, params: Mapping[str, Any]) -> Future[None]:
        """Have the stage of `run` run in `shadow`; the future raises what the stage raises, in any
        way over what was forged."""
        work = (self._again, shadow, run.stage, run.key, dict(params))
        if self._pool is not None:
            with contextlib.suppress(BrokenProcessPool):  # what follows runs in this process
                return self._pool.submit(_run, *work)
        done: Future[None] = Future()
        try:
            _run(*work)
            done.set_result(None)
        except Exception as error:
            done.set_exception(error)
        return done

    def outcome(
        self, done: Future[None], shadow: Workspace, run: Run, params: Mapping[str, Any]
    ) -> BaseException | None:
        """What a submitted stage raised. One whose process was killed runs once more, in this."""
        if isinstance(error := done.exception(), BrokenProcessPool):
            return self.submit(shadow, run, params).exception()
        return error


def _run(again: Again, shadow: Workspace, stage: str, key: str, params: dict[str, Any]) -> None:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            again(shadow, stage, key, params)
    finally:
        close_shards()  # the next shadow has shards of the same names
